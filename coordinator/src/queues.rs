//! Lanes of queues that are known to have been there: one that is missing was removed, and what it had handed out may be
//! held by any worker of the queue.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rr_nats::{Error, Mesh, subject::queue_durable};
use rr_schemas::{flow::Priority, name::Name};
use tokio::sync::Notify;

/// Lanes remembered at most; of what is forgotten a removal goes unnoticed.
const LANES_MAX: usize = 100_000;

/// What is known of the lanes of queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Durables that were seen. Held for single look-ups only, never over an await.
    known: Mutex<HashSet<String>>,
    lost: Notify,
}

impl Queues {
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

    /// Makes the durables of a queue, one for each priority, and returns their names. Where one was removed, its offers
    /// go with it: to hand them out again would double those that are held. They are made again by
    /// [`offer_again`](crate::recover::offer_again).
    pub(crate) async fn ensure(&self, mesh: &Mesh, queue: &Name) -> Result<[String; 3], Error> {
        for priority in Priority::ALL {
            let name = queue_durable(queue, priority);
            let was_there = self.known().contains(&name);
            if was_there && mesh.clear_lost_lane(queue, priority).await? {
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
