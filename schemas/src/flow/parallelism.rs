//! How many tasks of a job run at once: a window, or waves that grow.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor, value},
};

use crate::quota::Quota;

/// Waves that a job may have; the last one is repeated, so a few are enough for any number of targets.
pub const WAVES_MAX: usize = 100;

/// How many tasks of a job run at once.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Parallelism {
    /// This many at any time, or in batches of this size where the job says `waves`.
    Window(Quota),
    /// Batches of these sizes, one after the other; the last size is repeated: `[1, 10%, 50%]`.
    Waves(#[schemars(length(min = 1, max = WAVES_MAX))] Vec<Quota>),
}

impl Parallelism {
    /// Everything at once.
    pub const ALL: Self = Self::Window(Quota::ALL);

    /// Everything at once, as a function for serde's `default`.
    pub const fn all() -> Self {
        Self::ALL
    }

    /// Whether it is written as 100%.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// How many of `total` may be under way at once at most.
    pub fn window(&self, total: u32) -> u32 {
        self.quotas().iter().map(|quota| quota.window(total)).max().unwrap_or(1)
    }

    /// Sizes of the waves that grow; none for a window.
    pub fn waves(&self, total: u32) -> Vec<u32> {
        match self {
            Self::Window(_) => Vec::new(),
            Self::Waves(quotas) => quotas.iter().map(|quota| quota.window(total)).collect(),
        }
    }

    /// The window, or each wave.
    pub fn quotas(&self) -> &[Quota] {
        match self {
            Self::Window(quota) => std::slice::from_ref(quota),
            Self::Waves(quotas) => quotas,
        }
    }
}

impl Default for Parallelism {
    fn default() -> Self {
        Self::ALL
    }
}

impl From<Quota> for Parallelism {
    fn from(quota: Quota) -> Self {
        Self::Window(quota)
    }
}

impl<'de> Deserialize<'de> for Parallelism {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WindowOrWaves)
    }
}

/// Reads either form with the words of a quota where it is none.
struct WindowOrWaves;

impl<'de> Visitor<'de> for WindowOrWaves {
    type Value = Parallelism;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("percent 1..100 such as \"80%\", count 1..hosts such as 8, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Parallelism, E> {
        Quota::deserialize(value::StrDeserializer::new(text)).map(Parallelism::Window)
    }

    fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Parallelism, E> {
        Quota::deserialize(value::U64Deserializer::new(count)).map(Parallelism::Window)
    }

    fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Parallelism, E> {
        Quota::deserialize(value::I64Deserializer::new(count)).map(Parallelism::Window)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Parallelism, A::Error> {
        Vec::deserialize(value::SeqAccessDeserializer::new(list)).map(Parallelism::Waves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_have_their_sizes_and_a_window_has_one() {
        for (text, total, window, waves) in [
            ("\"50%\"", 10, 5, vec![]),
            ("3", 10, 3, vec![]),
            ("[1, \"10%\", \"50%\"]", 100, 50, vec![1, 10, 50]),
            ("[1, \"10%\", \"50%\"]", 3, 1, vec![1, 1, 1]),
            ("[5, 2]", 3, 3, vec![3, 2]),
        ] {
            let parallelism: Parallelism = serde_json::from_str(text).unwrap();
            assert_eq!((parallelism.window(total), parallelism.waves(total)), (window, waves), "{text} of {total}");
            let written = serde_json::to_string(&parallelism).unwrap();
            assert_eq!(serde_json::from_str::<Parallelism>(&written).unwrap(), parallelism);
        }
    }

    #[test]
    fn what_is_none_says_what_one_is() {
        for (text, part) in
            [("0", ">= 1"), ("\"0%\"", "write 1"), ("[1, 0]", ">= 1"), ("-3", ">= 1"), ("true", "or a list")]
        {
            let error = serde_json::from_str::<Parallelism>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
