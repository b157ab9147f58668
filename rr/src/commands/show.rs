//! `rr show`: one run.

use rr_schemas::view::RunView;

use crate::cli::ShowArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow;
use crate::lookup::{self, Found};
use crate::output;
use crate::progress::{Tails, summary};
use crate::text::{Line, run_style};

/// Prints a run with its jobs and what went wrong.
pub(crate) async fn show(ctx: &Context, args: &ShowArgs) -> Result<Exit, CliError> {
    let (view, tails) = match lookup::find(ctx, &args.run).await? {
        Found::Live { mesh, run } => {
            let story = follow::story(&mesh, &run).await?;
            let remains = follow::remains(&mesh, &run, &story).await?;
            let tails = if ctx.printer.is_json() { Tails::new() } else { output::tails(&mesh, &story).await };
            (remains.unwrap_or_else(|| story.history().view()), tails)
        }
        Found::Kept(kept) if is_told_without_store(ctx, &kept.header.view) => (kept.header.view, Tails::new()),
        // Its rr was killed, or tasks failed: the rest of the story stands in its store.
        Found::Kept(kept) => {
            let reopened = lookup::reopen(ctx, &kept).await?;
            let story = follow::story(&reopened.mesh, &kept.header.view.run).await;
            let tails = match &story {
                Ok(story) => output::tails(&reopened.mesh, story).await,
                Err(_) => Tails::new(),
            };
            reopened.close().await;
            (story?.history().view(), tails)
        }
    };
    print_board(ctx, &view, &tails)?;
    Ok(Exit::Succeeded)
}

/// Prints a run as it stands.
///
/// # Errors
/// Those of stdout.
pub(super) fn print_board(ctx: &Context, view: &RunView, tails: &Tails) -> Result<(), CliError> {
    if ctx.printer.is_json() {
        return ctx.printer.json_document(view);
    }
    for line in heading(view) {
        ctx.printer.line(line.whole())?;
    }
    for line in summary(view, tails) {
        ctx.printer.line(line)?;
    }
    Ok(())
}

/// Whether what is kept of a run says all that is asked.
fn is_told_without_store(ctx: &Context, view: &RunView) -> bool {
    let is_sound = || view.jobs.iter().all(|job| job.failed == 0);
    view.status.is_final() && (ctx.printer.is_json() || is_sound())
}

fn heading(view: &RunView) -> Vec<Line> {
    let flow = view.flow.as_ref().map_or("-", |flow| flow.as_str());
    let mut lines = vec![
        Line::new().plain(format!("run      {}", view.run)),
        Line::new().plain(format!("flow     {flow}")),
        Line::new().plain("status   ").styled(run_style(view.status), view.status.word()),
    ];
    if let Some(old) = &view.retry_of {
        lines.push(Line::new().plain(format!("retry of {old}")));
    }
    for (label, at) in [("started", view.started_at), ("ended", view.ended_at)] {
        if let Some(at) = at {
            lines.push(Line::new().plain(format!("{label:<8} {at:.0}")));
        }
    }
    lines
}
