//! Texts with parameters in them: `pkg={{ version }}`.
//!
//! Invariants: a template is parsed once, where it enters; filling it in makes exactly one text, which is never split
//! and never looked at again, so a value that contains `{{` stays as it is. `{{ name }}` names a parameter or the
//! built-in [`HOST`]; `\{{` is a literal `{{`; `}}` outside of a template is plain text.

use std::{fmt, str::FromStr};

use crate::{
    flow::ARG_BYTES_MAX,
    name::{Name, NameError},
    text::string_value,
};

/// The name that every template may use where a task has a host: the host.
pub const HOST: &str = "host";

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// A text in which `{{ name }}` stands for a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// As written; the one thing that is stored, sent and compared.
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(String),
    Value(Name),
}

/// Why a text is no template, with the byte of the text where it goes wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("unclosed {{{{ (write \\{{{{ for a literal {{{{)")]
    Unclosed {
        /// Where `{{` stands.
        at: usize,
    },
    /// `{{ }}`.
    #[error("empty template: write the name of a parameter between {{{{ and }}}}")]
    Empty {
        /// Where `{{` stands.
        at: usize,
    },
    /// Something else than one name.
    #[error("a template holds the name of one parameter and nothing else: {error}")]
    NotAName {
        /// Where the would-be name begins.
        at: usize,
        /// What is wrong with it.
        error: NameError,
    },
    /// A NUL byte, which no argument and no environment value can hold.
    #[error("a NUL byte cannot be part of an argument or of an environment value")]
    Nul {
        /// Where it stands.
        at: usize,
    },
}

impl TemplateError {
    /// The byte of the text where it goes wrong.
    pub const fn offset(&self) -> usize {
        match self {
            Self::Unclosed { at } | Self::Empty { at } | Self::NotAName { at, .. } | Self::Nul { at } => *at,
        }
    }
}

/// Why a template could not be filled in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// Nothing has this name.
    #[error("unknown parameter \"{0}\"")]
    Unknown(Name),
    /// The text has become longer than the system takes.
    #[error("filled in, it is {bytes} bytes long, limit {ARG_BYTES_MAX}")]
    TooLong {
        /// How long.
        bytes: usize,
    },
}

impl Template {
    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names in it, in their order, repeated as they are.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Value(name) => Some(name),
        })
    }

    /// Whether it names nothing, and so always gives the same text.
    pub fn is_literal(&self) -> bool {
        self.names().next().is_none()
    }

    /// Fills in the values.
    ///
    /// # Errors
    /// A name that `lookup` does not know, or a result that is longer than an argument may be.
    pub fn render<'a>(&self, lookup: &dyn Fn(&str) -> Option<&'a str>) -> Result<String, RenderError> {
        let mut filled = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::Value(name) => {
                    filled.push_str(lookup(name.as_str()).ok_or_else(|| RenderError::Unknown(name.clone()))?);
                }
            }
            if filled.len() >= ARG_BYTES_MAX {
                return Err(RenderError::TooLong { bytes: filled.len() });
            }
        }
        Ok(filled)
    }
}

