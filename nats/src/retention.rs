//! What is forgotten: the log up to a sequence, or one run. What is old enough for that is asked in `old`.

mod old;

use rr_schemas::id::{EntityId, RunId};

pub use self::old::{Answered, OldRequest, OldRequests, OldStatus};
use crate::{
    error::Error,
    mesh::Mesh,
    purge,
    subject::{self, PurgeFilter},
};

impl Mesh {
    /// Forgets every event below `seq` and says how many there were.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn purge_events_below(&self, seq: u64) -> Result<u64, Error> {
        purge::below(self.link(), subject::EVENTS, seq).await
    }

    /// Forgets a run: its timer, its offers, its output, its inputs and last its decisions. Its state stays as the
    /// tombstone of its id.
    ///
    /// Inputs go before decisions: a coordinator that found a request and no decision would begin the run anew.
    ///
    /// # Errors
    /// [`Error`]; doing it again goes on where it failed.
    pub async fn purge_run(&self, run: &RunId) -> Result<(), Error> {
        self.withdraw_run(run).await?;
        purge::matching(self.link(), subject::OUTPUT, &PurgeFilter::output(run)).await?;
        let entity = EntityId::from(run);
        let partition = self.partition_of(&entity);
        purge::matching(self.link(), subject::TIMERS, &PurgeFilter::timer(partition, &entity)).await?;
        purge::matching(self.link(), subject::EVENTS, &PurgeFilter::inputs(partition, &entity)).await?;
        purge::matching(self.link(), subject::EVENTS, &PurgeFilter::decisions(partition, &entity)).await?;
        Ok(())
    }
}
