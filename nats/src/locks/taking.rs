//! Asking for a lock, and waiting for it.

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use rr_schemas::lock::HeldLock;
use tokio::time::{Instant, sleep, timeout};

use super::{LOCK_TTL_MIN, Lock, LockEntry, LockError, NOTE_TTL, State, TRIES};
use crate::{
    bucket::{LOCKS, Notes},
    error::PublishError,
    mesh::Mesh,
    raw::text,
    subject::{self, header},
    transport::Messages,
};

/// First pause between two tries; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two tries: so much later than it became free a lock may be taken, where nobody hears that it did.
/// A thousand who wait cost a thousand requests a second then, of the twenty thousand that a server answers.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long giving back what an unanswered try may have taken is tried; it runs out by itself.
const WITHDRAW_MAX: Duration = Duration::from_secs(2);

/// What a request for a lock came to.
#[derive(Debug)]
pub enum Taking {
    /// The lock is held.
    Taken(Box<Lock>),
    /// The request was withdrawn before.
    Stopped,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
pub enum LockWait<'a> {
    /// Whoever holds the lock.
    Holder(&'a LockEntry),
    /// The server, which does not answer, or is full.
    Trouble(&'a LockError),
}

/// A request for a lock.
#[derive(Debug)]
pub struct LockRequest {
    mesh: Mesh,
    value: HeldLock,
    ttl: Duration,
    /// What the next try expects.
    expected: u64,
    /// Whether a try was made of which nobody knows what became of it.
    perhaps: bool,
}

impl LockRequest {
    pub(super) fn new(mesh: Mesh, wanted: HeldLock, ttl: Duration) -> Self {
        let value = HeldLock { token: None, ..wanted };
        // As the server counts: a holder that counted less would only give up too early.
        let ttl = Duration::from_secs(ttl.max(LOCK_TTL_MIN).as_secs());
        Self { mesh, value, ttl, expected: 0, perhaps: false }
    }

    fn key(&self) -> String {
        subject::lock_key(&self.value.lock)
    }

    /// Tries to take the lock now.
    ///
    /// To be awaited to its end: a try that is dropped half-way may have taken the lock, which the next one finds out.
    ///
    /// # Errors
    /// [`LockError::Held`] when somebody else has it; else nobody knows: try again, or [`LockRequest::withdraw`].
    pub async fn try_take(&mut self) -> Result<Lock, LockError> {
        let key = self.key();
        let mut last = PublishError::Conflict;
        for _ in 0..TRIES {
            let sent = Instant::now();
            self.perhaps = true;
            self.value.since = self.mesh.clock().now();
            let put = LOCKS
                .put(self.mesh.link(), &key, &self.value, self.expected, Notes { ttl: Some(self.ttl), clock: None })
                .await;
            match put {
                Ok(stored) => return Ok(self.taken((stored.seq, stored.seq), sent)),
                Err(PublishError::Conflict) => last = PublishError::Conflict,
                Err(PublishError::Unsettled) => {
                    last = PublishError::Unsettled;
                    sleep(PAUSE_MIN).await;
                }
                Err(error) => return Err(LockError::Publish(error)),
            }
            match self.mesh.lock_state(&key).await.map_err(LockError::Read)? {
                State::Free(seq) => self.expected = seq,
                // A try whose answer was lost.
                State::Held(entry) if entry.is_of(&self.value.taking) => {
                    return self.taken((entry.token, entry.revision), sent).renewed().await;
                }
                State::Held(entry) => {
                    self.perhaps = false;
                    return Err(LockError::Held(entry));
                }
            }
        }
        Err(LockError::Publish(last))
    }

    fn taken(&self, token_and_revision: (u64, u64), sent: Instant) -> Lock {
        Lock::new(self.mesh.clone(), self.value.clone(), token_and_revision, self.ttl, sent)
    }

    /// Takes the lock as soon as it is free, unless `stop` comes before. No order among those who wait is promised.
    ///
    /// `told` hears what it waits for, after each try. To be awaited to its end, which comes within 2 s after `stop`.
    ///
    /// # Errors
    /// What waiting does not cure.
    pub async fn take(
        mut self,
        stop: impl Future<Output = ()>,
        mut told: impl FnMut(LockWait<'_>),
    ) -> Result<Taking, LockError> {
        let mut stop = pin!(stop);
        let mut hints = None;
        let mut pause = PAUSE_MIN;
        loop {
            let tried = tokio::select! {
                biased;
                () = &mut stop => {
                    self.withdraw().await;
                    return Ok(Taking::Stopped);
                }
                tried = self.try_take() => tried,
            };
            match tried {
                Ok(lock) => return Ok(Taking::Taken(Box::new(lock))),
                Err(LockError::Held(entry)) => told(LockWait::Holder(&entry)),
                Err(error) if error.is_retryable() => told(LockWait::Trouble(&error)),
                Err(error) => return Err(error),
            }
            if hints.is_none() {
                hints = self.hints().await;
            }
            tokio::select! {
                biased;
                () = &mut stop => {
                    self.withdraw().await;
                    return Ok(Taking::Stopped);
                }
                () = given_back(&mut hints) => {}
                () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Gives back what an unanswered try may have taken. Whatever of it comes later still runs out by itself.
    pub async fn withdraw(self) {
        if !self.perhaps {
            return;
        }
        let key = self.key();
        let withdrawn = timeout(WITHDRAW_MAX, async {
            match self.mesh.lock_state(&key).await {
                Ok(State::Held(entry)) if entry.is_of(&self.value.taking) => {
                    LOCKS.remove(self.mesh.link(), &key, entry.revision, Some(NOTE_TTL)).await.is_ok()
                }
                Ok(State::Held(_) | State::Free(_)) => true,
                Err(_) => false,
            }
        });
        let withdrawn = withdrawn.await.unwrap_or(false);
        if !withdrawn {
            tracing::debug!(lock = %self.value.lock, "a lock that may have been taken runs out by itself");
        }
    }

    /// What is written to the key, as others write it: a hint, which saves waiting for the next try.
    async fn hints(&self) -> Option<Messages> {
        let link = self.mesh.link();
        let subject = subject::bucket_key(subject::BUCKET_LOCKS, &self.key());
        // Behind a leaf node keys are written elsewhere.
        if link.is_elsewhere() || link.is_denied(&subject) {
            return None;
        }
        link.subscribe(subject, None).await.ok()
    }
}

/// Waits until somebody gives the lock back; for ever where nobody can be heard.
async fn given_back(hints: &mut Option<Messages>) {
    if let Some(hints) = hints {
        while let Some(message) = hints.next().await {
            let headers = message.headers.as_ref();
            if headers.and_then(|headers| text(headers, header::KV_OPERATION)).is_some() {
                return;
            }
        }
    }
    std::future::pending::<()>().await;
}
