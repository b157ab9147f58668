//! Locks in the bucket `rr-locks`: a key that one holder keeps by renewing it, and that runs out without.
//!
//! Invariants: one holder at a time, as far as clocks run at one speed; the token grows with every holder and stays the same over
//! renewals; a holder never learns too late that the lock is gone, because its time counts from before the server's. A
//! process that sleeps through that time learns of it late all the same, which is what the token is for.
//!
//! Reading order: this file (what is there), `taking` (waiting for a lock), `holding` (keeping one).

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use rr_schemas::{
    lock::HeldLock,
    name::{InstanceId, Name},
};

use crate::{
    bucket::{Entry, LOCKS, value},
    error::{Error, PublishError},
    mesh::Mesh,
    raw::RawMessage,
    subject,
    work::subjects,
};

mod holding;
mod taking;

pub use holding::{Lock, LockLost};
pub use taking::{LockRequest, LockWait, Taking};

/// The shortest time that a lock may be asked for: the server counts whole seconds, and a holder gives up at two thirds.
pub const LOCK_TTL_MIN: Duration = Duration::from_secs(2);

/// How often a key is tried while others change it.
const TRIES: usize = 4;
/// How long the note stays that a lock was given back: without an end those of all locks there ever were would pile up.
const NOTE_TTL: Duration = Duration::from_mins(1);
/// Locks that are read at once for a list.
const READS_MAX: usize = 16;

/// Why there is no lock to hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("the lock is held by somebody else")]
    Held(Box<LockEntry>),
    /// The key could not be written. Whether it is, is read back by the next try.
    #[error(transparent)]
    Publish(PublishError),
    /// The key could not be read.
    #[error(transparent)]
    Read(Error),
}

impl LockError {
    /// Whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Held(_) | Self::Publish(PublishError::Conflict) => true,
            Self::Publish(error) => error.is_retryable(),
            // A bucket that is not there is made again.
            Self::Read(error) => error.is_retryable() || matches!(error, Error::NotFound { .. }),
        }
    }
}

/// A lock that somebody holds, as the server knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockEntry {
    /// Its key: the name of the lock in lower case.
    pub key: String,
    /// What its holder says; none where that cannot be read: somebody holds it all the same.
    pub held: Option<HeldLock>,
    /// Its fencing token.
    pub token: u64,
    /// When it was taken or renewed last, by the server's clock.
    pub renewed: Timestamp,
    /// When it runs out unless it is renewed, by the server's clock; none where it never does, which is nobody of ours.
    pub expires: Option<Timestamp>,
    revision: u64,
}

impl LockEntry {
    fn read(message: &RawMessage) -> Self {
        let held = value::<HeldLock>(message).ok();
        Self {
            key: LOCKS.key_of(message).unwrap_or_default().to_owned(),
            token: held.as_ref().and_then(|held| held.token).unwrap_or(message.seq),
            held,
            renewed: message.at,
            expires: message.ttl().and_then(|ttl| message.at.checked_add(ttl).ok()),
            revision: message.seq,
        }
    }

    fn is_of(&self, taking: &InstanceId) -> bool {
        self.held.as_ref().is_some_and(|held| held.taking == *taking)
    }
}

/// What stands under a key.
enum State {
    /// Nobody holds the lock; this is the sequence that a taking must expect.
    Free(u64),
    /// Somebody does.
    Held(Box<LockEntry>),
}

impl Mesh {
    /// A request for a lock in the words of its future holder, which keeps it for `ttl` after each renewal.
    ///
    /// The clock of the mesh says when it was taken, for people; what `wanted` says of that does not count.
    /// `ttl` counts as whole seconds, and as [`LOCK_TTL_MIN`] at least. A failure of the server or of a link that is longer
    /// than a third of it may cost the lock.
    pub fn lock(&self, wanted: HeldLock, ttl: Duration) -> LockRequest {
        LockRequest::new(self.clone(), wanted, ttl)
    }

    /// Who holds a lock, as the leader knows it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lock_holder(&self, lock: &Name) -> Result<Option<LockEntry>, Error> {
        self.holder_under(&subject::lock_key(lock)).await
    }

    /// Every lock that is held, by name. It needs no consumer: who may write a bucket must not make consumers of it, which
    /// deliver to any subject.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn locks(&self) -> Result<Vec<LockEntry>, Error> {
        let all = subject::bucket_key(subject::BUCKET_LOCKS, ">");
        let prefix = subject::bucket_key(subject::BUCKET_LOCKS, "");
        let keys = subjects(self.link(), LOCKS.stream, &all).await?;
        let keys: Vec<String> = keys.iter().filter_map(|key| Some(key.strip_prefix(&prefix)?.to_owned())).collect();
        let found = stream::iter(keys).map(|key| async move { self.holder_under(&key).await });
        found.buffered(READS_MAX).try_filter_map(|entry| std::future::ready(Ok(entry))).try_collect().await
    }

    async fn holder_under(&self, key: &str) -> Result<Option<LockEntry>, Error> {
        Ok(match self.lock_state(key).await? {
            State::Free(_) => None,
            State::Held(entry) => Some(*entry),
        })
    }

    async fn lock_state(&self, key: &str) -> Result<State, Error> {
        Ok(match LOCKS.get(self.link(), key).await? {
            None => State::Free(0),
            Some(Entry { seq, value: None }) => State::Free(seq),
            Some(Entry { value: Some(message), .. }) => State::Held(Box::new(LockEntry::read(&message))),
        })
    }
}
