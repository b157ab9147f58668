//! Errors as clients read them: the code says what to do next, as the exit code of `rr` does.

use rr_nats::{Error, PublishError};
use rr_schemas::{
    api::{Code, Refusal},
    id::RunId,
};

/// A read that failed.
pub(super) fn told(error: &Error) -> Refusal {
    let code = match error {
        Error::Unreachable(_) | Error::Timeout { .. } | Error::Behind { .. } => Code::Unreachable,
        Error::Denied { .. } => Code::Denied,
        Error::NotFound { .. }
        | Error::Drift { .. }
        | Error::LogGone { .. }
        | Error::Replicas { .. }
        | Error::TooOld { .. }
        | Error::JetStreamOff
        | Error::Refused { .. }
        | Error::Answer(_) => Code::Config,
    };
    Refusal::new(code, error)
}

/// A publish that failed.
pub(super) fn publish_told(error: &PublishError) -> Refusal {
    let code = match error {
        PublishError::Conflict => Code::Taken,
        PublishError::Unsettled | PublishError::Unknown(_) | PublishError::NotFound { .. } => Code::Unreachable,
        PublishError::Denied { .. } => Code::Denied,
        PublishError::TooLarge { .. } => Code::BadInput,
        PublishError::Full(_) | PublishError::Refused { .. } => Code::Config,
    };
    Refusal::new(code, error)
}

/// No such run.
pub(super) fn unknown(run: &RunId) -> Refusal {
    Refusal::new(Code::Unknown, format_args!("there is no run \"{run}\""))
}
