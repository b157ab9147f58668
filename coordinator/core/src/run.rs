//! A run as an entity: its state, and the fold that is the only thing that changes it.
//!
//! Invariants: every fold step costs a constant or a logarithm, but for the three that end something for good (a job
//! ended or halted, the run stopped), which may look at each of its tasks once. Everything that [`decide`] and
//! [`effect`] want to know is in the state, so that a folded history and a lived one cannot differ.

mod answer;
pub mod carry;
pub mod counts;
pub mod decide;
pub mod effect;
mod fold;
mod gate;
pub mod look;
mod onward;
mod retry;
mod seen;
pub mod wait;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_schemas::{
    decision::{JobStatus, RunStatus},
    id::RunId,
    input::Holder,
    name::Name,
    report::Outcome,
    view::{JobView, RunView, TaskStatus},
};

pub use self::fold::IllegalEvent;
use crate::{Plan, Policy, plan::PlannedJob};

/// The claim of a coordinator that withdraws an attempt bears this worker name, which no worker may have.
pub const WITHDRAWN_BY: &str = "_rr";

/// One run, folded from its events.
///
/// `apply` folds; `decide` concludes, and folds what it concludes; `effects`, `looks`, `deadline` and `waits` only
/// look.
#[derive(Clone, Debug)]
pub struct Run {
    id: RunId,
    policy: Policy,
    status: RunStatus,
    /// What the run will end as, once it is being stopped.
    stopping: Option<RunStatus>,
    plan: Option<Plan>,
    problems: Vec<String>,
    /// The run that this one retries.
    retry_of: Option<RunId>,
    jobs: Vec<JobState>,
    tasks: Vec<TaskState>,
    /// Needs not met yet, per node of the plan's graph.
    unmet: Vec<u32>,
    /// Jobs that are neither ended nor skipped.
    open_jobs: usize,
    /// Jobs that may have something to offer, or may be over.
    dirty: BTreeSet<usize>,
    deadlines: BTreeSet<(Timestamp, Due)>,
    holders: Holders,
    /// Signals that were given.
    signals: BTreeSet<Name>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// Time and cause of the last event: what a continuation goes by.
    last: (Timestamp, u64),
}

/// What a deadline is of. The run's own comes first among equals, so that it is seen before its tasks' ones.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    Run,
    Task(u32),
    /// A gate, by the index of its job.
    Gate(usize),
}

/// Counters of a job; its tasks are `plan.jobs[i].first..` in the run's list.
#[derive(Clone, Debug, Default)]
struct JobState {
    status: JobStatus,
    /// Tasks that succeeded.
    ok: u32,
    /// Tasks that are over otherwise.
    bad: u32,
    /// Those of `bad` that nobody served.
    unreachable: u32,
    /// Tasks that nobody served and that count neither way.
    skipped: u32,
    /// Tasks that are offered, running or held.
    open: u32,
    /// Tasks that wait for their next attempt.
    delayed: u32,
    /// Tasks that have been offered at all, or were carried over.
    begun_tasks: u32,
    /// The last task that was offered for the first time, 0 before: those before it have had their turn.
    last: u32,
    /// Batches of first attempts that were handed out.
    begun: u32,
    /// `success` cannot be met any more and `fail_fast` is on: nothing new starts.
    halted: bool,
    /// Of a gate that waits: when it fails.
    gives_up: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct TaskState {
    /// The current or last attempt, 0 before the first.
    attempt: u32,
    /// The current or last offer of it.
    offer: u32,
    /// How many offers of it were given back unstarted.
    returns: u32,
    /// Attempts that were lost, which use up none of `retry.attempts`.
    losses: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Never offered.
    #[default]
    Waiting,
    /// Between two attempts.
    Delayed { until: Timestamp, last: Outcome },
    /// Handed out.
    Offered { since: Timestamp, deadline: Timestamp },
    /// A worker said that it runs.
    Running { by: HolderId, deadline: Timestamp },
    /// Lost, and waiting for a worker's report or a person.
    Held { by: Option<HolderId>, deadline: Option<Timestamp> },
    /// Over.
    Over { outcome: Outcome, by: Option<HolderId> },
}

/// Workers that this run has seen; tasks name them by index, because a run has many tasks and few workers.
#[derive(Clone, Debug, Default)]
struct Holders {
    list: Vec<Holder>,
    index: BTreeMap<Holder, HolderId>,
}

type HolderId = u32;

impl Holders {
    fn intern(&mut self, holder: &Holder) -> HolderId {
        if let Some(id) = self.index.get(holder) {
            return *id;
        }
        let id = HolderId::try_from(self.list.len()).unwrap_or(HolderId::MAX);
        self.list.push(holder.clone());
        self.index.insert(holder.clone(), id);
        id
    }

