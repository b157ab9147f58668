//! `rr coordinator`: takes the decisions of a mesh.

use std::time::Duration;

use rr_coordinator::Coordinator;
use rr_nats::{Link, Mesh, Part, topology::Topology};
use tokio::time::{Instant, sleep};

use super::unit;
use crate::cli::CoordinatorArgs;
use crate::context::Context;
use crate::error::{CliError, chain};
use crate::exit::Exit;
use crate::mesh::{self, Place};
use crate::roles;
use crate::signals::Signals;

/// Partitions of a mesh that this makes.
pub(super) const PARTITIONS: u16 = 8;

/// How long the servers of a cluster may take until they have found each other.
const FORMING: Duration = Duration::from_secs(30);
/// Pause between two looks at a cluster that is not ready.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs until it is told to stop; a second signal ends it at once.
pub(crate) async fn coordinator(ctx: &Context, args: &CoordinatorArgs) -> Result<Exit, CliError> {
    if args.print_unit {
        return unit::print_coordinator(ctx);
    }
    let mut signals = Signals::new()?;
    let place = Place::need(ctx)?;
    let link = place.link("coordinator").await?;
    let topology = ctx.config.mesh.topology(PARTITIONS);
    let mesh = tokio::select! {
        made = make(&link, &topology) => made?.0,
        () = signals.next() => return Ok(Exit::Succeeded),
    };
    let copies = rr_nats::topology::copies(&link).await.map_err(|error| mesh::told(&error))?;
    tracing::info!(server = place.shown(), copies, "connected");
    if let Some(wanted) = topology.replicas.filter(|wanted| *wanted != copies) {
        tracing::warn!(copies, wanted, "the mesh was made with other copies and stays so: see mesh.replicas");
    }
    let mut handle = Coordinator::start(mesh.clone(), ctx.config.coordinator.clone());
    tokio::select! {
        () = signals.next() => {}
        ended = handle.ended() => return Err(roles::coordinator_ended(ended)),
    }
    tracing::info!("stopping");
    handle.stopper().cancel();
    tokio::select! {
        ended = handle.ended() => {
            if let Err(error) = ended {
                tracing::warn!(error = chain(&error), "not stopped as it should");
            }
        }
        () = signals.next() => return Err(CliError::Interrupted),
    }
    mesh.drain().await;
    Ok(Exit::Succeeded)
}

/// Makes the mesh. A cluster that is just starting is waited for.
pub(super) async fn make(link: &Link, topology: &Topology) -> Result<(Mesh, Vec<Part>), CliError> {
    let deadline = Instant::now() + FORMING;
    let mut is_told = false;
    loop {
        let error = match rr_nats::init(link, topology).await {
            Ok(made) => return Ok(made),
            Err(error) => error,
        };
        let may_pass = error.is_retryable() || matches!(error, rr_nats::Error::Replicas { .. }) && link.is_clustered();
        if !may_pass || Instant::now() >= deadline {
            let is_denied = matches!(error, rr_nats::Error::Denied { .. });
            return Err(
                mesh::told(&error).with_hint(is_denied.then_some("whoever may make the mesh does so with: rr init"))
            );
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(%error, "waiting for the servers");
        }
        sleep(LOOK_AGAIN).await;
    }
}
