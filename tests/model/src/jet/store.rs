//! The messages of a stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use rr_nats::transport::{HeaderMap, HeaderValue};

use crate::subject::{is_literal, matches};

/// A message that is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
    /// When it was stored, in nanoseconds since 1970.
    pub(crate) at: u64,
}

/// Bytes of headers on the wire.
pub(crate) fn block_len(headers: &HeaderMap) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        let name = name.len();
        values.iter().map(move |value| name + 2 + value.as_str().len() + 2)
    });
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// Headers as they stand on the wire, by name: the order in which they came is not kept.
pub(crate) fn block(headers: &HeaderMap) -> Vec<u8> {
    let mut lines: Vec<String> = headers
        .iter()
        .flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| format!("{name}: {}\r\n", value.as_str()))
        })
        .collect();
    // Values of one name stay in their order.
    lines.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    format!("NATS/1.0\r\n{}\r\n", lines.concat()).into_bytes()
}

/// What a message takes in a file.
pub(crate) fn size(subject: &str, headers: Option<&HeaderMap>, payload: &Bytes) -> u64 {
    // Header of a record and its checksum; four bytes more for the length of headers.
    let headers = headers.map_or(0, |headers| block_len(headers) + 4);
    u64::try_from(22 + subject.len() + headers + payload.len() + 8).unwrap_or(u64::MAX)
}

impl Stored {
    pub(crate) fn size(&self) -> u64 {
        size(&self.subject, self.headers.as_ref(), &self.payload)
    }

    pub(crate) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(HeaderValue::as_str)
    }
}

/// The messages of a stream, by sequence and by subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    messages: BTreeMap<u64, Arc<Stored>>,
    subjects: BTreeMap<String, BTreeSet<u64>>,
    bytes: u64,
    /// The last sequence that was given.
    last: u64,
    /// When.
    pub(crate) last_at: u64,
}

impl Store {
    /// One whose first message has this sequence, or 1 for none.
    pub(crate) fn beginning(first: u64) -> Self {
        Self { last: first.saturating_sub(1), ..Self::default() }
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// The first sequence that is there, or would be next.
    pub(crate) fn first(&self) -> u64 {
        self.messages.first_key_value().map_or(self.last + 1, |(seq, _)| *seq)
    }

    pub(crate) fn oldest(&self) -> Option<&Arc<Stored>> {
        self.messages.values().next()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn subjects(&self) -> &BTreeMap<String, BTreeSet<u64>> {
        &self.subjects
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Arc<Stored>> {
        self.messages.get(&seq)
    }

    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<Stored>> {
        self.messages.values()
    }

    /// The sequence of the first message that was stored after a time in nanoseconds since 1970, or the one that the next has.
    pub(crate) fn behind(&self, time: u64) -> u64 {
        let later = self.all().rev().take_while(|message| message.at > time);
        later.last().map_or(self.last + 1, |message| message.seq)
    }

    pub(crate) fn add(&mut self, message: Stored) -> Arc<Stored> {
        let message = Arc::new(message);
        self.last = message.seq;
        self.last_at = message.at;
        self.bytes += message.size();
        self.subjects.entry(message.subject.clone()).or_default().insert(message.seq);
        self.messages.insert(message.seq, Arc::clone(&message));
        message
    }

    /// What was removed is there again.
    pub(crate) fn bring_back(&mut self, message: &Arc<Stored>) {
        self.bytes += message.size();
        self.subjects.entry(message.subject.clone()).or_default().insert(message.seq);
        self.messages.insert(message.seq, Arc::clone(message));
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Arc<Stored>> {
        let removed = self.messages.remove(&seq)?;
        self.bytes = self.bytes.saturating_sub(removed.size());
        if let Some(seqs) = self.subjects.get_mut(&removed.subject) {
            seqs.remove(&seq);
            if seqs.is_empty() {
                self.subjects.remove(&removed.subject);
            }
        }
        Some(removed)
    }

    /// How many messages a subject has.
    pub(crate) fn count_on(&self, subject: &str) -> usize {
        self.subjects.get(subject).map_or(0, BTreeSet::len)
    }

    /// The first message of a subject.
    pub(crate) fn first_on(&self, subject: &str) -> Option<u64> {
        self.subjects.get(subject)?.first().copied()
    }

    /// The last message that a filter matches.
    pub(crate) fn last_on(&self, filter: &str) -> Option<&Arc<Stored>> {
        let seq = if is_literal(filter) {
            self.subjects.get(filter)?.last().copied()
        } else {
            let matching = self.subjects.iter().filter(|(subject, _)| matches(filter, subject));
            matching.filter_map(|(_, seqs)| seqs.last().copied()).max()
        };
        self.messages.get(&seq?)
    }

    /// The first message from a sequence on that one of the filters matches; any, where there are none.
    pub(crate) fn next(&self, from: u64, filters: &[String]) -> Option<&Arc<Stored>> {
        match filters {
            [] => self.messages.range(from..).next().map(|(_, message)| message),
            [filter] if is_literal(filter) => {
                let seq = self.subjects.get(filter)?.range(from..).next()?;
                self.messages.get(seq)
            }
            filters => self
                .messages
                .range(from..)
                .map(|(_, message)| message)
                .find(|message| filters.iter().any(|filter| matches(filter, &message.subject))),
        }
    }

    /// How many there are of these.
    pub(crate) fn count_from(&self, from: u64, filters: &[String]) -> u64 {
        let is_meant = |subject: &str| filters.is_empty() || filters.iter().any(|filter| matches(filter, subject));
        let meant = self.subjects.iter().filter(|(subject, _)| is_meant(subject));
        let count: usize = meant.map(|(_, seqs)| seqs.range(from..).count()).sum();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// The last message of each subject that one of the filters matches.
    pub(crate) fn newest(&self, filters: &[String]) -> BTreeSet<u64> {
        let is_meant = |subject: &str| filters.is_empty() || filters.iter().any(|filter| matches(filter, subject));
        let meant = self.subjects.iter().filter(|(subject, _)| is_meant(subject));
        meant.filter_map(|(_, seqs)| seqs.last().copied()).collect()
    }
}
