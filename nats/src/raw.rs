//! Messages as the server hands them out, and the one place where its clock is read.

use std::time::Duration;

use async_nats::{HeaderMap, tolerant};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rr_schemas::{
    codec::{self, Body, Envelope},
    text::Echo,
};

use crate::subject::header;

/// A stored message, not yet believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawMessage {
    /// Its subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub seq: u64,
    /// When it was stored, by the server's clock, to the millisecond.
    pub at: Timestamp,
    /// Its body.
    pub payload: Bytes,
    content_type: ContentType,
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum ContentType {
    Absent,
    Json,
    Cbor,
    Other(Box<str>),
}

/// What few messages have.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Rare {
    flaw: Option<String>,
    scheduler: Option<String>,
    schedule: Option<String>,
    out: Option<OutHeaders>,
    bad: Option<BadHeaders>,
    is_removed: bool,
    ttl: Option<Duration>,
    clock: Option<Timestamp>,
}

/// Headers of a chunk of output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OutHeaders {
    pub(crate) stream: String,
    pub(crate) attempt: u32,
    pub(crate) n: u32,
}

/// Headers of a message in the quarantine.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BadHeaders {
    pub(crate) subject: String,
    pub(crate) seq: u64,
    pub(crate) reason: String,
}

impl RawMessage {
    /// The value of its `Content-Type`.
    pub fn content_type(&self) -> Option<&str> {
        match &self.content_type {
            ContentType::Absent => None,
            ContentType::Json => Some(codec::JSON),
            ContentType::Cbor => Some(codec::CBOR),
            ContentType::Other(other) => Some(other),
        }
    }

    /// What is wrong with its headers. The server stores and hands out whatever was published; who says what is no header
    /// may mean anything, and is not believed.
    pub fn flaw(&self) -> Option<&str> {
        self.rare.as_ref()?.flaw.as_deref()
    }

    /// Reads its body, where nothing beside it says that it must not be believed.
    pub(crate) fn envelope<B: Body>(&self) -> Result<Envelope<B>, String> {
        // The log has no schedules. Should somebody turn them on, nobody can let the server speak for others.
        if let Some(scheduler) = self.scheduler() {
            return Err(format!("published by the schedule {}", Echo::new(scheduler)));
        }
        if let Some(flaw) = self.flaw() {
            return Err(flaw.to_owned());
        }
        Envelope::read(self.content_type(), &self.payload).map_err(|error| error.to_string())
    }

    /// Whether it says to be of this kind, and this build cannot read it: a newer one has written it, most likely.
    pub(crate) fn is_unreadable<B: Body>(&self) -> bool {
        self.scheduler().is_none()
            && codec::kind(self.content_type(), &self.payload).is_some_and(|kind| kind == B::KIND)
            && Envelope::<B>::read(self.content_type(), &self.payload).is_err()
    }

    /// The schedule that published it, where the server did so on somebody's behalf.
    pub fn scheduler(&self) -> Option<&str> {
        self.rare.as_ref()?.scheduler.as_deref()
    }

    /// When the server is to publish it, where it is a schedule.
    pub(crate) fn schedule(&self) -> Option<&str> {
        self.rare.as_ref()?.schedule.as_deref()
    }

    /// What its headers say of it as a chunk of output.
    pub(crate) fn out(&self) -> Option<&OutHeaders> {
        self.rare.as_ref()?.out.as_ref()
    }

    /// What its headers say of it as a message in the quarantine.
    pub(crate) fn bad(&self) -> Option<&BadHeaders> {
        self.rare.as_ref()?.bad.as_ref()
    }

