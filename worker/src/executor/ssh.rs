//! Attempts on machines that have no worker: over the system's `ssh`, with the user's own configuration.
//!
//! What is known decides the outcome. `unreachable`: the wrapper of the command was never told to start it, so it did not run.
//! `lost`: it was told, and the connection ended without word of the end; nobody knows whether it ran to its end.
//! Anything else was heard from the wrapper itself. The exit code of `ssh` is never asked: 255 may be the command's.
//!
//! Reading order: this file (the life of an attempt), `script` (the wrapper on the other machine), `masters` (connections).

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rr_schemas::{
    host::Host,
    offer::{Command, Target},
    report::{Ended, Outcome, Output},
};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::masters::{Masters, NoConnection, reason};
use self::script::{ENTRY, GO, KILL, Remote, TERM};
use super::process::environment;
use super::{Assignment, Executor, cut_to_fit, ended, ended_because};
use crate::config::{Options, SshOptions};
use crate::process::{
    CaptureLimits, Cwd, Environment, Inherit, Launcher, OutputStats, OwnEnvironment, Program, SpawnError, Spec, Stage,
    Talk, Token, Told, find,
};

mod masters;
mod script;

/// Words that wait to be written: no more are ever said.
const WORDS_MAX: usize = 4;

/// How long a wrapper that has said its last word may keep the connection: what the command left behind holds it open.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// How long the word that a tree is killed may take to come back.
const KILLED_MAX: Duration = Duration::from_secs(5);

/// Between TERM and KILL for the `ssh` on this machine.
const LOCAL_GRACE: Duration = Duration::from_millis(500);

/// A shell tells a death by signal as this and the signal's number.
const SIGNAL_BASE: i32 = 128;

/// The largest number of a signal that is meant so.
const SIGNAL_MAX: i32 = 31;

/// Carries commands out over ssh.
#[derive(Debug)]
pub(crate) struct Ssh {
    launcher: Launcher,
    masters: Masters,
    capture: CaptureLimits,
}

/// Why a worker cannot go by ssh.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// There is no ssh.
    #[error("find the ssh program (install an OpenSSH client, or name it in worker.ssh.program)")]
    Program(#[source] SpawnError),
    /// There is no place for the sockets of its connections.
    #[error("prepare a directory for the sockets of ssh")]
    Directory(#[source] io::Error),
}

impl Ssh {
    /// Finds the program, and prepares a directory for its sockets.
    pub(crate) fn new(launcher: Launcher, ssh: &SshOptions, options: &Options) -> Result<Self, SshError> {
        let program = find(&ssh.program, &options.environment).map_err(SshError::Program)?;
        let environment = options.environment.clone();
        let masters = Masters::new(program, ssh.clone(), environment, &options.state_dir);
        Ok(Self {
            launcher,
            masters: masters.map_err(SshError::Directory)?,
            capture: CaptureLimits {
                bytes_max: options.output.bytes_max,
                tail_bytes: options.output.tail_bytes,
                ..CaptureLimits::default()
            },
        })
    }

    /// Ends all connections.
    pub(crate) async fn close(&self) {
        self.masters.close().await;
    }

    /// The call of `ssh` itself. It ends when the conversation does; only a broken one is ended by force.
    fn spec(&self, task: &Assignment, host: &Host) -> Spec {
        let mut argv = vec![self.masters.program.display().to_string()];
        argv.extend(self.masters.base(host));
        argv.extend(["-o", "ControlMaster=no", "--"].map(str::to_owned));
        argv.extend([host.to_string(), ENTRY.to_owned()]);
        Spec {
            program: Program::Argv(argv),
            env: Environment { inherit: Inherit::All, set: [].into() },
            cwd: Cwd::Given("/".into()),
            timeout: None,
            grace: LOCAL_GRACE,
            hurry: CancellationToken::new(),
            marker: task.marker.clone(),
            capture: self.capture,
        }
    }

    async fn attempt(&self, host: Host, script: String, token: Token, mut task: Assignment) -> Ended {
        let connected = tokio::select! {
            connected = self.masters.ready(&host) => connected,
            () = task.cancel.cancelled() => {
                return ended_because(Outcome::Cancelled, "cancelled before it started", task.clock.now());
            }
        };
        match connected {
            Ok(()) => {}
            Err(NoConnection::Away(reason)) => return ended_because(Outcome::Unreachable, &reason, task.clock.now()),
            Err(NoConnection::Unwelcome(reason)) => return ended_because(Outcome::Refused, &reason, task.clock.now()),
        }
        let started_at = task.clock.now();
        let (words, said) = mpsc::channel(WORDS_MAX);
        let (told, hear) = watch::channel(Told::default());
        let hang_up = CancellationToken::new();
        let steering = Steering {
            hear,
            words,
            hang_up: hang_up.clone(),
            cancel: task.cancel.clone(),
            hurry: task.hurry.clone(),
            limit: task.offer.timeout.map(Duration::from),
            grace: task.grace,
            begin_max: self.masters.options.connect_timeout.as_duration(),
        };
        let spec = self.spec(&task, &host);
        let conversation = Talk { token, script, words: said, told };
        let call = self.launcher.converse(&spec, Some(conversation), &hang_up, &mut task.output);
        let (verdict, call) = futures::future::join(steering.steer(), call).await;
        if matches!(verdict, Verdict::Unreachable(_) | Verdict::Lost) {
            self.masters.doubt(&host);
        }
        let shipped = task.output.settle().await;
        let output = account(call.output, shipped);
        Ended { output, ..verdict.ended(started_at, task.clock.now()) }
    }
}

impl Executor for Arc<Ssh> {
    fn execute(&self, task: Assignment) -> BoxFuture<'static, Ended> {
        let token = Token::random();
        match wrapped(&task, &token, &self.launcher.environment) {
            Ok((host, script)) => {
                let ssh = Self::clone(self);
                async move { ssh.attempt(host, script, token, task).await }.boxed()
            }
            Err(reason) => std::future::ready(ended_because(Outcome::Refused, &reason, task.clock.now())).boxed(),
        }
    }
}

