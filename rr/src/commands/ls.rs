//! `rr ls`: the runs of the mesh, and those kept on this machine.

use std::cmp::Reverse;

use anstyle::Style;
use rr_schemas::{
    decision::RunStatus,
    view::{RunView, Tally},
};
use serde::Serialize;

use crate::archive::Kept;
use crate::cli::LsArgs;
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};
use crate::printer::{BAD, DIM};
use crate::text::{ago, between, duration_words, run_style, table};

/// Where a run is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Mesh,
    Private,
}

/// A run, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    view: RunView,
    tasks: Tally,
    #[serde(rename = "where")]
    kind: Kind,
    /// Nobody ended it and nobody works on it: it was killed with its rr.
    #[serde(rename = "dead", skip_serializing_if = "std::ops::Not::not")]
    is_dead: bool,
}

/// Lists runs.
pub(crate) async fn ls(ctx: &Context, args: &LsArgs) -> Result<Exit, CliError> {
    let mut listed = Vec::new();
    if let Some(place) = Place::find(ctx)? {
        let mesh = place.connect("ls").await?;
        let mut statuses = mesh.statuses().await.map_err(|error| mesh::told(&error))?;
        statuses.extend(mesh.queued(&statuses).await.map_err(|error| mesh::told(&error))?);
        statuses.sort_by_key(|entry| Reverse(entry.view.started_at));
        listed.extend(statuses.into_iter().map(|entry| Listed {
            view: entry.view,
            tasks: entry.tasks,
            kind: Kind::Mesh,
            is_dead: false,
        }));
    }
    let kept = ctx.archive()?.list().into_iter();
    listed.extend(kept.map(outline));
    let wanted: Vec<RunStatus> = args.status.iter().map(|status| (*status).into()).collect();
    listed.retain(|listed| wanted.is_empty() || wanted.contains(&listed.view.status));
    let n_all = listed.len();
    if !args.all {
        listed.truncate(args.n);
    }
    if ctx.printer.is_json() {
        ctx.printer.json_document(&listed)?;
        return Ok(Exit::Succeeded);
    }
    if listed.is_empty() {
        ctx.printer.note(if n_all == 0 && wanted.is_empty() {
            "no runs yet; start one with: rr run FLOW"
        } else {
            "no such runs"
        });
        return Ok(Exit::Succeeded);
    }
    let rows: Vec<_> = listed.iter().map(row).collect();
    for line in table(&["RUN", "FLOW", "STATUS", "TASKS", "STARTED", "TIME", "WHERE"], &rows) {
        ctx.printer.line(line)?;
    }
    if listed.len() < n_all {
        ctx.printer.note(format_args!("{} of {n_all} runs; all of them: rr ls --all", listed.len()));
    }
    Ok(Exit::Succeeded)
}

/// A private run without its tasks.
fn outline(kept: Kept) -> Listed {
    let mut view = kept.header.view;
    for job in &mut view.jobs {
        job.tasks.clear();
    }
    view.started_at = view.started_at.or(Some(kept.header.since));
    let is_dead = !view.status.is_final() && !kept.is_live;
    Listed { tasks: Tally::of(&view), view, kind: Kind::Private, is_dead }
}

fn row(listed: &Listed) -> Vec<(Style, String)> {
    let view = &listed.view;
    let now = now();
    let started = view.started_at.map_or_else(|| "-".to_owned(), |at| ago(at, now));
    let is_open = !view.status.is_final() && !listed.is_dead;
    let until = view.ended_at.or_else(|| is_open.then_some(now));
    let time =
        view.started_at.zip(until).map_or_else(|| "-".to_owned(), |(from, to)| duration_words(between(from, to)));
    let kind = match listed.kind {
        Kind::Mesh => "mesh",
        Kind::Private => "private",
    };
    let plain = Style::new();
    vec![
        (plain, view.run.to_string()),
        (plain, view.flow.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
        if listed.is_dead {
            (BAD, "killed".to_owned())
        } else {
            (run_style(view.status), view.status.word().to_owned())
        },
        (plain, format!("{}/{}", listed.tasks.ok, listed.tasks.targets)),
        (plain, started),
        (plain, time),
        (DIM, kind.to_owned()),
    ]
}
