//! The durables of workers and queues as they are now.

use std::collections::BTreeMap;

use rr_schemas::name::WorkerName;

use super::Cluster;
use crate::{
    error::Error,
    lane::{KnownWorker, all_consumers},
    mesh::Mesh,
    subject,
};

/// The durables of the work queue.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    /// Who keeps each of them, by its name: none on a server of its own; one that nobody leads for the moment has no
    /// leader.
    pub clusters: BTreeMap<String, Option<Cluster>>,
    /// The workers that have one of their own.
    pub known: Vec<KnownWorker>,
    /// The workers that have one of which nothing more can be said, as nobody leads it for the moment.
    pub unled: Vec<WorkerName>,
    /// The names of those that an operator has paused.
    pub paused: Vec<String>,
}

impl Mesh {
    /// The durables of the work queue.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lanes(&self) -> Result<Lanes, Error> {
        let all = all_consumers(self.link(), subject::WORK).await?;
        let known = all.found.iter().filter_map(KnownWorker::of).collect();
        let unled = all.missing.iter().filter_map(|name| subject::worker_of_durable(name)).collect();
        let paused = all.found.iter().filter(|info| info.paused).map(|info| info.name.clone()).collect();
        let missing = all.missing.into_iter().map(|name| (name, Some(Cluster::default())));
        let found = all.found.into_iter().map(|info| (info.name, info.cluster));
        Ok(Lanes { clusters: missing.chain(found).collect(), known, unled, paused })
    }
}
