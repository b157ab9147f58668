//! What tasks wrote, as lines: whole ones for people who follow, the last few of those that failed.
//!
//! Invariants: every line is harmless text; a line without end costs a bounded amount of memory.

mod lines;
mod printed;
mod sequence;
mod tails;

pub(crate) use printed::{Form, Printed};
pub(crate) use tails::tails;
