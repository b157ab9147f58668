//! How long may be looked, and why something was not seen.

use std::future::Future;
use std::time::Duration;

use rr_nats::Error;
use tokio::time::{Instant, timeout};

/// How long any one look may take: twice what a request may, for those that take several.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(10);
/// How long all of them together may take, from before there is a connection.
const ALL_MAX: Duration = Duration::from_secs(28);

/// Why something was not seen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unseen {
    /// It was asked for, and this came of it.
    #[error(transparent)]
    Asked(#[from] Error),
    /// No time was left to ask, or to wait for the answer. It says nothing about what was asked for.
    #[error("there was no time left to look")]
    NoTime,
}

impl Unseen {
    /// Whether nobody answered, though there was time enough.
    pub(super) const fn is_unanswered(&self) -> bool {
        matches!(self, Self::Asked(Error::Timeout { .. } | Error::Unreachable(_)))
    }

    /// Whether it is not there.
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Asked(Error::NotFound { .. }))
    }

    /// Whether this login may not look at it.
    pub(super) const fn is_denied(&self) -> bool {
        matches!(self, Self::Asked(Error::Denied { .. }))
    }
}

/// When the last look must have come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// Looks begin now.
    pub(super) fn new() -> Self {
        Self(Instant::now() + ALL_MAX)
    }

    /// How much of the time for a look, or of this, whatever is less, is left.
    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).min(LOOK_MAX)
    }

    /// Something that takes no longer than a look may, nor than there is time.
    ///
    /// # Errors
    /// Its own; [`Error::Timeout`] when it had all the time that a look may take; else [`Unseen::NoTime`].
    pub(super) async fn within<T>(self, what: &str, look: impl Future<Output = Result<T, Error>>) -> Result<T, Unseen> {
        let left = self.left();
        if left.is_zero() {
            return Err(Unseen::NoTime);
        }
        match timeout(left, look).await {
            Ok(seen) => Ok(seen?),
            Err(_) if left < LOOK_MAX => Err(Unseen::NoTime),
            Err(_) => Err(Unseen::Asked(Error::Timeout { what: what.to_owned() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_had_too_little_time_is_not_said_to_be_unanswered() {
        for left in [Duration::ZERO, Duration::from_millis(20)] {
            let deadline = Deadline(Instant::now() + left);
            let seen = deadline.within("it", pending::<Result<(), Error>>()).await;
            assert_eq!(seen, Err(Unseen::NoTime), "{left:?}");
            assert!(!Unseen::NoTime.is_unanswered());
        }
    }

    #[tokio::test]
    async fn what_answers_is_seen_as_long_as_there_is_time() {
        assert_eq!(Deadline::new().within("it", ready(Ok(1))).await, Ok(1));
        let over = Deadline(Instant::now());
        assert_eq!(over.within("it", ready(Ok(1))).await, Err(Unseen::NoTime));
        let error = Error::Timeout { what: "it".to_owned() };
        let seen = Deadline::new().within("it", ready(Err::<(), _>(error.clone()))).await;
        assert_eq!(seen, Err(Unseen::Asked(error)));
        assert!(seen.is_err_and(|unseen| unseen.is_unanswered()));
    }
}
