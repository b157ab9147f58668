//! Reading: pulls from consumers, and messages from any copy.

use std::time::Duration;

use futures::StreamExt as _;
use rr_nats::transport::Message;
use serde_json::json;
use tokio::time::timeout;

use super::{MOMENT, PATIENCE, Play};

/// How long a request waits for what is there: where too much is under way the server says nothing.
const HELD: Duration = Duration::from_secs(2);

impl Play<'_> {
    pub(super) async fn next(&mut self, within: Duration) -> Option<Message> {
        if !self.arrived.is_empty() {
            return Some(self.arrived.remove(0));
        }
        timeout(within, self.inbox.next()).await.ok()?
    }

    pub(super) async fn take(&mut self, n: usize) -> String {
        let mut lines = Vec::new();
        for _ in 0..n {
            let line = match self.next(PATIENCE).await {
                None => "nothing".to_owned(),
                Some(message) => self.teller.told(&message),
            };
            lines.push(line);
        }
        lines.join("\n")
    }

    pub(super) async fn pull(&mut self, stream: &str, consumer: &str, body: &str) {
        self.asked += 1;
        let reply = format!("{}p.{}", self.prefix, self.asked);
        let subject = self.with_name(&format!("$JS.API.CONSUMER.MSG.NEXT.@{stream}.{consumer}"));
        self.send(&subject, self.with_name(body), None, &reply).await;
    }

    pub(super) async fn fetch(&mut self, stream: &str, consumer: &str, n: usize) -> String {
        self.pull(stream, consumer, &json!({"batch": n, "no_wait": true}).to_string()).await;
        let mut lines = Vec::new();
        while lines.len() < n {
            let Some(message) = self.next(HELD).await else {
                lines.push("nothing".to_owned());
                break;
            };
            // One server says 404 and three say 408 behind what there was: a script of its own says so.
            if message.status.is_some() {
                lines.push("end".to_owned());
                break;
            }
            lines.push(self.teller.told(&message));
        }
        lines.join("\n")
    }

    pub(super) async fn direct(&mut self, stream: &str, body: &str) -> String {
        self.asked += 1;
        let reply = format!("{}r.{}", self.prefix, self.asked);
        let subject = self.with_name(&format!("$JS.API.DIRECT.GET.@{stream}"));
        self.send(&subject, self.with_name(body), None, &reply).await;
        let mut lines = Vec::new();
        while let Some(message) = self.answer(&reply, 2 * MOMENT).await {
            lines.push(self.teller.told(&message));
            if message.status.is_some() {
                break;
            }
        }
        lines.join("\n")
    }
}
