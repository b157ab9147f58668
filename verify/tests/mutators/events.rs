//! Histories of a few events, written by hand: the rules of the events by themselves, at their edges.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _};
use rr_core::Policy;
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::{params::ParamValues, select::FoundTargets},
    input::Holder,
    ranges::Ranges,
    report::{Ended, Outcome, Output},
    retry::Carried,
};
use rr_verify::{
    Rule,
    records::{Extent, judge_extent},
};

/// Events with the milliseconds since the run began.
pub(crate) type Events = Vec<(i64, Event)>;

fn at(millis: i64) -> Timestamp {
    let began: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    began + millis.milliseconds()
}

pub(crate) fn offered(job: &str, tasks: &str, attempt: u32, offer: u32) -> Event {
    Event::Offered { job: job.parse().unwrap(), tasks: tasks.parse().unwrap(), attempt, offer }
}

pub(crate) fn ended_with(
    task: u32,
    attempt: u32,
    outcome: Outcome,
    exit_code: Option<i32>,
    signal: Option<i32>,
) -> Event {
    let by = Some(Holder { worker: "w1".parse().unwrap(), instance: "i1".parse().unwrap() });
    let output = Output::default();
    let end = Ended { outcome, exit_code, signal, reason: None, started_at: None, ended_at: None, output };
    Event::Ended { task, attempt, by, end, again: None }
}

pub(crate) fn ended(task: u32, attempt: u32, outcome: Outcome) -> Event {
    ended_with(task, attempt, outcome, (outcome == Outcome::Failed).then_some(1), None)
}

/// The same, and another attempt is due then.
pub(crate) fn and_again(mut event: Event, millis: i64) -> Event {
    let Event::Ended { again, .. } = &mut event else { panic!() };
    *again = Some(at(millis));
    event
}

pub(crate) fn job(job: &str, status: JobStatus) -> Event {
    Event::JobEnded { job: job.parse().unwrap(), status }
}

const fn run(status: RunStatus) -> Event {
    Event::RunEnded { status }
}

pub(crate) fn cancel() -> Event {
    Event::CancelRequested { by: "t".into(), reason: None }
}

/// A flow of one job `a` on some hosts.
pub(crate) fn one_job(n: u32, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"name":"f","jobs":[{{"name":"a","run":["x"],"hosts":"h[1-{n}]"{comma}{fields}}}]}}"#)
}

/// Rules that are broken. Each event has a cause of its own.
fn broken(flow: &str, carried: Option<Carried>, events: Events, extent: Extent) -> Vec<Rule> {
    let submitted = Event::Submitted {
        flow: Box::new(serde_json::from_str(flow).unwrap()),
        params: ParamValues::default(),
        by: "t".into(),
        found: FoundTargets::new(),
        retry_of: carried.map(Box::new),
    };
    let events = [(0, submitted)].into_iter().chain(events);
    let log: Vec<_> =
        (1..).zip(events).map(|(cause, (millis, event))| Record { cause, at: at(millis), event }).collect();
    rules(&log, extent)
}

