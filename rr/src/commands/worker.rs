//! `rr worker`: runs attempts for a mesh.

use rr_worker::{Handlers, Options, Worker};

use crate::cli::WorkerArgs;
use crate::context::Context;
use crate::error::{CliError, chain};
use crate::exit::Exit;
use crate::files;
use crate::mesh::Place;
use crate::roles::{self, GuardKeeper};
use crate::signals::Signals;

/// Runs until it is told to stop, then until what runs has ended; a second signal kills that.
pub(crate) async fn worker(ctx: &Context, args: &WorkerArgs) -> Result<Exit, CliError> {
    let mut signals = Signals::new()?;
    let options = roles::of_worker(ctx, args)?;
    files::make_dir(&options.state_dir)?;
    let place = Place::need(ctx)?;
    let mesh = place.connect(&format!("worker {}", options.name)).await?;
    let guard = GuardKeeper::start()?;
    let options = Options { guard: Some(guard.guard()), ..options };
    tracing::info!(server = place.shown(), worker = %options.name, capacity = options.capacity, "connected");
    let mut handle = tokio::select! {
        started = Worker::start(mesh.clone(), options, Handlers::default()) => {
            started.map_err(|error| roles::worker_told(&error))?
        }
        // Nothing runs yet: there is nothing to wait for.
        () = signals.next() => return Ok(Exit::Succeeded),
    };
    tracing::info!("worker ready");
    let mut n_signals = 0;
    let ended = loop {
        tokio::select! {
            ended = handle.join() => break ended,
            () = signals.next() => n_signals += 1,
        }
        if n_signals == 1 {
            tracing::info!("draining: nothing new starts, what runs is waited for");
            handle.drain();
        } else {
            handle.kill();
        }
    };
    mesh.drain().await;
    guard.stop().await;
    ended.map_err(|error| CliError::bug(chain(&error)))?;
    if n_signals > 1 { Err(CliError::Interrupted) } else { Ok(Exit::Succeeded) }
}
