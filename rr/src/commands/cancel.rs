//! `rr cancel`: stops a run.

use std::time::Duration;

use rr_nats::Mesh;
use rr_schemas::{
    id::RunId,
    input::{Cancel, Input},
};
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::CancelArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::lookup::{self, Found};
use crate::mesh;

/// Tries of a request whose answer did not come: a server that is started again takes a moment.
const TRIES: u32 = 5;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Asked<'a> {
    run: &'a RunId,
    cancel: bool,
}

/// Asks for the end of a run. One that is over stays as it is.
pub(crate) async fn cancel(ctx: &Context, args: &CancelArgs) -> Result<Exit, CliError> {
    let (run, asked) = match lookup::find(ctx, &args.run).await? {
        Found::Live { mesh, run } => {
            let status = mesh.status(&run).await.map_err(|error| mesh::told(&error))?;
            if let Some(status) = status.map(|entry| entry.view.status).filter(|status| status.is_final()) {
                ctx.printer.note(format_args!("run {run} is over: {}", status.word()));
                (run, false)
            } else {
                request(ctx, &mesh, &run, args.reason.clone()).await?;
                ctx.printer.note(format_args!("asked run {run} to stop; follow with: rr watch {run}"));
                (run, true)
            }
        }
        Found::Kept(kept) => {
            let view = kept.header.view;
            ctx.printer.note(format_args!("run {} is over: nobody works on it", view.run));
            (view.run, false)
        }
    };
    if ctx.printer.is_json() {
        ctx.printer.json_line(&Asked { run: &run, cancel: asked })?;
    }
    Ok(Exit::Succeeded)
}

/// Stores the wish to stop a run.
///
/// # Errors
/// It is not known to be stored.
pub(crate) async fn request(ctx: &Context, mesh: &Mesh, run: &RunId, reason: Option<String>) -> Result<(), CliError> {
    store(ctx, mesh, run, &Input::Cancel(Cancel { by: ctx.who(), reason })).await
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
