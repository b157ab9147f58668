//! What can go wrong in a turn, by what is done next, and when to give up.

use std::{collections::BTreeMap, time::Duration};

use rr_nats::{Error, PublishError};
use rr_schemas::decision::INPUTS_MAX;

/// How often one input may fail before it is put aside.
const FAILURES_MAX: u32 = 3;
/// How often a turn starts over because others decided, or because the server did not answer, before it leaves its
/// inputs for later.
const RESTARTS_MAX: u32 = 6;
/// The first pause before a turn starts over; it doubles each time.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause. All pauses together stay below the `ack_wait` of partitions (4 s).
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// When inputs come again that the server's state kept from being answered.
const LATER: Duration = Duration::from_secs(2);
/// When inputs come again that only a person's doing can free.
const MUCH_LATER: Duration = Duration::from_secs(30);

/// Why a turn did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    /// Somebody else decided: load and start over.
    #[error("another coordinator has decided")]
    Stale,
    /// The server did not answer, or not as it should: try again.
    #[error("the server is not available: {0}")]
    Unavailable(String),
    /// The decision is too large: answer fewer inputs at once.
    #[error("the decision is too large")]
    TooLarge,
    /// This input, or one of several where it is 0, makes us fail each time.
    #[error("cannot be answered: {reason}")]
    Broken {
        /// Its sequence.
        seq: u64,
        /// How we fail.
        reason: String,
    },
    /// Its history cannot be folded. A person must look at it.
    #[error("the history cannot be folded: {0}")]
    Parked(String),
    /// Its history is no longer kept; whatever comes is too late.
    #[error("the history is no longer kept")]
    Forgotten,
    /// We are not allowed to do what must be done. A person must change that.
    #[error("{0}")]
    Forbidden(String),
}

impl From<Error> for TurnError {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied { .. }
            | Error::JetStreamOff
            | Error::TooOld { .. }
            | Error::Drift { .. }
            | Error::LogGone { .. }
            | Error::Replicas { .. } => Self::Forbidden(error.to_string()),
            Error::Unreachable(_)
            | Error::Timeout { .. }
            | Error::NotFound { .. }
            | Error::Behind { .. }
            | Error::Refused { .. }
            | Error::Answer(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<PublishError> for TurnError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Conflict => Self::Stale,
            PublishError::Denied { .. } => Self::Forbidden(error.to_string()),
            PublishError::TooLarge { .. } => Self::TooLarge,
            PublishError::Unsettled
            | PublishError::Unknown(_)
            | PublishError::Full(_)
            | PublishError::NotFound { .. }
            | PublishError::Refused { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

/// What is done after an error.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Load and start over after this pause.
    Again(Duration),
    /// Acknowledge the inputs: nothing will ever follow from them.
    Drop,
    /// Give the inputs back, to come again after this time.
    Later(Duration),
    /// Let the entity rest, and look again after this time: only a person can help.
    Rest(Duration),
}

/// What has gone wrong in one turn so far, and how careful it must be.
#[derive(Debug)]
pub(crate) struct Trouble {
    restarts: u32,
    failures: BTreeMap<u64, u32>,
    aside: BTreeMap<u64, String>,
    /// Inputs in one decision at most.
    pub(crate) inputs_max: usize,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { restarts: 0, failures: BTreeMap::new(), aside: BTreeMap::new(), inputs_max: INPUTS_MAX }
    }
}

impl Trouble {
    /// Why the input must be put aside, where it must.
    pub(crate) fn aside(&self, seq: u64) -> Option<&str> {
        self.aside.get(&seq).map(String::as_str)
    }

    /// What to do after this error.
    pub(crate) fn after(&mut self, error: &TurnError) -> Next {
        match error {
            TurnError::Stale if self.restarts == 0 => {
                self.restarts += 1;
                Next::Again(Duration::ZERO)
            }
            TurnError::Stale | TurnError::Unavailable(_) => {
                self.restarts += 1;
                let pause = PAUSE.saturating_mul(1 << self.restarts.min(8)).min(PAUSE_MAX);
                if self.restarts > RESTARTS_MAX { Next::Later(LATER) } else { Next::Again(pause) }
            }
            TurnError::TooLarge if self.inputs_max > 1 => {
                self.inputs_max /= 2;
                Next::Again(Duration::ZERO)
            }
            TurnError::Forgotten => Next::Drop,
            TurnError::Broken { seq, reason } => self.after_failure(*seq, reason),
            TurnError::TooLarge | TurnError::Parked(_) | TurnError::Forbidden(_) => Next::Rest(MUCH_LATER),
        }
    }

    fn after_failure(&mut self, seq: u64, reason: &str) -> Next {
        if seq == 0 {
            // It fails without any input; there is nothing to put aside.
            return Next::Rest(MUCH_LATER);
        }
        if self.inputs_max > 1 {
            // One of many; answered one by one, the good ones pass and the bad one shows.
            self.inputs_max = 1;
            return Next::Again(Duration::ZERO);
        }
        let failures = self.failures.entry(seq).or_default();
        *failures += 1;
        if *failures >= FAILURES_MAX {
            self.aside.insert(seq, reason.to_owned());
        }
        Next::Again(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_fails_three_times_alone_is_put_aside() {
        let mut trouble = Trouble::default();
        let broken = TurnError::Broken { seq: 7, reason: "it panics".to_owned() };
        assert_eq!(trouble.after(&broken), Next::Again(Duration::ZERO));
        assert_eq!(trouble.inputs_max, 1);
        for _ in 0..3 {
            assert_eq!(trouble.aside(7), None);
            assert_eq!(trouble.after(&broken), Next::Again(PAUSE));
        }
        assert_eq!(trouble.aside(7), Some("it panics"));
        assert_eq!(trouble.aside(8), None);
    }

    #[test]
    fn what_may_pass_is_tried_again_for_a_while() {
        let mut trouble = Trouble::default();
        for _ in 0..RESTARTS_MAX {
            let Next::Again(pause) = trouble.after(&TurnError::Stale) else { panic!("gave up early") };
            assert!(pause <= PAUSE_MAX);
        }
        assert_eq!(trouble.after(&TurnError::Stale), Next::Later(LATER));
    }

    #[test]
    fn a_decision_that_is_too_large_is_halved_until_one_input_is_left() {
        let mut trouble = Trouble::default();
        let mut halvings = 0;
        while trouble.after(&TurnError::TooLarge) == Next::Again(Duration::ZERO) {
            halvings += 1;
        }
        assert_eq!((halvings, trouble.inputs_max), (9, 1));
    }
}
