//! Numbers drawn from a seed that is told when the test fails.

use std::io::Write as _;
use std::time::Duration;

/// The variable that repeats a sequence of numbers.
const SEED: &str = "RR_TEST_SEED";

/// Numbers drawn from a seed that is told when the test fails; `RR_TEST_SEED` gives one.
#[derive(Debug)]
pub struct Dice {
    rng: fastrand::Rng,
    seed: u64,
}

impl Dice {
    /// A new sequence, or the one that is to be repeated.
    #[expect(clippy::new_without_default, reason = "two of them are never the same")]
    pub fn new() -> Self {
        let given = std::env::var_os(SEED).and_then(|seed| seed.to_str()?.parse().ok());
        Self::of(given.unwrap_or_else(|| fastrand::u64(..)))
    }

    /// The sequence of this seed.
    pub fn of(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), seed }
    }

    /// Other numbers that follow from the same seed.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self { rng: self.rng.fork(), seed: self.seed }
    }

    /// The seed that repeats the sequence.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A number from this range.
    pub fn number(&mut self, range: std::ops::Range<usize>) -> usize {
        self.rng.usize(range)
    }

    /// A time, in milliseconds from this range.
    pub fn pause(&mut self, millis: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(millis))
    }

    /// One of these.
    ///
    /// # Panics
    /// There are none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        all.get(self.rng.usize(0..all.len())).expect("something to choose from")
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(writeln!(std::io::stderr(), "repeat this with {SEED}={}", self.seed));
        }
    }
}
