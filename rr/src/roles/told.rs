//! What a person is told of a worker or a coordinator that cannot start, or has ended though nobody had asked it to.

use rr_nats::PresenceError;
use rr_worker::{JoinError, StartError};

use crate::error::{CliError, chain};
use crate::exit::Exit;
use crate::mesh;

/// What to do where a connection has ended for good.
const CLOSED_HINT: &str = "start it again; what it had in hand is taken up where it was";

/// A worker that cannot start.
pub(crate) fn worker_told(error: &StartError) -> CliError {
    match error {
        StartError::Taken { .. } | StartError::Join(JoinError::Refused { .. }) => {
            CliError::new(Exit::Taken, chain(error))
        }
        StartError::Mesh(error)
        | StartError::Join(JoinError::Mesh(error))
        | StartError::Presence(PresenceError::Read(error)) => mesh::told(error),
        StartError::Presence(PresenceError::Publish(error)) => mesh::publish_told(error),
        StartError::Ledger(_)
        | StartError::Workdir(..)
        | StartError::Ssh(_)
        | StartError::Presence(PresenceError::Taken { .. }) => CliError::new(Exit::Config, chain(error)),
        StartError::Bug(_) => CliError::bug(chain(error)),
    }
}

/// A worker that has ended though nobody had asked it to.
pub(crate) fn worker_ended(error: &rr_worker::RunError) -> CliError {
    match error {
        rr_worker::RunError::Closed => CliError::new(Exit::Unreachable, chain(error)).hint(CLOSED_HINT),
        rr_worker::RunError::Ledger(_) | rr_worker::RunError::Join(_) | rr_worker::RunError::Bug(_) => {
            CliError::bug(chain(error))
        }
    }
}

/// A coordinator that has ended though nobody had asked it to.
pub(crate) fn coordinator_ended(ended: Result<(), rr_coordinator::RunError>) -> CliError {
    match ended {
        Err(error @ rr_coordinator::RunError::Closed) => {
            CliError::new(Exit::Unreachable, chain(&error)).hint(CLOSED_HINT)
        }
        Err(error @ (rr_coordinator::RunError::Start(_) | rr_coordinator::RunError::Bug(_))) => {
            CliError::bug(chain(&error))
        }
        Ok(()) => CliError::bug("the coordinator ended by itself"),
    }
}
