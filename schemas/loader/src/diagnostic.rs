//! What is wrong with a file, and where.

use std::ops::Range;

use crate::source::Source;

/// Something that is wrong with a file, or that its author may not have meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Whether the flow can be used all the same.
    pub level: Level,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// The bytes that are meant, counted after a byte order mark; inside the file, on one line, maybe empty.
    pub span: Option<Range<usize>>,
    /// Where [`Diagnostic::span`] begins, for people.
    pub position: Option<Position>,
    /// The other place, where the problem lies between two.
    pub also: Option<Range<usize>>,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// There is no flow.
    Error,
    /// There is a flow.
    Warning,
}

/// A place in a file as editors count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Diagnostic {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { level: Level::Error, message: message.into(), span: None, position: None, also: None, help: None }
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(message) }
    }

    pub(crate) fn at(self, span: Range<usize>) -> Self {
        Self { span: Some(span), ..self }
    }

    pub(crate) fn also(self, span: Option<Range<usize>>) -> Self {
        Self { also: span, ..self }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }
}

/// Puts every span on one line inside the text, adds positions, and sorts: errors first, each kind by place.
pub(crate) fn finish(source: &Source<'_>, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let text = source.readable();
    let lines: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    for diagnostic in &mut diagnostics {
        diagnostic.span = diagnostic.span.take().map(|span| on_one_line(text, span));
        diagnostic.also = diagnostic.also.take().map(|span| on_one_line(text, span));
        diagnostic.position = diagnostic.span.as_ref().map(|span| position(text, &lines, span.start));
    }
    diagnostics.sort_by_key(|diagnostic| (diagnostic.level, diagnostic.span.as_ref().map(|span| span.start)));
    diagnostics
}

fn on_one_line(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end.max(start));
    let meant = text.get(start..end).unwrap_or_default();
    let line = meant.split(['\n', '\r']).next().unwrap_or_default();
    start..start + line.trim_end().len()
}

fn position(text: &str, lines: &[usize], at: usize) -> Position {
    let line = lines.partition_point(|start| *start <= at);
    let start = line.checked_sub(1).and_then(|line| lines.get(line)).copied().unwrap_or(0);
    Position { line, column: text.get(start..at).map_or(0, |before| before.chars().count()) + 1 }
}
