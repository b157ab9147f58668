//! `rr run`: a flow from file to finished, on a private mesh unless one is configured.

use futures::future::BoxFuture;
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
    match Place::configured(ctx)? {
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
    let by = submit::answer_by();
    let mesh = place.connect_by("run", by).await?;
    submit::submit(ctx, &mesh, run, checked, by).await?;
    submit::warn_of_absent(ctx, &mesh, &checked.plan, |_| true).await;
    let mut follower = follower(ctx, args, &mesh, run);
    let mut cancel = Cancelling::new(ctx, &mesh, run);
    loop {
        tokio::select! {
            over = follower.until_over() => {
                over?;
                break;
            }
            asked = cancel.asked() => {
                asked?;
                continue;
            }
            () = signals.next() => {}
        }
        follower.clear();
        match cancel.state {
            Asking::Not => {
                ctx.printer.note(format_args!("cancelling run {run}; Ctrl-C again stops waiting"));
                cancel.begin();
            }
            Asking::Now(_) => {
                let text = format_args!("run {run} is not known to be cancelled; do it again with: rr cancel {run}");
                ctx.printer.warn(text);
                return Err(CliError::Interrupted);
            }
            Asking::Done => {
                ctx.printer.note(format_args!("run {run} is being cancelled; follow with: rr watch {run}"));
                return Err(CliError::Interrupted);
            }
        }
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
    let occupied = archive.create(run)?;
    let private = match begin(ctx, args, run, checked, &mut signals, &occupied).await {
        Ok(Some(private)) => private,
        // A run that never was leaves nothing behind.
        Ok(None) => {
            occupied.remove();
            ctx.printer.note("interrupted before the run began");
            return Ok(Exit::Cancelled);
        }
        Err(error) => {
            occupied.remove();
            return Err(error);
        }
    };
    let mut attended = Attended { ctx, private, signals };
    let ended = match enter(&archive, &occupied, run, checked) {
        Ok(()) => attended.attend(args, run).await,
        Err(error) => Err(error),
    };
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

/// Starts a private mesh and submits the run; nothing where somebody has interrupted that.
async fn begin(
    ctx: &Context,
    args: &RunArgs,
    run: &RunId,
    checked: &Checked,
    signals: &mut Signals,
    occupied: &Occupied,
) -> Result<Option<Private>, CliError> {
    let worker = roles::of_run(ctx, occupied.dir().join("worker"), &checked.plan, args.capacity)?;
    let private = tokio::select! {
        private = Private::start(ctx, occupied, PARTITIONS, worker) => private?,
        // Dropping what was started so far kills it.
        () = signals.next() => return Ok(None),
    };
    let submitted = tokio::select! {
        submitted = submit::submit(ctx, private.mesh(), run, checked, submit::answer_by()) => submitted.map(|()| true),
        () = signals.next() => Ok(false),
    };
    match submitted {
        Ok(true) => Ok(Some(private)),
        Ok(false) => {
            private.kill().await;
            Ok(None)
        }
        Err(error) => {
            private.kill().await;
            Err(error)
        }
    }
}

/// Enters a run that has begun into the archive, and removes the oldest ones.
fn enter(archive: &Archive, occupied: &Occupied, run: &RunId, checked: &Checked) -> Result<(), CliError> {
    // As long as nothing better is known: whoever looks while it runs sees that.
    let view = RunView {
        run: run.clone(),
        flow: Some(checked.flow.name.clone()),
        status: RunStatus::Running,
        started_at: None,
        ended_at: None,
        jobs: Vec::new(),
        problems: Vec::new(),
        retry_of: None,
    };
    archive::keep(occupied.dir(), &header(checked, view))?;
    archive.prune(KEPT_MAX);
    Ok(())
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
    /// Follows the run to its end.
    async fn attend(&mut self, args: &RunArgs, run: &RunId) -> Result<(Story, Exit), CliError> {
        let ctx = self.ctx;
        let mesh = self.private.mesh().clone();
        let mut follower = follower(ctx, args, &mesh, run);
        let mut cancel = Cancelling::new(ctx, &mesh, run);
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
                asked = cancel.asked() => {
                    asked?;
                    continue;
                }
                () = self.signals.next() => {}
            }
            follower.clear();
            match cancel.state {
                Asking::Not => {
                    ctx.printer.note(format_args!("cancelling run {run}; Ctrl-C again kills everything at once"));
                    cancel.begin();
                }
                Asking::Now(_) | Asking::Done => {
                    ctx.printer.note("killing everything");
                    return Err(CliError::Interrupted);
                }
            }
        }
        let exit = publish::finish(ctx, &mesh, follower.story()).await?;
        Ok((follower.into_story(), exit))
    }
}

/// The wish of the person in front of a run to stop it.
struct Cancelling<'a> {
    ctx: &'a Context,
    mesh: &'a Mesh,
    run: &'a RunId,
    state: Asking<'a>,
}

/// How far that wish has come. It is tried again while the server is away, and signals are heard meanwhile.
enum Asking<'a> {
    Not,
    Now(BoxFuture<'a, Result<(), CliError>>),
    Done,
}

impl<'a> Cancelling<'a> {
    const fn new(ctx: &'a Context, mesh: &'a Mesh, run: &'a RunId) -> Self {
        Self { ctx, mesh, run, state: Asking::Not }
    }

    /// From now on [`Cancelling::asked`] asks.
    fn begin(&mut self) {
        let reason = Some("interrupted".to_owned());
        self.state = Asking::Now(Box::pin(cancel::request(self.ctx, self.mesh, self.run, reason)));
    }

    /// Returns when the wish is stored. Cancel-safe: it is asked on from where it was.
    async fn asked(&mut self) -> Result<(), CliError> {
        match &mut self.state {
            Asking::Now(request) => {
                let asked = request.await;
                self.state = Asking::Done;
                asked
            }
            Asking::Not | Asking::Done => std::future::pending().await,
        }
    }
}
