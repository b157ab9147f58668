//! What a run waits for: every state that is not final waits for something that has a name.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_schemas::{decision::JobStatus, input::Holder, name::Name, ranges::Ranges};

use super::{Phase, Run};

/// One thing that a run waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wait {
    /// A coordinator: the run is asked for and nobody has seen it.
    Coordinator,
    /// Some worker to take the tasks.
    Worker {
        /// Their job.
        job: Name,
        /// The tasks.
        tasks: Ranges,
        /// When the first of them is looked after.
        until: Timestamp,
    },
    /// A worker to report the end of what it runs.
    Report {
        /// Their job.
        job: Name,
        /// The tasks.
        tasks: Ranges,
        /// The worker.
        holder: Holder,
        /// When the first of them is looked after.
        until: Timestamp,
    },
    /// The next attempt to be due.
    Retry {
        /// Their job.
        job: Name,
        /// The tasks.
        tasks: Ranges,
        /// When the first of them is due.
        until: Timestamp,
    },
    /// A person, or the lost worker's report.
    Person {
        /// Their job.
        job: Name,
        /// The tasks.
        tasks: Ranges,
    },
    /// Other tasks of the job to make room in its window.
    Window {
        /// The job.
        job: Name,
        /// How many tasks wait.
        n: u32,
        /// How many may run at once.
        window: u32,
    },
    /// Somebody to give a signal.
    Signal {
        /// The gate.
        job: Name,
        /// The signal.
        signal: Name,
        /// When the gate fails without it.
        until: Option<Timestamp>,
    },
    /// Other jobs to succeed.
    Needs {
        /// The job.
        job: Name,
        /// How many of its needs are not met.
        unmet: u32,
    },
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    Worker,
    Report(u32),
    Retry,
    Person,
}

impl Run {
    /// Everything that the run waits for; empty only when it is final.
    pub fn waits(&self) -> Vec<Wait> {
        if self.is_final() {
            return Vec::new();
        }
        if !self.exists() {
            return vec![Wait::Coordinator];
        }
        let mut waits = Vec::new();
        for (index, job) in self.jobs.iter().enumerate() {
            match job.status {
                JobStatus::Waiting => waits.extend(self.wait_for_needs(index)),
                JobStatus::Running => self.wait_of_job(index, &mut waits),
                JobStatus::Succeeded | JobStatus::Failed | JobStatus::Skipped | JobStatus::Cancelled => {}
            }
        }
        waits
    }

    fn wait_for_needs(&self, index: usize) -> Option<Wait> {
        let (planned, _) = self.job(index)?;
        let unmet = *self.unmet.get(index)?;
        Some(if unmet > 0 { Wait::Needs { job: planned.name.clone(), unmet } } else { Wait::Coordinator })
    }

    fn wait_of_job(&self, index: usize, waits: &mut Vec<Wait>) {
        let Some((planned, job)) = self.job(index) else {
            return;
        };
        if let Some(signal) = &planned.job.signal {
            return waits.push(if self.signals.contains(signal) || self.stopping.is_some() {
                Wait::Coordinator
            } else {
                Wait::Signal { job: planned.name.clone(), signal: signal.clone(), until: job.gives_up }
            });
        }
        let mut groups: BTreeMap<Kind, (Ranges, Timestamp)> = BTreeMap::new();
        for task in planned.first..planned.first + planned.n {
            let Some(state) = self.tasks.get(task as usize) else {
                return;
            };
            let (kind, until) = match state.phase {
                Phase::Offered { deadline, .. } => (Kind::Worker, deadline),
                Phase::Running { by, deadline } => (Kind::Report(by), deadline),
                Phase::Delayed { until, .. } => (Kind::Retry, until),
                Phase::Held { .. } => (Kind::Person, Timestamp::MAX),
                Phase::Waiting | Phase::Over { .. } => continue,
            };
            let (tasks, first) = groups.entry(kind).or_insert_with(|| (Ranges::new(), until));
            tasks.insert(task);
            *first = (*first).min(until);
        }
        let name = || planned.name.clone();
        waits.extend(groups.into_iter().filter_map(|(kind, (tasks, until))| {
            Some(match kind {
                Kind::Worker => Wait::Worker { job: name(), tasks, until },
                Kind::Report(by) => Wait::Report { job: name(), tasks, holder: self.holders.get(by)?.clone(), until },
                Kind::Retry => Wait::Retry { job: name(), tasks, until },
                Kind::Person => Wait::Person { job: name(), tasks },
            })
        }));
        let left = planned.n - job.begun_tasks;
        if left > 0 && !job.halted && self.stopping.is_none() {
            waits.push(Wait::Window { job: name(), n: left, window: planned.window });
        }
    }
}
