//! What runs at once, counted against the windows of jobs.
//!
//! Whoever knows when attempts begin and end, in whatever order they are sure of, tells it here one after the other; a step
//! costs a logarithm, however many tasks a job has.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::{Plan, plan::PlannedJob};
use rr_schemas::{
    flow::parallelism::Parallelism,
    input::Holder,
    name::WorkerName,
    ranges::Ranges,
    report::{Ended, Outcome},
    retry::Carried,
};

use crate::records::{size, within};

/// Whether an attempt that is decided so may run on at a worker for all that was decided: the worker has not said itself how
/// it ended, or has said that it does not know.
pub fn may_run_on(worker: &WorkerName, by: Option<&Holder>, end: &Ended) -> bool {
    by.is_none_or(|by| by.worker != *worker) || matches!(end.outcome, Outcome::Lost | Outcome::Unreachable)
}

/// The attempts of a run that run now.
#[derive(Clone, Debug)]
pub struct AtOnce {
    jobs: Vec<Job>,
    /// By task and number, at how many places each runs.
    running: BTreeMap<(u32, u32), u32>,
}

#[derive(Clone, Debug)]
struct Job {
    window: Window,
    /// Attempts that run, by the wave of their tasks; all are of wave 0 where there are none.
    running: BTreeMap<u32, u32>,
    /// All of them.
    n: u32,
}

#[derive(Clone, Debug)]
enum Window {
    /// So many at a time.
    Sliding(u32),
    /// Of each task the number of its wave and the size of that.
    Waves(Vec<(u32, u32)>),
}

impl AtOnce {
    /// Nothing runs yet, of a run that has taken this over.
    pub fn new(plan: &Plan, carried: Option<&Carried>) -> Self {
        let over: BTreeSet<u32> = carried
            .into_iter()
            .flat_map(|carried| carried.tasks.values())
            .filter(|tasks| within(plan, tasks))
            .flat_map(Ranges::iter)
            .collect();
        let job = |planned| Job { window: Window::of(planned, &over), running: BTreeMap::new(), n: 0 };
        Self { jobs: plan.jobs().iter().map(job).collect(), running: BTreeMap::new() }
    }

    /// An attempt begins at some place. What is too much, where more of its job run then than may.
    ///
    /// An attempt that runs at two places counts once: after faults two workers may have it, and that is told elsewhere.
    pub fn begins(&mut self, plan: &Plan, (task, attempt): (u32, u32)) -> Option<String> {
        plan.job_of(task)?;
        let places = self.running.entry((task, attempt)).or_default();
        *places += 1;
        if *places > 1 {
            return None;
        }
        let (job, planned) = self.job(plan, task)?;
        let (wave, window) = job.window.wave_of(task - planned.first);
        *job.running.entry(wave).or_default() += 1;
        job.n += 1;
        let n = job.n;
        if job.running.len() > 1 {
            return Some(format!("{n} attempts of {}, of more than one wave, run at once", planned.name));
        }
        (n > window).then(|| format!("{n} attempts of {} run at once, and {window} may", planned.name))
    }

    /// An attempt ends at a place.
    pub fn ends(&mut self, plan: &Plan, (task, attempt): (u32, u32)) {
        let Some(places) = self.running.get_mut(&(task, attempt)) else { return };
        *places -= 1;
        if *places > 0 {
            return;
        }
        self.running.remove(&(task, attempt));
        let Some((job, planned)) = self.job(plan, task) else { return };
        let (wave, _) = job.window.wave_of(task - planned.first);
        job.n = job.n.saturating_sub(1);
        if let Some(n) = job.running.get_mut(&wave) {
            *n -= 1;
            if *n == 0 {
                job.running.remove(&wave);
            }
        }
    }

    fn job<'p>(&mut self, plan: &'p Plan, task: u32) -> Option<(&mut Job, &'p PlannedJob)> {
        let index = plan.job_of(task)?;
        Some((self.jobs.get_mut(index)?, plan.jobs().get(index)?))
    }
}

impl Window {
    /// Waves are made of what runs; what was taken over has no place in them.
    fn of(planned: &PlannedJob, over: &BTreeSet<u32>) -> Self {
        let quotas = planned.job.parallelism.quotas();
        let is_in_waves = planned.job.waves || matches!(planned.job.parallelism, Parallelism::Waves(_));
        if !is_in_waves {
            return Self::Sliding(size(planned, quotas.first()));
        }
        let size_of = |wave: u32| size(planned, quotas.get(wave as usize).or_else(|| quotas.last()));
        let (mut wave, mut left) = (0, size_of(0));
        let mut waves = Vec::new();
        for task in (planned.first..).take(planned.n as usize) {
            if left == 0 {
                wave += 1;
                left = size_of(wave);
            }
            waves.push((wave, size_of(wave)));
            left -= u32::from(!over.contains(&task));
        }
        Self::Waves(waves)
    }

