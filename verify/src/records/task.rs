//! What the events have said of one task so far.

use jiff::Timestamp;
use rr_schemas::report::{Ended, Outcome};

/// The end of an attempt as an event has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskEnd<'e> {
    pub(super) at: Timestamp,
    pub(super) attempt: u32,
    pub(super) end: &'e Ended,
    /// When the next attempt is due.
    pub(super) again: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Task {
    attempt: u32,
    offer: u32,
    pub(super) open: bool,
    /// Attempts that were lost.
    pub(super) losses: u32,
    /// Attempts that ended otherwise.
    pub(super) tries: u32,
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

    pub(super) fn ended(&mut self, TaskEnd { end, again, .. }: TaskEnd<'_>) {
        self.open = false;
        self.last = Some(end.outcome);
        self.due = again;
        if is_loss(end.outcome) {
            self.losses += 1;
        } else {
            self.tries += 1;
        }
    }
}

/// Whether an attempt ended through no fault of its task.
pub(super) const fn is_loss(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Lost | Outcome::Cancelled)
}
