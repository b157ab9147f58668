//! Histories that no run has: each event in each state that it cannot follow.

use rr_core::{Policy, Run, run::IllegalEvent};
use rr_schemas::{
    decision::{Event, JobStatus, Record},
    flow::{params::ParamValues, select::FoundTargets},
    input::Holder,
    report::{Ended, Outcome, Output},
    retry::Carried,
};

use super::{flows::flow, stage::Stage};

/// Tasks 0 and 1 are of job `a`, one at a time, task 2 is of job `b`, which comes after it.
const FLOW: &str = r#"{"name":"f","slots":[
    {"jobs":[{"name":"a","run":["x"],"hosts":"a[1-2]","parallelism":1,"on_lost":"hold",
              "retry":{"attempts":2,"delay":"1h"}}]},
    {"jobs":[{"name":"b","run":["x"],"hosts":"b1"}]}]}"#;

fn by() -> Holder {
    Holder { worker: "w1".parse().unwrap(), instance: "i-w1".parse().unwrap() }
}

fn offered(job: &str, tasks: &str, attempt: u32, offer: u32) -> Event {
    Event::Offered { job: job.parse().unwrap(), tasks: tasks.parse().unwrap(), attempt, offer }
}

fn started(task: u32, attempt: u32) -> Event {
    Event::Started { task, attempt, by: by() }
}

fn returned(task: u32, attempt: u32, offer: u32) -> Event {
    Event::Returned { task, attempt, offer, by: by() }
}

fn extended(task: u32) -> Event {
    Event::Extended { tasks: (task..=task).into(), until: "2026-01-02T00:00:00Z".parse().unwrap() }
}

fn ended(task: u32, attempt: u32) -> Event {
    let (outcome, output) = (Outcome::Ok, Output::default());
    let end = Ended { outcome, exit_code: None, signal: None, reason: None, started_at: None, ended_at: None, output };
    Event::Ended { task, attempt, by: Some(by()), end, again: None }
}

const fn held(task: u32, attempt: u32) -> Event {
    Event::Held { task, attempt }
}

fn job_ended(job: &str) -> Event {
    Event::JobEnded { job: job.parse().unwrap(), status: JobStatus::Failed }
}

fn submitted(carried: &[(Outcome, &str)]) -> Event {
    let tasks = carried.iter().map(|(outcome, tasks)| (*outcome, tasks.parse().unwrap())).collect();
    let carried = Carried { run: "r0".parse().unwrap(), tasks, signals: [].into() };
    Event::Submitted {
        flow: Box::new(flow(FLOW)),
        params: ParamValues::default(),
        by: "t".into(),
        found: FoundTargets::new(),
        retry_of: Some(Box::new(carried)),
    }
}

/// Each event is folded into the state alone.
fn check(state: &str, run: &Run, rows: Vec<(Event, Result<(), IllegalEvent>)>) {
    for (event, expected) in rows {
        let record = Record { cause: 9, at: "2026-01-01T00:00:00Z".parse().unwrap(), event };
        assert_eq!(run.clone().apply(&record), expected, "{state}: {:?}", record.event);
    }
}

const fn no(task: u32, event: &'static str) -> Result<(), IllegalEvent> {
    Err(IllegalEvent::OutOfOrder { task, event })
}

const fn no_task(task: u32) -> Result<(), IllegalEvent> {
    Err(IllegalEvent::NoSuchTask(task))
}

#[test]
fn of_a_run_that_nobody_has_submitted_nothing_is_known() {
    let run = Run::new("r".parse().unwrap(), Policy::default());
    let no_job = IllegalEvent::NoSuchJob("a".parse().unwrap());
    let signalled = Event::Signalled { signal: "go".parse().unwrap(), by: "t".into(), reason: None };
    check(
        "new",
        &run,
        vec![
            (offered("a", "0", 1, 1), Err(no_job.clone())),
            (job_ended("a"), Err(no_job)),
            (started(0, 1), no_task(0)),
            (returned(0, 1, 1), no_task(0)),
            (extended(0), no_task(0)),
            (ended(0, 1), no_task(0)),
            (held(0, 1), no_task(0)),
            (signalled, Err(IllegalEvent::OutOfLife("signalled"))),
            (submitted(&[]), Ok(())),
            (submitted(&[(Outcome::Ok, "0"), (Outcome::Failed, "1")]), Ok(())),
            (submitted(&[(Outcome::Ok, "0-1"), (Outcome::Failed, "1")]), no(1, "carried over")),
            (submitted(&[(Outcome::Ok, "3")]), no_task(3)),
        ],
    );
}

