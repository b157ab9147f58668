//! `rr cancel`: stops a run.

use rr_nats::Mesh;
use rr_schemas::{
    id::RunId,
    input::{Cancel, Input},
};
use serde::Serialize;

use super::ask::{Living, living, store};
use crate::cli::CancelArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

#[derive(Debug, Serialize)]
struct Asked<'a> {
    run: &'a RunId,
    cancel: bool,
}

/// Asks for the end of a run. One that is over stays as it is.
pub(crate) async fn cancel(ctx: &Context, args: &CancelArgs) -> Result<Exit, CliError> {
    let (run, asked) = match living(ctx, &args.run).await? {
        Living::Yes { mesh, run, .. } => {
            request(ctx, &mesh, &run, args.reason.clone()).await?;
            ctx.printer.note(format_args!("asked run {run} to stop; follow with: rr watch {run}"));
            (run, true)
        }
        Living::Over(run) => (run, false),
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
