//! A command in the foreground: with the terminal, files, directory and environment of whoever called us, who waits for it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::timeout;

use super::guard::Guard;
use super::kill;
use super::spawn::{SpawnError, foreground};
use super::spec::{ATTEMPT_VARIABLE, OwnEnvironment, is_marker};
use super::tree::{Leader, Tree};

/// How long the command may take to end after its tree was killed; longer, and it sleeps in the kernel.
const REAP_MAX: Duration = Duration::from_secs(5);

/// A command that runs in the foreground. It stays in our process group, so that the terminal treats both as one.
#[derive(Debug)]
pub struct Attended {
    child: Child,
    marker: String,
    guard: Guard,
}

impl Attended {
    /// Starts a command with this environment, found by its `PATH`. `marker` is one printable word that no other process has;
    /// by it whatever stems from the command is found. Should we be killed, the guard ends all of that.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start(argv: &[String], env: &OwnEnvironment, marker: String, guard: &Guard) -> Result<Self, SpawnError> {
        if !is_marker(&marker) {
            return Err(SpawnError::Invalid("its marker is not one printable word"));
        }
        let mut env = env.clone();
        env.insert(ATTEMPT_VARIABLE.into(), marker.clone().into());
        // Registered before it starts: there is no moment in which nobody would end it.
        guard.enlist(&marker);
        match foreground(argv, &env) {
            Ok(child) => {
                if let Some(pid) = child.id() {
                    guard.adopt(&marker, pid);
                }
                Ok(Self { child, marker, guard: guard.clone() })
            }
            Err(error) => {
                guard.release(&marker);
                Err(error)
            }
        }
    }

    /// Waits for its end. What it leaves running is nobody's any more then. Safe to drop and to call again.
    ///
    /// # Errors
    /// How it ended cannot be learned.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.guard.release(&self.marker);
        status
    }

    /// Hands a signal on to it.
    pub fn pass_on(&self, signal: Signal) {
        // Not reaped yet, its number is nobody else's; it may have ended all the same.
        if let Some(pid) = self.pid() {
            kill_process(pid, signal).unwrap_or_default();
        }
    }

    /// Ends it and all that stems from it: TERM, then KILL after `grace`. Returns how many processes survive that.
    pub async fn end(mut self, grace: Duration) -> usize {
        let leaders = self.pid().and_then(Leader::foreign).into_iter().collect();
        let survivors = kill::end(Tree::new(leaders, [self.marker.clone()]), grace).await;
        // Where processes cannot be listed only this one is known.
        self.child.start_kill().unwrap_or_default();
        if timeout(REAP_MAX, self.child.wait()).await.is_ok() {
            self.guard.release(&self.marker);
        }
        survivors
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }
}
