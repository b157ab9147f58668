//! A part of the targets of a job: a count (`8`) or a percentage (`80%`, `33.34%`).
//!
//! The same text means the same share everywhere, but the rounding depends on its use: a success
//! threshold is rounded up ("at least 80%" of 9 is 8), a window of parallel tasks is rounded down (never
//! more at once than allowed). All arithmetic is on integers.
//!
//! Invariant: a count is at least 1; a percentage is 1 to 100, in hundredths.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use crate::planted::{self, Bug};
use crate::text::Echo;

/// Hundredths of a percent in the whole.
const WHOLE: u32 = 100 * 100;

/// A part of the targets: a count, or a percentage.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Quota {
    /// This many.
    Count(NonZeroU32),
    /// This share of all.
    Percent(Percent),
}

/// A percentage from 1 to 100 with at most two decimals.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Percent {
    hundredths: u32,
}

/// Why a value is no quota, or does not fit the number of targets.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QuotaError {
    /// Neither a count nor a percentage.
    #[error("expected percent 1..100 such as \"80%\", or count 1..hosts such as 8; got {0}")]
    Shape(Echo),
    /// A percentage with more than two decimals.
    #[error("percent may have at most 2 decimals; got {0}")]
    Decimals(Echo),
    /// A percentage below 1 or above 100.
    #[error("percent must be 1..100; got {0}")]
    PercentBounds(Echo),
    /// No share at all.
    #[error("0% would always succeed, and start nothing as a parallelism; write 1 for at least one")]
    ZeroPercent,
    /// None at all.
    #[error("count must be >= 1")]
    ZeroCount,
    /// Below none at all.
    #[error("count must be >= 1; got {0}")]
    NegativeCount(i64),
    /// More than can be counted.
    #[error("count is too large; got {0}")]
    CountTooLarge(Echo),
    /// More than there are targets.
    #[error("needs {needed} of {total}")]
    Exceeds {
        /// How many it asks for.
        needed: u32,
        /// How many there are.
        total: u32,
    },
}

impl Percent {
    /// A percentage in hundredths: 3334 is 33.34%.
    ///
    /// # Errors
    /// Below 1% or above 100%.
    pub fn from_hundredths(hundredths: u32) -> Result<Self, QuotaError> {
        match hundredths {
            0 => Err(QuotaError::ZeroPercent),
            100..=WHOLE => Ok(Self { hundredths }),
            _ => Err(QuotaError::PercentBounds(Echo::new(&Self { hundredths }.to_string()))),
        }
    }

    /// The percentage in hundredths.
    pub const fn hundredths(self) -> u32 {
        self.hundredths
    }
}

impl Quota {
    /// All targets.
    pub const ALL: Self = Self::Percent(Percent { hundredths: WHOLE });

    /// All targets, as a function for serde's `default`.
    pub const fn all() -> Self {
        Self::ALL
    }

    /// Whether it is written as 100%. A count that happens to be all is not.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// A count.
    ///
    /// # Errors
    /// Zero.
    pub fn count(count: u32) -> Result<Self, QuotaError> {
        NonZeroU32::new(count).map(Self::Count).ok_or(QuotaError::ZeroCount)
    }

    /// A percentage in hundredths: 3334 is 33.34%.
    ///
    /// # Errors
    /// Below 1% or above 100%.
    pub fn percent(hundredths: u32) -> Result<Self, QuotaError> {
        Percent::from_hundredths(hundredths).map(Self::Percent)
    }

    /// How many of `total` must succeed: rounded up, at least 1. A count stays as it is, also above
    /// `total`; [`Quota::check`] refuses that before anything starts.
    pub fn needed(&self, total: u32) -> u32 {
        let round_up = if planted::bites(Bug::ThresholdRoundedDown) { 0 } else { u64::from(WHOLE) - 1 };
        match self {
            Self::Count(count) => count.get(),
            Self::Percent(percent) => share(*percent, total, round_up).max(1),
        }
    }

