//! Retries: a new run that takes over what an earlier one has reached.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{id::RunId, name::Name, ranges::Ranges, report::Outcome};

/// What a submit asks for that retries an earlier run. What is carried over is read from that run's history by the
/// coordinator: whoever asks cannot say that something has succeeded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RetryOf {
    /// The earlier run; it must be over.
    pub run: RunId,
    /// What runs again.
    pub again: Again,
}

/// Which tasks of the earlier run are not carried over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// Those that did not succeed, in jobs that did not succeed, and whatever never started.
    Failed,
    /// Only what never started: a task that failed stays failed.
    NotStarted,
}

/// What a run has taken over from an earlier one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Carried {
    /// The earlier run.
    pub run: RunId,
    /// Tasks that are over from the beginning, by how they ended there. The plan is the same, and so are the indexes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<Outcome, Ranges>,
    /// Signals that were given to it: its gates need not wait for them again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub signals: BTreeSet<Name>,
}

impl Carried {
    /// How many ranges it takes to say which tasks: what it costs in a message.
    pub fn n_ranges(&self) -> usize {
        self.tasks.values().map(|tasks| tasks.iter_ranges().len()).sum()
    }

    /// How many tasks there are.
    pub fn n_tasks(&self) -> u64 {
        self.tasks.values().map(Ranges::len).sum()
    }
}
