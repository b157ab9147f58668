//! How a worker ends: first it takes nothing new and finishes, then it kills.

use std::time::Duration;

use futures::FutureExt as _;
use rr_schemas::{offer::Command, report::Outcome};
use tokio::time::Instant;

use super::attempts::{key, marker};
use super::engine::{Chore, Engine};
use crate::attempt::{Phase, STOPPED};
use crate::executor::ended_because;
use crate::lanes::Lanes;
use crate::process;

/// How long it may take to end who has left the process groups; what takes longer, the next life finds.
const SWEEP_MAX: Duration = Duration::from_secs(5);

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

    pub(super) const fn is_draining(self) -> bool {
        match self {
            Self::Draining(_) => true,
            Self::Working | Self::Leaving(_) | Self::Killed(_) => false,
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
    /// Takes nothing new. What has not started is given back, also what the server has sent and is still to come.
    pub(super) fn drain(&mut self) {
        if !self.mode.is_working() {
            return;
        }
        tracing::info!(worker = %self.options.name, running = self.busy, "draining");
        self.mode = Mode::Draining(Instant::now() + Duration::from(self.options.times.drain));
        self.draining.send_replace(true);
        self.joining.give_up();
    }

    /// Asks for nothing any more; the lanes stay open until what is on its way has come.
    pub(super) async fn close_lanes(&mut self) {
        if self.mesh.is_connected() {
            self.lanes.close().await;
        } else {
            // Nothing is on its way.
            self.take_more();
            self.lanes = Lanes::default();
        }
    }

    /// Ends everything at once. What runs is lost, and known to be once it has ended.
    pub(super) fn kill(&mut self) {
        if self.mode.is_killed() {
            return;
        }
        self.drain();
        self.mode = Mode::Killed(Instant::now() + SWEEP_MAX);
        self.lanes = Lanes::default();
        // What has ended by itself was not lost.
        while let Some(ended) = self.running.try_join_next() {
            if let Ok((n, ended)) = ended {
                self.ended(n, ended);
            }
        }
        // Their process groups go with their futures.
        self.running.abort_all();
        self.give_back(Instant::now());
        let numbers: Vec<u64> = self.attempts.keys().copied().collect();
        for n in numbers {
            let Some(attempt) = self.attempts.get(&n) else { continue };
            match attempt.phase {
                Phase::Ended | Phase::Returned | Phase::Running => {}
                // Never started; whoever gets the offer next finds out what that means.
                Phase::Locking | Phase::Waiting | Phase::Claiming => {
                    if attempt.phase.is_busy() {
                        self.busy -= 1;
                    }
                    self.leave_line(n);
                    self.attempts.remove(&n);
                }
                Phase::Syncing => self.lost(n),
            }
        }
    }

    /// The futures of what was killed are gone: ends who has left their process groups.
    fn sweep(&mut self) {
        if self.is_sweeping {
            return;
        }
        self.is_sweeping = true;
        let (numbers, markers) = self.running_still();
        let sweep = async move {
            if !markers.is_empty() {
                let survivors = process::end_marked(markers).await;
                if survivors > 0 {
                    tracing::error!(survivors, "processes survive KILL");
                }
            }
            Chore::Swept(numbers)
        };
        self.chores.push(sweep.boxed());
    }

    /// The attempts that run, and the markers of those that are processes.
    pub(super) fn running_still(&self) -> (Vec<u64>, Vec<String>) {
        let running = || self.attempts.iter().filter(|(_, attempt)| attempt.phase == Phase::Running);
        let offers = running().filter_map(|(_, attempt)| attempt.offer.as_ref());
        let processes = offers.filter(|offer| match offer.command {
            Command::Argv(_) | Command::Shell { .. } => true,
            Command::Handler(_) => false,
        });
        let markers = processes.map(|offer| marker(&key(offer), &self.instance)).collect();
        (running().map(|(n, _)| *n).collect(), markers)
    }

    /// Nothing of these attempts runs any more.
    pub(super) fn swept(&mut self, numbers: &[u64]) {
        for n in numbers {
            self.lost(*n);
        }
        self.mode = Mode::Killed(Instant::now() + FAREWELL_KILLED);
    }

    fn lost(&mut self, n: u64) {
        self.ended(n, ended_because(Outcome::Lost, STOPPED, self.now()));
    }

    /// Moves on when a time has come or nothing is left to wait for.
    pub(super) fn mode_time(&mut self, now: Instant) {
        match self.mode {
            Mode::Working | Mode::Leaving(_) => {}
            Mode::Draining(until) => {
                if self.busy == 0 && self.ready.is_empty() && self.lanes.outstanding() == 0 {
                    self.mode = Mode::Leaving(now + Duration::from(self.options.times.farewell));
                } else if until <= now {
                    tracing::warn!(running = self.busy, "time to drain is over");
                    self.kill();
                }
            }
            Mode::Killed(_) => {
                if self.running.is_empty() {
                    self.sweep();
                }
            }
        }
    }

    /// Whether the worker has ended. Reports that are left over stand in the ledger.
    pub(super) fn is_over(&self) -> bool {
        match self.mode {
            Mode::Working | Mode::Draining(_) => false,
            Mode::Leaving(until) | Mode::Killed(until) => {
                let is_told = self.unwritten.to_report.is_empty() && self.outbox.is_empty();
                let is_free = self.chores.is_empty() && self.locks.is_idle();
                let has_ended = self.running.is_empty() && is_free && is_told;
                has_ended || self.running.is_empty() && until <= Instant::now()
            }
        }
    }
}
