//! The fold: what each event does to the state.

use jiff::Timestamp;
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::{Flow, params::ParamValues, select::FoundTargets, unreachable::OnUnreachable},
    input::Holder,
    name::Name,
    ranges::Ranges,
    report::{Ended, Outcome},
    span::Span,
};

use super::{Due, JobState, Phase, Run, TaskState};
use crate::Plan;

/// An event that no history of a run explains. The run it was folded into may be half changed, and is of no use any more.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IllegalEvent {
    /// Its flow has no plan, though it was accepted once.
    #[error("the flow of the run cannot be planned: {0}")]
    Unplannable(String),
    /// It speaks of a job that the flow does not have.
    #[error("no job {0} in this run")]
    NoSuchJob(Name),
    /// It speaks of a task that the plan does not have.
    #[error("no task {0} in this run")]
    NoSuchTask(u32),
    /// The task is in a state that the event cannot follow.
    #[error("task {task} cannot be {event} in the state it is in")]
    OutOfOrder {
        /// The task.
        task: u32,
        /// What the event says of it.
        event: &'static str,
    },
    /// It goes on with a job that is over.
    #[error("job {0} goes on, and is over")]
    JobOver(Name),
    /// It ends a job that has attempts under way.
    #[error("job {0} ends with attempts under way")]
    JobBusy(Name),
    /// It comes before the run was submitted, or submits it twice.
    #[error("{0} at the wrong end of a run's life")]
    OutOfLife(&'static str),
}

