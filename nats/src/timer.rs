//! The one timer of an entity: a message schedule whose target is the entity's timer subject.

use jiff::Timestamp;
use rr_schemas::{codec::JSON, id::EntityId, input::Input};

use crate::{
    error::PublishError,
    link::{expecting, typed},
    mesh::Mesh,
    subject::{self, header},
};

impl Mesh {
    /// Arms the entity's timer for `at`, in place of what was armed before. `decision_seq` is the sequence of the
    /// decision that wants it.
    ///
    /// A timer fires up to 250 ms late. One that fires voids every arming before it, a newer one included: arm again
    /// before the fired one is acknowledged.
    ///
    /// # Errors
    /// [`PublishError::Conflict`] when that decision is not the entity's last: somebody else has gone on.
    pub async fn arm(&self, entity: &EntityId, at: Timestamp, decision_seq: u64) -> Result<(), PublishError> {
        let partition = self.partition_of(entity);
        let mut headers = typed(JSON);
        headers.insert(header::SCHEDULE, format!("@at {at}"));
        headers.insert(header::SCHEDULE_TARGET, subject::timer(partition, entity));
        expecting(&mut headers, decision_seq, Some(&subject::decisions(partition, entity)));
        let armed = subject::armed(partition, entity);
        self.put(armed, headers, "coordinator:timer", entity, &Input::Timer {}).await.map(|_| ())
    }
}
