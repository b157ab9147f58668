//! What an answer says: what was asked for, or why not.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::{Error, PublishError},
    mux::Failure,
    transport::{Message, Subject},
};

/// How the API says no.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    err_code: Option<u32>,
    #[serde(default)]
    pub(super) description: String,
}

impl Refusal {
    pub(super) fn code(&self) -> u32 {
        self.err_code.unwrap_or(self.code)
    }
}

/// What the API answers, or why it does not.
pub(super) fn api_answer<A: DeserializeOwned>(operation: &str, answer: &Message) -> Result<A, Error> {
    if let Some(refusal) = refusal(&answer.payload)? {
        return Err(Error::classify(refusal.code(), &refusal.description, operation));
    }
    serde_json::from_slice(&answer.payload).map_err(|error| Error::Answer(format!("{operation}: {error}")))
}

fn refusal(payload: &[u8]) -> Result<Option<Refusal>, Error> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        error: Option<Refusal>,
    }
    match serde_json::from_slice::<Head>(payload) {
        Ok(head) => Ok(head.error),
        Err(error) => Err(Error::Answer(error.to_string())),
    }
}

impl Failure {
    pub(crate) fn into_error(self, subject: &Subject) -> Error {
        let what = || subject.as_str().to_owned();
        match self {
            Self::Denied => Error::Denied { subject: what() },
            Self::NoResponders => Error::Unreachable(format!("nobody listens on {subject}")),
            Self::Timeout => Error::Timeout { what: what() },
            Self::Disconnected => Error::Unreachable("the connection broke".to_owned()),
            Self::Closed => Error::Unreachable("the connection is closed".to_owned()),
            Self::TooLarge { bytes, limit } => {
                Error::Answer(format!("request of {bytes} bytes, the server takes {limit}"))
            }
        }
    }

    pub(super) fn into_publish_error(self, subject: &Subject) -> PublishError {
        let what = || subject.as_str().to_owned();
        match self {
            Self::Denied => PublishError::Denied { subject: what() },
            Self::NoResponders => PublishError::NotFound { subject: what() },
            Self::Timeout => PublishError::Unknown("no answer in time".to_owned()),
            Self::Disconnected => PublishError::Unknown("the connection broke".to_owned()),
            Self::Closed => PublishError::Unknown("the connection is closed".to_owned()),
            Self::TooLarge { bytes, limit } => PublishError::TooLarge { bytes, limit },
        }
    }
}