impl Run {
    /// Folds one event in.
    ///
    /// # Errors
    /// [`IllegalEvent`]: the history is not one of ours; park the run, do not go on with it.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalEvent> {
        let at = record.at;
        match &record.event {
            Event::Submitted { flow, params, found, retry_of, .. } => {
                self.fold_submitted(at, flow, params, found)?;
                if let Some(carried) = retry_of {
                    self.fold_carried(carried)?;
                }
            }
            Event::Rejected { problems } => {
                self.started_at = Some(at);
                self.problems = problems.iter().map(|problem| problem.message.clone()).collect();
                self.end(at, RunStatus::Rejected);
            }
            Event::Offered { job, tasks, attempt, offer } => self.fold_offered(at, job, tasks, *attempt, *offer)?,
            Event::Started { task, attempt, by } => self.fold_started(at, *task, *attempt, by)?,
            Event::Extended { tasks, until } => self.fold_extended(tasks, *until)?,
            Event::Ended { task, attempt, by, end, again } => {
                self.fold_ended(*task, *attempt, by.as_ref(), end, *again)?;
            }
            Event::Held { task, attempt } => self.fold_held(*task, *attempt)?,
            Event::Returned { task, attempt, offer, .. } => self.fold_returned(*task, *attempt, *offer)?,
            Event::Signalled { signal, .. } => self.fold_signalled(signal)?,
            Event::CancelRequested { .. } => self.fold_stop(at, RunStatus::Cancelled),
            Event::DeadlinePassed {} => self.fold_stop(at, RunStatus::TimedOut),
            Event::JobEnded { job, status } => self.fold_job_ended(at, job, *status)?,
            Event::RunEnded { status } => self.end(at, *status),
            Event::Late { .. } | Event::PutAside { .. } => {}
        }
        self.last = (at, record.cause);
        Ok(())
    }

    fn fold_submitted(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        params: &ParamValues,
        found: &FoundTargets,
    ) -> Result<(), IllegalEvent> {
        if self.exists() {
            return Err(IllegalEvent::OutOfLife("submitted"));
        }
        let plan = Plan::of_accepted(flow, params, found).map_err(|problems| {
            let texts: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
            IllegalEvent::Unplannable(texts.join("; "))
        })?;
        self.started_at = Some(at);
        self.status = RunStatus::Running;
        self.jobs = vec![JobState::default(); plan.jobs().len()];
        self.tasks = vec![TaskState::default(); plan.n_tasks() as usize];
        self.open_jobs = self.jobs.len();
        self.unmet.clone_from(&plan.graph().n_needs);
        self.dirty = (0..self.jobs.len()).filter(|index| self.unmet.get(*index) == Some(&0)).collect();
        if let Some(timeout) = plan.timeout() {
            self.deadlines.insert((later(at, timeout), Due::Run));
        }
        self.plan = Some(plan);
        for index in self.dirty.clone() {
            self.fold_ready(at, index);
        }
        Ok(())
    }

    fn fold_offered(
        &mut self,
        at: Timestamp,
        name: &Name,
        tasks: &Ranges,
        attempt: u32,
        offer: u32,
    ) -> Result<(), IllegalEvent> {
        let index = self.index_of_open(name)?;
        let first = self.job(index).map_or(0, |(planned, _)| planned.first);
        let deadline = later(at, self.policy.offer_expiry);
        let mut is_batch = false;
        for task in tasks.iter() {
            let state = *self.state_of(task)?;
            let is_its_job = self.job_index_of(task)? == index;
            let Some(job) = self.jobs.get_mut(index).filter(|_| is_its_job) else {
                return Err(IllegalEvent::NoSuchTask(task));
            };
            match state.phase {
                Phase::Waiting if attempt == 1 => {
                    job.begun_tasks += 1;
                    job.last = job.last.max(task - first);
                    job.open += 1;
                    is_batch = true;
                }
                Phase::Delayed { .. } if attempt == state.attempt + 1 => {
                    job.delayed -= 1;
                    job.open += 1;
                }
                Phase::Offered { .. } if attempt == state.attempt && offer == state.offer + 1 => {}
                Phase::Waiting
                | Phase::Delayed { .. }
                | Phase::Offered { .. }
                | Phase::Running { .. }
                | Phase::Held { .. }
                | Phase::Over { .. } => {
                    return Err(IllegalEvent::OutOfOrder { task, event: "offered" });
                }
            }
            job.status = JobStatus::Running;
            let since = match state.phase {
                Phase::Offered { since, .. } => since,
                Phase::Waiting
                | Phase::Delayed { .. }
                | Phase::Running { .. }
                | Phase::Held { .. }
                | Phase::Over { .. } => at,
            };
            let phase = Phase::Offered { since, deadline };
            let returns = if attempt == state.attempt { state.returns } else { 0 };
            self.set_task(task, TaskState { attempt, offer, returns, phase, ..state });
        }
        if let Some(job) = self.jobs.get_mut(index) {
            job.begun += u32::from(is_batch);
        }
        self.dirty.insert(index);
        Ok(())
    }

    fn fold_started(&mut self, at: Timestamp, task: u32, attempt: u32, by: &Holder) -> Result<(), IllegalEvent> {
        let state = *self.state_of(task)?;
        if !matches!(state.phase, Phase::Offered { .. }) || state.attempt != attempt {
            return Err(IllegalEvent::OutOfOrder { task, event: "started" });
        }
        let by = self.holders.intern(by);
        let phase = Phase::Running { by, deadline: later(at, self.policy.lease) };
        self.set_task(task, TaskState { phase, ..state });
        Ok(())
    }

    fn fold_returned(&mut self, task: u32, attempt: u32, offer: u32) -> Result<(), IllegalEvent> {
        let state = *self.state_of(task)?;
        let is_offered = matches!(state.phase, Phase::Offered { .. });
        if !is_offered || (state.attempt, state.offer) != (attempt, offer) {
            return Err(IllegalEvent::OutOfOrder { task, event: "returned" });
        }
        self.set_task(task, TaskState { returns: state.returns.saturating_add(1), ..state });
        Ok(())
    }

    fn fold_extended(&mut self, tasks: &Ranges, until: Timestamp) -> Result<(), IllegalEvent> {
        for task in tasks.iter() {
            let state = *self.state_of(task)?;
            let phase = match state.phase {
                Phase::Offered { since, .. } => Phase::Offered { since, deadline: until },
                Phase::Running { by, .. } => Phase::Running { by, deadline: until },
                Phase::Held { by, .. } => Phase::Held { by, deadline: Some(until) },
                Phase::Waiting | Phase::Delayed { .. } | Phase::Over { .. } => {
                    return Err(IllegalEvent::OutOfOrder { task, event: "extended" });
                }
            };
            self.set_task(task, TaskState { phase, ..state });
        }
        Ok(())
    }

    fn fold_ended(
        &mut self,
        task: u32,
        attempt: u32,
        by: Option<&Holder>,
        end: &Ended,
        again: Option<Timestamp>,
    ) -> Result<(), IllegalEvent> {
        let mut state = *self.state_of(task)?;
        let open = matches!(state.phase, Phase::Offered { .. } | Phase::Running { .. } | Phase::Held { .. });
        if !open || state.attempt != attempt {
            return Err(IllegalEvent::OutOfOrder { task, event: "ended" });
        }
        let index = self.job_index_of(task)?;
        let by = by.map(|holder| self.holders.intern(holder));
        if is_loss(end.outcome) {
            state.losses += 1;
        }
        state.phase = match again {
            Some(until) => Phase::Delayed { until, last: end.outcome },
            None => Phase::Over { outcome: end.outcome, by },
        };
        self.set_task(task, state);
        let Some(job) = self.jobs.get_mut(index) else {
            return Err(IllegalEvent::NoSuchTask(task));
        };
        job.open -= 1;
        match again {
            Some(_) => job.delayed += 1,
            None => self.count_over(index, end.outcome),
        }
        self.dirty.insert(index);
        self.halt_if_hopeless(index);
        Ok(())
    }

    /// Counts a task of the job that is over for good.
    pub(super) fn count_over(&mut self, index: usize, outcome: Outcome) {
        let on_unreachable = self.job(index).and_then(|(planned, _)| planned.job.on_unreachable);
        let is_skipped = outcome == Outcome::Unreachable && on_unreachable == Some(OnUnreachable::Skip);
        let Some(job) = self.jobs.get_mut(index) else { return };
        match outcome {
            Outcome::Ok => job.ok += 1,
            Outcome::Unreachable if is_skipped => job.skipped += 1,
            Outcome::Failed
            | Outcome::Timeout
            | Outcome::Lost
            | Outcome::Unreachable
            | Outcome::Refused
            | Outcome::Cancelled => {
                job.bad += 1;
                job.unreachable += u32::from(outcome == Outcome::Unreachable);
            }
        }
    }

    fn fold_held(&mut self, task: u32, attempt: u32) -> Result<(), IllegalEvent> {
        let state = *self.state_of(task)?;
        let by = match state.phase {
            Phase::Offered { .. } => None,
            Phase::Running { by, .. } => Some(by),
            Phase::Waiting | Phase::Delayed { .. } | Phase::Held { .. } | Phase::Over { .. } => {
                return Err(IllegalEvent::OutOfOrder { task, event: "held" });
            }
        };
        if state.attempt != attempt {
            return Err(IllegalEvent::OutOfOrder { task, event: "held" });
        }
        self.set_task(task, TaskState { phase: Phase::Held { by, deadline: None }, ..state });
        Ok(())
    }

    /// From here on nothing starts; what has not reported its start soon, never did.
    fn fold_stop(&mut self, at: Timestamp, status: RunStatus) {
        self.stopping = Some(status);
        self.deadlines.remove(&(self.run_deadline().unwrap_or(at), Due::Run));
        let soon = later(at, self.policy.stop_wait);
        for task in 0..self.tasks.len() {
            let Ok(task) = u32::try_from(task) else { break };
            let Ok(state) = self.state_of(task).copied() else {
                break;
            };
            match state.phase {
                Phase::Offered { since, .. } => {
                    self.set_task(task, TaskState { phase: Phase::Offered { since, deadline: soon }, ..state });
                }
                Phase::Held { by, .. } => {
                    self.set_task(task, TaskState { phase: Phase::Held { by, deadline: Some(soon) }, ..state });
                }
                Phase::Delayed { until, .. } => {
                    self.deadlines.remove(&(until, Due::Task(task)));
                }
                Phase::Waiting | Phase::Running { .. } | Phase::Over { .. } => {}
            }
        }
        self.dirty.extend(0..self.jobs.len());
    }

    fn fold_job_ended(&mut self, at: Timestamp, name: &Name, status: JobStatus) -> Result<(), IllegalEvent> {
        let index = self.index_of_open(name)?;
        if self.jobs.get(index).is_some_and(|job| job.open > 0) {
            return Err(IllegalEvent::JobBusy(name.clone()));
        }
        self.settle_delayed(index);
        self.fold_gate_over(index);
        if let Some(job) = self.jobs.get_mut(index) {
            job.status = status;
            job.bad += job.delayed;
            job.delayed = 0;
        }
        self.dirty.remove(&index);
        self.open_jobs -= 1;
        if status == JobStatus::Succeeded {
            self.release(at, index);
        } else {
            self.skip_what_needs(index);
        }
        Ok(())
    }

    fn end(&mut self, at: Timestamp, status: RunStatus) {
        self.status = status;
        self.ended_at = Some(at);
        self.deadlines.clear();
        self.dirty.clear();
    }

    pub(super) fn run_deadline(&self) -> Option<Timestamp> {
        Some(later(self.started_at?, self.plan.as_ref()?.timeout()?))
    }

    /// Puts a task into a state and keeps the set of deadlines in step with it.
    pub(super) fn set_task(&mut self, task: u32, state: TaskState) {
        let Some(slot) = self.tasks.get_mut(task as usize) else {
            return;
        };
        let before = std::mem::replace(slot, state);
        if let Some(at) = before.phase.deadline() {
            self.deadlines.remove(&(at, Due::Task(task)));
        }
        if let Some(at) = state.phase.deadline() {
            self.deadlines.insert((at, Due::Task(task)));
        }
    }

    pub(super) fn state_of(&self, task: u32) -> Result<&TaskState, IllegalEvent> {
        self.tasks.get(task as usize).ok_or(IllegalEvent::NoSuchTask(task))
    }

    pub(super) fn job_index_of(&self, task: u32) -> Result<usize, IllegalEvent> {
        self.plan.as_ref().and_then(|plan| plan.job_of(task)).ok_or(IllegalEvent::NoSuchTask(task))
    }

    /// A job that is not over.
    fn index_of_open(&self, name: &Name) -> Result<usize, IllegalEvent> {
        let index = self.plan.as_ref().and_then(|plan| plan.job_named(name));
        let index = index.ok_or_else(|| IllegalEvent::NoSuchJob(name.clone()))?;
        match self.jobs.get(index) {
            Some(job) if !job.status.is_final() => Ok(index),
            Some(_) | None => Err(IllegalEvent::JobOver(name.clone())),
        }
    }
}

impl Phase {
    const fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting | Self::Over { .. } => None,
            Self::Delayed { until, .. } => Some(*until),
            Self::Offered { deadline, .. } | Self::Running { deadline, .. } => Some(*deadline),
            Self::Held { deadline, .. } => *deadline,
        }
    }
}

/// Whether an attempt ended through no fault of its task: it uses up a loss and none of `retry.attempts`.
pub(super) const fn is_loss(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Lost | Outcome::Cancelled)
}

/// The instant a span later, or the last one there is.
pub(super) fn later(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(span.as_duration()).unwrap_or(Timestamp::MAX)
}
