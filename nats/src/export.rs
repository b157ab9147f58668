//! An export: one JSON object a line. The first line says what it is, the last one that it is whole; between them each line
//! is a stored message with everything that is stored of it.
//!
//! Invariants: a payload comes out as the bytes that went in; what stands beside the log (states, quarantine, offers) comes
//! before it, and messages of the log in their order.

use std::{
    borrow::Cow,
    fmt,
    io::{BufRead, Read as _},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use rr_schemas::id::RunId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::copies::{self, Copied};

/// The version of the form that this build writes; it reads no later one.
const VERSION: u32 = 1;
/// Bytes of a line at most: the largest message that a server takes (64 MiB) in base64, and its headers.
const LINE_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// The first line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct First {
    /// Version of the form.
    pub rr_export: u32,
    /// When it was made, by the clock of the server.
    pub at: Timestamp,
    /// The number of partitions of the mesh.
    pub partitions: u16,
    /// The run that it is of; none of a whole mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Nobody worked on the run any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

impl First {
    /// One of this build.
    pub const fn new(at: Timestamp, partitions: u16, run: Option<RunId>, left: bool) -> Self {
        Self { rr_export: VERSION, at, partitions, run, left }
    }
}

/// The stream that a message is of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Kind {
    /// A state of a run.
    #[serde(rename = "KV_rr-runs")]
    State,
    /// Something in the quarantine, without its body.
    #[serde(rename = "RR_QUARANTINE")]
    Bad,
    /// An offer that exists; its subject alone, where who exports may read no more.
    #[serde(rename = "RR_WORK")]
    Offer,
    /// A message of the log.
    #[serde(rename = "RR_EVENTS")]
    Event,
    /// A chunk of output.
    #[serde(rename = "RR_OUTPUT")]
    Output,
}

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Its stream.
    pub kind: Kind,
    /// The message.
    pub copied: Copied,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    stream: Kind,
    #[serde(default, skip_serializing_if = "is_zero")]
    seq: u64,
    subject: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    time: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    headers: Cow<'a, [(String, String)]>,
    /// The body, where it is JSON, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    json: Option<Box<RawValue>>,
    /// The body, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What is there is there, also where it is `null`.
fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// The last line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Last {
    end: bool,
    lines: u64,
}

/// Writes the first line.
///
/// # Errors
/// Those of its serialization.
pub fn put_first(into: &mut Vec<u8>, first: &First) -> Result<(), serde_json::Error> {
    put(into, first)
}

/// Writes a message.
///
/// # Errors
/// Those of its serialization.
pub fn put_line(into: &mut Vec<u8>, kind: Kind, copied: &Copied) -> Result<(), serde_json::Error> {
    let Copied { subject, seq, time, headers, payload } = copied;
    let json = as_json(payload);
    let base64 = (json.is_none() && !payload.is_empty()).then(|| BASE64_STANDARD.encode(payload));
    let (subject, time, headers) = (subject.into(), time.into(), headers.into());
    put(into, &Written { stream: kind, seq: *seq, subject, time, headers, json, base64 })
}

/// Writes the last line, behind so many messages.
///
/// # Errors
/// Those of its serialization.
pub fn put_last(into: &mut Vec<u8>, lines: u64) -> Result<(), serde_json::Error> {
    put(into, &Last { end: true, lines })
}

fn put(into: &mut Vec<u8>, line: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *into, line)?;
    into.push(b'\n');
    Ok(())
}

/// A body that is one line of JSON, as it is: of white space around it nothing would be left.
fn as_json(payload: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok().filter(|text| !text.contains(['\n', '\r']))?;
    let json = RawValue::from_string(text.to_owned()).ok()?;
    (json.get().len() == payload.len()).then_some(json)
}

/// A line that is none of an export, or that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ExportError {
    line: u64,
    what: String,
}

impl ExportError {
    /// The number of the line, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }
}

