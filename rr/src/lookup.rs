//! From what was typed to a run: in the mesh first, then among the private ones.

use rr_nats::Mesh;
use rr_nats::server::Embedded;
use rr_schemas::id::RunId;

use crate::archive::{Archive, Kept};
use crate::context::Context;
use crate::error::CliError;
use crate::ids;
use crate::local::{self, Occupied};
use crate::mesh::{self, Place};
use crate::server;

/// Where a run was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// In a mesh that runs.
    Live {
        /// The mesh.
        mesh: Mesh,
        /// Its id.
        run: RunId,
    },
    /// Among the private runs; nobody works on it.
    Kept(Box<Kept>),
}

/// A kept run whose store is served for a moment.
#[derive(Debug)]
pub(crate) struct Reopened {
    /// The mesh.
    pub(crate) mesh: Mesh,
    server: Embedded,
    _occupied: Occupied,
}

/// The run that is meant.
///
/// # Errors
/// Unknown (66), ambiguous or no id (65), or the mesh cannot be read.
pub(crate) async fn find(ctx: &Context, typed: &str) -> Result<Found, CliError> {
    let typed = ids::parse(typed)?;
    if let Some(place) = Place::find(ctx) {
        let mesh = place.connect("cli").await?;
        if let Some(run) = in_mesh(&mesh, &typed).await? {
            return Ok(Found::Live { mesh, run });
        }
    }
    in_archive(&ctx.archive()?, &typed).await
}

async fn in_mesh(mesh: &Mesh, typed: &RunId) -> Result<Option<RunId>, CliError> {
    let known = mesh.find_runs(typed.as_str()).await.map_err(|error| mesh::told(&error))?;
    if known.is_empty() { Ok(None) } else { ids::choose(typed, known).map(Some) }
}

async fn in_archive(archive: &Archive, typed: &RunId) -> Result<Found, CliError> {
    let known = archive.list();
    let run = ids::choose(typed, known.iter().map(|kept| kept.header.view.run.clone()))?;
    let kept = known.into_iter().find(|kept| kept.header.view.run == run).ok_or_else(|| ids::unknown(typed))?;
    if kept.is_live
        && let Some(address) = local::running(&kept.dir)
    {
        let mesh = Place::Private(address).connect("cli").await?;
        return Ok(Found::Live { mesh, run });
    }
    Ok(Found::Kept(Box::new(kept)))
}

/// Serves the store of a kept run until [`Reopened::close`].
///
/// # Errors
/// Another process does so now (73), or the server cannot be started (78).
pub(crate) async fn reopen(ctx: &Context, kept: &Kept) -> Result<Reopened, CliError> {
    let occupied = local::occupy(&kept.dir)?;
    let server = server::start(ctx, occupied.dir()).await?;
    let mesh = Place::Private(server::address(&server)).connect("cli").await?;
    Ok(Reopened { mesh, server, _occupied: occupied })
}

impl Reopened {
    /// Stops the server.
    pub(crate) async fn close(self) {
        self.mesh.drain().await;
        if let Err(error) = self.server.stop().await {
            tracing::warn!(%error, "nats-server not stopped cleanly");
        }
    }
}
