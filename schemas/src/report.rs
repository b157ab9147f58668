//! What a worker says about an attempt.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    input::Holder,
    name::{InstanceId, WorkerName},
};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Exit code 0.
    Ok,
    /// Another exit code, a signal, or a program that could not be started.
    Failed,
    /// Ran longer than its time limit and was killed.
    Timeout,
    /// Its worker went away, or the offer came a second time: nobody knows whether it ran.
    Lost,
    /// Nobody served its target in time.
    Unreachable,
    /// The worker would not run it.
    Refused,
    /// Stopped because the run was cancelled.
    Cancelled,
}

impl Outcome {
    /// The word that people and programs see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A worker's word on one attempt. Which worker says so is known from the subject alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The task's index in the plan.
    pub task: u32,
    /// Which try of the task, from 1.
    pub attempt: u32,
    /// Which offer of the attempt, from 1.
    pub offer: u32,
    /// The worker's process.
    pub instance: InstanceId,
    /// What happened.
    pub what: What,
    /// The token of the offer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
}

/// What happened to an attempt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It runs. Only attempts that live longer than a moment say so.
    Started {
        /// By the worker's clock; for people, never for decisions.
        at: Timestamp,
    },
    /// It ended.
    Ended(Ended),
    /// The worker got the offer, has no slot for it and has certainly not started it: somebody else may have it.
    Returned {},
}

/// How and when an attempt ended, in the worker's words.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// Exit code of the process, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Number of the signal that ended it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why, where the outcome does not say it all: `no such program`, `offer came a second time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Start by the worker's clock; absent where it never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End by the worker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Output::is_empty")]
    pub output: Output,
}

/// The account of an attempt's output: what was kept and what was dropped adds up to what was written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Output {
    /// Bytes written to stdout.
    pub stdout_bytes: u64,
    /// Bytes written to stderr.
    pub stderr_bytes: u64,
    /// Bytes of both that were not kept, because of the cap or because the link was too slow.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_bytes: u64,
    /// Chunks in the output stream.
    pub chunks: u32,
}

impl Output {
    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.stdout_bytes == 0 && self.stderr_bytes == 0
    }
}

/// A claim: the worker's wish to be the one that starts an attempt. The first one stored wins.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claim {
    /// The task's index in the plan.
    pub task: u32,
    /// Which try of the task, from 1.
    pub attempt: u32,
    /// Who claims; the subject says the same.
    pub worker: WorkerName,
    /// The worker's process; the subject says the same.
    pub instance: InstanceId,
    /// The token of the offer; coordinators, who claim for nobody, need none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
}

impl Claim {
    /// Who claims.
    pub fn holder(&self) -> Holder {
        Holder { worker: self.worker.clone(), instance: self.instance.clone() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}
