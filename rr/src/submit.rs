//! Hands a run to a mesh.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use rr_core::{Plan, plan::Targets};
use rr_nats::{First, LANE_HOSTS_MAX, Mesh, PublishError};
use rr_schemas::{
    host::{self, Host},
    id::RunId,
    input::{Input, Submit},
    name::{Name, WorkerName},
    offer::Target,
    presence::{Hosts, WorkerPresence},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::flowfile::Checked;
use crate::mesh;

/// How long a mesh is given to say that it has stored a run, from the first look for it on. A change of leader takes up to
/// eight seconds; whoever asked knows within ten where they stand.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);
/// Pause between two tries of a submit.
const PAUSE: Duration = Duration::from_millis(500);
/// What a try must have left: one that is cut off leaves in doubt what was clear before.
const TRY_MIN: Duration = Duration::from_secs(1);
/// What the question whether the id is taken has at least, where the mesh was found late.
const LOOK_MIN: Duration = Duration::from_millis(300);
/// How long who is there is waited for: the run is stored already.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Hosts without a worker that are looked at; more would not be read.
const UNSERVED_MAX: usize = 1_000;

/// By when a mesh that is looked for now must have said that it has stored a run.
pub(crate) fn answer_by() -> Instant {
    Instant::now() + ANSWER_WITHIN
}

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

/// Stores a run durably; after an answer that did not come, the same again, until `by`.
///
/// # Errors
/// The id is taken (73), or the run is not known to be stored: then the error says so, and names the run.
pub(crate) async fn submit(
    ctx: &Context,
    mesh: &Mesh,
    run: &RunId,
    checked: &Checked,
    by: Instant,
) -> Result<(), CliError> {
    let (flow, params, who) = (checked.flow.clone(), checked.params.clone(), ctx.who());
    send(ctx, mesh, run, Submit { flow, params, by: who, retry_of: None }, by).await
}

/// The same for what was put together already.
///
/// # Errors
/// Those of [`submit`].
pub(crate) async fn send(ctx: &Context, mesh: &Mesh, run: &RunId, submit: Submit, by: Instant) -> Result<(), CliError> {
    let told = |error: &rr_nats::Error| {
        mesh::told(error)
            .with_hint(error.is_retryable().then_some("a cluster needs the majority of its servers: are they up?"))
    };
    // A state without a history is what is left of a run whose history was removed. The submit needs time of its own.
    let look_by = (by - TRY_MIN).max(Instant::now() + LOOK_MIN).min(by);
    if mesh::ask_by(look_by, told, async || mesh.status(run).await).await?.is_some() {
        return Err(taken(run));
    }
    let input = Input::Submit(Box::new(submit));
    let mut maybe_stored = false;
    loop {
        let answer = timeout_at(by, mesh.submit(run, &ctx.who(), &input, First::New)).await;
        let Err(error) = answer.unwrap_or_else(|_| Err(PublishError::Unknown("no answer in time".to_owned()))) else {
            return Ok(());
        };
        let told = if error != PublishError::Conflict {
            maybe_stored |= matches!(error, PublishError::Unknown(_));
            let told = mesh::publish_told(&error);
            if !error.is_retryable() {
                return Err(if maybe_stored { in_doubt(run, &told) } else { told });
            }
            told
        } else if maybe_stored {
            // It may be an earlier try of this call that was stored, though its answer did not come.
            match timeout_at(by, mesh.first_request(&run.into())).await {
                Ok(Ok(Some(stored))) => {
                    let is_ours = stored.input.is_ok_and(|stored| is_same(&stored, &input));
                    return if is_ours { Ok(()) } else { Err(taken(run)) };
                }
                // Not to be seen for the moment.
                Ok(Ok(None)) | Err(_) => mesh::no_answer(),
                Ok(Err(error)) if error.is_retryable() => mesh::told(&error),
                // Publishers may not read what others have asked for.
                Ok(Err(rr_nats::Error::Denied { .. })) => {
                    let why = "a try was not acknowledged, and this user may not read whether it is stored";
                    return Err(in_doubt(run, &CliError::new(Exit::Unreachable, why)));
                }
                Ok(Err(error)) => return Err(in_doubt(run, &mesh::told(&error))),
            }
        } else {
            return Err(taken(run));
        };
        if by <= Instant::now() + PAUSE + TRY_MIN {
            return Err(if maybe_stored { in_doubt(run, &told) } else { told });
        }
        tracing::info!(error = %told, "the run is submitted again");
        sleep(PAUSE).await;
    }
}

fn taken(run: &RunId) -> CliError {
    CliError::new(Exit::Taken, format_args!("there is a run \"{run}\" already"))
        .hint(format_args!("look at it with: rr show {run}"))
}

/// Nobody knows whether the run is stored; whoever asked for it must be able to find out.
fn in_doubt(run: &RunId, error: &CliError) -> CliError {
    CliError::new(error.exit(), format_args!("run {run} is not known to be stored: {error}")).hint(format_args!(
        "it may be stored all the same, in a cluster with the majority of its servers; look with: rr show {run}"
    ))
}

/// Whether what is stored is what we sent, as it reads after it was sent.
fn is_same(stored: &Input, sent: &Input) -> bool {
    let read = serde_json::to_vec(sent).and_then(|bytes| serde_json::from_slice::<Input>(&bytes));
    read.is_ok_and(|sent| sent == *stored)
}

/// Warns of what will keep the run waiting: nobody to decide, nobody to serve a target.
/// Tasks that do not run are passed over.
pub(crate) async fn warn_of_absent(ctx: &Context, mesh: &Mesh, plan: &Plan, runs: impl Fn(u32) -> bool) {
    let printer = ctx.printer;
    let seen = timeout(LOOK_WITHIN, async { (mesh.coordinators().await, mesh.workers().await) }).await;
    let Ok((coordinators, workers)) = seen else {
        return printer.warn("who is there to decide and to serve cannot be read now; the run is stored");
    };
    match coordinators {
        Ok(coordinators) if coordinators.is_empty() => {
            printer.warn("no coordinator is up; the run is stored and starts when one comes");
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "coordinators not read"),
    }
    match workers {
        Ok(workers) => {
            let expiry = ctx.config.coordinator.policy.offer_expiry;
            for warning in unserved(plan, runs, &workers, &expiry.to_string()) {
                printer.warn(warning);
            }
        }
        Err(error) => tracing::debug!(%error, "workers not read"),
    }
}

/// What nobody who is present serves, in words.
fn unserved(plan: &Plan, runs: impl Fn(u32) -> bool, workers: &[WorkerPresence], expiry: &str) -> Vec<String> {
    let served = Served::by(workers);
    let mut hosts: Vec<Host> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queues = BTreeSet::new();
    for job in plan.jobs() {
        match &job.targets {
            Targets::Hosts(set) => {
                let of_tasks = (job.first..).zip(set.iter()).filter(|(task, _)| runs(*task)).map(|(_, host)| host);
                let absent = of_tasks.filter(|host| !served.has_host(host)).take(UNSERVED_MAX);
                hosts.extend(absent.filter(|host| seen.insert(host.clone())));
            }
            Targets::Queue(queue) => {
                if runs(job.first) && !served.queues.contains(queue) {
                    queues.insert(queue.clone());
                }
            }
            // The coordinator looks for them, and refuses the run where it finds none.
            Targets::Workers(_) | Targets::ToBeFound | Targets::Gate => {}
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

/// What workers serve, put together once: a thousand workers are not asked for each of ten thousand hosts.
#[derive(Debug, Default)]
pub(crate) struct Served {
    all_hosts: bool,
    hosts: HashSet<Host>,
    queues: HashSet<Name>,
    workers: HashSet<WorkerName>,
}

impl Served {
    /// What these workers serve together.
    pub(crate) fn by(workers: &[WorkerPresence]) -> Self {
        let mut served = Self::default();
        for WorkerPresence { worker, serves, .. } in workers {
            match &serves.hosts {
                Hosts::None => {}
                Hosts::All => served.all_hosts = true,
                // Nobody can serve more.
                Hosts::Only(hosts) => served.hosts.extend(hosts.iter().take(LANE_HOSTS_MAX)),
            }
            served.queues.extend(serves.queues.iter().cloned());
            served.workers.insert(worker.clone());
        }
        served
    }

    /// Whether somebody serves this target.
    pub(crate) fn has(&self, target: &Target) -> bool {
        match target {
            Target::Host(host) => self.has_host(host),
            Target::Queue(queue) => self.queues.contains(queue),
            Target::Worker(name) => self.workers.contains(name),
        }
    }

    fn has_host(&self, host: &Host) -> bool {
        self.all_hosts || self.hosts.contains(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::{flow::params::ParamValues, presence::Serves};

    fn worker(hosts: Hosts, queues: &[&str]) -> WorkerPresence {
        WorkerPresence {
            worker: "w".parse().unwrap(),
            instance: "i".parse().unwrap(),
            serves: Serves { hosts, queues: queues.iter().map(|queue| queue.parse().unwrap()).collect() },
            capacity: 1,
            labels: rr_schemas::flow::select::Labels::default(),
            version: String::new(),
            since: jiff::Timestamp::UNIX_EPOCH,
            draining: false,
        }
    }

    fn flow(name: &str) -> rr_schemas::flow::Flow {
        let flow = format!(r#"{{"name": "{name}", "jobs": [{{"name": "a", "run": ["x"], "hosts": "db[1-4]"}}]}}"#);
        serde_json::from_str(&flow).unwrap()
    }

    #[test]
    fn a_stored_submit_is_ours_when_all_of_it_is() {
        let submit = |name: &str, by: &str| {
            Input::Submit(Box::new(Submit {
                flow: flow(name),
                params: ParamValues::default(),
                by: by.to_owned(),
                retry_of: None,
            }))
        };
        let ours = submit("f", "u@m");
        for (stored, is_ours) in [
            (submit("f", "u@m"), true),
            (submit("g", "u@m"), false),
            (submit("f", "v@m"), false),
            (Input::Timer {}, false),
        ] {
            assert_eq!(is_same(&stored, &ours), is_ours, "{stored:?}");
        }
    }

    #[test]
    fn a_submit_in_doubt_names_its_run() {
        let told = in_doubt(&"r1".parse().unwrap(), &mesh::publish_told(&PublishError::Unknown("late".to_owned())));
        assert_eq!(told.exit(), Exit::Unreachable);
        let CliError::Told { text, hint, .. } = told else { unreachable!() };
        assert!(text.starts_with("run r1 is not known to be stored: "), "{text}");
        let hint = hint.unwrap_or_default();
        assert!(hint.starts_with("it may be stored all the same") && hint.contains("majority"), "{hint}");
        assert!(hint.ends_with("rr show r1"), "{hint}");
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
            assert_eq!(unserved(&plan, |_| true, &workers, "60s"), expected);
            assert!(unserved(&plan, |_| false, &workers, "60s").is_empty());
        }
    }
}
