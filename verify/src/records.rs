//! The events of a run by themselves.

mod conserved;
mod gate;
mod job;
mod next;
mod shares;
mod shown;
mod stop;
mod taken;
mod tally;
mod task;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_core::{History, Plan, Policy, plan::PlannedJob};
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::{parallelism::Parallelism, unreachable::OnUnreachable},
    id::RunId,
    name::Name,
    ranges::Ranges,
    report::{Ended, Outcome},
    retry::Carried,
};

use crate::{Findings, Rule, Violation};
use gate::Signals;
use next::Next;
pub(crate) use shares::size;
use shares::wave;
pub(crate) use stop::limit_of;
pub(crate) use taken::taken_over_in_vain;
use tally::Tally;
use task::{Task, TaskEnd};

/// Whether a run is to have ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// It is over: its end is judged, too.
    Over,
    /// It goes on, or nobody knows.
    SoFar,
}

/// Everything that is wrong with the events of a run that has ended, judged one by one and in the end as a whole.
/// `policy` is the coordinators' own, for what flows do not say.
pub fn judge(run: &RunId, log: &[Record], policy: &Policy) -> Vec<Violation> {
    judge_extent(run, log, policy, Extent::Over)
}

/// The same for a run that need not have ended.
pub fn judge_extent(run: &RunId, log: &[Record], policy: &Policy, extent: Extent) -> Vec<Violation> {
    let is_aside = |record: &&Record| matches!(record.event, Event::PutAside { .. });
    let log = log.get(log.iter().take_while(is_aside).count()..).unwrap_or_default();
    let (plan, carried) = match log.first().map(|record| &record.event) {
        Some(Event::Submitted { flow, params, found, retry_of, .. }) => {
            (Plan::of_accepted(flow, params, found).ok(), retry_of.as_deref())
        }
        Some(Event::Rejected { .. }) => return rejected(log),
        Some(_) | None => (None, None),
    };
    let Some(plan) = plan else {
        let text = "the history does not begin with a run that can be planned".to_owned();
        return vec![Violation { rule: Rule::Chain, at: 0, text }];
    };
    let mut judge = Judge::new(run, &plan, carried, log, policy);
    for record in log.iter().skip(1) {
        judge.check(record);
        judge.fold(record);
    }
    judge.check_time(log);
    judge.check_end(log, extent);
    judge.findings.0
}

fn rejected(log: &[Record]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let only = log.iter().skip(1).all(|record| matches!(record.event, Event::Late { .. } | Event::PutAside { .. }));
    findings.demand(only, Rule::End, 0, || "something happens to a run that was rejected".into());
    findings.0
}

/// Whether all of these are tasks that the plan has. What has more of them than that is not even looked through: a few bytes
/// can name four billion.
pub(crate) fn within(plan: &Plan, tasks: &Ranges) -> bool {
    tasks.iter_ranges().last().is_none_or(|last| *last.end() < plan.n_tasks())
}

/// Whether those of a job that nobody serves do not count.
fn skips(plan: &Plan, index: usize) -> bool {
    plan.jobs().get(index).is_some_and(|planned| planned.job.on_unreachable == Some(OnUnreachable::Skip))
}

struct Judge<'p> {
    plan: &'p Plan,
    policy: &'p Policy,
    tasks: BTreeMap<u32, Task>,
    /// Per job, its tasks counted, so that an event costs no look at each of them.
    tallies: Vec<Tally>,
    /// Jobs whose needs were looked at.
    begun: BTreeSet<usize>,
    signals: Signals,
    /// When the run was submitted.
    began: Option<Timestamp>,
    /// When its time is over.
    limit: Option<Timestamp>,
    ended_jobs: BTreeMap<usize, JobStatus>,
    /// What the run must end as, once it is being stopped.
    stopped: Option<RunStatus>,
    findings: Findings,
    /// The fold of what was judged, up to an event that cannot be, and what is wrong with that.
    history: History,
    illegal: Option<(u64, String)>,
}

