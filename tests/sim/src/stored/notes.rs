//! What is in the quarantine. A stream that has lost its end gives sequences to others, so a sequence alone names no message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_nats::Quarantined;
use rr_verify::stream::is_no_older;

/// When messages were put aside last, by their sequences and subjects.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<(u64, String), Timestamp>);

impl Notes {
    /// Whether the message is among them that was stored then.
    pub(super) fn has(&self, seq: u64, subject: &str, stored: Timestamp) -> bool {
        self.0.get(&(seq, subject.to_owned())).is_some_and(|noted| is_no_older(*noted, stored))
    }

    /// Whether some message with this sequence and subject is among them.
    pub(super) fn knows(&self, seq: u64, subject: &str) -> bool {
        self.0.contains_key(&(seq, subject.to_owned()))
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, seq: u64, subject: &str, at: Timestamp) {
        self.0.insert((seq, subject.to_owned()), at);
    }
}

/// From what is there, the oldest first.
impl<'q> FromIterator<&'q Quarantined> for Notes {
    fn from_iter<T: IntoIterator<Item = &'q Quarantined>>(found: T) -> Self {
        Self(found.into_iter().map(|bad| ((bad.was, bad.subject.clone()), bad.at)).collect())
    }
}
