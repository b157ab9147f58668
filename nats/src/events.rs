//! The event log: inputs in, decisions in and out.
//!
//! Invariants: a decision is stored only behind the one that its author had read; what is read back is complete up to
//! what the stream's leader has.

use bytes::Bytes;
use jiff::Timestamp;
use rr_schemas::{
    codec::{Format, JSON},
    decision::Decision,
    id::{EntityId, RunId},
    input::Input,
    name::InstanceId,
    planted::{self, Bug},
    text::Echo,
};
use sha2::{Digest as _, Sha256};

use crate::{
    direct::{Which, read_from, read_leader, read_leader_from},
    error::{Error, PublishError},
    input::{self, EncodeError, InputMsg, unencodable, wrap},
    link::{expecting, json_message, typed},
    mesh::Mesh,
    raw::RawMessage,
    subject::{self, header},
    transport::{HeaderMap, Outgoing},
};

/// Bytes of a hash that are kept: enough that nobody finds two decisions with the same.
const HASH_BYTES: usize = 16;

/// Whether a submit may follow another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum First {
    /// It must be the first thing that was ever asked of this id.
    New,
    /// It may follow others.
    Any,
}

/// A decision, encoded once: for its size, its hash and the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncodedDecision {
    bytes: Bytes,
    hash: String,
}

impl EncodedDecision {
    /// Its size.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its hash, which the next decision carries as `prev`.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Encodes a decision.
///
/// # Errors
/// [`EncodeError`], never for a decision of ours.
pub fn encode_decision(entity: &EntityId, decision: &Decision) -> Result<EncodedDecision, EncodeError> {
    let bytes = wrap(Format::Json, &input::from_coordinator(&decision.by), entity, decision)?;
    let hash = hash(&bytes);
    Ok(EncodedDecision { bytes: bytes.into(), hash })
}

/// The hash of a decision's bytes: 16 bytes of its SHA-256 in hex.
pub fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(HASH_BYTES).fold(String::with_capacity(2 * HASH_BYTES), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// A message on an entity's subject of decisions.
#[derive(Clone, Debug)]
pub struct StoredDecision {
    /// Its sequence: what the next decision must expect.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// The hash of its bytes.
    pub hash: String,
    /// The decision, or why it is none: the fold passes over such a one, and it goes to the quarantine.
    pub decision: Result<Decision, String>,
    /// The message.
    pub raw: RawMessage,
}

impl StoredDecision {
    pub(crate) fn read(raw: RawMessage, entity: &EntityId) -> Self {
        Self { seq: raw.seq, at: raw.at, hash: hash(&raw.payload), decision: read_decision(&raw, entity), raw }
    }

    /// Whether it is a decision that this build cannot read, a newer one most likely. To pass over it would be to begin a
    /// second history beside the one that it belongs to.
    pub fn is_unreadable(&self) -> bool {
        self.decision.is_err() && self.raw.is_unreadable::<Decision>()
    }
}

fn read_decision(raw: &RawMessage, entity: &EntityId) -> Result<Decision, String> {
    let envelope = raw.envelope::<Decision>()?;
    if envelope.to != *entity {
        return Err(format!("addressed to {}", Echo::new(envelope.to.as_str())));
    }
    if envelope.from != input::from_coordinator(&envelope.body.by) {
        return Err(format!("says to be from {}", Echo::new(&envelope.from)));
    }
    Ok(envelope.body)
}

impl Mesh {
    /// Asks for a run. `who` names the person or program.
    ///
    /// # Errors
    /// [`PublishError::Conflict`] when the id is taken.
    pub async fn submit(&self, run: &RunId, who: &str, submit: &Input, first: First) -> Result<u64, PublishError> {
        let entity = EntityId::from(run);
        let mut headers = HeaderMap::new();
        match first {
            First::New => expecting(&mut headers, 0, None),
            First::Any => {}
        }
        let subject = subject::api(self.partition_of(&entity), &entity);
        self.put(subject, headers, &format!("api:{who}"), &entity, submit).await
    }

    /// The first thing that people or programs asked of an entity, as the leader has it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn first_request(&self, entity: &EntityId) -> Result<Option<InputMsg>, Error> {
        let subject = subject::api(self.partition_of(entity), entity);
        let which = Which::Next { seq: 1, next_by_subj: &subject };
        let first = read_leader(self.link(), subject::EVENTS, which).await?;
        Ok(first.and_then(|raw| input::read(raw, None, self).ok()))
    }

    /// Asks something of an entity that exists.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn request(&self, entity: &EntityId, who: &str, input: &Input) -> Result<u64, PublishError> {
        let subject = subject::api(self.partition_of(entity), entity);
        self.put(subject, HeaderMap::new(), &format!("api:{who}"), entity, input).await
    }

