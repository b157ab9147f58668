//! TOML to nodes: the same tree as from YAML and JSON, so that one decoder reads all three.
//!
//! Dates and times are refused where they stand: a flow has no place for one, and as a text it would be a guess.

use std::ops::Range;

use rr_schemas::flow::NESTING_MAX;
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue, Error},
};

use crate::{
    diagnostic::Diagnostic,
    node::{Entry, Kind, Node, Scalar},
    yaml::too_deep,
};

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// What the parser says when nesting passes its own limit, which is beyond ours.
const PARSER_TOO_DEEP: &str = "recursion limit";

/// The tree of a text; none when there is nothing in it but comments.
pub(crate) fn parse(text: &str) -> Result<Option<Node>> {
    let table = DeTable::parse(text).map_err(|error| Box::new(explain(&error)))?;
    if table.get_ref().is_empty() {
        return Ok(None);
    }
    Ok(Some(Node { span: 0..text.len(), kind: map(text, table.get_ref(), 1)? }))
}

/// The tree of a value. Recursion ends at the limit of nesting.
fn node(text: &str, value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node> {
    let span = value.span();
    let kind = match value.get_ref() {
        DeValue::Table(_) | DeValue::Array(_) if depth >= NESTING_MAX => {
            return Err(Box::new(too_deep(span.start..span.start + 1)));
        }
        DeValue::Table(table) => map(text, table, depth + 1)?,
        DeValue::Array(array) => list(text, array, depth + 1)?,
        DeValue::String(value) => Kind::Scalar(string(text, value, &span)),
        DeValue::Datetime(_) => {
            let help = "put it between quotes if it is meant as a text";
            return Err(Box::new(Diagnostic::error("a date or time has no place in a flow").at(span).help(help)));
        }
        // As written, which is what YAML and JSON give too.
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            let written = text.get(span.clone()).unwrap_or_default().to_owned();
            Kind::Scalar(Scalar { text: written, is_quoted: false, verbatim_at: Some(span.start) })
        }
    };
    Ok(Node { span, kind })
}

fn map(text: &str, table: &DeTable<'_>, depth: usize) -> Result<Kind> {
    let entries = table.iter().map(|(key, value)| {
        let Scalar { text: name, verbatim_at, .. } = string(text, key.get_ref(), &key.span());
        let key_scalar = Scalar { text: name, is_quoted: true, verbatim_at };
        Ok(Entry { key: key_scalar, key_span: key.span(), value: node(text, value, depth)? })
    });
    let mut entries = entries.collect::<Result<Vec<_>>>()?;
    // The parser's tables are sorted by their keys; the file's order is what people see.
    entries.sort_by_key(|entry| entry.key_span.start);
    Ok(Kind::Map(entries))
}

fn list(text: &str, array: &DeArray<'_>, depth: usize) -> Result<Kind> {
    Ok(Kind::List(array.iter().map(|item| node(text, item, depth)).collect::<Result<_>>()?))
}

fn string(text: &str, value: &DeString<'_>, span: &Range<usize>) -> Scalar {
    let written = text.get(span.clone()).unwrap_or_default();
    let quotes = usize::from(written.starts_with(['"', '\'']));
    let is_verbatim = written.get(quotes..).is_some_and(|rest| rest.starts_with(value.as_ref()))
        && written.len() == value.len() + 2 * quotes;
    Scalar { text: value.to_string(), is_quoted: true, verbatim_at: is_verbatim.then_some(span.start + quotes) }
}

fn explain(error: &Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    if message.contains(PARSER_TOO_DEEP) {
        return too_deep(span);
    }
    let help = if message.contains("duplicate key") {
        Some("give each key once; a table [x] may be opened once only")
    } else if message.contains("missing value") || message.contains("string values must be quoted") {
        Some("texts stand in quotes")
    } else {
        None
    };
    Diagnostic::error(format!("not valid TOML: {message}")).at(span).maybe_help(help.map(str::to_owned))
}
