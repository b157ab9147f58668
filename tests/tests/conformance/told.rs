//! What was answered, in words: without times, and with names for what each server makes up.

use std::{cmp::Ordering, collections::BTreeMap};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rr_nats::transport::{HeaderMap, HeaderValue, Message};
use serde_json::{Map, Value, json};

/// What differs each time, or is about who keeps a stream.
const UNTOLD: [&str; 12] = [
    "type",
    "created",
    "ts",
    "first_ts",
    "last_ts",
    "last_active",
    "pinned_ts",
    "time",
    "cluster",
    "num_replicas",
    "did_create",
    "domain",
];

/// Says what was answered, and remembers what is spoken of later.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    /// Where what is said of each delivery goes.
    pub(crate) deliveries: Vec<String>,
    /// Names of pins.
    pub(crate) pins: Vec<String>,
}

impl Teller {
    /// A message in a line.
    pub(crate) fn told(&mut self, message: &Message) -> String {
        let mut headers = BTreeMap::new();
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            let name: &str = name.as_ref();
            let values: Vec<&str> = values.iter().map(HeaderValue::as_str).collect();
            headers.insert(name.to_owned(), values.join(","));
        }
        headers.remove("Nats-Time-Stamp");
        if let Some(pin) = headers.get_mut("Nats-Pin-Id") {
            *pin = self.pin(pin);
        }
        let headers = if headers.is_empty() { String::new() } else { format!(" {headers:?}") };
        if let Some(status) = message.status {
            let text = message.description.as_deref().unwrap_or_default();
            return format!("{} {text}{headers}", status.as_u16());
        }
        let body = String::from_utf8_lossy(&message.payload);
        match message.reply.as_ref().filter(|reply| reply.starts_with("$JS.ACK.")) {
            Some(reply) => {
                self.deliveries.push(reply.to_string());
                let tokens: Vec<&str> = reply.split('.').collect();
                let (times, seq, number, left) = (tokens[4], tokens[5], tokens[6], tokens[8]);
                format!("{} #{seq} x{times} d{number} left {left} {body:?}{headers}", message.subject)
            }
            None => format!("{body:?}{headers}"),
        }
    }

    /// A name for what a server made up.
    fn pin(&mut self, id: &str) -> String {
        let known = self.pins.iter().position(|known| known == id);
        let n = known.unwrap_or_else(|| {
            self.pins.push(id.to_owned());
            self.pins.len() - 1
        });
        format!("P{}", n + 1)
    }

    /// An answer without what differs each time.
    pub(crate) fn plain(&mut self, value: Value) -> Value {
        match value {
            Value::Object(mut fields) => {
                if let Some(first) = first_of(&fields) {
                    fields.insert("first".to_owned(), first.into());
                }
                let told = fields.into_iter().filter(|(name, _)| !UNTOLD.contains(&name.as_str()));
                let told: BTreeMap<String, Value> = told.collect();
                let told = told.into_iter().map(|(name, value)| match (name.as_str(), &value) {
                    ("pinned_client_id", Value::String(pin)) => {
                        let pin = self.pin(pin);
                        (name, json!(pin))
                    }
                    ("hdrs", Value::String(block)) => {
                        let block = BASE64_STANDARD.decode(block).unwrap_or_default();
                        let text = String::from_utf8_lossy(&block).into_owned();
                        let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
                        lines.sort_unstable();
                        (name, json!(lines))
                    }
                    _ => {
                        let value = self.plain(value);
                        (name, value)
                    }
                });
                Value::Object(told.collect())
            }
            Value::Array(entries) => entries.into_iter().map(|entry| self.plain(entry)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
        }
    }
}

/// What the state of a stream says of when its first message was stored, in words that do not depend on the time.
fn first_of(state: &Map<String, Value>) -> Option<&'static str> {
    let at = |name: &str| Some(state.get(name)?.as_str()?.parse::<Timestamp>());
    let (first, last, messages) = (at("first_ts")?, at("last_ts")?, state.get("messages")?.as_u64()?);
    let (Ok(first), Ok(last)) = (first, last) else { return Some("at no time") };
    Some(match (messages, first.cmp(&last)) {
        (0, _) if first < Timestamp::UNIX_EPOCH => "never",
        (0, _) => "some time",
        (1, Ordering::Equal) => "when the last",
        (1, Ordering::Less) => "before the last, which is gone",
        (_, Ordering::Less | Ordering::Equal) => "no later than the last",
        (_, Ordering::Greater) => "later than the last",
    })
}

/// The numbers of a consumer.
pub(crate) fn numbers(info: &Value) -> String {
    let at = |place: &str| format!("{}/{}", info[place]["consumer_seq"], info[place]["stream_seq"]);
    let pin = info["priority_groups"][0]["pinned_client_id"].as_str();
    let pin = pin.map_or_else(String::new, |pin| format!(" pinned {pin}"));
    format!(
        "delivered {} floor {} unacked {} again {} waiting {} left {}{pin}",
        at("delivered"),
        at("ack_floor"),
        info["num_ack_pending"],
        info["num_redelivered"],
        info["num_waiting"],
        info["num_pending"]
    )
}

/// The same without sequences.
pub(crate) fn counts(info: &Value) -> String {
    let counted = ["num_ack_pending", "num_redelivered", "num_waiting", "num_pending"];
    format!("delivered {} {:?}", info["delivered"]["consumer_seq"], counted.map(|name| info[name].as_u64()))
}

pub(crate) fn refusal(error: &Value) -> String {
    format!("refused {} {}: {}", error["code"], error["err_code"], error["description"].as_str().unwrap_or_default())
}
