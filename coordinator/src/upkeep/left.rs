//! What is over and was left on offer to hosts: its acknowledgement went to a consumer that was gone by then, or never went, and
//! nobody is there for whom that consumer would be made again. Whoever serves the host next would run it once more.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use rr_nats::{Error, Mesh};
use rr_schemas::{id::RunId, presence::Hosts};
use tokio::time::Instant;

/// Pause between two looks. Each costs every subject of an offer to a host, and the states of the runs that have some.
const PAUSE: Duration = Duration::from_secs(16);
/// Runs whose states are asked for in one look: each takes the server well below a millisecond, and the next look goes on with the
/// others.
const RUNS_MAX: usize = 1_000;
/// Runs that are asked after at once.
const AT_ONCE: usize = 16;
/// How long a run is over before what it has on offer counts as left: who has ended an attempt acknowledges its offer in a moment.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);

/// When it is looked for next, and behind which run.
#[derive(Debug, Default)]
pub(super) struct Left {
    next: Option<Instant>,
    behind: Option<RunId>,
}

impl Left {
    /// Whether it is time to look.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.next = Some(now + PAUSE);
        true
    }

    /// Takes away what runs have on offer that are over since a while.
    pub(super) async fn forget(&mut self, mesh: &Mesh, now: Timestamp) -> Result<(), Error> {
        let turn = self.turn(mesh.offering(&Hosts::All).await?);
        take_away(mesh, turn, now.checked_sub(SETTLED).unwrap_or(Timestamp::MIN)).await
    }

    /// The runs whose turn it is.
    fn turn(&mut self, runs: BTreeSet<RunId>) -> Vec<RunId> {
        let is_behind = |run: &RunId| self.behind.as_ref().is_none_or(|behind| run > behind);
        let (mut turn, first): (Vec<RunId>, Vec<RunId>) = runs.into_iter().partition(is_behind);
        turn.extend(first);
        turn.truncate(RUNS_MAX);
        self.behind = turn.last().cloned();
        turn
    }
}

/// Takes away what those of these runs have on offer that ended at this time at the latest. One that cannot be asked after keeps
/// none of the others from it.
///
/// # Errors
/// The first one.
pub(super) async fn take_away(
    mesh: &Mesh,
    runs: impl IntoIterator<Item = RunId>,
    latest: Timestamp,
) -> Result<(), Error> {
    let looks = runs.into_iter().map(|run| async move {
        if is_over(mesh, &run, latest).await? {
            let left = mesh.withdraw_run(&run).await?;
            tracing::info!(run.id = %run, offers = left, "what was left on offer of a run that is over is taken away");
        }
        Ok(())
    });
    let looked: Vec<Result<(), Error>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    looked.into_iter().collect()
}

/// Whether a run ended at this time at the latest, by its state and by its history: a log that has lost its end leaves states that say
/// more than it does. What cannot be read says nothing.
async fn is_over(mesh: &Mesh, run: &RunId, latest: Timestamp) -> Result<bool, Error> {
    let entry = match mesh.status(run).await {
        Ok(Some(entry)) => entry,
        Ok(None) | Err(Error::Answer(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    if !(entry.view.status.is_final() && entry.view.ended_at.is_some_and(|ended| ended <= latest)) {
        return Ok(false);
    }
    let last = mesh.last_decision(&run.into()).await?;
    Ok(last.and_then(|last| last.decision.ok()).is_some_and(|last| last.n >= entry.n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_once_and_then_after_a_pause() {
        let (mut left, begun) = (Left::default(), Instant::now());
        let due: Vec<u64> = (0..40).filter(|second| left.is_due(begun + Duration::from_secs(*second))).collect();
        assert_eq!(due, [0, 16, 32]);
    }

    #[test]
    fn every_run_has_its_turn_however_many_there_are() {
        let run = |n: usize| -> RunId { format!("r{n:05}").parse().unwrap() };
        let runs: BTreeSet<RunId> = (0..RUNS_MAX * 2 + 5).map(run).collect();
        let mut left = Left::default();
        let turns: Vec<Vec<RunId>> = (0..3).map(|_| left.turn(runs.clone())).collect();
        assert!(turns.iter().all(|turn| turn.len() == RUNS_MAX));
        assert_eq!(turns.concat().into_iter().collect::<BTreeSet<_>>(), runs);
        assert_eq!(turns[2][5], run(0), "it begins anew behind the last one");
        assert_eq!(left.turn(BTreeSet::from([run(7)])), [run(7)], "a few all have their turn");
    }
}
