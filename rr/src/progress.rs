//! Progress of a run on stderr: a block that is redrawn on a terminal, else one line for each event that matters.

mod block;
mod lines;
mod screen;
mod story;
mod summary;

pub(crate) use block::block;
pub(crate) use lines::Lines;
pub(crate) use screen::Screen;
pub(crate) use story::{Story, Tally};
pub(crate) use summary::{Tails, places, summary, trouble};

#[cfg(test)]
mod tests;
