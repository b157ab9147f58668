//! The pure core: what follows from what, without I/O, clock, randomness or logging.
//!
//! Reading order: [`plan`] (a flow with everything resolved), [`run`] (the entity: fold, decide, effects),
//! [`history`] (the same fold for people). Time comes in as the stored timestamps of inputs; recovery is the fold of
//! the history and then the effects, never a second path.

pub mod history;
pub mod plan;
pub mod policy;
pub mod run;

pub use history::History;
pub use plan::Plan;
pub use policy::Policy;
pub use run::{
    Run,
    carry::NotRetryable,
    decide::{Decided, Heard},
    effect::Effect,
    look::Look,
    wait::Wait,
};
