//! The server's process, from its start until it serves, and its end.
//!
//! The port is learned from the file that the server itself writes once it listens, so that another program on that
//! port is never taken for it.
#![expect(clippy::disallowed_methods, reason = "the place where the server is started")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::super::binary::Binary;
use super::guard::Guard;
use super::settings::{self, Credentials, private_dir, remove_file};
use super::{Config, StartError};

/// Where a free port is taken from: below the ports that systems give to outgoing connections, so that nobody gets it
/// by accident while the server is down between a crash and its restart.
const FREE_PORTS: Range<u16> = 20_000..32_000;

/// How long a port may still be in use when the server comes back to it: a client that connects to a port without
/// a listener can connect to itself, and gives up after 5 s.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(6);

/// How often to look whether the server serves. It takes about 20 ms.
const READY_POLL: Duration = Duration::from_millis(2);

/// The greeting comes at once or not at all.
const GREETING_WITHIN: Duration = Duration::from_secs(2);

/// The largest greeting that is read; the true one has 500 bytes.
const GREETING_BYTES_MAX: u64 = 64 * 1024;

/// A log that is longer is begun anew with the next start.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How much of the end of the log is quoted, in bytes and in lines.
const TAIL_BYTES_MAX: u64 = 4096;
const TAIL_LINES_MAX: usize = 10;

/// Which port is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Port {
    /// Any that is free.
    AnyFree,
    /// This one.
    This(u16),
}

/// All that a start needs.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) binary: &'a Binary,
    pub(super) config: &'a Config,
    pub(super) credentials: &'a Credentials,
    pub(super) lock: &'a File,
}

impl Launch<'_> {
    /// Starts the server and waits until it serves. Whether a port is free is known only when the server has it, so
    /// this tries until one is.
    pub(super) async fn on(&self, port: Port) -> Result<(Process, u16), StartError> {
        let give_up = Instant::now() + PORT_FREE_WITHIN;
        loop {
            let candidate = match port {
                Port::AnyFree => fastrand::u16(FREE_PORTS),
                Port::This(port) => port,
            };
            match self.once(candidate).await {
                Err(StartError::PortInUse { .. }) if Instant::now() < give_up => sleep(READY_POLL).await,
                Err(error) => return Err(error),
                Ok(process) => return Ok((process, candidate)),
            }
        }
    }

    async fn once(&self, port: u16) -> Result<Process, StartError> {
        let files = |source| StartError::Files { path: self.config.run_dir.clone(), source };
        let ports_dir = self.config.run_dir.join("ports");
        empty_dir(&ports_dir).map_err(files)?;
        let settings = settings::write(self.config, self.credentials, port, &ports_dir).map_err(files)?;
        let log = Log::open(log_file(&self.config.run_dir)).map_err(files)?;
        let mut process = self.spawn(&settings, &log)?;
        let ready = timeout(self.config.ready_within, process.ready(&ports_dir)).await;
        match ready {
            Ok(Ok(())) => Ok(process),
            Ok(Err(status)) => {
                let tail = log.tail();
                if tail.contains("address already in use") {
                    return Err(StartError::PortInUse { port });
                }
                Err(StartError::Ended { status: status.map_err(files)?, log: log.path, tail })
            }
            Err(_elapsed) => {
                let tail = log.tail();
                Err(StartError::NotReady { within: self.config.ready_within, log: log.path, tail })
            }
        }
    }

    fn spawn(&self, settings: &Path, log: &Log) -> Result<Process, StartError> {
        let spawned = (|| {
            Command::new(&self.binary.path)
                .arg("--config")
                .arg(settings)
                // An empty file to read from, and the way to hand the store's lock down: it is held until the server
                // ends too, even if this process is killed.
                .stdin(Stdio::from(self.lock.try_clone()?))
                .stdout(Stdio::from(log.file.try_clone()?))
                .stderr(Stdio::from(log.file.try_clone()?))
                .current_dir(&self.config.run_dir)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        })();
        let server = spawned.map_err(|source| StartError::Spawn { path: self.binary.path.clone(), source })?;
        let guard = server.id().and_then(Guard::over);
        Ok(Process { guard, server })
    }
}

/// The server's process and its guard.
#[derive(Debug)]
pub(super) struct Process {
    /// Before `server`, as fields are dropped in order and the guard must go first.
    guard: Option<Guard>,
    server: Child,
}

impl Process {
    pub(super) fn pid(&self) -> Option<u32> {
        self.server.id()
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.server.wait().await?;
        self.guard = None;
        Ok(status)
    }

    pub(super) fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.server.try_wait()?;
        if status.is_some() {
            self.guard = None;
        }
        Ok(status)
    }

    pub(super) async fn kill(&mut self) -> io::Result<ExitStatus> {
        if self.exited()?.is_none() {
            self.server.start_kill()?;
        }
        self.wait().await
    }

    pub(super) async fn stop(&mut self, within: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        // The server is not waited for yet, so its process id is still its own.
        if let Some(pid) = self.server.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            kill_process(pid, Signal::TERM)?;
        }
        if let Ok(ended) = timeout(within, self.wait()).await {
            return ended;
        }
        tracing::warn!(?within, "nats-server did not stop when asked to: killed");
        self.kill().await
    }

    /// Waits until the server greets a client; else says how it ended.
    async fn ready(&mut self, ports_dir: &Path) -> Result<(), io::Result<ExitStatus>> {
        loop {
            if let Some(status) = self.exited().map_err(Err)? {
                return Err(Ok(status));
            }
            if let Some(port) = listening_port(ports_dir)
                && greets_with_jetstream(port).await
            {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
    }
}

/// What the server writes into its directory of ports, once it listens.
#[derive(Deserialize)]
struct PortsFile {
    nats: Vec<String>,
}

/// The port that the server says it listens on. A file that is half written does not parse, and is read again.
fn listening_port(ports_dir: &Path) -> Option<u16> {
    let file = std::fs::read_dir(ports_dir).ok()?.next()?.ok()?;
    let ports: PortsFile = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
    ports.nats.first()?.rsplit_once(':')?.1.parse().ok()
}

/// What is looked at in the greeting of a server.
#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    jetstream: bool,
}

async fn greets_with_jetstream(port: u16) -> bool {
    let greeting = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let mut line = String::new();
        BufReader::new(stream.take(GREETING_BYTES_MAX)).read_line(&mut line).await.ok()?;
        serde_json::from_str::<Greeting>(line.strip_prefix("INFO ")?).ok()
    };
    timeout(GREETING_WITHIN, greeting).await.is_ok_and(|greeting| greeting.is_some_and(|greeting| greeting.jetstream))
}

/// Makes a directory, or empties the one that is there: a killed server leaves its file behind.
fn empty_dir(dir: &Path) -> io::Result<()> {
    private_dir(dir)?;
    std::fs::read_dir(dir)?.try_for_each(|entry| remove_file(&entry?.path()))
}

/// Where the server of this run directory logs to.
pub(super) fn log_file(run_dir: &Path) -> PathBuf {
    run_dir.join("nats-server.log")
}

/// The server's log, and where in it this start begins.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    start: u64,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        if file.metadata()?.len() > LOG_BYTES_MAX {
            file.set_len(0)?;
        }
        let start = file.metadata()?.len();
        Ok(Self { path, file, start })
    }

    /// The end of what was logged since this start; what cannot be read is not worth hiding the true error for.
    fn tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let from = file.metadata()?.len().saturating_sub(TAIL_BYTES_MAX).max(self.start);
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"));
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let skipped = lines.len().saturating_sub(TAIL_LINES_MAX);
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}
