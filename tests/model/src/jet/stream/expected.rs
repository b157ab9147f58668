//! What a publisher expects, and ids of messages.

use super::{Stored, Stream, Turn, publish::Rejected};
use crate::{
    jet::{refusal::Refusal, said::Said},
    subject::matches,
};

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
const ID: &str = "Nats-Msg-Id";

/// A number as the server reads it: what is none is one that never fits.
fn number(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

impl Stream {
    /// Looks at what is expected of the messages that are there.
    pub(super) fn examine_expected(&self, message: &Said) -> Result<(), Refusal> {
        if let Some(expected) = message.header("Nats-Expected-Last-Sequence")
            && number(expected) != self.store.last()
        {
            return Err(Refusal::wrong_last(self.store.last()));
        }
        if let Some(expected) = message.header("Nats-Expected-Last-Msg-Id")
            && expected != self.last_id
        {
            return Err(Refusal::wrong_id(&self.last_id));
        }
        let filter = message.header(EXPECTED_SUBJECT);
        let Some(expected) = message.header(EXPECTED) else {
            return if filter.is_some() { Err(Refusal::filter_without_sequence()) } else { Ok(()) };
        };
        let filter = filter.unwrap_or(&message.subject);
        // Of two that are under way at once the first one wins, and nobody knows its sequence yet.
        if self.proposed.iter().any(|proposal| {
            proposal.message.header(EXPECTED).is_some()
                && (matches(filter, &proposal.message.subject)
                    || proposal.message.header(EXPECTED_SUBJECT) == Some(filter))
        }) {
            return Err(Refusal::wrong_last_race());
        }
        let last = self.store.last_on(filter).map_or(0, |last| last.seq);
        if number(expected) == last { Ok(()) } else { Err(Refusal::wrong_last(last)) }
    }

    /// Looks once more when copies have agreed: others may have been stored meanwhile.
    pub(super) fn examine_again(&self, message: &Said) -> Result<(), Refusal> {
        if let Some(expected) = message.header(EXPECTED) {
            let filter = message.header(EXPECTED_SUBJECT).unwrap_or(&message.subject);
            let last = self.store.last_on(filter).map_or(0, |last| last.seq);
            if number(expected) != last {
                return Err(Refusal::wrong_last(last));
            }
        }
        let size = crate::jet::store::size(&message.subject, message.headers.as_ref(), &message.payload);
        self.has_room(size, &message.subject).map_err(Refusal::full)
    }

    /// Looks whether a message with this id is there, or under way.
    pub(super) fn examine_id(&self, message: &Said) -> Result<(), Rejected> {
        let Some(id) = message.header(ID) else { return Ok(()) };
        if let Some((seq, _)) = self.ids.get(id) {
            return Err(Rejected::Duplicate(*seq));
        }
        if self.proposed.iter().any(|proposal| proposal.message.header(ID) == Some(id)) {
            return Err(Refusal::in_process().into());
        }
        Ok(())
    }

    pub(super) fn note_id(&mut self, message: &Stored, turn: &Turn<'_>) {
        message.header(ID).unwrap_or_default().clone_into(&mut self.last_id);
        if self.last_id.is_empty() || self.config.duplicate_window == 0 {
            return;
        }
        let until = message.at + self.config.duplicate_window;
        if until > turn.now {
            self.ids.insert(self.last_id.clone(), (message.seq, until));
            self.ids_until.push_back((until, self.last_id.clone()));
        }
    }

    /// Forgets the ids whose time is over.
    pub(super) fn forget_ids(&mut self, turn: &Turn<'_>) {
        while let Some((until, id)) = self.ids_until.pop_front_if(|(until, _)| *until <= turn.now) {
            if self.ids.get(&id).is_some_and(|(_, known)| *known <= until) {
                self.ids.remove(&id);
            }
        }
    }

    /// A server that starts knows the ids of the messages that are there, and of no others.
    pub(super) fn read_ids(&mut self, turn: &Turn<'_>) {
        self.ids.clear();
        self.ids_until.clear();
        let stored: Vec<_> = self.store.all().cloned().collect();
        for message in stored {
            self.note_id(&message, turn);
        }
    }
}
