//! A lock that is held: renewed until it is given back or lost.

use std::time::Duration;

use rr_schemas::lock::HeldLock;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{LockError, NOTE_TTL, State, TRIES};
use crate::{
    bucket::{LOCKS, Notes},
    error::PublishError,
    mesh::Mesh,
    subject,
};

/// Parts of its time after which a lock is renewed; two renewals may be missed, and then there is as long again to end what
/// runs under it.
const PARTS: u32 = 3;
/// Parts of its time that one try to renew may take: several fit between the first renewal and the end.
const TRY_PARTS: u32 = 6;
/// The shortest pause before a renewal is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a renewal is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a lock is not held any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LockLost {
    /// The server says so: it ran out or was removed, and perhaps somebody else has it.
    #[error("the mesh does not know of it any more")]
    Gone,
    /// It could not be renewed for so long that it is about to run out.
    #[error("it could not be renewed in time")]
    Silent,
}

/// A lock that this process holds. Dropped, it runs out by itself.
#[derive(Debug)]
pub struct Lock {
    mesh: Mesh,
    value: HeldLock,
    token: u64,
    ttl: Duration,
    revision: u64,
    /// When the last write that was stored was sent: the server let its time begin later.
    sent: Instant,
}

impl Lock {
    pub(super) fn new(
        mesh: Mesh,
        value: HeldLock,
        (token, revision): (u64, u64),
        ttl: Duration,
        sent: Instant,
    ) -> Self {
        let value = HeldLock { token: Some(token), ..value };
        Self { mesh, value, token, ttl, revision, sent }
    }

    /// The fencing token: whoever is handed a smaller one than before has a holder before them that is too late.
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// What runs under a lost lock must have ended this long after the loss was told.
    pub fn margin(&self) -> Duration {
        self.ttl / PARTS
    }

    /// When the lock has to be given up unless it was renewed.
    fn until(&self) -> Instant {
        self.sent + self.ttl.saturating_sub(self.margin())
    }

    fn key(&self) -> String {
        subject::lock_key(&self.value.lock)
    }

    /// Renews the lock once. `Ok(Err)`: it is lost.
    ///
    /// # Errors
    /// Nobody knows whether it was renewed; the next try finds out.
    async fn renew(&mut self) -> Result<Result<(), LockLost>, LockError> {
        let key = self.key();
        let mut last = PublishError::Conflict;
        for _ in 0..TRIES {
            let sent = Instant::now();
            match LOCKS
                .put(self.mesh.link(), &key, &self.value, self.revision, Notes { ttl: Some(self.ttl), clock: None })
                .await
            {
                Ok(stored) => {
                    self.revision = stored.seq;
                    self.sent = sent;
                    return Ok(Ok(()));
                }
                Err(PublishError::Conflict) => last = PublishError::Conflict,
                Err(PublishError::Unsettled) => {
                    last = PublishError::Unsettled;
                    sleep(PAUSE_MIN).await;
                }
                Err(error) => return Err(LockError::Publish(error)),
            }
            if !self.read_back(&key).await? {
                return Ok(Err(LockLost::Gone));
            }
        }
        Err(LockError::Publish(last))
    }

    /// Whether what stands there is ours: then it is what an unanswered try has written.
    async fn read_back(&mut self, key: &str) -> Result<bool, LockError> {
        match self.mesh.lock_state(key).await.map_err(LockError::Read)? {
            State::Held(entry) if entry.is_of(&self.value.taking) => {
                self.revision = entry.revision;
                Ok(true)
            }
            State::Held(_) | State::Free(_) => Ok(false),
        }
    }

    /// Renews a lock of which nobody knows how old it is.
    pub(super) async fn renewed(mut self) -> Result<Self, LockError> {
        match self.renew().await? {
            Ok(()) => Ok(self),
            // It ran out between two requests; the next try begins anew.
            Err(LockLost::Gone | LockLost::Silent) => Err(LockError::Publish(PublishError::Conflict)),
        }
    }

    /// Keeps the lock, and returns when it is lost. From then on [`Lock::margin`] is left until somebody else may have it.
    ///
    /// Safe to drop and to call again: what an interrupted renewal has come to is found out by the next one.
    pub async fn keep(&mut self) -> LockLost {
        let mut next = self.sent + self.ttl / PARTS;
        loop {
            let until = self.until();
            sleep_until(next.min(until)).await;
            let now = Instant::now();
            if now >= until {
                return LockLost::Silent;
            }
            let patience = until.min(now + self.ttl / TRY_PARTS);
            match timeout_at(patience, self.renew()).await {
                Ok(Ok(Ok(()))) => next = self.sent + self.ttl / PARTS,
                Ok(Ok(Err(lost))) => return lost,
                Ok(Err(error)) => {
                    tracing::debug!(lock = %self.value.lock, %error, "lock not renewed yet");
                    next = Instant::now() + (self.ttl / 30).clamp(PAUSE_MIN, PAUSE_MAX);
                }
                Err(_) => next = Instant::now(),
            }
        }
    }

    /// Gives the lock back, if it is still this holder's. Tries until the lock's time is over.
    ///
    /// # Errors
    /// It runs out by itself then.
    pub async fn release(self) -> Result<(), LockError> {
        let (name, over) = (self.value.lock.clone(), self.sent + self.ttl);
        timeout_at(over, self.given_back()).await.unwrap_or_else(|_| {
            tracing::debug!(lock = %name, "a lock ran out before it was given back");
            Ok(())
        })
    }

    async fn given_back(mut self) -> Result<(), LockError> {
        let key = self.key();
        let mut pause = PAUSE_MIN;
        loop {
            match LOCKS.remove(self.mesh.link(), &key, self.revision, Some(NOTE_TTL)).await {
                Ok(()) => return Ok(()),
                Err(PublishError::Conflict) => {}
                Err(error) if error.is_retryable() => sleep(pause).await,
                Err(error) => return Err(LockError::Publish(error)),
            }
            match self.read_back(&key).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if error.is_retryable() => sleep(pause).await,
                Err(error) => return Err(error),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