    /// Whether it says that a key of a bucket was removed or ran out.
    pub(crate) fn is_removed(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_removed)
    }

    /// How long it is kept after it was stored; none where it is kept until it is removed.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.rare.as_ref()?.ttl
    }

    /// What its author's clock said, for people.
    pub(crate) fn clock(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.clock
    }

    /// Takes what matters from the headers.
    pub(crate) fn new(subject: String, seq: u64, at: Timestamp, headers: Option<&HeaderMap>, payload: Bytes) -> Self {
        let value = |name| headers.and_then(|headers| text(headers, name));
        let content_type = match value(header::CONTENT_TYPE) {
            None => ContentType::Absent,
            Some(codec::JSON) => ContentType::Json,
            Some(codec::CBOR) => ContentType::Cbor,
            Some(other) => ContentType::Other(other.into()),
        };
        let is_removed = value(header::MARKER_REASON).is_some()
            || value(header::KV_OPERATION).is_some_and(|operation| operation != "PUT");
        let rare = Rare {
            flaw: headers.and_then(flaw),
            scheduler: value(header::SCHEDULER).map(str::to_owned),
            schedule: value(header::SCHEDULE).map(str::to_owned),
            out: headers.and_then(OutHeaders::read),
            bad: headers.and_then(BadHeaders::read),
            is_removed,
            ttl: value(header::TTL).and_then(parse_ttl),
            clock: value(header::CLOCK).and_then(parse_time),
        };
        let rare = (rare != Rare::default()).then(|| Box::new(rare));
        Self { subject, seq, at, payload, content_type, rare }
    }
}

impl OutHeaders {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let stream = text(headers, header::OUT_STREAM)?.to_owned();
        let attempt = text(headers, header::OUT_ATTEMPT)?.parse().ok()?;
        let n = text(headers, header::OUT_CHUNK)?.parse().ok()?;
        Some(Self { stream, attempt, n })
    }
}

impl BadHeaders {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let subject = text(headers, header::BAD_SUBJECT)?.to_owned();
        let seq = text(headers, header::BAD_SEQ)?.parse().ok()?;
        let reason = text(headers, header::BAD_REASON).unwrap_or_default().to_owned();
        Some(Self { subject, seq, reason })
    }
}

/// The headers of a block as it stands on the wire, read as the client reads those of a message that comes to it.
pub(crate) fn headers_of(block: &[u8]) -> HeaderMap {
    tolerant::parse(block).headers
}

/// What is wrong with the headers of a message, where something is.
pub(crate) fn flaw(headers: &HeaderMap) -> Option<String> {
    headers.get(tolerant::MALFORMED).map(|flaw| format!("malformed header: {flaw}"))
}

/// Whether these are the headers of a stored message that was asked for, and not words of the server: what is stored may
/// begin with a status as the server's words do, but behind its headers the server puts its sequence.
pub(crate) fn is_stored(headers: &HeaderMap) -> bool {
    last_text(headers, header::SEQUENCE).is_some()
}

/// The first value of a header.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &'static str) -> Option<&'h str> {
    headers.get(name).map(async_nats::HeaderValue::as_str)
}

/// The first value of a header as a number.
pub(crate) fn number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// The last value of a header: what the server itself says in a stored message. It leaves alone what the publisher has
/// said under the same name and puts its own words behind.
pub(crate) fn last_text<'h>(headers: &'h HeaderMap, name: &'static str) -> Option<&'h str> {
    headers.get_all(name).last().map(async_nats::HeaderValue::as_str)
}

/// What the reply subject of a delivered message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Receipt {
    pub(crate) delivered: u64,
    pub(crate) seq: u64,
    pub(crate) consumer_seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) pending: u64,
}

impl Receipt {
    /// Reads `$JS.ACK.<stream>.<consumer>.<n>.<seq>.<consumer seq>.<time>.<pending>` and its longer form, which has
    /// domain and account before the stream and a random token at the end.
    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let count = reply.split('.').count();
        let skipped = match count {
            9 => 4,
            11.. => 6,
            _ => return None,
        };
        let mut tokens = reply.strip_prefix("$JS.ACK.").and(Some(reply))?.split('.').skip(skipped);
        let mut number = || tokens.next()?.parse::<u64>().ok();
        Some(Self {
            delivered: number()?,
            seq: number()?,
            consumer_seq: number()?,
            at: from_nanos(number()?)?,
            pending: number()?,
        })
    }
}

/// Decisions know milliseconds. The server's nanoseconds are cut in this file alone, so that a message has the same
/// time however it was read.
fn cut(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.as_nanosecond().div_euclid(1_000_000).try_into().ok()?).ok()
}

