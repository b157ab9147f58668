//! Not part of the original crate: reads a header block without ever refusing it.
//!
//! A server stores and hands out whatever was published, so a line that is no header must cost no more than the message
//! that it stands in. What is wrong is left out, and the message is marked.

use std::str::FromStr;

use crate::header::{HeaderMap, HeaderName, HeaderValue};
use crate::status::StatusCode;

/// Marks the headers of a message that had malformed ones: its first value says what is wrong, in a few words. No message
/// can bring such a name along, because on the wire a name ends at the first colon.
pub const MALFORMED: HeaderName = HeaderName::from_static(":malformed");

/// What a header block says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Its headers, those that are malformed left out; [`MALFORMED`] is there then.
    pub headers: HeaderMap,
    /// The status in its first line.
    pub status: Option<StatusCode>,
    /// What follows the status.
    pub description: Option<String>,
}

/// Reads a header block as it stands on the wire.
pub fn parse(block: &[u8]) -> Block {
    let text = String::from_utf8_lossy(block);
    let mut parsed = Block::default();
    let mut flaw = (text.as_bytes() != block).then_some("bytes that are not UTF-8");
    let mut lines = text.lines().peekable();

    match lines.next().and_then(|line| line.strip_prefix("NATS/1.0")) {
        Some(suffix) => {
            let suffix = suffix.trim();
            let (status, description) = suffix.split_once(' ').unwrap_or((suffix, ""));
            match status.parse::<StatusCode>() {
                Ok(status) => parsed.status = Some(status),
                Err(_) if status.is_empty() => {}
                Err(_) => flaw = flaw.or(Some("a status that is none")),
            }
            let description = description.trim();
            parsed.description = (!description.is_empty()).then(|| description.to_owned());
        }
        None => flaw = flaw.or(Some("no version line")),
    }

    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            flaw = flaw.or(Some("a line without a colon"));
            continue;
        };

        // Read the header value, which might have been split into multiple lines
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        value.truncate(value.trim_end().len());

        match (HeaderName::from_str(name), HeaderValue::from_str(&value)) {
            (Ok(_), _) if name.is_empty() => flaw = flaw.or(Some("an empty name")),
            (Ok(name), Ok(value)) => parsed.headers.append(name, value),
            (Err(_), _) => flaw = flaw.or(Some("a name that is none")),
            (_, Err(_)) => flaw = flaw.or(Some("a carriage return in a value")),
        }
    }

    if let Some(flaw) = flaw {
        parsed.headers.insert(MALFORMED, flaw);
    }
    parsed
}
