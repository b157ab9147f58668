//! The tree that a file is, before anything is known of its meaning: maps, lists and scalars, each with its place.

use std::ops::Range;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Map(Vec<Entry>),
    List(Vec<Node>),
    Scalar(Scalar),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Scalar,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// A text as written, with quotes and escapes resolved.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) is_quoted: bool,
    /// Where the text stands in the file character by character, if it does: no escapes, no folding.
    pub(crate) verbatim_at: Option<usize>,
}

/// What a scalar is taken for where no quotes say that it is a string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ScalarType {
    String,
    Integer,
    Number,
    Boolean,
    Null,
}

impl Node {
    /// The word for it in messages.
    pub(crate) fn found(&self) -> &'static str {
        match &self.kind {
            Kind::Map(_) => "map",
            Kind::List(_) => "list",
            Kind::Scalar(scalar) => match scalar.scalar_type() {
                ScalarType::String => "string",
                ScalarType::Integer => "integer",
                ScalarType::Number => "number",
                ScalarType::Boolean => "boolean",
                ScalarType::Null => "nothing",
            },
        }
    }
}

impl Scalar {
    /// The type by the rules of YAML 1.2, and of 1.1 too where those differ: what some reader would not take for a
    /// string is not one without quotes.
    pub(crate) fn scalar_type(&self) -> ScalarType {
        if self.is_quoted {
            return ScalarType::String;
        }
        let lower = self.text.to_ascii_lowercase();
        match lower.as_str() {
            "" | "~" | "null" => ScalarType::Null,
            "true" | "false" | "yes" | "no" | "on" | "off" => ScalarType::Boolean,
            ".nan" => ScalarType::Number,
            _ if lower.trim_start_matches(['-', '+']) == ".inf" => ScalarType::Number,
            _ => number_type(&lower),
        }
    }

    /// `true` and `false`, not the other words of YAML 1.1.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if !self.is_quoted => Some(true),
            "false" | "False" | "FALSE" if !self.is_quoted => Some(false),
            _ => None,
        }
    }
}

fn number_type(lower: &str) -> ScalarType {
    let digits = lower.strip_prefix(['-', '+']).unwrap_or(lower);
    let is_prefixed = ["0x", "0o", "0b"].iter().any(|prefix| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'_'))
    });
    let begins_like_number = digits.trim_start_matches('.').starts_with(|first: char| first.is_ascii_digit());
    if is_prefixed || begins_like_number && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        ScalarType::Integer
    } else if begins_like_number && digits.replace('_', "").parse::<f64>().is_ok() {
        ScalarType::Number
    } else {
        ScalarType::String
    }
}
