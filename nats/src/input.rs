//! How a stored message becomes an input: the subject says who may have sent it, and everything else must agree.

use rr_schemas::{
    codec::{self, Address, Body, Envelope, Format, VERSION, encode},
    id::EntityId,
    input::{Input, Source},
    name::{InstanceId, WorkerName},
    text::Echo,
};
use serde::Serialize;

pub use rr_schemas::codec::EncodeError;

use crate::{
    ack::Ack,
    error::PublishError,
    link::typed,
    mesh::Mesh,
    pull::Pulled,
    raw::RawMessage,
    subject::{self, InputSubject, header},
    transport::Outgoing,
};

/// Characters of a reason, and of a subject, that go into the quarantine.
pub(crate) const REASON_CHARS_MAX: usize = 500;
/// Room for the headers of a quarantined message.
pub(crate) const QUARANTINE_HEADERS_MAX: usize = 16 * 1024;

/// How serde calls a kind of input that this build does not know.
const UNKNOWN_KIND: &str = "unknown variant";

/// An input of an entity, read from the log or delivered.
#[derive(Clone, Debug)]
pub struct InputMsg {
    /// The entity that it is for.
    pub entity: EntityId,
    /// Who may have sent it.
    pub source: Source,
    /// The input, or why it must not be believed: such a one goes to the quarantine.
    pub input: Result<Input, String>,
    /// Who says to have sent it; empty where it cannot be read.
    pub from: String,
    /// The message.
    pub raw: RawMessage,
    /// How it was delivered; none where it was read from the log.
    pub delivery: Option<Delivery>,
}

impl InputMsg {
    /// Its sequence in the log.
    pub const fn seq(&self) -> u64 {
        self.raw.seq
    }

    /// Whether it is an input for this entity and from this sender that only a newer build can read: of a later version of the wire, or
    /// of a kind that this one does not know. Nobody may believe any other that cannot be read.
    pub fn is_unreadable(&self) -> bool {
        let Err(reason) = &self.input else { return false };
        let is_its = |address: Address| {
            let is_newer = address.v > VERSION || reason.contains(UNKNOWN_KIND);
            is_newer && address.kind == Input::KIND && address.to == self.entity && is_from(&self.source, &address.from)
        };
        self.raw.flaw().is_none()
            && self.raw.scheduler().is_none()
            && codec::address(self.raw.content_type(), &self.raw.payload).is_some_and(is_its)
    }

    /// When it was stored: the only clock that decisions know.
    pub const fn at(&self) -> jiff::Timestamp {
        self.raw.at
    }
}

/// How an input was delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Acknowledges it.
    pub ack: Ack,
    /// The pin under which it came; another one means that deliveries may have gone elsewhere in between.
    pub pin: Option<String>,
    /// Its number among the consumer's deliveries; a gap means the same.
    pub consumer_seq: u64,
    /// How many times it was delivered, from 1.
    pub delivered: u64,
}

impl Delivery {
    pub(crate) fn split(pulled: Pulled) -> (RawMessage, Self) {
        let Pulled { raw, consumer_seq, delivered, pin, ack, pending: _ } = pulled;
        (raw, Self { ack, pin, consumer_seq, delivered })
    }
}

/// Reads a message as an input. An error is a message on a subject that no input has.
pub(crate) fn read(raw: RawMessage, delivery: Option<Delivery>, mesh: &Mesh) -> Result<InputMsg, Box<Unreadable>> {
    read_among(raw, delivery, mesh.partitions())
}

