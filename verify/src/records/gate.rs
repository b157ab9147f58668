//! Gates: a job that waits for a signal passes when it was given, and fails only when its time is over.

use std::collections::BTreeSet;

use rr_core::plan::PlannedJob;
use rr_schemas::{
    decision::{JobStatus, Record},
    name::Name,
};

use super::Judge;
use crate::Rule;

/// What was heard of signals so far.
#[derive(Debug, Default)]
pub(super) struct Signals(BTreeSet<Name>);

impl Signals {
    /// With those that the run took over.
    pub(super) const fn taken_over(signals: BTreeSet<Name>) -> Self {
        Self(signals)
    }
}

impl Judge<'_> {
    pub(super) fn check_signal(&mut self, at: u64, signal: &Name) {
        let is_known = self.plan.jobs().iter().any(|planned| planned.job.signal.as_ref() == Some(signal));
        self.findings.demand(is_known, Rule::Chain, at, || format!("no job waits for signal {signal}"));
        let stopped = self.stopped.is_some();
        self.findings.demand(!stopped, Rule::Stop, at, || format!("signal {signal} is given to a stopped run"));
        let first = self.signals.0.insert(signal.clone());
        self.findings.demand(first, Rule::DecidedOnce, at, || format!("signal {signal} is given a second time"));
    }

    pub(super) fn check_gate(&mut self, record: &Record, index: usize, signal: &Name, status: JobStatus) {
        let at = record.cause;
        let Some(planned) = self.plan.jobs().get(index) else { return };
        let PlannedJob { name, job, .. } = planned;
        let given = self.signals.0.contains(signal);
        match status {
            JobStatus::Succeeded => {
                self.check_needs(at, planned);
                self.findings.demand(given, Rule::Threshold, at, || format!("{name} passes without its signal"));
            }
            JobStatus::Failed => {
                self.check_needs(at, planned);
                self.findings.demand(!given, Rule::Threshold, at, || format!("{name} fails with its signal"));
                let end = self.began.zip(job.timeout).map(|(began, timeout)| began.checked_add(timeout.as_duration()));
                let is_over = end.is_some_and(|end| end.is_ok_and(|end| end <= record.at));
                self.findings.demand(is_over, Rule::Time, at, || format!("{name} fails before its time is over"));
            }
            JobStatus::Cancelled => {
                let stopped = self.stopped.is_some();
                self.findings.demand(stopped, Rule::Stop, at, || format!("{name} is cancelled and nobody asked"));
            }
            JobStatus::Waiting | JobStatus::Running | JobStatus::Skipped => {
                self.findings.demand(false, Rule::End, at, || format!("{name} ends as {}", status.word()));
            }
        }
    }
}
