//! Presence of workers and coordinators in the bucket `rr-workers`: a key that lives as long as it is renewed.
//!
//! Invariants: two processes never hold the same key at once; the second one is told who holds it. A process that may
//! write its own key alone cannot make others disappear.

use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::{
    name::{InstanceId, WorkerName},
    presence::{CoordinatorPresence, WorkerPresence},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    bucket::{Entry, Notes, WORKERS, value},
    error::{Error, PublishError},
    mesh::Mesh,
    ordered::Content,
    subject,
};

/// How often a key is tried while others change it; nobody but a process of the same name does.
const TRIES: usize = 4;
/// Pause before what is not settled is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the note stays that a key was removed. Those who watch read it at once, or all keys anew; without an end
/// the notes of all coordinators that ever stopped would pile up.
const NOTE_TTL: Duration = Duration::from_mins(1);

/// Why one is not present.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PresenceError {
    /// Another process of this name is present.
    #[error("another instance, {instance}, is present since {since}")]
    Taken {
        /// Its instance.
        instance: InstanceId,
        /// Since when, by its own clock.
        since: Timestamp,
    },
    /// The key could not be written. Try again before it runs out.
    #[error(transparent)]
    Publish(PublishError),
    /// The key could not be read. Try again before it runs out.
    #[error(transparent)]
    Read(Error),
}

/// What can be present.
pub trait Presentable: Clone + Serialize + DeserializeOwned + Send + Sync {
    /// Its key in the bucket.
    fn key(&self) -> String;
    /// Its process.
    fn instance(&self) -> &InstanceId;
    /// Since when.
    fn since(&self) -> Timestamp;
}

impl Presentable for WorkerPresence {
    fn key(&self) -> String {
        subject::worker_key(&self.worker)
    }

    fn instance(&self) -> &InstanceId {
        &self.instance
    }

    fn since(&self) -> Timestamp {
        self.since
    }
}

impl Presentable for CoordinatorPresence {
    fn key(&self) -> String {
        subject::coordinator_key(&self.instance)
    }

    fn instance(&self) -> &InstanceId {
        &self.instance
    }

    fn since(&self) -> Timestamp {
        self.since
    }
}

/// What somebody shows of themselves, and when they did so last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown<T> {
    /// What is shown.
    pub value: T,
    /// When it was renewed last, by the server's clock.
    pub at: Timestamp,
    /// The same by its own clock, where it says so. For people: nothing is decided by it.
    pub clock: Option<Timestamp>,
}

/// A key that one holds. It runs out unless it is renewed.
#[derive(Debug)]
pub struct Present<T> {
    mesh: Mesh,
    value: T,
    ttl: Duration,
    revision: u64,
    /// Whether it is shown what time it is here.
    tells_time: bool,
}

impl<T: Presentable> Present<T> {
    async fn take(mesh: &Mesh, value: T, ttl: Duration) -> Result<Self, PresenceError> {
        let mut present = Self { mesh: mesh.clone(), value, ttl, revision: 0, tells_time: false };
        present.write().await?;
        Ok(present)
    }

    /// The same, and from the next renewal on it is shown what time it is here.
    #[must_use]
    pub fn telling_time(self) -> Self {
        Self { tells_time: true, ..self }
    }

    /// What is shown.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Renews the key; to be done at a third of its time to live.
    ///
    /// # Errors
    /// [`PresenceError::Taken`]: somebody else is present under this name now; this process must not go on.
    pub async fn renew(&mut self) -> Result<(), PresenceError> {
        self.write().await
    }

    /// Shows another value, which renews the key.
    ///
    /// # Errors
    /// Those of [`Present::renew`].
    pub async fn update(&mut self, value: T) -> Result<(), PresenceError> {
        self.value = value;
        self.write().await
    }