    /// How many of `total` may be under way at once: rounded down, at least 1, at most `total`.
    pub fn window(&self, total: u32) -> u32 {
        let wanted = match self {
            Self::Count(count) => count.get(),
            Self::Percent(percent) => share(*percent, total, 0),
        };
        let too_many = u32::from(planted::bites(Bug::WindowTooLarge));
        (wanted + too_many).min(total).max(1)
    }

    /// Whether `total` targets can fulfil it as a threshold.
    ///
    /// # Errors
    /// It asks for more than `total`.
    pub fn check(&self, total: u32) -> Result<(), QuotaError> {
        let needed = self.needed(total);
        if needed > total { Err(QuotaError::Exceeds { needed, total }) } else { Ok(()) }
    }
}

/// `percent` of `total`, rounded after adding `round_up` ten-thousandths.
fn share(percent: Percent, total: u32, round_up: u64) -> u32 {
    let share = (u64::from(total) * u64::from(percent.hundredths) + round_up) / u64::from(WHOLE);
    // A share is not above the whole, which is an u32.
    u32::try_from(share).unwrap_or(total)
}

impl Default for Quota {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.hundredths / 100, self.hundredths % 100);
        match (part, part % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", part / 10),
            _ => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => percent.fmt(f),
        }
    }
}

impl FromStr for Quota {
    type Err = QuotaError;

    fn from_str(text: &str) -> Result<Self, QuotaError> {
        match text.strip_suffix('%') {
            Some(number) => parse_percent(text, number),
            None => parse_count(text),
        }
    }
}

fn parse_count(text: &str) -> Result<Quota, QuotaError> {
    if !is_number(text) {
        return Err(QuotaError::Shape(Echo::new(text)));
    }
    let count = text.parse().map_err(|_| QuotaError::CountTooLarge(Echo::new(text)))?;
    Quota::count(count)
}

fn parse_percent(text: &str, number: &str) -> Result<Quota, QuotaError> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if !is_number(whole) || decimals.is_empty() || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(QuotaError::Shape(Echo::new(text)));
    }
    if decimals.len() > 2 {
        return Err(QuotaError::Decimals(Echo::new(text)));
    }
    let out_of_bounds = || QuotaError::PercentBounds(Echo::new(text));
    let part: u32 = format!("{decimals:0<2}").parse().map_err(|_| out_of_bounds())?;
    let whole: u32 = whole.parse().map_err(|_| out_of_bounds())?;
    let hundredths = whole.checked_mul(100).and_then(|whole| whole.checked_add(part)).ok_or_else(out_of_bounds)?;
    Quota::percent(hundredths)
}

/// Plain digits, without a leading zero that YAML or C would read as octal.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
}

/// A count is written as an integer, a percentage as a string.
impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(count.get()),
            Self::Percent(percent) => serializer.collect_str(percent),
        }
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuotaVisitor)
    }
}

struct QuotaVisitor;

impl Visitor<'_> for QuotaVisitor {
    type Value = Quota;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("percent 1..100 such as \"80%\", or count 1..hosts such as 8")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Quota, E> {
        u32::try_from(count)
            .map_err(|_| QuotaError::CountTooLarge(Echo::new(&count.to_string())))
            .and_then(Quota::count)
            .map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Quota, E> {
        match u64::try_from(count) {
            Ok(count) => self.visit_u64(count),
            Err(_) => Err(E::custom(QuotaError::NegativeCount(count))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quota, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Quota {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quota".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A count such as 8, or a percentage such as \"80%\" with at most 2 decimals.",
            "oneOf": [
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
                { "type": "string", "pattern": "^([1-9][0-9]*|(100(\\.00?)?|[1-9][0-9]?(\\.[0-9]{1,2})?)%)$" }
            ]
        })
    }
}

#[cfg(test)]
mod tests;
