//! What follows when nobody serves a host.

use std::{fmt, str::FromStr};

use crate::{
    span::Span,
    text::{Echo, string_value},
};

/// What follows when nobody serves a target: `fail`, `skip` or `wait 10m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnUnreachable {
    /// After the mesh's own patience (60 s) it ends `unreachable` and counts against `success`.
    Fail,
    /// As [`Self::Fail`], but it counts neither way: the other targets decide. Where none is left, the job fails.
    Skip,
    /// It waits this long for a worker, and fails then.
    Wait(Span),
}

impl OnUnreachable {
    /// How long an offer waits for a worker, where it says so.
    pub const fn patience(self) -> Option<Span> {
        match self {
            Self::Fail | Self::Skip => None,
            Self::Wait(span) => Some(span),
        }
    }
}

/// Why a text says nothing of the kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected fail, skip or \"wait 10m\"; got {0}")]
pub struct OnUnreachableError(Echo);

impl FromStr for OnUnreachable {
    type Err = OnUnreachableError;

    fn from_str(text: &str) -> Result<Self, OnUnreachableError> {
        let error = || OnUnreachableError(Echo::new(text));
        match text {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            _ => {
                let span = text.strip_prefix("wait ").ok_or_else(error)?;
                span.parse().map(Self::Wait).map_err(|_| error())
            }
        }
    }
}

impl fmt::Display for OnUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fail"),
            Self::Skip => f.write_str("skip"),
            Self::Wait(span) => write!(f, "wait {span}"),
        }
    }
}

string_value!(
    OnUnreachable,
    OnUnreachableError,
    "fail, skip or wait 10m",
    "What follows when nobody serves a target: fail, skip, or wait and a span of time.",
    r"^(fail|skip|wait ([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        for text in ["fail", "skip", "wait 10m", "wait 1h30m"] {
            assert_eq!(text.parse::<OnUnreachable>().map(|read| read.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "wait", "wait ", "wait  10m", "wait ten", "retry", "wait 40d", "Skip"] {
            assert!(text.parse::<OnUnreachable>().is_err(), "{text}");
        }
    }
}
