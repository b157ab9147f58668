//! The shell around the core: inputs come in, decisions and their effects go out. Any number of replicas.
//!
//! Reading order: [`config`]; [`service`] (what a coordinator consists of), `partition` (which entities have their
//! turn), `turn` (one turn of one entity: load, decide, store, perform, acknowledge), `load`, `append`, `perform`,
//! `look` (what is seen of attempts whose deadline has come), `debts` (timer and status, which may wait a moment),
//! `timer` (arming), `timers` (those that fire); beside them `join`, `api` (what any NATS client may ask), `preference`,
//! `lanes` (who may be believed), `known_lanes`, `served`, `retention`, `upkeep` (what vanishes is made again) and `recover`.
//!
//! Invariants: nothing is concluded here, that is the core's; every conclusion is stored with compare-and-set before
//! anything follows from it; an input is acknowledged only when what follows from it is stored and done, so that a
//! crash between any two steps leaves an input to wake the next coordinator; what is in memory is a cache that may be
//! dropped at any time.

mod api;
mod append;
mod around;
mod budget;
pub mod config;
mod debts;
mod entity;
mod join;
mod known_lanes;
mod lanes;
mod load;
mod look;
mod partition;
mod perform;
mod preference;
mod presence;
mod recover;
mod retention;
mod retry;
mod served;
pub mod service;
mod shell;
mod timer;
mod timers;
mod token;
mod trouble;
mod turn;
mod upkeep;

pub use config::Options;
pub use service::{Coordinator, Handle, RunError};
pub use shell::ShellError;
pub use token::Seed;
