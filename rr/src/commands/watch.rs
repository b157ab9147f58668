//! `rr watch`: what happens, live.

use std::collections::BTreeMap;
use std::time::Duration;

use rr_nats::{Mesh, Start, TailItem};
use rr_schemas::{
    decision::{Event, Record},
    id::RunId,
};
use serde::Serialize;

use super::publish;
use crate::cli::WatchArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{self, Follower, Show};
use crate::lookup::{self, Found};
use crate::mesh::{self, Place};
use crate::progress::{Lines, Story, Tails};
use crate::signals::Signals;
use crate::text::escape;

/// Pause before a lost tail is opened again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One event, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct EventView<'a> {
    run: &'a RunId,
    seq: u64,
    n: u64,
    cause: u64,
    at: jiff::Timestamp,
    event: &'a Event,
}

impl<'a> EventView<'a> {
    /// An event of the decision with this sequence and number.
    pub(crate) const fn new(run: &'a RunId, seq: u64, n: u64, record: &'a Record) -> Self {
        Self { run, seq, n, cause: record.cause, at: record.at, event: &record.event }
    }
}

/// Shows one run, or all.
pub(crate) async fn watch(ctx: &Context, args: &WatchArgs) -> Result<Exit, CliError> {
    let Some(typed) = &args.run else {
        let mesh = Place::need(ctx)?.connect("watch").await?;
        return all(ctx, &mesh).await;
    };
    match lookup::find(ctx, typed).await? {
        Found::Live { mesh, run } => one(ctx, &mesh, &run).await,
        Found::Kept(kept) => {
            let reopened = lookup::reopen(ctx, &kept).await?;
            let shown = replay(ctx, &reopened.mesh, &kept.header.view.run).await;
            reopened.close().await;
            shown
        }
    }
}

/// A run until it ends.
async fn one(ctx: &Context, mesh: &Mesh, run: &RunId) -> Result<Exit, CliError> {
    let story = follow::story(mesh, run).await?;
    if let Some(view) = follow::remains(mesh, run, &story).await? {
        ctx.printer.note("its history was removed; this is its last state");
        return publish::print(ctx, &view, &Tails::new());
    }
    let mut signals = Signals::new()?;
    let show = if ctx.printer.is_json() { Show::Events } else { Show::best(ctx) };
    let mut follower = Follower::new(mesh, run, ctx.printer, show);
    tokio::select! {
        over = follower.until_over() => over?,
        () = signals.next() => {
            follower.clear();
            ctx.printer.note(format_args!("stopped watching; run {run} continues"));
            return Ok(Exit::GaveUpWaiting);
        }
    }
    if ctx.printer.is_json() {
        return Ok(Exit::of_run(follower.story().outline().status));
    }
    publish::finish(ctx, mesh, follower.story()).await
}

/// A run that nobody works on: what there is of it, with its own exit code.
async fn replay(ctx: &Context, mesh: &Mesh, run: &RunId) -> Result<Exit, CliError> {
    let stored = mesh.history(&run.into(), 0).await.map_err(|error| mesh::told(&error))?;
    let mut told = Told::default();
    let mut story = Story::new(run.clone());
    for stored in stored {
        for record in stored.decision.iter().flat_map(|decision| &decision.events) {
            if let Err(reason) = story.apply(record) {
                tracing::warn!(run.id = %run, reason, "event passed over");
            }
        }
        let item = TailItem { entity: run.into(), seq: stored.seq, at: stored.at, decision: stored.decision };
        told.tell(ctx, mesh, item).await?;
    }
    if !story.history().run().is_final() {
        ctx.printer.note(format_args!("run {run} did not end: it was killed with its rr"));
    }
    Ok(Exit::of_run(story.outline().status))
}

/// Everything, until stdout or the process is closed.
async fn all(ctx: &Context, mesh: &Mesh) -> Result<Exit, CliError> {
    let mut told = Told::default();
    loop {
        let mut tail = match mesh.tail(None, Start::New).await {
            Ok(tail) => tail,
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "the event log cannot be read for the moment");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            Err(error) => return Err(mesh::told(&error)),
        };
        loop {
            match tail.next().await {
                Ok(item) => told.tell(ctx, mesh, item).await?,
                Err(error) if error.is_retryable() => break,
                Err(error) => return Err(mesh::told(&error)),
            }
        }
    }
}

/// The runs that have been spoken of and are not over.
#[derive(Debug, Default)]
struct Told {
    runs: BTreeMap<RunId, (Story, Lines)>,
}

impl Told {
    async fn tell(&mut self, ctx: &Context, mesh: &Mesh, item: TailItem) -> Result<(), CliError> {
        let run = RunId::from(item.entity);
        let decision = match item.decision {
            Ok(decision) => decision,
            Err(reason) => {
                ctx.printer.note(format_args!(
                    "{run}: unreadable decision {}: {}",
                    item.seq,
                    escape(reason.as_bytes())
                ));
                return Ok(());
            }
        };
        if ctx.printer.is_json() {
            let mut events = decision.events.iter();
            return events
                .try_for_each(|record| ctx.printer.json_line(&EventView::new(&run, item.seq, decision.n, record)));
        }
        if !self.runs.contains_key(&run) {
            // Of a run that began before the watch did, the names of jobs and hosts stand in what was decided before.
            let story = if decision.n == 1 {
                Story::new(run.clone())
            } else {
                follow::story_before(mesh, &run, item.seq).await?
            };
            self.runs.insert(run.clone(), (story, Lines::default()));
        }
        let Some((story, lines)) = self.runs.get_mut(&run) else { return Ok(()) };
        for record in &decision.events {
            if let Err(reason) = story.apply(record) {
                tracing::warn!(run.id = %run, reason, "event passed over");
                continue;
            }
            if let Some(line) = lines.tell(record, story) {
                ctx.printer.line(format_args!("{:.0} {run} {}", record.at, line.whole()))?;
            }
        }
        if story.history().run().is_final() {
            self.runs.remove(&run);
        }
        Ok(())
    }
}
