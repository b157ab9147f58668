//! What is asked of a run that goes on, and may be asked twice.

use std::time::Duration;

use rr_nats::Mesh;
use rr_schemas::{id::RunId, input::Input, view::StatusEntry};
use tokio::time::sleep;

use crate::context::Context;
use crate::error::CliError;
use crate::lookup::{self, Found};
use crate::mesh;

/// Tries of a request whose answer did not come: a server that is started again takes a moment.
const TRIES: u32 = 5;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether there is somebody to ask.
pub(super) enum Living {
    /// The run goes on, in this mesh.
    Yes {
        /// The mesh.
        mesh: Mesh,
        /// The run.
        run: RunId,
        /// Its state, where there is one.
        entry: Option<Box<StatusEntry>>,
    },
    /// It is over, and the user was told so.
    Over(RunId),
}

/// The run that is meant, and whether it goes on.
///
/// # Errors
/// Those of [`lookup::find`], or its state cannot be read.
pub(super) async fn living(ctx: &Context, typed: &str) -> Result<Living, CliError> {
    match lookup::find(ctx, typed).await? {
        Found::Live { mesh, run } => {
            let entry = mesh.status(&run).await.map_err(|error| mesh::told(&error))?;
            match entry.as_ref().map(|entry| entry.view.status).filter(|status| status.is_final()) {
                Some(status) => {
                    ctx.printer.note(format_args!("run {run} is over: {}", status.word()));
                    Ok(Living::Over(run))
                }
                None => Ok(Living::Yes { mesh, run, entry: entry.map(Box::new) }),
            }
        }
        Found::Kept(kept) => {
            let view = kept.header.view;
            ctx.printer.note(format_args!("run {} is over: nobody works on it", view.run));
            Ok(Living::Over(view.run))
        }
    }
}

/// Stores what somebody asks of a run that exists, and that may be asked twice.
///
/// # Errors
/// It is not known to be stored.
pub(super) async fn store(ctx: &Context, mesh: &Mesh, run: &RunId, input: &Input) -> Result<(), CliError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match mesh.request(&run.into(), &ctx.who(), input).await {
            Ok(_) => return Ok(()),
            // To ask twice does no harm.
            Err(error) if error.is_retryable() && left > 0 => sleep(PAUSE).await,
            Err(error) => return Err(mesh::publish_told(&error)),
        }
    }
}
