//! A second process that outlives the worker for a moment, to end what the worker has left running.
//!
//! Nothing in a worker that is killed with -9 can clean up after it. So it keeps a helper in a process group of its own,
//! tied to it by a pipe. Down the pipe go lines: which attempts are open, and which process leads each. When the pipe ends,
//! for whatever reason, the guard kills the whole tree of everything that is still registered, and exits. A clean end
//! has nothing registered. Daemons that finished attempts left on purpose are not registered any more, so they live.
//!
//! An attempt is registered before it is started: between start and registration there is no moment in which a death of the
//! worker would leave an orphan. If the guard dies, the [`Keeper`] starts another and registers everything again.
//!
//! Lines: `open KEY`, `lead KEY PID`, `shut KEY`. A key is the marker of an attempt, or names another child. The guard looks up
//! the start time of a leader, within [`READ_PAUSE`](helper::READ_PAUSE), so that it never hits somebody who was given the same number later;
//! of an attempt that was over before, it need not know more.

mod helper;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::helper::guard_main;
use super::spawn;
use super::spec::is_marker;

/// Room in the pipe: some ten thousand lines, far more than can come between two reads of the guard. Linux gives this much to anybody.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1024 * 1024;

/// How often a guard that died is replaced; more often means that something kills guards.
const RESTARTS_MAX: u32 = 5;

/// A guard that lived this long counts as sound, and the restarts are counted anew.
const SOUND_AFTER: Duration = Duration::from_mins(1);

/// First pause before a restart; it doubles.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// How long a clean end waits for the guard to exit: a little more than it may spend on killing.
const FAREWELL_MAX: Duration = Duration::from_secs(12);

/// How a guard is started.
#[derive(Clone, Debug)]
pub struct GuardCommand {
    /// The executable; `/proc/self/exe` stays right when the file is replaced under a running worker.
    pub exe: PathBuf,
    /// The arguments that make it call [`guard_main`].
    pub args: Vec<OsString>,
}

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It cannot be started.
    #[error("start the guard process {0:?}")]
    Start(PathBuf, #[source] io::Error),
    /// It was started again and again, and died each time. Attempts go on; a killed worker would leave them running.
    #[error("keep a guard process: it died {RESTARTS_MAX} times in a row")]
    Dies,
}

/// A handle to register with.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A std mutex, held for one write that does not block.
    board: Mutex<Board>,
    broken: Notify,
}

/// Who is registered, and the way to the guard.
#[derive(Debug, Default)]
struct Board {
    open: BTreeMap<String, Option<Pid>>,
    pipe: Option<PipeWriter>,
}

/// Keeps the guard alive.
#[derive(Debug)]
#[must_use = "without its keeper a guard that dies is not replaced"]
pub struct Keeper {
    shared: Arc<Shared>,
    command: GuardCommand,
    child: Child,
}

/// The registration of one attempt. Dropped without [`Watch::shut`], it stays: the guard ends that tree when the worker ends.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    guard: &'a Guard,
    key: &'a str,
}

impl Guard {
    /// Starts a guard. The keeper must be run for as long as the worker lives.
    ///
    /// # Errors
    ///
    /// [`GuardError::Start`] when the process cannot be started.
    pub fn start(command: GuardCommand) -> Result<(Self, Keeper), GuardError> {
        let (reader, pipe) = open_pipe(&command)?;
        let child = launch(&command, reader)?;
        let board = Board { open: BTreeMap::new(), pipe: Some(pipe) };
        let shared = Arc::new(Shared { board: Mutex::new(board), broken: Notify::new() });
        Ok((Self(Arc::clone(&shared)), Keeper { shared, command, child }))
    }

    /// Registers a child that is no attempt, a server for example. `name` is one printable word that no other child has.
    pub fn adopt(&self, name: &str, pid: u32) {
        if is_marker(name)
            && let Some(pid) = Pid::from_raw(pid.cast_signed())
        {
            self.0.lead(name, pid);
        }
    }

    /// Registers something that is about to start, by the marker in its environment.
    pub(super) fn enlist(&self, marker: &str) {
        self.0.open(marker);
    }

    /// Takes such a child off again.
    pub fn release(&self, name: &str) {
        self.0.shut(name);
    }

    /// Registers an attempt, before it is started.
    pub(super) fn open<'a>(&'a self, marker: &'a str) -> Watch<'a> {
        self.0.open(marker);
        Watch { guard: self, key: marker }
    }
}

