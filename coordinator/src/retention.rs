//! Forgetting: the log is purged up to a horizon, the first request of the oldest run that is live or still kept.
//!
//! Purging by sequence costs nearly nothing, purging run by run more than running them. So what is old goes by the
//! horizon, and only behind a run that holds it back, for a while and one by one. The states in the bucket stay longer,
//! as tombstones of their ids.
//!
//! Invariant: nothing is forgotten of which it is not known that its run is over for long. The states in the bucket are
//! a projection, so where one is missing or cannot be read the run's own history is asked, and where there is no history
//! either, whether the request was answered at all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rr_nats::{Answered, Error, Mesh, OldRequest, OldRequests, OldStatus, StoredDecision};
use rr_schemas::id::{EntityId, Partition, RunId};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::shell::Shell;

/// Whoever has this partition forgets for all of them, what is old and what is left on offer; every mesh has it.
pub(crate) const DUTY: Partition = Partition(0);
/// States outlive the histories of their runs by this many times as long, as tombstones of their ids.
const TOMBSTONES_KEPT: i32 = 3;
/// States removed in one sweep: each is a message, and the next sweep goes on.
const REMOVED_AT_ONCE: usize = 10_000;
/// Requests looked at in one sweep: each asks for a state, 20,000 of them take about a second.
const REQUESTS_MAX: usize = 500_000;
/// How long one sweep may go on purging run by run behind a run that holds the horizon back. It takes a few milliseconds
/// a run, and every other publish waits meanwhile.
const ONE_BY_ONE: Duration = Duration::from_secs(20);

/// Purges what need not be kept, from time to time.
pub(crate) async fn sweep(shell: Arc<Shell>, stop: CancellationToken) {
    let every = shell.options.sweep_every.as_duration().max(Duration::from_secs(1));
    let mut tick = interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut begun = Begun::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if shell.presence.is_rather_anothers(DUTY) {
            continue;
        }
        let keep = SignedDuration::try_from(shell.options.keep.as_duration()).unwrap_or(SignedDuration::MAX);
        let Ok(since) = shell.clock().saturating_sub(keep) else { continue };
        let swept = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = sweep_once(&shell.mesh, since, keep, &mut begun) => swept,
        };
        match swept {
            Ok(Swept { messages: 0, runs: 0 }) => {}
            Ok(Swept { messages, runs }) => tracing::info!(messages, runs, "old histories forgotten"),
            Err(error) => tracing::warn!(%error, "old histories cannot be forgotten now"),
        }
    }
}

/// What one sweep came to.
#[derive(Clone, Copy, Debug, Default)]
struct Swept {
    /// Messages below the horizon.
    messages: u64,
    /// Runs that were purged one by one.
    runs: u64,
}

async fn sweep_once(mesh: &Mesh, since: Timestamp, keep: SignedDuration, begun: &mut Begun) -> Result<Swept, Error> {
    begun.finish(mesh, since).await?;
    let mut requests = mesh.old_requests().await?;
    let swept = walk(mesh, since, &mut requests, begun).await;
    requests.close().await;
    let before = since.checked_sub(keep.saturating_mul(TOMBSTONES_KEPT)).unwrap_or(Timestamp::MIN);
    for (run, judged) in forgotten(&mesh.old_statuses(before, REMOVED_AT_ONCE).await?, before) {
        // A state that was written meanwhile is not the one that was judged, and stays.
        if let Err(error) = mesh.remove_status(run, judged).await {
            tracing::debug!(run.id = %run, %error, "an old status is not removed yet");
        }
    }
    swept
}

