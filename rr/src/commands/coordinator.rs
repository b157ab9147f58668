//! `rr coordinator`: takes the decisions of a mesh.

use rr_coordinator::Coordinator;

use super::unit;
use crate::cli::CoordinatorArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};
use crate::signals::Signals;

/// Partitions of a mesh that this makes.
const PARTITIONS: u16 = 8;

/// Runs until it is told to stop; a second signal ends it at once.
pub(crate) async fn coordinator(ctx: &Context, args: &CoordinatorArgs) -> Result<Exit, CliError> {
    if args.print_unit {
        return unit::print_coordinator(ctx);
    }
    let mut signals = Signals::new()?;
    let place = Place::need(ctx)?;
    let link = place.link("coordinator").await?;
    let made = rr_nats::ensure(&link, &ctx.config.mesh.topology(PARTITIONS)).await;
    let mesh = made.map_err(|error| mesh::told(&error))?;
    let mut handle = Coordinator::start(mesh.clone(), ctx.config.coordinator.clone());
    tracing::info!(server = place.shown(), "connected");
    tokio::select! {
        () = signals.next() => {}
        () = handle.ended() => return Err(CliError::bug("the coordinator ended by itself")),
    }
    tracing::info!("stopping");
    handle.stopper().cancel();
    tokio::select! {
        () = handle.ended() => {}
        () = signals.next() => return Err(CliError::Interrupted),
    }
    mesh.drain().await;
    Ok(Exit::Succeeded)
}
