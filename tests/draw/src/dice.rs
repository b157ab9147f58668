//! Chance that repeats itself.

/// A small generator of its own, so that a seed means the same for ever.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `n`; 0 where there is none.
    pub const fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        if n == 0 { 0 } else { mixed % n }
    }

    /// Whether something happens that happens in this many of a hundred cases.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll(high.saturating_sub(low).saturating_add(1))
    }

    /// One of these; none where there are none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = self.roll(u64::try_from(all.len()).unwrap_or(u64::MAX));
        all.get(usize::try_from(index).unwrap_or(usize::MAX))
    }

    /// Another one, whose numbers say nothing of this one's.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.roll(u64::MAX))
    }
}
