//! Judges the history of a run by the invariants of `docs/invariants.md`, from what is stored alone.
//!
//! Reading order: [`records`] (the events of a run by themselves), [`history`] (decisions against the inputs that they
//! answer). Both compute thresholds, windows and waits anew from the flow and believe nothing that an event says of
//! itself. A judge that never finds anything proves nothing: the tests of this crate break clean histories, one rule
//! at a time, and demand the right violation.

pub mod history;
pub mod records;

use std::fmt;

/// The invariants that can be judged from a history.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// I1: the first decision brings the run into being, numbers have no gap, and each decision holds the hash of the
    /// one before.
    Chain,
    /// I2: an attempt is decided once.
    DecidedOnce,
    /// I3: whoever is said to have ended an attempt has said so himself, in an earlier input.
    Cause,
    /// I4: a job starts only after everything that it needs has succeeded.
    Order,
    /// I5: a job is called good exactly when enough of its targets are.
    Threshold,
    /// I6: never more targets under way than the job's window, and waves do not overlap.
    Window,
    /// I8: attempts and offers of a task count up by one, one attempt at a time.
    Count,
    /// I9: attempts and losses stop at their limits, and a retry waits its time.
    Retry,
    /// I10: what a worker has reported as ended is decided, or noted as late; nothing is forgotten.
    Heard,
    /// I36: what a worker has given back it has not started, and it has said so itself.
    Returned,
    /// I11: a run ends once, and nothing but late reports follows.
    End,
    /// I15: once a run is being stopped, nothing new starts.
    Stop,
    /// I16: a run that is not over waits for something that can be named.
    Waits,
    /// I34: at the end each target is ok, failed, unreachable or not started, and nothing else.
    Conservation,
    /// I35: events stand in the order of their causes, and their times come from the stream.
    Time,
}

impl Rule {
    /// Its number in `docs/invariants.md`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Chain => "I1",
            Self::DecidedOnce => "I2",
            Self::Cause => "I3",
            Self::Order => "I4",
            Self::Threshold => "I5",
            Self::Window => "I6",
            Self::Count => "I8",
            Self::Retry => "I9",
            Self::Heard => "I10",
            Self::Returned => "I36",
            Self::End => "I11",
            Self::Stop => "I15",
            Self::Waits => "I16",
            Self::Conservation => "I34",
            Self::Time => "I35",
        }
    }
}

/// Something that must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The invariant that is broken.
    pub rule: Rule,
    /// The input that the offending event cites, or the sequence of the offending decision; 0 for the whole run.
    pub at: u64,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "violation {} at seq={}: {}", self.rule.id(), self.at, self.text)
    }
}

/// The list under construction.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn demand(&mut self, holds: bool, rule: Rule, at: u64, text: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { rule, at, text: text() });
        }
    }
}
