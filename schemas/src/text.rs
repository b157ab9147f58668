//! What all values share that are written as one string: the way in (parse, also from serde), the way
//! out (print) and how a refused value is shown.
//!
//! Invariant: a value read from a file or the wire went through its `FromStr`; a number or a boolean is
//! never taken for a string, so that `no`, `1e3` and `012` in YAML have to be quoted.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};

/// Most characters of a refused value that an error shows.
const ECHO_CHARS_MAX: usize = 48;

/// A refused value as an error shows it: quoted, cut, and with every character that could hide or
/// disguise something (controls, direction overrides, look-alikes) written as an escape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Echo(String);

impl Echo {
    /// Makes `given` safe to show.
    pub fn new(given: &str) -> Self {
        let mut shown = String::from("\"");
        for char in given.chars().take(ECHO_CHARS_MAX) {
            if char == ' ' || char.is_ascii_graphic() && char != '"' && char != '\\' {
                shown.push(char);
            } else {
                shown.extend(char.escape_default());
            }
        }
        shown.push('"');
        if given.chars().nth(ECHO_CHARS_MAX).is_some() {
            shown.push_str("...");
        }
        Self(shown)
    }
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a `T` from a string and from nothing else; `what` completes "expected …".
pub(crate) fn deserialize<'de, T, D>(deserializer: D, what: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    // `deserialize_str` would let some formats turn a bare number into a string.
    deserializer.deserialize_any(TextVisitor { what, parsed: PhantomData })
}

struct TextVisitor<T> {
    what: &'static str,
    parsed: PhantomData<T>,
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as a string (in quotes)", self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Conversions of a type that has `FromStr` and `Display`: `TryFrom`, serde and JSON Schema as a string.
macro_rules! string_value {
    ($type:ident, $error:ty, $what:literal, $description:literal, $pattern:literal) => {
        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl TryFrom<&str> for $type {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::text::deserialize(deserializer, $what)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description, "pattern": $pattern })
            }
        }
    };
}

/// Views of a newtype over one `String`.
macro_rules! string_newtype {
    ($type:ident) => {
        impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    };
}

pub(crate) use {string_newtype, string_value};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_hides_nothing() {
        for (given, shown) in [
            ("web 1", r#""web 1""#),
            ("a\tb\0\n", r#""a\tb\u{0}\n""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("\"\\", r#""\"\\""#),
            ("ａ", r#""\u{ff41}""#),
        ] {
            assert_eq!(Echo::new(given).to_string(), shown);
        }
        assert!(Echo::new(&"x".repeat(1000)).to_string().len() < 60);
    }
}
