//! An export: one JSON object a line. The first line says what it is, the last one that it is whole; between them each line
//! is a stored message with everything that is stored of it.
//!
//! Invariants: a payload comes out as the bytes that went in; what stands beside the log (states, quarantine, offers) comes
//! before it, and messages of the log in their order.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Stdin};
use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use rr_nats::{Copied, copies};
use rr_schemas::id::RunId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::Printer;

/// The version of the form that this build writes; it reads no later one.
const VERSION: u32 = 1;
/// Bytes of a line at most: the largest message that a server takes (64 MiB) in base64, and its headers.
const LINE_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;
/// What stands for stdin.
pub(crate) const STDIN: &str = "-";

/// The first line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct First {
    /// Version of the form.
    pub(crate) rr_export: u32,
    /// When it was made, by the clock of the server.
    pub(crate) at: Timestamp,
    /// The number of partitions of the mesh.
    pub(crate) partitions: u16,
    /// The run that it is of; none of a whole mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunId>,
    /// Nobody worked on the run any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left: bool,
}

impl First {
    /// One of this build.
    pub(crate) const fn new(at: Timestamp, partitions: u16, run: Option<RunId>, left: bool) -> Self {
        Self { rr_export: VERSION, at, partitions, run, left }
    }
}

/// The stream that a message is of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Kind {
    /// A state of a run.
    #[serde(rename = "KV_rr-runs")]
    State,
    /// Something in the quarantine, without its body.
    #[serde(rename = "RR_QUARANTINE")]
    Bad,
    /// An offer that exists: its subject alone.
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
pub(crate) struct Line {
    /// Its stream.
    pub(crate) kind: Kind,
    /// The message.
    pub(crate) copied: Copied,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    stream: Kind,
    #[serde(default, skip_serializing_if = "is_zero")]
    seq: u64,
    subject: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    time: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    headers: std::borrow::Cow<'a, [(String, String)]>,
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

/// Writes an export to stdout.
#[derive(Debug)]
pub(crate) struct Writer {
    printer: Printer,
    bytes: Vec<u8>,
    lines: u64,
}

impl Writer {
    /// Begins with the first line.
    ///
    /// # Errors
    /// Those of stdout.
    pub(crate) fn new(printer: Printer, first: &First) -> Result<Self, CliError> {
        let mut writer = Self { printer, bytes: Vec::with_capacity(2 * WRITE_BYTES), lines: 0 };
        writer.put(first)?;
        Ok(writer)
    }

    /// Writes a message.
    ///
    /// # Errors
    /// Those of stdout.
    pub(crate) fn write(&mut self, kind: Kind, copied: &Copied) -> Result<(), CliError> {
        let Copied { subject, seq, time, headers, payload } = copied;
        let json = as_json(payload);
        let base64 = (json.is_none() && !payload.is_empty()).then(|| BASE64_STANDARD.encode(payload));
        self.lines += 1;
        self.put(&Written {
            stream: kind,
            seq: *seq,
            subject: subject.into(),
            time: time.into(),
            headers: headers.into(),
            json,
            base64,
        })
    }

    /// Ends with the last line.
    ///
    /// # Errors
    /// Those of stdout.
    pub(crate) fn finish(mut self) -> Result<u64, CliError> {
        let lines = self.lines;
        self.put(&Last { end: true, lines })?;
        self.printer.bytes(&self.bytes)?;
        Ok(lines)
    }

    fn put(&mut self, line: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.bytes, line).map_err(|error| CliError::bug(format!("write JSON: {error}")))?;
        self.bytes.push(b'\n');
        if self.bytes.len() >= WRITE_BYTES {
            self.printer.bytes(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// A body that is one line of JSON, as it is: of white space around it nothing would be left.
fn as_json(payload: &Bytes) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok().filter(|text| !text.contains(['\n', '\r']))?;
    let json = RawValue::from_string(text.to_owned()).ok()?;
    (json.get().len() == payload.len()).then_some(json)
}

/// Reads an export.
pub(crate) struct Reader {
    name: String,
    input: Box<dyn BufRead>,
    number: u64,
    messages: u64,
    /// The line that a last one was.
    is_whole: bool,
    text: Vec<u8>,
    first: First,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("number", &self.number).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a file, `-` for stdin, and reads its first line.
    ///
    /// # Errors
    /// There is none (66), or it is no export that this build can read (65).
    pub(crate) fn open(name: &str) -> Result<Self, CliError> {
        let input: Box<dyn BufRead> = if name == STDIN {
            Box::new(BufReader::<Stdin>::new(std::io::stdin()))
        } else {
            let file = File::open(Path::new(name));
            let file = file.map_err(|error| CliError::new(Exit::Unknown, format_args!("{name}: {error}")))?;
            Box::new(BufReader::new(file))
        };
        let first = First::new(Timestamp::UNIX_EPOCH, 1, None, false);
        let (name, text) = (name.to_owned(), Vec::new());
        let mut reader = Self { name, input, number: 0, messages: 0, is_whole: false, text, first };
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
    pub(crate) const fn first(&self) -> &First {
        &self.first
    }

    /// Whether the end of the export was read: one that was cut off has none.
    pub(crate) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// A line that is none of an export, with its number (65).
    pub(crate) fn next(&mut self) -> Result<Option<Line>, CliError> {
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
    fn belongs(&self, kind: Kind, subject: &str) -> Result<(), CliError> {
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

    /// Something is wrong with the line that was read last.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> CliError {
        CliError::new(Exit::BadInput, format_args!("{}:{}: {what}", self.name, self.number.max(1)))
    }

    fn next_line(&mut self) -> Result<bool, CliError> {
        self.text.clear();
        self.number += 1;
        let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.text);
        let n = read.map_err(|error| CliError::new(Exit::BadInput, format_args!("{}: {error}", self.name)))?;
        if n as u64 >= LINE_BYTES_MAX {
            return Err(self.wrong(format_args!("longer than {LINE_BYTES_MAX} bytes")));
        }
        Ok(n > 0)
    }
}

#[cfg(test)]
mod tests;
