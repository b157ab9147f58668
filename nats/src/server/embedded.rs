//! A nats-server with JetStream as a child of this process, on a loopback port that it alone uses.
//!
//! The store directory is locked by an open file that the server inherits, so the lock lasts as long as either lives.
//! The server is its own process group, so Ctrl-C in the terminal reaches this process only, which then stops it.

mod guard;
mod launch;
mod settings;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::Instant;

use super::binary::Binary;
use launch::{Launch, Port, Process};
use settings::{Credentials, private_dir};

/// The server's lock in its store directory.
const LOCK_FILE: &str = "rr.lock";

/// How long a store may still be in use: the server of a process that was killed takes a moment to stop.
const STORE_FREE_WITHIN: Duration = Duration::from_secs(2);

/// How often to look whether the store is free.
const STORE_POLL: Duration = Duration::from_millis(10);

/// How long a server may take to stop when asked to; usually milliseconds, more with much to write out.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where JetStream keeps its data; made if missing.
    pub store_dir: PathBuf,
    /// Where the server's configuration and log go, and nobody else's; made if missing.
    pub run_dir: PathBuf,
    /// The server's name, without spaces; by default the server makes one up.
    pub name: Option<String>,
    /// The port on 127.0.0.1; by default a free one.
    pub port: Option<u16>,
    /// When a write counts as stored.
    pub durability: Durability,
    /// The most that all streams together may keep on disk, in bytes; should stay well below what the disk has free,
    /// because a full disk makes publishes time out, while this limit refuses them with a reason. Default: 16 GiB.
    pub file_store_max: u64,
    /// How long the server may take until it serves; a large store takes long to read back. Default: 60 s.
    pub ready_within: Duration,
}

impl Config {
    /// A server with this store and these files of its own, and defaults for the rest.
    pub fn new(store_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            store_dir: store_dir.into(),
            run_dir: run_dir.into(),
            name: None,
            port: None,
            durability: Durability::Periodic,
            file_store_max: 16 << 30,
            ready_within: Duration::from_mins(1),
        }
    }
}

/// When JetStream acknowledges a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When the system has it: it outlives the death of the server, but not of the machine. The server's default.
    Periodic,
    /// When the disk has it: it outlives a power failure, and costs 30 to 100 times the throughput.
    EveryWrite,
}

/// A running (or killed, or dead) server. Dropping it kills the server.
#[derive(Debug)]
pub struct Embedded {
    binary: Binary,
    config: Config,
    credentials: Credentials,
    lock: File,
    port: u16,
    process: Process,
}

impl Embedded {
    /// Starts a server and waits until it serves.
    ///
    /// Dropping the future kills what was started.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then, and the store is free.
    pub async fn start(binary: &Binary, config: Config) -> Result<Self, StartError> {
        let config = absolute(config)?;
        for dir in [&config.store_dir, &config.run_dir] {
            private_dir(dir).map_err(|source| StartError::Files { path: dir.clone(), source })?;
        }
        let lock = lock_store(&config.store_dir).await?;
        let credentials =
            Credentials::random().map_err(|source| StartError::Files { path: settings::RANDOM.into(), source })?;
        let port = config.port.map_or(Port::AnyFree, Port::This);
        let launch = Launch { binary, config: &config, credentials: &credentials, lock: &lock };
        let (process, port) = launch.on(port).await?;
        Ok(Self { binary: binary.clone(), config, credentials, lock, port, process })
    }

    /// Where it serves, without credentials: may be shown and logged.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The only user that it knows.
    pub fn user(&self) -> &str {
        &self.credentials.user
    }

    /// That user's password.
    pub fn password(&self) -> &str {
        &self.credentials.password
    }

    /// The port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id, `None` once it has ended and that was seen.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The file that the server logs to.
    pub fn log_file(&self) -> PathBuf {
        launch::log_file(&self.config.run_dir)
    }

    /// Waits until the server has ended, for whatever reason; at once if it has. Cancel-safe.
    ///
    /// # Errors
    /// The system would not say how it ended.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// How the server ended, `None` while it runs.
    ///
    /// # Errors
    /// The system would not say.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.exited()
    }

    /// Asks the server to stop and waits; after 10 s it is killed. The store is free afterwards.
    ///
    /// # Errors
    /// The system would not signal it or not say how it ended.
    pub async fn stop(mut self) -> io::Result<ExitStatus> {
        self.process.stop(STOP_WITHIN).await
    }

    /// Kills the server as a crash would (SIGKILL) and waits until it is gone. [`Embedded::restart`] brings it back.
    ///
    /// # Errors
    /// The system would not signal it or not say how it ended.
    pub async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.process.kill().await
    }

    /// Starts the server again, on the same port, store and credentials; stops it first if it runs.
    ///
    /// # Errors
    /// [`StartError`]; no server runs then, and this may be called again.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.process.stop(STOP_WITHIN).await.map_err(|source| StartError::Stop { source })?;
        let Self { binary, config, credentials, lock, .. } = &*self;
        let (process, _port) = Launch { binary, config, credentials, lock }.on(Port::This(self.port)).await?;
        self.process = process;
        Ok(())
    }
}

fn absolute(config: Config) -> Result<Config, StartError> {
    let absolute =
        |path: PathBuf| std::path::absolute(&path).map_err(|source| StartError::Files { path: path.clone(), source });
    Ok(Config { store_dir: absolute(config.store_dir)?, run_dir: absolute(config.run_dir)?, ..config })
}

async fn lock_store(dir: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Files { path: dir.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK_FILE))
        .map_err(failed)?;
    let deadline = Instant::now() + STORE_FREE_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => tokio::time::sleep(STORE_POLL).await,
            Err(TryLockError::WouldBlock) => return Err(StartError::StoreInUse { dir: dir.to_owned() }),
        }
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server has this store: stop it, or use another directory.
    #[error("use the store {dir:?}: another nats-server of rr is using it")]
    StoreInUse {
        /// The store.
        dir: PathBuf,
    },
    /// Another program listens on the port that was asked for.
    #[error("start nats-server on port {port}: another program has it")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// The server ended by itself; its log says why.
    #[error("start nats-server: it ended at once ({status}); the end of its log {log:?}:\n{tail}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// The server did not serve in time and was killed.
    #[error("start nats-server: it did not serve within {within:?}; the end of its log {log:?}:\n{tail}")]
    NotReady {
        /// How long it had.
        within: Duration,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// The program could not be started.
    #[error("start {path:?}")]
    Spawn {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server that runs could not be stopped before a restart.
    #[error("stop nats-server")]
    Stop {
        /// What the system said.
        source: io::Error,
    },
    /// The server's files could not be prepared.
    #[error("prepare {path:?} for nats-server")]
    Files {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
