//! What follows from inputs: decide concludes, and folds each conclusion at once, so that the next one sees it.
//!
//! The state is ahead of the log until the decision is stored; where that fails, drop the run and load it anew.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_schemas::{
    decision::{EVENTS_MAX, Event, INPUTS_MAX, JobStatus, Record, RunStatus},
    flow::{check::Problem, select::FoundTargets},
    input::{Input, Source},
    name::Name,
    ranges::Ranges,
    retry::Carried,
};

use super::{Due, Phase, Run};

/// Jobs of a flow whose first offers go into the decision that carries the flow; their events are about 100 bytes each.
const JOBS_BESIDE_FLOW_MAX: usize = 256;

/// Ranges of tasks that the offers of one decision take to say, each up to 14 bytes: what is carried over from an
/// earlier run may leave every second task.
pub(super) const RANGES_MAX: usize = 4_096;

/// An input as the stream has it, from a source that may say such things.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its stream sequence.
    pub seq: u64,
    /// When the stream stored it.
    pub at: Timestamp,
    /// Who said it, as its subject tells.
    pub source: Source,
    /// What it says.
    pub input: Input,
    /// Of a submit that asks for it: what there is around it.
    pub around: Option<Box<Around>>,
}

impl Heard {
    /// An input with nothing around it.
    pub fn new(seq: u64, at: Timestamp, source: Source, input: Input) -> Self {
        Self { seq, at, source, input, around: None }
    }
}

/// What whoever asks has seen of the mesh when a submit came. The first decision records it, so that nothing that
/// follows depends on what is there later.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// What the labels of its jobs stand for.
    pub found: FoundTargets,
    /// What it takes over, where it retries another run.
    pub carried: Option<Box<Carried>>,
    /// What speaks against starting it.
    pub problems: Vec<Problem>,
}

/// What follows.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// How many of the inputs are answered; the others go into the next decision.
    pub answered: usize,
    /// What is so from now on. May be empty: then the inputs changed nothing.
    pub records: Vec<Record>,
    /// Inputs, by sequence, that their sources had no right or no reason to say; they changed nothing.
    pub unbelieved: Vec<(u64, &'static str)>,
}

/// A decision under way.
pub(super) struct Draft {
    pub(super) decided: Decided,
    pub(super) cause: u64,
    pub(super) at: Timestamp,
    /// Ranges of tasks in its offers.
    ranges: usize,
}

impl Draft {
    fn is_full(&self) -> bool {
        self.decided.records.len() >= EVENTS_MAX || self.ranges >= RANGES_MAX
    }

    pub(super) fn disbelieve(&mut self, why: &'static str) {
        self.decided.unbelieved.push((self.cause, why));
    }
}

impl Run {
    /// Answers inputs in their order, as many as one decision holds, and draws every conclusion that has room.
    ///
    /// Without inputs it goes on where a full decision had to stop; see [`Run::more`].
    pub fn decide(&mut self, heard: &[Heard]) -> Decided {
        let (at, cause) = self.last;
        let mut draft = Draft { decided: Decided::default(), cause, at, ranges: 0 };
        for heard in heard.iter().take(INPUTS_MAX) {
            // What one input says of many tasks is limited by whoever asks it; see `look`.
            if draft.decided.records.len() >= EVENTS_MAX / 2 {
                break;
            }
            draft.cause = heard.seq;
            // The stream's clock may step back when its leader changes; a run's own time does not.
            draft.at = heard.at.max(draft.at);
            self.answer(heard, &mut draft);
            draft.decided.answered += 1;
        }
        self.advance(&mut draft);
        draft.decided
    }

    /// Whether something follows without any further input, because a full decision had to stop.
    pub fn more(&self) -> bool {
        !self.is_final() && self.exists() && (!self.dirty.is_empty() || self.open_jobs == 0)
    }

    /// Folds a conclusion and puts it into the decision.
    pub(super) fn emit(&mut self, draft: &mut Draft, event: Event) {
        let record = Record { cause: draft.cause, at: draft.at, event };
        let folded = self.apply(&record);
        debug_assert!(folded.is_ok(), "decided what cannot be: {folded:?}");
        if folded.is_ok() {
            draft.decided.records.push(record);
        }
    }

