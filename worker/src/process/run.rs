//! The life of one attempt as a process: start, watch, end, drain, account.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::capture::{Feed, OutputStats, SHIP_MAX, Sink};
use super::dir::Dir;
use super::framing::{Framing, Talk};
use super::guard::Guard;
use super::kill;
use super::pump::Pump;
use super::spawn::{Input, Session, SpawnError, Spawned, spawn};
use super::spec::{ATTEMPT_VARIABLE, INSTANCE_VARIABLE, OwnEnvironment, Spec, Variables, is_marker};
use super::tree::{Leader, Tree};

/// How long a process may take to end after its tree was killed; longer, and it sleeps in the kernel.
const REAP_MAX: Duration = Duration::from_secs(5);

/// Runs attempts as processes. One for each worker.
#[derive(Debug)]
pub struct Launcher {
    /// The worker's own environment.
    pub environment: OwnEnvironment,
    /// The instance of the worker; becomes [`INSTANCE_VARIABLE`].
    pub instance: String,
    /// Who ends the attempts if this worker is killed; none in a process that needs no such care.
    pub guard: Option<Guard>,
    /// Whether attempts get a session of their own.
    pub session: Session,
}

/// How an attempt ended.
#[derive(Debug)]
pub struct Ended {
    /// What ended it.
    pub outcome: Outcome,
    /// The exit code of the first process, if it has one.
    pub exit_code: Option<i32>,
    /// The signal that ended the first process, if one did.
    pub signal: Option<i32>,
    /// From the start of the first process to its end. Without a start it is zero.
    pub elapsed: Duration,
    /// What became of the output.
    pub output: OutputStats,
    /// Processes that live on and were seen: daemons with a session or group of their own after an ordinary end;
    /// after a timeout or cancel, what not even KILL ends.
    pub left_behind: usize,
}

/// What ended an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// The first process ended by itself, well or not.
    Exited,
    /// The time was up; the whole tree was ended.
    TimedOut,
    /// It was cancelled; the whole tree was ended. When `elapsed` is zero it was never started.
    Cancelled,
    /// It was never started.
    NotStarted(SpawnError),
    /// It was started, and how it ended cannot be learned.
    Unknown(io::Error),
}

impl Ended {
    fn without_start(outcome: Outcome) -> Self {
        Self {
            outcome,
            exit_code: None,
            signal: None,
            elapsed: Duration::ZERO,
            output: OutputStats::default(),
            left_behind: 0,
        }
    }
}

impl Launcher {
    /// Runs one attempt to its end, and hands its output to `sink`. Returns when the tree is ended as `outcome` says, the output
    /// is shipped and a fresh directory is removed.
    ///
    /// Dropping the future kills the attempt's process group at once; whoever left the group is then left to the guard.
    pub async fn run(&self, spec: &Spec, cancel: &CancellationToken, sink: &mut impl Sink) -> Ended {
        self.converse(spec, None, cancel, sink).await
    }

    /// As [`Launcher::run`], for a process that starts a command on another machine: `talk` is the conversation with the wrapper
    /// of that command, and only what the command writes is output.
    pub async fn converse(
        &self,
        spec: &Spec,
        talk: Option<Talk>,
        cancel: &CancellationToken,
        sink: &mut impl Sink,
    ) -> Ended {
        if cancel.is_cancelled() {
            return Ended::without_start(Outcome::Cancelled);
        }
        let dir = match Dir::make(&spec.cwd) {
            Ok(dir) => dir,
            Err(error) => return Ended::without_start(Outcome::NotStarted(error)),
        };
        let ended = self.run_in(spec, dir.path(), talk, cancel, sink).await;
        dir.remove().await;
        ended
    }

    async fn run_in(
        &self,
        spec: &Spec,
        dir: &Path,
        talk: Option<Talk>,
        cancel: &CancellationToken,
        sink: &mut impl Sink,
    ) -> Ended {
        let env = match self.env(spec) {
            Ok(env) => env,
            Err(error) => return Ended::without_start(Outcome::NotStarted(error)),
        };
        let watch = self.guard.as_ref().map(|guard| guard.open(&spec.marker));
        let argv = spec.program.argv();
        let input = if talk.is_some() { Input::Pipe } else { Input::Empty };
        let ended = match spawn(&argv, &env, dir, self.session, input).await {
            Err(error) => Ended::without_start(Outcome::NotStarted(error)),
            Ok(spawned) => {
                if let Some(watch) = &watch {
                    watch.lead(spawned.pid);
                }
                drop(env);
                follow(spec, spawned, talk, cancel, sink).await
            }
        };
        if let Some(watch) = watch {
            watch.shut();
        }
        ended
    }

