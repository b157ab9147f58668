//! YAML to nodes: one document of maps, lists and scalars, nothing else of YAML.
//!
//! Anchors, aliases, merge keys and tags are refused where they stand, so a small file cannot grow in memory.

use std::ops::Range;

use rr_schemas::{flow::NESTING_MAX, text::Echo};
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Options, Parser, ScalarStyle, ScanError};

use crate::{
    diagnostic::Diagnostic,
    node::{Entry, Kind, Node, Scalar},
};

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// The tree of a text; none when there is nothing in it but comments.
pub(crate) fn parse(text: &str) -> Result<Option<Node>> {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.emit_unresolved_aliases = true;
    // Of each kind; the builder counts both together.
    options.flow_nesting_limit = NESTING_MAX;
    options.block_nesting_limit = NESTING_MAX;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { text, documents: 0, open: Vec::new(), root: None };
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Box::new(explain(text, &error)))?;
        let tag_start = span.tag_start().and_then(|tag| tag.byte_offset());
        builder.event(event, span.byte_range().unwrap_or(0..0), tag_start)?;
    }
    Ok(builder.root)
}

/// Builds the tree from the parser's events with its own stack: nesting is input from outside.
struct Builder<'t> {
    text: &'t str,
    documents: usize,
    open: Vec<Open>,
    root: Option<Node>,
}

/// A map or list that has not ended yet.
enum Open {
    Map { start: usize, entries: Vec<Entry>, key: Option<(Scalar, Range<usize>)> },
    List { start: usize, items: Vec<Node> },
}

impl Builder<'_> {
    /// Takes an event, its place, and where its tag begins if it has one.
    fn event(&mut self, event: Event<'_>, span: Range<usize>, tag_start: Option<usize>) -> Result<()> {
        let properties = tag_start.unwrap_or(span.start)..span.end;
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fail("one document expected, found 2", span, "put each flow into a file of its own");
                }
                Ok(())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                fail("YAML aliases are not allowed", span, "a text that begins with * has to be quoted")
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_properties(anchor, tag.as_deref(), &properties)?;
                let (text, is_quoted) = (text.into_owned(), style != ScalarStyle::Plain);
                let verbatim_at = verbatim(self.text, &text, style, &span);
                self.scalar(Scalar { text, is_quoted, verbatim_at }, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_properties(anchor, tag.as_deref(), &properties)?;
                self.begin(Open::List { start: span.start, items: Vec::new() }, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_properties(anchor, tag.as_deref(), &properties)?;
                self.begin(Open::Map { start: span.start, entries: Vec::new(), key: None }, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end(span.end);
                Ok(())
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) | _ => Ok(()),
        }
    }

    fn begin(&mut self, open: Open, span: Range<usize>) -> Result<()> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            let help = "a text that begins with { or [ has to be quoted";
            return fail("a key must be a text", span, help);
        }
        if self.open.len() >= NESTING_MAX {
            return Err(Box::new(too_deep(span)));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, end: usize) {
        let node = match self.open.pop() {
            Some(Open::Map { start, entries, .. }) => Node { span: start..end, kind: Kind::Map(entries) },
            Some(Open::List { start, items }) => Node { span: start..end, kind: Kind::List(items) },
            None => return,
        };
        self.add(node);
    }

    fn scalar(&mut self, scalar: Scalar, span: Range<usize>) -> Result<()> {
        if let Some(Open::Map { key: key @ None, .. }) = self.open.last_mut() {
            if scalar.text == "<<" && !scalar.is_quoted {
                return fail("YAML merge keys are not allowed", span, "write the fields out");
            }
            *key = Some((scalar, span));
            return Ok(());
        }
        self.add(Node { span, kind: Kind::Scalar(scalar) });
        Ok(())
    }

    fn add(&mut self, value: Node) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, key, .. }) => {
                if let Some((key, key_span)) = key.take() {
                    entries.push(Entry { key, key_span, value });
                }
            }
        }
    }
}

fn fail<T>(message: &str, span: Range<usize>, help: &str) -> Result<T> {
    Err(Box::new(Diagnostic::error(message).at(span).help(help)))
}

pub(crate) fn too_deep(span: Range<usize>) -> Diagnostic {
    Diagnostic::error(format!("nesting deeper than {NESTING_MAX}")).at(span)
}

fn refuse_properties(anchor: usize, tag: Option<&granit_parser::Tag>, span: &Range<usize>) -> Result<()> {
    if let Some(tag) = tag {
        let message = format!("YAML tags are not allowed, found {}", Echo::new(&tag.original()));
        return fail(&message, span.clone(), "a text that begins with ! has to be quoted");
    }
    if anchor != 0 {
        let help = "a text that begins with & has to be quoted";
        return fail("YAML anchors are not allowed", span.clone(), help);
    }
    Ok(())
}

/// Where the text of a scalar stands in the file as it is, if it does.
fn verbatim(file: &str, text: &str, style: ScalarStyle, span: &Range<usize>) -> Option<usize> {
    let at = match style {
        ScalarStyle::Plain => span.start,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => span.start + 1,
        ScalarStyle::Literal | ScalarStyle::Folded => return None,
    };
    file.get(at..)?.starts_with(text).then_some(at)
}

/// The parser's error in our words, at its place.
fn explain(text: &str, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or(0);
    let span = at..at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(span);
    }
    let diagnostic = Diagnostic::error(format!("not valid YAML: {}", error.kind())).at(span);
    diagnostic.maybe_help(help(error.kind()).map(str::to_owned))
}

/// What to do about the errors that people make.
fn help(kind: &ErrorKind) -> Option<&'static str> {
    use ErrorKind as Kind;
    let is_tab = matches!(kind, Kind::TabNotAllowed | Kind::TabInBlockIndentation | Kind::TabInIndentation);
    let is_separator = matches!(kind, Kind::ExpectedFlowSequenceSeparator | Kind::ExpectedFlowMappingSeparator);
    let is_bracket = matches!(
        kind,
        Kind::UnclosedFlowCollection { .. }
            | Kind::MisplacedFlowCollectionEnd
            | Kind::MismatchedFlowCollectionEnd { .. }
    );
    if is_tab {
        Some("indent with spaces")
    } else if is_separator || is_bracket {
        Some("between [ ] and { }, a text with one of [ ] { } , in it has to be quoted")
    } else if *kind == Kind::MappingValueNotAllowed {
        Some("a text with \": \" in it has to be quoted")
    } else if matches!(kind, Kind::UnexpectedCharacter { .. }) {
        Some("a text that begins with this character has to be quoted")
    } else if *kind == Kind::DirectiveDisallowed {
        Some("leave lines that begin with % out")
    } else {
        None
    }
}