impl<'p> Judge<'p> {
    /// Before the first event behind the one that submits the run.
    fn new(run: &RunId, plan: &'p Plan, carried: Option<&Carried>, log: &[Record], policy: &'p Policy) -> Self {
        let began = log.first().map(|record| record.at);
        let mut judge = Self {
            plan,
            policy,
            tallies: vec![Tally::default(); plan.jobs().len()],
            tasks: BTreeMap::new(),
            begun: BTreeSet::new(),
            signals: Signals::taken_over(carried.map(|carried| carried.signals.clone()).unwrap_or_default()),
            began,
            limit: began.and_then(|began| limit_of(plan, began)),
            ended_jobs: BTreeMap::new(),
            stopped: None,
            findings: Findings::default(),
            history: History::new(run.clone()),
            illegal: None,
        };
        for (outcome, tasks) in carried.into_iter().flat_map(|carried| &carried.tasks) {
            let fits = within(plan, tasks);
            judge.findings.demand(fits, Rule::Count, log.first().map_or(0, |first| first.cause), || {
                format!("tasks are taken over, and there are only {}", plan.n_tasks())
            });
            // What was taken over is over, and must never be handed out.
            for task in tasks.iter().take_while(|_| fits) {
                judge.change(task, |task| *task = Task::carried(*outcome));
            }
        }
        if let Some(first) = log.first() {
            judge.fold(first);
        }
        judge
    }

    fn check(&mut self, record: &Record) {
        let at = record.cause;
        self.check_in_time(record);
        match &record.event {
            Event::Offered { job, tasks, attempt, offer } => {
                let Some((index, planned)) = self.job(job) else { return self.no_such_job(at, job) };
                if !within(self.plan, tasks) {
                    let n = self.plan.n_tasks();
                    return self
                        .findings
                        .demand(false, Rule::Count, at, || format!("tasks are offered, and there are only {n}"));
                }
                self.check_may_start(at, index, planned);
                for task in tasks.iter() {
                    self.check_offer(record, index, task, *attempt, *offer);
                }
                self.check_window(at, index, planned);
            }
            Event::Started { task, attempt, .. } | Event::Held { task, attempt } => {
                let is_open = self.tasks.get(task).is_some_and(|task| task.is_open(*attempt));
                self.findings
                    .demand(is_open, Rule::Count, at, || format!("task {task} runs an attempt that is not open"));
            }
            Event::Returned { task, attempt, offer, .. } => {
                let is_open = self.tasks.get(task).is_some_and(|task| task.is_offered(*attempt, *offer));
                self.findings
                    .demand(is_open, Rule::Returned, at, || format!("offer {offer} of task {task} is not there"));
            }
            Event::Ended { task, attempt, end, again, .. } => {
                self.check_outcome(at, *task, end);
                self.check_ended(at, *task, TaskEnd { at: record.at, attempt: *attempt, end, again: *again });
            }
            Event::JobEnded { job, status } => {
                let Some((index, planned)) = self.job(job) else { return self.no_such_job(at, job) };
                let first = self.ended_jobs.insert(index, *status).is_none();
                self.findings.demand(first, Rule::DecidedOnce, at, || format!("job {job} ends a second time"));
                match &planned.job.signal {
                    Some(signal) => self.check_gate(record, index, signal, *status),
                    None => self.check_job(at, index, planned, *status),
                }
            }
            Event::Signalled { signal, .. } => self.check_signal(at, signal),
            Event::CancelRequested { .. } => self.stop(at, RunStatus::Cancelled),
            Event::DeadlinePassed {} => self.check_out_of_time(record),
            Event::Submitted { .. } | Event::Rejected { .. } => {
                self.findings.demand(false, Rule::Chain, at, || "the run comes into being a second time".into());
            }
            Event::Extended { .. } | Event::Late { .. } | Event::RunEnded { .. } | Event::PutAside { .. } => {}
        }
    }

    fn check_may_start(&mut self, at: u64, index: usize, planned: &PlannedJob) {
        let stopped = self.stopped.is_some();
        self.findings.demand(!stopped, Rule::Stop, at, || format!("{} is offered in a stopped run", planned.name));
        let over = self.ended_jobs.contains_key(&index);
        self.findings.demand(!over, Rule::Order, at, || format!("{} is offered after its end", planned.name));
        // What has succeeded stays so, or a job ends twice.
        if self.begun.insert(index) {
            self.check_needs(at, planned);
        }
    }

