//! Ends of jobs: good when enough targets are and each had its turn, bad when that cannot come any more.

use rr_core::plan::PlannedJob;
use rr_schemas::decision::JobStatus;

use super::{Judge, shares::needed, tally::Tally};
use crate::Rule;

impl Judge<'_> {
    pub(super) fn check_job(&mut self, at: u64, index: usize, planned: &PlannedJob, status: JobStatus) {
        let name = &planned.name;
        let tally = self.tally(index);
        let Tally { ok, busy, known, .. } = tally;
        self.findings.demand(tally.open == 0, Rule::End, at, || format!("{name} ends while an attempt is open"));
        let enough = ok >= needed(planned, tally);
        // Each target had its turn, and none waits for another one.
        let whole = known == planned.n && busy == 0;
        let turns = || format!("{known} of {} targets had a turn and {busy} wait for another one", planned.n);
        match status {
            JobStatus::Succeeded => {
                self.findings.demand(enough, Rule::Threshold, at, || format!("{name} is called good with {ok}"));
                self.findings.demand(whole, Rule::Threshold, at, || format!("{name} is called good when {}", turns()));
            }
            JobStatus::Failed => {
                self.findings.demand(!enough, Rule::Threshold, at, || format!("{name} is called bad with {ok}"));
                let over = whole || self.is_given_up(index);
                self.findings.demand(over, Rule::Threshold, at, || {
                    format!("{name} is called bad when {}, and it could still succeed", turns())
                });
            }
            JobStatus::Cancelled => {
                let stopped = self.stopped.is_some();
                self.findings.demand(stopped, Rule::Stop, at, || format!("{name} is cancelled and nobody asked"));
                self.findings.demand(!(whole && enough), Rule::Threshold, at, || {
                    format!("{name} is called cancelled with {ok}, and each target had its turn")
                });
            }
            JobStatus::Waiting | JobStatus::Running | JobStatus::Skipped => {
                self.findings.demand(false, Rule::End, at, || format!("{name} ends as {}", status.word()));
            }
        }
    }

    /// Whether a job cannot succeed any more, and its flow wants nothing new to start then.
    pub(super) fn is_given_up(&self, index: usize) -> bool {
        let tally = self.tally(index);
        self.plan.jobs().get(index).is_some_and(|planned| {
            let left = planned.n.saturating_sub(tally.skipped + tally.bad);
            planned.job.fail_fast && left < needed(planned, tally)
        })
    }
}
