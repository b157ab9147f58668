//! What the shell must look at because a deadline has come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_schemas::{input::Holder, offer::Target, ranges::Ranges};

use super::{Due, Phase, Run, seen::is_last_offer};

/// Tasks in one look at most: what was seen of them is one note, and what follows from it must fit into one decision.
pub const LOOK_TASKS_MAX: usize = 400;

/// Open attempts of one job, in one state, whose deadline has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Look {
    /// The tasks.
    pub tasks: Ranges,
    /// Their attempt.
    pub attempt: u32,
    /// Their offer.
    pub offer: u32,
    /// No other offer of theirs follows when this one has vanished.
    pub is_last_offer: bool,
    /// Who runs them; none where nobody has said so.
    pub holder: Option<Holder>,
    /// Where their one target is a queue: that queue. None for hosts.
    pub queue: Option<Target>,
    /// They wait for a worker although nobody serves them now.
    pub patient: bool,
    /// The coordinator must win the claim before it says that an attempt which nobody has started is gone.
    pub claimed: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    job: usize,
    attempt: u32,
    offer: u32,
    is_last_offer: bool,
    holder: Option<u32>,
    patient: bool,
}

impl Run {
    /// Open attempts whose deadline has come at `now`. What is found goes into the stream as a note before anything
    /// is concluded from it.
    pub fn looks(&self, now: Timestamp) -> Vec<Look> {
        // By deadline, so in no order of their own.
        let mut groups: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
        for (_, due) in self.deadlines.iter().take_while(|(at, _)| *at <= now) {
            let Due::Task(task) = *due else { continue };
            let Some(state) = self.tasks.get(task as usize) else {
                continue;
            };
            let (holder, patient) = match state.phase {
                Phase::Offered { since, .. } => (None, now < self.patient_until(task, since)),
                Phase::Running { by, .. } => (Some(by), false),
                Phase::Held { by, .. } => (by, false),
                Phase::Waiting | Phase::Delayed { .. } | Phase::Over { .. } => continue,
            };
            let Some(job) = self.plan.as_ref().and_then(|plan| plan.job_of(task)) else {
                continue;
            };
            let (attempt, offer, is_last_offer) = (state.attempt, state.offer, is_last_offer(state));
            let key = Key { job, attempt, offer, is_last_offer, holder, patient };
            groups.entry(key).or_default().push(task);
        }
        groups.into_iter().flat_map(|(key, tasks)| self.parts(key, tasks)).collect()
    }

    fn parts(&self, key: Key, mut tasks: Vec<u32>) -> Vec<Look> {
        tasks.sort_unstable();
        let look = |part: &[u32]| {
            let (planned, _) = self.job(key.job)?;
            Some(Look {
                tasks: part.iter().copied().collect(),
                attempt: key.attempt,
                offer: key.offer,
                is_last_offer: key.is_last_offer,
                holder: key.holder.and_then(|holder| self.holders.get(holder).cloned()),
                queue: match &planned.targets {
                    crate::plan::Targets::Hosts(_)
                    | crate::plan::Targets::Workers(_)
                    | crate::plan::Targets::ToBeFound
                    | crate::plan::Targets::Gate => None,
                    crate::plan::Targets::Queue(queue) => Some(Target::Queue(queue.clone())),
                },
                patient: key.patient,
                claimed: planned.job.is_claimed(),
            })
        };
        tasks.chunks(LOOK_TASKS_MAX).filter_map(look).collect()
    }
}
