//! Sets of hosts as people write them: `db[1-10,15],api[01-06],web1.example.org`.
//!
//! Invariants: a [`HostSet`] stays folded; it names 1 to [`HOSTS_MAX`] hosts, each of them valid, in the order
//! of the text (in a host with several brackets the rightmost turns fastest). It may name a host twice.
//! `parse(print(set)) == set`.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{Host, HostError};
use crate::text::{Echo, string_value};
use pattern::Pattern;

mod fold;
mod parse;
mod pattern;

pub use fold::fold;

/// Most hosts of one set: the limit of tasks in a run.
pub const HOSTS_MAX: u32 = 100_000;

/// Hosts in the order in which they were written, folded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostSet {
    patterns: Vec<Pattern>,
    /// How many hosts the patterns up to and with each one name.
    ends: Vec<u32>,
}

/// Why a text is no host set, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExprError {
    /// What is wrong.
    pub kind: ExprErrorKind,
    /// The bytes of the expression that are meant; inside it, on character boundaries, maybe empty.
    pub span: Range<usize>,
}

/// What is wrong with a host expression.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExprErrorKind {
    /// Nothing but space.
    #[error("targets no host")]
    NoHost,
    /// Two commas in a row, or a comma at an end.
    #[error("empty item beside a comma")]
    EmptyItem,
    /// `[]`.
    #[error("empty [ ]")]
    EmptyBrackets,
    /// `[` without `]`.
    #[error("unclosed [")]
    Unclosed,
    /// `]` without `[`.
    #[error("] without [")]
    Unopened,
    /// `[` inside `[ ]`.
    #[error("nested [")]
    Nested,
    /// A character that stands in no host.
    #[error("a host cannot hold {0}")]
    Character(Echo),
    /// A character in `[ ]` that is not `0-9`, `-` or `,`.
    #[error("only digits 0-9 can stand in [ ], found {0}")]
    NotDigits(Echo),
    /// `[1..5]`.
    #[error("a range is written with -")]
    Dots,
    /// `[-1-5]`.
    #[error("a range cannot begin with -")]
    NoFirst,
    /// `[1-]`.
    #[error("a range needs an end")]
    NoLast,
    /// `[1-5-9]`.
    #[error("a range has two ends")]
    Dashes,
    /// `[99999999999999999999]`.
    #[error("number too large")]
    NumberTooLarge,
    /// `[3-1]`.
    #[error("range is backwards")]
    Backwards {
        /// The greater number, as written.
        first: String,
        /// The smaller number, as written.
        last: String,
    },
    /// `[1-010]`.
    #[error("widths differ")]
    Widths {
        /// The first number, filled with zeros.
        first: String,
        /// The last number, filled with zeros.
        last: String,
    },
    /// An IPv6 address with `[ ]`.
    #[error("an IPv6 address cannot have a range")]
    Ipv6Range,
    /// Some of the named texts are no hosts.
    #[error(transparent)]
    Host(HostError),
    /// More hosts than a run can have.
    #[error("expands to {hosts} hosts, limit {HOSTS_MAX}")]
    TooMany {
        /// How many; `u64::MAX` for more than that.
        hosts: u64,
    },
}

