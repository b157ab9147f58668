//! Retries: what a run takes over from an earlier one with the same plan.

use std::collections::BTreeMap;

use rr_schemas::{
    decision::JobStatus,
    flow::check::Problem,
    ranges::Ranges,
    report::Outcome,
    retry::{Again, Carried, RetryOf},
};

use super::{JobState, Phase, Run, TaskState, decide::RANGES_MAX, fold::IllegalEvent};
use crate::{Plan, plan::PlannedJob};

/// What is taken over, if it fits the plan and the request.
pub(super) fn checked<'c>(
    asked: Option<&RetryOf>,
    carried: Option<&'c Carried>,
    plan: &Plan,
) -> Result<Option<&'c Carried>, Vec<Problem>> {
    let Some(asked) = asked else { return Ok(None) };
    let fits = |carried: &&Carried| {
        let last = carried.tasks.values().filter_map(|tasks| tasks.iter_ranges().last()).map(|last| *last.end());
        let numbers = carried.n_tasks();
        let all: Ranges = carried.tasks.values().flat_map(Ranges::iter).collect();
        carried.run == asked.run && last.max().is_none_or(|last| last < plan.n_tasks()) && all.len() == numbers
    };
    match carried.filter(fits) {
        Some(carried) => Ok(Some(carried)),
        None => Err(vec![Problem::new("", format!("run {} is not known well enough to be retried", asked.run))]),
    }
}

/// Why a run cannot be retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotRetryable {
    /// Nothing was ever decided of it.
    #[error("it has not begun")]
    NotBegun,
    /// Its flow was wrong, so nothing of it ever ran.
    #[error("it was rejected")]
    Rejected,
    /// It may still do by itself what a retry would.
    #[error("it is not over")]
    NotOver,
    /// Every task would be carried over.
    #[error("nothing of it is to run again")]
    NothingLeft,
}

impl Run {
    /// What a retry of this run begins with.
    ///
    /// # Errors
    /// [`NotRetryable`]: the rules of what can be retried, for whoever asks and for whoever decides.
    pub fn carry_over(&self, again: Again) -> Result<Carried, NotRetryable> {
        let n_tasks = match &self.plan {
            _ if !self.exists() => return Err(NotRetryable::NotBegun),
            _ if !self.is_final() => return Err(NotRetryable::NotOver),
            None => return Err(NotRetryable::Rejected),
            Some(plan) => u64::from(plan.n_tasks()),
        };
        let signals = self.signals.clone();
        let carried = Carried { run: self.id().clone(), tasks: self.carried(again), signals };
        let is_whole = carried.n_tasks() == n_tasks && self.signals().all(|(_, given)| given);
        if is_whole { Err(NotRetryable::NothingLeft) } else { Ok(carried) }
    }

    /// What a retry of this run takes over: its tasks that are over and do not run again, by how they ended. In a job
    /// that succeeded nothing runs again, also where some of its tasks failed.
    pub fn carried(&self, again: Again) -> BTreeMap<Outcome, Ranges> {
        let mut carried: BTreeMap<Outcome, Ranges> = BTreeMap::new();
        for (planned, job) in self.plan.iter().flat_map(Plan::jobs).zip(&self.jobs) {
            for task in planned.first..planned.first + planned.n {
                let Some(TaskState { phase: Phase::Over { outcome, .. }, .. }) = self.tasks.get(task as usize) else {
                    continue;
                };
                let stays = match again {
                    Again::NotStarted => true,
                    Again::Failed => job.status == JobStatus::Succeeded || *outcome == Outcome::Ok,
                };
                if stays {
                    carried.entry(*outcome).or_default().push_range(task..=task);
                }
            }
        }
        carried
    }

    /// Whether a task was over before the run began.
    pub fn is_carried(&self, task: u32) -> bool {
        let state = self.tasks.get(task as usize);
        state.is_some_and(|state| state.attempt == 0 && matches!(state.phase, Phase::Over { .. }))
    }

    pub(super) fn fold_carried(&mut self, carried: &Carried) -> Result<(), IllegalEvent> {
        self.retry_of = Some(carried.run.clone());
        self.signals.clone_from(&carried.signals);
        for (outcome, tasks) in &carried.tasks {
            for task in tasks.iter() {
                let state = *self.state_of(task)?;
                let index = self.job_index_of(task)?;
                if !matches!(state.phase, Phase::Waiting) {
                    return Err(IllegalEvent::OutOfOrder { task, event: "carried over" });
                }
                self.set_task(task, TaskState { phase: Phase::Over { outcome: *outcome, by: None }, ..state });
                self.count_over(index, *outcome);
                if let Some(job) = self.jobs.get_mut(index) {
                    job.begun_tasks += 1;
                }
            }
        }
        for index in 0..self.jobs.len() {
            self.halt_if_hopeless(index);
        }
        Ok(())
    }

    /// The next `n` tasks of a job that have not had their turn; fewer where they lie too scattered for one offer.
    pub(super) fn next_tasks(&self, planned: &PlannedJob, job: &JobState, n: u32) -> Ranges {
        let mut tasks = Ranges::new();
        let (mut left, mut n_ranges, mut last) = (n, 0, None);
        for task in planned.first + job.last..planned.first + planned.n {
            if left == 0 || n_ranges >= RANGES_MAX {
                break;
            }
            if self.tasks.get(task as usize).is_some_and(|state| matches!(state.phase, Phase::Waiting)) {
                n_ranges += usize::from(last.is_none_or(|last| last + 1 < task));
                tasks.push_range(task..=task);
                left -= 1;
                last = Some(task);
            }
        }
        tasks
    }
}
