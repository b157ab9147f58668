//! From what was typed to a run: in the mesh first, then among the private ones.
//!
//! Invariant: a whole id means the run that has it, wherever that is and however young; only an id that no run has is
//! taken for a beginning, and then every run that can be found counts.

use std::time::Duration;

use rr_nats::Mesh;
use rr_nats::server::Embedded;
use rr_schemas::id::RunId;
use tokio::time::sleep;

use crate::archive::Kept;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files::Lock;
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
    store: Store,
}

/// Who serves the store of a kept run.
#[derive(Debug)]
enum Store {
    /// This process.
    Ours(Box<Embedded>, Occupied),
    /// Another one, which waits for us.
    Others { _lock: Lock },
}

/// Tries to read a kept run that another process is about to serve or to leave.
const TRIES: u32 = 100;
/// Looks whether others have read what is served for them too.
const OTHERS_TRIES: u32 = 50;
/// Pause between two of these.
const PAUSE: Duration = Duration::from_millis(100);

/// The run that is meant.
///
/// # Errors
/// Unknown (66), ambiguous or no id (65), or the mesh cannot be read.
pub(crate) async fn find(ctx: &Context, typed: &str) -> Result<Found, CliError> {
    let typed = ids::parse(typed)?;
    let mesh = match Place::find(ctx)? {
        Some(place) => Some(place.connect("cli").await?),
        None => None,
    };
    if let Some(mesh) = &mesh
        && mesh.has_run(&typed).await.map_err(|error| mesh::told(&error))?
    {
        return Ok(Found::Live { mesh: mesh.clone(), run: typed });
    }
    let archive = ctx.archive()?;
    if let Some(kept) = archive.find(&typed) {
        return among_kept(kept).await;
    }
    let in_mesh = match &mesh {
        Some(mesh) => mesh.find_runs(typed.as_str()).await.map_err(|error| mesh::told(&error))?,
        None => Vec::new(),
    };
    let kept = archive.list().into_iter().map(|kept| kept.header.view.run);
    let run = ids::choose(&typed, in_mesh.iter().cloned().chain(kept))?;
    match mesh.filter(|_| in_mesh.contains(&run)) {
        Some(mesh) => Ok(Found::Live { mesh, run }),
        None => among_kept(archive.find(&run).ok_or_else(|| ids::unknown(&typed))?).await,
    }
}

async fn among_kept(kept: Kept) -> Result<Found, CliError> {
    if kept.is_live
        && let Some(address) = local::running(&kept.dir)
    {
        let mesh = Place::Private(address).connect("cli").await?;
        return Ok(Found::Live { mesh, run: kept.header.view.run });
    }
    Ok(Found::Kept(Box::new(kept)))
}

/// Serves the store of a kept run until [`Reopened::close`], or reads along where another process serves it now.
///
/// # Errors
/// Another process has it for something else (73), or the server cannot be started (78).
pub(crate) async fn reopen(ctx: &Context, kept: &Kept) -> Result<Reopened, CliError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        if let Some((address, lock)) = local::read_along(&kept.dir)? {
            match Place::Private(address).connect("cli").await {
                Ok(mesh) => return Ok(Reopened { mesh, store: Store::Others { _lock: lock } }),
                // Whoever served it may just have ended.
                Err(error) if left == 0 => return Err(error),
                Err(error) => tracing::debug!(%error, "the store is not served any more"),
            }
        }
        match local::occupy(&kept.dir) {
            Ok(occupied) => return serve(ctx, occupied).await,
            Err(error) if left == 0 || error.exit() != Exit::Taken => return Err(error),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn serve(ctx: &Context, occupied: Occupied) -> Result<Reopened, CliError> {
    let server = server::start(ctx, occupied.dir()).await?;
    let address = server::address(&server);
    let mesh = Place::Private(address.clone()).connect("cli").await?;
    occupied.announce_for_reading(&address)?;
    Ok(Reopened { mesh, store: Store::Ours(Box::new(server), occupied) })
}

impl Reopened {
    /// Stops the server, if it is ours. Others who read are waited for, but not for ever: a pager may stay open.
    pub(crate) async fn close(self) {
        self.mesh.drain().await;
        match self.store {
            Store::Others { .. } => {}
            Store::Ours(server, occupied) => {
                for _ in 0..OTHERS_TRIES {
                    match occupied.is_read() {
                        Ok(true) => sleep(PAUSE).await,
                        Ok(false) | Err(_) => break,
                    }
                }
                if let Err(error) = server.stop().await {
                    tracing::warn!(%error, "nats-server not stopped cleanly");
                }
                drop(occupied);
            }
        }
    }
}