    fn get(&self, id: HolderId) -> Option<&Holder> {
        self.list.get(id as usize)
    }
}

impl Run {
    /// A run that has no history yet.
    pub fn new(id: RunId, policy: Policy) -> Self {
        Self {
            id,
            policy,
            status: RunStatus::Queued,
            stopping: None,
            plan: None,
            problems: Vec::new(),
            retry_of: None,
            jobs: Vec::new(),
            tasks: Vec::new(),
            unmet: Vec::new(),
            open_jobs: 0,
            dirty: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            holders: Holders::default(),
            signals: BTreeSet::new(),
            started_at: None,
            ended_at: None,
            last: (Timestamp::UNIX_EPOCH, 0),
        }
    }

    /// Its id.
    pub const fn id(&self) -> &RunId {
        &self.id
    }

    /// Its state.
    pub const fn status(&self) -> RunStatus {
        self.status
    }

    /// Whether it was ever submitted.
    pub const fn exists(&self) -> bool {
        self.started_at.is_some()
    }

    /// Whether nothing more will happen.
    pub const fn is_final(&self) -> bool {
        self.status.is_final()
    }

    /// Whether it is being stopped: cancelled, or out of time.
    pub const fn is_stopping(&self) -> bool {
        self.stopping.is_some() && !self.is_final()
    }

    /// Its plan, once it was submitted and not rejected.
    pub const fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// When it was submitted.
    pub const fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// What the run's one timer must be armed for; nothing where nothing is due by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// State of a task, and the number of its current or last attempt.
    pub fn task(&self, task: u32) -> Option<(TaskStatus, u32)> {
        let state = self.tasks.get(task as usize)?;
        let job = self.jobs.get(self.plan.as_ref()?.job_of(task)?)?;
        let status = match state.phase {
            Phase::Waiting => match job.status {
                JobStatus::Skipped => TaskStatus::Skipped,
                JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled => TaskStatus::NotStarted,
                JobStatus::Waiting | JobStatus::Running if self.is_final() => TaskStatus::NotStarted,
                JobStatus::Waiting | JobStatus::Running => TaskStatus::Waiting,
            },
            Phase::Delayed { .. } => TaskStatus::Waiting,
            Phase::Offered { .. } => TaskStatus::Offered,
            Phase::Running { .. } => TaskStatus::Running,
            Phase::Held { .. } => TaskStatus::Lost,
            Phase::Over { outcome, .. } => outcome.into(),
        };
        Some((status, state.attempt))
    }

    /// Who runs a task, where somebody has said so.
    pub fn holder(&self, task: u32) -> Option<&Holder> {
        match self.tasks.get(task as usize)?.phase {
            Phase::Running { by, .. } => self.holders.get(by),
            Phase::Held { by, .. } => self.holders.get(by?),
            Phase::Waiting | Phase::Delayed { .. } | Phase::Offered { .. } | Phase::Over { .. } => None,
        }
    }

    /// The run as people see it, without its tasks.
    pub fn view(&self) -> RunView {
        let planned = self.plan.iter().flat_map(Plan::jobs);
        RunView {
            run: self.id.clone(),
            flow: self.plan.as_ref().map(|plan| plan.flow().clone()),
            status: self.status,
            started_at: self.started_at,
            ended_at: self.ended_at,
            jobs: planned.zip(&self.jobs).map(|(planned, job)| job.view(planned)).collect(),
            retry_of: self.retry_of.clone(),
            problems: self.problems.clone(),
        }
    }

    fn job(&self, index: usize) -> Option<(&PlannedJob, &JobState)> {
        Some((self.plan.as_ref()?.jobs().get(index)?, self.jobs.get(index)?))
    }
}

impl JobState {
    /// Whether too many tasks are over for `success` to be met.
    fn is_hopeless(&self, planned: &PlannedJob) -> bool {
        planned.n - self.skipped - self.bad < self.needed(planned)
    }

    /// How many tasks must succeed. A share is one of those that count; where none is left, one is missing.
    fn needed(&self, planned: &PlannedJob) -> u32 {
        if self.skipped == 0 { planned.needed } else { planned.job.success.needed(planned.n - self.skipped) }
    }

    fn view(&self, planned: &PlannedJob) -> JobView {
        JobView {
            job: planned.name.clone(),
            slot: planned.slot,
            status: self.status,
            signal: planned.job.signal.clone(),
            targets: planned.n,
            needed: self.needed(planned),
            ok: self.ok,
            failed: self.bad - self.unreachable,
            unreachable: self.unreachable + self.skipped,
            not_started: if self.status.is_final() { planned.n - self.begun_tasks } else { 0 },
            tasks: Vec::new(),
        }
    }
}