/// The host of an attempt, and the wrapper of its command.
fn wrapped(task: &Assignment, token: &Token, own: &OwnEnvironment) -> Result<(Host, String), String> {
    let offer = &*task.offer;
    let Target::Host(host) = &offer.target else {
        return Err("a worker that goes by ssh serves hosts, not queues".to_owned());
    };
    let argv = match &offer.command {
        Command::Argv(argv) => argv.iter().map(String::as_str).collect(),
        Command::Shell { shell, script } => shell.iter().map(String::as_str).chain([script.as_str()]).collect(),
        Command::Handler(name) => return Err(format!("handler \"{name}\" is no program")),
    };
    if let Some(cwd) = offer.cwd.as_deref().filter(|cwd| !is_plain(cwd)) {
        return Err(format!("cwd must be an absolute path without \"..\" where commands run over ssh; got {cwd:?}"));
    }
    let mut env = environment(task);
    for name in &offer.inherit_env {
        if let Some(value) = own.get(std::ffi::OsStr::new(name.as_str())).and_then(|value| value.to_str()) {
            env.entry(name.to_string()).or_insert_with(|| value.to_owned());
        }
    }
    // Not the marker of the call of `ssh` itself: a worker may go to its own machine.
    let marker = format!("{}.ssh", task.marker);
    let remote = Remote { argv, env, cwd: offer.cwd.as_deref(), marker: &marker, grace: task.grace };
    Ok((host.clone(), remote.script(token)?))
}

/// Whether a directory is absolute and leads nowhere upwards.
fn is_plain(cwd: &str) -> bool {
    Path::new(cwd).is_absolute() && Path::new(cwd).components().all(|part| part != Component::ParentDir)
}

fn account(stats: OutputStats, shipped: Output) -> Output {
    Output {
        stdout_bytes: stats.stdout_bytes,
        stderr_bytes: stats.stderr_bytes,
        dropped_bytes: stats.dropped_bytes + shipped.dropped_bytes,
        chunks: shipped.chunks,
    }
}

/// What is known of the end of an attempt.
#[derive(Debug)]
enum Verdict {
    /// The command was never started.
    Unreachable(String),
    /// The wrapper would not start it.
    Refused(String),
    /// It ended by itself.
    Ended(i32),
    /// It was asked to end; whether it has is confirmed, or not.
    Stopped(Outcome, bool),
    /// It was started, and nothing is known of its end.
    Lost,
}

