//! Gates: jobs that wait for a signal. They have no tasks.
//!
//! A signal counts whenever it comes: one that is given before its gate is reached is remembered, and the gate passes at
//! once. That is why a signal is an event of its own and not the end of a job.

use jiff::Timestamp;
use rr_schemas::{
    decision::{Event, JobStatus},
    input::Signal,
    name::Name,
};

use super::{
    Due, Run,
    decide::Draft,
    fold::{IllegalEvent, later},
};
use crate::Plan;

impl Run {
    /// Signals that its gates wait for or have waited for, each with whether it was given.
    pub fn signals(&self) -> impl Iterator<Item = (&Name, bool)> {
        let gates = self.plan.iter().flat_map(Plan::jobs).filter_map(|planned| planned.job.signal.as_ref());
        gates.map(|signal| (signal, self.signals.contains(signal)))
    }

    pub(super) fn answer_signal(&mut self, given: &Signal, draft: &mut Draft) {
        if self.is_final() || self.stopping.is_some() {
            return;
        }
        let Some(was_given) = self.signals().find(|(signal, _)| **signal == given.signal).map(|(_, given)| given)
        else {
            draft.disbelieve("a signal that no job of the run waits for");
            return;
        };
        if !was_given {
            let Signal { signal, by, reason } = given.clone();
            self.emit(draft, Event::Signalled { signal, by, reason });
        }
    }

    pub(super) fn fold_signalled(&mut self, signal: &Name) -> Result<(), IllegalEvent> {
        let Some(plan) = &self.plan else { return Err(IllegalEvent::OutOfLife("signalled")) };
        let gates = plan.jobs().iter().enumerate();
        self.dirty.extend(gates.filter(|(_, gate)| gate.job.signal.as_ref() == Some(signal)).map(|(index, _)| index));
        self.signals.insert(signal.clone());
        Ok(())
    }

    /// What the job needs has succeeded: if it is a gate, it waits from now on.
    pub(super) fn fold_ready(&mut self, at: Timestamp, index: usize) {
        let Some((planned, _)) = self.job(index) else { return };
        if planned.job.signal.is_none() {
            return;
        }
        let gives_up = planned.job.timeout.map(|timeout| later(at, timeout));
        self.deadlines.extend(gives_up.map(|gives_up| (gives_up, Due::Gate(index))));
        if let Some(job) = self.jobs.get_mut(index) {
            job.status = JobStatus::Running;
            job.gives_up = gives_up;
        }
    }

    /// Its job is over: it waits no more.
    pub(super) fn fold_gate_over(&mut self, index: usize) {
        if let Some(gives_up) = self.jobs.get_mut(index).and_then(|job| job.gives_up.take()) {
            self.deadlines.remove(&(gives_up, Due::Gate(index)));
        }
    }

    /// Marks the gates that have waited long enough.
    pub(super) fn wake_gates(&mut self, now: Timestamp) {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        let gates = due.filter_map(|(_, due)| match due {
            Due::Gate(index) => Some(*index),
            Due::Run | Due::Task(_) => None,
        });
        self.dirty.extend(gates);
    }

    /// How a gate that is reached ends now; none as long as it waits.
    pub(super) fn gate_verdict(&self, index: usize, signal: &Name, now: Timestamp) -> Option<JobStatus> {
        let (_, job) = self.job(index)?;
        if self.stopping.is_some() {
            Some(JobStatus::Cancelled)
        } else if self.signals.contains(signal) {
            Some(JobStatus::Succeeded)
        } else if job.gives_up.is_some_and(|gives_up| gives_up <= now) {
            Some(JobStatus::Failed)
        } else {
            None
        }
    }
}
