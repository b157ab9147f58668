//! What is owed after something was made anew, and the one recovery that is under way.
//!
//! Invariant: what is owed stays so until a recovery has told that it is done. One that does not succeed, or ends without a word,
//! as by a panic, leaves all of it owed, with every run that it was to wake.

use std::{collections::BTreeSet, future::Future};

use rr_schemas::id::EntityId;
use tokio::task::{JoinError, JoinSet};

/// What is to be done after something was made anew.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Recovery {
    /// Who looks after all runs for the first time remembers nothing, and a server that comes back may have lost more than shows:
    /// timers may have gone, or first decisions whose requests count as answered, and nobody has seen that. Every run that is
    /// not over arms its own, and answers what is not.
    Begin,
    /// Armed timers and states are gone, or of later than the log: every run that is not over arms its own and shows its
    /// own again.
    Wake,
    /// Offers are gone: those that nobody holds are made again.
    Offers,
}

/// What is owed.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    owed: BTreeSet<Recovery>,
    /// Runs to be woken whose states may say that they are over, and whose histories do not.
    ahead: BTreeSet<EntityId>,
    /// What the recovery that is under way does, and the runs beyond all open ones that it wakes.
    begun: Option<(Recovery, BTreeSet<EntityId>)>,
    /// It, one at most. Says whether it succeeded.
    under_way: JoinSet<bool>,
}

impl Recoveries {
    /// From now on this is to be done.
    pub(super) fn owe(&mut self, recovery: Recovery) {
        self.owed.insert(recovery);
    }

    /// From now on all open runs are to be woken, and these.
    pub(super) fn owe_waking(&mut self, runs: impl IntoIterator<Item = EntityId>) {
        self.ahead.extend(runs);
        self.owe(Recovery::Wake);
    }

    /// Begins what is owed, one after the other: `recover` makes the work, which says whether it succeeded. What does not is owed
    /// further on: the next look tries again.
    pub(super) fn begin<F>(&mut self, recover: impl FnOnce(Recovery, BTreeSet<EntityId>) -> F)
    where
        F: Future<Output = bool> + Send + 'static,
    {
        if !self.under_way.is_empty() {
            return;
        }
        let Some(recovery) = self.owed.pop_first() else { return };
        let ahead = match recovery {
            Recovery::Wake => std::mem::take(&mut self.ahead),
            Recovery::Begin | Recovery::Offers => BTreeSet::new(),
        };
        self.begun = Some((recovery, ahead.clone()));
        self.under_way.spawn(recover(recovery, ahead));
    }

    /// Waits for the end of the recovery that is under way; for ever where none is. May be dropped at any time.
    pub(super) async fn ended(&mut self) {
        match self.under_way.join_next().await {
            Some(ended) => self.settle(ended),
            None => std::future::pending().await,
        }
    }

    fn settle(&mut self, ended: Result<bool, JoinError>) {
        let Some((recovery, ahead)) = self.begun.take() else { return };
        let has_succeeded = ended.unwrap_or_else(|error| {
            let runs = ahead.len();
            tracing::error!(?recovery, runs, %error, "a recovery broke off, which is a bug of rr; it is tried again");
            false
        });
        if !has_succeeded {
            self.owe(recovery);
            self.ahead.extend(ahead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is begun next, with the runs that it wakes; it ends as `end` says.
    async fn next(
        recoveries: &mut Recoveries,
        end: impl FnOnce() -> bool + Send + 'static,
    ) -> Option<(Recovery, BTreeSet<EntityId>)> {
        let mut begun = None;
        recoveries.begin(|recovery, ahead| {
            begun = Some((recovery, ahead));
            async move { end() }
        });
        if begun.is_some() {
            recoveries.ended().await;
        }
        begun
    }

    #[tokio::test]
    async fn a_recovery_that_fails_or_panics_is_owed_further_on_with_the_runs_that_it_was_to_wake() {
        let run: EntityId = "r1".parse().unwrap();
        let wake = Some((Recovery::Wake, BTreeSet::from([run.clone()])));
        let mut recoveries = Recoveries::default();
        recoveries.owe_waking([run]);
        assert_eq!(next(&mut recoveries, || false).await, wake);
        assert_eq!(next(&mut recoveries, || panic!("a bug")).await, wake, "it had failed");
        assert_eq!(next(&mut recoveries, || true).await, wake, "it had panicked");
        assert_eq!(next(&mut recoveries, || true).await, None, "it is done");
    }

    #[tokio::test]
    async fn what_comes_to_be_owed_while_something_is_under_way_is_done_next() {
        let [early, late]: [EntityId; 2] = ["r1", "r2"].map(|run| run.parse().unwrap());
        let mut recoveries = Recoveries::default();
        recoveries.owe_waking([early]);
        recoveries.begin(|_, _| async { true });
        recoveries.owe(Recovery::Offers);
        recoveries.owe_waking([late.clone()]);
        recoveries.begin(|recovery, _| async move { unreachable!("{recovery:?}, one at most is under way") });
        recoveries.ended().await;
        assert_eq!(next(&mut recoveries, || true).await, Some((Recovery::Wake, BTreeSet::from([late]))));
        assert_eq!(next(&mut recoveries, || true).await, Some((Recovery::Offers, BTreeSet::new())));
        assert_eq!(next(&mut recoveries, || true).await, None);
    }
}
