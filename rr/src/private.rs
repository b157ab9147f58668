//! A private mesh: a nats-server as a child of this process, a coordinator and a worker inside it.
//!
//! Invariant: nothing of it outlives this process, however the process ends: the server and every attempt are watched
//! over by guards.

use std::time::Duration;

use rr_coordinator::Coordinator;
use rr_nats::Mesh;
use rr_nats::server::Embedded;
use rr_worker::{Handlers, Worker};
use tokio::time::{Instant, timeout};

use crate::context::Context;
use crate::error::{CliError, chain};
use crate::exit::Exit;
use crate::local::Occupied;
use crate::mesh::{self, Place};
use crate::roles::{self, GuardKeeper};
use crate::server;

/// How long everything that is killed may take to be gone.
const KILL_WITHIN: Duration = Duration::from_secs(5);
/// How often a server that dies is started again, until it has served for [`SOUND_AFTER`].
const RESTARTS_MAX: u32 = 5;
/// A server that has served for so long did not die of how it was started.
const SOUND_AFTER: Duration = Duration::from_mins(1);

/// A private mesh that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Private {
    mesh: Mesh,
    worker: rr_worker::Handle,
    coordinator: rr_coordinator::Handle,
    server: Embedded,
    restarts: Restarts,
    // The last one to go: it watches over the attempts of the worker.
    guard: GuardKeeper,
}

/// Deaths of a server in a row.
#[derive(Clone, Copy, Debug)]
struct Restarts {
    n: u32,
    serving_since: Instant,
}

impl Restarts {
    const fn new(now: Instant) -> Self {
        Self { n: 0, serving_since: now }
    }

    /// Counts a death, and says whether to start the server again.
    fn may_restart(&mut self, now: Instant) -> bool {
        if now.duration_since(self.serving_since) >= SOUND_AFTER {
            self.n = 0;
        }
        self.n += 1;
        self.n <= RESTARTS_MAX
    }
}

/// Something that a private mesh does by itself.
#[derive(Debug)]
pub(crate) enum Happened {
    /// Its server died and was started again.
    Restarted,
    /// Its worker has ended.
    WorkerEnded,
}

impl Private {
    /// Starts server, coordinator and worker in a directory, and tells others where.
    ///
    /// # Errors
    /// One of them cannot be started; nothing runs then.
    pub(crate) async fn start(
        ctx: &Context,
        occupied: &Occupied,
        partitions: u16,
        worker: rr_worker::Options,
    ) -> Result<Self, CliError> {
        let server = server::start(ctx, occupied.dir()).await?;
        let address = server::address(&server);
        let link = Place::Private(address.clone()).link("private mesh").await?;
        let topology = ctx.config.mesh.topology(partitions);
        let mesh = rr_nats::ensure(&link, &topology).await.map_err(|error| mesh::told(&error))?;
        let coordinator = Coordinator::start(mesh.clone(), ctx.config.coordinator.clone());
        let guard = GuardKeeper::start()?;
        let options = rr_worker::Options { guard: Some(guard.guard()), ..worker };
        let worker = Worker::start(mesh.clone(), options, Handlers::default()).await;
        let worker = worker.map_err(|error| roles::worker_told(&error))?;
        occupied.announce(&address)?;
        Ok(Self { mesh, worker, coordinator, server, restarts: Restarts::new(Instant::now()), guard })
    }

    /// The mesh.
    pub(crate) const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Where it listens, without credentials.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Keeps the server running. Cancel-safe but while it starts again.
    ///
    /// # Errors
    /// The server died and cannot be started again, or the worker failed.
    pub(crate) async fn keep(&mut self) -> Result<Happened, CliError> {
        tokio::select! {
            ended = self.server.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!(how, "nats-server died; it is started again");
            }
            ended = self.worker.join() => {
                return ended.map(|()| Happened::WorkerEnded).map_err(|error| roles::worker_ended(&error));
            }
            ended = self.coordinator.ended() => return Err(roles::coordinator_ended(ended)),
        }
        if !self.restarts.may_restart(Instant::now()) {
            let log = self.server.log_file();
            return Err(CliError::new(Exit::Config, "nats-server dies again and again")
                .hint(format_args!("its log: {}", log.display())));
        }
        self.server.restart().await.map_err(|error| CliError::new(Exit::Config, chain(&error)))?;
        self.restarts.serving_since = Instant::now();
        Ok(Happened::Restarted)
    }

    /// Takes no new work; [`Private::keep`] tells when what runs has ended.
    pub(crate) fn drain(&self) {
        self.worker.drain();
    }

    /// Ends everything in order. What runs is waited for.
    pub(crate) async fn stop(mut self) {
        self.worker.drain();
        if let Err(error) = self.worker.join().await {
            tracing::warn!(error = chain(&error), "worker");
        }
        self.coordinator.stop().await;
        self.mesh.drain().await;
        if let Err(error) = self.server.stop().await {
            tracing::warn!(%error, "nats-server not stopped cleanly");
        }
        self.guard.stop().await;
    }

    /// Ends everything at once: attempts with their whole trees, then the server.
    pub(crate) async fn kill(mut self) {
        self.worker.kill();
        if timeout(KILL_WITHIN, self.worker.join()).await.is_err() {
            tracing::warn!("attempts are left to the guard");
        }
        drop(self.coordinator);
        if let Err(error) = self.server.kill().await {
            tracing::warn!(%error, "nats-server not killed");
        }
        self.guard.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_count_only_while_no_sound_minute_lies_between_them() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut restarts = Restarts::new(begin);
        for second in 1..=u64::from(RESTARTS_MAX) {
            assert!(restarts.may_restart(at(second)));
            restarts.serving_since = at(second);
        }
        let mut tired = restarts;
        assert!(!tired.may_restart(at(10)));
        assert!(restarts.may_restart(at(5 + SOUND_AFTER.as_secs())));
        assert_eq!(restarts.n, 1);
    }
}