fn from_nanos(nanos: u64) -> Option<Timestamp> {
    cut(Timestamp::from_nanosecond(i128::from(nanos)).ok()?)
}

/// Reads a time to live as the server does: seconds, `1m30s`, or `never`.
fn parse_ttl(text: &str) -> Option<Duration> {
    text.parse().map(Duration::from_secs).ok().or_else(|| text.parse::<SignedDuration>().ok()?.try_into().ok())
}

/// Reads a timestamp as headers and answers of the API have it.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    cut(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Receipt, flaw, headers_of, parse_time, parse_ttl, text};

    #[test]
    fn headers_are_read_from_the_wire() {
        let block = b"NATS/1.0\r\nContent-Type: application/json\r\nNats-Scheduler:rr.at.3.a\r\n\r\n";
        let headers = headers_of(block);
        for (name, value) in [
            ("Content-Type", Some("application/json")),
            ("Nats-Scheduler", Some("rr.at.3.a")),
            ("NATS/1.0", None),
            ("Nats-TTL", None),
        ] {
            assert_eq!(text(&headers, name), value, "{name}");
        }
        assert_eq!(flaw(&headers), None);
    }

    #[test]
    fn what_is_no_header_is_left_out_and_told() {
        for (bad, told) in [
            (&b"X: a\rb"[..], "a carriage return in a value"),
            (b"X: a\xff", "bytes that are not UTF-8"),
            (b"nocolon", "a line without a colon"),
            (b"X y: b", "a name that is none"),
            (b": b", "an empty name"),
            (b"\xc3\xa4: b", "a name that is none"),
        ] {
            let block = [b"NATS/1.0\r\nOne: 1\r\n", bad, b"\r\nNats-Sequence: 7\r\n\r\n"].concat();
            let headers = headers_of(&block);
            assert_eq!(flaw(&headers), Some(format!("malformed header: {told}")));
            assert_eq!((text(&headers, "One"), text(&headers, "Nats-Sequence")), (Some("1"), Some("7")), "{told}");
        }
        for (block, told) in [
            (&b"NATS/1.0 abc\r\n\r\n"[..], "a status that is none"),
            (b"NATS/2.0\r\n\r\n", "no version line"),
            (b"", "no version line"),
        ] {
            assert_eq!(flaw(&headers_of(block)), Some(format!("malformed header: {told}")));
        }
    }

    #[test]
    fn nobody_can_say_that_a_message_is_malformed_by_a_header() {
        let headers = headers_of(b"NATS/1.0\r\n:malformed: no\r\n\r\n");
        assert_eq!(flaw(&headers).as_deref(), Some("malformed header: an empty name"));
    }

    #[test]
    fn a_time_to_live_is_read_as_the_server_reads_it() {
        for (text, seconds) in [
            ("15s", Some(15)),
            ("15", Some(15)),
            ("1m30s", Some(90)),
            ("1h0m0s", Some(3_600)),
            ("never", None),
            ("", None),
            ("-5s", None),
        ] {
            assert_eq!(parse_ttl(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn both_forms_of_a_receipt_are_read_and_agree_with_the_header() {
        let at = parse_time("2026-11-22T01:02:03.123999999Z").expect("a time");
        assert_eq!(at.to_string(), "2026-11-22T01:02:03.123Z");
        let nanos = "1795309323123999999";
        let expected = Some(Receipt { delivered: 2, seq: 77, consumer_seq: 5, at, pending: 9 });
        for reply in [
            format!("$JS.ACK.RR_WORK.q2-a.2.77.5.{nanos}.9"),
            format!("$JS.ACK._.hash.RR_WORK.q2-a.2.77.5.{nanos}.9"),
            format!("$JS.ACK._.hash.RR_WORK.q2-a.2.77.5.{nanos}.9.token"),
        ] {
            assert_eq!(Receipt::parse(&reply), expected, "{reply}");
        }
        for reply in ["", "$JS.ACK.a.b.1.2.3.4", "$JS.NAK.RR_WORK.q2-a.2.77.5.1.9", "$JS.ACK.RR_WORK.q2-a.2.x.5.1.9"] {
            assert_eq!(Receipt::parse(reply), None, "{reply}");
        }
    }
}