    /// Whatever the job needs has succeeded.
    fn check_needs(&mut self, at: u64, planned: &PlannedJob) {
        for (other, needed) in self.plan.jobs().iter().enumerate() {
            let by_slot = matches!((planned.slot, needed.slot), (Some(slot), Some(before)) if before < slot);
            if by_slot || planned.job.needs.contains(&needed.name) {
                let met = self.ended_jobs.get(&other) == Some(&JobStatus::Succeeded);
                let text = || format!("{} starts before {} has succeeded", planned.name, needed.name);
                self.findings.demand(met, Rule::Order, at, text);
            }
        }
    }

    fn check_offer(&mut self, record: &Record, index: usize, number: u32, attempt: u32, offer: u32) {
        let at = record.cause;
        let belongs = self.plan.job_of(number) == Some(index);
        self.findings.demand(belongs, Rule::Count, at, || format!("task {number} is offered for a foreign job"));
        let hopeless = self.is_given_up(index);
        let task = self.tasks.get(&number).copied().unwrap_or_default();
        let again = offer > 1;
        self.findings.demand(again || !hopeless, Rule::Threshold, at, || format!("task {number} starts in vain"));
        let counts = task.may_be_offered(attempt, offer);
        self.findings.demand(counts, Rule::Count, at, || {
            format!("task {number} is offered as attempt {attempt}, offer {offer}, after {task:?}")
        });
        let waited = again || task.due.is_none_or(|due| due <= record.at);
        self.findings.demand(waited, Rule::Retry, at, || format!("task {number} is offered before its wait is over"));
        self.change(number, |task| task.offered(attempt, offer));
    }

    /// Tasks that are open or between attempts never outnumber the window; waves do not overlap.
    fn check_window(&mut self, at: u64, index: usize, planned: &PlannedJob) {
        if !(planned.job.waves || matches!(planned.job.parallelism, Parallelism::Waves(_))) {
            let (busy, window) = (self.tally(index).busy, size(planned, planned.job.parallelism.quotas().first()));
            let text = || format!("{} has {busy} tasks under way, its window is {window}", planned.name);
            return self.findings.demand(busy <= window, Rule::Window, at, text);
        }
        // Waves are made of what runs; what was taken over has no place in them.
        let mut n_carried = 0;
        let mut busy: Vec<u32> = Vec::new();
        for (number, task) in self.of(planned) {
            n_carried += u32::from(task.is_carried());
            if task.is_busy() {
                busy.push(*number - planned.first - n_carried);
            }
        }
        let waves: BTreeMap<u32, u32> = busy.iter().map(|offset| wave(planned, *offset)).collect();
        let window = waves.values().copied().max().unwrap_or(0);
        let fits = u32::try_from(busy.len()).is_ok_and(|n| n <= window);
        let text = || format!("{} has {} tasks under way, its wave has {window}", planned.name, busy.len());
        self.findings.demand(fits, Rule::Window, at, text);
        self.findings.demand(waves.len() <= 1, Rule::Window, at, || format!("waves of {} overlap", planned.name));
    }

    /// What an exit code and a signal say, the outcome says too.
    fn check_outcome(&mut self, at: u64, number: u32, end: &Ended) {
        let fits = match end.outcome {
            Outcome::Ok => end.signal.is_none() && end.exit_code.is_none_or(|code| code == 0),
            Outcome::Failed => end.exit_code != Some(0),
            Outcome::Unreachable | Outcome::Refused => end.exit_code.is_none() && end.signal.is_none(),
            Outcome::Timeout | Outcome::Lost | Outcome::Cancelled => true,
        };
        self.findings.demand(fits, Rule::Outcome, at, || {
            let (code, signal) = (end.exit_code, end.signal);
            format!("task {number} ends {} with exit code {code:?} and signal {signal:?}", end.outcome.word())
        });
    }

