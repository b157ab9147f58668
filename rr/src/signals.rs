//! Signals that ask this process to stop, or that it hands on to a command.

use rustix::process::{Signal as Number, getpgrp};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// Ctrl-C, TERM and HUP, which all mean the same: once politely, twice at once.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None under `nohup`: what has to outlive its terminal must not be told of its end, nor hand that on to a command.
    hangup: Option<Signal>,
}

impl Signals {
    /// From now on these signals do not end the process by themselves.
    ///
    /// # Errors
    /// The system refuses; never in practice.
    pub(crate) fn new() -> Result<Self, CliError> {
        let watch = |kind| signal(kind).map_err(|error| CliError::bug(format_args!("watch for signals: {error}")));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: if is_hangup_ignored() { None } else { Some(watch(SignalKind::hangup())?) },
        })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(&mut self.hangup) => {}
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever has started this process has it ignore HUP. To be asked before anybody listens for it.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (Number::HUP.as_raw() - 1)) != 0)
}

/// A signal for the command that this process attends to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Passed {
    /// Which.
    pub(crate) signal: Number,
    /// Whether it may have come from the keys of a terminal, which tell the command by themselves.
    pub(crate) by_terminal: bool,
}

/// Signals that are handed on to a command.
#[derive(Debug)]
pub(crate) struct PassedOn {
    stop: Signals,
    quit: Signal,
    one: Signal,
    two: Signal,
}

impl PassedOn {
    /// From now on these signals do not end the process by themselves.
    ///
    /// # Errors
    /// The system refuses; never in practice.
    pub(crate) fn new() -> Result<Self, CliError> {
        let watch = |kind| signal(kind).map_err(|error| CliError::bug(format_args!("watch for signals: {error}")));
        Ok(Self {
            stop: Signals::new()?,
            quit: watch(SignalKind::quit())?,
            one: watch(SignalKind::user_defined1())?,
            two: watch(SignalKind::user_defined2())?,
        })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Passed {
        let signal = tokio::select! {
            _ = self.stop.interrupt.recv() => Number::INT,
            _ = self.stop.terminate.recv() => Number::TERM,
            () = hung_up(&mut self.stop.hangup) => Number::HUP,
            _ = self.quit.recv() => Number::QUIT,
            _ = self.one.recv() => Number::USR1,
            _ = self.two.recv() => Number::USR2,
        };
        let is_key = signal == Number::INT || signal == Number::QUIT;
        Passed { signal, by_terminal: is_key && is_foreground() }
    }
}

/// Whether the keys of a terminal reach our process group, and so the command.
fn is_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty").ok();
    terminal.is_some_and(|terminal| rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}
