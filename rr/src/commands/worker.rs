//! `rr worker`: runs attempts for a mesh.

use std::time::Duration;

use rr_nats::{Link, Mesh, rights::inbox_prefix};
use rr_worker::{Handlers, Options, Worker};
use tokio::time::sleep;

use super::unit;
use crate::cli::WorkerArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::mesh::{self, Place};
use crate::roles::{self, GuardKeeper};
use crate::signals::Signals;

/// Pause between two looks whether the mesh has been made.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The mesh on a server, as soon as a coordinator has made it: machines start in any order.
async fn made(link: &Link) -> Result<Mesh, CliError> {
    let mut has_said = false;
    loop {
        let found = match link.mesh().await {
            Ok(mesh) => mesh.is_whole().await.map(|()| mesh),
            Err(error) => Err(error),
        };
        match found {
            Ok(mesh) => return Ok(mesh),
            Err(error) if error.is_retryable() || matches!(error, rr_nats::Error::NotFound { .. }) => {
                if !has_said {
                    tracing::info!(%error, "no mesh on the server yet, waiting for a coordinator to make it");
                    has_said = true;
                }
                tokio::select! {
                    () = sleep(LOOK_EVERY) => {}
                    () = link.closed() => return Err(mesh::told(&error)),
                }
            }
            Err(error) => return Err(mesh::told(&error)),
        }
    }
}

/// Runs until it is told to stop, then until what runs has ended; a second signal kills that.
pub(crate) async fn worker(ctx: &Context, args: &WorkerArgs) -> Result<Exit, CliError> {
    let mut signals = Signals::new()?;
    let options = roles::of_worker(ctx, args)?;
    if args.print_unit {
        return unit::print_worker(ctx, args, &options);
    }
    files::make_dir(&options.state_dir)?;
    let place = Place::need(ctx)?.with_inbox(&inbox_prefix(&options.name));
    let name = format!("worker {}", options.name);
    let mesh = tokio::select! {
        mesh = async { made(&place.link_patiently(&name).await?).await } => mesh?,
        () = signals.next() => return Ok(Exit::Succeeded),
    };
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
    ended.map_err(|error| roles::worker_ended(&error))?;
    if n_signals > 1 { Err(CliError::Interrupted) } else { Ok(Exit::Succeeded) }
}
