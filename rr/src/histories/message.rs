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
        LogMessage::Input(said) => (said.entity, Content::of_input(said.source, said.input)),
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
