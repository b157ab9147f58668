//! Single values: names, texts, numbers, truths, spans of time, shares, templates.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use rr_schemas::{
    flow::{check::did_you_mean, select::Labels, template::Template},
    name::{EnvName, Name},
    quota::Quota,
    span::Span,
    text::Echo,
};

use crate::{
    decode::{Decoder, Field},
    node::{Entry, Kind, Node, Scalar, ScalarType},
};

/// What a time limit is when there is none.
const NONE: &str = "none";

impl Decoder {
    /// A scalar that is a string, by its quotes or by itself.
    pub(crate) fn string<'n>(&mut self, field: &Field<'n>) -> Option<&'n Scalar> {
        match &field.node.kind {
            Kind::Scalar(scalar) if scalar.scalar_type() == ScalarType::String => Some(scalar),
            Kind::Scalar(_) | Kind::Map(_) | Kind::List(_) => {
                self.wrong_type(field, "string");
                None
            }
        }
    }

    /// Any scalar as it is written: `5`, `1.10` and `no` are texts here.
    pub(crate) fn written<'n>(&mut self, field: &Field<'n>) -> Option<&'n Scalar> {
        match &field.node.kind {
            Kind::Scalar(scalar) if scalar.is_quoted || !scalar.text.is_empty() => Some(scalar),
            Kind::Scalar(_) | Kind::Map(_) | Kind::List(_) => {
                self.wrong_type(field, "string");
                None
            }
        }
    }

    /// A string that a type reads, with the type's own words where it does not.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self, field: &Field<'_>) -> Option<T> {
        let scalar = self.string(field)?;
        self.parse(field, &scalar.text)
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, field: &Field<'_>, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(field, field.node.span.clone(), format!("{}: {error}", field.what), None);
                None
            }
        }
    }

    /// A name, or one made up in its place.
    pub(crate) fn name(&mut self, field: Option<&Field<'_>>) -> Option<Name> {
        field.and_then(|field| self.parsed(field)).or_else(|| {
            self.made_up += 1;
            format!("_invalid_{}", self.made_up).parse().ok()
        })
    }

    pub(crate) fn template(&mut self, field: &Field<'_>) -> Option<Template> {
        let scalar = self.written(field)?;
        match scalar.text.parse::<Template>() {
            Ok(template) => Some(template),
            Err(error) => {
                let span = scalar.verbatim_at.map_or_else(
                    || field.node.span.clone(),
                    |start| {
                        // The rest of the text, so that the mark begins where it goes wrong.
                        start + error.offset()..start + scalar.text.len()
                    },
                );
                self.fail(field, span, format!("{}: {error}", field.what), None);
                None
            }
        }
    }

    /// A truth; only the words `true` and `false` are one.
    pub(crate) fn truth(&mut self, field: &Field<'_>) -> Option<bool> {
        if let Kind::Scalar(scalar) = &field.node.kind {
            if let Some(truth) = scalar.as_bool() {
                return Some(truth);
            }
            let message = format!("{}: expected true or false, found {}", field.what, Echo::new(&scalar.text));
            self.fail(field, field.node.span.clone(), message, None);
        } else {
            self.wrong_type(field, "true or false");
        }
        None
    }

    /// A whole number, written plainly.
    pub(crate) fn integer<T: FromStr>(&mut self, field: &Field<'_>, expected: &str) -> Option<T> {
        if let Kind::Scalar(scalar) = &field.node.kind {
            let digits = scalar.text.strip_prefix('-').unwrap_or(&scalar.text);
            let is_plain = !digits.starts_with('+') && (digits.len() == 1 || !digits.starts_with('0'));
            if let Some(number) = scalar.text.parse().ok().filter(|_| is_plain && !scalar.is_quoted) {
                return Some(number);
            }
            let message = format!("{}: expected {expected}, found {}", field.what, Echo::new(&scalar.text));
            self.fail(field, field.node.span.clone(), message, None);
        } else {
            self.wrong_type(field, expected);
        }
        None
    }

    /// A count or a percentage, with or without quotes.
    pub(crate) fn quota(&mut self, field: &Field<'_>) -> Option<Quota> {
        let scalar = self.written(field)?;
        self.parse(field, &scalar.text)
    }

    pub(crate) fn span(&mut self, field: &Field<'_>) -> Option<Span> {
        let scalar = self.written(field)?;
        if scalar.text == "0" {
            return Some(Span::ZERO);
        }
        self.parse(field, &scalar.text)
    }

    /// A span, or `none` for none.
    pub(crate) fn limit(&mut self, field: &Field<'_>) -> Option<Span> {
        match &field.node.kind {
            Kind::Scalar(scalar) if scalar.text == NONE => None,
            Kind::Scalar(_) | Kind::Map(_) | Kind::List(_) => self.span(field),
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&mut self, field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
        let scalar = self.string(field)?;
        let found = words.iter().find(|(word, _)| *word == scalar.text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("{}: expected {}, found {}", field.what, known.join(" or "), Echo::new(&scalar.text));
            self.fail(field, field.node.span.clone(), message, did_you_mean(&scalar.text, known));
        }
        found
    }

    /// Environment variables: any scalar is a value.
    pub(crate) fn env(&mut self, field: &Field<'_>) -> BTreeMap<EnvName, Template> {
        let mut env = BTreeMap::new();
        let Some(map) = self.any_map(field) else { return env };
        for entry in map.entries() {
            let name = self.key::<EnvName>(entry, field);
            let at = format!("{}/{}", field.at, entry.key.text);
            let value = Field { at, what: "env", node: &entry.value };
            self.record(value.at.clone(), value.node);
            if let (Some(name), Some(value)) = (name, self.template(&value)) {
                env.entry(name).or_insert(value);
            }
        }
        env
    }

    /// Labels with their values: any scalar is a value.
    pub(crate) fn labels(&mut self, field: &Field<'_>) -> Option<Labels> {
        let map = self.any_map(field)?;
        let mut labels = BTreeMap::new();
        for entry in map.entries() {
            let name = self.key::<Name>(entry, field);
            let value = Field { at: field.at.clone(), what: field.what, node: &entry.value };
            if let (Some(name), Some(value)) = (name, self.written(&value)) {
                labels.insert(name, value.text.clone());
            }
        }
        match Labels::try_from(labels) {
            Ok(labels) => Some(labels),
            Err(error) => {
                self.fail(field, field.node.span.clone(), format!("{}: {error}", field.what), None);
                None
            }
        }
    }

    /// A key that is a name of some kind.
    pub(crate) fn key<T: FromStr<Err: Display>>(&mut self, entry: &Entry, parent: &Field<'_>) -> Option<T> {
        let node = Node { span: entry.key_span.clone(), kind: Kind::Scalar(entry.key.clone()) };
        self.parsed(&Field { at: parent.at.clone(), what: parent.what, node: &node })
    }
}
