//! A coordinator as a whole: its parts, how they start, how they stop.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use rr_nats::{Error, Finding, Mesh, PresenceWatch, Upkeep};
use rr_schemas::{id::Partition, name::InstanceId};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    config::Options,
    join, partition,
    presence::{self, Presence},
    retention,
    shell::{Shell, ShellError},
    timers,
    upkeep::{self, LOOK_EVERY, log_gone},
};

/// Pause before a part is started again that has failed.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// What parts may take to end beyond the grace of a stop.
const STOP_SLACK: Duration = Duration::from_secs(2);

/// A coordinator. Any number of them work on a mesh together; each partition belongs to one of them at a time.
#[derive(Debug)]
pub struct Coordinator;

impl Coordinator {
    /// Starts a coordinator on a mesh that exists. It works until it is stopped; while the server cannot be reached it
    /// waits.
    pub fn start(mesh: Mesh, options: Options) -> Handle {
        let instance = InstanceId::random(&mut fastrand::Rng::new());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(mesh, options, instance.clone(), stop.clone()));
        Handle { instance, stop, tasks }
    }
}

/// Why a coordinator has ended though nobody had asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its connection was closed for good.
    #[error("the coordinator cannot go on: its connection to the server has ended for good")]
    Closed,
    /// It cannot be.
    #[error("the coordinator cannot start")]
    Start(#[source] ShellError),
    /// A bug.
    #[error("the coordinator failed")]
    Bug(#[source] JoinError),
}

/// A running coordinator. Dropping it ends everything at once, as a crash would, which is harmless.
#[derive(Debug)]
pub struct Handle {
    instance: InstanceId,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), RunError>>,
}

impl Handle {
    /// Its name in decisions and in presence.
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Cancelling this asks for a clean stop; [`Handle::ended`] tells when it is done.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops cleanly: what is under way ends, debts are paid, the partitions go to others at once.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = self.ended().await {
            tracing::error!(%error, "the coordinator did not stop as it should");
        }
    }

    /// Waits until it has ended. Losing the future loses nothing.
    ///
    /// # Errors
    /// [`RunError`]: nobody had asked it to.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        match self.tasks.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(RunError::Bug(error)),
            None => Ok(()),
        }
    }
}

/// What a coordinator consists of.
#[derive(Clone, Copy, Debug)]
enum Part {
    Partition(Partition),
    Presence,
    Joins,
    Api,
    Retention,
    Timers,
    Upkeep,
}

/// Works until the stop, or until the connection is closed for good: there is nothing that a part started again could do.
async fn run(mesh: Mesh, options: Options, instance: InstanceId, stop: CancellationToken) -> Result<(), RunError> {
    let connection = mesh.clone();
    tokio::select! {
        biased;
        ended = work(mesh, options, instance, &stop) => ended,
        () = connection.closed() => if stop.is_cancelled() { Ok(()) } else { Err(RunError::Closed) },
    }
}

async fn work(mesh: Mesh, options: Options, instance: InstanceId, stop: &CancellationToken) -> Result<(), RunError> {
    // Nobody's absence means anything before everybody had the time to show up.
    let (back, back_since) = watch::channel(Some(Instant::now()));
    // Ends with this function, and everything else with it.
    let mut connection = JoinSet::new();
    connection.spawn(presence::watch_connection(mesh.connected(), back));
    let Some(seen) = open_presence(&mesh, stop).await else { return Ok(()) };
    let ttl = options.presence_ttl.as_duration();
    let presence = Presence::new(&mesh, seen, instance.clone(), back_since, ttl);
    let shell = Arc::new(Shell::new(mesh, instance, options, presence).map_err(RunError::Start)?);
    tracing::info!(instance = %shell.instance, partitions = shell.mesh.partitions(), "coordinator started");
    let mut parts =
        Parts { shell: Arc::clone(&shell), stop: stop.clone(), tasks: JoinSet::new(), running: HashMap::new() };
    for part in [Part::Presence, Part::Joins, Part::Api, Part::Retention, Part::Timers, Part::Upkeep] {
        parts.start(part);
    }
    for partition in shell.mesh.all_partitions() {
        parts.start(Part::Partition(partition));
    }
    parts.watch().await;
    tracing::info!(instance = %shell.instance, "coordinator stopped");
    Ok(())
}

/// The view of who is present, as soon as the server gives it. Nothing else works without it, not even what makes again
/// what is missing: that is done here, should it be missing now.
async fn open_presence(mesh: &Mesh, stop: &CancellationToken) -> Option<PresenceWatch> {
    let mut upkeep = Upkeep::new(mesh);
    // Not before others, who may remember what is missing.
    let mut next_look = Instant::now() + LOOK_EVERY;
    while !stop.is_cancelled() {
        let error = match PresenceWatch::open(mesh).await {
            Ok(seen) => return Some(seen),
            Err(error) => error,
        };
        tracing::warn!(%error, "presence cannot be read");
        if matches!(error, Error::NotFound { .. }) && next_look <= Instant::now() {
            next_look = Instant::now() + LOOK_EVERY;
            // Whoever looks next finds again what this look finds, and does what follows from it; but for a log that is gone,
            // with which nobody comes that far.
            let look = Box::pin(upkeep.look(mesh.clock().now()));
            let (findings, _) = stop.run_until_cancelled(look).await?;
            if findings.contains(&Finding::LogGone) {
                log_gone();
            }
        }
        if timeout(RESTART_PAUSE, stop.cancelled()).await.is_ok() {
            break;
        }
    }
    None
}

struct Parts {
    shell: Arc<Shell>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    running: HashMap<Id, Part>,
}

impl Parts {
    fn start(&mut self, part: Part) {
        let (shell, stop) = (Arc::clone(&self.shell), self.stop.clone());
        let work: Pin<Box<dyn Future<Output = ()> + Send>> = match part {
            Part::Partition(partition) => Box::pin(partition::serve(shell, partition, stop)),
            Part::Presence => Box::pin(presence::show(shell, stop)),
            Part::Joins => Box::pin(join::serve(shell, stop)),
            Part::Api => Box::pin(api::serve(shell, stop)),
            Part::Retention => Box::pin(retention::sweep(shell, stop)),
            Part::Timers => Box::pin(timers::forward(shell, stop)),
            Part::Upkeep => Box::pin(upkeep::keep(shell, stop)),
        };
        let id = self.tasks.spawn(work).id();
        self.running.insert(id, part);
    }

    /// Starts parts again that fail, until the stop; then waits for all, but not for ever.
    async fn watch(mut self) {
        loop {
            let ended = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                ended = self.tasks.join_next_with_id() => ended,
            };
            let Some(part) = ended.and_then(|ended| self.forget(ended)) else { continue };
            if self.stop.is_cancelled() {
                break;
            }
            tracing::error!(?part, "a part of the coordinator ended; it is started again");
            sleep(RESTART_PAUSE).await;
            self.start(part);
        }
        let grace = self.shell.options.stop_grace.as_duration() + STOP_SLACK;
        let all = timeout(grace, async { while self.tasks.join_next().await.is_some() {} });
        if all.await.is_err() {
            tracing::warn!("stopped with work under way; another coordinator does it again");
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) -> Option<Part> {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a part of the coordinator failed");
                error.id()
            }
        };
        self.running.remove(&id)
    }
}
