//! Publishing: one message, or several at once.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use rr_nats::transport::HeaderMap;
use serde_json::Value;
use tokio::time::timeout;

use super::{PATIENCE, Play};
use crate::told::refusal;

/// What a publish is refused with because of another one that the copies have not agreed on yet.
const UNDER_WAY: u64 = 10164;
/// How often a cluster is given the occasion to say so.
const CLASHES_MAX: usize = 5;

impl Play<'_> {
    pub(super) async fn publish(&mut self, subject: &str, body: &str, lines: &[(String, String)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name.as_str(), self.in_time(value));
        }
        let headers = (!lines.is_empty()).then_some(headers);
        let answer = self.ask(subject, body, headers, PATIENCE).await;
        self.spread().await;
        let Some(answer) = answer else { return "no answer".to_owned() };
        let Ok(ack) = serde_json::from_slice::<Value>(&answer.payload) else { return self.teller.told(&answer) };
        match ack.get("error") {
            Some(error) => refusal(error),
            None if ack.get("duplicate").is_some() => format!("duplicate of #{}", ack["seq"]),
            None => format!("#{}", ack["seq"]),
        }
    }

    /// How many of those that are published at once are stored, and with which codes the others are refused. How many with which is
    /// a matter of time: of two that are under way a cluster says so, one server does not know them.
    pub(super) async fn race(&mut self, n: usize, subject: &str, lines: &[(String, String)]) -> (usize, BTreeSet<u64>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name.as_str(), self.in_time(value));
        }
        let replies: Vec<String> = (0..n).map(|racer| format!("{}race.{racer}", self.prefix)).collect();
        let subject = self.with_name(subject);
        for reply in &replies {
            self.send(&subject, String::new(), Some(headers.clone()), reply).await;
        }
        let (mut stored, mut codes) = (0, BTreeSet::new());
        for _ in &replies {
            let answer = timeout(PATIENCE, self.inbox.next()).await.unwrap().unwrap();
            let ack: Value = serde_json::from_slice(&answer.payload).unwrap();
            stored += usize::from(ack.get("error").is_none() && ack.get("duplicate").is_none());
            codes.extend(ack.get("error").and_then(|error| error["err_code"].as_u64()));
        }
        self.spread().await;
        (stored, codes)
    }

    /// Publishes so many at once, all alike, and tells whether any of them was refused because of another one that was under way.
    pub(super) async fn clash(&mut self, n: usize, subject: &str, lines: &[(String, String)]) -> String {
        let (stored, mut codes) = self.race(n, subject, lines).await;
        // A machine that stalls at the wrong moment lets the first one be agreed on before the second is sent.
        for n_again in 1..CLASHES_MAX {
            if self.player.is_clustered && !codes.contains(&UNDER_WAY) {
                codes = self.race(n, &format!("{subject}{n_again}"), lines).await.1;
            }
        }
        let words = if codes.contains(&UNDER_WAY) { "some because of what is" } else { "none because of what is" };
        format!("{stored} stored, {} not, {words} under way", n - stored)
    }

    /// `AT now+300` is a schedule for a time in so many milliseconds.
    fn in_time(&self, value: &str) -> String {
        let value = self.with_name(value).replace("AT ", "@at ");
        let Some((before, ms)) = value.split_once("now+") else { return value };
        let since = jiff::SignedDuration::from_millis(ms.parse().unwrap());
        // With all digits, so that it has one length.
        format!("{before}{:.9}", (self.player.clock)() + since)
    }
}
