//! The events of a run by themselves.

mod gate;
mod task;

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_core::{History, Plan, Policy, plan::PlannedJob};
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::{parallelism::Parallelism, unreachable::OnUnreachable},
    id::RunId,
    name::Name,
    quota::Quota,
    report::Outcome,
    view::{JobView, TaskStatus},
};

use crate::{Findings, Rule, Violation};
use gate::Signals;
use task::{Task, TaskEnd};

/// Everything that is wrong with the events of a run that has ended, judged one by one and in the end as a whole.
/// `policy` is the coordinators' own, for what flows do not say.
pub fn judge(run: &RunId, log: &[Record], policy: &Policy) -> Vec<Violation> {
    let mut findings = Findings::default();
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
        findings.demand(false, Rule::Chain, 0, || "the history does not begin with a run that can be planned".into());
        return findings.0;
    };
    // What was taken over is over, and must never be handed out.
    let tasks = carried.into_iter().flat_map(|carried| &carried.tasks);
    let tasks = tasks.flat_map(|(outcome, tasks)| tasks.iter().map(|task| (task, Task::carried(*outcome))));
    let tasks = tasks.collect();
    let mut judge = Judge {
        plan: &plan,
        policy,
        tasks,
        signals: Signals::taken_over(carried.map(|carried| carried.signals.clone()).unwrap_or_default()),
        began: log.first().map(|record| record.at),
        ended_jobs: BTreeMap::new(),
        stopped: false,
        findings,
    };
    for record in log.iter().skip(1) {
        judge.check(record);
    }
    judge.check_time(log);
    judge.check_end(run, log);
    judge.findings.0
}

fn rejected(log: &[Record]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let only = log.iter().skip(1).all(|record| matches!(record.event, Event::Late { .. } | Event::PutAside { .. }));
    findings.demand(only, Rule::End, 0, || "something happens to a run that was rejected".into());
    findings.0
}

struct Judge<'p> {
    plan: &'p Plan,
    policy: &'p Policy,
    tasks: BTreeMap<u32, Task>,
    signals: Signals,
    /// When the run was submitted.
    began: Option<Timestamp>,
    ended_jobs: BTreeMap<usize, JobStatus>,
    stopped: bool,
    findings: Findings,
}

impl<'p> Judge<'p> {
    fn check(&mut self, record: &Record) {
        let at = record.cause;
        match &record.event {
            Event::Offered { job, tasks, attempt, offer } => {
                let Some((index, planned)) = self.job(job) else { return self.no_such_job(at, job) };
                self.check_may_start(at, index, planned);
                for task in tasks.iter() {
                    self.check_offer(record, index, task, *attempt, *offer);
                }
                self.check_window(at, planned);
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
                let end = TaskEnd { at: record.at, attempt: *attempt, outcome: end.outcome, again: *again };
                self.check_ended(at, *task, end);
            }
            Event::JobEnded { job, status } => {
                let Some((index, planned)) = self.job(job) else { return self.no_such_job(at, job) };
                let first = self.ended_jobs.insert(index, *status).is_none();
                self.findings.demand(first, Rule::DecidedOnce, at, || format!("job {job} ends a second time"));
                match &planned.job.signal {
                    Some(signal) => self.check_gate(record, index, signal, *status),
                    None => self.check_job(at, planned, *status),
                }
            }
            Event::Signalled { signal, .. } => self.check_signal(at, signal),
            Event::CancelRequested { .. } | Event::DeadlinePassed {} => {
                let first = !std::mem::replace(&mut self.stopped, true);
                self.findings.demand(first, Rule::Stop, at, || "the run is stopped a second time".into());
            }
            Event::Submitted { .. } | Event::Rejected { .. } => {
                self.findings.demand(false, Rule::Chain, at, || "the run comes into being a second time".into());
            }
            Event::Extended { .. } | Event::Late { .. } | Event::RunEnded { .. } | Event::PutAside { .. } => {}
        }
    }

