//! What all parts of a coordinator share.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rr_core::run::WITHDRAWN_BY;
use rr_nats::{Finder, Mesh, PublishError, RawMessage, StatusWriter};
use rr_schemas::{
    name::{InstanceId, NameError, WorkerName},
    view::StatusEntry,
};

use crate::{
    budget::Budget, config::Options, entity::Entity, known_lanes::KnownLanes, lanes::Lanes, presence::Presence,
    token::Seed,
};

/// The mesh, this coordinator's name, and what it knows.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) mesh: Mesh,
    pub(crate) instance: InstanceId,
    pub(crate) options: Options,
    pub(crate) presence: Presence,
    pub(crate) lanes: Lanes,
    pub(crate) known_lanes: KnownLanes,
    /// What all partitions may keep in memory.
    pub(crate) budget: Arc<Budget>,
    /// The name under which attempts are claimed that nobody shall start.
    pub(crate) nobody: WorkerName,
    /// Where the secrets of runs come from.
    pub(crate) seed: Seed,
    status: StatusWriter,
    /// Sequences of inputs in the quarantine, the newest. Held for single look-ups only, never over an await.
    quarantined: Mutex<BTreeSet<u64>>,
}

/// Inputs in the quarantine that are remembered, so that one which is read again is not put there again; the oldest are
/// forgotten, which costs an entry that is there twice.
const QUARANTINED_MAX: usize = 10_000;

/// Why a coordinator cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// A name of ours is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing random is to be had.
    #[error("cannot draw a secret: {0}")]
    Random(#[from] io::Error),
}

impl Shell {
    pub(crate) fn new(
        mesh: Mesh,
        instance: InstanceId,
        options: Options,
        presence: Presence,
    ) -> Result<Self, ShellError> {
        let seed = options.seed.clone().map_or_else(Seed::random, Ok)?;
        let budget = Budget::new(options.entities_max, options.tasks_max, mesh.partitions());
        Ok(Self {
            status: StatusWriter::new(&mesh),
            mesh,
            instance,
            options,
            presence,
            lanes: Lanes::default(),
            known_lanes: KnownLanes::default(),
            budget: Arc::new(budget),
            nobody: WITHDRAWN_BY.parse()?,
            seed,
            quarantined: Mutex::default(),
        })
    }

    /// The time of day by this machine, for what is near or far; decisions know only the stream's time.
    pub(crate) fn clock(&self) -> Timestamp {
        self.mesh.clock().now()
    }

    /// Writes the status of a run, unless a newer one is there.
    pub(crate) async fn show(&self, entity: &Entity) -> Result<(), PublishError> {
        let entry = StatusEntry::new(entity.tip.n, entity.run.view());
        self.status.put(&entry).await.map(|_| ())
    }

    /// Forgets what is known of all statuses: the bucket was made anew.
    pub(crate) fn forget_statuses(&self) {
        self.status.forget_all();
    }

    /// Forgets what is known of the status of an entity that leaves the memory.
    pub(crate) fn forget(&self, entity: &Entity) {
        self.status.forget(&entity.run_id);
    }

    /// Keeps a message that cannot be believed, for people.
    pub(crate) async fn quarantine(&self, message: &RawMessage, reason: &str) -> Result<(), PublishError> {
        tracing::warn!(message.subject = %message.subject, stream.seq = message.seq, reason, "message quarantined");
        self.mesh.quarantine(Finder::Coordinator(&self.instance), message, reason).await
    }

    /// The same of an input, which is remembered. Of what is in another stream the sequence says nothing of any input.
    pub(crate) async fn quarantine_input(&self, message: &RawMessage, reason: &str) -> Result<(), PublishError> {
        self.quarantine(message, reason).await?;
        let mut quarantined = self.quarantined();
        if quarantined.len() >= QUARANTINED_MAX {
            quarantined.pop_first();
        }
        quarantined.insert(message.seq);
        Ok(())
    }

    /// Whether this coordinator has put an input into the quarantine, as far as it remembers.
    pub(crate) fn has_quarantined(&self, seq: u64) -> bool {
        self.quarantined().contains(&seq)
    }

    fn quarantined(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
