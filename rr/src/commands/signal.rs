//! `rr signal`: lets the gates of a run pass that wait for a signal.

use std::collections::BTreeSet;

use rr_nats::Mesh;
use rr_schemas::{
    api::Signalled,
    flow::signal,
    id::RunId,
    input::{Input, Signal},
    name::Name,
    view::StatusEntry,
};

use super::ask::{Living, living, store};
use crate::cli::SignalArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh;

/// Gives a run a signal. One that is over stays as it is.
pub(crate) async fn signal(ctx: &Context, args: &SignalArgs) -> Result<Exit, CliError> {
    let signal: Name =
        args.signal.parse().map_err(|error| CliError::new(Exit::BadInput, format!("signal: {error}")))?;
    let (run, given) = match living(ctx, &args.run).await? {
        Living::Yes { mesh, run, entry } => {
            check(&mesh, &run, entry.as_deref(), &signal).await?;
            let input = Signal { signal: signal.clone(), by: ctx.who(), reason: args.reason.clone() };
            store(ctx, &mesh, &run, &Input::Signal(input)).await?;
            ctx.printer.note(format_args!("gave run {run} the signal {signal}; follow with: rr watch {run}"));
            (run, true)
        }
        Living::Over(run) => (run, false),
    };
    if ctx.printer.is_json() {
        ctx.printer.json_line(&Signalled { run, signal, given })?;
    }
    Ok(Exit::Succeeded)
}

/// Some job of the run waits for the signal, or will: its state says so, or else its flow.
async fn check(mesh: &Mesh, run: &RunId, entry: Option<&StatusEntry>, signal: &Name) -> Result<(), CliError> {
    let refused = |why: String| Err(CliError::new(Exit::Unknown, format!("run {run}: {why}")));
    if let Some(entry) = entry {
        let signals: BTreeSet<&Name> = entry.view.jobs.iter().filter_map(|job| job.signal.as_ref()).collect();
        match signal::unknown(signal, &signals) {
            None => return Ok(()),
            Some(why) if entry.jobs_left_out == 0 => return refused(why),
            Some(_) => {}
        }
    }
    let first = mesh.first_request(&run.into()).await.map_err(|error| mesh::told(&error))?;
    match first.map(|first| first.input) {
        Some(Ok(Input::Submit(submit))) => signal::unknown(signal, &submit.flow.signals()).map_or(Ok(()), refused),
        Some(_) | None => Err(CliError::new(Exit::Unknown, format!("there is no run \"{run}\""))),
    }
}
