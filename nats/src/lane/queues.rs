//! The durables of queues. Workers share them, so each may hold offers of which nobody else knows.

use rr_schemas::{flow::Priority, name::Name};

use super::durable;
use crate::{
    consumer::consumer_info,
    error::Error,
    extent::extent,
    link::Link,
    mesh::Mesh,
    purge,
    subject::{self, PurgeFilter},
};

/// A durable of a queue that was removed, and up to where it may have handed out offers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LostLane {
    filter: PurgeFilter,
    end: u64,
}

impl Mesh {
    /// Makes the durables of a queue, one for each priority, and returns their names: high, normal, low.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ensure_queue_lanes(&self, queue: &Name) -> Result<[String; 3], Error> {
        let names = Priority::ALL.map(|priority| subject::queue_durable(queue, priority));
        for (name, priority) in names.iter().zip(Priority::ALL) {
            let filter = subject::queue_filter(queue, priority);
            self.ensure_consumer(durable(name.clone(), vec![filter], self.work_ack_wait())).await?;
        }
        Ok(names)
    }

    /// Whether a durable of a queue was removed, and what it may have handed out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lost_lane(&self, queue: &Name, priority: Priority) -> Result<Option<LostLane>, Error> {
        let name = subject::queue_durable(queue, priority);
        if is_there(self.link(), &name).await? {
            return Ok(None);
        }
        // Read before it is looked for once more: what is offered after somebody else has made it again lies behind.
        let end = extent(self.link(), subject::WORK).await?.last_seq;
        let is_back = is_there(self.link(), &name).await?;
        Ok((!is_back).then(|| LostLane { filter: PurgeFilter::lane(queue, priority), end }))
    }

    /// Takes away the offers of a durable that was removed. Workers may hold some of them, which a new durable would hand
    /// out again; whoever calls this sees to it that they are made once more where nobody does.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clear_lane(&self, lost: &LostLane) -> Result<(), Error> {
        let below = lost.end.saturating_add(1);
        purge::matching_below(self.link(), subject::WORK, &lost.filter, below).await.map(drop)
    }
}

/// Whether a durable of offers exists.
async fn is_there(link: &Link, durable: &str) -> Result<bool, Error> {
    match consumer_info(link, subject::WORK, durable).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
