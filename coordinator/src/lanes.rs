//! Who may be believed: whoever bears the token of the offer (see `token`), for it has got the offer. Its hosts may be
//! another's by the time its word is read, and what it has done must not be forgotten.
//!
//! In a run of before there were tokens a worker's word counts for hosts that its lane serves. What a lane serves is what the
//! server has in its durable consumer, which coordinators make; what a worker says of itself is no evidence.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rr_core::{Heard, Run, run::WITHDRAWN_BY};
use rr_nats::{HostFilter, Mesh, subject::host_durable};
use rr_schemas::{
    host::Host,
    input::{Holder, Input, Source},
    name::WorkerName,
    offer::Target,
};
use tokio::time::Instant;

use crate::trouble::TurnError;

/// How long a worker's lane is remembered, unless it is seen to be gone.
const REMEMBERED: Duration = Duration::from_mins(1);
/// A lane that does not serve a host is asked for again, because it may just have grown; not more often than this.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// Lanes remembered at most; the whole memory is dropped then, and costs one question per worker.
const LANES_MAX: usize = 20_000;

/// What is known of lanes.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Held for single look-ups only, never over an await.
    known: Mutex<HashMap<WorkerName, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    asked: Instant,
    /// None: the worker has no lane of hosts.
    hosts: Option<Arc<HostFilter>>,
}

impl Known {
    fn serves(&self, host: &Host) -> bool {
        self.hosts.as_ref().is_some_and(|hosts| hosts.serves(host))
    }
}

impl Lanes {
    /// Whether the source of an input has the right to say it; the reason where not. `has_tokens` says that the run's offers
    /// have tokens, and that the input bears the right one, where it must bear one.
    pub(crate) async fn believe(
        &self,
        mesh: &Mesh,
        run: &Run,
        heard: &Heard,
        has_tokens: bool,
    ) -> Result<Result<(), &'static str>, TurnError> {
        let (worker, task) = match (&heard.source, &heard.input) {
            (Source::Worker(worker), Input::Report(report)) => (worker, report.task),
            (Source::Claim { worker, .. }, Input::Claim(claim)) => (worker, claim.task),
            (Source::Api | Source::Timer | Source::Note | Source::Worker(_) | Source::Claim { .. }, _) => {
                return Ok(Ok(()));
            }
        };
        if worker.as_str() == WITHDRAWN_BY {
            // Only coordinators may publish such a claim, and a report by that name is nobody's.
            let is_claim = matches!(heard.input, Input::Claim(_));
            return Ok(if is_claim { Ok(()) } else { Err("a report by a name that no worker may have") });
        }
        // Who was believed when it started is believed to the end, whatever it serves meanwhile.
        let says_instance = match &heard.input {
            Input::Report(report) => Some(&report.instance),
            Input::Claim(_)
            | Input::Submit(_)
            | Input::Cancel(_)
            | Input::Signal(_)
            | Input::Timer {}
            | Input::Seen(_) => None,
        };
        let is_holder = |holder: &Holder| holder.worker == *worker && Some(&holder.instance) == says_instance;
        if run.holder(task).is_some_and(is_holder) {
            return Ok(Ok(()));
        }
        // A run or a task that is unknown is the core's to judge.
        let Some(target) = run.plan().and_then(|plan| plan.target(task)) else { return Ok(Ok(())) };
        let serves = match &target {
            Target::Queue(_) => true,
            Target::Worker(only) => only == worker,
            Target::Host(host) => has_tokens || self.serves(mesh, worker, host).await?,
        };
        Ok(if serves { Ok(()) } else { Err("of a host that its worker does not serve") })
    }

    /// Whether a worker's lane has a host.
    pub(crate) async fn serves(&self, mesh: &Mesh, worker: &WorkerName, host: &Host) -> Result<bool, TurnError> {
        if let Some(known) = self.recall(worker) {
            let serves = known.serves(host);
            let fresh = if serves { REMEMBERED } else { ASKED_AGAIN };
            if known.asked.elapsed() < fresh {
                return Ok(serves);
            }
        }
        Ok(self.learn(mesh, worker).await?.is_some_and(|hosts| hosts.serves(host)))
    }

    /// Whether a worker has a lane.
    pub(crate) async fn has_lane(&self, mesh: &Mesh, worker: &WorkerName) -> Result<bool, TurnError> {
        if let Some(known) = self.recall(worker) {
            let fresh = if known.hosts.is_some() { REMEMBERED } else { ASKED_AGAIN };
            if known.asked.elapsed() < fresh {
                return Ok(known.hosts.is_some());
            }
        }
        Ok(self.learn(mesh, worker).await?.is_some())
    }

    /// Asks the server for a worker's lane, and remembers it.
    pub(crate) async fn learn(&self, mesh: &Mesh, worker: &WorkerName) -> Result<Option<Arc<HostFilter>>, TurnError> {
        let known = Known { asked: Instant::now(), hosts: mesh.lane_hosts(worker).await?.map(Arc::new) };
        let hosts = known.hosts.clone();
        self.remember(worker.clone(), known);
        Ok(hosts)
    }

    /// Whether something is remembered of a worker's lane that is not too old.
    pub(crate) fn is_known(&self, worker: &WorkerName) -> bool {
        self.recall(worker).is_some_and(|known| known.asked.elapsed() < REMEMBERED)
    }

    /// Whether a worker is remembered to have no lane.
    pub(crate) fn is_gone(&self, worker: &WorkerName) -> bool {
        self.recall(worker).is_some_and(|known| known.hosts.is_none())
    }

    fn recall(&self, worker: &WorkerName) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(worker).cloned()
    }

    fn remember(&self, worker: WorkerName, lane: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LANES_MAX {
            known.clear();
        }
        known.insert(worker, lane);
    }

    /// Forgets a worker that has just joined: its lane may have changed.
    pub(crate) fn forget(&self, worker: &WorkerName) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(worker);
    }

    /// Forgets every lane that is not among those that the server has listed: it may be gone. One that was made since then
    /// is asked for once more.
    pub(crate) fn forget_unlisted(&self, listed: &HashSet<&String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|worker, lane| lane.hosts.is_none() || listed.contains(&host_durable(worker)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_not_listed_is_not_believed_and_what_is_known_to_be_gone_stays_known() {
        let lanes = Lanes::default();
        let [listed, gone, never]: [WorkerName; 3] = ["listed", "gone", "never"].map(|name| name.parse().unwrap());
        let hosts = Arc::new(HostFilter::All);
        for (worker, hosts) in [(&listed, Some(&hosts)), (&gone, Some(&hosts)), (&never, None)] {
            lanes.remember(worker.clone(), Known { asked: Instant::now(), hosts: hosts.cloned() });
        }
        let name = host_durable(&listed);
        lanes.forget_unlisted(&HashSet::from([&name]));
        assert!(lanes.is_known(&listed) && !lanes.is_gone(&listed));
        assert!(!lanes.is_known(&gone), "the next question is the server's to answer");
        assert!(lanes.is_gone(&never));
    }
}