    /// Notes what a coordinator saw.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn note(&self, entity: &EntityId, instance: &InstanceId, input: &Input) -> Result<u64, PublishError> {
        let subject = subject::note(self.partition_of(entity), entity);
        self.put(subject, HeaderMap::new(), &input::from_coordinator(instance), entity, input).await
    }

    /// Stores an input in the format of this handle.
    pub(crate) async fn put(
        &self,
        subject: String,
        mut headers: HeaderMap,
        from: &str,
        to: &EntityId,
        input: &Input,
    ) -> Result<u64, PublishError> {
        let body = wrap(self.wire(), from, to, input).map_err(|error| unencodable(&error))?;
        headers.insert(header::CONTENT_TYPE, self.wire().content_type());
        let message = Outgoing { subject: subject.into(), headers: Some(headers), payload: body.into() };
        self.link().publish(message).await.map(|stored| stored.seq)
    }

    /// Appends a decision behind `expected`, the sequence of the last message on the entity's subject, 0 for none.
    ///
    /// # Errors
    /// [`PublishError::Conflict`] when another one is the last: drop what is known of the entity and load it.
    pub async fn append(
        &self,
        entity: &EntityId,
        decision: &EncodedDecision,
        expected: u64,
    ) -> Result<u64, PublishError> {
        let subject = subject::decisions(self.partition_of(entity), entity);
        let mut headers = typed(JSON);
        if !planted::bites(Bug::BlindAppend) {
            expecting(&mut headers, expected, None);
        }
        let message = json_message(subject, headers, decision.bytes.clone());
        self.link().publish(message).await.map(|stored| stored.seq)
    }

    /// The last message on the entity's subject of decisions, from the leader.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn last_decision(&self, entity: &EntityId) -> Result<Option<StoredDecision>, Error> {
        let subject = subject::decisions(self.partition_of(entity), entity);
        let last = read_leader(self.link(), subject::EVENTS, Which::Last { last_by_subj: &subject }).await?;
        Ok(last.map(|message| StoredDecision::read(message, entity)))
    }

    /// Every message on the entity's subject of decisions from sequence `from` on, up to the leader's last one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn history(&self, entity: &EntityId, from: u64) -> Result<Vec<StoredDecision>, Error> {
        let subject = subject::decisions(self.partition_of(entity), entity);
        let (link, stream) = (self.link(), subject::EVENTS);
        // The leader's last one is asked for first: what comes later is not missing.
        let last = read_leader(link, stream, Which::Last { last_by_subj: &subject }).await?;
        let Some(last) = last.filter(|last| last.seq >= from) else { return Ok(Vec::new()) };
        let mut found = read_from(link, stream, &subject, from).await?;
        if found.last().is_none_or(|newest| newest.seq < last.seq) {
            let next = found.last().map_or(from, |newest| newest.seq.saturating_add(1));
            found.extend(read_leader_from(link, stream, &subject, next).await?);
        }
        Ok(found.into_iter().map(|raw| StoredDecision::read(raw, entity)).collect())
    }

    /// Every input of the entity behind sequence `after`, in order, up to the leader's last one, and `until` surely among
    /// them (0: no such demand). Messages on its subjects that cannot be inputs are passed over.
    ///
    /// # Errors
    /// [`Error::Behind`] when not even the leader has `until`, or another leader has not what the first one had.
    pub async fn inputs_after(&self, entity: &EntityId, after: u64, until: u64) -> Result<Vec<InputMsg>, Error> {
        let filter = subject::inputs(self.partition_of(entity), entity);
        let (link, stream) = (self.link(), subject::EVENTS);
        let from = after.saturating_add(1);
        // As for decisions. Nobody may be woken by those behind `until`: somebody in trouble has acknowledged them.
        let last = read_leader(link, stream, Which::Last { last_by_subj: &filter }).await?;
        let last = last.map_or(0, |last| last.seq).max(until);
        if last <= after {
            return Ok(Vec::new());
        }
        let mut found = read_from(link, stream, &filter, from).await?;
        let lacks = |found: &[RawMessage], seq: u64| found.last().is_none_or(|newest| newest.seq < seq);
        if lacks(&found, last) {
            let next = found.last().map_or(from, |newest| newest.seq.saturating_add(1));
            found.extend(read_leader_from(link, stream, &filter, next).await?);
        }
        if lacks(&found, last) {
            return Err(Error::Behind { entity: entity.as_str().to_owned(), seq: last });
        }
        Ok(found.into_iter().filter_map(|raw| input::read(raw, None, self).ok()).collect())
    }
}