/// Reads an export.
pub struct Reader<R> {
    input: R,
    number: u64,
    messages: u64,
    /// The line that a last one was.
    is_whole: bool,
    text: Vec<u8>,
    first: First,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<R: BufRead> Reader<R> {
    /// Begins with the first line.
    ///
    /// # Errors
    /// It is not that of an export that this build can read.
    pub fn new(input: R) -> Result<Self, ExportError> {
        let first = First::new(Timestamp::UNIX_EPOCH, 1, None, false);
        let mut reader = Self { input, number: 0, messages: 0, is_whole: false, text: Vec::new(), first };
        if !reader.next_line()? {
            return Err(reader.wrong("the file is empty; an export begins with {\"rr-export\":1,…}"));
        }
        let first = serde_json::from_slice::<First>(&reader.text);
        reader.first = first.map_err(|error| reader.wrong(format_args!("no beginning of an export: {error}")))?;
        if reader.first.rr_export > VERSION {
            let found = reader.first.rr_export;
            return Err(reader.wrong(format_args!("version {found} is newer than this rr understands ({VERSION})")));
        }
        Ok(reader)
    }

    /// What the first line says.
    pub const fn first(&self) -> &First {
        &self.first
    }

    /// Whether the end of the export was read: one that was cut off has none.
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// A line that is none of an export.
    pub fn read(&mut self) -> Result<Option<Line>, ExportError> {
        if !self.next_line()? {
            return Ok(None);
        }
        if let Ok(last) = serde_json::from_slice::<Last>(&self.text) {
            if last.lines != self.messages {
                let said = format_args!("says that there are {} messages, and there are {}", last.lines, self.messages)
                    .to_string();
                return Err(self.wrong(said));
            }
            if self.next_line()? {
                return Err(self.wrong("something follows the end"));
            }
            self.is_whole = true;
            return Ok(None);
        }
        let written: Written<'_> = match serde_json::from_slice(&self.text) {
            Ok(written) => written,
            // Whoever wrote the file was stopped in the middle of a line.
            Err(_) if !self.text.ends_with(b"\n") => return Ok(None),
            Err(error) => return Err(self.wrong(format_args!("no message: {error}"))),
        };
        let payload = match (&written.json, &written.base64) {
            (Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text)) => {
                let bytes = BASE64_STANDARD.decode(text);
                bytes.map_err(|error| self.wrong(format_args!("base64: {error}")))?.into()
            }
            (None, None) => Bytes::new(),
            (Some(_), Some(_)) => return Err(self.wrong("a body that is said twice")),
        };
        let Written { stream: kind, seq, subject, time, headers, .. } = written;
        let (subject, time, headers) = (subject.into_owned(), time.into_owned(), headers.into_owned());
        self.belongs(kind, &subject)?;
        self.messages += 1;
        Ok(Some(Line { kind, copied: Copied { subject, seq, time, headers, payload } }))
    }

    /// Whether a message can be in this export: one of a run holds nothing of others, one of all holds no output.
    fn belongs(&self, kind: Kind, subject: &str) -> Result<(), ExportError> {
        let of = match kind {
            Kind::Event => copies::run_of(subject),
            Kind::Output if self.first.run.is_none() => {
                return Err(self.wrong("output in an export that is of no one run"));
            }
            Kind::Output => copies::run_of_output(subject),
            Kind::State | Kind::Bad | Kind::Offer => None,
        };
        match (of, &self.first.run) {
            (Some(of), Some(run)) if of != *run => {
                Err(self.wrong(format_args!("a message of run {of} in an export of run {run}")))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// The number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.number.max(1)
    }

    fn wrong(&self, what: impl fmt::Display) -> ExportError {
        ExportError { line: self.line(), what: what.to_string() }
    }

    fn next_line(&mut self) -> Result<bool, ExportError> {
        self.text.clear();
        self.number += 1;
        let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.text);
        let n = read.map_err(|error| self.wrong(error))?;
        if u64::try_from(n).is_ok_and(|n| n >= LINE_BYTES_MAX) {
            return Err(self.wrong(format_args!("longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok(n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        for (body, is_json) in [
            (&br#"{"b": 1.50,  "a":[ ] }"#[..], true),
            (b" {}", false),
            (b"{}\n", false),
            (b"{", false),
            (b"\xff\x00", false),
            (b"", false),
            (b"7", true),
            (b"null", true),
        ] {
            let payload = Bytes::from_static(body);
            assert_eq!(as_json(&payload).is_some(), is_json, "{body:?}");
            let copied =
                Copied { subject: "a.b".to_owned(), seq: 1, time: String::new(), headers: Vec::new(), payload };
            let mut text = Vec::new();
            put_first(&mut text, &First::new(Timestamp::UNIX_EPOCH, 8, None, false)).unwrap();
            put_line(&mut text, Kind::Event, &copied).unwrap();
            put_last(&mut text, 1).unwrap();
            let mut reader = Reader::new(text.as_slice()).unwrap();
            assert_eq!(reader.read().unwrap(), Some(Line { kind: Kind::Event, copied }));
            assert!(reader.read().unwrap().is_none() && reader.is_whole());
        }
    }
}
