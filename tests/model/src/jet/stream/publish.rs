//! How a message gets into a stream.

use rr_nats::transport::{HeaderMap, Subject};
use serde_json::json;

use super::{Armed, Stored, Stream, Turn};
use crate::jet::{
    refusal::Refusal,
    said::Said,
    store::{block_len, size},
};

/// A message that copies have still to agree on.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(super) at: u64,
    pub(super) message: Said,
    pub(super) reply: Option<Subject>,
}

/// Why a message is not stored.
#[derive(Debug)]
pub(super) enum Rejected {
    No(Refusal),
    /// It is there.
    Duplicate(u64),
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self::No(refusal)
    }
}

/// A time to live, as the server reads it: seconds, or units with numbers. None for "for ever".
fn lifetime(text: &str) -> Result<Option<u64>, Refusal> {
    const SECOND: u64 = 1_000_000_000;
    if text == "never" {
        return Ok(None);
    }
    let seconds = text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(SECOND));
    let span = || text.parse::<jiff::SignedDuration>().ok().and_then(|span| u64::try_from(span.as_nanos()).ok());
    match seconds.or_else(span) {
        Some(0) => Ok(None),
        Some(nanos) if nanos >= SECOND => Ok(Some(nanos)),
        _ => Err(Refusal::ttl_invalid()),
    }
}

impl Stream {
    /// Somebody publishes.
    pub(crate) fn publish(&mut self, said: &Said, turn: &mut Turn<'_>) {
        let message = Said { subject: said.to.clone(), ..said.clone() };
        let reply = said.reply.clone();
        match self.examine(&message, turn) {
            Err(rejected) => self.reject(reply.as_ref(), rejected, turn),
            Ok(()) if self.agrees => {
                // In the order in which they came.
                let at = self.agreed_at.max(turn.now + turn.agreement());
                self.agreed_at = at;
                self.proposed.push_back(Proposal { at, message, reply });
                self.wake(at, turn);
            }
            Ok(()) => self.settle(Proposal { at: turn.now, message, reply }, turn),
        }
    }

    /// Stores what copies have agreed on by now.
    pub(super) fn agree(&mut self, turn: &mut Turn<'_>) {
        while let Some(proposal) = self.proposed.pop_front_if(|proposal| proposal.at <= turn.now) {
            match self.examine_again(&proposal.message) {
                Ok(()) => self.settle(proposal, turn),
                Err(refusal) => self.reject(proposal.reply.as_ref(), refusal.into(), turn),
            }
        }
    }

    fn reject(&self, reply: Option<&Subject>, rejected: Rejected, turn: &mut Turn<'_>) {
        let stream = &self.config.name;
        match rejected {
            Rejected::Duplicate(seq) => {
                turn.tell(reply, &json!({"stream": stream, "seq": seq, "duplicate": true}));
            }
            Rejected::No(refusal) => {
                turn.tell(reply, &json!({"error": refusal.to_json(), "stream": stream, "seq": 0}));
            }
        }
    }

    /// Looks at a message before it is stored.
    fn examine(&mut self, message: &Said, turn: &Turn<'_>) -> Result<(), Rejected> {
        self.forget_ids(turn);
        self.examine_powers(message)?;
        // A cluster looks at the id first, a single server at what is expected.
        if self.agrees {
            self.examine_id(message)?;
            self.examine_expected(message)?;
        } else {
            self.examine_expected(message)?;
            self.examine_id(message)?;
        }
        self.examine_schedule(message)?;
        let most = usize::try_from(self.config.max_msg_size).unwrap_or(usize::MAX);
        let len = message.headers.as_ref().map_or(0, block_len) + message.payload.len();
        if len > most {
            return Err(Refusal::too_large().into());
        }
        let size = size(&message.subject, message.headers.as_ref(), &message.payload);
        self.has_room(size, &message.subject).map_err(Refusal::full)?;
        Ok(())
    }

    /// Looks at what headers ask for.
    fn examine_powers(&self, message: &Said) -> Result<(), Refusal> {
        if message.header("Nats-Expected-Stream").is_some_and(|stream| stream != self.config.name) {
            return Err(Refusal::wrong_stream());
        }
        if message.header("Nats-Batch-Id").is_some() {
            return Err(Refusal::batch_disabled());
        }
        if let Some(ttl) = message.header("Nats-TTL") {
            if !self.config.allow_msg_ttl {
                return Err(Refusal::ttl_disabled());
            }
            lifetime(ttl)?;
        }
        match message.header("Nats-Rollup") {
            Some(_) if !self.config.allow_rollup_hdrs || self.config.deny_purge => Err(Refusal::rollup_not_permitted()),
            Some(_) | None => Ok(()),
        }
    }

    /// Stores a message, does what its headers ask for, and tells its publisher.
    pub(super) fn settle(&mut self, proposal: Proposal, turn: &mut Turn<'_>) {
        let Proposal { mut message, reply, .. } = proposal;
        if message.header("Nats-Schedule").is_some() {
            // The server's own: a subject has one timer.
            message.headers.get_or_insert_default().insert("Nats-Rollup", "sub");
        }
        if let Some(scheduler) =
            message.header("Nats-Scheduler").filter(|_| message.header("Nats-Schedule-Next") == Some("purge"))
        {
            let scheduler = scheduler.to_owned();
            self.purge(Some(&scheduler), None, 0, turn);
        }
        let subject = message.subject.clone();
        let overtaken = self.overtaken(&subject, turn);
        let seq = self.put(message.subject, message.headers, message.payload, turn);
        if let Some(timer) = overtaken {
            self.fire_one(&subject, &timer, turn);
        }
        turn.tell(reply.as_ref(), &json!({"stream": self.config.name, "seq": seq}));
    }

    /// Stores a message.
    pub(super) fn put(
        &mut self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: bytes::Bytes,
        turn: &mut Turn<'_>,
    ) -> u64 {
        let seq = self.store.last() + 1;
        let message = self.store.add(Stored { seq, subject, headers, payload, at: turn.now });
        self.note_id(&message, turn);
        turn.note(&self.config.name, &message);
        let ttl = message.header("Nats-TTL").and_then(|ttl| lifetime(ttl).ok().flatten());
        let age = Some(self.config.max_age).filter(|age| *age > 0);
        if let Some(lifetime) = ttl.into_iter().chain(age).min() {
            self.expiries.insert((turn.now + lifetime, seq));
            self.wake(turn.now + lifetime, turn);
        }
        self.gives_way(&message.subject);
        match message.header("Nats-Rollup") {
            Some("all") => drop(self.purge(None, Some(seq), 0, turn)),
            Some(_) => drop(self.purge(Some(&message.subject), Some(seq), 0, turn)),
            None => {}
        }
        self.make_room(&message.subject, turn);
        match Armed::read(&message) {
            Some(armed) => {
                self.armed.insert(message.subject.clone(), armed);
                self.watch_timers(turn);
            }
            // Whatever stands there now is no timer.
            None => drop(self.armed.remove(&message.subject)),
        }
        for consumer in self.consumers.values_mut() {
            consumer.stored(&message, &self.store, turn);
        }
        seq
    }
}
