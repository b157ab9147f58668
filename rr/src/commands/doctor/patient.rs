//! What is known of a mesh: everything is asked for once, at the same time, and each thing by itself.

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_nats::checkup::{Account, ConsumerState, Lanes, OpenOffers, StreamState, Streams};
use rr_nats::{Error, Link, Mesh, Shown, Unfinished};
use rr_schemas::id::Partition;
use rr_schemas::presence::{CoordinatorPresence, WorkerPresence};
use tokio::time::{sleep, timeout};

use crate::environment::now;

/// How long any one look may take: twice what a request may, for those that take several.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Partitions that are looked at at once.
const PARTITIONS_AT_ONCE: usize = 32;

/// A mesh as it was found.
#[derive(Debug)]
pub(super) struct Patient {
    /// The connection.
    pub(super) link: Link,
    /// The mesh on it.
    pub(super) mesh: Result<Mesh, Error>,
    /// Its account.
    pub(super) account: Result<Account, Error>,
    /// Its streams.
    pub(super) streams: Vec<(String, Result<StreamState, Error>)>,
    /// The durables of its partitions.
    pub(super) partitions: Partitions,
    /// The durable of its timers.
    pub(super) timers: Result<ConsumerState, Error>,
    /// The durables of its workers and queues.
    pub(super) lanes: Result<Lanes, Error>,
    /// Its coordinators.
    pub(super) coordinators: Result<Vec<Shown<CoordinatorPresence>>, Error>,
    /// Its workers.
    pub(super) workers: Result<Vec<Shown<WorkerPresence>>, Error>,
    /// Its runs that are not over, and whether these are all.
    pub(super) unfinished: Result<(Vec<Unfinished>, bool), Error>,
    /// Its offers that are not acknowledged.
    pub(super) offers: Result<OpenOffers, Error>,
    /// How long anything may wait.
    pub(super) waiting: Duration,
}

/// The durables of partitions.
#[derive(Debug)]
pub(super) enum Partitions {
    /// All of them.
    Seen(Vec<(Partition, Result<ConsumerState, Error>)>),
    /// They may not be looked at; at most their names are known.
    Unseen {
        /// Why not.
        error: Error,
        /// Those that are not there.
        missing: Result<Vec<Partition>, Error>,
    },
}

/// Something that takes no longer than a look may.
///
/// # Errors
/// Its own, or [`Error::Timeout`].
pub(super) async fn within<T>(what: &str, look: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(LOOK_MAX, look).await {
        Ok(seen) => seen,
        Err(_) => Err(Error::Timeout { what: what.to_owned() }),
    }
}

impl Patient {
    /// Looks at everything that can be looked at at once.
    pub(super) async fn look(link: Link, waiting: Duration) -> Self {
        let of_mesh = async {
            let mesh = within("the mesh", link.mesh()).await;
            let of_mesh = Box::pin(OfMesh::look(&mesh)).await;
            (mesh, of_mesh)
        };
        let streams = Streams::default();
        let (account, streams, timers, (mesh, of_mesh)) = tokio::join!(
            within("the account", link.account()),
            streams.ask(&link, now),
            within("the timers", link.timers_durable()),
            Box::pin(of_mesh),
        );
        let OfMesh { partitions, lanes, coordinators, workers, unfinished, offers } = of_mesh;
        Self {
            link,
            mesh,
            account,
            streams,
            partitions,
            timers,
            lanes,
            coordinators,
            workers,
            unfinished,
            offers,
            waiting,
        }
    }

    /// The time by the clock of the server, by which everything stored is dated; our own where it says none.
    pub(super) fn now(&self) -> Timestamp {
        let said = self.streams().filter_map(|(_, state)| state.clock).map(|clock| clock.said);
        said.max().unwrap_or_else(now)
    }

    /// The streams that could be seen.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&str, &StreamState)> {
        self.streams.iter().filter_map(|(name, state)| Some((name.as_str(), state.as_ref().ok()?)))
    }

    /// Whether anything may have waited too long that was stored then.
    pub(super) fn is_overdue(&self, since: Timestamp) -> bool {
        crate::text::between(since, self.now()) > self.waiting
    }
}

/// What can be seen only where there is a mesh.
struct OfMesh {
    partitions: Partitions,
    lanes: Result<Lanes, Error>,
    coordinators: Result<Vec<Shown<CoordinatorPresence>>, Error>,
    workers: Result<Vec<Shown<WorkerPresence>>, Error>,
    unfinished: Result<(Vec<Unfinished>, bool), Error>,
    offers: Result<OpenOffers, Error>,
}

impl OfMesh {
    async fn look(mesh: &Result<Mesh, Error>) -> Self {
        let mesh = match mesh {
            Ok(mesh) => mesh,
            Err(error) => return Self::unseen(error),
        };
        let (partitions, lanes, coordinators, workers, unfinished, offers) = tokio::join!(
            Box::pin(partitions(mesh)),
            within("the consumers of RR_WORK", mesh.lanes()),
            within("the coordinators", mesh.coordinators_shown()),
            within("the workers", mesh.workers_shown()),
            within("the states of runs", mesh.unfinished()),
            within("the offers", mesh.open_offers()),
        );
        Self { partitions, lanes, coordinators, workers, unfinished, offers }
    }

    fn unseen(error: &Error) -> Self {
        Self {
            partitions: Partitions::Unseen { error: error.clone(), missing: Err(error.clone()) },
            lanes: Err(error.clone()),
            coordinators: Err(error.clone()),
            workers: Err(error.clone()),
            unfinished: Err(error.clone()),
            offers: Err(error.clone()),
        }
    }
}

/// The first partition says whether the others may be looked at.
async fn partitions(mesh: &Mesh) -> Partitions {
    let look = |partition: Partition| async move {
        (partition, within("a partition", mesh.partition_durable(partition)).await)
    };
    let mut rest = mesh.all_partitions();
    let Some(first) = rest.next() else { return Partitions::Seen(Vec::new()) };
    let first = look(first).await;
    if let (_, Err(error @ Error::Denied { .. })) = &first {
        let missing = within("the consumers of RR_EVENTS", mesh.partitions_without_durable()).await;
        return Partitions::Unseen { error: error.clone(), missing };
    }
    // Where nobody answers for any of them, the first ones say so.
    let rest = stream::iter(rest).map(look).buffered(PARTITIONS_AT_ONCE).take_until(sleep(LOOK_MAX));
    let mut seen: Vec<_> = std::iter::once(first).chain(rest.collect::<Vec<_>>().await).collect();
    let is_late = |partition| (partition, Err(Error::Timeout { what: "the other partitions".to_owned() }));
    seen.extend(mesh.all_partitions().nth(seen.len()).map(is_late));
    Partitions::Seen(seen)
}
