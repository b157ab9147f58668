//! From hosts back to expressions: `db3 db4 db9` is shown as `db[3-4,9]`.

use std::collections::BTreeMap;
use std::mem;

use super::pattern::{self, Bracket, Item, Pattern};
use crate::host::Host;

/// How many numbers of a host are folded, counted from its end: rack, node and one more. Each costs a sort.
const DIMENSIONS_MAX: usize = 3;

/// A short expression for exactly these hosts, each once, sorted: `db[3-7,9]`. Any number of hosts; none gives
/// the empty text.
pub fn fold(hosts: &[Host]) -> String {
    let mut groups: BTreeMap<Vec<&str>, Vec<Row>> = BTreeMap::new();
    for host in hosts {
        let (literals, numbers) = split(host.as_str(), DIMENSIONS_MAX);
        groups.entry(literals).or_default().push(numbers.into_iter().map(|number| vec![number]).collect());
    }
    let mut patterns = Vec::new();
    for (literals, mut rows) in groups {
        rows.sort_unstable();
        rows.dedup();
        for dimension in (0..literals.len().saturating_sub(1)).rev() {
            rows = merge_rows(rows, dimension);
        }
        rows.sort_by_cached_key(|row| {
            row.iter().map(|items| items.first().map(|item| (item.n_digits(), *item))).collect::<Vec<_>>()
        });
        patterns.extend(rows.into_iter().map(|row| to_pattern(&literals, row)));
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    pattern::write_all(&mut text, &patterns).map_or_else(|_| String::new(), |()| text)
}

/// The hosts in their order; neighbours that differ only in their last number share a pattern.
pub(super) fn in_order<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    let mut open: Option<(Vec<&str>, Vec<Item>)> = None;
    for host in hosts {
        let (literals, numbers) = split(host.as_str(), 1);
        match (&mut open, numbers.first()) {
            (Some((same, items)), Some(&number)) if *same == literals => push(items, number),
            _ => {
                let closed = open.replace((literals, numbers));
                patterns.extend(closed.map(|(literals, items)| to_pattern(&literals, row_of(items))));
            }
        }
    }
    patterns.extend(open.map(|(literals, items)| to_pattern(&literals, row_of(items))));
    patterns
}

/// The numbers of some hosts that are equal but for them: per place the numbers; all combinations are meant.
type Row = Vec<Vec<Item>>;

/// A host without a number has no place for one.
fn row_of(items: Vec<Item>) -> Row {
    if items.is_empty() { Vec::new() } else { vec![items] }
}

/// Merges rows that differ only in `dimension`. In that dimension each row has one number yet.
fn merge_rows(mut rows: Vec<Row>, dimension: usize) -> Vec<Row> {
    let mut groups: BTreeMap<Row, Vec<Item>> = BTreeMap::new();
    for row in &mut rows {
        let numbers = row.get_mut(dimension).map(mem::take).unwrap_or_default();
        groups.entry(mem::take(row)).or_default().extend(numbers);
    }
    let merged = groups.into_iter().map(|(mut row, mut numbers)| {
        numbers.sort_unstable_by_key(|number| (number.n_digits(), number.first));
        let mut items = Vec::new();
        for number in numbers {
            push(&mut items, number);
        }
        if let Some(place) = row.get_mut(dimension) {
            *place = items;
        }
        row
    });
    merged.collect()
}

/// Appends a number, to the last range if it follows it.
fn push(items: &mut Vec<Item>, number: Item) {
    match items.last_mut().and_then(|last| last.extended(number).map(|longer| (last, longer))) {
        Some((last, longer)) => *last = longer,
        None => items.push(number),
    }
}

/// Numbers that stand alone become text again.
fn to_pattern(literals: &[&str], row: Row) -> Pattern {
    let mut literals = literals.iter();
    let mut pattern = Pattern::literal(literals.next().copied().unwrap_or_default().to_owned());
    for (items, literal) in row.into_iter().zip(literals) {
        match items.as_slice() {
            [single] if single.first == single.last => {
                let text = pattern.tail.last_mut().map_or(&mut pattern.head, |(_, text)| text);
                text.push_str(&single.text(single.first));
                text.push_str(literal);
            }
            _ => pattern.tail.push((Bracket::new(items), (*literal).to_owned())),
        }
    }
    pattern
}

/// Splits a host at its last numbers, at most `numbers_max` of them: one literal more than numbers. Numbers
/// that are too large stay text, and so does an IPv6 address, whose digits are hexadecimal.
fn split(host: &str, numbers_max: usize) -> (Vec<&str>, Vec<Item>) {
    let (mut literals, mut numbers) = (Vec::new(), Vec::new());
    let mut rest = host;
    let mut literal_end = host.len();
    while numbers.len() < numbers_max && !host.contains(':') {
        let is_digit = |char: char| char.is_ascii_digit();
        let Some(last) = rest.rfind(is_digit) else {
            break;
        };
        let digits_end = last + 1;
        let before = rest.get(..digits_end).unwrap_or_default().trim_end_matches(is_digit);
        if let Some(number) = host.get(before.len()..digits_end).and_then(Item::single) {
            numbers.push(number);
            literals.push(host.get(digits_end..literal_end).unwrap_or_default());
            literal_end = before.len();
        }
        rest = before;
    }
    literals.push(host.get(..literal_end).unwrap_or_default());
    literals.reverse();
    numbers.reverse();
    (literals, numbers)
}
