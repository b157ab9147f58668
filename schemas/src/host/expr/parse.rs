//! Reads a host expression, strictly, from left to right; the first fault ends it.
//!
//! The work is linear in the text, whatever numbers it holds: ranges are never expanded.

use std::ops::Range;

use super::pattern::{Bracket, Item, Pattern};
use super::{ExprError, ExprErrorKind as Kind, HOSTS_MAX};
use crate::host::{Host, is_host_char};
use crate::text::Echo;

/// The patterns of an expression.
pub(super) fn parse(text: &str) -> Result<Vec<Pattern>, ExprError> {
    if text.bytes().all(|byte| byte == b' ') {
        return Err(ExprError::new(Kind::NoHost, 0..text.len()));
    }
    let mut parser = Parser { text, at: 0 };
    let mut patterns = vec![parser.pattern()?];
    while parser.peek() == Some(',') {
        parser.at += 1;
        patterns.push(parser.pattern()?);
    }
    Ok(patterns)
}

struct Parser<'a> {
    text: &'a str,
    /// The byte that is next.
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().bytes().take_while(|byte| *byte == b' ').count();
    }

    /// One item up to a comma between items or the end.
    fn pattern(&mut self) -> Result<Pattern, ExprError> {
        self.skip_spaces();
        let start = self.at;
        let mut pattern = Pattern::literal(String::new());
        let end = loop {
            let here = self.at;
            match self.peek() {
                None | Some(',') => break here,
                Some(' ') => {
                    self.skip_spaces();
                    if !matches!(self.peek(), None | Some(',')) {
                        return Err(ExprError::new(Kind::Character(Echo::new(" ")), here..here + 1));
                    }
                    break here;
                }
                Some('[') => {
                    let bracket = self.bracket()?;
                    pattern.tail.push((bracket, String::new()));
                }
                Some(']') => return Err(ExprError::new(Kind::Unopened, here..here + 1)),
                Some(char) if is_host_char(char) => {
                    let literal = pattern.tail.last_mut().map_or(&mut pattern.head, |(_, literal)| literal);
                    literal.push(char.to_ascii_lowercase());
                    self.at += 1;
                }
                Some(char) => return Err(character_error(Kind::Character, char, here)),
            }
        };
        if start == end {
            return Err(ExprError::new(Kind::EmptyItem, self.comma_near(end)));
        }
        checked(pattern, start..end)
    }

    /// The comma that makes an item at `at` empty: the one behind it, else the one before it.
    fn comma_near(&self, at: usize) -> Range<usize> {
        if self.peek() == Some(',') {
            return self.at..self.at + 1;
        }
        let before = self.text.get(..at).and_then(|before| before.rfind(','));
        before.map_or(at..at, |comma| comma..comma + 1)
    }

    /// `[1-5,9]`; stands at the `[`.
    fn bracket(&mut self) -> Result<Bracket, ExprError> {
        let open = self.at;
        self.at += 1;
        let Some(length) = self.rest().find(']') else {
            return Err(ExprError::new(Kind::Unclosed, open..open + 1));
        };
        let close = self.at + length;
        if length == 0 {
            return Err(ExprError::new(Kind::EmptyBrackets, open..close + 1));
        }
        let mut items = Vec::new();
        let mut start = self.at;
        for item in self.text.get(self.at..close).unwrap_or_default().split(',') {
            items.push(parse_item(item, start)?);
            start += item.len() + 1;
        }
        self.at = close + 1;
        Ok(Bracket::new(items))
    }
}

/// `7` or `1-5`, which begins at byte `start` of the expression.
fn parse_item(item: &str, start: usize) -> Result<Item, ExprError> {
    let end = start + item.len();
    let fault = |kind| Err(ExprError::new(kind, start..end));
    if item.is_empty() {
        // Behind an item in brackets there is a comma or the closing bracket.
        return Err(ExprError::new(Kind::EmptyItem, start..start + 1));
    }
    if let Some((at, char)) = item.char_indices().find(|(_, char)| !char.is_ascii_digit() && *char != '-') {
        return Err(match char {
            '[' => ExprError::new(Kind::Nested, start + at..start + at + 1),
            '.' if item.contains("..") => ExprError::new(Kind::Dots, start..end),
            _ => character_error(Kind::NotDigits, char, start + at),
        });
    }
    let (first, last) = match item.split_once('-') {
        None => (item, item),
        Some(("", _)) => return fault(Kind::NoFirst),
        Some((_, "")) => return fault(Kind::NoLast),
        Some((_, last)) if last.contains('-') => return fault(Kind::Dashes),
        Some((first, last)) => (first, last),
    };
    let (Some(from), Some(to)) = (Item::single(first), Item::single(last)) else {
        return fault(Kind::NumberTooLarge);
    };
    if (from.width > 0 || to.width > 0) && first.len() != last.len() {
        let width = first.len().max(last.len());
        return fault(Kind::Widths { first: format!("{first:0>width$}"), last: format!("{last:0>width$}") });
    }
    if from.first > to.first {
        return fault(Kind::Backwards { first: first.to_owned(), last: last.to_owned() });
    }
    Ok(Item { last: to.last, ..from })
}

fn character_error(kind: fn(Echo) -> Kind, char: char, at: usize) -> ExprError {
    ExprError::new(kind(Echo::new(char.encode_utf8(&mut [0; 4]))), at..at + char.len_utf8())
}

/// Checks the limit first: with it all numbers are small and the rest is about their form.
fn checked(pattern: Pattern, span: Range<usize>) -> Result<Pattern, ExprError> {
    let hosts = pattern.count();
    if hosts > u64::from(HOSTS_MAX) {
        return Err(ExprError::new(Kind::TooMany { hosts }, span));
    }
    let host_error = |error| ExprError::new(Kind::Host(error), span.clone());
    if pattern.tail.is_empty() {
        let host: Host = pattern.head.parse().map_err(host_error)?;
        return Ok(Pattern::literal(host.into()));
    }
    if pattern.head.contains(':') || pattern.tail.iter().any(|(_, literal)| literal.contains(':')) {
        return Err(ExprError::new(Kind::Ipv6Range, span));
    }
    for probe in pattern.probes() {
        probe.parse::<Host>().map_err(host_error)?;
    }
    Ok(pattern)
}
