//! What is forgotten: the log up to a sequence, or one run.

use rr_schemas::id::{EntityId, RunId};
use serde::{Deserialize, Serialize};

use crate::{
    direct::{Which, read_leader},
    error::Error,
    link::DEADLINE_LONG,
    mesh::Mesh,
    subject::{self, PurgeFilter},
    work::purge,
};

impl Mesh {
    /// Forgets every event below `seq` and says how many there were.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn purge_events_below(&self, seq: u64) -> Result<u64, Error> {
        #[derive(Serialize)]
        struct Request {
            seq: u64,
        }
        #[derive(Deserialize)]
        struct Purged {
            #[serde(default)]
            purged: u64,
        }
        // The server takes 0 for "everything".
        if seq <= 1 {
            return Ok(0);
        }
        let operation = format!("STREAM.PURGE.{}", subject::EVENTS);
        let purged: Purged = self.link().api_once(&operation, &Request { seq }, DEADLINE_LONG).await?;
        Ok(purged.purged)
    }

    /// The sequence of an entity's first message in the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn first_of(&self, entity: &EntityId) -> Result<Option<u64>, Error> {
        let mut first = None;
        let partition = self.partition_of(entity);
        for filter in [subject::inputs(partition, entity), subject::decisions(partition, entity)] {
            let which = Which::Next { seq: 1, next_by_subj: &filter };
            let found = read_leader(self.link(), subject::EVENTS, which).await?.map(|message| message.seq);
            first = match (first, found) {
                (Some(one), Some(other)) => Some(std::cmp::min(one, other)),
                (one, other) => one.or(other),
            };
        }
        Ok(first)
    }

    /// Forgets a run: its timer, its offers, its output, its inputs and last its decisions. Its state stays as the
    /// tombstone of its id.
    ///
    /// # Errors
    /// [`Error`]; doing it again goes on where it failed.
    pub async fn purge_run(&self, run: &RunId) -> Result<(), Error> {
        self.withdraw_run(run).await?;
        purge(self.link(), subject::OUTPUT, &PurgeFilter::output(run)).await?;
        let entity = EntityId::from(run);
        let partition = self.partition_of(&entity);
        purge(self.link(), subject::TIMERS, &PurgeFilter::timer(partition, &entity)).await?;
        purge(self.link(), subject::EVENTS, &PurgeFilter::inputs(partition, &entity)).await?;
        purge(self.link(), subject::EVENTS, &PurgeFilter::decisions(partition, &entity)).await?;
        Ok(())
    }
}