#[test]
fn what_is_offered_may_start_and_what_waits_may_be_offered() {
    let stage = Stage::new(&flow(FLOW));
    let waiting = |event| no(1, event);
    check(
        "0 is offered, 1 waits",
        &stage.run,
        vec![
            (submitted(&[]), Err(IllegalEvent::OutOfLife("submitted"))),
            (offered("a", "0", 1, 2), Ok(())),
            (offered("a", "0", 1, 1), no(0, "offered")),
            (offered("a", "0", 1, 3), no(0, "offered")),
            (offered("a", "0", 2, 1), no(0, "offered")),
            (offered("a", "0", 2, 2), no(0, "offered")),
            (offered("a", "0", 0, 2), no(0, "offered")),
            (offered("a", "1", 1, 1), Ok(())),
            (offered("a", "1", 0, 1), waiting("offered")),
            (offered("a", "1", 2, 1), waiting("offered")),
            (offered("a", "2", 1, 1), no_task(2)),
            (offered("b", "3", 1, 1), no_task(3)),
            (offered("c", "0", 1, 1), Err(IllegalEvent::NoSuchJob("c".parse().unwrap()))),
            (started(0, 1), Ok(())),
            (started(0, 2), no(0, "started")),
            (started(1, 0), waiting("started")),
            (returned(0, 1, 1), Ok(())),
            (returned(0, 1, 2), no(0, "returned")),
            (returned(0, 2, 1), no(0, "returned")),
            (returned(1, 0, 0), waiting("returned")),
            (extended(0), Ok(())),
            (extended(1), waiting("extended")),
            (extended(3), no_task(3)),
            (ended(0, 1), Ok(())),
            (ended(0, 2), no(0, "ended")),
            (ended(1, 0), waiting("ended")),
            (held(0, 1), Ok(())),
            (held(0, 2), no(0, "held")),
            (held(1, 0), waiting("held")),
            (job_ended("a"), Err(IllegalEvent::JobBusy("a".parse().unwrap()))),
            (job_ended("c"), Err(IllegalEvent::NoSuchJob("c".parse().unwrap()))),
        ],
    );
}

#[test]
fn an_event_follows_only_a_state_that_explains_it() {
    let mut stage = Stage::new(&flow(FLOW));
    stage.claim("w1", 0, 1);
    check(
        "0 runs",
        &stage.run,
        vec![
            (offered("a", "0", 1, 2), no(0, "offered")),
            (offered("a", "0", 2, 1), no(0, "offered")),
            (started(0, 1), no(0, "started")),
            (returned(0, 1, 1), no(0, "returned")),
            (extended(0), Ok(())),
            (ended(0, 1), Ok(())),
            (held(0, 1), Ok(())),
            (held(0, 2), no(0, "held")),
        ],
    );
    stage.run.apply(&Record { cause: 9, at: stage.now, event: held(0, 1) }).unwrap();
    check(
        "0 is held",
        &stage.run,
        vec![
            (offered("a", "0", 1, 2), no(0, "offered")),
            (started(0, 1), no(0, "started")),
            (returned(0, 1, 1), no(0, "returned")),
            (held(0, 1), no(0, "held")),
            (extended(0), Ok(())),
            (ended(0, 1), Ok(())),
            (ended(0, 2), no(0, "ended")),
            (job_ended("a"), Err(IllegalEvent::JobBusy("a".parse().unwrap()))),
        ],
    );
    stage.end(0, 1, Outcome::Failed, Some(1));
    check(
        "0 waits for its second attempt",
        &stage.run,
        vec![
            (offered("a", "0", 2, 1), Ok(())),
            (offered("a", "0", 1, 2), no(0, "offered")),
            (offered("a", "0", 3, 1), no(0, "offered")),
            (started(0, 1), no(0, "started")),
            (returned(0, 1, 1), no(0, "returned")),
            (extended(0), no(0, "extended")),
            (ended(0, 1), no(0, "ended")),
            (held(0, 1), no(0, "held")),
            (job_ended("a"), Ok(())),
        ],
    );
}

#[test]
fn what_is_over_stays_so() {
    let mut stage = Stage::new(&flow(FLOW));
    stage.claim("w1", 0, 1);
    stage.end(0, 1, Outcome::Failed, Some(1));
    stage.fire();
    stage.claim("w1", 0, 2);
    stage.end(0, 2, Outcome::Ok, Some(0));
    stage.claim("w1", 1, 1);
    check(
        "0 is over",
        &stage.run,
        vec![
            (offered("a", "0", 3, 1), no(0, "offered")),
            (offered("a", "0", 2, 2), no(0, "offered")),
            (started(0, 2), no(0, "started")),
            (returned(0, 2, 1), no(0, "returned")),
            (extended(0), no(0, "extended")),
            (ended(0, 2), no(0, "ended")),
            (held(0, 2), no(0, "held")),
        ],
    );
    stage.end(1, 1, Outcome::Ok, Some(0));
    let over = || Err(IllegalEvent::JobOver("a".parse().unwrap()));
    check(
        "the job is over",
        &stage.run,
        vec![(offered("a", "1", 2, 1), over()), (job_ended("a"), over()), (started(2, 1), Ok(()))],
    );
}
