//! A flow file as it came: its name and its bytes.

use std::{ffi::OsStr, path::Path};

use rr_schemas::{flow::FILE_BYTES_MAX, name::Name};

use crate::diagnostic::Diagnostic;

/// A flow file as it came.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What people call it: a path, or `-`.
    pub name: &'a str,
    /// The content.
    pub bytes: &'a [u8],
}

/// How a text is to be parsed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Syntax {
    Yaml,
    Json,
    Toml,
}

const BOM: &str = "\u{feff}";

impl<'a> Source<'a> {
    /// The content as a text without its byte order mark; all places count from there.
    pub(crate) fn text(&self) -> Result<&'a str, Box<Diagnostic>> {
        if self.bytes.len() > FILE_BYTES_MAX {
            let message = format!("file is {} bytes, limit {FILE_BYTES_MAX}", self.bytes.len());
            return Err(Box::new(Diagnostic::error(message)));
        }
        if self.bytes.starts_with(&[0xff, 0xfe]) || self.bytes.starts_with(&[0xfe, 0xff]) {
            let diagnostic = Diagnostic::error("not UTF-8 at byte 0: this is UTF-16");
            return Err(Box::new(diagnostic.at(0..0).help("save the file as UTF-8")));
        }
        let text = std::str::from_utf8(self.bytes).map_err(|error| {
            let at = error.valid_up_to();
            Box::new(Diagnostic::error(format!("not UTF-8 at byte {at}")).at(at..at).help("save the file as UTF-8"))
        })?;
        let text = text.strip_prefix(BOM).unwrap_or(text);
        if text.trim().is_empty() { Err(Box::new(empty())) } else { Ok(text) }
    }

    /// The text as far as there is one, for showing lines of it.
    pub(crate) fn readable(&self) -> &'a str {
        let readable = self.bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        readable.strip_prefix(BOM).unwrap_or(readable)
    }

    pub(crate) fn syntax(&self, text: &str) -> Syntax {
        let extension = Path::new(self.name).extension().map(OsStr::to_ascii_lowercase);
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("json") => Syntax::Json,
            Some("toml") => Syntax::Toml,
            Some("yaml" | "yml") => Syntax::Yaml,
            // `{` may begin YAML too: only what is JSON is taken for JSON.
            Some(_) | None if text.trim_start().starts_with('{') && crate::json::is_valid(text) => Syntax::Json,
            Some(_) | None => Syntax::Yaml,
        }
    }

    /// A name for a flow that has none: the file's, with what no name can hold written `_`.
    pub(crate) fn flow_name(&self) -> Option<Name> {
        let stem = Path::new(self.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let allowed = |char: char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' };
        let name: String = stem.trim_start_matches('-').chars().take(63).map(allowed).collect();
        name.parse().or_else(|_| "flow".parse()).ok()
    }
}

pub(crate) fn empty() -> Diagnostic {
    Diagnostic::error("flow is empty").at(0..0).help("see examples/ for flows to begin with")
}
