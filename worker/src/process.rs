//! Executes attempts as processes, whatever they do: one start, an exact account of the end, and nobody left running.
//!
//! A process gets a group of its own (where the worker has a terminal, a session too), no standard input, and two pipes that are always drained. On timeout and cancel the whole
//! tree is ended: TERM, grace, KILL. When the first process ends by itself, what is left in its process group is ended too;
//! what has moved to a session or group of its own (the daemon that a restart started) is left alive and counted.
//! When the worker dies, a guard process ends what it was running.
//!
//! Reading order: `spec` (what to run), `run` (the life of one attempt), `dir` (where it runs), `spawn` (starting, and why not), `capture` and
//! `pump` (output), `framing` (a command on another machine), `tree` and `kill` (finding and ending processes), `guard` (when the worker is killed); `attended` (a command in the
//! foreground, which is no attempt).
//! Nothing here knows NATS, flows or reports.

use rr_schemas::name::Name;

mod attended;
mod capture;
mod dir;
mod framing;
mod guard;
mod kill;
mod pump;
mod run;
mod spawn;
mod spec;
mod tree;

pub use attended::Attended;
pub use capture::{CaptureLimits, Chunk, OutputStats, Sink, Stream};
pub use dir::clear;
pub use framing::{Stage, Talk, Token, Told};
pub use guard::{Guard, GuardCommand, GuardError, Keeper, guard_main};
pub use run::{Ended, Launcher, Outcome};
pub(crate) use spawn::helper;
pub use spawn::{Session, SpawnError, bare, find};
pub use spec::{ATTEMPT_VARIABLE, Cwd, Environment, INSTANCE_VARIABLE, Inherit, OwnEnvironment, Program, Spec};

/// The variable that names the lock under which a process runs.
pub const LOCK_VARIABLE: &str = "RR_LOCK";

/// The variable with the fencing token of that lock.
pub const LOCK_TOKEN_VARIABLE: &str = "RR_LOCK_TOKEN";

/// What a command under a lock sees of it.
pub fn lock_variables(lock: &Name, token: u64) -> [(String, String); 2] {
    [(LOCK_VARIABLE.to_owned(), lock.to_string()), (LOCK_TOKEN_VARIABLE.to_owned(), token.to_string())]
}

/// Kills every process that bears one of these markers: what an earlier life of the worker left running. Returns how many could
/// not be killed.
pub async fn end_marked(markers: Vec<String>) -> usize {
    kill::kill(tree::Tree::new(Vec::new(), markers)).await
}