    fn check_may_start(&mut self, at: u64, index: usize, planned: &PlannedJob) {
        let stopped = self.stopped;
        self.findings.demand(!stopped, Rule::Stop, at, || format!("{} is offered in a stopped run", planned.name));
        let over = self.ended_jobs.contains_key(&index);
        self.findings.demand(!over, Rule::Order, at, || format!("{} is offered after its end", planned.name));
        self.check_needs(at, planned);
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
        let Some(planned) = self.plan.jobs().get(index) else { return };
        let left = planned.n - self.skipped(planned) - self.bad(planned);
        let hopeless = planned.job.fail_fast && left < self.needed(planned);
        let task = self.tasks.entry(number).or_default();
        let again = offer > 1;
        self.findings.demand(again || !hopeless, Rule::Threshold, at, || format!("task {number} starts in vain"));
        let counts = task.may_be_offered(attempt, offer);
        self.findings.demand(counts, Rule::Count, at, || {
            format!("task {number} is offered as attempt {attempt}, offer {offer}, after {task:?}")
        });
        let waited = again || task.due.is_none_or(|due| due <= record.at);
        self.findings.demand(waited, Rule::Retry, at, || format!("task {number} is offered before its wait is over"));
        task.offered(attempt, offer);
    }

    /// Tasks that are open or between attempts never outnumber the window; waves do not overlap.
    fn check_window(&mut self, at: u64, planned: &PlannedJob) {
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
        let is_in_waves = planned.job.waves || matches!(planned.job.parallelism, Parallelism::Waves(_));
        let sizes = waves.values().copied();
        let window = if is_in_waves {
            sizes.max().unwrap_or(0)
        } else {
            size(planned, planned.job.parallelism.quotas().first())
        };
        let fits = u32::try_from(busy.len()).is_ok_and(|n| n <= window);
        let text = || format!("{} has {} tasks under way, its window is {window}", planned.name, busy.len());
        self.findings.demand(fits, Rule::Window, at, text);
        let one = !is_in_waves || waves.len() <= 1;
        self.findings.demand(one, Rule::Window, at, || format!("waves of {} overlap", planned.name));
    }

    fn check_ended(&mut self, at: u64, number: u32, end: TaskEnd) {
        let Some(planned) = self.plan.job_of(number).and_then(|index| self.plan.jobs().get(index)) else {
            return self.findings.demand(false, Rule::Count, at, || format!("task {number} ends and is none"));
        };
        let task = self.tasks.entry(number).or_default();
        let open = task.is_open(end.attempt);
        self.findings.demand(open, Rule::DecidedOnce, at, || {
            format!("attempt {} of task {number} ends and is not open", end.attempt)
        });
        task.ended(end);
        if let Some(wrong) = task.wrong_retry(end, &planned.job, self.policy, self.stopped) {
            self.findings.demand(false, Rule::Retry, at, || format!("task {number}: {wrong}"));
        }
    }

    fn check_job(&mut self, at: u64, planned: &PlannedJob, status: JobStatus) {
        let name = &planned.name;
        let idle = self.of(planned).all(|(_, task)| !task.open);
        self.findings.demand(idle, Rule::End, at, || format!("{name} ends while an attempt is open"));
        let ok = self.of(planned).filter(|(_, task)| task.last == Some(Outcome::Ok) && !task.open).count();
        let enough = u32::try_from(ok).is_ok_and(|ok| ok >= self.needed(planned));
        let all = self.of(planned).count() == planned.n as usize;
        match status {
            JobStatus::Succeeded => {
                self.findings.demand(enough, Rule::Threshold, at, || format!("{name} is called good with {ok}"));
                self.findings.demand(all, Rule::Threshold, at, || format!("{name} ends before each target had a turn"));
            }
            JobStatus::Failed => {
                self.findings.demand(!enough, Rule::Threshold, at, || format!("{name} is called bad with {ok}"));
            }
            JobStatus::Cancelled => {
                let stopped = self.stopped;
                self.findings.demand(stopped, Rule::Stop, at, || format!("{name} is cancelled and nobody asked"));
            }
            JobStatus::Waiting | JobStatus::Running | JobStatus::Skipped => {
                self.findings.demand(false, Rule::End, at, || format!("{name} ends as {}", status.word()));
            }
        }
    }

    fn check_time(&mut self, log: &[Record]) {
        for pair in log.windows(2) {
            let [before, after] = pair else { continue };
            let rises = before.at <= after.at && before.cause <= after.cause;
            self.findings.demand(rises, Rule::Time, after.cause, || "an event stands before its cause".into());
        }
    }