    /// Removes the key.
    ///
    /// # Errors
    /// The key runs out by itself then.
    pub async fn withdraw(self) -> Result<(), PresenceError> {
        let removed = WORKERS.remove(self.mesh.link(), &self.value.key(), self.revision, Some(NOTE_TTL)).await;
        removed.map_err(PresenceError::Publish)
    }

    /// Writes the key behind what is there, unless that is somebody else.
    async fn write(&mut self) -> Result<(), PresenceError> {
        let key = self.value.key();
        for _ in 0..TRIES {
            let clock = self.tells_time.then(|| self.mesh.clock().now());
            let notes = Notes { ttl: Some(self.ttl), clock };
            match WORKERS.put(self.mesh.link(), &key, &self.value, self.revision, notes).await {
                Ok(stored) => {
                    self.revision = stored.seq;
                    return Ok(());
                }
                Err(PublishError::Conflict) => {}
                Err(PublishError::Unsettled) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(PresenceError::Publish(error)),
            }
            // The key ran out, or an answer to us was lost, or somebody else is there.
            self.revision = match WORKERS.get(self.mesh.link(), &key).await.map_err(PresenceError::Read)? {
                None => 0,
                Some(Entry { seq, value: None }) => seq,
                Some(Entry { seq, value: Some(message) }) => match value::<T>(&message) {
                    Ok(found) if found.instance() != self.value.instance() => {
                        return Err(PresenceError::Taken { instance: found.instance().clone(), since: found.since() });
                    }
                    // What cannot be read is nobody.
                    Ok(_) | Err(_) => seq,
                },
            };
        }
        Err(PresenceError::Publish(PublishError::Unknown("the key changes all the time".to_owned())))
    }
}

impl Mesh {
    /// Shows a worker.
    ///
    /// # Errors
    /// [`PresenceError::Taken`] when another process of its name is present.
    pub async fn present_worker(
        &self,
        value: WorkerPresence,
        ttl: Duration,
    ) -> Result<Present<WorkerPresence>, PresenceError> {
        Present::take(self, value, ttl).await
    }

    /// Shows a coordinator.
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn present_coordinator(
        &self,
        value: CoordinatorPresence,
        ttl: Duration,
    ) -> Result<Present<CoordinatorPresence>, PresenceError> {
        Present::take(self, value, ttl).await
    }

    /// A worker, where it is present, as the server knows it now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn worker(&self, name: &WorkerName) -> Result<Option<WorkerPresence>, Error> {
        let entry = WORKERS.get(self.link(), &subject::worker_key(name)).await?;
        let found = entry.and_then(|entry| value::<WorkerPresence>(&entry.value?).ok());
        Ok(found.filter(|found| found.worker == *name))
    }

    /// Every worker that is present.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workers(&self) -> Result<Vec<WorkerPresence>, Error> {
        Ok(self.workers_shown().await?.into_iter().map(|shown| shown.value).collect())
    }

    /// Every worker that is present, with when it was last heard of.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workers_shown(&self) -> Result<Vec<Shown<WorkerPresence>>, Error> {
        self.present("worker.>").await
    }

    /// Every coordinator that is present.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn coordinators(&self) -> Result<Vec<CoordinatorPresence>, Error> {
        Ok(self.coordinators_shown().await?.into_iter().map(|shown| shown.value).collect())
    }

    /// Every coordinator that is present, with when it was last heard of.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn coordinators_shown(&self) -> Result<Vec<Shown<CoordinatorPresence>>, Error> {
        self.present("coordinator.>").await
    }

    async fn present<T: Presentable>(&self, filter: &str) -> Result<Vec<Shown<T>>, Error> {
        let messages = WORKERS.snapshot(self.link(), filter, Content::Whole).await?;
        // A key that says another name than its value is nobody's.
        Ok(messages
            .iter()
            .filter_map(|message| Some((WORKERS.key_of(message)?, message, value::<T>(message).ok()?)))
            .filter(|(key, _, found)| *key == found.key())
            .map(|(_, message, value)| Shown { value, at: message.at, clock: message.clock() })
            .collect())
    }
}
