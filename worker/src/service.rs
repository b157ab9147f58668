//! A worker's life: start, work, end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rr_nats::{Clock, Mesh, PresenceError};
use rr_schemas::{
    name::{InstanceId, WorkerName},
    report::Outcome,
};
use tokio::sync::watch;
use tokio::task::{JoinError as TaskError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::attempts::marker;
use self::engine::{Engine, Parts};
use crate::attempt::RESTARTED;
use crate::config::{Execution, Options, Via};
use crate::executor::{
    Programs, ended_because,
    handler::Handlers,
    process::Processes,
    ssh::{Ssh, SshError},
};
use crate::join::{JoinError, join};
use crate::lanes::Lanes;
use crate::ledger::{Found, Ledger, LedgerError};
use crate::output::Spool;
use crate::presence;
use crate::process::{self, Launcher, Session};

mod attempts;
mod clocks;
mod ending;
mod engine;
mod joining;
mod locking;
mod retelling;
mod returning;
mod writing;

/// How long a worker that has ended waits for its presence to be taken away.
const FAREWELL: Duration = Duration::from_secs(6);

/// A process that executes attempts.
#[derive(Debug)]
pub struct Worker;

/// A worker that runs. Dropped, it kills what it runs.
#[derive(Debug)]
pub struct Handle {
    instance: InstanceId,
    drain: CancellationToken,
    kill: CancellationToken,
    stop_helpers: CancellationToken,
    engine: JoinSet<Result<(), RunError>>,
    helpers: JoinSet<()>,
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another worker of this name is there.
    #[error("\"{name}\" is already connected since {since}")]
    Taken {
        /// The name.
        name: WorkerName,
        /// Since when, by the other one's clock.
        since: String,
    },
    /// Its ledger cannot be used.
    #[error(transparent)]
    Ledger(LedgerError),
    /// The directory for attempts cannot be used.
    #[error("prepare the directory for attempts {0:?}")]
    Workdir(PathBuf, #[source] io::Error),
    /// It cannot go by ssh.
    #[error(transparent)]
    Ssh(SshError),
    /// It may not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The mesh does not let it show itself.
    #[error("show the worker in the mesh")]
    Presence(#[source] PresenceError),
    /// The mesh does not let it listen.
    #[error("listen to coordinators")]
    Mesh(#[from] rr_nats::Error),
    /// A bug.
    #[error("start a worker")]
    Bug(#[source] TaskError),
}

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its connection was closed for good.
    #[error("the worker cannot go on: its connection to the server has ended for good")]
    Closed,
    /// Its last words could not be written down.
    #[error(transparent)]
    Ledger(LedgerError),
    /// Its consumers were gone, and a coordinator does not let it join again.
    #[error(transparent)]
    Join(JoinError),
    /// A bug.
    #[error("go on: the worker failed")]
    Bug(#[source] TaskError),
}

impl Worker {
    /// Starts a worker: takes its ledger, ends what an earlier life left running, shows itself, joins. Waits for a coordinator as
    /// long as none answers; dropping the future gives up.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(mesh: Mesh, options: Options, handlers: Handlers) -> Result<Handle, StartError> {
        let mesh = mesh.with_wire(options.wire);
        let options = Arc::new(options);
        let instance = InstanceId::random(&mut fastrand::Rng::new());
        let (mut ledger, found) = open_ledger(&options, &instance).await?;
        end_leftovers(&mut ledger, &found, &options.via, mesh.clock()).await?;
        prepare_workdir(&options.execution)?;
        let programs = programs(&options, &instance)?;

        let card = presence::card(&options, &instance, mesh.clock().now());
        let ttl = Duration::from(options.times.presence_ttl);
        let mark = presence::Mark { mesh: mesh.clone(), card, ttl, dead: found.lives };
        let present = mark.show().await.map_err(|error| taken(&options.name, error))?;
        let (drain, stop_helpers) = (CancellationToken::new(), CancellationToken::new());
        let (draining, is_draining) = watch::channel(false);
        let renew = Duration::from(options.times.presence_renew);
        let mut helpers = JoinSet::new();
        let signs = (is_draining, mesh.connected());
        helpers.spawn(presence::keep(mark, present, renew, signs, stop_helpers.clone(), drain.clone()));
        let (spool, shipper) = Spool::new(&mesh, &options.name, options.output.bytes_max);
        helpers.spawn(shipper.run(stop_helpers.clone()));
        let mut handle = Handle {
            instance: instance.clone(),
            drain: drain.clone(),
            kill: CancellationToken::new(),
            stop_helpers,
            engine: JoinSet::new(),
            helpers,
        };

        let listening = async {
            let controls = mesh.controls(&options.name).await?;
            Ok((controls, open_lanes(&mesh, &options, &instance).await?))
        };
        let listening = tokio::select! {
            biased;
            listening = listening => listening,
            () = mesh.closed() => Err(StartError::Mesh(closed())),
        };
        let (controls, lanes) = match listening {
            Ok(listening) => listening,
            Err(error) => {
                handle.farewell().await;
                return Err(error);
            }
        };
        let ssh = match &programs {
            Programs::Here(_) | Programs::None => None,
            Programs::Ssh(ssh) => Some(Arc::clone(ssh)),
        };
        let engine = Engine::new(Parts { mesh, options, instance, programs, handlers, spool, ledger, lanes, draining });
        let run = engine.run(controls, drain, handle.kill.clone());
        handle.engine.spawn(async move {
            let ended = run.await;
            if let Some(ssh) = ssh {
                ssh.close().await;
            }
            ended
        });
        Ok(handle)
    }
}

impl Handle {
    /// This life of the worker.
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Takes no new offers; the worker ends when what runs has ended and is reported.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Ends everything that runs at once, and the worker with it.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Waits until the worker has ended. Safe to drop and to call again.
    ///
    /// # Errors
    /// [`RunError`]: it ended though nobody had asked it to.
    pub async fn join(&mut self) -> Result<(), RunError> {
        let result = match self.engine.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(error)) => Err(RunError::Bug(error)),
            None => Ok(()),
        };
        self.farewell().await;
        result
    }

    /// Takes presence away, ends the helpers.
    async fn farewell(&mut self) {
        self.stop_helpers.cancel();
        let ended = async {
            while let Some(result) = self.helpers.join_next().await {
                if let Err(error) = result {
                    tracing::error!(%error, "a helper of the worker failed");
                }
            }
        };
        if timeout(FAREWELL, ended).await.is_err() {
            self.helpers.abort_all();
        }
    }
}

fn closed() -> rr_nats::Error {
    rr_nats::Error::Unreachable("the connection has ended for good".to_owned())
}

async fn open_ledger(options: &Options, instance: &InstanceId) -> Result<(Ledger, Found), StartError> {
    let (dir, instance) = (options.state_dir.clone(), instance.clone());
    let opened = options.disk.work(move || Ledger::open(&dir, &instance)).await.map_err(StartError::Bug)?;
    opened.map_err(|error| match error {
        LedgerError::Locked { since, .. } => StartError::Taken { name: options.name.clone(), since },
        error @ (LedgerError::Io { .. } | LedgerError::Foreign { .. }) => StartError::Ledger(error),
    })
}

/// Attempts that an earlier life started and did not end are lost, and nothing of them may run on.
async fn end_leftovers(ledger: &mut Ledger, found: &Found, via: &Via, clock: &Clock) -> Result<(), StartError> {
    let unended: Vec<u64> = found.open.iter().filter(|(_, open)| open.ended.is_none()).map(|(n, _)| *n).collect();
    let markers: Vec<String> =
        unended.iter().filter_map(|n| found.open.get(n)).map(|open| marker(&open.key, &open.instance)).collect();
    if !markers.is_empty() {
        tracing::warn!(attempts = markers.len(), "{RESTARTED}");
    }
    if !markers.is_empty() && *via != Via::Functions {
        let survivors = process::end_marked(markers).await;
        if survivors > 0 {
            tracing::error!(survivors, "processes of an earlier life survive KILL");
        }
    }
    for n in unended {
        ledger.end(n, ended_because(Outcome::Lost, RESTARTED, clock.now()));
    }
    ledger.flush().map_err(StartError::Ledger)
}

/// Makes the parent of attempts' directories, and empties it of what an earlier life left.
fn prepare_workdir(execution: &Execution) -> Result<(), StartError> {
    let Execution::Clean { workdir } = execution else { return Ok(()) };
    fs::create_dir_all(workdir).map_err(|error| StartError::Workdir(workdir.clone(), error))?;
    process::clear(workdir);
    Ok(())
}

fn taken(name: &WorkerName, error: PresenceError) -> StartError {
    match error {
        PresenceError::Taken { since, .. } => StartError::Taken { name: name.clone(), since: since.to_string() },
        error @ (PresenceError::Publish(_) | PresenceError::Read(_)) => StartError::Presence(error),
    }
}

/// Joins and opens the lanes that the answer names.
async fn open_lanes(mesh: &Mesh, options: &Options, instance: &InstanceId) -> Result<Lanes, JoinError> {
    let groups = join(mesh, options, instance).await?;
    Lanes::open(mesh, &groups).await.map_err(JoinError::Mesh)
}

fn programs(options: &Options, instance: &InstanceId) -> Result<Programs, StartError> {
    let launcher = Launcher {
        environment: options.environment.clone(),
        instance: instance.to_string(),
        guard: options.guard.clone(),
        session: Session::suited(),
    };
    match &options.via {
        Via::Process => {
            // A worker whose own directory was removed cannot give it to attempts; each of them will say so.
            let home = std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned());
            let execution = options.execution.clone();
            Ok(Programs::Here(Processes::new(launcher, execution, options.output, home)))
        }
        Via::Functions => Ok(Programs::None),
        Via::Ssh(ssh) => Ok(Programs::Ssh(Arc::new(Ssh::new(launcher, ssh, options).map_err(StartError::Ssh)?))),
    }
}
