//! Decisions as they are taken, for people who watch.

use jiff::Timestamp;
use rr_schemas::{
    decision::Decision,
    id::{EntityId, RunId},
};

use crate::{
    error::Error,
    events::StoredDecision,
    mesh::Mesh,
    ordered::{Content, From, Ordered, Plan, Step},
    subject,
};

/// Where a tail begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// With the next decision.
    New,
    /// With the oldest one.
    All,
}

/// A decision as it passes by.
#[derive(Clone, Debug)]
pub struct TailItem {
    /// Whose.
    pub entity: EntityId,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// The decision, or why it is none.
    pub decision: Result<Decision, String>,
}

/// Decisions as they are taken.
#[derive(Debug)]
pub struct EventTail {
    ordered: Ordered,
}

impl Mesh {
    /// Follows the decisions of one run or of all. Returns when it listens: what is stored from now on comes out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tail(&self, run: Option<&RunId>, start: Start) -> Result<EventTail, Error> {
        let filter = run.map_or_else(
            || subject::ALL_DECISIONS.to_owned(),
            |run| {
                let entity = EntityId::from(run);
                subject::decisions(self.partition_of(&entity), &entity)
            },
        );
        let from = match start {
            Start::New => From::Now,
            Start::All => From::Oldest,
        };
        let plan = Plan { stream: subject::EVENTS, filters: vec![filter], from, content: Content::Whole };
        let mut ordered = Ordered::new(self.link(), plan);
        ordered.open().await?;
        Ok(EventTail { ordered })
    }
}

impl EventTail {
    /// The next decision. Goes on over broken connections, without a hole and without a repetition. Losing the future
    /// loses nothing.
    ///
    /// # Errors
    /// [`Error`]; trying again does not help.
    pub async fn next(&mut self) -> Result<TailItem, Error> {
        loop {
            let Step::Message(pulled) = self.ordered.next().await? else { continue };
            // A subject that is no entity's cannot be shown; the coordinator of no partition reads it either.
            let Some((_, entity)) = subject::parse_decisions(&pulled.raw.subject) else { continue };
            let StoredDecision { seq, at, decision, .. } = StoredDecision::read(pulled.raw, &entity);
            return Ok(TailItem { entity, seq, at, decision });
        }
    }

    /// Ends the tail and tells the server so.
    pub async fn close(self) {
        self.ordered.close().await;
    }
}
