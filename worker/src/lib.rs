//! Executes attempts: takes offers from the mesh, carries them out, reports how they ended.
//!
//! Reading order: [`config`] (what a worker is told), `service` ([`Worker`], [`Handle`]; in it the loop, what it does with
//! attempts, how it ends), `attempt` (what a delivered offer leads to), `ledger` (its memory on disk), `outbox` (reports until
//! they are stored), `lanes` (where offers come from, and who gets the free slots), `executor` (how an attempt is carried out:
//! [`process`] or [`Handlers`]), `output` (the way of output), `join` and `presence`.
//!
//! Invariants: an attempt is written down before it starts, and never started twice; an offer is acknowledged after its
//! report is stored, and reports are never forgotten; what is asked of the server never exceeds the free slots. A
//! worker knows offers and reports, not flows or decisions.

mod attempt;
pub mod config;
mod executor;
mod join;
mod lanes;
mod ledger;
mod outbox;
mod output;
mod presence;
pub mod process;
mod service;

pub use config::Options;
pub use executor::handler::{Context, Handlers};
pub use executor::ssh::SshError;
pub use join::JoinError;
pub use ledger::LedgerError;
pub use service::{Handle, RunError, StartError, Worker};
