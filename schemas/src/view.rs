//! What people and programs see of a run: the document of `rr show --json`, and the status in KV.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    decision::{JobStatus, RunStatus},
    host::Host,
    id::RunId,
    name::Name,
    report::Outcome,
};

/// One run, whole: what `run`, `show` and `publish --wait` print with `--json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunView {
    /// Id of the run.
    pub run: RunId,
    /// Name of its flow.
    pub flow: Option<Name>,
    /// State.
    pub status: RunStatus,
    /// When it was submitted.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its jobs in the order of the flow.
    pub jobs: Vec<JobView>,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One job of a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct JobView {
    /// Name.
    pub job: Name,
    /// Index of its slot, from 1; null in the graph form.
    pub slot: Option<u32>,
    /// State.
    pub status: JobStatus,
    /// Number of tasks.
    pub targets: u32,
    /// How many must succeed.
    pub needed: u32,
    /// How many did.
    pub ok: u32,
    /// How many ended otherwise, the unreachable ones not counted.
    pub failed: u32,
    /// How many nobody served.
    pub unreachable: u32,
    /// How many never started, once the job is over.
    pub not_started: u32,
    /// The tasks.
    #[serde(default)]
    pub tasks: Vec<TaskView>,
}

/// One task of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TaskView {
    /// The host; null for queue tasks.
    pub host: Option<Host>,
    /// The queue; null for host tasks.
    pub queue: Option<Name>,
    /// State.
    pub status: TaskStatus,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptView>,
}

/// One attempt of a task.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AttemptView {
    /// Which try, from 1.
    pub attempt: u32,
    /// How it ended; null while it is open.
    pub outcome: Option<Outcome>,
    /// Exit code, where the process exited.
    pub exit_code: Option<i32>,
    /// Signal, where one ended the process.
    pub signal: Option<i32>,
    /// Who ran it.
    pub worker: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why, where the outcome does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// State of a task.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Its turn has not come, or it waits before its next attempt.
    #[default]
    Waiting,
    /// Handed out.
    Offered,
    /// A worker runs it.
    Running,
    /// Succeeded.
    Ok,
    /// Failed.
    Failed,
    /// Ran longer than allowed.
    Timeout,
    /// Its worker went away.
    Lost,
    /// Nobody served its target.
    Unreachable,
    /// The worker would not run it.
    Refused,
    /// Stopped with the run.
    Cancelled,
    /// Its job was skipped.
    Skipped,
    /// Its job ended before its turn came.
    NotStarted,
}

impl TaskStatus {
    /// The word that people and programs see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Offered => "offered",
            Self::Running => "running",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::NotStarted => "not_started",
        }
    }
}

impl From<Outcome> for TaskStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Failed => Self::Failed,
            Outcome::Timeout => Self::Timeout,
            Outcome::Lost => Self::Lost,
            Outcome::Unreachable => Self::Unreachable,
            Outcome::Refused => Self::Refused,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

/// A run in the bucket `rr-runs`: a projection for `rr ls` and the NATS CLI, and the tombstone of its id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusEntry {
    /// Number of the decision that it shows; a smaller one never replaces a larger one.
    pub n: u64,
    /// The run without its tasks.
    pub view: RunView,
}
