//! Giving back: what came and cannot start soon is for somebody else.
//!
//! An idle worker waits at more lanes than it has slots, so more may come than it can start. What is given back has
//! certainly not started: it was never written down and never claimed, and from then on it never will be. The
//! worker says so in a report, and acknowledges the offer when that is stored.

use std::time::Duration;

use rr_schemas::report::{Report, What};
use tokio::time::Instant;

use super::attempts::key;
use super::engine::Engine;
use crate::attempt::Phase;
use crate::outbox::Parcel;

/// How long an offer waits for a slot here at most, while attempts come and go quickly.
const HELD_MAX: Duration = Duration::from_secs(1);

impl Engine {
    /// Gives back what waits for a slot, where none is to be expected soon: what runs has run for longer than a moment,
    /// or nothing starts any more. Whoever has just begun may end as soon: that is waited for, but not for long.
    pub(super) fn give_back(&mut self, now: Instant) {
        let is_closed = self.is_closed();
        if is_closed {
            self.clear_lines(now);
        }
        let waits = !is_closed && self.clocks.has_young();
        let is_over = |n: &u64| self.attempts.get(n).is_none_or(|attempt| attempt.since + HELD_MAX <= now);
        let given: Vec<(u8, u64)> = self.ready.iter().filter(|(_, n)| !waits || is_over(n)).copied().collect();
        for place in given {
            self.ready.remove(&place);
            self.give_one_back(place.1, now);
        }
    }

    /// Whether nothing starts here any more, or not for now.
    pub(super) fn is_closed(&self) -> bool {
        !self.mode.is_working() || self.unwritten.is_stuck()
    }

    /// When something has waited for long enough.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let since = self.ready.iter().filter_map(|(_, n)| Some(self.attempts.get(n)?.since));
        Some(since.min()? + HELD_MAX)
    }

    /// Gives an attempt back that waits for a lock or a slot.
    pub(super) fn give_one_back(&mut self, n: u64, now: Instant) {
        self.leave_line(n);
        let Some(attempt) = self.attempts.get_mut(&n) else { return };
        let Some(offer) = attempt.offer.clone() else { return };
        attempt.phase = Phase::Returned;
        attempt.grip = None;
        let key = key(&offer);
        tracing::debug!(run.id = %key.run, task = key.task, attempt = key.attempt, offer.offer, "given back");
        self.ledger.give_back(&key);
        let (instance, what, token) = (self.instance.clone(), What::Returned {}, offer.token.clone());
        let report = Report { task: key.task, attempt: key.attempt, offer: offer.offer, instance, what, token };
        self.outbox.put(Parcel { n, run: key.run, report });
        // With a link that is down it may take long to say so.
        self.keep(n, now);
    }
}
