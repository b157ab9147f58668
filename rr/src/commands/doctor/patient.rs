//! What is known of a mesh: everything is asked for once, at the same time, and each thing by itself.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_nats::checkup::{Account, ConsumerState, Lanes, OpenOffers, StreamState, Streams};
use rr_nats::{Link, Mesh, Shown, Unfinished};
use rr_schemas::id::Partition;
use rr_schemas::presence::{CoordinatorPresence, WorkerPresence};
use tokio::time::sleep;

use super::looking::{Deadline, Unseen};
use crate::environment::now;

/// How long states of runs are read; what is read by then counts. Less than a look may take.
const STATES_MAX: Duration = Duration::from_secs(8);
/// Partitions that are looked at at once.
const PARTITIONS_AT_ONCE: usize = 32;

/// A mesh as it was found.
#[derive(Debug)]
pub(super) struct Patient {
    /// The connection.
    pub(super) link: Link,
    /// The mesh on it.
    pub(super) mesh: Result<Mesh, Unseen>,
    /// Its account.
    pub(super) account: Result<Account, Unseen>,
    /// Its streams.
    pub(super) streams: Vec<(String, Result<StreamState, Unseen>)>,
    /// The durables of its partitions.
    pub(super) partitions: Partitions,
    /// The durable of its timers.
    pub(super) timers: Result<ConsumerState, Unseen>,
    /// The durables of its workers and queues.
    pub(super) lanes: Result<Lanes, Unseen>,
    /// Its coordinators.
    pub(super) coordinators: Result<Vec<Shown<CoordinatorPresence>>, Unseen>,
    /// Its workers.
    pub(super) workers: Result<Vec<Shown<WorkerPresence>>, Unseen>,
    /// Its runs that are not over, and whether these are all.
    pub(super) unfinished: Result<(Vec<Unfinished>, bool), Unseen>,
    /// Its offers that are not acknowledged.
    pub(super) offers: Result<OpenOffers, Unseen>,
    /// How long anything may wait.
    pub(super) waiting: Duration,
    /// When it must have been looked at.
    pub(super) deadline: Deadline,
}

/// The durables of partitions.
#[derive(Debug)]
pub(super) enum Partitions {
    /// All of them.
    Seen(Vec<(Partition, Result<ConsumerState, Unseen>)>),
    /// They may not be looked at; at most their names are known.
    Unseen {
        /// Why not.
        error: Unseen,
        /// Those that are not there.
        missing: Result<Vec<Partition>, Unseen>,
    },
}

impl Patient {
    /// Looks at everything that can be looked at at once.
    pub(super) async fn look(link: Link, waiting: Duration, deadline: Deadline) -> Self {
        let of_mesh = async {
            let mesh = deadline.within("the mesh", link.mesh_or_loss()).await;
            let of_mesh = Box::pin(OfMesh::look(&mesh, deadline)).await;
            (mesh, of_mesh)
        };
        let streams = Streams::default();
        let (account, streams, timers, (mesh, of_mesh)) = tokio::join!(
            deadline.within("the account", link.account()),
            streams.ask(&link, now),
            deadline.within("the timers", link.timers_durable()),
            Box::pin(of_mesh),
        );
        let streams = streams.into_iter().map(|(name, state)| (name, state.map_err(Unseen::Asked))).collect();
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
            deadline,
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
    lanes: Result<Lanes, Unseen>,
    coordinators: Result<Vec<Shown<CoordinatorPresence>>, Unseen>,
    workers: Result<Vec<Shown<WorkerPresence>>, Unseen>,
    unfinished: Result<(Vec<Unfinished>, bool), Unseen>,
    offers: Result<OpenOffers, Unseen>,
}

impl OfMesh {
    async fn look(mesh: &Result<Mesh, Unseen>, deadline: Deadline) -> Self {
        let mesh = match mesh {
            Ok(mesh) => mesh,
            Err(error) => return Self::unseen(error),
        };
        let (partitions, lanes, coordinators, workers, unfinished, offers) = tokio::join!(
            Box::pin(partitions(mesh, deadline)),
            deadline.within("the consumers of RR_WORK", mesh.lanes()),
            deadline.within("the coordinators", mesh.coordinators_shown()),
            deadline.within("the workers", mesh.workers_shown()),
            deadline.within("the states of runs", mesh.unfinished(STATES_MAX)),
            deadline.within("the offers", mesh.open_offers()),
        );
        Self { partitions, lanes, coordinators, workers, unfinished, offers }
    }

    fn unseen(error: &Unseen) -> Self {
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
async fn partitions(mesh: &Mesh, deadline: Deadline) -> Partitions {
    let look = |partition: Partition| async move {
        (partition, deadline.within("a partition", mesh.partition_durable(partition)).await)
    };
    let mut rest = mesh.all_partitions();
    let Some(first) = rest.next() else { return Partitions::Seen(Vec::new()) };
    let first = look(first).await;
    if let (_, Err(unseen)) = &first
        && unseen.is_denied()
    {
        let look = mesh.partitions_without_durable();
        let missing = deadline.within("the consumers of RR_EVENTS", look).await;
        return Partitions::Unseen { error: unseen.clone(), missing };
    }
    // Where nobody answers for any of them, the first ones say so.
    let rest = stream::iter(rest).map(look).buffered(PARTITIONS_AT_ONCE).take_until(sleep(deadline.left()));
    let mut seen: Vec<_> = std::iter::once(first).chain(rest.collect::<Vec<_>>().await).collect();
    let late = mesh.all_partitions().skip(seen.len()).map(|partition| (partition, Err(Unseen::NoTime)));
    seen.extend(late.collect::<Vec<_>>());
    Partitions::Seen(seen)
}
