//! Making again what was lost with a stream: timers and states of runs, and offers.
//!
//! Nothing of that is truth: it follows from the histories. Everything here says to the runs only what is so, as inputs,
//! so it may be said by any coordinator, about runs of any partition, and more than once.

use std::{collections::BTreeSet, future::Future, time::Duration};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_nats::{Error, Mesh};
use rr_schemas::id::EntityId;
use tokio::time::sleep;

use crate::{
    entity::Entity,
    load,
    look::{Looks, look_for_lost_offers},
    shell::Shell,
    trouble::TurnError,
};

/// Runs that are dealt with at once.
const AT_ONCE: usize = 16;
/// How often something that fails is tried for one run.
const TRIES: u32 = 10;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// An offer must be missing twice, so far apart: one that is just being made appears meanwhile, and whoever has just
/// taken one reports that it runs (after 250 ms) or gives it back (after 1 s).
const TWICE: Duration = Duration::from_secs(5);

/// Tells every run that is not over, and those of `ahead` of which anything is left, that its timer has fired: it looks at the
/// time, arms the next timer and shows its state, and finds what was acknowledged and is not answered any more. Says how
/// many there were.
pub(crate) async fn wake(shell: &Shell, ahead: &BTreeSet<EntityId>) -> Result<usize, Error> {
    let told = unfinished(&shell.mesh, ahead).await?.into_iter().map(|entity| async move {
        let told = persist(|| shell.mesh.tell_fired(&entity, &shell.instance)).await;
        told.map_err(|error| Error::Unreachable(format!("run {entity} is not woken: {error}")))
    });
    let told: Vec<Result<(), Error>> = stream::iter(told).buffer_unordered(AT_ONCE).collect().await;
    let n = told.len();
    told.into_iter().collect::<Result<(), Error>>().map(|()| n)
}

/// Notes for every run that is not over which of its offers are gone, so that they are made again. Says how many runs
/// have lost some.
pub(crate) async fn offer_again(shell: &Shell) -> Result<usize, Error> {
    let runs: Vec<(EntityId, Looks)> =
        runs_with_lost_offers(shell, unfinished(&shell.mesh, &BTreeSet::new()).await?).await;
    if runs.is_empty() {
        return Ok(0);
    }
    sleep(TWICE).await;
    let noted = stream::iter(runs.into_iter().map(|(entity, lost)| async move {
        let noted = persist(|| note_lost(shell, &entity, &lost)).await;
        noted.unwrap_or_else(|error| {
            tracing::error!(run.id = %entity, %error, "offers of a run are not made again before their time");
            false
        })
    }));
    let noted: Vec<bool> = noted.buffer_unordered(AT_ONCE).collect().await;
    Ok(noted.into_iter().filter(|noted| *noted).count())
}

async fn runs_with_lost_offers(shell: &Shell, runs: BTreeSet<EntityId>) -> Vec<(EntityId, Looks)> {
    let looked = stream::iter(runs.into_iter().map(|entity| async move {
        let lost = persist(|| lost_offers(shell, &entity)).await.map(|(_, lost)| lost);
        match lost {
            Ok(lost) => Some((entity, lost)).filter(|(_, lost)| !lost.is_empty()),
            Err(error) => {
                tracing::error!(run.id = %entity, %error, "it is unknown which offers of a run are gone");
                None
            }
        }
    }));
    let looked: Vec<_> = looked.buffer_unordered(AT_ONCE).collect().await;
    looked.into_iter().flatten().collect()
}

/// Attempts that are offered, as far as anybody knows, and have no offer.
async fn lost_offers(shell: &Shell, entity: &EntityId) -> Result<(Box<Entity>, Looks), TurnError> {
    let history = shell.mesh.history(entity, 0).await?;
    let (entity, _) = load::fold(shell, entity, history)?;
    let waiting = shell.mesh.offers(&entity.run_id).await?;
    let mut lost = Looks::new();
    for look in entity.run.looks(Timestamp::MAX).into_iter().filter(|look| look.holder.is_none()) {
        lost.extend(look.tasks.iter().map(|task| (task, look.attempt, look.offer)));
    }
    lost.retain(|(task, attempt, _)| !waiting.contains(&(*task, *attempt)));
    Ok((entity, lost))
}

async fn note_lost(shell: &Shell, entity: &EntityId, before: &Looks) -> Result<bool, TurnError> {
    let (entity, now) = lost_offers(shell, entity).await?;
    let still: BTreeSet<_> = now.intersection(before).copied().collect();
    look_for_lost_offers(shell, &entity, &still).await
}

async fn unfinished(mesh: &Mesh, ahead: &BTreeSet<EntityId>) -> Result<BTreeSet<EntityId>, Error> {
    persist(|| mesh.living(ahead)).await
}

/// Tries again for a while: other parts of the mesh may be missing, too.
async fn persist<T, E, F: Future<Output = Result<T, E>>>(attempt: impl Fn() -> F) -> Result<T, E> {
    for _ in 1..TRIES {
        if let Ok(done) = attempt().await {
            return Ok(done);
        }
        sleep(PAUSE).await;
    }
    attempt().await
}
