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
    Ok(match LogMessage::read(raw, partitions) {
        LogMessage::Decision(entity, stored) => {
            let is_unreadable = stored.is_unreadable();
            let content = match stored.decision {
                Ok(decision) => Content::Decision { hash: stored.hash, decision: Box::new(decision) },
                Err(reason) if is_unreadable => Content::Unreadable(reason),
                Err(_) => Content::Foreign,
            };
            Some(Message { run: RunId::from(entity), seq, at, content })
        }
        LogMessage::Input(said) => {
            let content = match said.input {
                Ok(input) => Content::Input { source: said.source, input: Box::new(input) },
                Err(reason) => Content::Bad(reason),
            };
            Some(Message { run: RunId::from(said.entity), seq, at, content })
        }
        LogMessage::Nobodys => None,
    })
}

/// A chunk of output; none where it is nothing of ours.
///
/// # Errors
/// What is wrong with the copy.
pub(crate) fn chunk(copied: &Copied) -> Result<Option<(RunId, Chunk)>, String> {
    Ok(Chunk::read(copied.raw()?))
}
