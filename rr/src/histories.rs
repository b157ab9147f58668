//! Histories as they are stored: read from a mesh or from a file, for whoever judges, keeps or replays them.
//!
//! Reading order: [`mod@file`] (the form of an export), [`mod@message`] (a stored message as the judge takes it), [`beside`] (what
//! stands beside the log), [`place`] (where a history is).

mod beside;
mod file;
mod message;
mod place;

pub(crate) use beside::{Besides, gather};
pub(crate) use file::{First, Kind, Line, Reader, STDIN, Writer};
pub(crate) use message::{chunk, message};
pub(crate) use place::{Whence, whence};
