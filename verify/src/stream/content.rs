//! Messages of the log as the judge takes them.

use jiff::Timestamp;
use rr_schemas::{
    decision::Decision,
    id::RunId,
    input::{Input, Source},
};

/// A message of the log.
#[derive(Clone, Debug)]
pub struct Message {
    /// The run that its subject names.
    pub run: RunId,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// What it is.
    pub content: Content,
}

/// What a message of the log is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A decision.
    Decision {
        /// The hash of its bytes.
        hash: String,
        /// The decision.
        decision: Box<Decision>,
    },
    /// A decision that this build cannot read, a newer one most likely, and why.
    Unreadable(String),
    /// Something else among the decisions, which every fold passes over. It is counted among what nobody believes.
    Foreign,
    /// An input that says what its subject says.
    Input {
        /// Who may have sent it.
        source: Source,
        /// The input.
        input: Box<Input>,
    },
    /// An input that this build cannot read, a newer one most likely, and why.
    Unread(String),
    /// Something among the inputs that nobody can believe, and why.
    Bad(String),
}

impl Content {
    /// A decision with the hash of its bytes, or why this build cannot read it.
    pub fn of_decision(hash: String, decision: Result<Decision, String>) -> Self {
        match decision {
            Ok(decision) => Self::Decision { hash, decision: Box::new(decision) },
            Err(reason) => Self::Unreadable(reason),
        }
    }

    /// An input with who may have sent it, or why nobody can believe it, or this build cannot read it.
    pub fn of_input(source: Source, input: Result<Input, String>, is_unreadable: bool) -> Self {
        match input {
            Ok(input) => Self::Input { source, input: Box::new(input) },
            Err(reason) if is_unreadable => Self::Unread(reason),
            Err(reason) => Self::Bad(reason),
        }
    }
}

pub(super) fn ends(content: &Content) -> bool {
    match content {
        Content::Decision { decision, .. } => decision.events.iter().any(|record| record.event.is_end()),
        Content::Unreadable(_) | Content::Foreign | Content::Input { .. } | Content::Unread(_) | Content::Bad(_) => {
            false
        }
    }
}

/// Whether something behind the end of a run may have to be noted: reports, and whatever was decided of them.
pub(super) fn may_matter(content: &Content) -> bool {
    match content {
        Content::Decision { .. } | Content::Unreadable(_) => true,
        Content::Input { input, .. } => matches!(**input, Input::Report(_) | Input::Claim(_)),
        Content::Foreign | Content::Unread(_) | Content::Bad(_) => false,
    }
}