/// The same in a mesh of so many partitions.
pub(crate) fn read_among(
    raw: RawMessage,
    delivery: Option<Delivery>,
    partitions: u16,
) -> Result<InputMsg, Box<Unreadable>> {
    let unreadable =
        |raw, delivery, reason: &str| Err(Box::new(Unreadable { raw, delivery, reason: reason.to_owned() }));
    let Some(parsed) = InputSubject::parse(&raw.subject) else {
        return unreadable(raw, delivery, "no input has such a subject");
    };
    let InputSubject { partition, entity, source } = parsed;
    if subject::partition_of(&entity, partitions) != partition {
        return unreadable(raw, delivery, "the entity lives in another partition");
    }
    let (from, input) = match believe(&raw, &entity, &source) {
        Ok(Envelope { from, body, .. }) => (from, Ok(body)),
        Err(reason) => (String::new(), Err(reason)),
    };
    Ok(InputMsg { entity, source, input, from, raw, delivery })
}

/// A message that cannot be an input of anybody.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) raw: RawMessage,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) reason: String,
}

/// The rules of who may be believed.
fn believe(raw: &RawMessage, entity: &EntityId, source: &Source) -> Result<Envelope<Input>, String> {
    let envelope = raw.envelope::<Input>()?;
    if envelope.to != *entity {
        return Err(format!("addressed to {}", Echo::new(envelope.to.as_str())));
    }
    if !is_from(source, &envelope.from) {
        return Err(format!("says to be from {}", Echo::new(&envelope.from)));
    }
    if !source.allows(&envelope.body) {
        return Err("such an input may not come from there".to_owned());
    }
    Ok(envelope)
}

fn is_from(source: &Source, from: &str) -> bool {
    match source {
        Source::Api => from.starts_with("api:"),
        Source::Worker(worker) | Source::Claim { worker, .. } => {
            from.strip_prefix("worker:").is_some_and(|name| name == worker.as_str())
        }
        Source::Timer | Source::Note => from.starts_with("coordinator:"),
    }
}

/// How a worker signs.
pub(crate) fn from_worker(worker: &WorkerName) -> String {
    format!("worker:{worker}")
}

/// How a coordinator signs.
pub(crate) fn from_coordinator(instance: &InstanceId) -> String {
    format!("coordinator:{instance}")
}

/// Encodes a body in its envelope without copying it first.
pub(crate) fn wrap<B: Body>(format: Format, from: &str, to: &EntityId, body: &B) -> Result<Vec<u8>, EncodeError> {
    #[derive(Serialize)]
    struct Borrowed<'a, B> {
        v: u16,
        kind: &'static str,
        from: &'a str,
        to: &'a EntityId,
        body: &'a B,
    }
    encode(format, &Borrowed { v: VERSION, kind: B::KIND, from, to, body })
}

/// A body that cannot be encoded is as good as refused.
pub(crate) fn unencodable(error: &EncodeError) -> PublishError {
    PublishError::Refused { code: 0, text: error.to_string() }
}

/// Who found a message that cannot be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finder<'a> {
    /// A coordinator.
    Coordinator(&'a InstanceId),
    /// A worker.
    Worker(&'a WorkerName),
}

impl Mesh {
    /// Keeps a message that cannot be believed, with the reason, for people. The caller acknowledges the message then.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn quarantine(&self, finder: Finder<'_>, message: &RawMessage, reason: &str) -> Result<(), PublishError> {
        let is_plain =
            |found: &&str| found.len() <= REASON_CHARS_MAX && !found.bytes().any(|byte| byte.is_ascii_control());
        let mut headers = typed(message.content_type().filter(is_plain).unwrap_or("application/octet-stream"));
        headers.insert(header::BAD_SUBJECT, on_one_line(&message.subject));
        headers.insert(header::BAD_SEQ, message.seq.to_string());
        headers.insert(header::BAD_REASON, on_one_line(reason));
        // With its headers a message of the largest size would be too large.
        let room = self.link().max_payload().saturating_sub(QUARANTINE_HEADERS_MAX);
        let payload = message.payload.slice(..message.payload.len().min(room));
        let message = Outgoing { subject: subject::bad(finder).into(), headers: Some(headers), payload };
        self.link().publish(message).await.map(|_| ())
    }
}

/// A text that cannot end a header line.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars().take(REASON_CHARS_MAX) {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}
