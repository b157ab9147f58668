//! A scenario: one fault, what is promised about it, and what came out.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::stall::Stall;
use crate::dice::Dice;

/// A scenario under way.
pub type Play = Pin<Box<dyn Future<Output = Report>>>;

/// One fault, and what is promised about it.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name: words with hyphens.
    pub name: &'static str,
    /// The numbers of the faults that it is (docs/chaos.md).
    pub rows: &'static [u8],
    /// What goes wrong.
    pub what: &'static str,
    /// The longest time for which something may be due and undecided, while somebody is there who could.
    pub bound: Duration,
    /// Why so long.
    pub why: &'static str,
    /// Plays it.
    pub play: fn(Cue) -> Play,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// What a scenario is told when it begins.
#[derive(Debug)]
pub struct Cue {
    /// Where its chances come from.
    pub dice: Dice,
    until: Instant,
    least: usize,
    round: usize,
}

impl Cue {
    /// One that repeats what this seed has brought, with faults for this long, and so many at least.
    pub fn new(seed: u64, faults_for: Duration, least: usize) -> Self {
        Self { dice: Dice::of(seed), until: Instant::now() + faults_for, least, round: 0 }
    }

    /// Whether the fault strikes once more: so often at least, and as long as there is time.
    pub fn again(&mut self, least: usize) -> bool {
        self.round += 1;
        self.round <= least.max(self.least) || Instant::now() < self.until
    }
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Times that the fault struck, and met something.
    pub faults: usize,
    /// Runs that were judged.
    pub runs: usize,
    /// Decisions that were judged.
    pub decisions: usize,
    /// What must not be.
    pub violations: Vec<String>,
    /// The longest time for which something was due.
    pub stall: Stall,
    /// How long all of it took.
    pub took: Duration,
}

impl Report {
    /// Demands something.
    pub fn demand(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(text());
        }
    }
}

impl Scenario {
    /// Plays it with this seed, with faults for this long, and so many at least. Whatever fails is a violation.
    pub async fn play(&self, seed: u64, faults_for: Duration, least: usize) -> Report {
        let begun = Instant::now();
        let played = AssertUnwindSafe((self.play)(Cue::new(seed, faults_for, least))).catch_unwind().await;
        let mut report = played.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Report { violations: vec![text.unwrap_or_else(|| "it panicked".to_owned())], ..Report::default() }
        });
        let (bound, stall) = (self.bound, report.stall.clone());
        report.demand(stall.took <= bound, || format!("a stall beyond {bound:?}: {}", stall.what));
        report.took = begun.elapsed();
        report
    }
}
