//! Flows drawn from a seed: slots or a graph, gates, every policy. The core's properties and the simulator draw the same.

mod dice;
mod flows;

pub use dice::Dice;
pub use flows::{PARAM, ROLES, SIGNALS, Style, drawn};
