//! `rr worker ls`, `drain` and `forget`: the workers that a mesh knows.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use rr_nats::{HostFilter, KnownWorker, Mesh, Shown};
use rr_schemas::{
    flow::select::Labels,
    host::{self, Host},
    name::{InstanceId, Name, WorkerName},
    presence::{Control, Hosts, WorkerPresence},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cli::{WorkerDrainArgs, WorkerForgetArgs, WorkerVerb};
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};
use crate::printer::{DIM, GOOD, WARN};
use crate::text::{ago, escape, table};

/// How long a worker that is present may take to say that it drains; it says so at once.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two times that it is told: a message to it is not stored.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Pause between two looks whether a worker is gone.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How a worker stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Present,
    Draining,
    Away,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Draining => "draining",
            Self::Away => "away",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Present => GOOD,
            Self::Draining => WARN,
            Self::Away => DIM,
        }
    }
}

/// A worker, as `--json` prints it. What only a present worker says is null for one that is away.
#[derive(Debug, Serialize)]
struct Listed {
    worker: WorkerName,
    state: State,
    all_hosts: bool,
    hosts: String,
    queues: Vec<Name>,
    labels: Labels,
    capacity: Option<u32>,
    version: Option<String>,
    instance: Option<InstanceId>,
    since: Option<Timestamp>,
    last_seen: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Said<'a> {
    worker: &'a WorkerName,
    /// How it stands now; null where it is forgotten.
    state: Option<State>,
}

/// Looks after workers.
pub(crate) async fn workers(ctx: &Context, verb: &WorkerVerb) -> Result<Exit, CliError> {
    let mesh = Place::need(ctx)?.connect("worker").await?;
    match verb {
        WorkerVerb::Ls => ls(ctx, &mesh).await,
        WorkerVerb::Drain(args) => drain(ctx, &mesh, args).await,
        WorkerVerb::Forget(args) => forget(ctx, &mesh, args).await,
    }
}

async fn ls(ctx: &Context, mesh: &Mesh) -> Result<Exit, CliError> {
    let known = mesh.known_workers().await.map_err(|error| mesh::told(&error))?;
    let present = mesh.workers_shown().await.map_err(|error| mesh::told(&error))?;
    let listed = listed(known, present);
    if ctx.printer.is_json() {
        ctx.printer.json_document(&listed)?;
        return Ok(Exit::Succeeded);
    }
    if listed.is_empty() {
        ctx.printer.note("no workers yet; start one with: rr worker --hosts HOSTS");
        return Ok(Exit::Succeeded);
    }
    let now = now();
    let rows: Vec<_> = listed.iter().map(|listed| row(listed, now)).collect();
    for line in table(&["WORKER", "STATE", "SERVES", "CAPACITY", "LABELS", "VERSION", "SINCE", "SEEN"], &rows) {
        ctx.printer.line(line)?;
    }
    Ok(Exit::Succeeded)
}

/// Joins what the server remembers with who is present, by name.
fn listed(known: Vec<KnownWorker>, present: Vec<Shown<WorkerPresence>>) -> Vec<Listed> {
    let known = known.into_iter().map(|known| (known.worker.clone(), (Some(known), None)));
    let mut all: BTreeMap<WorkerName, (Option<KnownWorker>, Option<Shown<WorkerPresence>>)> = known.collect();
    for shown in present {
        let name = shown.value.worker.clone();
        all.entry(name).or_default().1 = Some(shown);
    }
    all.into_iter().map(|(worker, (known, shown))| Listed::new(worker, known, shown)).collect()
}

