//! Feeds readers with what nobody would write: those of flow files, host expressions, wire messages (JSON and CBOR), requests of
//! `rr.api`, exports, templates and the small words of flow files.
//!
//! An input never makes its reader panic, takes it long, or takes much memory; what is read is written again as it was.
//! New inputs are old ones changed at random ([`mutate`]). One that gets an answer of a kind that was not seen before
//! ([`Answer`]) is changed further, so that the search goes into the reader's branches and not only into noise.

pub mod corpus;
pub mod fuzz;
pub mod limits;
pub mod mutate;
pub mod target;

pub use crate::{
    fuzz::{Failure, Fuzz, Tally},
    target::{Answer, Target},
};
