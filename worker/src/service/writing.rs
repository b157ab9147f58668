//! Writing the ledger, and what waits for it.
//!
//! Invariants: what is not written down neither starts nor is reported; while the ledger cannot be written, nothing is asked
//! for and nothing that waits is recorded. So a full disk holds up what the worker has, with signs of life, and
//! leaves the rest to others; and no more piles up than what the worker had in hand.

use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use rr_schemas::report::{Ended, What};
use tokio::time::Instant;

use super::engine::{Chore, Engine};
use crate::attempt::Phase;
use crate::executor::chain;

/// Pause after the first failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What waits for the ledger.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Those that start once it is written.
    pub(super) to_start: Vec<u64>,
    /// Those that start once it is synced, too.
    pub(super) to_sync: Vec<u64>,
    /// Ends that are reported once it is written.
    pub(super) to_report: Vec<(u64, Ended)>,
    is_syncing: bool,
    failures: u32,
    /// When it is tried again, after a failure.
    again: Option<Instant>,
}

impl Unwritten {
    /// Whether nothing has been written since a failure.
    pub(super) const fn is_stuck(&self) -> bool {
        self.failures > 0
    }

    /// When it is tried again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.again
    }

    fn failed(&mut self, now: Instant, error: &dyn std::error::Error) {
        if self.failures == 0 {
            tracing::error!(error = chain(error), "ledger not written: nothing new is taken until it is");
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.again = Some(now + pause);
    }

    fn went_well(&mut self) {
        if self.failures > 0 {
            tracing::info!("ledger written again");
        }
        self.failures = 0;
    }
}

impl Engine {
    /// Writes the ledger, unless it failed a moment ago. Then what waits for it starts and is reported.
    pub(super) fn write_ledger(&mut self, now: Instant) {
        if self.unwritten.again.is_none_or(|again| again <= now) {
            self.unwritten.again = None;
            match self.ledger.flush() {
                Ok(()) if self.unwritten.to_sync.is_empty() => self.unwritten.went_well(),
                // The failure may have been one of syncing.
                Ok(()) => {}
                Err(error) => self.unwritten.failed(now, &error),
            }
        }
        if self.unwritten.again.is_some() {
            let waiting: Vec<u64> = self.unwritten.to_start.iter().chain(&self.unwritten.to_sync).copied().collect();
            for n in waiting {
                self.keep(n, now);
            }
            return;
        }
        for n in std::mem::take(&mut self.unwritten.to_start) {
            self.start(n, now);
        }
        for (n, ended) in std::mem::take(&mut self.unwritten.to_report) {
            self.unlock(n, &ended);
            self.report(n, What::Ended(ended));
        }
        self.sync();
    }

    fn sync(&mut self) {
        if self.unwritten.to_sync.is_empty() || self.unwritten.is_syncing {
            return;
        }
        self.unwritten.is_syncing = true;
        let numbers = std::mem::take(&mut self.unwritten.to_sync);
        let (file, disk) = (self.ledger.file(), self.options.disk);
        let sync = async move {
            let synced = disk.work(move || file.sync_data()).await;
            Chore::Synced(numbers, synced.unwrap_or_else(|error| Err(io::Error::other(error))))
        };
        self.chores.push(sync.boxed());
    }

    /// These are in the ledger for good, or they are written down once more: what a sync has lost, another does not find.
    pub(super) fn synced(&mut self, numbers: Vec<u64>, result: io::Result<()>) {
        self.unwritten.is_syncing = false;
        let now = Instant::now();
        match result {
            Ok(()) => {
                self.unwritten.went_well();
                for n in numbers {
                    self.start(n, now);
                }
            }
            Err(error) => {
                self.unwritten.failed(now, &error);
                for n in numbers {
                    self.record_again(n);
                }
            }
        }
    }

    fn record_again(&mut self, n: u64) {
        let waiting = self.attempts.get(&n).filter(|attempt| attempt.phase == Phase::Syncing);
        if let Some(offer) = waiting.and_then(|attempt| attempt.offer.clone()) {
            self.record_start(n, &offer);
            self.unwritten.to_sync.push(n);
        }
    }
}
