//! Whether a connection stands, as a value that can be watched.
//!
//! Whoever waits for a change is woken in the order in which they began to wait: the channel of the same kind that tokio has
//! draws that order by chance, and a life that is to be repeated exactly must not.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// The connection has ended for good: nothing changes any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection has ended for good")]
pub struct Ended;

#[derive(Debug)]
struct Shared {
    /// Whether it stands, and how many times it was said. Held for single look-ups only.
    said: Mutex<(bool, u64)>,
    ended: AtomicBool,
    news: Notify,
}

impl Shared {
    fn said(&self) -> MutexGuard<'_, (bool, u64)> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection stands. Cheap to clone; each clone remembers what it has seen.
#[derive(Clone, Debug)]
pub struct Connected {
    shared: Arc<Shared>,
    seen: u64,
}

impl Connected {
    /// Whether it stands.
    pub fn stands(&self) -> bool {
        self.shared.said().0
    }

    /// The same, and what was said up to now is no news any more.
    pub fn look(&mut self) -> bool {
        let (stands, seen) = *self.shared.said();
        self.seen = seen;
        stands
    }

    /// Whether something was said that was not seen.
    pub fn has_news(&self) -> bool {
        self.shared.said().1 != self.seen
    }

    /// Waits until something was said that was not seen. Losing the future loses nothing.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn changed(&mut self) -> Result<(), Ended> {
        loop {
            // Made first: what is said from here on is not missed.
            let news = self.shared.news.notified();
            let count = self.shared.said().1;
            if count != self.seen {
                self.seen = count;
                return Ok(());
            }
            if self.shared.ended.load(Ordering::Acquire) {
                return Err(Ended);
            }
            news.await;
        }
    }

    /// Waits until it stands, or until it does not. Losing the future loses nothing.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn until(&mut self, stands: bool) -> Result<(), Ended> {
        while self.look() != stands {
            self.changed().await?;
        }
        Ok(())
    }
}

/// Says whether it stands; when the last one is dropped it has ended for good.
#[derive(Clone, Debug)]
pub(crate) struct Teller(Arc<Last>);

#[derive(Debug)]
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.news.notify_waiters();
    }
}

impl Teller {
    pub(crate) fn new(stands: bool) -> Self {
        let (said, ended, news) = (Mutex::new((stands, 0)), AtomicBool::new(false), Notify::new());
        Self(Arc::new(Last(Arc::new(Shared { said, ended, news }))))
    }

    pub(crate) fn say(&self, stands: bool) {
        let Last(shared) = &*self.0;
        {
            let mut said = shared.said();
            *said = (stands, said.1.wrapping_add(1));
        }
        shared.news.notify_waiters();
    }

    pub(crate) fn watch(&self) -> Connected {
        let shared = Arc::clone(&self.0.0);
        let seen = shared.said().1;
        Connected { shared, seen }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::{Ended, Teller};

    #[test]
    fn each_reader_hears_of_each_change_and_of_the_end() {
        let teller = Teller::new(true);
        let (mut one, mut other) = (teller.watch(), teller.watch());
        assert!(one.stands() && one.changed().now_or_never().is_none());
        teller.say(false);
        assert_eq!(one.changed().now_or_never(), Some(Ok(())));
        assert!(!one.look() && one.changed().now_or_never().is_none());
        drop(teller);
        assert_eq!(other.changed().now_or_never(), Some(Ok(())), "what was said before the end counts");
        assert_eq!(other.changed().now_or_never(), Some(Err(Ended)));
    }
}
