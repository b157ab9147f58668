//! `rr publish`: stores a run in a mesh.

use rr_nats::Mesh;
use rr_schemas::{id::RunId, span::Span, view::RunView};
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::PublishArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::flowfile;
use crate::follow::{Follower, Show};
use crate::mesh::Place;
use crate::output;
use crate::printer::Printer;
use crate::progress::{Story, Tails, summary};
use crate::signals::Signals;
use crate::submit;

#[derive(Debug, Serialize)]
struct Published<'a> {
    run: &'a RunId,
    flow: &'a str,
}

/// How a run is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Whether its progress is shown.
    pub(crate) follow: bool,
    /// When waiting ends anyway.
    pub(crate) timeout: Option<Span>,
}

/// Stores a run, and waits for it if asked to.
pub(crate) async fn publish(ctx: &Context, args: &PublishArgs) -> Result<Exit, CliError> {
    let checked = flowfile::checked(ctx.printer, &args.flow, &args.set)?;
    let run = submit::id_or_drawn(args.id.as_ref())?;
    let by = submit::answer_by();
    let mesh = Place::need(ctx)?.connect_by("publish", by).await?;
    // From here on Ctrl-C must not leave it open whether the run was stored.
    let signals = Signals::new()?;
    submit::submit(ctx, &mesh, &run, &checked, by).await?;
    if args.wait || args.follow {
        ctx.printer.note(format_args!("published run {run}"));
        submit::warn_of_absent(ctx, &mesh, &checked.plan, |_| true).await;
        let waiting = Waiting { follow: args.follow, timeout: args.timeout };
        return wait(ctx, &waiting, &mesh, &run, signals).await;
    }
    if ctx.printer.is_json() {
        ctx.printer.json_line(&Published { run: &run, flow: checked.flow.name.as_str() })?;
    } else {
        ctx.printer.line(&run)?;
    }
    submit::warn_of_absent(ctx, &mesh, &checked.plan, |_| true).await;
    mesh.drain().await;
    Ok(Exit::Succeeded)
}

/// Waits for the end of a run.
///
/// # Errors
/// The log cannot be read, or stdout is closed.
pub(crate) async fn wait(
    ctx: &Context,
    waiting: &Waiting,
    mesh: &Mesh,
    run: &RunId,
    mut signals: Signals,
) -> Result<Exit, CliError> {
    let show = if waiting.follow { Show::best(ctx) } else { Show::Quiet };
    let mut follower = Follower::new(mesh, run, ctx.printer, show);
    let deadline = async {
        match waiting.timeout {
            Some(timeout) => sleep(timeout.as_duration()).await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        over = follower.until_over() => {
            over?;
            let exit = finish(ctx, mesh, follower.story()).await?;
            mesh.drain().await;
            return Ok(exit);
        }
        () = deadline => "gave up waiting",
        () = signals.next() => "stopped waiting",
    };
    follower.clear();
    ctx.printer.note(format_args!("{why}; run {run} continues; follow with: rr watch {run}"));
    Ok(Exit::GaveUpWaiting)
}

/// Prints the end of a run: its document, or its summary.
///
/// # Errors
/// Stdout is closed.
pub(crate) async fn finish(ctx: &Context, mesh: &Mesh, story: &Story) -> Result<Exit, CliError> {
    let tails = if ctx.printer.is_json() { Tails::new() } else { output::tails(mesh, story).await };
    for words in story.truncations(|_, _| true) {
        ctx.printer.warn(words);
    }
    print(ctx, &story.history().view(), &tails)
}

/// Prints a run that is over.
///
/// # Errors
/// Stdout is closed.
pub(crate) fn print(ctx: &Context, view: &RunView, tails: &Tails) -> Result<Exit, CliError> {
    if ctx.printer.is_json() {
        ctx.printer.json_document(view)?;
    } else {
        summary(view, tails).iter().try_for_each(|line| ctx.printer.line(line))?;
    }
    if Printer::has_lost_output() {
        ctx.printer.note(format_args!("run {} {}", view.run, view.status.word()));
    }
    Ok(Exit::of_run(view.status))
}
