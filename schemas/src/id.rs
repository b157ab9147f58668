//! Ids: of runs, of entities (whatever has its own event history) and of the partitions they live in.
//!
//! Invariant: an id is one NATS subject token and one key of a bucket, wherever it came from.

use std::fmt;
use std::str::FromStr;

use crate::text::{Echo, string_newtype, string_value};

/// Most characters of an id.
pub const ID_CHARS_MAX: usize = 64;
/// Characters of an id that was drawn: 80 bits, so that a million runs collide with a chance of about 1 to 2e12.
const RANDOM_CHARS: usize = 16;
/// Crockford's base 32 in lower case: no `i l o u`, so that an id can be read aloud and typed.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Id of a run: `[A-Za-z0-9_-]{1,64}`, not beginning with `-`; chosen by who submits it or drawn.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RunId(String);

/// Id of an entity: of something with its own event history, a run for example. The rules of [`RunId`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntityId(String);

/// Number of a partition: the part of all entities that one coordinator works on at a time.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Partition(pub u16);

/// Why a text is no id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdError {
    /// A character or the length is not allowed.
    #[error("id may hold A-Z a-z 0-9 _ -, 1 to 64 characters; got {0}")]
    Shape(Echo),
    /// It begins like an option of a command.
    #[error("id may not begin with -, it looks like an option; got {0}")]
    Option(Echo),
}

impl RunId {
    /// A new id, 16 characters long.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        Self(random_text(rng))
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        checked_id(text).map(Self)
    }
}

impl FromStr for EntityId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        checked_id(text).map(Self)
    }
}

impl From<RunId> for EntityId {
    fn from(run: RunId) -> Self {
        Self(run.0)
    }
}

impl From<&RunId> for EntityId {
    fn from(run: &RunId) -> Self {
        Self(run.0.clone())
    }
}

impl From<EntityId> for RunId {
    /// The run that the entity is. Today each entity is a run.
    fn from(entity: EntityId) -> Self {
        Self(entity.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for Partition {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

/// Whether `byte` may stand in an id or a name.
pub(crate) fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// A drawn id.
pub(crate) fn random_text(rng: &mut fastrand::Rng) -> String {
    (0..RANDOM_CHARS).filter_map(|_| rng.choice(ALPHABET)).map(|&byte| char::from(byte)).collect()
}

fn checked_id(text: &str) -> Result<String, IdError> {
    let is_shaped = (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_id_byte);
    if !is_shaped {
        return Err(IdError::Shape(Echo::new(text)));
    }
    if text.starts_with('-') {
        return Err(IdError::Option(Echo::new(text)));
    }
    Ok(text.to_owned())
}

string_newtype!(RunId);
string_newtype!(EntityId);

string_value!(
    RunId,
    IdError,
    "a run id",
    "Id of a run: A-Z a-z 0-9 _ -, 1 to 64 characters, not beginning with -.",
    "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
);
string_value!(
    EntityId,
    IdError,
    "an entity id",
    "Id of an entity: A-Z a-z 0-9 _ -, 1 to 64 characters, not beginning with -.",
    "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chosen_ids_keep_their_spelling() {
        let longest = "a".repeat(ID_CHARS_MAX);
        for text in ["a", "nightly-2026-11-01", "_x", "0", longest.as_str()] {
            let run: RunId = text.parse().unwrap();
            assert_eq!(run.as_str(), text);
            assert_eq!(serde_json::from_str::<RunId>(&serde_json::to_string(&run).unwrap()).unwrap(), run);
            assert_eq!(RunId::from(EntityId::from(&run)), run);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let too_long = "a".repeat(ID_CHARS_MAX + 1);
        for text in ["", "a.b", "a b", "*", ">", "a/b", "a\n", "é", "\u{202e}", too_long.as_str()] {
            let error = text.parse::<RunId>().unwrap_err();
            assert!(matches!(error, IdError::Shape(_)) && error.to_string().is_ascii(), "{error}");
            assert!(text.parse::<EntityId>().is_err());
        }
        assert!(matches!("-x".parse::<RunId>(), Err(IdError::Option(_))));
        assert!(serde_json::from_str::<RunId>("5").is_err());
    }

    #[test]
    fn a_partition_is_written_as_its_number() {
        assert_eq!(
            (Partition(7).to_string().as_str(), serde_json::to_string(&Partition(7)).unwrap().as_str()),
            ("7", "7")
        );
        assert!(serde_json::from_str::<Partition>("65536").is_err());
    }

    proptest! {
        #[test]
        fn drawn_ids_are_ids_that_can_be_typed(seed in any::<u64>()) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let run = RunId::random(&mut rng);
            prop_assert_eq!(run.as_str().len(), RANDOM_CHARS);
            prop_assert!(run.as_str().bytes().all(|byte| ALPHABET.contains(&byte)));
            prop_assert_eq!(run.as_str().parse::<RunId>(), Ok(run.clone()));
            prop_assert_ne!(RunId::random(&mut rng), run);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            prop_assert_eq!(text.parse::<RunId>().is_ok_and(|run| run.as_str() == text), text.parse::<EntityId>().is_ok());
        }
    }
}
