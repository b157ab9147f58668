//! JSON to nodes: strictly JSON, so that other tools read the same file the same way.
//!
//! `serde_json` does the reading; raw values point into the text, and so tell the places.

use std::{fmt, ops::Range};

use rr_schemas::flow::NESTING_MAX;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    diagnostic::Diagnostic,
    node::{Entry, Kind, Node, Scalar},
    yaml::too_deep,
};

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// The tree of a text.
pub(crate) fn parse(text: &str) -> Result<Option<Node>> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let deep = too_deep_at(text).map(|at| too_deep(at..at + 1));
        Box::new(deep.unwrap_or_else(|| explain(text, &error)))
    })?;
    node(text, raw, 0).map(Some)
}

/// Where a text, which may be no JSON, is nested too deep: that says more than where it goes wrong.
fn too_deep_at(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Some(at);
        }
    }
    None
}

/// Whether a text is one JSON value.
pub(crate) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The tree of a part of the text. Recursion ends at the limit of nesting.
fn node(text: &str, raw: &RawValue, depth: usize) -> Result<Node> {
    let span = span_of(text, raw);
    // The part is valid JSON already, but for escapes that stand for no character.
    let wrong = |error: serde_json::Error| Box::new(Diagnostic::error(message(&error)).at(span.clone()));
    let is_collection = raw.get().starts_with(['{', '[']);
    if is_collection && depth >= NESTING_MAX {
        return Err(Box::new(too_deep(span.start..span.start + 1)));
    }
    let kind = match raw.get().as_bytes().first() {
        Some(b'{') => {
            let pairs: Pairs<'_> = serde_json::from_str(raw.get()).map_err(wrong)?;
            let entries = pairs.0.into_iter().map(|(key, value)| {
                let value = node(text, value, depth + 1)?;
                Ok(Entry { key: scalar(text, key)?, key_span: span_of(text, key), value })
            });
            Kind::Map(entries.collect::<Result<_>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(wrong)?;
            Kind::List(items.into_iter().map(|item| node(text, item, depth + 1)).collect::<Result<_>>()?)
        }
        Some(_) | None => Kind::Scalar(scalar(text, raw)?),
    };
    Ok(Node { span, kind })
}

fn scalar(text: &str, raw: &RawValue) -> Result<Scalar> {
    let span = span_of(text, raw);
    if !raw.get().starts_with('"') {
        return Ok(Scalar { text: raw.get().to_owned(), is_quoted: false, verbatim_at: Some(span.start) });
    }
    let value: String = serde_json::from_str(raw.get())
        .map_err(|error| Box::new(Diagnostic::error(message(&error)).at(span.clone())))?;
    let is_verbatim = value.len() + 2 == raw.get().len();
    Ok(Scalar { text: value, is_quoted: true, verbatim_at: is_verbatim.then_some(span.start + 1) })
}

/// Where a raw value, which is a part of the text, stands in it.
fn span_of(text: &str, raw: &RawValue) -> Range<usize> {
    let start = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + raw.get().len()
}

/// The pairs of an object in their order, repeated keys too.
struct Pairs<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

fn explain(text: &str, error: &serde_json::Error) -> Diagnostic {
    let line_start = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    // serde_json counts bytes, from 1; at the end of a text it may count one less.
    let at = text.floor_char_boundary((line_start + error.column().saturating_sub(1)).min(text.len()));
    let span = at..at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let message = message(error);
    let help = match message.as_str() {
        message if message.contains("while parsing a list") => Some("expected , or ]"),
        message if message.contains("while parsing an object") => Some("expected , or }"),
        message if message.contains("trailing comma") => Some("leave the last comma out"),
        message if message.contains("key must be a string") => {
            Some("keys stand in double quotes, and no comma follows the last value")
        }
        _ => None,
    };
    Diagnostic::error(message).at(span).maybe_help(help.map(str::to_owned))
}

/// The error without its place.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("not valid JSON: {message}")
}
