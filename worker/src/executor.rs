//! How an attempt is carried out: as a process, here or over ssh, or as a function of the worker's own program.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use rr_nats::Clock;
use rr_schemas::{
    offer::Offer,
    report::{Ended, Outcome, Output},
};
use tokio_util::sync::CancellationToken;

use crate::output::AttemptOutput;

pub(crate) mod handler;
pub(crate) mod process;
pub(crate) mod ssh;

/// Longest reason in a report; what a program says of itself may be anything.
const REASON_CHARS_MAX: usize = 500;

/// Carries attempts out. A failed attempt is an [`Ended`], never an error.
pub(crate) trait Executor: Send + Sync {
    /// Carries one attempt out, to its end. Dropped, it ends what it started as well as it can at once.
    fn execute(&self, task: Assignment) -> BoxFuture<'static, Ended>;
}

/// What carries out commands in one worker.
#[derive(Debug)]
pub(crate) enum Programs {
    /// Processes of this machine.
    Here(process::Processes),
    /// Processes of the hosts, which have no worker.
    Ssh(Arc<ssh::Ssh>),
    /// None: the worker has functions only.
    None,
}

impl Executor for Programs {
    fn execute(&self, task: Assignment) -> BoxFuture<'static, Ended> {
        match self {
            Self::Here(processes) => processes.execute(task),
            Self::Ssh(ssh) => ssh.execute(task),
            Self::None => {
                let reason = "this worker carries out functions, not commands";
                std::future::ready(ended_because(Outcome::Refused, reason, task.clock.now())).boxed()
            }
        }
    }
}

/// An attempt that may start now.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// What to do.
    pub(crate) offer: Arc<Offer>,
    /// Grows from attempt to attempt of a task: what came with an older one is stale.
    pub(crate) fence: u64,
    /// One word that no other attempt has.
    pub(crate) marker: String,
    /// Time between asking it to end and ending it.
    pub(crate) grace: Duration,
    /// The fencing token of the lock that it holds.
    pub(crate) lock_token: Option<u64>,
    /// Cancelled when it is to end early.
    pub(crate) cancel: CancellationToken,
    /// Cancelled when the rest of the grace is not to be waited for.
    pub(crate) hurry: CancellationToken,
    /// What time it is here.
    pub(crate) clock: Clock,
    /// Takes what it writes.
    pub(crate) output: AttemptOutput,
}

/// An end without anything but its outcome.
pub(crate) fn ended(outcome: Outcome, started_at: Option<Timestamp>, ended_at: Timestamp) -> Ended {
    Ended {
        outcome,
        exit_code: None,
        signal: None,
        reason: None,
        started_at,
        ended_at: Some(ended_at),
        output: Output::default(),
    }
}

/// An end with its reason.
pub(crate) fn ended_because(outcome: Outcome, reason: &str, now: Timestamp) -> Ended {
    Ended { reason: Some(cut_to_fit(reason)), ..ended(outcome, None, now) }
}

/// A reason as it fits into a report.
pub(crate) fn cut_to_fit(reason: &str) -> String {
    let mut short: String = reason.chars().take(REASON_CHARS_MAX).collect();
    if short.len() < reason.len() {
        short.push_str("...");
    }
    short
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
