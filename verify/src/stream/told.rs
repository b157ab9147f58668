//! What a reading says.

use std::{collections::BTreeSet, fmt};

use rr_schemas::id::RunId;

use crate::Violation;

/// Something to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// An invariant is broken.
    Violation {
        /// The run.
        run: RunId,
        /// How.
        violation: Violation,
    },
    /// A history is not whole, so nothing is sure of it.
    Incomplete {
        /// The run; none where it is of the log as a whole.
        run: Option<RunId>,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation { run, violation: Violation { rule, at, text } } => {
                write!(f, "violation {} run={run} seq={at} because {text}", rule.id())
            }
            Self::Incomplete { run: Some(run), reason } => write!(f, "incomplete run={run} because {reason}"),
            Self::Incomplete { run: None, reason } => write!(f, "incomplete because {reason}"),
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sum {
    /// Messages of the log.
    pub messages: u64,
    /// Runs that were judged to their end.
    pub over: u64,
    /// Runs that were judged as far as they go.
    pub open: u64,
    /// Runs that are not there any more but for some late inputs, or but for their state: forgotten as old ones are.
    pub forgotten: u64,
    /// Runs that began before the reading did, of which something was read.
    pub earlier: u64,
    /// Messages that were not believed, and were found to change nothing.
    pub unbelieved: u64,
    /// How often something began beside an attempt that was lost and may still have run, so that more ran than may.
    pub beside: u64,
    /// Most messages that were held at once.
    pub held_most: u64,
}

/// What a reading ends with.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// What is left to be told.
    pub findings: Vec<Finding>,
    /// Runs to be read once more, whole: something came behind their end.
    pub again: BTreeSet<RunId>,
    /// What was looked at.
    pub sum: Sum,
}