impl Template {
    /// How long it becomes when each name is filled in with a value of so many bytes.
    pub(super) fn filled_bytes(&self, value_bytes: &dyn Fn(&Name) -> usize) -> usize {
        let bytes = self.parts.iter().map(|part| match part {
            Part::Literal(text) => text.len(),
            Part::Value(name) => value_bytes(name),
        });
        bytes.fold(0, usize::saturating_add)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if let Some(at) = text.find('\0') {
            return Err(TemplateError::Nul { at });
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once(OPEN) {
            if let Some(before) = before.strip_suffix('\\') {
                literal.push_str(before);
                literal.push_str(OPEN);
                rest = inside;
                continue;
            }
            literal.push_str(before);
            let inside_at = text.len() - inside.len();
            let (name, after) =
                inside.split_once(CLOSE).ok_or(TemplateError::Unclosed { at: inside_at - OPEN.len() })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Value(parse_name(name, inside_at)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

/// The one name between `{{` and `}}`; `at` is where the text after `{{` begins.
fn parse_name(inside: &str, at: usize) -> Result<Name, TemplateError> {
    let name = inside.trim_matches([' ', '\t']);
    if name.is_empty() {
        return Err(TemplateError::Empty { at: at - OPEN.len() });
    }
    let indent = inside.len() - inside.trim_start_matches([' ', '\t']).len();
    name.parse().map_err(|error| TemplateError::NotAName { at: at + indent, error })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

string_value!(
    Template,
    TemplateError,
    "a text",
    "A text; {{ name }} in it stands for the parameter of that name or, with host, for the task's host. \\{{ is a literal {{.",
    "^[^\\u0000]*$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(name: &str) -> Option<&'static str> {
        match name {
            "a" => Some("A"),
            "evil" => Some("{{ a }} ; rm -rf / $(id)\n--x"),
            "long" => Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
            _ => None,
        }
    }

    #[test]
    fn templates_are_filled_in() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("{{a}}", "A"),
            ("{{ a }}", "A"),
            ("x{{\ta }}y{{a}}{{a}}", "xAyAA"),
            (r"\{{ a }}", "{{ a }}"),
            (r"\{{{{ a }}", "{{A"),
            ("}} { } {a}", "}} { } {a}"),
            (r"\n \{ \", r"\n \{ \"),
            ("{{ evil }}", "{{ a }} ; rm -rf / $(id)\n--x"),
            ("é{{ a }}é", "éAé"),
        ] {
            let template: Template = text.parse().unwrap();
            assert_eq!(template.render(&value).unwrap(), filled, "{text}");
            assert_eq!(template.as_str(), text);
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        for (text, at, message) in [
            ("x {{ a", 2, "unclosed {{"),
            ("{{", 0, "unclosed {{"),
            ("{{ a }} {{ b }", 8, "unclosed {{"),
            ("x{{ }}", 1, "empty template"),
            ("{{}}", 0, "empty template"),
            ("é{{ 1/0 }}", 5, "name may hold"),
            ("{{ a b }}", 3, "name may hold"),
            ("{{ a | upper }}", 3, "name may hold"),
            ("{{ {{ a }} }}", 3, "name may hold"),
            ("{{ -a }}", 3, "looks like an option"),
            ("{{\na }}", 2, "name may hold"),
            ("a\0b", 1, "NUL"),
        ] {
            let error = text.parse::<Template>().unwrap_err();
            assert_eq!(error.offset(), at, "{text}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn names_are_listed_in_their_order() {
        let template: Template = r"{{ b }} \{{ c }} {{a}}{{ b }}".parse().unwrap();
        assert_eq!(template.names().map(Name::as_str).collect::<Vec<_>>(), ["b", "a", "b"]);
        assert!(!template.is_literal());
        assert!(r"\{{ c }}".parse::<Template>().unwrap().is_literal());
    }

    #[test]
    fn unknown_names_and_long_texts_are_errors() {
        let unknown: Template = "{{ b }}".parse().unwrap();
        assert_eq!(unknown.render(&value).unwrap_err().to_string(), "unknown parameter \"b\"");
        let long: Template = "{{ long }}".repeat(ARG_BYTES_MAX / 64).parse().unwrap();
        assert!(matches!(long.render(&value), Err(RenderError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn a_text_without_braces_stands_for_itself(text in "[^{\0]*") {
            let template: Template = text.parse().unwrap();
            prop_assert!(template.is_literal());
            prop_assert_eq!(template.render(&value).unwrap(), text);
        }

        #[test]
        fn errors_lie_inside_the_text(text in "[{}\\\\a \u{e9}-]{0,30}") {
            match text.parse::<Template>() {
                Ok(template) => prop_assert_eq!(template.to_string(), text),
                Err(error) => prop_assert!(text.is_char_boundary(error.offset()) && error.offset() < text.len()),
            }
        }

        #[test]
        fn any_text_can_be_escaped(text in "[{} a\\\\]{0,20}") {
            prop_assume!(!text.ends_with('\\') && !text.contains("\\{") && !text.contains("{{{"));
            let template: Template = text.replace("{{", "\\{{").parse().unwrap();
            prop_assert_eq!(template.render(&value).unwrap(), text);
        }
    }
}
