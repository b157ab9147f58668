//! `rr run`: a flow from file to finished, on a private mesh unless one is configured.

use rr_nats::{Mesh, OutputFilter};
use rr_schemas::{decision::RunStatus, id::RunId, view::RunView};

use super::{cancel, publish};
use crate::archive::{self, Archive, Header, KEPT_MAX};
use crate::cli::RunArgs;
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::exit::Exit;
use crate::flowfile::{self, Checked};
use crate::follow::{Follower, Show};
use crate::local::Occupied;
use crate::mesh::Place;
use crate::output::{Form, Printed};
use crate::private::{Happened, Private};
use crate::progress::Story;
use crate::roles;
use crate::signals::Signals;
use crate::submit;

/// Partitions of a mesh for one run.
const PARTITIONS: u16 = 1;

/// Runs a flow and waits for its end.
pub(crate) async fn run(ctx: &Context, args: &RunArgs) -> Result<Exit, CliError> {
    let checked = flowfile::checked(ctx.printer, &args.flow, &args.set)?;
    let run = submit::id_or_drawn(args.id.as_ref())?;
    let signals = Signals::new()?;
    match Place::configured(ctx) {
        Some(place) => on_mesh(ctx, args, &place, &run, &checked, signals).await,
        None => privately(ctx, args, &run, &checked, signals).await,
    }
}

fn follower(ctx: &Context, args: &RunArgs, mesh: &Mesh, run: &RunId) -> Follower {
    if !args.logs {
        return Follower::new(mesh, run, ctx.printer, Show::best(ctx));
    }
    // Lines of output and a block that is redrawn cannot share a terminal.
    let form = if ctx.printer.is_json() { Form::Aside } else { Form::Lines };
    Follower::new(mesh, run, ctx.printer, Show::lines())
        .with_output(Printed::new(ctx.printer, form, None), OutputFilter::default())
}

async fn on_mesh(
    ctx: &Context,
    args: &RunArgs,
    place: &Place,
    run: &RunId,
    checked: &Checked,
    mut signals: Signals,
) -> Result<Exit, CliError> {
    let mesh = place.connect("run").await?;
    submit::submit(ctx, &mesh, run, checked).await?;
    submit::warn_of_absent(ctx, &mesh, &checked.plan).await;
    let mut follower = follower(ctx, args, &mesh, run);
    let mut n_signals = 0;
    loop {
        tokio::select! {
            over = follower.until_over() => {
                over?;
                break;
            }
            () = signals.next() => n_signals += 1,
        }
        follower.clear();
        if n_signals > 1 {
            ctx.printer.note(format_args!("run {run} is being cancelled; follow with: rr watch {run}"));
            return Err(CliError::Interrupted);
        }
        ctx.printer.note(format_args!("cancelling run {run}; Ctrl-C again stops waiting"));
        cancel::request(ctx, &mesh, run, Some("interrupted".to_owned())).await?;
    }
    let exit = publish::finish(ctx, &mesh, follower.story()).await?;
    mesh.drain().await;
    Ok(exit)
}

async fn privately(
    ctx: &Context,
    args: &RunArgs,
    run: &RunId,
    checked: &Checked,
    mut signals: Signals,
) -> Result<Exit, CliError> {
    let archive = ctx.archive()?;
    let occupied = make_room(&archive, run, checked)?;
    let worker = roles::of_run(ctx, occupied.dir().join("worker"), &checked.plan, args.capacity)?;
    let private = tokio::select! {
        private = Private::start(ctx, &occupied, PARTITIONS, worker) => private?,
        // Dropping what was started so far kills it.
        () = signals.next() => {
            ctx.printer.note("interrupted before the run began");
            return Ok(Exit::Cancelled);
        }
    };
    let mut attended = Attended { ctx, private, signals };
    let ended = attended.attend(args, run, checked).await;
    let Attended { private, mut signals, .. } = attended;
    match &ended {
        Ok(_) => tokio::select! {
            () = private.stop() => {}
            // Who is in a hurry: dropping the rest kills it.
            () = signals.next() => {}
        },
        // Nobody waits for what still runs: it must not go on alone.
        Err(_) => private.kill().await,
    }
    let (story, exit) = ended?;
    archive::keep(occupied.dir(), &header(checked, story.history().view()))?;
    Ok(exit)
}

/// Takes a directory for the run, and removes the oldest runs.
fn make_room(archive: &Archive, run: &RunId, checked: &Checked) -> Result<Occupied, CliError> {
    archive.prune(KEPT_MAX - 1);
    let occupied = archive.create(run)?;
    // As long as nothing better is known: whoever looks while it runs sees that.
    let view = RunView {
        run: run.clone(),
        flow: Some(checked.flow.name.clone()),
        status: RunStatus::Running,
        started_at: None,
        ended_at: None,
        jobs: Vec::new(),
        problems: Vec::new(),
    };
    archive::keep(occupied.dir(), &header(checked, view))?;
    Ok(occupied)
}

fn header(checked: &Checked, view: RunView) -> Header {
    let view = RunView { flow: view.flow.or_else(|| Some(checked.flow.name.clone())), ..view };
    Header { rr: env!("CARGO_PKG_VERSION").to_owned(), since: view.started_at.unwrap_or_else(now), view }
}

/// A private mesh with the person in front of it.
struct Attended<'a> {
    ctx: &'a Context,
    private: Private,
    signals: Signals,
}

impl Attended<'_> {
    /// Submits the run and follows it to its end.
    async fn attend(&mut self, args: &RunArgs, run: &RunId, checked: &Checked) -> Result<(Story, Exit), CliError> {
        let ctx = self.ctx;
        let mesh = self.private.mesh().clone();
        submit::submit(ctx, &mesh, run, checked).await?;
        let mut follower = follower(ctx, args, &mesh, run);
        let mut is_cancelling = false;
        loop {
            tokio::select! {
                over = follower.until_over() => {
                    over?;
                    break;
                }
                happened = self.private.keep() => match happened? {
                    Happened::Restarted => continue,
                    Happened::WorkerEnded => return Err(CliError::bug("the worker ended by itself")),
                },
                () = self.signals.next() => {}
            }
            follower.clear();
            if is_cancelling {
                ctx.printer.note("killing everything");
                return Err(CliError::Interrupted);
            }
            is_cancelling = true;
            ctx.printer.note(format_args!("cancelling run {run}; Ctrl-C again kills everything at once"));
            cancel::request(ctx, &mesh, run, Some("interrupted".to_owned())).await?;
        }
        let exit = publish::finish(ctx, &mesh, follower.story()).await?;
        Ok((follower.into_story(), exit))
    }
}