impl ExprError {
    pub(crate) fn new(kind: ExprErrorKind, span: Range<usize>) -> Self {
        Self { kind, span }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> String {
        self.kind.to_string()
    }

    /// What to write instead, if that is known.
    pub fn help(&self) -> Option<String> {
        use ExprErrorKind as Kind;
        match &self.kind {
            Kind::Unclosed => Some("close it with ]".to_owned()),
            Kind::Character(_) => {
                Some("separate hosts by commas; a host may hold A-Z a-z 0-9 . - _ (IPv6 also :)".to_owned())
            }
            Kind::EmptyBrackets | Kind::Nested | Kind::NotDigits(_) | Kind::NoFirst | Kind::NoLast | Kind::Dashes => {
                Some("write a range as [1-5] or [1-5,9]".to_owned())
            }
            Kind::Dots => Some("write [1-5]".to_owned()),
            Kind::Backwards { first, last } => Some(format!("write [{last}-{first}]")),
            Kind::Widths { first, last } => Some(format!("write [{first}-{last}]")),
            Kind::Ipv6Range => Some("list the addresses one by one".to_owned()),
            Kind::NoHost
            | Kind::EmptyItem
            | Kind::Unopened
            | Kind::NumberTooLarge
            | Kind::Host(_)
            | Kind::TooMany { .. } => None,
        }
    }

    /// The place as people count: the first character is column 1.
    pub fn column(&self) -> usize {
        // All before the first wrong character is ASCII, so bytes are characters.
        self.span.start.saturating_add(1)
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at col {}", self.kind, self.column())?;
        match self.help() {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExprError {}

impl HostSet {
    /// The hosts of several sets, one set after the other.
    ///
    /// # Errors
    /// There is none, or there are more than [`HOSTS_MAX`]; the error has no place.
    pub fn concat(sets: impl IntoIterator<Item = Self>) -> Result<Self, ExprError> {
        Self::from_patterns(sets.into_iter().flat_map(|set| set.patterns).collect(), 0..0)
    }

    /// The given hosts in the given order, neighbours folded.
    ///
    /// # Errors
    /// There is none, or there are more than [`HOSTS_MAX`]; the error has no place.
    pub fn from_hosts<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Result<Self, ExprError> {
        Self::from_patterns(fold::in_order(hosts), 0..0)
    }

    fn from_patterns(patterns: Vec<Pattern>, span: Range<usize>) -> Result<Self, ExprError> {
        let mut hosts: u64 = 0;
        let mut ends = Vec::with_capacity(patterns.len());
        for pattern in &patterns {
            hosts = hosts.saturating_add(pattern.count());
            ends.push(u32::try_from(hosts).unwrap_or(u32::MAX));
        }
        if hosts == 0 {
            return Err(ExprError::new(ExprErrorKind::NoHost, span));
        }
        if hosts > u64::from(HOSTS_MAX) {
            return Err(ExprError::new(ExprErrorKind::TooMany { hosts }, span));
        }
        Ok(Self { patterns, ends })
    }

    /// How many hosts there are, duplicates counted.
    #[expect(clippy::len_without_is_empty, reason = "a host set is never empty")]
    pub fn len(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The host at `index`, from 0, without expanding the set.
    pub fn nth(&self, index: u32) -> Option<Host> {
        let at = self.ends.partition_point(|end| *end <= index);
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0);
        let text = self.patterns.get(at)?.nth(u64::from(index.checked_sub(before)?))?;
        Some(Host::trusted(text))
    }

    /// The hosts in the order in which they were written.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Host> + '_ {
        (0..self.len()).filter_map(|index| self.nth(index))
    }

    /// Whether `host` is one of them; expands nothing.
    pub fn contains(&self, host: &Host) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(host.as_str()))
    }

    /// The hosts that are named more than once, each once, in the order of their second naming.
    pub fn duplicates(&self) -> Vec<Host> {
        let (mut seen, mut again) = (HashSet::new(), HashSet::new());
        self.iter().filter(|host| !seen.insert(host.clone()) && again.insert(host.clone())).collect()
    }

    /// The set with each host once, where it was named first, and how many namings were left out.
    #[must_use]
    pub fn merged(&self) -> (Self, u32) {
        let mut seen = HashSet::new();
        let hosts: Vec<Host> = self.iter().filter(|host| seen.insert(host.clone())).collect();
        let n_kept = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let n_left_out = self.len().saturating_sub(n_kept);
        // What has no duplicates stays as it was written.
        let merged = if n_left_out == 0 { None } else { Self::from_hosts(&hosts).ok() };
        (merged.unwrap_or_else(|| self.clone()), n_left_out)
    }
}

impl From<&Host> for HostSet {
    fn from(host: &Host) -> Self {
        Self { patterns: vec![Pattern::literal(host.to_string())], ends: vec![1] }
    }
}

impl fmt::Display for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pattern::write_all(f, &self.patterns)
    }
}

impl FromStr for HostSet {
    type Err = ExprError;

    fn from_str(text: &str) -> Result<Self, ExprError> {
        Self::from_patterns(parse::parse(text)?, 0..text.len())
    }
}

string_value!(
    HostSet,
    ExprError,
    "hosts like db[1-10,15],web1",
    "Hosts, separated by commas, with ranges in [ ]: db[1-10,15],api[01-06],web1.example.org.",
    "^([A-Za-z0-9._:, -]|\\[[0-9,-]+\\])+$"
);

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
