//! Sets of task indexes, folded: ten thousand tasks in a row take one entry and, as text, `0-9999`.
//!
//! Invariant: the ranges are sorted, disjoint and not adjacent, so a set has one form, in memory and as text.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::text::{Echo, string_value};

/// A set of `u32`, kept and written as ranges: `0-9999,10004`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ranges {
    /// First and last of each range.
    ranges: Vec<(u32, u32)>,
}

/// Why a text is no set of ranges.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RangesError {
    /// An item is neither `3` nor `3-7`.
    #[error("expected ranges like 0-9999,10004; got {0}")]
    Shape(Echo),
    /// A range is backwards, or the ranges are not in order with a gap between them.
    #[error("ranges must rise and have gaps between them; got {0}")]
    Order(Echo),
}

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds one number; says whether it is new. For many in no order, `extend` or `collect`.
    pub fn insert(&mut self, number: u32) -> bool {
        let is_new = !self.contains(number);
        if is_new {
            self.push_range(number..=number);
        }
        is_new
    }

    /// Adds all numbers of `range`; an empty range adds nothing. Takes constant time at the end of the set.
    pub fn push_range(&mut self, range: RangeInclusive<u32>) {
        if range.is_empty() {
            return;
        }
        let (mut first, mut last) = range.into_inner();
        // All ranges from `from` up to `to` overlap or touch the new one and become one with it.
        let from = self.ranges.partition_point(|&(_, end)| end < first && first - end > 1);
        let to = self.ranges.partition_point(|&(start, _)| start <= last || start - last == 1);
        if let Some(&(start, _)) = self.ranges.get(from..to).and_then(<[_]>::first) {
            first = first.min(start);
        }
        if let Some(&(_, end)) = self.ranges.get(from..to).and_then(<[_]>::last) {
            last = last.max(end);
        }
        self.ranges.splice(from..to, [(first, last)]);
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u32) -> bool {
        let at = self.ranges.partition_point(|&(_, end)| end < number);
        self.ranges.get(at).is_some_and(|&(start, _)| start <= number)
    }

    /// How many numbers are in the set.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|&(start, end)| u64::from(end - start) + 1).sum()
    }

    /// Whether no number is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The numbers, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(start, end)| start..=end)
    }

    /// The ranges, rising.
    pub fn iter_ranges(&self) -> impl ExactSizeIterator<Item = RangeInclusive<u32>> + '_ {
        self.ranges.iter().map(|&(start, end)| start..=end)
    }
}

/// Adds many numbers in any order at the price of sorting them, where inserting one by one moves all that lies behind.
impl Extend<u32> for Ranges {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, numbers: I) {
        let added: Self = numbers.into_iter().collect();
        if self.is_empty() {
            *self = added;
        } else if !added.is_empty() {
            let mut all: Vec<(u32, u32)> = std::mem::take(&mut self.ranges);
            all.extend(added.ranges);
            all.sort_unstable();
            for (first, last) in all {
                self.push_range(first..=last);
            }
        }
    }
}

/// Takes numbers in any order at the price of sorting them.
impl FromIterator<u32> for Ranges {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut numbers: Vec<u32> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let mut ranges = Self::new();
        for number in numbers {
            ranges.push_range(number..=number);
        }
        ranges
    }
}

impl From<RangeInclusive<u32>> for Ranges {
    fn from(range: RangeInclusive<u32>) -> Self {
        let mut ranges = Self::new();
        ranges.push_range(range);
        ranges
    }
}

/// Prints `0-9999,10004`; nothing for the empty set.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, &(start, end)) in self.ranges.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            if start == end {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}-{end}")?;
            }
        }
        Ok(())
    }
}

/// Reads exactly what is printed: a set has one text.
impl FromStr for Ranges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Self, RangesError> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        if text.is_empty() {
            return Ok(Self { ranges });
        }
        for item in text.split(',') {
            let (start, end) = parse_item(item).ok_or_else(|| RangesError::Shape(Echo::new(item)))?;
            // One between this and the last range, or they would be one range.
            let has_gap = ranges.last().is_none_or(|&(_, last)| start > last && start - last > 1);
            let is_single = !item.contains('-');
            if !has_gap || start > end || (start == end && !is_single) {
                return Err(RangesError::Order(Echo::new(item)));
            }
            ranges.push((start, end));
        }
        Ok(Self { ranges })
    }
}

fn parse_item(item: &str) -> Option<(u32, u32)> {
    match item.split_once('-') {
        Some((start, end)) => Some((parse_number(start)?, parse_number(end)?)),
        None => parse_number(item).map(|number| (number, number)),
    }
}

/// Plain digits; `parse` alone would take `+5` and `05`.
fn parse_number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