    fn check_end(&mut self, run: &RunId, log: &[Record]) {
        let is_end = |record: &&Record| matches!(record.event, Event::RunEnded { .. });
        let ends = log.iter().filter(is_end).count();
        self.findings.demand(ends == 1, Rule::End, 0, || format!("the run ends {ends} times"));
        let after = log.iter().skip_while(|record| !is_end(record)).skip(1);
        let quiet = after.clone().all(|record| matches!(record.event, Event::Late { .. } | Event::PutAside { .. }));
        self.findings.demand(quiet, Rule::End, 0, || "something but late reports follows the end".into());
        let mut history = History::new(run.clone());
        for record in log {
            if let Err(error) = history.apply(record) {
                return self.findings.demand(false, Rule::Chain, record.cause, || error.to_string());
            }
        }
        let view = history.view();
        let all_good = view.jobs.iter().all(|job| job.status == JobStatus::Succeeded);
        let right = match view.status {
            RunStatus::Succeeded => all_good,
            RunStatus::Failed => !all_good && !self.stopped,
            RunStatus::Cancelled | RunStatus::TimedOut => self.stopped,
            RunStatus::Queued | RunStatus::Running | RunStatus::Rejected => false,
        };
        self.findings.demand(right, Rule::End, 0, || format!("the run ends as {}", view.status.word()));
        for (job, planned) in view.jobs.iter().zip(self.plan.jobs()) {
            self.check_view(job, planned);
        }
    }

    fn check_view(&mut self, job: &JobView, planned: &PlannedJob) {
        let sum = job.ok + job.failed + job.unreachable + job.not_started;
        let whole = job.status.is_final() && sum == planned.n;
        self.findings.demand(whole, Rule::Conservation, 0, || {
            format!("job {} accounts for {sum} of {} targets and is {}", job.job, planned.n, job.status.word())
        });
        for (number, view) in (planned.first..).zip(&job.tasks) {
            let ok = self.tasks.get(&number).is_some_and(|task| task.last == Some(Outcome::Ok) && !task.open);
            let same = (view.status == TaskStatus::Ok) == ok && view.status != TaskStatus::Running;
            self.findings
                .demand(same, Rule::Conservation, 0, || format!("task {number} is shown as {}", view.status.word()));
        }
    }

    fn no_such_job(&mut self, at: u64, job: &Name) {
        self.findings.demand(false, Rule::Chain, at, || format!("there is no job {job}"));
    }

    fn job(&self, name: &Name) -> Option<(usize, &'p PlannedJob)> {
        let index = self.plan.job_named(name)?;
        Some((index, self.plan.jobs().get(index)?))
    }

    fn bad(&self, planned: &PlannedJob) -> u32 {
        let over = self.of(planned).filter(|(_, task)| task.is_over() && task.last != Some(Outcome::Ok)).count();
        u32::try_from(over).unwrap_or(u32::MAX) - self.skipped(planned)
    }

    /// Targets that nobody serves, where the flow says that such ones do not count.
    fn skipped(&self, planned: &PlannedJob) -> u32 {
        if planned.job.on_unreachable != Some(OnUnreachable::Skip) {
            return 0;
        }
        let skipped = self.of(planned).filter(|(_, task)| task.is_over() && task.last == Some(Outcome::Unreachable));
        u32::try_from(skipped.count()).unwrap_or(u32::MAX)
    }

    /// How many targets must succeed: rounded up, at least one, of those that count.
    fn needed(&self, planned: &PlannedJob) -> u32 {
        match planned.job.success {
            Quota::Count(count) => count.get(),
            Quota::Percent(percent) => share(planned.n - self.skipped(planned), percent.hundredths(), 9_999).max(1),
        }
    }

    fn of(&self, planned: &PlannedJob) -> impl Iterator<Item = (&u32, &Task)> {
        self.tasks.range(planned.first..planned.first.saturating_add(planned.n))
    }
}

/// Number and size of the wave that a target belongs to, by its place in the job.
fn wave(planned: &PlannedJob, offset: u32) -> (u32, u32) {
    let quotas = planned.job.parallelism.quotas();
    let mut first = 0;
    for number in 0_u32.. {
        let quota = quotas.get(number as usize).or_else(|| quotas.last());
        let size = size(planned, quota);
        if offset < first + size {
            return (number, size);
        }
        first += size;
    }
    (0, 0)
}

/// How many may be under way at once: rounded down, at least one.
fn size(planned: &PlannedJob, quota: Option<&Quota>) -> u32 {
    let wanted = match quota {
        Some(Quota::Count(count)) => count.get(),
        Some(Quota::Percent(percent)) => share(planned.n, percent.hundredths(), 0),
        None => 0,
    };
    wanted.clamp(1, planned.n.max(1))
}

fn share(n: u32, hundredths: u32, rounding: u64) -> u32 {
    let share = (u64::from(n) * u64::from(hundredths) + rounding) / 10_000;
    u32::try_from(share).unwrap_or(u32::MAX)
}
