//! What is owed to the world after a turn and may wait a moment: the armed timer and the status.
//!
//! A run that ends within that moment never arms a timer and writes its status once. While anything is owed, at least
//! one input of the entity stays unacknowledged: after a crash it comes again, wakes the next coordinator, and a load
//! pays at once.

use std::time::Duration;

use jiff::Timestamp;
use rr_nats::Armed;
use tokio::time::Instant;

use crate::timer::Known;

/// A deadline nearer than this is armed at once: waiting for the end of the run would delay what is due.
const SOON: Duration = Duration::from_secs(1);

/// What an entity owes.
#[derive(Debug)]
pub(crate) struct Debts {
    /// What is known of its timer.
    timer: Known,
    /// Number of the decision that the status in the bucket shows, 0 for none.
    shown: u64,
    /// When what is owed must be paid at the latest.
    due: Option<Instant>,
    /// Nothing may wait: nobody knows what was done before, or what was armed has fired.
    urgent: bool,
    /// A note is on its way that moves the deadlines which have come.
    awaits_note: bool,
    /// The deadlines that have come could not be looked after; again not before this instant.
    put_off: Option<Timestamp>,
}

/// What the entity is like after its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// What its timer must be armed for.
    pub(crate) deadline: Option<Timestamp>,
    /// Number of its last decision.
    pub(crate) n: u64,
    /// Whether nothing more will happen.
    pub(crate) is_final: bool,
}

/// When debts must be paid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// Nothing is owed.
    Nothing,
    /// At this instant.
    Later(Instant),
    /// Before the inputs are acknowledged.
    Now,
}

impl Debts {
    /// Of an entity that has just begun.
    pub(crate) const fn of_new() -> Self {
        Self { timer: Known::Nothing, shown: 0, due: None, urgent: false, awaits_note: false, put_off: None }
    }

    /// Of an entity that was loaded: whatever was owed before is unknown and owed again, at once.
    pub(crate) const fn of_loaded() -> Self {
        Self { timer: Known::Unclear, shown: 0, due: None, urgent: true, awaits_note: false, put_off: None }
    }

    /// A fired timer voids every arming before it.
    pub(crate) const fn fired(&mut self) {
        self.timer = self.timer.fired();
        // Perhaps it was told because the bucket is empty; the writer knows better.
        self.shown = 0;
        self.urgent = true;
        self.awaits_note = false;
        self.put_off = None;
    }

    /// A note is on its way that moves the deadlines which have come; arming for them would only fire for nothing.
    pub(crate) const fn awaits_note(&mut self) {
        self.urgent = false;
        self.awaits_note = true;
    }

    /// What is due cannot be looked after now.
    pub(crate) const fn put_off(&mut self, until: Timestamp) {
        self.put_off = Some(until);
    }

    /// It is woken by this timer.
    pub(crate) const fn armed(&mut self, armed: Armed) {
        self.timer = Known::Armed(armed);
    }

    /// What is known of its timer.
    pub(crate) fn known(&self, clock: Timestamp) -> Known {
        self.timer.at(clock)
    }

    pub(crate) const fn shown(&mut self, n: u64) {
        self.shown = n;
    }

    /// The instant by which its timer must fire, where it is not known that it does.
    pub(crate) fn timer(&self, standing: &Standing, clock: Timestamp) -> Option<Timestamp> {
        let deadline = standing.deadline.map(|deadline| self.put_off.map_or(deadline, |until| until.max(deadline)));
        deadline.filter(|deadline| !self.known(clock).fires_by(*deadline))
    }

    /// Whether its status must be written anew.
    pub(crate) const fn status(&self, standing: &Standing) -> bool {
        self.shown != standing.n
    }

    /// When its debts must be paid; `wait` is how long they may wait, `clock` the time of day.
    pub(crate) fn due(&mut self, standing: &Standing, wait: Duration, now: Instant, clock: Timestamp) -> Due {
        let timer = self.timer(standing, clock);
        let status = self.status(standing);
        if timer.is_none() && !status {
            self.paid();
            return Due::Nothing;
        }
        let due = *self.due.get_or_insert(now + wait);
        let near = timer.is_some_and(|deadline| clock.checked_add(SOON).is_ok_and(|soon| deadline <= soon));
        if self.urgent || (standing.is_final && status) || (near && !self.awaits_note) || due <= now {
            Due::Now
        } else {
            Due::Later(due)
        }
    }

