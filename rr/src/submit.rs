//! Hands a run to a mesh.

use std::collections::BTreeSet;
use std::time::Duration;

use rr_core::{Plan, plan::Targets};
use rr_nats::{First, Mesh, PublishError};
use rr_schemas::{
    host::{self, Host},
    id::RunId,
    input::{Input, Submit},
    name::Name,
    offer::Target,
    presence::{Hosts, WorkerPresence},
};
use tokio::time::sleep;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::flowfile::Checked;
use crate::mesh;

/// Tries of a submit whose answer did not come: a change of leader takes up to eight seconds.
const TRIES: u32 = 5;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_secs(2);
/// Hosts without a worker that are looked at; more would not be read.
const UNSERVED_MAX: usize = 1_000;

/// An id for a run: the one that was asked for, or a drawn one.
///
/// # Errors
/// It is no id (65).
pub(crate) fn id_or_drawn(id: Option<&String>) -> Result<RunId, CliError> {
    match id {
        None => Ok(RunId::random(&mut fastrand::Rng::new())),
        Some(id) => id.parse().map_err(|error| CliError::new(Exit::BadInput, error)),
    }
}

/// Stores a run durably; after an answer that did not come, the same again.
///
/// # Errors
/// The id is taken (73), or the run is not known to be stored.
pub(crate) async fn submit(ctx: &Context, mesh: &Mesh, run: &RunId, checked: &Checked) -> Result<(), CliError> {
    let taken = || {
        CliError::new(Exit::Taken, format_args!("there is a run \"{run}\" already"))
            .hint(format_args!("look at it with: rr show {run}"))
    };
    // A state without a history is what is left of a run whose history was removed.
    if mesh.status(run).await.map_err(|error| mesh::told(&error))?.is_some() {
        return Err(taken());
    }
    let (flow, params, by) = (checked.flow.clone(), checked.params.clone(), ctx.who());
    let input = Input::Submit(Box::new(Submit { flow, params, by }));
    let mut maybe_stored = false;
    for left in (0..TRIES).rev() {
        match mesh.submit(run, &ctx.who(), &input, First::New).await {
            Ok(_) => return Ok(()),
            // An earlier try of this call was stored, though its answer did not come.
            Err(PublishError::Conflict) if maybe_stored => return Ok(()),
            Err(PublishError::Conflict) => return Err(taken()),
            Err(error) if error.is_retryable() && left > 0 => {
                tracing::info!(%error, "the run is submitted again");
                maybe_stored |= matches!(error, PublishError::Unknown(_));
                sleep(PAUSE).await;
            }
            Err(error) => return Err(mesh::publish_told(&error)),
        }
    }
    Err(CliError::new(Exit::Unreachable, "no acknowledgement from the mesh"))
}

/// Warns of what will keep the run waiting: nobody to decide, nobody to serve a target.
pub(crate) async fn warn_of_absent(ctx: &Context, mesh: &Mesh, plan: &Plan) {
    let printer = ctx.printer;
    match mesh.coordinators().await {
        Ok(coordinators) if coordinators.is_empty() => {
            printer.warn("no coordinator is up; the run is stored and starts when one comes");
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "coordinators not read"),
    }
    match mesh.workers().await {
        Ok(workers) => {
            let expiry = ctx.config.coordinator.policy.offer_expiry;
            for warning in unserved(plan, &workers, &expiry.to_string()) {
                printer.warn(warning);
            }
        }
        Err(error) => tracing::debug!(%error, "workers not read"),
    }
}

/// What nobody who is present serves, in words.
fn unserved(plan: &Plan, workers: &[WorkerPresence], expiry: &str) -> Vec<String> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queues = BTreeSet::new();
    for job in plan.jobs() {
        match &job.targets {
            Targets::Hosts(set) => {
                let absent = set.iter().filter(|host| !serves_host(workers, host)).take(UNSERVED_MAX);
                hosts.extend(absent.filter(|host| seen.insert(host.clone())));
            }
            Targets::Queue(queue) => {
                if !serves_queue(workers, queue) {
                    queues.insert(queue.clone());
                }
            }
        }
    }
    let mut warnings = Vec::new();
    if !hosts.is_empty() {
        let folded = host::fold(&hosts);
        warnings.push(format!("no worker serves {folded} now; those tasks become unreachable after {expiry}"));
    }
    warnings.extend(queues.iter().map(|queue| format!("queue {queue} has no worker now; its tasks wait for one")));
    warnings
}

/// Whether somebody serves this target.
pub(crate) fn is_served(workers: &[WorkerPresence], target: &Target) -> bool {
    match target {
        Target::Host(host) => serves_host(workers, host),
        Target::Queue(queue) => serves_queue(workers, queue),
    }
}

fn serves_host(workers: &[WorkerPresence], host: &Host) -> bool {
    workers.iter().any(|worker| match &worker.serves.hosts {
        Hosts::None => false,
        Hosts::All => true,
        Hosts::Only(hosts) => hosts.contains(host),
    })
}

fn serves_queue(workers: &[WorkerPresence], queue: &Name) -> bool {
    workers.iter().any(|worker| worker.serves.queues.contains(queue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::{flow::params::ParamValues, presence::Serves};
    use std::collections::BTreeMap;

    fn worker(hosts: Hosts, queues: &[&str]) -> WorkerPresence {
        WorkerPresence {
            worker: "w".parse().unwrap(),
            instance: "i".parse().unwrap(),
            serves: Serves { hosts, queues: queues.iter().map(|queue| queue.parse().unwrap()).collect() },
            capacity: 1,
            labels: BTreeMap::new(),
            version: String::new(),
            since: jiff::Timestamp::UNIX_EPOCH,
            draining: false,
        }
    }

    #[test]
    fn what_nobody_serves_is_named_once() {
        let flow = serde_json::from_str(
            r#"{"name": "f", "jobs": [{"name": "a", "run": ["x"], "hosts": "db[1-4]"},
                {"name": "b", "run": ["x"], "hosts": "db[3-5]"}, {"name": "c", "run": ["x"], "queue": "build"}]}"#,
        );
        let plan = Plan::new(&flow.unwrap(), &ParamValues::default()).unwrap();
        let only = |text: &str| Hosts::Only(text.parse().unwrap());
        for (workers, expected) in [
            (vec![worker(Hosts::All, &["build"])], vec![]),
            (
                vec![worker(only("db[4-9]"), &["default"])],
                vec![
                    "no worker serves db[1-3] now; those tasks become unreachable after 60s",
                    "queue build has no worker now; its tasks wait for one",
                ],
            ),
        ] {
            assert_eq!(unserved(&plan, &workers, "60s"), expected);
        }
    }
}