    /// The wave of a task by its place in the job, and how many of that may run at once.
    fn wave_of(&self, offset: u32) -> (u32, u32) {
        match self {
            Self::Sliding(window) => (0, *window),
            Self::Waves(waves) => waves.get(offset as usize).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rr_schemas::{
        flow::{Flow, params::ParamValues},
        name::InstanceId,
    };

    use super::*;

    fn plan(parallelism: &str) -> Plan {
        let flow = format!(
            r#"{{"name":"f","jobs":[{{"name":"a","run":["x"],"hosts":"h[1-6]",{parallelism}}},{{"name":"b","run":["x"],"hosts":"h1"}}]}}"#
        );
        Plan::new(&serde_json::from_str::<Flow>(&flow).unwrap(), &ParamValues::default()).unwrap()
    }

    /// Begins what is positive and ends what is negative, task numbers from 1, and says at which steps it was too much.
    fn too_much(parallelism: &str, over: &str, steps: &[i32]) -> Vec<usize> {
        let plan = plan(parallelism);
        let tasks = if over.is_empty() { BTreeMap::new() } else { [(Outcome::Ok, over.parse().unwrap())].into() };
        let carried = Carried { run: "r0".parse().unwrap(), tasks, signals: BTreeSet::new() };
        let mut at_once = AtOnce::new(&plan, Some(&carried));
        let mut wrong = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let key = (step.unsigned_abs() - 1, 1);
            if *step < 0 {
                at_once.ends(&plan, key);
            } else if at_once.begins(&plan, key).is_some() {
                wrong.push(index);
            }
        }
        wrong
    }

    #[test]
    fn what_runs_at_once_keeps_its_window() {
        let nothing: Vec<usize> = Vec::new();
        for (what, parallelism, over, steps, wrong) in [
            ("as many as may", r#""parallelism":2"#, "", &[1, 2, -1, 3, -2, 4][..], nothing.clone()),
            ("one more", r#""parallelism":2"#, "", &[1, 2, 3, -1, -2, 4, 5], vec![2, 6]),
            ("another job", r#""parallelism":1"#, "", &[1, 7], nothing.clone()),
            ("one at two places", r#""parallelism":2"#, "", &[1, 1, 2, -1, 3], vec![4]),
            ("one that was at two places", r#""parallelism":2"#, "", &[1, 1, 2, -1, -1, 3], nothing.clone()),
            ("a share, rounded down", r#""parallelism":"40%""#, "", &[1, 2, 3], vec![2]),
            ("a share of nothing", r#""parallelism":"1%""#, "", &[1, 2], vec![1]),
            ("waves", r#""parallelism":2,"waves":true"#, "", &[1, 2, -1, -2, 3, 4], nothing.clone()),
            ("waves that overlap", r#""parallelism":2,"waves":true"#, "", &[1, 2, -1, 3], vec![3]),
            ("waves that grow", r#""parallelism":[1,2,3]"#, "", &[1, -1, 2, 3, -2, -3, 4, 5, 6], nothing.clone()),
            ("the first of them too large", r#""parallelism":[1,2,3]"#, "", &[1, 2], vec![1]),
            (
                "waves without what was over",
                r#""parallelism":2,"waves":true"#,
                "0-1",
                &[3, 4, -3, -4, 5, 6],
                nothing.clone(),
            ),
            ("waves across what was over", r#""parallelism":2,"waves":true"#, "1-2", &[1, 4, -1, 5], vec![3]),
            ("what never began ends", r#""parallelism":1"#, "", &[-1, 1, -1, -1, 2], nothing),
        ] {
            assert_eq!(too_much(parallelism, over, steps), wrong, "{what}");
        }
    }

    #[test]
    fn who_has_said_how_it_ended_does_not_run_on() {
        let worker = |name: &str| name.parse::<WorkerName>().unwrap();
        let by = |name: &str| Holder { worker: worker(name), instance: "i".parse::<InstanceId>().unwrap() };
        for (who, outcome, runs_on) in [
            (Some("w1"), Outcome::Ok, false),
            (Some("w1"), Outcome::Timeout, false),
            (Some("w1"), Outcome::Cancelled, false),
            (Some("w1"), Outcome::Refused, false),
            (Some("w1"), Outcome::Lost, true),
            (Some("w2"), Outcome::Ok, true),
            (None, Outcome::Cancelled, true),
            (None, Outcome::Unreachable, true),
        ] {
            let end = Ended {
                outcome,
                exit_code: None,
                signal: None,
                reason: None,
                started_at: None,
                ended_at: None,
                output: rr_schemas::report::Output::default(),
            };
            assert_eq!(may_run_on(&worker("w1"), who.map(by).as_ref(), &end), runs_on, "{who:?} {outcome:?}");
        }
    }
}
