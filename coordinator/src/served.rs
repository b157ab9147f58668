//! Which targets are served: by somebody who is present, and whose lane has them.
//!
//! Presence is a worker's own word. A worker that shows hosts which its lane does not have would make their offers wait
//! for ever, so it is asked what its durable has; see `lanes` for how long an answer is remembered. A queue has lanes of
//! its own, of which nobody knows who pulls: there the word of a worker counts.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use rr_nats::subject::host_durable;
use rr_schemas::{name::WorkerName, offer::Target};

use crate::{shell::Shell, trouble::TurnError};

/// Lanes that are asked for at once: of a thousand workers each is asked once a minute at most.
const ASKED_AT_ONCE: usize = 64;

/// Those of the targets that somebody serves.
pub(crate) async fn served(
    shell: &Shell,
    targets: impl IntoIterator<Item = Target>,
) -> Result<BTreeSet<Target>, TurnError> {
    let targets: BTreeSet<Target> = targets.into_iter().collect();
    learn(shell, &targets).await;
    let mut served = BTreeSet::new();
    for target in targets {
        if serves(shell, &target).await? {
            served.insert(target);
        }
    }
    Ok(served)
}

/// Asks for many lanes at once of which nothing is known. What fails is asked for again, where it is needed.
async fn learn(shell: &Shell, targets: &BTreeSet<Target>) {
    let mut workers = BTreeSet::new();
    for target in targets {
        workers.extend(who_shows(shell, target));
    }
    let unknown = workers.into_iter().filter(|worker| !shell.lanes.is_known(worker));
    let asked = unknown.map(|worker| async move { shell.lanes.learn(&shell.mesh, &worker).await.is_ok() });
    let asked: Vec<_> = asked.collect();
    stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).count().await;
}

fn who_shows(shell: &Shell, target: &Target) -> Vec<WorkerName> {
    match target {
        Target::Host(host) => shell.presence.who_shows(host),
        Target::Worker(worker) if shell.presence.is_here(worker) => vec![worker.clone()],
        Target::Worker(_) | Target::Queue(_) => Vec::new(),
    }
}

async fn serves(shell: &Shell, target: &Target) -> Result<bool, TurnError> {
    if let Target::Queue(_) = target {
        return Ok(shell.presence.serves(target));
    }
    for worker in who_shows(shell, target) {
        let has = match target {
            Target::Host(host) => shell.lanes.serves(&shell.mesh, &worker, host).await?,
            Target::Worker(_) | Target::Queue(_) => shell.lanes.has_lane(&shell.mesh, &worker).await?,
        };
        // A lane that somebody has removed is made again in moments.
        if has || (shell.lanes.is_gone(&worker) && shell.known_lanes.knows(&host_durable(&worker))) {
            return Ok(true);
        }
    }
    Ok(false)
}
