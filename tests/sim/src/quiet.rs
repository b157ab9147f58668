//! What follows the last fault: every run ends, and nothing is left of it.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use rr_model::Model;
use rr_nats::Mesh;
use rr_schemas::{flow::select::Labels, id::RunId, name::Name};
use rr_worker::config::{Hosts, Serves};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    case::{Case, WorkerPlan},
    clock::WorldTime,
    judge::Complaint,
    machine::{Machine, Site},
    user::{self, wait_for_end},
    world::{ANSWERS, read},
};

/// How long a run may take once nothing goes wrong any more. The slowest flows that are drawn take a third of it.
const BOUND: Duration = Duration::from_mins(10);
/// When a person cancels what waits for a person.
const PATIENCE: Duration = Duration::from_mins(4);
/// How long everybody lives on behind the end of the last run: whatever was said is answered by then, and what is left of runs
/// is taken away.
const QUIET: Duration = Duration::from_secs(10);
/// How long what is left may wait beyond that. A server that has another leader has forgotten who asked for offers, and whoever asked
/// notices after three missed signs of life, 5 s apart; an answer that never came is waited for as long.
const LEFT: Duration = Duration::from_secs(25);

/// Waits until nothing is on offer of runs that are over, and all that may not be believed is in the quarantine, with another
/// worker where the others do not suffice; but not for ever: the judge finds what is left.
pub(crate) async fn nothing_is_left(
    mesh: &Mesh,
    runs: &[RunId],
    site: &Arc<Site>,
    relief: Option<Machine>,
    machines: &mut Vec<Machine>,
) {
    sleep(QUIET).await;
    let is_left = !is_settled(mesh, runs, &site.model).await;
    if let Some(mut relief) = relief.filter(|_| is_left) {
        relief.start(site);
        machines.push(relief);
        is_settled(mesh, runs, &site.model).await;
    }
    for machine in machines {
        machine.look();
    }
}

/// Waits for [`LEFT`] at most, and says whether nothing is left.
async fn is_settled(mesh: &Mesh, runs: &[RunId], model: &Model) -> bool {
    const PAUSE: Duration = Duration::from_secs(1);
    let until = Instant::now() + LEFT;
    while Instant::now() < until {
        let journal = model.journal();
        let Ok((stored, _)) = read(mesh, runs).await else { return false };
        let unread = stored.not_put_aside().into_iter().chain(stored.timers_not_put_aside(&journal));
        if stored.left_over().is_empty() && unread.count() == 0 {
            return true;
        }
        sleep(PAUSE).await;
    }
    false
}

/// A worker that comes when all is over, and serves every queue. Where the acknowledgement of an offer was lost, and nobody serves its
/// queue any more, the offer waits: whoever gets it next must take it away and start nothing.
pub(crate) fn relief(case: &Case, time: WorldTime, dir: &Path) -> Option<Machine> {
    let queues: BTreeSet<Name> = case.workers.iter().flat_map(|plan| plan.serves.queues.iter().cloned()).collect();
    let serves = Serves { hosts: Hosts::None, queues: queues.into_iter().collect() };
    let plan = WorkerPlan { serves, capacity: 1, labels: Labels::default() };
    Machine::worker(case.workers.len() + 1, &plan, dir, time)
}

/// Waits for every run, and says which has not ended. A person who has waited for long looks at the mesh, and cancels what
/// waits for a person.
pub(crate) async fn in_time(mesh: &Mesh, runs: &[RunId]) -> Vec<Complaint> {
    let begun = Instant::now();
    let mut complaints = Vec::new();
    let mut has_looked = false;
    for run in runs {
        let patient = timeout(PATIENCE.saturating_sub(begun.elapsed()), wait_for_end(mesh, run)).await;
        if patient.is_ok() {
            continue;
        }
        // Before a cancel wakes what has gone to sleep.
        if !std::mem::replace(&mut has_looked, true)
            && let Ok((stored, now)) = read(mesh, &[]).await
        {
            complaints.extend(stored.complaints(Some(now)));
        }
        // Servers that do not answer any more show in the end, too: the run is late.
        if timeout(ANSWERS, user::cancel(mesh, run)).await.is_err() {
            tracing::warn!(%run, "a run cannot be cancelled");
        }
    }
    for run in runs {
        if timeout(BOUND.saturating_sub(begun.elapsed()), wait_for_end(mesh, run)).await.is_err() {
            complaints.push(Complaint {
                run: Some(run.clone()),
                text: format!("has not ended {BOUND:?} after the last fault"),
            });
        }
    }
    complaints
}
