//! What people are shown of jobs: the fold of the core, against the count of the events.

use rr_schemas::{
    report::Outcome,
    view::{JobView, TaskStatus},
};

use super::Judge;
use crate::Rule;

impl Judge<'_> {
    /// What the fold counts is what the events say. Tasks between two attempts are given up when their job has no hope.
    pub(super) fn check_counts(&mut self, jobs: &[JobView]) {
        for (job, tally) in jobs.iter().zip(&self.tallies) {
            let shown_bad = job.failed + job.unreachable;
            let least = tally.bad + tally.skipped;
            let most = least + tally.busy - tally.open;
            let unserved = tally.unreachable + tally.skipped;
            let same = job.ok == tally.ok && (least..=most).contains(&shown_bad) && job.unreachable == unserved;
            self.findings.demand(same, Rule::Conservation, 0, || {
                format!(
                    "job {} is shown with {} ok and {shown_bad} not, of which {} unserved, and has {}, {least} and {unserved}",
                    job.job, job.ok, job.unreachable, tally.ok
                )
            });
        }
    }

    /// At the end each target of each job is accounted for, and good where its last attempt was.
    pub(super) fn check_accounts(&mut self, jobs: &[JobView]) {
        for (job, planned) in jobs.iter().zip(self.plan.jobs()) {
            let sum = job.ok + job.failed + job.unreachable + job.not_started;
            let whole = job.status.is_final() && sum == planned.n;
            self.findings.demand(whole, Rule::Conservation, 0, || {
                format!("job {} accounts for {sum} of {} targets and is {}", job.job, planned.n, job.status.word())
            });
            for (number, view) in (planned.first..).zip(&job.tasks) {
                let ok = self.tasks.get(&number).is_some_and(|task| task.last == Some(Outcome::Ok) && !task.open);
                let same = (view.status == TaskStatus::Ok) == ok && view.status != TaskStatus::Running;
                let text = || format!("task {number} is shown as {}", view.status.word());
                self.findings.demand(same, Rule::Conservation, 0, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rr_core::{History, Policy};
    use rr_schemas::{
        decision::{Event, JobStatus, Record, RunStatus},
        flow::{params::ParamValues, select::FoundTargets},
        id::RunId,
        report::{Ended, Output},
        view::RunView,
    };

    use super::*;

    /// One job of five: one good, one bad, one that nobody served, one between two attempts, one open or not begun.
    fn log(is_over: bool) -> Vec<Record> {
        let retry = r#""retry":{"attempts":2,"delay":"1h"}"#;
        let flow = format!(r#"{{"name":"f","jobs":[{{"name":"a","run":["x"],"hosts":"h[1-5]",{retry}}}]}}"#);
        let submitted = Event::Submitted {
            flow: Box::new(serde_json::from_str(&flow).unwrap()),
            params: ParamValues::default(),
            by: "t".into(),
            found: FoundTargets::new(),
            retry_of: None,
        };
        let offered = |tasks: &str| Event::Offered {
            job: "a".parse().unwrap(),
            tasks: tasks.parse().unwrap(),
            attempt: 1,
            offer: 1,
        };
        let ended = |task, outcome, again| {
            let (output, exit_code) = (Output::default(), (outcome == Outcome::Failed).then_some(1));
            let end =
                Ended { outcome, exit_code, signal: None, reason: None, started_at: None, ended_at: None, output };
            Event::Ended { task, attempt: 1, by: None, end, again }
        };
        let mut events = vec![
            submitted,
            offered(if is_over { "0-3" } else { "0-4" }),
            ended(0, Outcome::Ok, None),
            ended(3, Outcome::Failed, Timestamp::UNIX_EPOCH.checked_add(jiff::SignedDuration::from_hours(1)).ok()),
            ended(1, Outcome::Refused, None),
            ended(2, Outcome::Unreachable, None),
        ];
        if is_over {
            events.push(Event::JobEnded { job: "a".parse().unwrap(), status: JobStatus::Failed });
            events.push(Event::RunEnded { status: RunStatus::Failed });
        }
        (1..).zip(events).map(|(cause, event)| Record { cause, at: Timestamp::UNIX_EPOCH, event }).collect()
    }

    /// How often the rule is broken when people are shown something else than the fold.
    fn found(is_over: bool, change: impl FnOnce(&mut JobView)) -> usize {
        let (log, run) = (log(is_over), "r".parse::<RunId>().unwrap());
        let mut history = History::new(run);
        for record in &log {
            history.apply(record).unwrap();
        }
        let mut view: RunView = history.view();
        change(&mut view.jobs[0]);
        let plan = history.run().plan().unwrap();
        let policy = Policy::default();
        let mut judge = Judge::new(history.run().id(), plan, None, &log, &policy);
        for record in log.iter().skip(1) {
            judge.check(record);
            judge.fold(record);
        }
        assert_eq!(judge.findings.0, []);
        judge.check_counts(&view.jobs);
        if is_over {
            judge.check_accounts(&view.jobs);
        }
        judge.findings.0.iter().filter(|found| found.rule == Rule::Conservation).count()
    }

    #[test]
    fn what_is_shown_is_what_the_events_say() {
        type Change = fn(&mut JobView);
        for (what, change, goes_on, is_over) in [
            ("the fold", (|_| ()) as Change, 0, 0),
            ("one more is good", |job| job.ok += 1, 1, 2),
            ("none is good", |job| job.ok = 0, 1, 2),
            ("one more has failed, which waits for its retry", |job| job.failed += 1, 0, 2),
            ("two more have failed", |job| job.failed += 2, 1, 2),
            ("one more was not served", |job| job.unreachable += 1, 1, 2),
            ("one was not served that has failed", |job| (job.failed, job.unreachable) = (job.failed - 1, 2), 1, 1),
            ("nothing has failed", |job| (job.failed, job.unreachable) = (0, 0), 1, 2),
            ("one is forgotten that has failed", |job| (job.failed, job.unreachable) = (2, 0), 1, 2),
            ("one is forgotten that was not started", |job| job.not_started = 0, 0, 1),
            ("it goes on", |job| job.status = JobStatus::Running, 0, 1),
            ("a bad one is shown as good", |job| job.tasks[1].status = TaskStatus::Ok, 0, 1),
            ("a good one is shown as bad", |job| job.tasks[0].status = TaskStatus::Failed, 0, 1),
            ("a bad one is shown as running", |job| job.tasks[1].status = TaskStatus::Running, 0, 1),
            ("a good one is shown as running", |job| job.tasks[0].status = TaskStatus::Running, 0, 1),
        ] {
            assert_eq!((found(false, change), found(true, change)), (goes_on, is_over), "{what}");
        }
    }
}
