//! The API: `$JS.API.<operation>` and what it answers.

mod consumers;
mod get;
mod streams;

use rr_nats::transport::Subject;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Jet, SERVERS, Said, Turn, refusal::Refusal};
use crate::config::Servers;

/// Entries of a page at most.
const NAMES_MAX: usize = 1_024;
/// The same of what is told in full.
const LIST_MAX: usize = 256;

/// What an operation comes to.
pub(super) type Outcome = Result<Value, Refusal>;

/// Reads a request; one without a body is an empty object.
fn read<T: DeserializeOwned>(said: &Said) -> Result<T, Refusal> {
    let body: &[u8] = if said.payload.is_empty() { b"{}" } else { &said.payload };
    serde_json::from_slice(body).map_err(Refusal::bad_json)
}

/// Which page is asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Page {
    offset: usize,
}

/// A page of entries under a name.
fn page(name: &str, entries: Vec<Value>, offset: usize, limit: usize) -> Value {
    let total = entries.len();
    let shown: Vec<Value> = entries.into_iter().skip(offset).take(limit).collect();
    json!({"total": total, "offset": offset, "limit": limit, name: shown})
}

impl Jet {
    /// Somebody asks for an operation. What the server does not know it does not answer.
    pub(crate) fn asked(&mut self, operation: &str, said: &Said, turn: &mut Turn<'_>) {
        if let Some((stream, consumer)) =
            operation.strip_prefix("CONSUMER.MSG.NEXT.").and_then(|place| place.split_once('.'))
        {
            if let (Some(stream), Some(reply)) = (self.streams.get_mut(stream), &said.reply)
                && let Some(found) = stream.consumers.get_mut(consumer)
            {
                found.asked(&said.payload, reply, &stream.store, turn);
            }
            return;
        }
        if let Some(stream) = operation.strip_prefix("DIRECT.GET.") {
            return self.get_direct(stream, said, turn);
        }
        let tokens: Vec<&str> = operation.split('.').collect();
        let (kind, outcome) = match tokens.as_slice() {
            ["INFO"] => ("account_info", Ok(self.account())),
            ["STREAM", verb, rest @ ..] => {
                let Some(found) = self.asked_stream(verb, rest, said, turn) else { return };
                found
            }
            ["CONSUMER", verb, rest @ ..] => {
                let Some(found) = self.asked_consumer(verb, rest, said, turn) else { return };
                found
            }
            _ => return,
        };
        answer(said.reply.as_ref(), kind, outcome, turn);
    }

    /// Whether a leader is missing whose word an operation needs: then nobody answers.
    fn is_silent(&self, stream: &str) -> bool {
        self.streams.get(stream).is_some_and(|found| !found.is_led())
    }

    fn account(&self) -> Value {
        let bytes: u64 = self.streams.values().map(|stream| stream.store.bytes()).sum();
        let consumers: usize = self.streams.values().map(|stream| stream.consumers.len()).sum();
        json!({
            "memory": 0, "storage": bytes, "reserved_memory": 0, "reserved_storage": 0,
            "streams": self.streams.len(), "consumers": consumers,
            "limits": {
                "max_memory": -1, "max_storage": -1, "max_streams": -1, "max_consumers": -1, "max_ack_pending": -1,
                "memory_max_stream_bytes": -1, "storage_max_stream_bytes": -1, "max_bytes_required": false,
            },
            "api": {"level": 5, "total": 0, "errors": 0},
        })
    }

    /// Who keeps a stream or a consumer with so many copies, where so many leaders came before.
    fn cluster(&self, copies: u64, led: Option<usize>) -> Value {
        if !self.must_agree(copies) {
            return json!({"leader": led.map_or("", |_| SERVERS[0])});
        }
        let mut names = SERVERS;
        names.rotate_left(led.unwrap_or_default() % SERVERS.len());
        let [leader, others @ ..] = names;
        let peer = |name: &str| json!({"name": name, "current": true, "active": 1_000_000});
        json!({"name": "rr", "leader": led.map_or("", |_| leader), "replicas": others.map(peer)})
    }

    /// The leader of a stream, or that of one of its consumers, makes way for another one.
    fn step_down(&mut self, stream: &str, consumer: &str, turn: &mut Turn<'_>) -> Outcome {
        if self.servers == Servers::One {
            return Err(Refusal::no_cluster());
        }
        let found = self.stream(stream)?;
        if consumer.is_empty() {
            found.step_down(turn);
        } else if !found.consumers.contains_key(consumer) {
            return Err(Refusal::consumer_not_found());
        } else {
            self.move_consumer(stream, consumer, turn);
        }
        Ok(json!({"success": true}))
    }
}

/// Sends an answer of a kind.
fn answer(reply: Option<&Subject>, kind: &str, outcome: Outcome, turn: &mut Turn<'_>) {
    let mut told = Map::new();
    told.insert("type".to_owned(), format!("io.nats.jetstream.api.v1.{kind}_response").into());
    match outcome {
        Ok(Value::Object(fields)) => told.extend(fields),
        Ok(_) => {}
        Err(refusal) => {
            told.insert("error".to_owned(), refusal.to_json());
        }
    }
    turn.tell(reply, &Value::Object(told));
}
