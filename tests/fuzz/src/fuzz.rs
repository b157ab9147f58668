//! The search: takes an input that is known, changes it, feeds it, and keeps it where it is answered in a new way.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use fastrand::Rng;

use crate::{
    limits::{Cost, Limits, within},
    mutate::mutated,
    target::{Answer, Target},
};

/// Inputs that the search keeps at most; the answers repeat long before.
const KEPT_MAX: usize = 20_000;
/// A kept input is not changed further when it is longer than this: each step would only take longer.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// An input that broke something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The reader.
    pub target: Target,
    /// What it was fed with.
    pub input: Vec<u8>,
    /// What does not hold.
    pub wrong: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Inputs that were fed.
    pub inputs: u64,
    /// Kinds of answers that were seen.
    pub answers: usize,
    /// Inputs that were kept because of a new kind.
    pub kept: usize,
    /// What the dearest ones have cost.
    pub cost: Cost,
}

/// A search through what a reader does.
#[derive(Debug)]
pub struct Fuzz {
    target: Target,
    random: Rng,
    known: Vec<Vec<u8>>,
    answers: BTreeSet<Answer>,
    tally: Tally,
}

impl Fuzz {
    /// Begins a search; it goes the same way whenever it has the same seed and is fed with the same.
    pub fn new(target: Target, seed: u64) -> Self {
        let known = vec![Vec::new()];
        Self { target, random: Rng::with_seed(seed), known, answers: BTreeSet::new(), tally: Tally::default() }
    }

    /// What was done so far.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Feeds an input, and says whether it is answered in a way that was not seen before.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn feed(&mut self, input: &[u8]) -> Result<bool, Failure> {
        self.tally.inputs += 1;
        let target = self.target;
        let fed =
            || catch_unwind(AssertUnwindSafe(|| target.feed(input))).unwrap_or_else(|_| Err("it panics".to_owned()));
        let (answers, cost) = within(Limits::of(target), input.len(), fed).map_err(|wrong| Failure {
            target,
            input: input.to_vec(),
            wrong,
        })?;
        self.tally.cost = self.tally.cost.max(cost);
        let mut is_new = false;
        for answer in answers {
            is_new |= self.answers.insert(answer);
        }
        self.tally.answers = self.answers.len();
        if is_new && self.known.len() < KEPT_MAX && input.len() <= KEPT_BYTES_MAX {
            self.tally.kept += 1;
            self.known.push(input.to_vec());
        }
        Ok(is_new)
    }

    /// Feeds a changed input, and returns it where it is answered in a new way.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn step(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let one = self.random.usize(..self.known.len());
        let other = self.random.usize(..self.known.len());
        let (one, other) = (self.known.get(one), self.known.get(other));
        let input = mutated(
            &mut self.random,
            one.map_or(&[][..], Vec::as_slice),
            other.map_or(&[][..], Vec::as_slice),
            self.target.bytes_max(),
        );
        Ok(self.feed(&input)?.then_some(input))
    }
}
