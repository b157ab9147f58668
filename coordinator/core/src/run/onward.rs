//! What an end means for what comes behind it: jobs that may begin, jobs that never can, waits that are called off.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rr_schemas::decision::JobStatus;

use super::{Due, Phase, Run, TaskState};

impl Run {
    /// Tasks that wait for an attempt that will not come end as their last one did.
    pub(super) fn settle_delayed(&mut self, index: usize) {
        let Some((planned, job)) = self.job(index) else {
            return;
        };
        if job.delayed == 0 {
            return;
        }
        for task in planned.first..planned.first + planned.n {
            let Ok(state) = self.state_of(task).copied() else {
                return;
            };
            if let Phase::Delayed { last, .. } = state.phase {
                self.set_task(task, TaskState { phase: Phase::Over { outcome: last, by: None }, ..state });
            }
        }
    }

    /// Meets one need of everything that needs this node; barriers pass it on.
    pub(super) fn release(&mut self, at: Timestamp, node: usize) {
        let mut ready = Vec::new();
        let mut nodes = vec![node];
        while let Some(node) = nodes.pop() {
            let Some(feeds) = self.plan.as_ref().and_then(|plan| plan.graph().feeds.get(node)) else {
                continue;
            };
            for fed in feeds {
                let Some(unmet) = self.unmet.get_mut(*fed) else {
                    continue;
                };
                *unmet -= 1;
                if *unmet > 0 {
                    continue;
                }
                if *fed < self.jobs.len() {
                    self.dirty.insert(*fed);
                    ready.push(*fed);
                } else {
                    nodes.push(*fed);
                }
            }
        }
        for index in ready {
            self.fold_ready(at, index);
        }
    }

    /// What needs a job that did not succeed can never start.
    pub(super) fn skip_what_needs(&mut self, node: usize) {
        let mut nodes = vec![node];
        let mut seen_barriers = BTreeSet::new();
        while let Some(node) = nodes.pop() {
            let Some(feeds) = self.plan.as_ref().and_then(|plan| plan.graph().feeds.get(node)) else {
                continue;
            };
            for fed in feeds {
                match self.jobs.get_mut(*fed) {
                    Some(job) if job.status == JobStatus::Waiting => {
                        job.status = JobStatus::Skipped;
                        self.open_jobs -= 1;
                        self.dirty.remove(fed);
                        nodes.push(*fed);
                    }
                    Some(_) => {}
                    None => {
                        if seen_barriers.insert(*fed) {
                            nodes.push(*fed);
                        }
                    }
                }
            }
        }
    }

    /// Once, when `success` has just become impossible: waits for attempts that will not come are called off.
    pub(super) fn halt_if_hopeless(&mut self, index: usize) {
        let Some((planned, job)) = self.job(index) else {
            return;
        };
        if job.halted || !planned.job.fail_fast || !job.is_hopeless(planned) {
            return;
        }
        for task in planned.first..planned.first + planned.n {
            if let Ok(TaskState { phase: Phase::Delayed { until, .. }, .. }) = self.state_of(task) {
                self.deadlines.remove(&(*until, Due::Task(task)));
            }
        }
        if let Some(job) = self.jobs.get_mut(index) {
            job.halted = true;
        }
    }
}
