//! Reading messages: one by one from the leader, or many at once.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use rr_nats::transport::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Outcome, read};
use crate::jet::{
    Jet, Said, Turn, nanos,
    refusal::Refusal,
    said::written,
    store::{Store, Stored, block, block_len},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    seq: u64,
    last_by_subj: String,
    next_by_subj: String,
    batch: usize,
    max_bytes: usize,
    multi_last: Vec<String>,
}

impl Asked {
    fn find<'s>(&self, store: &'s Store) -> Option<&'s std::sync::Arc<Stored>> {
        if !self.last_by_subj.is_empty() {
            store.last_on(&self.last_by_subj)
        } else if self.next_by_subj.is_empty() {
            store.get(self.seq)
        } else {
            store.next(self.seq, std::slice::from_ref(&self.next_by_subj))
        }
    }
}

impl Jet {
    pub(super) fn get_message(&mut self, name: &str, said: &Said) -> Outcome {
        let asked: Asked = read(said)?;
        let stream = self.stream(name)?;
        let found = asked.find(&stream.store).ok_or_else(Refusal::no_message)?;
        let mut message = json!({"subject": found.subject, "seq": found.seq, "time": written(found.at)});
        if let Some(fields) = message.as_object_mut() {
            if let Some(headers) = &found.headers {
                fields.insert("hdrs".to_owned(), BASE64_STANDARD.encode(block(headers)).into());
            }
            if !found.payload.is_empty() {
                fields.insert("data".to_owned(), BASE64_STANDARD.encode(&found.payload).into());
            }
        }
        Ok(json!({"message": message}))
    }

    /// Answers with messages themselves, and with a word at the end of more than one.
    pub(super) fn get_direct(&self, name: &str, said: &Said, turn: &mut Turn<'_>) {
        const BAD_REQUEST: u16 = 408;
        const END: u16 = 204;
        let (Some(stream), Some(reply)) = (self.streams.get(name), said.reply.as_ref()) else { return };
        let word = |code: u16, text: &str, headers: HeaderMap| {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::NOT_FOUND);
            Said::status(reply, status, text, headers)
        };
        let Ok(asked) = read::<Asked>(said) else {
            return turn.answer_with(word(BAD_REQUEST, "Malformed Request", HeaderMap::new()));
        };
        let unknown_from = stream.store.behind(turn.now.saturating_sub(nanos(turn.behind)));
        let mut found = find_all(&asked, &stream.store);
        found.retain(|message| message.seq < unknown_from);
        let Some(first) = found.first() else {
            return turn.answer_with(word(404, "Message Not Found", HeaderMap::new()));
        };
        if asked.batch == 0 && asked.multi_last.is_empty() {
            return turn.answer_with(shown(name, first, reply));
        }
        let mut left = if asked.multi_last.is_empty() {
            let filter = std::slice::from_ref(&asked.next_by_subj);
            let [from, unknown] = [first.seq, unknown_from].map(|seq| stream.store.count_from(seq, filter));
            from.saturating_sub(unknown)
        } else {
            u64::try_from(found.len()).unwrap_or(u64::MAX)
        };
        let (mut before, mut bytes) = (0, 0);
        for message in found {
            left = left.saturating_sub(1);
            let mut answer = shown(name, message, reply);
            let headers = answer.headers.get_or_insert_default();
            headers.append("Nats-Num-Pending", left.to_string());
            headers.append("Nats-Last-Sequence", before.to_string());
            before = message.seq;
            bytes += message.subject.len() + message.headers.as_ref().map_or(0, block_len) + message.payload.len();
            turn.answer_with(answer);
            if asked.max_bytes > 0 && bytes >= asked.max_bytes {
                break;
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Num-Pending", left.to_string());
        headers.insert("Nats-Last-Sequence", before.to_string());
        turn.answer_with(word(END, "EOB", headers));
    }
}

fn find_all<'s>(asked: &Asked, store: &'s Store) -> Vec<&'s Stored> {
    if !asked.multi_last.is_empty() {
        return store
            .newest(&asked.multi_last)
            .into_iter()
            .filter_map(|seq| store.get(seq))
            .map(AsRef::as_ref)
            .collect();
    }
    if asked.batch == 0 {
        return asked.find(store).map(AsRef::as_ref).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut from = asked.seq.max(1);
    while found.len() < asked.batch {
        let Some(next) = store.next(from, std::slice::from_ref(&asked.next_by_subj)) else { break };
        from = next.seq + 1;
        found.push(next.as_ref());
    }
    found
}

fn shown(stream: &str, message: &Stored, reply: &str) -> Said {
    let mut headers = message.headers.clone().unwrap_or_default();
    headers.append("Nats-Stream", stream);
    headers.append("Nats-Subject", message.subject.as_str());
    headers.append("Nats-Sequence", message.seq.to_string());
    headers.append("Nats-Time-Stamp", written(message.at));
    let payload: Bytes = message.payload.clone();
    Said { headers: Some(headers), ..Said::plain(reply, payload) }
}
