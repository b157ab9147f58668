//! A message as the server handles it, and what follows from one.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rr_nats::transport::{HeaderMap, HeaderValue, Message, Outgoing, StatusCode, Subject};
use serde_json::Value;

use super::{nanos, store::Stored};
use crate::{
    config::ModelConfig,
    fault::Counts,
    journal::Noted,
    router::Router,
    world::{Due, draw},
};

/// A message as the server handles it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Where it is routed to: for a delivery the inbox of whoever has asked.
    pub(crate) to: String,
    /// The subject that it bears.
    pub(crate) subject: String,
    pub(crate) reply: Option<Subject>,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
    pub(crate) status: Option<StatusCode>,
    pub(crate) description: Option<String>,
}

impl Said {
    /// Without headers.
    pub(crate) fn plain(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        let subject = subject.into();
        Self {
            to: subject.clone(),
            subject,
            reply: None,
            headers: None,
            payload: payload.into(),
            status: None,
            description: None,
        }
    }

    /// As somebody sends it, who wants no answer.
    pub(crate) fn from(message: Outgoing) -> Self {
        let Outgoing { subject, headers, payload } = message;
        Self { headers, ..Self::plain(subject.into_string(), payload) }
    }

    /// A word of the server's in place of a message.
    pub(crate) fn status(to: &str, status: StatusCode, text: &str, headers: HeaderMap) -> Self {
        let description = (!text.is_empty()).then(|| text.to_owned());
        Self { headers: Some(headers), status: Some(status), description, ..Self::plain(to, Bytes::new()) }
    }

    /// As a client reads it.
    pub(crate) fn message(&self) -> Message {
        Message {
            subject: self.subject.as_str().into(),
            reply: self.reply.clone(),
            payload: self.payload.clone(),
            headers: self.headers.clone(),
            status: self.status,
            description: self.description.clone(),
            length: self.payload.len(),
        }
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(HeaderValue::as_str)
    }
}

/// What `JetStream` may use while it handles something, and what follows from that.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// How late it is, in nanoseconds since 1970.
    pub(crate) now: u64,
    time: Duration,
    pub(crate) config: &'a ModelConfig,
    pub(crate) rng: &'a mut fastrand::Rng,
    pub(crate) router: &'a Router,
    counts: &'a mut Counts,
    /// How much later answers go out.
    pub(crate) late: Duration,
    /// How old the copy is that answers a direct read.
    pub(crate) behind: Duration,
    /// Chance in a thousand that a message is delivered again too early.
    pub(crate) early: u32,
    pub(crate) said: Vec<Said>,
    pub(crate) wakes: Vec<(Duration, Due)>,
    /// The streams of which a journal is kept, and what was stored there.
    pub(crate) watched: &'a [String],
    pub(crate) noted: Vec<Noted>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(
        time: Duration,
        config: &'a ModelConfig,
        rng: &'a mut fastrand::Rng,
        router: &'a Router,
        counts: &'a mut Counts,
    ) -> Self {
        let start = u64::try_from(config.start.as_nanosecond()).unwrap_or_default();
        let (said, wakes, noted) = (Vec::new(), Vec::new(), Vec::new());
        let now = start.saturating_add(nanos(time));
        let (late, behind, early) = (Duration::ZERO, Duration::ZERO, 0);
        let watched = &[];
        Self { now, time, config, rng, router, counts, late, behind, early, said, wakes, watched, noted }
    }

    /// Says something, after everything that was said before.
    pub(crate) fn say(&mut self, said: Said) {
        self.said.push(said);
    }

    /// Answers, where an answer is wanted.
    pub(crate) fn answer(&mut self, to: Option<&Subject>, payload: impl Into<Bytes>) {
        let Some(to) = to else { return };
        self.answer_with(Said::plain(to.as_str(), payload));
    }

    /// The same with JSON.
    pub(crate) fn tell(&mut self, to: Option<&Subject>, answer: &Value) {
        self.answer(to, answer.to_string());
    }

    /// Answers with more than a body.
    pub(crate) fn answer_with(&mut self, answer: Said) {
        if self.late.is_zero() {
            self.say(answer);
        } else {
            self.wakes.push((self.time + self.late, Due::Said(answer)));
        }
    }

    /// Notes that a message was stored, where somebody wants to know.
    pub(crate) fn note(&mut self, stream: &str, message: &Stored) {
        if self.watched.iter().any(|watched| watched == stream) {
            let at = Timestamp::from_nanosecond(i128::from(message.at)).unwrap_or_default();
            let [id, scheduler] = ["Nats-Msg-Id", "Nats-Scheduler"].map(|name| message.header(name).map(str::to_owned));
            let (stream, subject) = (stream.to_owned(), message.subject.clone());
            self.noted.push(Noted { stream, seq: message.seq, subject, id, scheduler, at });
        }
    }

    /// Lets something happen at a time in nanoseconds since 1970.
    pub(crate) fn wake(&mut self, at: u64, event: Due) {
        self.wakes.push((self.time + Duration::from_nanos(at.saturating_sub(self.now)), event));
    }

    /// How long the copies of a stream need to agree this time, in nanoseconds.
    pub(crate) fn agreement(&mut self) -> u64 {
        nanos(draw(self.rng, &self.config.agreement))
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// A name that nobody else has: 22 letters and digits.
    pub(crate) fn unique(&mut self) -> String {
        std::iter::repeat_with(|| self.rng.alphanumeric()).take(22).collect()
    }
}

/// A time as the server writes it.
pub(crate) fn written(nanos: u64) -> String {
    if nanos == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default().to_string()
}