/// From the oldest request on: the first one whose run must be kept is the horizon.
async fn walk(mesh: &Mesh, since: Timestamp, requests: &mut OldRequests, begun: &mut Begun) -> Result<Swept, Error> {
    let mut judge = Judge { mesh, since, answered: HashMap::new() };
    let mut swept = Swept::default();
    let mut horizon = None;
    let mut last = None;
    let mut until = None;
    let mut over = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let Some(request) = requests.next().await? else { break };
        // A run is not over before it is asked for.
        if request.at >= since || until.is_some_and(|until| Instant::now() > until) {
            last = Some(request.seq);
            break;
        }
        let is_over = judge.is_over(&request).await?;
        if !is_over {
            horizon.get_or_insert(request.seq);
            until.get_or_insert_with(|| Instant::now() + ONE_BY_ONE);
        } else if horizon.is_some() {
            begun.purge(mesh, RunId::from(request.entity.clone())).await?;
            swept.runs += 1;
        } else {
            over.push(request.entity);
        }
        last = Some(request.seq);
    }
    // What a run that is over has behind the horizon would outlive its request, and nobody would look for it any more.
    if let Some(horizon) = horizon {
        for entity in over {
            if mesh.last_decision(&entity).await?.is_some_and(|last| last.seq >= horizon) {
                begun.purge(mesh, RunId::from(entity)).await?;
                swept.runs += 1;
            }
        }
    }
    // The newest request stays, so that what follows it does.
    if let Some(seq) = horizon.or(last) {
        swept.messages = mesh.purge_events_below(seq).await?;
    }
    Ok(swept)
}

/// Runs whose purge has begun and is not known to be done. The inputs of a run go before its decisions, so it may have no
/// request any more by which a walk would find it. A sweep ends with its first failure, so there are one or two at most. If
/// this process ends first, the horizon passes over what is left.
#[derive(Debug, Default)]
struct Begun(BTreeSet<RunId>);

impl Begun {
    async fn purge(&mut self, mesh: &Mesh, run: RunId) -> Result<(), Error> {
        self.0.insert(run.clone());
        mesh.purge_run(&run).await?;
        self.0.remove(&run);
        Ok(())
    }

    /// Does what is left to be done, unless the id has become another run's meanwhile.
    async fn finish(&mut self, mesh: &Mesh, since: Timestamp) -> Result<(), Error> {
        for run in self.0.clone() {
            let history = mesh.history(&EntityId::from(&run), 0).await?;
            if matches!(ended(&history), Ended::At(ended) if ended < since) {
                mesh.purge_run(&run).await?;
            }
            self.0.remove(&run);
        }
        Ok(())
    }
}

/// Knows which runs are over for long.
struct Judge<'a> {
    mesh: &'a Mesh,
    since: Timestamp,
    answered: HashMap<Partition, Answered>,
}

impl Judge<'_> {
    async fn is_over(&mut self, request: &OldRequest) -> Result<bool, Error> {
        match self.mesh.status(&RunId::from(request.entity.clone())).await {
            Ok(Some(entry)) => return Ok(entry.view.ended_at.is_some_and(|ended| ended < self.since)),
            Ok(None) | Err(Error::Answer(_)) => {}
            Err(error) => return Err(error),
        }
        let history = self.mesh.history(&request.entity, 0).await?;
        match ended(&history) {
            Ended::At(ended) => Ok(ended < self.since),
            Ended::NotYet => Ok(false),
            // Nothing followed from it, or nothing yet.
            Ended::Never => Ok(self.answered(&request.entity).await?.covers(request.seq)),
        }
    }

    async fn answered(&mut self, entity: &EntityId) -> Result<Answered, Error> {
        let partition = self.mesh.partition_of(entity);
        if let Some(answered) = self.answered.get(&partition) {
            return Ok(*answered);
        }
        let answered = self.mesh.answered(partition).await?;
        self.answered.insert(partition, answered);
        Ok(answered)
    }
}

/// What a history says of its end.
#[derive(Debug, Eq, PartialEq)]
enum Ended {
    At(Timestamp),
    NotYet,
    /// There is no history.
    Never,
}

fn ended(history: &[StoredDecision]) -> Ended {
    if history.is_empty() {
        return Ended::Never;
    }
    let decisions = history.iter().filter_map(|stored| stored.decision.as_ref().ok());
    let ends = decisions.flat_map(|decision| &decision.events).filter(|record| record.event.is_end());
    ends.map(|record| record.at).max().map_or(Ended::NotYet, Ended::At)
}

/// Runs whose states need not be kept either, and the sequences of those states: long after their histories their ids may
/// be chosen again.
fn forgotten(states: &[OldStatus], before: Timestamp) -> impl Iterator<Item = (&RunId, u64)> {
    let is_old = move |state: &&OldStatus| state.entry.view.ended_at.is_some_and(|ended| ended < before);
    states.iter().filter(is_old).map(|state| (&state.entry.view.run, state.seq))
}
