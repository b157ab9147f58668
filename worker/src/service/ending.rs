//! How a worker ends: first it takes nothing new and finishes, then it kills.

use std::time::Duration;

use rr_schemas::report::Outcome;
use tokio::time::Instant;

use super::engine::Engine;
use crate::attempt::{Phase, STOPPED};
use crate::clock;
use crate::executor::ended_because;
use crate::lanes::{FromLanes, Lanes};

/// How long the last reports are tried after a kill.
const FAREWELL_KILLED: Duration = Duration::from_secs(1);

/// What the worker is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// It takes offers.
    Working,
    /// It takes no new ones; what runs may end until then.
    Draining(Instant),
    /// Nothing runs any more; reports are tried until then.
    Leaving(Instant),
    /// What ran was killed; reports are tried until then.
    Killed(Instant),
}

impl Mode {
    pub(super) const fn is_working(self) -> bool {
        match self {
            Self::Working => true,
            Self::Draining(_) | Self::Leaving(_) | Self::Killed(_) => false,
        }
    }

    pub(super) const fn is_killed(self) -> bool {
        match self {
            Self::Killed(_) => true,
            Self::Working | Self::Draining(_) | Self::Leaving(_) => false,
        }
    }

    pub(super) const fn until(self) -> Option<Instant> {
        match self {
            Self::Working => None,
            Self::Draining(until) | Self::Leaving(until) | Self::Killed(until) => Some(until),
        }
    }
}

impl Engine {
    /// Takes nothing new. What the server has sent already is carried out: given back, it would count as lost.
    pub(super) fn drain(&mut self) {
        if !self.mode.is_working() {
            return;
        }
        tracing::info!(worker = %self.options.name, running = self.busy, "draining");
        self.mode = Mode::Draining(Instant::now() + Duration::from(self.options.times.drain));
        self.draining.send_replace(true);
        while let Some(from) = self.lanes.now() {
            match from {
                FromLanes::Offer(offer) => self.delivered(*offer),
                FromLanes::Look => {}
                FromLanes::Gone | FromLanes::Closed => break,
            }
        }
        self.lanes = Lanes::default();
    }

    /// Ends everything at once. What ran is lost, and known to be.
    pub(super) fn kill(&mut self) {
        if self.mode.is_killed() {
            return;
        }
        self.drain();
        self.mode = Mode::Killed(Instant::now() + FAREWELL_KILLED);
        // Their process groups go with their futures; the guard sees to the rest.
        self.running.abort_all();
        self.ready.clear();
        let numbers: Vec<u64> = self.attempts.keys().copied().collect();
        for n in numbers {
            let Some(attempt) = self.attempts.get(&n) else { continue };
            match attempt.phase {
                Phase::Ended => {}
                // Never started; whoever gets the offer next finds out what that means.
                Phase::Waiting | Phase::Claiming => {
                    if attempt.phase.is_busy() {
                        self.busy -= 1;
                    }
                    self.attempts.remove(&n);
                }
                Phase::Syncing | Phase::Running => self.ended(n, ended_because(Outcome::Lost, STOPPED, clock::now())),
            }
        }
    }

    /// Moves on when a time has come or nothing is left to wait for.
    pub(super) fn mode_time(&mut self, now: Instant) {
        if let Mode::Draining(until) = self.mode {
            if self.busy == 0 && self.ready.is_empty() {
                self.mode = Mode::Leaving(now + Duration::from(self.options.times.farewell));
            } else if until <= now {
                tracing::warn!(running = self.busy, "time to drain is over");
                self.kill();
            }
        }
    }

    /// Whether the worker has ended. Reports that are left over stand in the ledger.
    pub(super) fn is_over(&self) -> bool {
        match self.mode {
            Mode::Working | Mode::Draining(_) => false,
            Mode::Leaving(until) | Mode::Killed(until) => {
                let has_ended = self.running.is_empty() && self.chores.is_empty() && self.outbox.is_empty();
                has_ended || self.running.is_empty() && until <= Instant::now()
            }
        }
    }
}