    /// When what is owed must be paid; none where nothing is owed.
    pub(crate) const fn owed(&self) -> Option<Instant> {
        self.due
    }

    /// Everything is paid.
    pub(crate) const fn paid(&mut self) {
        self.due = None;
        self.urgent = false;
        self.awaits_note = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(250);

    fn clock() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn armed(secs: i64) -> Known {
        Known::Armed(Armed { at: at(secs), seq: 7 })
    }

    fn standing(deadline: Option<Timestamp>, n: u64, is_final: bool) -> Standing {
        Standing { deadline, n, is_final }
    }

    #[test]
    fn a_new_run_may_owe_for_a_moment_and_pays_then() {
        let mut debts = Debts::of_new();
        let now = Instant::now();
        assert_eq!(debts.due(&standing(Some(at(60)), 1, false), WAIT, now, clock()), Due::Later(now + WAIT));
        let later = now + Duration::from_millis(100);
        assert_eq!(debts.due(&standing(Some(at(60)), 2, false), WAIT, later, clock()), Due::Later(now + WAIT));
        assert_eq!(debts.due(&standing(Some(at(60)), 2, false), WAIT, now + WAIT, clock()), Due::Now);
    }

    #[test]
    fn an_ended_run_writes_its_status_at_once_and_arms_nothing() {
        let mut debts = Debts::of_new();
        let ended = standing(None, 2, true);
        assert_eq!(debts.due(&ended, WAIT, Instant::now(), clock()), Due::Now);
        assert_eq!(debts.timer(&ended, clock()), None);
        debts.shown(2);
        assert_eq!(debts.due(&ended, WAIT, Instant::now(), clock()), Due::Nothing);
    }

    #[test]
    fn what_cannot_wait_is_paid_now() {
        let now = Instant::now();
        let waiting = standing(Some(at(60)), 1, false);
        let near = standing(Some(at(0)), 1, false);
        assert_eq!(Debts::of_loaded().due(&waiting, WAIT, now, clock()), Due::Now);
        let mut paid =
            Debts { timer: armed(60), shown: 1, due: None, urgent: false, awaits_note: false, put_off: None };
        assert_eq!(paid.due(&waiting, WAIT, now, clock()), Due::Nothing);
        assert_eq!(paid.due(&near, WAIT, now, clock()), Due::Now, "an earlier deadline appeared");
        paid.fired();
        assert_eq!(paid.due(&waiting, WAIT, now, clock()), Due::Now, "its timer has fired");
    }

    #[test]
    fn a_timer_is_armed_anew_only_for_an_earlier_deadline() {
        let debts = Debts { timer: armed(60), shown: 1, due: None, urgent: false, awaits_note: false, put_off: None };
        for (deadline, timer) in
            [(None, None), (Some(at(70)), None), (Some(at(60)), None), (Some(at(50)), Some(at(50)))]
        {
            assert_eq!(debts.timer(&standing(deadline, 1, false), clock()), timer, "{deadline:?}");
        }
    }

    #[test]
    fn what_is_put_off_is_armed_for_later() {
        let mut debts = Debts::of_loaded();
        debts.fired();
        debts.put_off(at(2));
        for (deadline, timer) in [(None, None), (Some(at(-5)), Some(at(2))), (Some(at(3)), Some(at(3)))] {
            assert_eq!(debts.timer(&standing(deadline, 1, false), clock()), timer, "{deadline:?}");
        }
    }

    #[test]
    fn a_deadline_that_a_note_will_move_is_not_armed_for_at_once() {
        let mut debts =
            Debts { timer: armed(0), shown: 1, due: None, urgent: false, awaits_note: false, put_off: None };
        debts.fired();
        debts.awaits_note();
        let now = Instant::now();
        assert_eq!(debts.due(&standing(Some(at(0)), 1, false), WAIT, now, clock()), Due::Later(now + WAIT));
    }
}
