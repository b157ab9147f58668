//! Clocks of machines: the world's time, and what each of them makes of it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use rr_nats::Clock;
use tokio::time::Instant;

/// The world's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorldTime {
    begun: Instant,
    start: Timestamp,
}

impl WorldTime {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self { begun: Instant::now(), start }
    }

    /// What a good clock said at an instant.
    pub(crate) fn at(self, instant: Instant) -> Timestamp {
        let since = SignedDuration::try_from(instant.duration_since(self.begun)).unwrap_or(SignedDuration::MAX);
        self.start.saturating_add(since).unwrap_or(self.start)
    }

    fn read(self, skew_ms: i64) -> Timestamp {
        let since = SignedDuration::try_from(self.begun.elapsed()).unwrap_or(SignedDuration::MAX);
        let shown = since.saturating_add(SignedDuration::from_millis(skew_ms));
        self.start.saturating_add(shown).unwrap_or(self.start)
    }
}

/// A machine's clock, which may be wrong.
#[derive(Clone, Debug)]
pub(crate) struct MachineClock {
    time: WorldTime,
    skew_ms: Arc<AtomicI64>,
}

impl MachineClock {
    pub(crate) fn new(time: WorldTime) -> Self {
        Self { time, skew_ms: Arc::default() }
    }

    /// From now on it is this much ahead, or behind.
    pub(crate) fn set(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    pub(crate) fn for_mesh(&self) -> Clock {
        let Self { time, skew_ms } = self.clone();
        Clock::given(move || time.read(skew_ms.load(Ordering::Relaxed)))
    }
}
