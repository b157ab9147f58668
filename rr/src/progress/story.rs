//! A run as it is told: the fold of its decisions, and what people ask of it that the fold does not keep.

use std::collections::BTreeMap;
use std::fmt;

use rr_core::{History, Plan};
use rr_schemas::{
    decision::{Event, Record},
    host,
    id::RunId,
    offer::Target,
    report::{Outcome, Output},
    retry::Carried,
    view::{JobView, RunView},
};

use crate::text::{escape, first_few, outcome_words};

/// Attempts whose output was cut that are named one by one.
const TRUNCATIONS_MAX: usize = 10;

/// The fold, and who is in trouble.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    history: History,
    jobs: Vec<JobStory>,
    /// Attempts that wrote more than was kept, by task and attempt.
    cut: BTreeMap<(u32, u32), Output>,
    /// Who asked to stop it first, and why.
    cancelled: Option<(String, Option<String>)>,
}

/// What the fold does not keep of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobStory {
    /// Tasks that succeeded.
    ok: u32,
    /// Tasks that were handed out at all.
    offered: u32,
    /// Tasks whose last attempt did not succeed, by index.
    pub(crate) trouble: BTreeMap<u32, Trouble>,
}

/// How the last attempt of a task ended badly.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trouble {
    /// Which attempt.
    pub(crate) attempt: u32,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How it ended, in words.
    pub(crate) words: String,
}

/// The numbers of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tally {
    /// Tasks.
    pub(crate) targets: u32,
    /// How many must succeed.
    pub(crate) needed: u32,
    /// How many did.
    pub(crate) ok: u32,
    /// How many ended otherwise, the unreachable ones not counted.
    pub(crate) failed: u32,
    /// How many nobody served.
    pub(crate) unreachable: u32,
    /// How many never started.
    pub(crate) not_started: u32,
}

impl From<&JobView> for Tally {
    fn from(job: &JobView) -> Self {
        let JobView { targets, needed, ok, failed, unreachable, not_started, .. } = *job;
        Self { targets, needed, ok, failed, unreachable, not_started }
    }
}

/// `7 ok of 10, needed 8, 3 failed`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ok of {}, needed {}", self.ok, self.targets, self.needed)?;
        for (n, word) in [(self.failed, "failed"), (self.unreachable, "unreachable"), (self.not_started, "not started")]
        {
            if n > 0 {
                write!(f, ", {n} {word}")?;
            }
        }
        Ok(())
    }
}

impl Story {
    /// A run of which nothing is known yet.
    pub(crate) fn new(run: RunId) -> Self {
        Self { history: History::new(run), jobs: Vec::new(), cut: BTreeMap::new(), cancelled: None }
    }

    /// Who asked to stop the run, and why, in words: `ann@host asked to stop it: wrong version`.
    pub(crate) fn cancelled_by(&self) -> Option<String> {
        let (by, reason) = self.cancelled.as_ref()?;
        let shown = |text: &str| escape(text.as_bytes());
        let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {}", shown(reason)));
        Some(format!("{} asked to stop it{reason}", shown(by)))
    }