fn rules(log: &[Record], extent: Extent) -> Vec<Rule> {
    let found = judge_extent(&"r1".parse().unwrap(), log, &Policy::default(), extent);
    found.into_iter().map(|found| found.rule).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What has happened so far.
pub(crate) fn so_far(flow: &str, events: Events) -> Vec<Rule> {
    broken(flow, None, events, Extent::SoFar)
}

fn over(flow: &str, events: Events) -> Vec<Rule> {
    broken(flow, None, events, Extent::Over)
}

#[test]
fn an_outcome_says_what_exit_code_and_signal_say() {
    use Outcome::{Cancelled, Failed, Lost, Ok, Refused, Timeout, Unreachable};
    for (outcome, code, signal, fits) in [
        (Ok, None, None, true),
        (Ok, Some(0), None, true),
        (Ok, Some(7), None, false),
        (Ok, None, Some(9), false),
        (Ok, Some(0), Some(9), false),
        (Failed, Some(7), None, true),
        (Failed, None, Some(9), true),
        (Failed, None, None, true),
        (Failed, Some(0), None, false),
        (Unreachable, None, None, true),
        (Unreachable, Some(1), None, false),
        (Unreachable, None, Some(9), false),
        (Refused, None, None, true),
        (Refused, Some(1), None, false),
        (Refused, None, Some(9), false),
        (Timeout, None, Some(15), true),
        (Timeout, Some(0), None, true),
    ] {
        let end = ended_with(0, 1, outcome, code, signal);
        let found = so_far(&one_job(1, ""), vec![(0, offered("a", "0", 1, 1)), (5, end)]);
        assert_eq!(found, if fits { vec![] } else { vec![Rule::Outcome] }, "{outcome:?} {code:?} {signal:?}");
    }
    // What is lost is offered again.
    for (outcome, code) in [(Lost, Some(0)), (Cancelled, Some(7))] {
        let end = and_again(ended_with(0, 1, outcome, code, None), 5);
        assert_eq!(so_far(&one_job(1, ""), vec![(0, offered("a", "0", 1, 1)), (5, end)]), []);
    }
}

#[test]
fn nothing_starts_in_vain_and_nothing_before_its_wait_is_over() {
    let narrow = one_job(3, r#""parallelism":1"#);
    let failed = || vec![(0, offered("a", "0", 1, 1)), (5, ended(0, 1, Outcome::Failed))];
    let then = |mut events: Events, more: &[(i64, Event)]| {
        events.extend(more.iter().cloned());
        events
    };
    assert_eq!(so_far(&narrow, then(failed(), &[(5, offered("a", "1", 1, 1))])), [Rule::Threshold]);
    // One that is under way is offered once more, whatever became of its job.
    let wide = one_job(3, r#""parallelism":2"#);
    let both = vec![(0, offered("a", "0-1", 1, 1)), (5, ended(0, 1, Outcome::Failed))];
    assert_eq!(so_far(&wide, then(both, &[(9, offered("a", "1", 1, 2))])), []);
    let slack = one_job(3, r#""parallelism":1,"fail_fast":false"#);
    assert_eq!(so_far(&slack, then(failed(), &[(5, offered("a", "1", 1, 1))])), []);

    let waits = one_job(1, r#""retry":{"attempts":2,"delay":"1s"}"#);
    let delayed = || vec![(0, offered("a", "0", 1, 1)), (5, and_again(ended(0, 1, Outcome::Failed), 1_005))];
    assert_eq!(so_far(&waits, then(delayed(), &[(1_005, offered("a", "0", 2, 1))])), []);
    assert_eq!(so_far(&waits, then(delayed(), &[(1_004, offered("a", "0", 2, 1))])), [Rule::Retry]);
}

#[test]
fn attempts_and_their_offers_count_from_one() {
    let flow = one_job(2, r#""parallelism":1,"retry":{"attempts":3},"fail_fast":false"#);
    let first = || (0, offered("a", "0", 1, 1));
    let again = || (5, and_again(ended(0, 1, Outcome::Failed), 5));
    for (what, events, fits) in [
        ("the first", vec![first()], true),
        ("attempt 0", vec![(0, offered("a", "0", 0, 1))], false),
        ("offer 0", vec![(0, offered("a", "0", 1, 0))], false),
        ("the second offer first", vec![(0, offered("a", "0", 1, 2))], false),
        ("a task that is not there", vec![(0, offered("a", "2", 1, 1))], false),
        ("the second offer", vec![first(), (1, offered("a", "0", 1, 2))], true),
        ("the third after the first", vec![first(), (1, offered("a", "0", 1, 3))], false),
        ("the same again", vec![first(), (1, offered("a", "0", 1, 1))], false),
        ("the second attempt of one that is open", vec![first(), (1, offered("a", "0", 2, 1))], false),
        ("the second offer of another attempt", vec![first(), (1, offered("a", "0", 2, 2))], false),
        ("the second attempt", vec![first(), again(), (5, offered("a", "0", 2, 1))], true),
        ("the third after the first", vec![first(), again(), (5, offered("a", "0", 3, 1))], false),
        ("an offer of one that has ended", vec![first(), again(), (5, offered("a", "0", 1, 2))], false),
        ("one that is over", vec![first(), (5, ended(0, 1, Outcome::Ok)), (5, offered("a", "0", 2, 1))], false),
    ] {
        let found = so_far(&flow, events);
        assert_eq!(found.contains(&Rule::Count), !fits, "{what}: {found:?}");
        assert!(!fits || found.is_empty(), "{what}: {found:?}");
    }
}

/// Waves are made of what runs: what was taken over is in none.
#[test]
fn what_was_taken_over_has_no_place_in_a_wave() {
    let flow = r#"{"name":"f","jobs":[
        {"name":"a","run":["x"],"hosts":"a[1-2]"},
        {"name":"b","run":["x"],"hosts":"b[1-6]","waves":true,"parallelism":3}]}"#;
    let judged = |carried: &str, events: Events| {
        let tasks = [(Outcome::Ok, carried.parse::<Ranges>().unwrap())].into();
        let carried = Carried { run: "r0".parse().unwrap(), tasks, signals: [].into() };
        broken(flow, Some(carried), events, Extent::SoFar)
    };
    assert_eq!(judged("2", vec![(0, offered("b", "3-5", 1, 1))]), []);
    assert_eq!(judged("2-3", vec![(0, offered("b", "4-6", 1, 1))]), []);
    assert_eq!(judged("3", vec![(0, offered("b", "2,4-5", 1, 1))]), []);
    assert_eq!(judged("2", vec![(0, offered("b", "3-6", 1, 1))]), [Rule::Window]);
    assert_eq!(judged("2", vec![(0, offered("b", "5-6", 1, 1))]), [Rule::Window], "the third and the fourth");
}

#[test]
fn a_run_ends_once_and_as_its_jobs_have() {
    use RunStatus::{Cancelled, Failed, Rejected, Running, Succeeded, TimedOut};
    let ok = || -> Events {
        vec![(0, offered("a", "0", 1, 1)), (5, ended(0, 1, Outcome::Ok)), (5, job("a", JobStatus::Succeeded))]
    };
    let bad =
        || vec![(0, offered("a", "0", 1, 1)), (5, ended(0, 1, Outcome::Failed)), (5, job("a", JobStatus::Failed))];
    let cancelled_good = || -> Events {
        vec![
            (0, offered("a", "0", 1, 1)),
            (1, cancel()),
            (5, ended(0, 1, Outcome::Ok)),
            (5, job("a", JobStatus::Succeeded)),
        ]
    };
    let cancelled_bad = || -> Events {
        vec![
            (0, offered("a", "0", 1, 1)),
            (1, cancel()),
            (5, ended(0, 1, Outcome::Cancelled)),
            (5, job("a", JobStatus::Cancelled)),
        ]
    };
    let flow = one_job(1, "");
    for (what, events, right) in [
        ("good", ok as fn() -> Events, Succeeded),
        ("bad", bad, Failed),
        ("stopped and good", cancelled_good, Cancelled),
        ("stopped", cancelled_bad, Cancelled),
    ] {
        for status in [Cancelled, Failed, Rejected, Running, Succeeded, TimedOut] {
            let mut events = events();
            events.push((5, run(status)));
            let expected = if status == right { vec![] } else { vec![Rule::End] };
            assert_eq!(over(&flow, events.clone()), expected, "{what}, {status:?}");
            assert_eq!(so_far(&flow, events), expected, "{what}, {status:?}");
        }
        assert_eq!(
            (over(&flow, events()), so_far(&flow, events())),
            (vec![Rule::End], vec![]),
            "{what}, without its end"
        );
        let twice = || events().into_iter().chain([(5, run(right)), (6, run(right))]).collect::<Events>();
        assert_eq!((over(&flow, twice()), so_far(&flow, twice())), (vec![Rule::End], vec![Rule::End]), "{what}, twice");
    }
}

#[test]
fn a_run_that_was_rejected_has_no_history() {
    let record = |cause, event| Record { cause, at: at(0), event };
    let rejected = || record(1, Event::Rejected { problems: vec![] });
    let late = Event::Late {
        task: 0,
        attempt: 1,
        by: Holder { worker: "w1".parse().unwrap(), instance: "i1".parse().unwrap() },
        outcome: None,
    };
    assert_eq!(rules(&[rejected()], Extent::Over), []);
    assert_eq!(rules(&[rejected(), record(2, late)], Extent::Over), []);
    assert_eq!(rules(&[rejected(), record(2, cancel())], Extent::Over), [Rule::End]);
    assert_eq!(rules(&[record(1, cancel())], Extent::SoFar), [Rule::Chain]);
    assert_eq!(rules(&[], Extent::Over), [Rule::Chain]);
}

/// What no rule has a name for, the fold refuses.
#[test]
fn what_cannot_be_folded_breaks_the_chain() {
    let extended = |tasks: Ranges| Event::Extended { tasks, until: at(9) };
    let flow = one_job(2, r#""parallelism":1"#);
    assert_eq!(so_far(&flow, vec![(0, offered("a", "0", 1, 1)), (5, extended((0..=0).into()))]), []);
    assert_eq!(so_far(&flow, vec![(0, offered("a", "0", 1, 1)), (5, extended((1..=1).into()))]), [Rule::Chain]);
    // The root is told beside what comes of it.
    for event in [offered("b", "0", 1, 1), job("b", JobStatus::Failed)] {
        let events = vec![(0, event), (0, offered("a", "0", 2, 1))];
        assert_eq!(so_far(&flow, events), [Rule::Chain, Rule::Count], "there is no such job");
    }
}
