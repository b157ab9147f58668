//! What is fed, and what must hold of it.

mod api;
mod export;
mod flow;
mod hosts;
mod template;
mod wire;
mod words;

use std::fmt;

/// Words of a refusal that make its kind; what follows is often of the input.
const KIND_WORDS: usize = 8;

/// A reader of what comes from outside.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// Flow files in each of their forms.
    Flow,
    /// Host expressions.
    Hosts,
    /// Messages on the wire, in JSON and in CBOR.
    Wire,
    /// Requests on `rr.api`, and what they are answered.
    Api,
    /// Exports: files of stored messages.
    Export,
    /// Templates of commands.
    Template,
    /// Times, quotas, ranges and the like.
    Words,
}

/// The kind of a reader's answer: two inputs with the same one have most likely taken the same way through it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Answer(String);

impl Answer {
    /// Of an input that was read.
    pub(crate) fn read(what: &str) -> Self {
        Self(format!("read {what}"))
    }

    /// Of one that was refused with these words. What they repeat of the input, between quotation marks, is no kind.
    pub(crate) fn refused(what: &str, words: &str) -> Self {
        let is_quote = |char: char| matches!(char, '"' | '\'' | '`');
        let (before, quoted) = words.split_at(words.find(is_quote).unwrap_or(words.len()));
        let behind = quoted.rsplit(is_quote).next().filter(|_| !quoted.is_empty()).unwrap_or_default();
        let mut kind = format!("refused {what}:");
        for word in before.split_whitespace().chain(behind.split_whitespace()).take(KIND_WORDS) {
            let is_word = word.trim_end_matches([',', ':', ';']).bytes().all(|byte| byte.is_ascii_alphabetic());
            kind.push_str(if is_word { " " } else { " ?" });
            kind.push_str(if is_word { word } else { "" });
        }
        Self(kind)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Flow, Self::Hosts, Self::Wire, Self::Api, Self::Export, Self::Template, Self::Words];

    /// Its name, and that of its directory in the corpus.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Hosts => "hosts",
            Self::Wire => "wire",
            Self::Api => "api",
            Self::Export => "export",
            Self::Template => "template",
            Self::Words => "words",
        }
    }

    /// Bytes of an input at most: a little more than the reader takes, or enough for everything that it does.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Flow => rr_schemas::flow::FILE_BYTES_MAX + 1024,
            Self::Hosts | Self::Template => 256 * 1024,
            Self::Wire | Self::Api | Self::Export => 1024 * 1024,
            Self::Words => 4 * 1024,
        }
    }

    /// Reads an input. The answers that it gets are one for each way in which it is read.
    ///
    /// # Errors
    /// What must hold and does not, in words.
    pub fn feed(self, input: &[u8]) -> Result<Vec<Answer>, String> {
        match self {
            Self::Flow => flow::feed(input),
            Self::Hosts => hosts::feed(input),
            Self::Wire => wire::feed(input),
            Self::Api => api::feed(input),
            Self::Export => export::feed(input),
            Self::Template => template::feed(input),
            Self::Words => words::feed(input),
        }
    }
}

/// Demands that something holds.
fn demand(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The input as a text, as far as it is one.
fn text(input: &[u8]) -> &str {
    input.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}
