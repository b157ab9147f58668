//! Workers whose consumers are gone and cannot be made again: what they acknowledge stays on offer.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use rr_schemas::name::WorkerName;
use tokio::time::Instant;

use super::LOOK_EVERY;

/// Longest pause between two looks at what one worker's hosts have on offer. Each costs every offer's subject and the state
/// of each run among them, and a consumer that cannot be made again stays so until a person mends it. What is
/// over is on offer for no longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// Workers whose consumers cannot be made again, and when they are looked at next: at once, and then less and less often.
#[derive(Debug, Default)]
pub(super) struct InVain(HashMap<WorkerName, Turn>);

#[derive(Clone, Copy, Debug)]
struct Turn {
    next: Instant,
    pause: Duration,
}

impl InVain {
    /// Whether it is a worker's turn, whose consumer could not be made again just now.
    pub(super) fn is_due(&mut self, worker: &WorkerName, now: Instant) -> bool {
        let turn = self.0.entry(worker.clone()).or_insert(Turn { next: now, pause: LOOK_EVERY });
        if now < turn.next {
            return false;
        }
        *turn = Turn { next: now + turn.pause, pause: turn.pause.saturating_mul(2).min(PAUSE_MAX) };
        true
    }

    /// Forgets everybody but those whose consumers cannot be made again now.
    pub(super) fn keep_only(&mut self, in_vain: &BTreeSet<WorkerName>) {
        self.0.retain(|worker, _| in_vain.contains(worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_looked_at_at_once_and_then_less_and_less_often() {
        let mut in_vain = InVain::default();
        let [worker, other]: [WorkerName; 2] = ["w1", "w2"].map(|name| name.parse().unwrap());
        let begun = Instant::now();
        let at = |looks: u32| begun + LOOK_EVERY * looks;
        let due: Vec<u32> = (0..40).filter(|look| in_vain.is_due(&worker, at(*look))).collect();
        assert_eq!(due, [0, 1, 3, 7, 15, 23, 31, 39]);
        assert!(in_vain.is_due(&other, at(39)), "each has its own pause");
        in_vain.keep_only(&BTreeSet::from([other.clone()]));
        assert!(in_vain.is_due(&worker, at(39)), "whose consumer was there meanwhile begins anew");
        assert!(!in_vain.is_due(&other, at(39)));
    }
}
