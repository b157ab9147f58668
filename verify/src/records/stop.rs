//! Stops: a run is out of time when its time limit has passed, neither before nor unnoticed.

use jiff::Timestamp;
use rr_core::Plan;
use rr_schemas::decision::{Event, Record, RunStatus};

use super::Judge;
use crate::Rule;

/// When the time of a run is over that began then; none where it has no limit.
pub(crate) fn limit_of(plan: &Plan, began: Timestamp) -> Option<Timestamp> {
    let timeout = plan.timeout()?;
    Some(began.checked_add(timeout.as_duration()).unwrap_or(Timestamp::MAX))
}

impl Judge<'_> {
    pub(super) fn check_out_of_time(&mut self, record: &Record) {
        let fits = self.limit.is_some_and(|limit| limit <= record.at);
        self.findings.demand(fits, Rule::Time, record.cause, || match self.limit {
            Some(limit) => format!("the run is out of time at {}, and has until {limit}", record.at),
            None => "the run is out of time, and has no limit".to_owned(),
        });
        self.stop(record.cause, RunStatus::TimedOut);
    }

    /// What nobody asks for but time itself has shown that it is over: that is looked at before anything new starts or ends.
    /// An offer that is made once more answers an input, which comes first; `history` has its end.
    pub(super) fn check_in_time(&mut self, record: &Record) {
        let waits_for_time = match &record.event {
            Event::Offered { offer, .. } => *offer == 1,
            Event::JobEnded { .. } | Event::RunEnded { .. } => true,
            Event::Submitted { .. }
            | Event::Rejected { .. }
            | Event::Started { .. }
            | Event::Extended { .. }
            | Event::Ended { .. }
            | Event::Returned { .. }
            | Event::Held { .. }
            | Event::Late { .. }
            | Event::CancelRequested { .. }
            | Event::Signalled { .. }
            | Event::DeadlinePassed {}
            | Event::PutAside { .. } => false,
        };
        let is_late = waits_for_time && self.limit.is_some_and(|limit| limit <= record.at);
        self.findings.demand(!is_late || self.stopped.is_some(), Rule::Stop, record.cause, || {
            format!("the run goes on at {}, when its time is over", record.at)
        });
    }

    pub(super) fn stop(&mut self, at: u64, status: RunStatus) {
        let first = self.stopped.is_none();
        self.findings.demand(first, Rule::Stop, at, || "the run is stopped a second time".into());
        self.stopped.get_or_insert(status);
    }
}
