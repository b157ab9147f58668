//! Judges runs by the invariants of `docs/invariants.md`, from what is stored of them alone.
//!
//! Reading order: [`rule`] (the invariants), [`records`] (the events of a run by themselves), [`history`] (decisions against
//! the inputs that they answer), [`stream`] (a whole log, message by message), [`output`] (what attempts wrote),
//! [`overlap`] (what runs at once). All compute thresholds, windows and waits anew from the flow and believe nothing that an
//! event says of itself. A judge that never finds anything proves nothing: the tests of this crate break clean histories in
//! every way that a rule has, and demand the right violation first.

pub mod history;
pub mod output;
pub mod overlap;
pub mod records;
pub mod rule;
pub mod stream;
pub mod token;

use std::fmt;

pub use rule::Rule;

/// Something that must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The invariant that is broken.
    pub rule: Rule,
    /// The input that the offending event cites, or the sequence of the offending decision; 0 for the whole run.
    pub at: u64,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "violation {} seq={} because {}", self.rule.id(), self.at, self.text)
    }
}

/// Findings of one kind that are kept of a run: nobody reads more, and one event can break a rule for each of 100,000 tasks.
const FINDINGS_MAX: usize = 1_000;

/// The list under construction.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn demand(&mut self, holds: bool, rule: Rule, at: u64, text: impl FnOnce() -> String) {
        if !holds && self.0.len() < FINDINGS_MAX {
            self.0.push(Violation { rule, at, text: text() });
        }
    }
}
