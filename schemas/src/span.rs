//! Lengths of time as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`, `1m30s`.
//!
//! Invariant: a [`Span`] is a whole number of milliseconds, at most 30 days.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::{Echo, string_value};

/// The longest span, 30 days, in milliseconds.
const MILLIS_MAX: u64 = 30 * 24 * 3_600_000;
/// Units from the largest to the smallest, each with its length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A length of time: whole milliseconds, 0 to 30 days.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    millis: u64,
}

/// Why a text is no span.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a duration like 30s, 5m, 2h; max 30d; got {given}")]
pub struct SpanError {
    given: Echo,
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self { millis: 0 };
    /// The longest span: 30 days.
    pub const MAX: Self = Self { millis: MILLIS_MAX };

    /// A span of `millis` milliseconds, at most [`Span::MAX`].
    pub const fn saturating_from_millis(millis: u64) -> Self {
        Self { millis: if millis < MILLIS_MAX { millis } else { MILLIS_MAX } }
    }

    /// A span of `secs` seconds, at most [`Span::MAX`].
    pub const fn saturating_from_secs(secs: u64) -> Self {
        Self::saturating_from_millis(secs.saturating_mul(1_000))
    }

    /// A span of `secs` seconds.
    ///
    /// # Errors
    /// More than 30 days.
    pub fn from_secs(secs: u64) -> Result<Self, SpanError> {
        secs.checked_mul(1_000)
            .filter(|millis| *millis <= MILLIS_MAX)
            .map(|millis| Self { millis })
            .ok_or_else(|| SpanError { given: Echo::new(&format!("{secs}s")) })
    }

    /// The whole span in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// The span as the standard library counts time.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.as_duration()
    }
}

/// Prints the largest units first and each unit once: `1m30s` for ninety seconds.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.millis;
        for (unit, length) in UNITS {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        parse(text).ok_or_else(|| SpanError { given: Echo::new(text) })
    }
}

/// Numbers with units, the units strictly falling, nothing between them.
fn parse(text: &str) -> Option<Span> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis: u64 = 0;
    while !rest.is_empty() || text.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|char: char| !char.is_ascii_digit())?);
        let (name, tail) = tail.split_at(tail.find(|char: char| !char.is_ascii_lowercase()).unwrap_or(tail.len()));
        // The iterator goes on where the last unit was found: a unit cannot come again or climb.
        let (_, length) = units.find(|(unit, _)| *unit == name)?;
        let number: u64 = digits.parse().ok()?;
        millis = millis.checked_add(number.checked_mul(*length)?)?;
        rest = tail;
    }
    (millis <= MILLIS_MAX).then_some(Span { millis })
}

string_value!(
    Span,
    SpanError,
    "a duration like 30s, 5m, 2h",
    "A duration such as 500ms, 30s, 5m, 2h, 7d or 1m30s; max 30d.",
    "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_and_printed() {
        for (text, millis, printed) in [
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("5m", 300_000, "5m"),
            ("2h", 7_200_000, "2h"),
            ("7d", 604_800_000, "7d"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
            ("0s", 0, "0s"),
            ("0h", 0, "0s"),
            ("30d", MILLIS_MAX, "30d"),
            ("720h", MILLIS_MAX, "30d"),
            ("007s", 7_000, "7s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_millis(), span.to_string().as_str()), (millis, printed), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused_with_the_form() {
        for text in [
            "",
            "5",
            "0",
            "-5s",
            "+5s",
            "5 s",
            " 5s",
            "5s ",
            "5 fortnights",
            "5w",
            "5M",
            "5S",
            "1.5s",
            "1e9h",
            "s",
            "ms",
            "30d1ms",
            "31d",
            "99999999999999999999s",
            "18446744073709551615d",
            "5s5s",
            "30s1m",
            "1ms1s",
            "٥s",
            "5ｓ",
            "1m30",
            "NaN",
            "inf",
            "\u{0}",
            "5s\n",
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("duration like 30s, 5m, 2h; max 30d"), "{error}");
            assert!(error.is_ascii() && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn numbers_of_seconds_are_bounded() {
        assert_eq!(Span::from_secs(2_592_000).unwrap(), Span::MAX);
        assert!(Span::from_secs(2_592_001).is_err());
        assert!(Span::from_secs(u64::MAX).is_err());
        assert_eq!(Span::saturating_from_secs(u64::MAX), Span::MAX);
    }

    #[test]
    fn serde_takes_a_string_only() {
        let span: Span = serde_json::from_str("\"90s\"").unwrap();
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"1m30s\"");
        for wrong in ["30", "30.0", "null", "true", "[]", "\"30\""] {
            assert!(serde_json::from_str::<Span>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn printed_spans_read_back(millis in 0..=MILLIS_MAX) {
            let span = Span::saturating_from_millis(millis);
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let parsed = text.parse::<Span>();
            prop_assert!(parsed.is_ok_and(|span| span <= Span::MAX) || text.parse::<Span>().is_err());
        }

        #[test]
        fn every_text_of_numbers_and_units_reads_back(text in "([0-9]{1,8}(d|h|m|s|ms)){1,4}") {
            if let Ok(span) = text.parse::<Span>() {
                prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
            }
        }
    }
}