    fn env<'a>(&'a self, spec: &'a Spec) -> Result<Variables<'a>, SpawnError> {
        if !is_marker(&spec.marker) {
            return Err(SpawnError::Invalid("its marker is not one printable word"));
        }
        let mut env = spec.env.resolve(&self.environment)?;
        env.insert(OsStr::new(ATTEMPT_VARIABLE), OsStr::new(&spec.marker));
        env.insert(OsStr::new(INSTANCE_VARIABLE), OsStr::new(&self.instance));
        Ok(env)
    }
}

/// Follows a process that was started to its end.
async fn follow(
    spec: &Spec,
    spawned: Spawned,
    talk: Option<Talk>,
    cancel: &CancellationToken,
    sink: &mut impl Sink,
) -> Ended {
    let Spawned { child, pid, stdin, stdout, stderr } = spawned;
    let feed = Feed::new(spec.capture);
    let (framing, saying) = match talk {
        None => (None, None),
        Some(Talk { token, script, words, told }) => {
            (Some(Framing::new(&token, told)), stdin.zip(Some((script, words))))
        }
    };
    let over = CancellationToken::new();
    let process = Process {
        leash: Leash { group: Some(pid) },
        child,
        pid,
        pump: Pump::new(&feed, framing, stdout, stderr),
        start: Instant::now(),
    };
    let supervised = async {
        let end = process.supervise(spec, cancel).await;
        feed.close();
        over.cancel();
        end
    };
    let said = async {
        if let Some((stdin, (script, words))) = saying {
            // Standard input ends with this, at the latest with the process.
            over.run_until_cancelled(say(stdin, script, words)).await;
        }
    };
    let (end, (), ()) = futures::future::join3(supervised, feed.ship(sink, SHIP_MAX), said).await;
    let (outcome, status) = match end.status {
        Ok(status) => (end.outcome, Some(status)),
        Err(error) => (Outcome::Unknown(error), None),
    };
    Ended {
        outcome,
        exit_code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        elapsed: end.elapsed,
        output: feed.into_stats(),
        left_behind: end.left_behind,
    }
}

/// Writes the script, then word for word, until nobody reads any more; with no more words to come, it waits.
async fn say(mut stdin: Sender, script: String, mut words: mpsc::Receiver<&'static str>) {
    let mut text = script;
    while let Ok(()) = stdin.write_all(text.as_bytes()).await {
        match words.recv().await {
            Some(word) => text = format!("{word}\n"),
            None => std::future::pending().await,
        }
    }
}

/// A process of ours that has not been reaped.
#[derive(Debug)]
struct Process<'a> {
    leash: Leash,
    child: Child,
    pid: Pid,
    pump: Pump<'a>,
    start: Instant,
}

/// How it ended.
#[derive(Debug)]
struct End {
    outcome: Outcome,
    status: io::Result<ExitStatus>,
    elapsed: Duration,
    left_behind: usize,
}

impl Process<'_> {
    async fn supervise(mut self, spec: &Spec, cancel: &CancellationToken) -> End {
        let (outcome, status) = match self.first_event(spec.timeout, cancel).await {
            Ok(status) => (Outcome::Exited, status),
            Err(outcome) => {
                self.end_tree(spec).await;
                // Only now: while it is not reaped, its id and its group's are nobody else's.
                let reaped = timeout(REAP_MAX, self.child.wait()).await;
                (outcome, reaped.unwrap_or_else(|late| Err(late.into())))
            }
        };
        let elapsed = self.start.elapsed();
        let group = Some(self.pid).filter(|pid| kill::has_members(*pid));
        if group.is_none() {
            self.leash.loose();
        }
        self.pump.rest().await;
        let left_behind =
            if self.pump.is_done() && group.is_none() { 0 } else { kill::leftovers(group, &spec.marker).await };
        self.leash.loose();
        End { outcome, status, elapsed, left_behind }
    }

    /// The status of the process when it ends by itself; else why it is to be ended.
    async fn first_event(
        &mut self,
        timeout: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<io::Result<ExitStatus>, Outcome> {
        let deadline = async {
            match timeout {
                Some(timeout) => sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            status = self.child.wait() => Ok(status),
            () = cancel.cancelled() => Err(Outcome::Cancelled),
            () = deadline => Err(Outcome::TimedOut),
            never = self.pump.forever() => match never {},
        }
    }

    async fn end_tree(&mut self, spec: &Spec) {
        let tree = || Tree::new(vec![Leader::held(self.pid)], [spec.marker.clone()]);
        let end = async {
            tokio::select! {
                survivors = kill::end(tree(), spec.grace) => survivors,
                () = spec.hurry.cancelled() => kill::kill(tree()).await,
            }
        };
        tokio::select! {
            survivors = end => {
                if survivors > 0 {
                    tracing::error!(survivors, marker = spec.marker, "processes survive KILL");
                }
            }
            never = self.pump.forever() => match never {},
        }
    }
}

/// Kills a process group when it is dropped, unless it was let loose.
#[derive(Debug)]
struct Leash {
    group: Option<Pid>,
}

impl Leash {
    fn loose(&mut self) {
        self.group = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may be gone by now.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}
