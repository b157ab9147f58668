//! Names that people choose: of flows, jobs, queues, schedules, parameters, workers and environment variables.
//!
//! Invariant: a [`Name`] is one NATS subject token, one file name and one command-line word that is no
//! option. It keeps its spelling; two names that differ only by case may not stand beside each other, so
//! maps that need it unique are keyed by [`Name::folded`].

use std::str::FromStr;

use crate::id;
use crate::text::{Echo, string_newtype, string_value};

/// Most characters of a name: a DNS label's limit, so that a name can become one.
pub const NAME_CHARS_MAX: usize = 63;
/// Most characters of an environment variable's name.
pub const ENV_NAME_CHARS_MAX: usize = 255;

/// Name of a flow, job, queue, schedule, parameter or lock: `[A-Za-z0-9_][A-Za-z0-9_-]{0,62}`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

/// Name of a worker, by the rules of [`Name`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkerName(String);

/// Id of one life of a worker or coordinator process: new at each start, by the rules of [`Name`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InstanceId(String);

/// Name of an environment variable that a flow may set: `[A-Za-z_][A-Za-z0-9_]*`, none that changes how
/// a program is loaded or how a shell reads its script, and none of ours.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EnvName(String);

/// Why a text is no name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// A character or the length is not allowed.
    #[error("name may hold A-Z a-z 0-9 _ -, 1 to 63 characters; got {0}")]
    Shape(Echo),
    /// It begins like an option of a command.
    #[error("name may not begin with -, it looks like an option; got {0}")]
    Option(Echo),
    /// It belongs to NATS.
    #[error("name is reserved by nats; got {0}")]
    Reserved(Echo),
}

/// Why a text is no name of an environment variable that a flow may set.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EnvNameError {
    /// A character or the length is not allowed.
    #[error("invalid env name: it may hold A-Z a-z 0-9 _, not begin with a digit, 1 to 255 characters; got {0}")]
    Shape(Echo),
    /// It changes how programs are loaded or shells read, or is ours.
    #[error("reserved env name: LD_*, DYLD_*, RR_*, BASH_ENV, ENV and IFS cannot be set; got {0}")]
    Reserved(Echo),
}

impl Name {
    /// The name without regard to case: equal for names that may not stand beside each other.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl WorkerName {
    /// The name without regard to case: equal for names that may not stand beside each other.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl InstanceId {
    /// A new id, 16 characters long.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        Self(id::random_text(rng))
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked_name(text).map(Self)
    }
}

impl FromStr for WorkerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked_name(text).map(Self)
    }
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked_name(text).map(Self)
    }
}

impl FromStr for EnvName {
    type Err = EnvNameError;

