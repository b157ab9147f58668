//! What is old: requests from the oldest on, which of them are answered, where an entity's messages begin, and states
//! that were last written long ago.

use jiff::Timestamp;
use rr_schemas::{
    id::{EntityId, Partition},
    view::StatusEntry,
};
use serde::Deserialize;

use crate::{
    bucket::{RUNS, value},
    direct::{Which, read_leader},
    error::Error,
    link::DEADLINE,
    mesh::Mesh,
    ordered::{Content, From, Ordered, Plan, Step},
    subject::{self, InputSubject},
};

/// Something that was asked of an entity, without what was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldRequest {
    /// The entity.
    pub entity: EntityId,
    /// Its sequence in the log.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
}

/// A state that was last written long ago.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldStatus {
    /// What it says.
    pub entry: StatusEntry,
    /// Its sequence in the bucket: what [`Mesh::remove_status`] must expect, so that no other state is removed.
    pub seq: u64,
}

/// Requests of the whole log in their order.
#[derive(Debug)]
pub struct OldRequests {
    ordered: Ordered,
    pending: u64,
}

impl OldRequests {
    /// The next one; none behind the last one that was there when the reading began.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Option<OldRequest>, Error> {
        while self.pending > 0 {
            match self.ordered.next_of_these().await? {
                None => self.pending = 0,
                Some(Step::Begin { pending }) => self.pending = pending,
                Some(Step::Message(pulled)) => {
                    self.pending = pulled.pending;
                    // A subject that is nobody's belongs to no run.
                    let Some(parsed) = InputSubject::parse(&pulled.raw.subject) else { continue };
                    return Ok(Some(OldRequest { entity: parsed.entity, seq: pulled.raw.seq, at: pulled.raw.at }));
                }
            }
        }
        Ok(None)
    }

    /// Ends the reading and tells the server so.
    pub async fn close(self) {
        self.ordered.close().await;
    }
}

/// Which inputs of a partition are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answered {
    /// All of them.
    All,
    /// Those up to this sequence.
    UpTo(u64),
}

impl Answered {
    /// Whether the input of that sequence is.
    pub const fn covers(self, seq: u64) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(floor) => seq <= floor,
        }
    }
}

impl Mesh {
    /// What was asked of all entities, from the oldest request on that is still kept.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn old_requests(&self) -> Result<OldRequests, Error> {
        let filters = vec![subject::ALL_REQUESTS.to_owned()];
        let plan = Plan { stream: subject::EVENTS, filters, from: From::Oldest, content: Content::HeadersOnly };
        let mut ordered = Ordered::new(self.link(), plan);
        let pending = ordered.open().await?;
        Ok(OldRequests { ordered, pending })
    }

    /// Which inputs of a partition are answered, as its consumer tells.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn answered(&self, partition: Partition) -> Result<Answered, Error> {
        #[derive(Deserialize)]
        struct Info {
            ack_floor: Floor,
            num_pending: u64,
            num_ack_pending: u64,
        }
        #[derive(Deserialize)]
        struct Floor {
            #[serde(default)]
            stream_seq: u64,
        }
        let consumer = subject::partition_durable(partition);
        let operation = format!("CONSUMER.INFO.{}.{consumer}", subject::EVENTS);
        let info: Info = self.link().api(&operation, &(), DEADLINE).await?;
        let idle = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok(if idle { Answered::All } else { Answered::UpTo(info.ack_floor.stream_seq) })
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

    /// Up to `n` states that were last written before an instant, the oldest first. What cannot be read is left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn old_statuses(&self, before: Timestamp, n: usize) -> Result<Vec<OldStatus>, Error> {
        let filters = vec![subject::bucket_key(RUNS.name, ">")];
        let plan = Plan { stream: RUNS.stream, filters, from: From::Oldest, content: Content::Whole };
        let mut ordered = Ordered::new(self.link(), plan);
        let mut pending = ordered.open().await?;
        let mut found = Vec::new();
        while pending > 0 && found.len() < n {
            match ordered.next().await? {
                Step::Begin { pending: anew } => pending = anew,
                Step::Message(pulled) => {
                    if pulled.raw.at >= before {
                        break;
                    }
                    pending = pulled.pending;
                    if !pulled.raw.is_removed() {
                        let seq = pulled.raw.seq;
                        found.extend(value(&pulled.raw).ok().map(|entry| OldStatus { entry, seq }));
                    }
                }
            }
        }
        ordered.close().await;
        Ok(found)
    }
}