    fn check_ended(&mut self, at: u64, number: u32, end: TaskEnd<'_>) {
        let index = self.plan.job_of(number);
        let Some((index, planned)) = index.and_then(|index| Some((index, self.plan.jobs().get(index)?))) else {
            return self.findings.demand(false, Rule::Count, at, || format!("task {number} ends and is none"));
        };
        let open = self.tasks.get(&number).is_some_and(|task| task.is_open(end.attempt));
        self.findings.demand(open, Rule::DecidedOnce, at, || {
            format!("attempt {} of task {number} ends and is not open", end.attempt)
        });
        let is_given_up = self.is_given_up(index);
        self.change(number, |task| task.ended(end));
        let task = self.tasks.get(&number).copied().unwrap_or_default();
        let next = if self.stopped.is_some() {
            Next::Nothing("another attempt follows in a run that is being stopped")
        } else if is_given_up {
            Next::Nothing("another attempt follows in a job that cannot succeed any more")
        } else {
            Next::after(&task, end.end, &planned.job, self.policy.losses_max)
        };
        if let Some(wrong) = next.wrong(end) {
            self.findings.demand(false, Rule::Retry, at, || format!("task {number}: {wrong}"));
        }
    }

    fn check_time(&mut self, log: &[Record]) {
        for pair in log.windows(2) {
            let [before, after] = pair else { continue };
            let rises = before.at <= after.at && before.cause <= after.cause;
            self.findings.demand(rises, Rule::Time, after.cause, || "an event stands before its cause".into());
        }
    }

    fn check_end(&mut self, log: &[Record], extent: Extent) {
        let is_end = |record: &&Record| matches!(record.event, Event::RunEnded { .. });
        let ends = log.iter().filter(is_end).count();
        let right = ends == 1 || (extent == Extent::SoFar && ends == 0);
        self.findings.demand(right, Rule::End, 0, || format!("the run ends {ends} times"));
        let after = log.iter().skip_while(|record| !is_end(record)).skip(1);
        let mut loud = after.filter(|record| !matches!(record.event, Event::Late { .. } | Event::PutAside { .. }));
        let loud = loud.next().map(|record| record.cause);
        self.findings.demand(loud.is_none(), Rule::End, loud.unwrap_or(0), || {
            "something but late reports follows the end".into()
        });
        if let Some((cause, error)) = self.illegal.take() {
            // Mostly another rule has said why.
            let first = self.findings.0.is_empty();
            return self.findings.demand(!first, Rule::Chain, cause, || error);
        }
        let view = self.history.view();
        self.check_counts(&view.jobs);
        if ends == 0 {
            return;
        }
        self.check_accounts(&view.jobs);
        let all_good = view.jobs.iter().all(|job| job.status == JobStatus::Succeeded);
        let right = match view.status {
            RunStatus::Succeeded => all_good && self.stopped.is_none(),
            RunStatus::Failed => !all_good && self.stopped.is_none(),
            status @ (RunStatus::Cancelled | RunStatus::TimedOut) => self.stopped == Some(status),
            RunStatus::Queued | RunStatus::Running | RunStatus::Rejected => false,
        };
        self.findings.demand(right, Rule::End, 0, || format!("the run ends as {}", view.status.word()));
    }

    fn no_such_job(&mut self, at: u64, job: &Name) {
        self.findings.demand(false, Rule::Chain, at, || format!("there is no job {job}"));
    }

    fn job(&self, name: &Name) -> Option<(usize, &'p PlannedJob)> {
        let index = self.plan.job_named(name)?;
        Some((index, self.plan.jobs().get(index)?))
    }

    fn tally(&self, index: usize) -> Tally {
        self.tallies.get(index).copied().unwrap_or_default()
    }

    /// Changes a task, and what is counted of its job.
    fn change(&mut self, number: u32, change: impl FnOnce(&mut Task)) {
        let before = self.tasks.get(&number).copied();
        let mut after = before.unwrap_or_default();
        change(&mut after);
        self.tasks.insert(number, after);
        let Some(index) = self.plan.job_of(number) else { return };
        let skips = skips(self.plan, index);
        if let Some(tally) = self.tallies.get_mut(index) {
            tally.change(before, after, skips);
        }
    }

    fn of(&self, planned: &PlannedJob) -> impl Iterator<Item = (&u32, &Task)> {
        self.tasks.range(planned.first..planned.first.saturating_add(planned.n))
    }
}
