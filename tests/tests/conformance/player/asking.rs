//! Asking, and waiting until everybody knows what was done.

use std::time::Duration;

use futures::StreamExt as _;
use rr_nats::transport::{HeaderMap, Message, Outgoing};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{PATIENCE, Play, SETTLING, SPREADING};
use crate::told::refusal;

/// How long the parts of one server may take until all of them know.
const TELLING: Duration = Duration::from_millis(30);
/// How often in a row a cluster must say the same: on a busy machine an acknowledgement takes effect late.
const SAME: u32 = 3;

impl Play<'_> {
    pub(super) async fn send(&self, subject: &str, body: String, headers: Option<HeaderMap>, reply: &str) {
        let message = Outgoing { subject: subject.into(), headers, payload: body.into() };
        timeout(PATIENCE, self.player.transport.publish(message, Some(reply.into()))).await.unwrap().unwrap();
    }

    /// The next answer to a request; what comes to pulls is kept.
    pub(super) async fn answer(&mut self, reply: &str, within: Duration) -> Option<Message> {
        let deadline = Instant::now() + within;
        loop {
            let message = tokio::time::timeout_at(deadline, self.inbox.next()).await.ok()??;
            if message.subject.as_str() == reply {
                return Some(message);
            }
            self.arrived.push(message);
        }
    }

    pub(super) async fn ask(
        &mut self,
        subject: &str,
        body: &str,
        headers: Option<HeaderMap>,
        within: Duration,
    ) -> Option<Message> {
        let subject = self.with_name(subject);
        let until = Instant::now() + SETTLING;
        loop {
            self.asked += 1;
            let reply = format!("{}r.{}", self.prefix, self.asked);
            self.send(&subject, self.with_name(body), headers.clone(), &reply).await;
            let answer = self.answer(&reply, within).await;
            let nobody =
                answer.as_ref().is_some_and(|answer| answer.status.is_some_and(|status| status.as_u16() == 503));
            let is_settling = nobody || (answer.is_none() && within >= PATIENCE);
            if !(self.player.is_clustered && is_settling && Instant::now() < until) {
                return answer;
            }
            sleep(SPREADING).await;
        }
    }

    pub(super) async fn api(&mut self, operation: &str, body: &str) -> Result<Value, String> {
        let answer = self.ask(&format!("$JS.API.{operation}"), body, None, PATIENCE).await;
        let answer = answer.ok_or("no answer")?;
        if let Some(status) = answer.status {
            return Err(format!("status {}", status.as_u16()));
        }
        let value: Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
        match value.get("error") {
            Some(error) => Err(refusal(error)),
            None => Ok(value),
        }
    }

    /// Servers of a cluster tell each other what was done, and a server tells its consumers of messages that are gone.
    pub(super) async fn spread(&self) {
        sleep(if self.player.is_clustered { SPREADING } else { TELLING }).await;
    }

    /// What is told of a consumer or a stream; by a cluster when it says the same again and again.
    pub(super) async fn settled(&mut self, operation: &str) -> Result<Value, String> {
        let until = Instant::now() + SETTLING;
        let (mut before, mut times) = (None, 0);
        loop {
            self.spread().await;
            let told = self.api(operation, "").await.map(|info| self.teller.plain(info));
            times = if before.as_ref() == Some(&told) { times + 1 } else { 1 };
            if !self.player.is_clustered || times == SAME || Instant::now() > until {
                return told;
            }
            before = Some(told);
        }
    }
}