impl Listed {
    fn new(worker: WorkerName, known: Option<KnownWorker>, shown: Option<Shown<WorkerPresence>>) -> Self {
        let last_seen = shown.as_ref().map(|shown| shown.at);
        let present = shown.map(|shown| shown.value);
        // The server's word on hosts counts: a worker may say that it serves what has gone to another.
        let (all_hosts, hosts) = match (known.as_ref().map(|known| &known.hosts), present.as_ref()) {
            (Some(HostFilter::All), _) => (true, String::new()),
            (Some(HostFilter::Only(hosts)), _) => (false, host::fold(&hosts.iter().cloned().collect::<Vec<Host>>())),
            (None, Some(present)) => match &present.serves.hosts {
                Hosts::None => (false, String::new()),
                Hosts::All => (true, String::new()),
                Hosts::Only(hosts) => (false, hosts.to_string()),
            },
            (None, None) => (false, String::new()),
        };
        let state = present
            .as_ref()
            .map_or(State::Away, |present| if present.draining { State::Draining } else { State::Present });
        let remembered = known.map(|known| known.labels).unwrap_or_default();
        let mut listed = Self {
            worker,
            state,
            all_hosts,
            hosts,
            queues: Vec::new(),
            labels: remembered,
            capacity: None,
            version: None,
            instance: None,
            since: None,
            last_seen,
        };
        if let Some(present) = present {
            listed.labels = present.labels;
            listed.queues = present.serves.queues;
            listed.queues.sort();
            listed.queues.dedup();
            listed.capacity = Some(present.capacity);
            listed.version = Some(present.version);
            listed.instance = Some(present.instance);
            listed.since = Some(present.since);
        }
        listed
    }

    /// Hosts and queues in one cell.
    fn serves(&self) -> String {
        let hosts = if self.all_hosts { "all hosts" } else { self.hosts.as_str() };
        let queues: Vec<&str> = self.queues.iter().map(Name::as_str).collect();
        let queues = if queues.is_empty() { String::new() } else { format!("queue {}", queues.join(",")) };
        let both: Vec<&str> = [hosts, &queues].into_iter().filter(|part| !part.is_empty()).collect();
        if both.is_empty() { "-".to_owned() } else { both.join(" ") }
    }
}

fn row(listed: &Listed, now: Timestamp) -> Vec<(Style, String)> {
    let plain = |text: String| (Style::new(), if text.is_empty() { "-".to_owned() } else { text });
    let time = |at: Option<Timestamp>| plain(at.map(|at| ago(at, now)).unwrap_or_default());
    vec![
        plain(listed.worker.to_string()),
        (listed.state.style(), listed.state.word().to_owned()),
        plain(listed.serves()),
        plain(listed.capacity.map(|capacity| capacity.to_string()).unwrap_or_default()),
        plain(escape(listed.labels.to_string().as_bytes())),
        plain(listed.version.as_ref().map(|version| escape(version.as_bytes())).unwrap_or_default()),
        time(listed.since),
        time(listed.last_seen),
    ]
}

async fn drain(ctx: &Context, mesh: &Mesh, args: &WorkerDrainArgs) -> Result<Exit, CliError> {
    let name = parse(&args.worker)?;
    let Some(present) = mesh.worker(&name).await.map_err(|error| mesh::told(&error))? else {
        require_known(mesh, &name).await?;
        ctx.printer.note(format_args!("worker {name} is away: there is nothing to drain"));
        return said(ctx, &name, Some(State::Away));
    };
    let give_up = args.timeout.map(|timeout| Instant::now() + timeout.as_duration());
    let instance = present.instance;
    if !tell(mesh, &name, &instance).await? {
        ctx.printer.note(format_args!("worker {name} is gone"));
        return said(ctx, &name, Some(State::Away));
    }
    if !args.wait {
        ctx.printer.note(format_args!("worker {name} drains: it finishes what it runs and goes"));
        return said(ctx, &name, Some(State::Draining));
    }
    loop {
        match is_present(mesh, &name, &instance).await {
            Ok(None) => break,
            Ok(Some(_)) => {}
            // A server that is away for a moment says nothing of the worker.
            Err(error) if error.exit() == Exit::Unreachable => tracing::warn!(%error, "the worker cannot be seen now"),
            Err(error) => return Err(error),
        }
        if give_up.is_some_and(|give_up| give_up <= Instant::now()) {
            ctx.printer.note(format_args!("gave up waiting; worker {name} goes on draining"));
            said(ctx, &name, Some(State::Draining))?;
            return Ok(Exit::GaveUpWaiting);
        }
        sleep(LOOK_EVERY).await;
    }
    ctx.printer.note(format_args!("worker {name} is gone"));
    said(ctx, &name, Some(State::Away))
}

fn said(ctx: &Context, worker: &WorkerName, state: Option<State>) -> Result<Exit, CliError> {
    if ctx.printer.is_json() {
        ctx.printer.json_line(&Said { worker, state })?;
    }
    Ok(Exit::Succeeded)
}

