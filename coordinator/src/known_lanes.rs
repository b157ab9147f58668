//! Lanes that are known to have been there: one that is missing was removed. What the lane of a queue had handed out may
//! be held by any worker of the queue.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rr_nats::{Error, Mesh, subject::queue_durable};
use rr_schemas::{
    flow::Priority,
    name::{InstanceId, Name, WorkerName},
};
use tokio::sync::Notify;

/// Lanes remembered at most; of what is forgotten a removal goes unnoticed.
const LANES_MAX: usize = 100_000;

/// Lanes that were seen.
#[derive(Debug, Default)]
pub(crate) struct KnownLanes {
    /// Durables that were seen. Held for single look-ups only, never over an await.
    known: Mutex<HashSet<String>>,
    /// Who has joined last under each name.
    joined: Mutex<HashMap<WorkerName, InstanceId>>,
    lost: Notify,
}

impl KnownLanes {
    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers durables that were seen.
    pub(crate) fn are_there(&self, names: impl IntoIterator<Item = String>) {
        let mut known = self.known();
        for name in names {
            if known.len() >= LANES_MAX {
                return;
            }
            known.insert(name);
        }
    }

    /// Whether this process of a worker joins for the first time, as far as is known here.
    pub(crate) fn is_news(&self, worker: &WorkerName, instance: &InstanceId) -> bool {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.len() >= LANES_MAX {
            joined.clear();
        }
        joined.insert(worker.clone(), instance.clone()).as_ref() != Some(instance)
    }

    /// Whether a durable was there once.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known().contains(name)
    }

    /// Makes the durables of a queue, one for each priority, and returns their names. Where one was removed, its offers
    /// go with it: to hand them out again would double those that are held. They are made again by
    /// [`offer_again`](crate::recover::offer_again).
    pub(crate) async fn ensure_queue(&self, mesh: &Mesh, queue: &Name) -> Result<[String; 3], Error> {
        for priority in Priority::ALL {
            let name = queue_durable(queue, priority);
            if self.knows(&name)
                && let Some(lost) = mesh.lost_lane(queue, priority).await?
            {
                mesh.clear_lane(&lost).await?;
                tracing::warn!(consumer = name, "the consumer of a queue was removed; it is made again");
                self.lost.notify_one();
            }
        }
        let names = mesh.ensure_queue_lanes(queue).await?;
        self.are_there(names.clone());
        Ok(names)
    }

    /// Waits until offers of a queue had to be taken away. Losing the future loses nothing.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }
}
