//! `rr.api.*`: what any NATS client asks of the coordinators, and what they answer. Always JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    decision::RunStatus,
    flow::{check::Problem, params::ParamValues},
    id::RunId,
    name::Name,
    text::Echo,
    view::{StatusEntry, Tally},
};

/// Runs that a list has at most.
pub const LIST_MAX: u32 = 1_000;
/// Characters of a client's name at most: a line for people.
pub const ASKER_CHARS_MAX: usize = 100;

/// Start a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The flow in its full form, still as text: its size counts, and everything that is wrong with it is told at once.
    pub flow: Box<RawValue>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
    pub params: ParamValues,
    /// The id of the run; drawn where none is given. Whoever may have to ask again chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RunId>,
    /// Who asks.
    #[serde(default)]
    pub by: Asker,
}

/// The run is stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Its id.
    pub run: RunId,
    /// Its state: `queued`, or what has become of it where the same was asked before.
    pub status: RunStatus,
}

/// Stop a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Its id.
    pub run: RunId,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who asks.
    #[serde(default)]
    pub by: Asker,
}

/// What came of it; the same as `rr cancel --json` prints.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cancelled {
    /// The run.
    pub run: RunId,
    /// Whether the wish is stored; not so where the run is over already.
    pub cancel: bool,
}

/// Give a run a signal that its gates wait for, or will.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// The run's id.
    pub run: RunId,
    /// Name of the signal.
    pub signal: Name,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who gives it.
    #[serde(default)]
    pub by: Asker,
}

/// What came of it; the same as `rr signal --json` prints.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signalled {
    /// The run.
    pub run: RunId,
    /// The signal.
    pub signal: Name,
    /// Whether it is stored now; not so where it was given before, or the run is over.
    pub given: bool,
}

/// Tell a run. The answer is a [`crate::view::RunView`], as `rr show --json` prints it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Its id.
    pub run: RunId,
    /// Whether every task and attempt is wanted too.
    #[serde(default)]
    pub tasks: bool,
}

/// List runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only runs in one of these states; none: in any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<RunStatus>,
    /// How many at most, from 1 to [`LIST_MAX`]. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Runs, the one that was started last first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The runs.
    pub runs: Vec<ListedRun>,
    /// Whether there may be more that have not changed for longer.
    pub more: bool,
}

/// A run in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListedRun {
    /// Its id.
    pub run: RunId,
    /// Name of its flow.
    pub flow: Option<Name>,
    /// State.
    pub status: RunStatus,
    /// When it was submitted.
    pub started_at: Option<jiff::Timestamp>,
    /// When it ended.
    pub ended_at: Option<jiff::Timestamp>,
    /// The tasks of all its jobs.
    pub tasks: Tally,
}

impl From<StatusEntry> for ListedRun {
    fn from(entry: StatusEntry) -> Self {
        let StatusEntry { tasks, view, .. } = entry;
        Self {
            run: view.run,
            flow: view.flow,
            status: view.status,
            started_at: view.started_at,
            ended_at: view.ended_at,
            tasks,
        }
    }
}

/// Who asks, for people: 1 to [`ASKER_CHARS_MAX`] characters without controls. NATS does not tell a service who its
/// client is, so this is what the client says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Asker(String);

/// Why a text names nobody.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("by: expected 1 to {ASKER_CHARS_MAX} characters without controls, got {0}")]
pub struct AskerError(Echo);

impl Asker {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Asker {
    fn default() -> Self {
        Self("nats".to_owned())
    }
}

impl TryFrom<String> for Asker {
    type Error = AskerError;

    fn try_from(text: String) -> Result<Self, AskerError> {
        let is_named = (1..=ASKER_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if is_named { Ok(Self(text)) } else { Err(AskerError(Echo::new(&text))) }
    }
}

/// A request that was not granted: the body beside the headers `Nats-Service-Error` and `Nats-Service-Error-Code`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{error}")]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// What the caller does next; the exit code of `rr` in the same case.
    pub code: Code,
    /// What is wrong: a lower-case fragment.
    pub error: String,
    /// Everything that is wrong with a flow or its parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Refusal {
    /// A refusal for one reason.
    pub fn new(code: Code, error: impl fmt::Display) -> Self {
        Self { code, error: format!("{error}"), problems: Vec::new() }
    }
}

/// Why a request was not granted, as the number that `rr` exits with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Code {
    /// What was given is wrong in itself.
    BadInput = 65,
    /// What was named is not there.
    Unknown = 66,
    /// The store does not answer: nothing is known to be done. Ask again.
    Unreachable = 69,
    /// A coordinator is wrong.
    Bug = 70,
    /// The id is taken.
    Taken = 73,
    /// Coordinators may not do this.
    Denied = 77,
    /// The mesh is not as it should be.
    Config = 78,
}

impl Code {
    const ALL: [Self; 7] =
        [Self::BadInput, Self::Unknown, Self::Unreachable, Self::Bug, Self::Taken, Self::Denied, Self::Config];
}

impl From<Code> for u16 {
    fn from(code: Code) -> Self {
        code as Self
    }
}

impl TryFrom<u16> for Code {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        Self::ALL.into_iter().find(|&code| u16::from(code) == number).ok_or_else(|| format!("no code {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_named_in_a_line() {
        for (by, is_good) in
            [("ada", true), ("nightly é", true), ("", false), ("a\nb", false), (&"x".repeat(101), false)]
        {
            assert_eq!(Asker::try_from(by.to_owned()).is_ok(), is_good, "{by:?}");
        }
        let cancel: Cancel = serde_json::from_str(r#"{"run": "r1"}"#).unwrap();
        assert_eq!(cancel.by.as_str(), "nats");
    }

    #[test]
    fn codes_are_numbers() {
        for code in Code::ALL {
            let text = serde_json::to_string(&code).unwrap();
            assert_eq!(text, u16::from(code).to_string());
            assert_eq!(serde_json::from_str::<Code>(&text).unwrap(), code);
        }
        assert!(serde_json::from_str::<Code>("1").is_err());
    }
}