/// Tells a worker to drain until it shows that it does, and whether it is still there then.
async fn tell(mesh: &Mesh, name: &WorkerName, instance: &InstanceId) -> Result<bool, CliError> {
    let until = Instant::now() + HEARD_WITHIN;
    loop {
        mesh.control(name, &Control::Drain {}).await.map_err(|error| mesh::told(&error))?;
        let told_again = Instant::now() + TOLD_EVERY;
        while Instant::now() < told_again {
            match is_present(mesh, name, instance).await? {
                None => return Ok(false),
                Some(present) if present.draining => return Ok(true),
                Some(_) => sleep(LOOK_EVERY).await,
            }
        }
        if until <= Instant::now() {
            let text = format!("worker {name} is shown as present and does not answer");
            return Err(CliError::new(Exit::Unreachable, text).hint(
                "if it is gone, it is shown as away in a moment; else look at it: it has no link, or its rr hangs",
            ));
        }
    }
}

/// The worker, if it is still this process.
async fn is_present(mesh: &Mesh, name: &WorkerName, instance: &InstanceId) -> Result<Option<WorkerPresence>, CliError> {
    match mesh.worker(name).await {
        Ok(found) => Ok(found.filter(|found| found.instance == *instance)),
        Err(error) => Err(mesh::told(&error)),
    }
}

async fn forget(ctx: &Context, mesh: &Mesh, args: &WorkerForgetArgs) -> Result<Exit, CliError> {
    let name = parse(&args.worker)?;
    if mesh.worker(&name).await.map_err(|error| mesh::told(&error))?.is_some() {
        return Err(CliError::new(Exit::Taken, format_args!("worker {name} is present"))
            .hint(format_args!("let it go first: rr worker drain {name} --wait")));
    }
    require_known(mesh, &name).await?;
    mesh.forget_worker(&name).await.map_err(|error| mesh::told(&error))?;
    ctx.printer.note(format_args!("worker {name} is forgotten"));
    said(ctx, &name, None)
}

async fn require_known(mesh: &Mesh, name: &WorkerName) -> Result<(), CliError> {
    let known = mesh.lane_hosts(name).await.map_err(|error| mesh::told(&error))?;
    if known.is_some() {
        return Ok(());
    }
    Err(CliError::new(Exit::Unknown, format_args!("no worker \"{name}\" in this mesh"))
        .hint("rr worker ls shows those that there are"))
}

fn parse(text: &str) -> Result<WorkerName, CliError> {
    text.parse().map_err(|error| CliError::new(Exit::BadInput, format_args!("worker {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::presence::Serves;

    fn known(name: &str, hosts: HostFilter) -> KnownWorker {
        let labels = serde_json::from_str(r#"{"role": "db"}"#).unwrap();
        KnownWorker { worker: name.parse().unwrap(), hosts, labels }
    }

    fn shown(name: &str, hosts: Hosts, draining: bool) -> Shown<WorkerPresence> {
        let queues = ["b", "a", "b"].map(|queue| queue.parse().unwrap()).to_vec();
        let value = WorkerPresence {
            worker: name.parse().unwrap(),
            instance: "i1".parse().unwrap(),
            serves: Serves { hosts, queues },
            capacity: 4,
            labels: Labels::default(),
            version: "1\u{1b}".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            draining,
        };
        Shown { value, at: Timestamp::UNIX_EPOCH, clock: None }
    }

    #[test]
    fn workers_are_joined_by_name_and_the_server_knows_best_what_they_serve() {
        let only = |hosts: &[&str]| HostFilter::Only(hosts.iter().map(|host| host.parse().unwrap()).collect());
        let listed = listed(
            vec![known("away", only(&["db2", "db1"])), known("both", only(&["x1"])), known("idle", only(&[]))],
            vec![shown("both", Hosts::Only("x[1-9]".parse().unwrap()), true), shown("here", Hosts::All, false)],
        );
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(90);
        let rows: Vec<String> = listed
            .iter()
            .map(|listed| row(listed, now).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("|"))
            .collect();
        assert_eq!(
            rows,
            [
                "away|away|db[1-2]|-|role=db|-|-|-",
                "both|draining|x1 queue a,b|4|-|1\\u{1b}|1m ago|1m ago",
                "here|present|all hosts queue a,b|4|-|1\\u{1b}|1m ago|1m ago",
                "idle|away|-|-|role=db|-|-|-",
            ]
        );
    }
}
