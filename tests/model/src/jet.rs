//! `JetStream`: streams, and the one API in front of them.

pub(crate) mod api;
mod config;
mod consumer;
mod faults;
mod refusal;
mod said;
mod store;
mod stream;

use std::{collections::BTreeMap, time::Duration};

pub(crate) use self::said::{Said, Turn};
use self::stream::Stream;
use crate::{
    config::{ModelConfig, Servers},
    subject::matches,
};

/// The servers of a cluster.
const SERVERS: [&str; 3] = ["n1", "n2", "n3"];

/// Every stream.
#[derive(Clone, Debug)]
pub(crate) struct Jet {
    pub(crate) streams: BTreeMap<String, Stream>,
    pub(crate) servers: Servers,
    /// Whether somebody answers at all.
    pub(crate) is_up: bool,
}

impl Jet {
    pub(crate) const fn new(config: &ModelConfig) -> Self {
        Self { streams: BTreeMap::new(), servers: config.servers, is_up: true }
    }

    /// The stream that takes what is published to a subject.
    pub(crate) fn taker(&self, subject: &str) -> Option<&Stream> {
        self.streams.values().find(|stream| stream.takes(subject))
    }

    /// The streams whose copies have something to agree on.
    pub(crate) fn disagreeing(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().filter(|(_, stream)| stream.is_disagreeing()).map(|(name, _)| name.as_str())
    }

    /// Whether the server itself listens on a subject.
    pub(crate) fn listens(&self, subject: &str) -> bool {
        if !self.is_up {
            return false;
        }
        if let Some(said) = subject.strip_prefix("$JS.ACK.") {
            let mut tokens = said.split('.');
            return tokens.next().zip(tokens.next()).is_some_and(|(stream, name)| self.is_led(stream, name));
        }
        if let Some(place) = subject.strip_prefix("$JS.API.CONSUMER.MSG.NEXT.") {
            return place.split_once('.').is_some_and(|(stream, name)| self.is_led(stream, name));
        }
        if let Some(stream) = subject.strip_prefix("$JS.API.DIRECT.GET.") {
            return self.streams.get(stream).is_some_and(|stream| stream.config.allow_direct && stream.is_led());
        }
        matches("$JS.API.>", subject) || self.taker(subject).is_some_and(Stream::is_led)
    }

    fn is_led(&self, stream: &str, consumer: &str) -> bool {
        self.streams.get(stream).is_some_and(|found| found.is_led() && found.consumers.contains_key(consumer))
    }

    /// Hears a message.
    pub(crate) fn hear(&mut self, said: &Said, turn: &mut Turn<'_>) {
        let subject = said.subject.as_str();
        if let Some(place) = subject.strip_prefix("$JS.ACK.") {
            let mut tokens = place.split('.');
            let Some((stream, consumer)) = tokens.next().zip(tokens.next()) else { return };
            let numbers: Vec<u64> = tokens.filter_map(|token| token.parse().ok()).collect();
            if let (Some(stream), &[_, seq, consumer_seq, ..]) = (self.streams.get_mut(stream), numbers.as_slice()) {
                stream.told(consumer, (seq, consumer_seq), said, turn);
            }
        } else if let Some(operation) = subject.strip_prefix("$JS.API.") {
            self.asked(operation, said, turn);
        } else if let Some(stream) = self.streams.values_mut().find(|stream| stream.takes(subject)) {
            stream.publish(said, turn);
        }
    }

    /// Something in a stream is due.
    pub(crate) fn stream_due(&mut self, name: &str, turn: &mut Turn<'_>) {
        if let Some(stream) = self.streams.get_mut(name).filter(|_| self.is_up) {
            stream.due(turn);
        }
    }

    /// Something of a consumer is due.
    pub(crate) fn consumer_due(&mut self, stream: &str, name: &str, turn: &mut Turn<'_>) {
        if let Some(stream) = self.streams.get_mut(stream).filter(|stream| stream.is_led() && self.is_up) {
            stream.consumer_due(name, turn);
        }
    }

    /// A stream has a leader again.
    pub(crate) fn led(&mut self, name: &str, turn: &mut Turn<'_>) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.led(turn);
        }
    }

    /// The servers are there again, which died at this time in nanoseconds since 1970. What was only in their memory is not.
    pub(crate) fn restarted(&mut self, died: u64, turn: &mut Turn<'_>) {
        self.is_up = true;
        for stream in self.streams.values_mut() {
            stream.restarted(died, turn);
        }
    }

    /// Whether copies must agree on what this many of them store.
    pub(crate) fn must_agree(&self, copies: u64) -> bool {
        self.servers == Servers::Three && copies > 1
    }
}

/// Nanoseconds of a span.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
