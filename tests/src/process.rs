//! What a sandbox starts: a process with its output in files, ended when the test ends.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;
use tokio::time::timeout;

use crate::wait::eventually;

/// How a process ended, and what it wrote.
#[derive(Debug)]
pub struct Output {
    /// What was called, for messages.
    pub call: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout; bytes that are no text are replaced.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Output {
    /// The same, if the exit code is right.
    ///
    /// # Panics
    /// It is another one.
    #[track_caller]
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#}");
        self
    }

    /// The same, if all these texts stand in what it wrote, wherever.
    ///
    /// # Panics
    /// One is missing.
    #[track_caller]
    #[must_use]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text) || self.stderr.contains(text), "{text:?} is missing in {self:#}");
        }
        self
    }

    /// Its stdout as one JSON document.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn json<T: serde_json::value::Index + ?Sized>(&self, key: &T) -> serde_json::Value {
        let value: serde_json::Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:#}"));
        value.get(key).cloned().unwrap_or(serde_json::Value::Null)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, status, stdout, stderr } = self;
        write!(f, "{call}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// A process that runs. Its group is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub(crate) call: String,
    pub(crate) child: Child,
    pub(crate) pid: u32,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
}

impl Running {
    /// Its process id, also of its process group.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// The system does not say.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("the state of a child").is_none()
    }

    /// Waits until it has written this, to stdout or stderr.
    ///
    /// # Panics
    /// It has not within `limit`, or has ended before.
    pub async fn has_written(&mut self, text: &str, limit: Duration) {
        let what = format!("{text:?} of {}", self.call);
        eventually(&what, limit, async || {
            let (stdout, stderr) = (self.stdout(), self.stderr());
            if stdout.contains(text) || stderr.contains(text) {
                return Ok(());
            }
            assert!(self.runs(), "{} has ended: {stdout}{stderr}", self.call);
            Err(format!("{stdout}{stderr}"))
        })
        .await;
    }

    /// Ctrl-C as a terminal does it: INT to the whole group.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub fn ctrl_c(&self) {
        kill_process_group(pid(self.pid), Signal::INT).expect("a process group to interrupt");
    }

    /// Asks it to stop.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub fn terminate(&self) {
        kill_process(pid(self.pid), Signal::TERM).expect("a process to terminate");
    }

    /// `kill -9` of this one process, and waits until it is gone.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub async fn kill(&mut self) {
        kill_process(pid(self.pid), Signal::KILL).expect("a process to kill");
        self.child.wait().await.expect("an end");
    }

    /// Stops it in its tracks, as a machine that sleeps does; it knows nothing of that.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub fn pause(&self) {
        kill_process_group(pid(self.pid), Signal::STOP).expect("a process group to pause");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// It cannot be signalled.
    pub fn go_on(&self) {
        kill_process_group(pid(self.pid), Signal::CONT).expect("a process group to go on");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end within `limit`.
    pub async fn ended(self, limit: Duration) -> Output {
        self.try_ended(limit).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same for whoever goes on where it does not.
    ///
    /// # Errors
    /// It does not end within `limit`.
    ///
    /// # Panics
    /// The system does not say how it ended.
    pub async fn try_ended(mut self, limit: Duration) -> Result<Output, String> {
        let Ok(status) = timeout(limit, self.child.wait()).await else {
            return Err(format!("{} still runs after {limit:?}\n{}{}", self.call, self.stdout(), self.stderr()));
        };
        let status = status.expect("an exit status");
        let (call, stdout, stderr) = (std::mem::take(&mut self.call), self.stdout(), self.stderr());
        Ok(Output { call, status, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The group may be gone already.
        let _ = kill_process_group(pid(self.pid), Signal::KILL);
    }
}

fn read(path: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

pub(crate) fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id")
}
