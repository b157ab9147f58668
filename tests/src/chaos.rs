//! The chaos suite: real processes under a load of mixed flows, and something goes wrong.
//!
//! Reading order: [`scenario`] (one fault, what is promised about it), [`flows`] and [`load`] (what runs meanwhile),
//! [`stage`] (a mesh with its processes), [`stall`] (how long nothing was decided that was due), [`strike`] (whether a fault met anything), [`trial`] (every run
//! judged by what is stored), [`table`] (what came out), [`scenarios`] (all of them).
//!
//! A scenario has a mesh of its own, and says how it went as a [`Report`]: a violation is whatever must not be, from a
//! broken invariant to a process that has died by itself. What the harness itself cannot do is a panic, which
//! [`Scenario::play`] turns into a violation, too.

pub mod flows;
pub mod load;
pub mod operator;
pub mod scenario;
pub mod scenarios;
pub mod stage;
pub mod stall;
pub mod strike;
pub mod table;
pub mod trial;

pub use load::Load;
pub use operator::Operator;
pub use scenario::{Cue, Report, Scenario};
pub use stage::{Losses, Part, Role, Stage};
