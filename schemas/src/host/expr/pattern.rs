//! One item of a host expression: literal text and brackets, `r[1-2]n[01-40].lan`; counted and indexed, never expanded.
//!
//! Invariant: literals are in lower case, each expansion is a valid host.

use std::fmt;

use crate::host::LABEL_CHARS_MAX;

/// Literal text, then brackets with the literal text behind each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pattern {
    pub(super) head: String,
    pub(super) tail: Vec<(Bracket, String)>,
}

/// The numbers in one pair of brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bracket {
    items: Vec<Item>,
    /// How many numbers the items up to and with each one name; `u64::MAX` for more than that.
    ends: Vec<u64>,
}

/// Numbers in a row. With a width they are filled with zeros up to it; `width` is 0 when none of them begins
/// with a filling zero, so that equal items are printed and compared alike.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Item {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) width: usize,
}

impl Pattern {
    pub(super) fn literal(text: String) -> Self {
        Self { head: text, tail: Vec::new() }
    }

    /// How many hosts it names; `u64::MAX` for more than that.
    pub(super) fn count(&self) -> u64 {
        self.tail.iter().fold(1, |count, (bracket, _)| count.saturating_mul(bracket.count()))
    }

    /// The host at `index`; the rightmost bracket turns fastest.
    pub(super) fn nth(&self, index: u64) -> Option<String> {
        let mut numbers = Vec::with_capacity(self.tail.len());
        let mut rest = index;
        for (bracket, _) in self.tail.iter().rev() {
            numbers.push(bracket.nth(rest % bracket.count().max(1))?);
            rest /= bracket.count().max(1);
        }
        (rest == 0).then(|| self.with_numbers(numbers.into_iter().rev()))
    }

    /// The host with one number for each bracket.
    pub(super) fn with_numbers(&self, numbers: impl Iterator<Item = String>) -> String {
        let mut host = self.head.clone();
        for (number, (_, literal)) in numbers.zip(&self.tail) {
            host.push_str(&number);
            host.push_str(literal);
        }
        host
    }

    /// Whether `host` is one of its hosts.
    pub(super) fn matches(&self, host: &str) -> bool {
        host.strip_prefix(self.head.as_str()).is_some_and(|rest| tail_matches(&self.tail, rest))
    }

    /// For each bracket one of its numbers, so chosen that a fault of any expansion shows in one of the two
    /// hosts: the longest and of these the greatest number; and one that begins with a zero, if there is one.
    pub(super) fn probes(&self) -> [String; 2] {
        [
            self.with_numbers(self.tail.iter().map(|(bracket, _)| bracket.longest())),
            self.with_numbers(self.tail.iter().map(|(bracket, _)| bracket.most_zeros())),
        ]
    }
}

/// Tries each number that the text can begin with. Adjacent brackets make several possible, but not more than
/// the pattern has hosts, and those have a limit.
fn tail_matches(tail: &[(Bracket, String)], text: &str) -> bool {
    let Some(((bracket, literal), tail)) = tail.split_first() else {
        return text.is_empty();
    };
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=n_digits).any(|length| {
        let (number, rest) = text.split_at(length);
        rest.strip_prefix(literal.as_str()).is_some_and(|rest| bracket.contains(number) && tail_matches(tail, rest))
    })
}

impl Bracket {
    pub(super) fn new(items: Vec<Item>) -> Self {
        let ends = items
            .iter()
            .scan(0_u64, |end, item| {
                *end = end.saturating_add(item.count());
                Some(*end)
            })
            .collect();
        Self { items, ends }
    }

    fn count(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn nth(&self, index: u64) -> Option<String> {
        let at = self.ends.partition_point(|end| *end <= index);
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0);
        let item = self.items.get(at)?;
        Some(item.text(item.first.checked_add(index.checked_sub(before)?)?))
    }

    fn contains(&self, number: &str) -> bool {
        let Ok(value) = number.parse::<u64>() else {
            return false;
        };
        self.items.iter().any(|item| (item.first..=item.last).contains(&value) && item.text(value) == number)
    }

    fn longest(&self) -> String {
        let texts = self.items.iter().map(|item| item.text(item.last));
        texts.max_by(|one, two| one.len().cmp(&two.len()).then_with(|| one.cmp(two))).unwrap_or_default()
    }

    fn most_zeros(&self) -> String {
        let n_zeros = |text: &String| (text.bytes().take_while(|byte| *byte == b'0').count(), text.len());
        let texts = self.items.iter().map(|item| item.text(item.first));
        texts.max_by_key(n_zeros).unwrap_or_default()
    }
}

impl Item {
    /// The number that `digits` (nothing but ASCII digits) write; none if it is too large, or longer than a part of a host.
    pub(super) fn single(digits: &str) -> Option<Self> {
        if digits.len() > LABEL_CHARS_MAX {
            return None;
        }
        let value = digits.parse().ok()?;
        let is_filled = digits.len() > 1 && digits.starts_with('0');
        Some(Self { first: value, last: value, width: if is_filled { digits.len() } else { 0 } })
    }

    /// Takes the single number `next` in at the end, if it follows and is written alike.
    pub(super) fn extended(self, next: Self) -> Option<Self> {
        let follows = self.last.checked_add(1) == Some(next.first);
        let is_alike = self.width == 0 && next.width == 0 || self.n_digits() == next.n_digits();
        (follows && is_alike).then_some(Self { last: next.last, ..self })
    }

    /// How many digits its last number is written with.
    pub(super) fn n_digits(self) -> usize {
        let natural = self.last.checked_ilog10().map_or(1, |log| log as usize + 1);
        natural.max(self.width)
    }

    pub(super) fn text(self, value: u64) -> String {
        format!("{value:0width$}", width = self.width)
    }

    fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Prints patterns with commas between them.
pub(super) fn write_all(f: &mut impl fmt::Write, patterns: &[Pattern]) -> fmt::Result {
    for (at, pattern) in patterns.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(f, "{comma}{}", pattern.head)?;
        for (bracket, literal) in &pattern.tail {
            write!(f, "{bracket}{literal}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Bracket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.items.iter().enumerate() {
            f.write_str(if at == 0 { "[" } else { "," })?;
            f.write_str(&item.text(item.first))?;
            if item.first != item.last {
                write!(f, "-{}", item.text(item.last))?;
            }
        }
        f.write_str("]")
    }
}