    /// Draws the conclusions that need no input of their own: time, windows, ends.
    fn advance(&mut self, draft: &mut Draft) {
        if self.is_final() || !self.exists() {
            return;
        }
        // A big flow nearly fills a message by itself; what follows from it goes into the next decision.
        if let Some(Record { event: Event::Submitted { retry_of, .. }, .. }) = draft.decided.records.last() {
            let n_ranges = retry_of.as_ref().map_or(0, |carried| carried.n_ranges());
            if self.jobs.len() > JOBS_BESIDE_FLOW_MAX || n_ranges > JOBS_BESIDE_FLOW_MAX {
                return;
            }
        }
        if self.stopping.is_none() && self.run_deadline().is_some_and(|deadline| deadline <= draft.at) {
            self.emit(draft, Event::DeadlinePassed {});
        }
        self.offer_delayed(draft);
        self.wake_gates(draft.at);
        while !draft.is_full() {
            let Some(index) = self.dirty.pop_first() else {
                break;
            };
            self.advance_job(index, draft);
        }
        if self.open_jobs == 0 && self.dirty.is_empty() && !draft.is_full() {
            let status = self.verdict();
            self.emit(draft, Event::RunEnded { status });
        }
    }

    fn verdict(&self) -> RunStatus {
        if let Some(status) = self.stopping {
            return status;
        }
        let succeeded = self.jobs.iter().all(|job| job.status == JobStatus::Succeeded);
        if succeeded { RunStatus::Succeeded } else { RunStatus::Failed }
    }

    /// Hands out again what waited for its next attempt and is due. What does not fit stays due; the timer comes back.
    fn offer_delayed(&mut self, draft: &mut Draft) {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= draft.at);
        let mut groups: BTreeMap<(usize, u32), Vec<u32>> = BTreeMap::new();
        for (_, due) in due {
            let Due::Task(task) = *due else { continue };
            let Some(state) = self.tasks.get(task as usize) else {
                continue;
            };
            let Some(job) = self.plan.as_ref().and_then(|plan| plan.job_of(task)) else {
                continue;
            };
            if matches!(state.phase, Phase::Delayed { .. }) {
                groups.entry((job, state.attempt + 1)).or_default().push(task);
            }
        }
        for ((job, attempt), tasks) in groups {
            let tasks: Ranges = tasks.into_iter().collect();
            let ranges: Vec<_> = tasks.iter_ranges().collect();
            for part in ranges.chunks(RANGES_MAX) {
                if draft.is_full() {
                    return;
                }
                let mut tasks = Ranges::new();
                for range in part {
                    tasks.push_range(range.clone());
                }
                self.offer_tasks(job, tasks, attempt, 1, draft);
            }
        }
    }

    /// Fills the window of a job, or ends the job.
    fn advance_job(&mut self, index: usize, draft: &mut Draft) {
        let Some((planned, job)) = self.job(index) else {
            return;
        };
        let ready = self.unmet.get(index) == Some(&0);
        if job.status.is_final() || !ready {
            return;
        }
        if let Some(signal) = &planned.job.signal {
            if let Some(status) = self.gate_verdict(index, signal, draft.at) {
                let job = planned.name.clone();
                self.emit(draft, Event::JobEnded { job, status });
            }
            return;
        }
        let nothing_new = job.halted || self.stopping.is_some();
        let busy = job.open + job.delayed;
        let left = planned.n - job.begun_tasks;
        if !nothing_new && left > 0 {
            let room =
                if planned.is_in_waves() && busy > 0 { 0 } else { planned.window_of(job.begun).saturating_sub(busy) };
            let n = room.min(left);
            if n > 0 {
                let tasks = self.next_tasks(planned, job, n);
                let is_all = tasks.len() == u64::from(n);
                self.offer_tasks(index, tasks, 1, 1, draft);
                // Its own offer marked it again; mostly it has nothing more to say.
                if is_all {
                    self.dirty.remove(&index);
                }
            }
            return;
        }
        if job.open == 0 && (job.delayed == 0 || nothing_new) {
            let whole = left == 0 && job.delayed == 0;
            let status = match job.ok >= job.needed(planned) {
                true if whole || self.stopping.is_none() => JobStatus::Succeeded,
                true | false if self.stopping.is_some() => JobStatus::Cancelled,
                true | false => JobStatus::Failed,
            };
            let name = planned.name.clone();
            self.emit(draft, Event::JobEnded { job: name, status });
        }
    }

    pub(super) fn offer_tasks(&mut self, job: usize, tasks: Ranges, attempt: u32, offer: u32, draft: &mut Draft) {
        let Some(job) = self.name_of(job) else { return };
        draft.ranges += tasks.iter_ranges().len();
        self.emit(draft, Event::Offered { job, tasks, attempt, offer });
    }

    fn name_of(&self, job: usize) -> Option<Name> {
        Some(self.plan.as_ref()?.jobs().get(job)?.name.clone())
    }
}