impl Watch<'_> {
    /// Names the leader: it is found even if it clears its environment.
    pub(super) fn lead(&self, pid: Pid) {
        self.guard.0.lead(self.key, pid);
    }

    /// Ends the registration.
    pub(super) fn shut(self) {
        self.guard.0.shut(self.key);
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, key: &str) {
        let mut board = self.board();
        board.open.insert(key.to_owned(), None);
        self.write(&mut board, &open_line(key));
    }

    fn lead(&self, key: &str, pid: Pid) {
        let mut board = self.board();
        board.open.insert(key.to_owned(), Some(pid));
        self.write(&mut board, &lead_line(key, pid));
    }

    fn shut(&self, key: &str) {
        let mut board = self.board();
        if board.open.remove(key).is_some() {
            self.write(&mut board, &format!("shut {key}\n"));
        }
    }

    /// A line that does not go through means a guard that is dead or stuck; the keeper replaces it.
    fn write(&self, board: &mut Board, line: &str) {
        let Some(pipe) = &mut board.pipe else { return };
        // A line is shorter than what a pipe takes whole or not at all.
        if !matches!(pipe.write(line.as_bytes()), Ok(n) if n == line.len()) {
            board.pipe = None;
            self.broken.notify_one();
        }
    }

    /// Waits until there is no way to the guard. Safe to drop.
    async fn is_broken(&self) {
        loop {
            self.broken.notified().await;
            // The news may be of a guard before this one.
            if self.board().pipe.is_none() {
                return;
            }
        }
    }

    /// Hands the way to a new guard in, and everything that is registered.
    fn connect(&self, mut pipe: PipeWriter) -> io::Result<()> {
        let mut board = self.board();
        let mut lines = String::new();
        for (key, leader) in &board.open {
            lines.push_str(&match leader {
                Some(pid) => lead_line(key, *pid),
                None => open_line(key),
            });
        }
        pipe.write_all(lines.as_bytes())?;
        board.pipe = Some(pipe);
        Ok(())
    }
}

fn open_line(key: &str) -> String {
    format!("open {key}\n")
}

fn lead_line(key: &str, pid: Pid) -> String {
    format!("lead {key} {}\n", pid.as_raw_pid())
}

impl Keeper {
    /// Replaces the guard when it dies, until `stop`; then waits for it to exit.
    ///
    /// # Errors
    ///
    /// [`GuardError`] when there is no guard any more. The worker goes on without one, or stops: its choice.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), GuardError> {
        let mut restarts = 0;
        loop {
            let since = Instant::now();
            let broken = tokio::select! {
                status = self.child.wait() => format!("{status:?}"),
                () = self.shared.is_broken() => "it takes no lines".to_owned(),
                () = stop.cancelled() => {
                    self.shared.board().pipe = None;
                    if timeout(FAREWELL_MAX, self.child.wait()).await.is_err() {
                        tracing::warn!("guard process still busy");
                    }
                    return Ok(());
                }
            };
            tracing::warn!(broken, "guard process lost");
            restarts = if since.elapsed() < SOUND_AFTER { restarts + 1 } else { 1 };
            if restarts > RESTARTS_MAX {
                return Err(GuardError::Dies);
            }
            sleep(RESTART_PAUSE * 2_u32.pow(restarts)).await;
            self.replace().await?;
        }
    }

    async fn replace(&mut self) -> Result<(), GuardError> {
        // Kill it before its pipe ends: or it would take that for the death of the worker.
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "guard process was gone");
        }
        self.shared.board().pipe = None;
        let (reader, writer) = open_pipe(&self.command)?;
        // The names go into the pipe before there is a guard to read them: whoever kills the worker in between finds one
        // that knows them all.
        if let Err(error) = self.shared.connect(writer) {
            tracing::warn!(%error, "guard process takes no lines");
            self.shared.broken.notify_one();
        }
        self.child = launch(&self.command, reader)?;
        Ok(())
    }
}

/// A pipe that never blocks the worker, however slow the guard reads.
fn open_pipe(command: &GuardCommand) -> Result<(PipeReader, PipeWriter), GuardError> {
    let open = || {
        let (reader, writer) = io::pipe()?;
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES) {
            tracing::debug!(%error, "pipe to the guard stays small");
        }
        let flags = rustix::fs::fcntl_getfl(&writer)?;
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok((reader, writer))
    };
    open().map_err(|error| GuardError::Start(command.exe.clone(), error))
}

fn launch(command: &GuardCommand, reader: PipeReader) -> Result<Child, GuardError> {
    let start = || {
        let mut guard = spawn::command(&command.exe, spawn::Session::Shared)?;
        guard.args(&command.args).current_dir("/").stdin(reader).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    start().map_err(|error| GuardError::Start(command.exe.clone(), error))
}
