//! Forgetting: the log is purged up to a horizon, the first message of the oldest run that is live or still kept.
//!
//! Purging by sequence costs nearly nothing, purging run by run more than running them. The states in the bucket stay
//! longer, as tombstones of their ids.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rr_nats::{Error, Mesh};
use rr_schemas::{
    id::{EntityId, Partition, RunId},
    view::StatusEntry,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::shell::{Shell, clock};

/// Stands for this duty when coordinators are preferred for partitions; no mesh has so many.
const DUTY: Partition = Partition(u16::MAX);
/// Of the oldest runs that are kept, so many are asked for their first message: submit times may tie or step back a
/// little where the stream's leader changes.
const OLDEST_ASKED: usize = 8;
/// States outlive the histories of their runs by this many times as long, as tombstones of their ids.
const TOMBSTONES_KEPT: i32 = 3;
/// States removed in one sweep: each is a message, and the next sweep goes on.
const REMOVED_AT_ONCE: usize = 10_000;

/// Purges what need not be kept, from time to time. The first time is one pause after the start, so that what waited
/// for a coordinator has its state in the bucket by then.
pub(crate) async fn sweep(shell: Arc<Shell>, stop: CancellationToken) {
    let every = shell.options.sweep_every.as_duration().max(Duration::from_secs(1));
    let mut tick = interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if shell.presence.is_rather_anothers(DUTY) {
            continue;
        }
        let keep = SignedDuration::try_from(shell.options.keep.as_duration()).unwrap_or(SignedDuration::MAX);
        let swept = match clock().saturating_sub(keep) {
            Ok(since) => sweep_once(&shell.mesh, since, keep).await,
            Err(_) => continue,
        };
        match swept {
            Ok(0) => {}
            Ok(purged) => tracing::info!(messages = purged, "old histories forgotten"),
            Err(error) => tracing::warn!(%error, "old histories cannot be forgotten now"),
        }
    }
}

async fn sweep_once(mesh: &Mesh, since: Timestamp, keep: SignedDuration) -> Result<u64, Error> {
    let runs = mesh.statuses().await?;
    let mut horizon = None;
    for run in oldest_kept(&runs, since) {
        let first = mesh.first_of(&EntityId::from(run)).await?;
        horizon = match (horizon, first) {
            (Some(one), Some(other)) => Some(std::cmp::min(one, other)),
            (one, other) => one.or(other),
        };
    }
    for run in forgotten(&runs, since, keep) {
        if let Err(error) = mesh.remove_status(run).await {
            tracing::debug!(run.id = %run, %error, "an old status is not removed yet");
        }
    }
    match horizon {
        Some(seq) => mesh.purge_events_below(seq).await,
        None => Ok(0),
    }
}

/// Runs whose states need not be kept either: long after their histories their ids may be chosen again.
fn forgotten(runs: &[StatusEntry], since: Timestamp, keep: SignedDuration) -> impl Iterator<Item = &RunId> {
    let before = since.checked_sub(keep.saturating_mul(TOMBSTONES_KEPT)).unwrap_or(Timestamp::MIN);
    let is_old = move |entry: &&StatusEntry| entry.view.ended_at.is_some_and(|ended| ended < before);
    runs.iter().filter(is_old).take(REMOVED_AT_ONCE).map(|entry| &entry.view.run)
}

/// The runs whose first messages bound the horizon. Where none is kept, the newest of all stands in, so that what came
/// after it, and has no state in the bucket yet, stays.
fn oldest_kept(runs: &[StatusEntry], since: Timestamp) -> Vec<&RunId> {
    let is_kept = |entry: &&StatusEntry| entry.view.ended_at.is_none_or(|ended| ended >= since);
    let mut kept: Vec<&StatusEntry> = runs.iter().filter(is_kept).collect();
    if kept.is_empty() {
        kept.extend(runs.iter().max_by_key(|entry| entry.view.started_at));
    }
    kept.sort_by_key(|entry| entry.view.started_at);
    kept.into_iter().take(OLDEST_ASKED).map(|entry| &entry.view.run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::{decision::RunStatus, view::RunView};

    fn entry(run: &str, started: i64, ended: Option<i64>) -> StatusEntry {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let view = RunView {
            run: run.parse().unwrap(),
            flow: None,
            status: if ended.is_some() { RunStatus::Succeeded } else { RunStatus::Running },
            started_at: Some(at(started)),
            ended_at: ended.map(at),
            jobs: Vec::new(),
            problems: Vec::new(),
        };
        StatusEntry::new(1, view)
    }

    #[test]
    fn states_go_long_after_their_histories() {
        let runs = [entry("older", 0, Some(59)), entry("old", 0, Some(60)), entry("live", 0, None)];
        let since = Timestamp::from_second(90).unwrap();
        let gone: Vec<&str> = forgotten(&runs, since, SignedDuration::from_secs(10)).map(RunId::as_str).collect();
        assert_eq!(gone, ["older"]);
    }

    #[test]
    fn the_horizon_is_the_oldest_run_that_is_live_or_kept() {
        let since = Timestamp::from_second(100).unwrap();
        for (runs, first) in [
            (vec![], None),
            (vec![entry("old", 10, Some(20)), entry("live", 15, None), entry("new", 150, Some(160))], Some("live")),
            (vec![entry("old", 10, Some(20)), entry("kept", 50, Some(100)), entry("new", 150, None)], Some("kept")),
            (vec![entry("older", 10, Some(20)), entry("old", 30, Some(40))], Some("old")),
        ] {
            assert_eq!(oldest_kept(&runs, since).first().map(|run| run.as_str()), first);
        }
    }
}
