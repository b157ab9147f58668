//! Joining again, when the consumers are gone: with the mesh's store, for example.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

use super::engine::Engine;
use super::{RunError, open_lanes};
use crate::executor::chain;
use crate::join::JoinError;
use crate::lanes::Lanes;

/// Pause after the first failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A try to join again.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// One at most.
    under_way: FuturesUnordered<BoxFuture<'static, Result<Lanes, JoinError>>>,
    failures: u32,
}

impl Joining {
    /// What became of it. None when there is none.
    pub(super) async fn next(&mut self) -> Option<Result<Lanes, JoinError>> {
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
        if self.joining.is_under_way() || !self.mode.is_working() {
            return;
        }
        if self.joining.failures == 0 {
            tracing::warn!(worker = %self.options.name, "the consumers are gone, joining again");
        }
        let pause = self.joining.pause();
        let (mesh, options, instance) = (self.mesh.clone(), Arc::clone(&self.options), self.instance.clone());
        let join = async move {
            sleep(pause).await;
            open_lanes(&mesh, &options, &instance).await
        };
        self.joining.under_way.push(join.boxed());
    }

    /// New lanes, or no lanes. A coordinator that says no is believed, as at the start.
    pub(super) fn joined(&mut self, result: Result<Lanes, JoinError>) {
        match result {
            Ok(lanes) => {
                self.joining.failures = 0;
                tracing::info!(worker = %self.options.name, "joined again");
                self.take_more();
                self.lanes = lanes;
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
        let pauses = [0, 1, 2, 3, 6, u32::MAX].map(|failures| Joining { failures, ..Joining::default() }.pause());
        assert_eq!(pauses, [0, 1, 2, 4, 30, 30].map(Duration::from_secs));
    }
}
