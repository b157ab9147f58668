//! What progress looks like, from the same records at several widths.

use jiff::Timestamp;
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::params::ParamValues,
    report::{Ended, Outcome, Output},
};

use super::{Lines, Story, Tails, block, summary};
use crate::printer::Size;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(second: i64, event: Event) -> Record {
    Record { cause: 1, at: at(second), event }
}

fn offered(second: i64, job: &str, tasks: &str, attempt: u32) -> Record {
    let (job, tasks) = (job.parse().unwrap(), tasks.parse().unwrap());
    record(second, Event::Offered { job, tasks, attempt, offer: 1 })
}

fn ended(second: i64, task: u32, outcome: Outcome, exit_code: Option<i32>) -> Record {
    let end = Ended {
        outcome,
        exit_code,
        signal: None,
        reason: None,
        started_at: None,
        ended_at: None,
        output: Output::default(),
    };
    record(second, Event::Ended { task, attempt: 1, by: None, end, again: None })
}

/// Two slots; the first job of the first one has failures below its threshold.
fn records() -> Vec<Record> {
    let flow = serde_json::from_str(
        r#"{"name": "rollout", "slots": [
            {"jobs": [{"name": "pkg1", "run": ["true"], "hosts": "db[1-10]", "success": "80%"},
                      {"name": "pkg2", "run": ["true"], "hosts": "api[1-6]"}]},
            {"jobs": [{"name": "restart", "run": ["true"], "hosts": "fe[1-100]", "parallelism": "50%"}]}]}"#,
    );
    let flow = Box::new(flow.unwrap());
    let mut records = vec![
        record(
            0,
            Event::Submitted {
                flow,
                params: ParamValues::default(),
                by: "me".to_owned(),
                found: rr_schemas::flow::select::FoundTargets::new(),
                retry_of: None,
            },
        ),
        offered(0, "pkg1", "0-9", 1),
        offered(0, "pkg2", "10-15", 1),
    ];
    for task in 0..10 {
        let is_bad = [2, 6].contains(&task);
        let (outcome, code) = if is_bad { (Outcome::Failed, Some(1)) } else { (Outcome::Ok, Some(0)) };
        records.push(ended(1, task, outcome, code));
    }
    records.push(record(1, Event::JobEnded { job: "pkg1".parse().unwrap(), status: JobStatus::Succeeded }));
    records.push(ended(2, 10, Outcome::Ok, Some(0)));
    records
}

fn rest() -> Vec<Record> {
    let mut records: Vec<Record> = (11..15).map(|task| ended(3, task, Outcome::Ok, Some(0))).collect();
    records.push(ended(62, 15, Outcome::Unreachable, None));
    // What needs it is skipped with it.
    records.push(record(62, Event::JobEnded { job: "pkg2".parse().unwrap(), status: JobStatus::Failed }));
    records.push(record(62, Event::RunEnded { status: RunStatus::Failed }));
    records
}

fn plain(lines: &[String]) -> String {
    let plain: Vec<String> = lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
    plain.join("\n")
}

fn story(records: &[Record]) -> Story {
    let mut story = Story::new("4f7k".parse().unwrap());
    for record in records {
        story.apply(record).unwrap();
    }
    story
}

#[test]
fn a_block_fits_its_terminal() {
    let story = story(&records());
    for (width, height) in [(120, 40), (80, 24), (40, 10), (20, 24), (20, 5), (1, 1)] {
        let lines = block(&story, Size { width, height }, at(12));
        insta::assert_snapshot!(format!("block_{width}x{height}"), plain(&lines));
        let widest = lines.iter().map(|line| anstream::adapter::strip_str(line).to_string().chars().count()).max();
        assert!(widest.unwrap_or(0) <= width && lines.len() <= height, "{width}x{height}");
    }
    assert!(!block(&Story::new("a".parse().unwrap()), Size { width: 80, height: 24 }, at(0)).is_empty());
}

#[test]
fn lines_tell_what_matters() {
    let mut lines = Lines::default();
    let mut story = Story::new("4f7k".parse().unwrap());
    let mut told = Vec::new();
    for record in records().iter().chain(&rest()) {
        story.apply(record).unwrap();
        told.extend(lines.tell(record, &story).map(|line| line.whole()));
    }
    insta::assert_snapshot!("lines", plain(&told));
}

#[test]
fn a_summary_folds_equal_failures() {
    let story = story(&[records(), rest()].concat());
    let tail = || vec!["E: cannot install".to_owned(), "giving up".to_owned()];
    let tails = Tails::from([(2, tail()), (6, tail())]);
    insta::assert_snapshot!("summary", plain(&summary(&story.history().view(), &tails)));
}

#[test]
fn many_failures_do_not_make_many_lines() {
    let flow = serde_json::from_str(r#"{"name": "f", "jobs": [{"name": "j", "run": ["x"], "hosts": "h[1-5000]"}]}"#);
    let flow = Box::new(flow.unwrap());
    let mut records = vec![
        record(
            0,
            Event::Submitted {
                flow,
                params: ParamValues::default(),
                by: "me".to_owned(),
                found: rr_schemas::flow::select::FoundTargets::new(),
                retry_of: None,
            },
        ),
        offered(0, "j", "0-4999", 1),
    ];
    records.extend((0..5000).map(|task| ended(1, task, Outcome::Failed, Some(1))));
    let mut lines = Lines::default();
    let mut story = Story::new("4f7k".parse().unwrap());
    let mut told = 0;
    for record in &records {
        story.apply(record).unwrap();
        told += usize::from(lines.tell(record, &story).is_some());
    }
    assert!(told < 30, "{told}");
    assert!(summary(&story.history().view(), &Tails::new()).len() < 10);
}