string_value!(
    Ranges,
    RangesError,
    "ranges like 0-9999,10004",
    "Numbers as rising ranges with gaps between them, such as 0-9999,10004.",
    "^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn sets_have_one_text() {
        for text in ["", "0", "4294967295", "0-4294967295", "0-9999,10004", "1,3,5-6"] {
            assert_eq!(text.parse::<Ranges>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            ",",
            "1,",
            ",1",
            "1,,2",
            "a",
            "-1",
            "1-",
            "-",
            "1-2-3",
            "+1",
            " 1",
            "1 ",
            "1, 2",
            "01",
            "1-02",
            "4294967296",
            "٣",
            "1..3",
            "0x1",
        ] {
            assert!(matches!(text.parse::<Ranges>(), Err(RangesError::Shape(_))), "{text}");
        }
        for text in ["3-1", "5-5", "1,2", "1-3,4", "1-3,2", "1,1", "5,3", "4294967295,0"] {
            assert!(matches!(text.parse::<Ranges>(), Err(RangesError::Order(_))), "{text}");
        }
    }

    #[test]
    fn json_is_one_string() {
        let ranges: Ranges = (0..=9999).chain([10_004]).collect();
        assert_eq!(serde_json::to_string(&ranges).unwrap(), "\"0-9999,10004\"");
        assert_eq!(serde_json::from_str::<Ranges>("\"0-9999,10004\"").unwrap(), ranges);
        for wrong in ["5", "[1,2]", "null", "\"2,1\""] {
            assert!(serde_json::from_str::<Ranges>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_ends_of_u32_are_ordinary() {
        let mut ranges = Ranges::from(u32::MAX..=u32::MAX);
        assert!(ranges.insert(u32::MAX - 1) && ranges.insert(0) && !ranges.insert(0));
        assert_eq!(ranges.to_string(), "0,4294967294-4294967295");
        ranges.push_range(0..=u32::MAX);
        assert_eq!((ranges.len(), ranges.to_string().as_str()), (1 << 32, "0-4294967295"));
        ranges.push_range(RangeInclusive::new(5, 4));
        assert_eq!(ranges.len(), 1 << 32);
    }

    #[test]
    fn many_numbers_in_any_order_cost_no_more_than_their_sorting() {
        const N: u32 = 200_000;
        // Every second number, backwards and in strides: one by one each would move what lies behind it.
        let backwards = (0..N).rev().map(|n| n * 2);
        let strides = (0..N).map(|n| n * 7_919 % N * 2);
        let mut ranges: Ranges = backwards.collect();
        ranges.extend(strides);
        assert_eq!(ranges.iter_ranges().len(), N as usize);
        ranges.extend((0..N).rev().map(|n| n * 2 + 1));
        assert_eq!(ranges, Ranges::from(0..=2 * N - 1));
    }

    proptest! {
        #[test]
        fn many_at_once_are_the_same_as_one_by_one(
            first in prop::collection::vec(0_u32..80, 0..40),
            then in prop::collection::vec(prop_oneof![0_u32..80, Just(u32::MAX), Just(u32::MAX - 1)], 0..40),
        ) {
            let mut single = Ranges::new();
            for &number in &first {
                single.insert(number);
            }
            let mut bulk: Ranges = first.into_iter().collect();
            prop_assert_eq!(&bulk, &single);
            for &number in &then {
                single.insert(number);
            }
            bulk.extend(then);
            prop_assert_eq!(bulk, single);
        }

        #[test]
        fn a_set_is_the_set_of_its_numbers(pushed in prop::collection::vec((0_u32..60, 0_u32..6), 0..40)) {
            let mut ranges = Ranges::new();
            let mut model = BTreeSet::new();
            for (start, more) in pushed {
                if more == 0 {
                    prop_assert_eq!(ranges.insert(start), model.insert(start));
                } else {
                    ranges.push_range(start..=start + more);
                    model.extend(start..=start + more);
                }
                prop_assert!(ranges.iter().eq(model.iter().copied()));
                prop_assert_eq!(ranges.len(), model.len() as u64);
                prop_assert!((0..70).all(|number| ranges.contains(number) == model.contains(&number)));
                // The canonical form holds exactly when the strict reader takes the text.
                prop_assert_eq!(ranges.to_string().parse::<Ranges>(), Ok(ranges.clone()));
            }
            prop_assert_eq!(model.into_iter().collect::<Ranges>(), ranges);
        }

        #[test]
        fn what_is_read_is_printed_as_it_was(text in "[0-9,\\- +]{0,12}|\\PC*") {
            if let Ok(ranges) = text.parse::<Ranges>() {
                prop_assert_eq!(ranges.to_string(), text);
            }
        }
    }
}
