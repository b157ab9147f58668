//! A stored message as the judge takes it.

use rr_nats::copies::LogMessage;
use rr_nats::{Chunk, Copied};
use rr_schemas::id::RunId;
use rr_verify::stream::{Content, Message};

/// A message of the log; none where its subject is nobody's.
///
/// # Errors
/// What is wrong with the copy.
pub(crate) fn message(copied: &Copied, partitions: u16) -> Result<Option<Message>, String> {
    let raw = copied.raw()?;
    let (seq, at) = (raw.seq, raw.at);
    let (entity, content) = match LogMessage::read(raw, partitions) {
        LogMessage::Decision(entity, stored) => (entity, Content::of_decision(stored.hash, stored.decision)),
        LogMessage::Foreign(entity) => (entity, Content::Foreign),
        LogMessage::Input(said) => {
            let is_unreadable = said.is_unreadable();
            (said.entity, Content::of_input(said.source, said.input, is_unreadable))
        }
        LogMessage::Nobodys => return Ok(None),
    };
    Ok(Some(Message { run: RunId::from(entity), seq, at, content }))
}

/// A chunk of output; none where it is nothing of ours.
///
/// # Errors
/// What is wrong with the copy.
pub(crate) fn chunk(copied: &Copied) -> Result<Option<(RunId, Chunk)>, String> {
    Ok(Chunk::read(copied.raw()?))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// What a newer build has written is not what nobody can believe.
    #[test]
    fn what_this_build_cannot_read_is_told_from_what_nobody_believes() {
        let copied = |payload: &str| Copied {
            subject: "rr.in.0.r1.api".to_owned(),
            seq: 7,
            time: "2026-01-01T00:00:00Z".to_owned(),
            headers: Vec::new(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        };
        let of = |v: u16, to: &str, body: &str| {
            format!(r#"{{"v":{v},"kind":"rr.input","from":"api:me","to":"{to}","body":{body}}}"#)
        };
        let cancel = r#"{"cancel":{"by":"me","later":true}}"#;
        for (what, payload, word) in [
            ("with a field of a later version", of(1, "r1", cancel), "input"),
            ("of a later version", of(2, "r1", cancel), "unread"),
            ("of a kind of a later version", of(1, "r1", r#"{"pause":{"by":"me"}}"#), "unread"),
            ("said to another run", of(1, "r2", cancel), "bad"),
            ("of a later version, said to another run", of(2, "r2", cancel), "bad"),
            ("of a later version, by a worker", of(2, "r1", cancel).replace("api:me", "worker:me"), "bad"),
            ("nothing that any version has said", of(1, "r1", r#"{"cancel":{"by":-1}}"#), "bad"),
            ("no input", of(1, "r1", cancel).replace("rr.input", "rr.offer"), "bad"),
            ("no JSON", "hello".to_owned(), "bad"),
        ] {
            let found = match message(&copied(&payload), 1).unwrap().unwrap().content {
                Content::Input { .. } => "input",
                Content::Unread(_) => "unread",
                Content::Bad(_) => "bad",
                Content::Decision { .. } | Content::Unreadable(_) | Content::Foreign => "else",
            };
            assert_eq!(found, word, "{what}");
        }
    }
}