    fn from_str(text: &str) -> Result<Self, EnvNameError> {
        let is_shaped = text.len() <= ENV_NAME_CHARS_MAX
            && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_shaped {
            return Err(EnvNameError::Shape(Echo::new(text)));
        }
        let is_reserved = ["LD_", "DYLD_", "RR_"].iter().any(|prefix| text.starts_with(prefix))
            || ["BASH_ENV", "ENV", "IFS"].contains(&text);
        if is_reserved {
            return Err(EnvNameError::Reserved(Echo::new(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

fn checked_name(text: &str) -> Result<String, NameError> {
    let is_shaped = (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(id::is_id_byte);
    if !is_shaped {
        return Err(NameError::Shape(Echo::new(text)));
    }
    if text.starts_with('-') {
        return Err(NameError::Option(Echo::new(text)));
    }
    // `$JS` and its like are refused by their `$` already.
    if text.eq_ignore_ascii_case("_INBOX") {
        return Err(NameError::Reserved(Echo::new(text)));
    }
    Ok(text.to_owned())
}

string_newtype!(Name);
string_newtype!(WorkerName);
string_newtype!(InstanceId);
string_newtype!(EnvName);

string_value!(
    Name,
    NameError,
    "a name",
    "A name: A-Z a-z 0-9 _ -, 1 to 63 characters, not beginning with -.",
    "^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$"
);
string_value!(
    WorkerName,
    NameError,
    "a worker's name",
    "A worker's name: A-Z a-z 0-9 _ -, 1 to 63 characters, not beginning with -.",
    "^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$"
);
string_value!(
    InstanceId,
    NameError,
    "an instance id",
    "Id of one life of a process.",
    "^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$"
);
string_value!(
    EnvName,
    EnvNameError,
    "an environment variable's name",
    "Name of an environment variable; not LD_*, DYLD_*, RR_*, BASH_ENV, ENV or IFS.",
    "^(?!(LD_|DYLD_|RR_|(BASH_ENV|ENV|IFS)$))[A-Za-z_][A-Za-z0-9_]{0,254}$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_keep_their_spelling() {
        let longest = "a".repeat(NAME_CHARS_MAX);
        for text in ["a", "0", "_x", "Build-web_2", "A-", longest.as_str()] {
            let name: Name = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.as_str()), (text, text));
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{text}\""));
            assert!(text.parse::<WorkerName>().is_ok() && text.parse::<InstanceId>().is_ok());
        }
        let (one, two): (Name, Name) = ("Build".parse().unwrap(), "build".parse().unwrap());
        assert!(one != two && one.folded() == two.folded());
    }

    #[test]
    fn what_is_no_name_is_refused_and_shown_escaped() {
        let too_long = "a".repeat(NAME_CHARS_MAX + 1);
        for (text, shown) in [
            ("", r#""""#),
            ("a.b", r#""a.b""#),
            ("*", r#""*""#),
            (">", r#"">""#),
            ("a b", r#""a b""#),
            ("a\tb", r#""a\tb""#),
            ("a\0", r#""a\u{0}""#),
            ("a\n", r#""a\n""#),
            ("..", r#""..""#),
            ("../../etc/passwd", r#""../../etc/passwd""#),
            ("\u{1f600}", r#""\u{1f600}""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("ｂuild", r#""\u{ff42}uild""#),
            ("é", r#""\u{e9}""#),
            ("$JS", r#""$JS""#),
            (too_long.as_str(), "..."),
        ] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(matches!(error, NameError::Shape(_)), "{text}");
            let error = error.to_string();
            assert!(error.starts_with("name may hold A-Z a-z 0-9 _ -, 1 to 63 characters; got "), "{error}");
            assert!(error.ends_with(shown) && error.is_ascii(), "{error}");
        }
        for text in ["-", "-x", "--json"] {
            assert!(matches!(text.parse::<Name>(), Err(NameError::Option(_))), "{text}");
        }
        for text in ["_INBOX", "_inbox"] {
            assert!(matches!(text.parse::<Name>(), Err(NameError::Reserved(_))), "{text}");
        }
    }

    #[test]
    fn serde_takes_a_string_only() {
        for wrong in ["5", "1e3", "true", "null", "[\"a\"]", "{}"] {
            let error = serde_json::from_str::<Name>(wrong).unwrap_err().to_string();
            assert!(error.contains("expected a name as a string (in quotes)"), "{error}");
        }
        let error = serde_json::from_str::<Name>("\"a b\"").unwrap_err().to_string();
        assert!(error.starts_with("name may hold"), "{error}");
        let keys: std::collections::BTreeMap<Name, u8> = serde_json::from_str(r#"{"a":1,"2":2}"#).unwrap();
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn names_of_variables_that_programs_trust_are_refused() {
        for text in ["PATH", "_", "a1", "ENVIRONMENT", "RRX", "LDFLAGS", "ifs", "ld_preload"] {
            assert!(text.parse::<EnvName>().is_ok(), "{text}");
        }
        for text in ["", "A=B", "1X", "A\0", "A-B", "A B", "Ä", &"A".repeat(ENV_NAME_CHARS_MAX + 1)] {
            let error = text.parse::<EnvName>().unwrap_err().to_string();
            assert!(error.starts_with("invalid env name"), "{error}");
        }
        for text in ["LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "ENV", "IFS", "RR_FENCE"] {
            let error = text.parse::<EnvName>().unwrap_err().to_string();
            assert!(error.starts_with("reserved env name"), "{error}");
        }
    }

    #[test]
    fn drawn_instance_ids_are_names() {
        let id = InstanceId::random(&mut fastrand::Rng::with_seed(7));
        assert_eq!(id.as_str().parse::<InstanceId>(), Ok(id));
    }

    proptest! {
        #[test]
        fn a_name_is_one_safe_word(text in "\\PC{0,70}|[A-Za-z0-9_-]{0,66}|[\\s\\S]{0,5}") {
            match text.parse::<Name>() {
                Ok(name) => {
                    prop_assert!(!text.is_empty() && text.len() <= NAME_CHARS_MAX && !text.starts_with('-'));
                    prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
                    prop_assert_eq!(name.as_str(), text.as_str());
                }
                Err(error) => prop_assert!(error.to_string().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())),
            }
        }
    }
}
