//! What people and programs see of a run: the document of `rr show --json`, and the status in KV.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    decision::{JobStatus, RunStatus},
    host::Host,
    id::RunId,
    name::{Name, WorkerName},
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
    /// The run that it retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
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
    /// Of a gate: the signal that it waits for. It has no tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Name>,
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
    /// The host; null where the target is none.
    pub host: Option<Host>,
    /// The queue; null where the target is none.
    pub queue: Option<Name>,
    /// The worker, where the job is one for each worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerName>,
    /// State.
    pub status: TaskStatus,
    /// Whether it was over before the run began: taken over from the run that this one retries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub carried: bool,
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

/// Jobs of a run that its entry in `rr-runs` lists at most: one message must hold them, and be cheap to write often.
pub const STATUS_JOBS_MAX: usize = 200;

/// A run in the bucket `rr-runs`: a projection for `rr ls` and the NATS CLI, and the tombstone of its id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusEntry {
    /// Number of the decision that it shows; a smaller one never replaces a larger one.
    pub n: u64,
    /// The tasks of all jobs together.
    pub tasks: Tally,
    /// The run without its tasks; of more than [`STATUS_JOBS_MAX`] jobs only those that run or did not succeed.
    pub view: RunView,
    /// Jobs that the view leaves out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jobs_left_out: u32,
}

impl StatusEntry {
    /// The entry that shows a run as of its decision `n`.
    pub fn new(n: u64, mut view: RunView) -> Self {
        let tasks = Tally::of(&view);
        let n_jobs = view.jobs.len();
        if n_jobs > STATUS_JOBS_MAX {
            view.jobs.retain(|job| match job.status {
                JobStatus::Running | JobStatus::Failed | JobStatus::Cancelled => true,
                JobStatus::Waiting | JobStatus::Succeeded | JobStatus::Skipped => false,
            });
            view.jobs.truncate(STATUS_JOBS_MAX);
        }
        let jobs_left_out = u32::try_from(n_jobs - view.jobs.len()).unwrap_or(u32::MAX);
        Self { n, tasks, view, jobs_left_out }
    }
}

/// Tasks of a run, counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// All of them.
    pub targets: u32,
    /// How many succeeded.
    pub ok: u32,
    /// How many ended otherwise, the unreachable ones not counted.
    pub failed: u32,
    /// How many nobody served.
    pub unreachable: u32,
}

impl Tally {
    /// Counts the tasks of every job of a view.
    pub fn of(view: &RunView) -> Self {
        view.jobs.iter().fold(Self::default(), |sum, job| Self {
            targets: sum.targets + job.targets,
            ok: sum.ok + job.ok,
            failed: sum.failed + job.failed,
            unreachable: sum.unreachable + job.unreachable,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_ten_thousand_jobs_fits_into_a_message() {
        let job = |index: usize| JobView {
            job: format!("a-job-with-a-name-as-long-as-names-may-be-{index}").parse().unwrap(),
            slot: Some(1),
            status: if index.is_multiple_of(3) { JobStatus::Failed } else { JobStatus::Succeeded },
            signal: None,
            targets: 10,
            needed: 8,
            ok: 7,
            failed: 2,
            unreachable: 1,
            not_started: 0,
            tasks: Vec::new(),
        };
        let view = RunView {
            run: "r".parse().unwrap(),
            flow: None,
            status: RunStatus::Running,
            started_at: None,
            ended_at: None,
            jobs: (0..10_000).map(job).collect(),
            retry_of: None,
            problems: Vec::new(),
        };
        let entry = StatusEntry::new(1, view);
        assert_eq!((entry.view.jobs.len(), entry.jobs_left_out), (STATUS_JOBS_MAX, 9_800));
        assert_eq!(entry.tasks, Tally { targets: 100_000, ok: 70_000, failed: 20_000, unreachable: 10_000 });
        assert!(serde_json::to_vec(&entry).unwrap().len() < 100_000);
    }
}
