//! Joining again, when the consumers are gone: with the mesh's store, for example; and making sure that they are right.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep};

use super::engine::Engine;
use super::{RunError, open_lanes};
use crate::executor::chain;
use crate::join::{JoinError, verify};
use crate::lanes::Lanes;

/// Pause after the first failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// No worker asks more often than this.
const VERIFY_MIN: Duration = Duration::from_secs(1);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What came of asking a coordinator.
#[derive(Debug)]
pub(super) enum Joined {
    /// New lanes, or none.
    Again(Result<Lanes, JoinError>),
    /// Whether the lanes are still those that were asked for.
    Verified(Result<(), JoinError>),
}

/// A try to join again, or to make sure that the worker is still in.
#[derive(Debug)]
pub(super) struct Joining {
    /// One at most.
    under_way: FuturesUnordered<BoxFuture<'static, Joined>>,
    /// Whether what is under way is to join again.
    is_again: bool,
    failures: u32,
    /// How often it is made sure, about.
    every: Duration,
    verify_at: Instant,
}

impl Joining {
    /// Makes sure for the first time after this span.
    pub(super) fn new(every: Duration) -> Self {
        let under_way = FuturesUnordered::new();
        let mut joining = Self { under_way, is_again: false, failures: 0, every, verify_at: Instant::now() };
        joining.verify_later();
        joining
    }

    /// Not all workers at once.
    fn verify_later(&mut self) {
        let every = self.every.max(VERIFY_MIN).mul_f64(0.75 + fastrand::f64() / 2.0);
        self.verify_at = Instant::now() + every;
    }

    /// When it is to be made sure that the worker is still in.
    pub(super) fn due(&self) -> Option<Instant> {
        self.under_way.is_empty().then_some(self.verify_at)
    }

    /// What became of it. None when there is none.
    pub(super) async fn next(&mut self) -> Option<Joined> {
        self.under_way.next().await
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    pub(super) fn give_up(&mut self) {
        self.under_way.clear();
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => PAUSE_MIN.saturating_mul(1 << (failures - 1).min(10)).min(PAUSE_MAX),
        }
    }
}

impl Engine {
    /// The consumers are gone: asks a coordinator for new ones.
    pub(super) fn rejoin(&mut self) {
        if (self.joining.is_under_way() && self.joining.is_again) || !self.mode.is_working() {
            return;
        }
        // Nothing needs to be made sure of any more.
        self.joining.give_up();
        self.joining.is_again = true;
        if self.joining.failures == 0 {
            tracing::warn!(worker = %self.options.name, "the consumers are gone, joining again");
        }
        let pause = self.joining.pause();
        let (mesh, options, instance) = (self.mesh.clone(), Arc::clone(&self.options), self.instance.clone());
        let join = async move {
            sleep(pause).await;
            Joined::Again(open_lanes(&mesh, &options, &instance).await)
        };
        self.joining.under_way.push(join.boxed());
    }

    /// Makes sure from time to time that the worker still has the lanes that it asked for: whoever takes over the hosts of
    /// one that is away may do so in the moment in which it comes back.
    pub(super) fn verify_lanes(&mut self, now: Instant) {
        if !self.mode.is_working() || self.joining.due().is_none_or(|due| now < due) {
            return;
        }
        self.joining.verify_later();
        if !self.mesh.is_connected() {
            return;
        }
        self.joining.is_again = false;
        let (mesh, options, instance) = (self.mesh.clone(), Arc::clone(&self.options), self.instance.clone());
        let verified = async move { Joined::Verified(verify(&mesh, &options, &instance).await) };
        self.joining.under_way.push(verified.boxed());
    }

    /// New lanes, or no lanes. A coordinator that says no is believed, as at the start.
    pub(super) fn joined(&mut self, joined: Joined) {
        let result = match joined {
            Joined::Again(result) => result.map(Some),
            Joined::Verified(result) => result.map(|()| None),
        };
        match result {
            Ok(None) => {}
            Ok(Some(lanes)) => {
                self.joining.failures = 0;
                tracing::info!(worker = %self.options.name, "joined again");
                self.take_more();
                self.lanes = lanes.in_place_of(std::mem::take(&mut self.lanes));
            }
            Err(error @ JoinError::Refused { .. }) => {
                tracing::error!(worker = %self.options.name, error = chain(&error), "may not join again");
                self.why = Some(RunError::Join(error));
                self.drain();
            }
            Err(error @ JoinError::Mesh(_)) => {
                self.joining.failures = self.joining.failures.saturating_add(1);
                let pause = self.joining.pause();
                tracing::error!(worker = %self.options.name, error = chain(&error), ?pause, "cannot join again");
                self.rejoin();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Joining};

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let pauses = [0, 1, 2, 3, 6, u32::MAX]
            .map(|failures| Joining { failures, ..Joining::new(Duration::from_secs(1)) }.pause());
        assert_eq!(pauses, [0, 1, 2, 4, 30, 30].map(Duration::from_secs));
    }
}