    /// Folds a record in; one that is no history of ours changes nothing and says why.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), String> {
        self.history.apply(record).map_err(|error| error.to_string())?;
        if let Event::CancelRequested { by, reason } = &record.event {
            self.cancelled.get_or_insert_with(|| (by.clone(), reason.clone()));
        }
        if let Event::Submitted { retry_of, .. } = &record.event {
            self.jobs = vec![JobStory::default(); self.plan().map_or(0, |plan| plan.jobs().len())];
            if let Some(carried) = retry_of {
                self.carry(carried);
            }
        }
        match &record.event {
            Event::Offered { job, tasks, attempt, offer } => {
                if let Some(index) = self.plan().and_then(|plan| plan.job_named(job))
                    && let Some(story) = self.jobs.get_mut(index)
                {
                    if (*attempt, *offer) == (1, 1) {
                        story.offered += u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                    }
                    for task in tasks.iter() {
                        story.trouble.remove(&task);
                    }
                }
            }
            Event::Ended { task, attempt, end, again, .. } => {
                if end.output.dropped_bytes > 0 {
                    self.cut.insert((*task, *attempt), end.output);
                }
                if let Some(story) = self.job_of_mut(*task) {
                    if end.outcome == Outcome::Ok {
                        story.ok += 1;
                        story.trouble.remove(task);
                    } else if again.is_none() {
                        let words = outcome_words(end.outcome, end.exit_code, end.signal, end.reason.as_deref());
                        story.trouble.insert(*task, Trouble { attempt: *attempt, outcome: end.outcome, words });
                    }
                }
            }
            Event::Submitted { .. }
            | Event::Rejected { .. }
            | Event::Started { .. }
            | Event::Extended { .. }
            | Event::Held { .. }
            | Event::Returned { .. }
            | Event::Late { .. }
            | Event::Signalled { .. }
            | Event::CancelRequested { .. }
            | Event::DeadlinePassed {}
            | Event::JobEnded { .. }
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => {}
        }
        Ok(())
    }

    /// Counts what was over before the run began.
    fn carry(&mut self, carried: &Carried) {
        for (outcome, tasks) in &carried.tasks {
            for task in tasks.iter() {
                let Some(story) = self.job_of_mut(task) else { continue };
                story.offered += 1;
                if *outcome == Outcome::Ok {
                    story.ok += 1;
                } else {
                    let words = format!("{}, carried over", outcome.word());
                    story.trouble.insert(task, Trouble { attempt: 0, outcome: *outcome, words });
                }
            }
        }
    }

    /// The fold.
    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    /// The plan, once the run was submitted and not rejected.
    pub(crate) const fn plan(&self) -> Option<&Plan> {
        self.history.run().plan()
    }

    /// The run without its tasks.
    pub(crate) fn outline(&self) -> RunView {
        self.history.run().view()
    }

    /// What is kept of each job, in the order of the flow.
    pub(crate) fn jobs(&self) -> &[JobStory] {
        &self.jobs
    }

    /// The numbers of a job at its end, without a look at any other job.
    pub(crate) fn tally(&self, job: usize) -> Option<Tally> {
        let (planned, story) = (self.plan()?.jobs().get(job)?, self.jobs.get(job)?);
        let n = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let unreachable = n(story.trouble.values().filter(|trouble| trouble.outcome == Outcome::Unreachable).count());
        Some(Tally {
            targets: planned.n,
            needed: planned.needed,
            ok: story.ok,
            failed: n(story.trouble.len()) - unreachable,
            unreachable,
            not_started: planned.n.saturating_sub(story.offered),
        })
    }

    /// What is missing of the output, in words: `pkg1 db3: output truncated: kept 8388608 of 1073741824 bytes`.
    pub(crate) fn truncations(&self, is_wanted: impl Fn(u32, u32) -> bool) -> Vec<String> {
        let wanted = || self.cut.iter().filter(|((task, attempt), _)| is_wanted(*task, *attempt));
        let mut words: Vec<String> = wanted()
            .take(TRUNCATIONS_MAX)
            .map(|((task, _), output)| {
                let total = output.stdout_bytes.saturating_add(output.stderr_bytes);
                let kept = total.saturating_sub(output.dropped_bytes);
                let job = self.job_name(*task).unwrap_or("?");
                format!("{job} {}: output truncated: kept {kept} of {total} bytes", self.place(*task))
            })
            .collect();
        let more = wanted().count().saturating_sub(TRUNCATIONS_MAX);
        if more > 0 {
            words.push(format!("output of {more} more attempts truncated"));
        }
        words
    }

    /// The job that a task belongs to.
    pub(crate) fn job_name(&self, task: u32) -> Option<&str> {
        let plan = self.plan()?;
        plan.jobs().get(plan.job_of(task)?).map(|job| job.name.as_str())
    }

    /// Where a task runs, in words: its host, or its queue.
    pub(crate) fn place(&self, task: u32) -> String {
        match self.plan().and_then(|plan| plan.target(task)) {
            Some(Target::Host(host)) => host.to_string(),
            Some(Target::Queue(queue)) => format!("queue {queue}"),
            Some(Target::Worker(worker)) => format!("worker {worker}"),
            None => format!("task {task}"),
        }
    }

    /// Where some tasks of one job run, hosts folded.
    pub(crate) fn places(&self, tasks: impl IntoIterator<Item = u32>) -> String {
        let Some(plan) = self.plan() else { return String::new() };
        let (mut hosts, mut others) = (Vec::new(), Vec::new());
        for target in tasks.into_iter().filter_map(|task| plan.target(task)) {
            match target {
                Target::Host(host) => hosts.push(host),
                Target::Queue(queue) => others.push(format!("queue {queue}")),
                Target::Worker(worker) => others.push(format!("worker {worker}")),
            }
        }
        if hosts.is_empty() { first_few(others) } else { host::fold(&hosts) }
    }

    fn job_of_mut(&mut self, task: u32) -> Option<&mut JobStory> {
        let index = self.plan()?.job_of(task)?;
        self.jobs.get_mut(index)
    }
}
