//! Whole meshes, simulated: real coordinators and real workers over a model of the server, in one thread, with a clock that
//! runs as fast as it can, and with faults drawn from a seed.
//!
//! Reading order: [`case`] (what a seed means), [`swarm`] (which faults it brings, and how often), `machine` (a coordinator
//! or a worker with its link and its clock), `function` (what attempts do, and what they have seen), `chaos` (faults as they
//! come), `forger` (words that nobody may believe), `user` (who asks for runs), [`world`] (a seed from its begin to its end), `retention` (what some go on with: runs are forgotten), `stored` (what the servers hold then, judged),
//! `judge` (what functions have seen, against that), `overlap` (how many of them ran at once), [`branches`] (rare branches that were taken), [`campaign`] (many seeds).
//!
//! Invariants: nothing here depends on the machine's clock, its threads or its randomness, so a seed means the same each
//! time; what is judged is what the model's stream holds and what functions have seen, never what somebody says.

pub mod branches;
pub mod campaign;
pub mod case;
mod chaos;
mod clock;
mod forger;
mod function;
mod judge;
mod machine;
mod overlap;
mod quiet;
mod retention;
mod retries;
mod stored;
pub mod swarm;
#[cfg(test)]
mod texts;
mod user;
pub mod world;

pub use campaign::{Campaign, Progress, Tally};
pub use case::{Case, Mode};
pub use judge::Complaint;
pub use world::{Report, run};