impl Verdict {
    fn ended(self, started_at: Timestamp, now: Timestamp) -> Ended {
        match self {
            Self::Unreachable(reason) => ended_because(Outcome::Unreachable, &reason, now),
            Self::Refused(reason) => ended_because(Outcome::Refused, &reason, now),
            Self::Ended(code) => {
                let outcome = if code == 0 { Outcome::Ok } else { Outcome::Failed };
                let signal = (code - SIGNAL_BASE).clamp(0, SIGNAL_MAX + 1);
                // It may also have exited with this number; a shell does not tell them apart.
                let reason = (1..=SIGNAL_MAX).contains(&signal).then(|| format!("signal {signal}, or exit {code}"));
                Ended { exit_code: Some(code), reason, ..ended(outcome, Some(started_at), now) }
            }
            Self::Stopped(outcome, true) => ended(outcome, Some(started_at), now),
            Self::Stopped(outcome, false) => {
                // A time-out is tried again at once; who may still run must not be doubled where that is not wanted.
                let outcome = if outcome == Outcome::Timeout { Outcome::Lost } else { outcome };
                let reason = Some(cut_to_fit("asked to end, and the other machine has not said that it did"));
                Ended { reason, ..ended(outcome, Some(started_at), now) }
            }
            Self::Lost => {
                let reason = Some("the connection ended before the command did".to_owned());
                Ended { reason, ..ended(Outcome::Lost, Some(started_at), now) }
            }
        }
    }
}

/// Leads the conversation with a wrapper.
#[derive(Debug)]
struct Steering {
    hear: watch::Receiver<Told>,
    words: mpsc::Sender<&'static str>,
    /// Ends the call of `ssh`.
    hang_up: CancellationToken,
    cancel: CancellationToken,
    hurry: CancellationToken,
    limit: Option<Duration>,
    grace: Duration,
    begin_max: Duration,
}

impl Steering {
    async fn steer(mut self) -> Verdict {
        let verdict = self.converse().await;
        // The call ends by itself in a moment, or is held open by what the command left.
        let is_over = async { while self.hear.changed().await.is_ok() {} };
        if timeout(FAREWELL_MAX, is_over).await.is_err() {
            self.hang_up.cancel();
        }
        verdict
    }

    async fn converse(&mut self) -> Verdict {
        let cancel = self.cancel.clone();
        let begun = tokio::select! {
            begun = timeout(self.begin_max, heard(&mut self.hear, |stage| *stage != Stage::Silent)) => begun,
            () = cancel.cancelled() => {
                self.hang_up.cancel();
                return Verdict::Stopped(Outcome::Cancelled, true);
            }
        };
        match begun {
            Ok(Some(Stage::Begun)) => {}
            Ok(Some(Stage::Refused(reason))) => return Verdict::Refused(reason),
            Ok(Some(Stage::Silent | Stage::Ended(_)) | None) => {
                return Verdict::Unreachable(reason(&self.hear.borrow().before));
            }
            Err(_) => {
                self.hang_up.cancel();
                return Verdict::Unreachable(format!("no shell answered within {:?}", self.begin_max));
            }
        }
        self.say(GO).await;
        let overdue = async {
            match self.limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let early = tokio::select! {
            biased;
            stage = heard(&mut self.hear, is_last) => return last(stage),
            () = cancel.cancelled() => Outcome::Cancelled,
            () = overdue => Outcome::Timeout,
        };
        Verdict::Stopped(early, self.stop().await)
    }

    /// Ends the tree on the other machine. Returns whether it said so.
    async fn stop(&mut self) -> bool {
        let (hurry, never) = (self.hurry.clone(), CancellationToken::new());
        for (word, wait, early) in [(TERM, self.grace, hurry), (KILL, KILLED_MAX, never)] {
            self.say(word).await;
            let end = timeout(wait, early.run_until_cancelled(heard(&mut self.hear, is_last)));
            match end.await {
                Ok(Some(Some(_))) => return true,
                // The connection is gone; before KILL takes the wrapper along it says so.
                Ok(Some(None)) => return false,
                Ok(None) | Err(_) => {}
            }
        }
        false
    }

    async fn say(&self, word: &'static str) {
        // Nobody takes it when the call has ended; that is heard, too.
        let _ = timeout(LOCAL_GRACE, self.words.send(word)).await;
    }
}

const fn is_last(stage: &Stage) -> bool {
    match stage {
        Stage::Ended(_) | Stage::Refused(_) => true,
        Stage::Silent | Stage::Begun => false,
    }
}

fn last(stage: Option<Stage>) -> Verdict {
    match stage {
        Some(Stage::Ended(code)) => Verdict::Ended(code),
        Some(Stage::Refused(reason)) => Verdict::Refused(reason),
        Some(Stage::Silent | Stage::Begun) | None => Verdict::Lost,
    }
}

/// The first stage that is wanted; none when the call has ended without.
async fn heard(hear: &mut watch::Receiver<Told>, wanted: impl Fn(&Stage) -> bool) -> Option<Stage> {
    hear.wait_for(|told| wanted(&told.stage)).await.ok().map(|told| told.stage.clone())
}
