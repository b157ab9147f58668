//! What the events have said of one task so far.

use jiff::Timestamp;
use rr_core::Policy;
use rr_schemas::{
    flow::{Job, OnLost},
    report::Outcome,
};

/// The end of an attempt as an event has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskEnd {
    pub(super) at: Timestamp,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    pub(super) again: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Task {
    attempt: u32,
    offer: u32,
    pub(super) open: bool,
    losses: u32,
    tries: u32,
    pub(super) due: Option<Timestamp>,
    pub(super) last: Option<Outcome>,
}

impl Task {
    /// One that was over before its run began.
    pub(super) fn carried(outcome: Outcome) -> Self {
        Self { last: Some(outcome), ..Self::default() }
    }

    pub(super) const fn is_carried(&self) -> bool {
        self.attempt == 0 && self.last.is_some()
    }

    pub(super) const fn is_open(&self, attempt: u32) -> bool {
        self.open && self.attempt == attempt
    }

    pub(super) const fn is_offered(&self, attempt: u32, offer: u32) -> bool {
        self.is_open(attempt) && self.offer == offer
    }

    /// Under way, or waiting for its next attempt.
    pub(super) const fn is_busy(&self) -> bool {
        self.open || self.due.is_some()
    }

    pub(super) const fn is_over(&self) -> bool {
        !self.is_busy() && self.last.is_some()
    }

    pub(super) const fn may_be_offered(&self, attempt: u32, offer: u32) -> bool {
        if offer > 1 {
            self.is_open(attempt) && offer == self.offer + 1
        } else {
            offer == 1 && attempt == self.attempt + 1 && !self.open && !self.is_over()
        }
    }

    pub(super) const fn offered(&mut self, attempt: u32, offer: u32) {
        self.attempt = attempt;
        self.offer = offer;
        self.open = true;
        self.due = None;
    }

    pub(super) fn ended(&mut self, end: TaskEnd) {
        self.open = false;
        self.last = Some(end.outcome);
        self.due = end.again;
        if is_loss(end.outcome) {
            self.losses += 1;
        } else {
            self.tries += 1;
        }
    }

    /// What is wrong with how the task goes on after its last end.
    pub(super) fn wrong_retry(&self, end: TaskEnd, job: &Job, policy: &Policy, stopped: bool) -> Option<&'static str> {
        if self.tries > job.retry.attempts {
            return Some("more attempts than allowed");
        }
        if self.losses > policy.losses_max + 1 {
            return Some("more losses than allowed");
        }
        let due = end.again?;
        if stopped || end.outcome == Outcome::Ok {
            return Some("another attempt follows for no reason");
        }
        let lost = is_loss(end.outcome);
        if lost && job.on_lost != OnLost::Retry {
            return Some("a lost attempt is repeated against the flow's word");
        }
        if !lost && self.tries >= job.retry.attempts {
            return Some("another attempt follows the last one");
        }
        // The shortest wait that jitter leaves.
        let hundredths = match job.retry.jitter {
            Some(rr_schemas::quota::Quota::Percent(percent)) => 10_000 - percent.hundredths(),
            Some(rr_schemas::quota::Quota::Count(_)) | None => 10_000,
        };
        let delay = job.retry.delay.as_duration().as_millis() * u128::from(hundredths) / 10_000;
        let delay = if lost { 0 } else { i64::try_from(delay).unwrap_or(i64::MAX) };
        let early = due.as_millisecond() < end.at.as_millisecond().saturating_add(delay);
        early.then_some("the wait before the next attempt is too short")
    }
}

/// Whether an attempt ended through no fault of its task.
const fn is_loss(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Lost | Outcome::Cancelled)
}
