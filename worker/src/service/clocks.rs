//! The times of all attempts, without a timer for each.
//!
//! Every attempt waits for the same spans, so two queues are in order by themselves: one for the moment at which an attempt
//! is no longer short, one for the next sign of life. Attempts that are over stay in them until their time comes,
//! and are passed over then; the second queue knows only those that were not short.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What time it is for an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// It has lived longer than a moment.
    Aged(u64),
    /// Its offer needs a sign of life.
    Sign(u64),
}

/// The times of all attempts.
#[derive(Debug)]
pub(super) struct Clocks {
    age: Duration,
    pause: Duration,
    young: VecDeque<(Instant, u64)>,
    kept: VecDeque<(Instant, u64)>,
}

impl Clocks {
    /// An attempt is no longer short after `age`; signs of life are given with a pause of `pause`.
    pub(super) fn new(age: Duration, pause: Duration) -> Self {
        Self { age, pause, young: VecDeque::new(), kept: VecDeque::new() }
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, n: u64, now: Instant) {
        self.young.push_back((now + self.age, n));
    }

    /// An attempt's offer has just shown a sign of life, or been delivered.
    pub(super) fn keep(&mut self, n: u64, now: Instant) {
        self.kept.push_back((now + self.pause, n));
    }

    /// What is due, one after the other.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if let Some((_, n)) = self.young.pop_front_if(|(at, _)| *at <= now) {
            return Some(Due::Aged(n));
        }
        self.kept.pop_front_if(|(at, _)| *at <= now).map(|(_, n)| Due::Sign(n))
    }

    /// Whether some attempt began a moment ago: such a one may end as soon.
    pub(super) fn has_young(&self) -> bool {
        !self.young.is_empty()
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.young.front(), self.kept.front()].into_iter().flatten().map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Clocks, Due};

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut clocks = Clocks::new(Duration::from_millis(250), Duration::from_secs(10));
        clocks.begin(1, at(0));
        clocks.begin(2, at(10));
        clocks.keep(3, at(0));
        assert_eq!(clocks.next(), Some(at(250)));
        assert_eq!(clocks.due(at(249)), None);
        assert_eq!(clocks.due(at(250)), Some(Due::Aged(1)));
        assert_eq!(clocks.due(at(250)), None);
        assert!(clocks.has_young());
        assert_eq!(clocks.due(at(20_000)), Some(Due::Aged(2)));
        assert!(!clocks.has_young());
        assert_eq!(clocks.due(at(20_000)), Some(Due::Sign(3)));
        assert_eq!((clocks.due(at(20_000)), clocks.next()), (None, None));
    }
}
