//! What crosses a process or a disk: flow, inputs, decisions, offers, reports, ids. No I/O, no clock.
//!
//! Reading order: [`flow`] (what people write), [`input`] (what can advance a run), [`decision`] (what followed),
//! [`offer`] and [`report`] (what workers get and say), [`lock`] (who holds one), [`retry`] (what a run takes over from another), [`view`] (what
//! people see), [`api`] (what any client may ask), [`codec`] (how it is written).

pub mod api;
pub mod codec;
pub mod decision;
pub mod flow;
pub mod host;
pub mod id;
pub mod input;
pub mod lock;
pub mod name;
pub mod offer;
pub mod planted;
pub mod presence;
pub mod quota;
pub mod ranges;
pub mod report;
pub mod retry;
pub mod span;
pub mod text;
pub mod view;
