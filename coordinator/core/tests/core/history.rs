//! A run as people see it whole: each attempt of each task.

use jiff::ToSpan as _;
use rr_core::{History, Run};
use rr_schemas::{
    decision::Record,
    input::Found,
    name::Name,
    report::{Ended, Outcome, Output, What},
    view::{AttemptView, TaskStatus},
};

use super::{flows::flow, stage::Stage};

fn history(run: &Run, log: &[Record]) -> History {
    let mut history = History::new(run.id().clone());
    for record in log {
        history.apply(record).unwrap();
    }
    history
}

const fn open(attempt: u32) -> AttemptView {
    AttemptView {
        attempt,
        outcome: None,
        exit_code: None,
        signal: None,
        worker: None,
        started_at: None,
        ended_at: None,
        reason: None,
    }
}

#[test]
fn each_attempt_is_shown_under_its_task_as_it_was_reported() {
    let retry = r#""retry":{"attempts":3}"#;
    let mut stage = Stage::new(&flow(&format!(
        r#"{{"name":"f","jobs":[{{"name":"a","run":["x"],{retry}}},{{"name":"b","run":["x"],"hosts":"h[1-2]",{retry}}}]}}"#
    )));
    let began = stage.now;
    stage.end(0, 1, Outcome::Ok, Some(0));
    // By its worker's clock it began and ended at other times than the stream has.
    let (by_its_clock, after) = (began + 1.hour(), began + 2.hours());
    stage.start("w2", 1, 1);
    let end = Ended {
        outcome: Outcome::Failed,
        exit_code: None,
        signal: Some(9),
        reason: Some("killed".into()),
        started_at: Some(by_its_clock),
        ended_at: Some(after),
        output: Output::default(),
    };
    stage.report("w2", 1, 1, What::Ended(end));
    stage.now = began + 1.second();
    stage.start("w3", 1, 2);
    stage.start("w1", 2, 1);
    stage.look(Found::WorkerGone);
    let lost_at = stage.now;
    let view = history(&stage.run, &stage.log).view();
    let (one, two) = (&view.jobs[0].tasks, &view.jobs[1].tasks);
    let by = |worker: &str| Some(worker.to_owned());
    assert_eq!((one.len(), two.len()), (1, 2));
    assert_eq!((one[0].queue.as_ref().map(Name::as_str), &one[0].host), (Some("default"), &None));
    let hosts: Vec<_> = two.iter().map(|task| task.host.as_ref().map(ToString::to_string)).collect();
    assert_eq!(hosts, [Some("h1".to_owned()), Some("h2".to_owned())]);
    let done = AttemptView { outcome: Some(Outcome::Ok), exit_code: Some(0), worker: by("w1"), ..open(1) };
    assert_eq!(one[0].attempts, [AttemptView { ended_at: Some(began), ..done }]);
    let gone = |attempt, started_at, worker| AttemptView {
        outcome: Some(Outcome::Lost),
        worker: by(worker),
        started_at: Some(started_at),
        ended_at: Some(lost_at),
        reason: Some("its worker is gone".into()),
        ..open(attempt)
    };
    let killed = AttemptView {
        outcome: Some(Outcome::Failed),
        signal: Some(9),
        worker: by("w2"),
        started_at: Some(by_its_clock),
        ended_at: Some(after),
        reason: Some("killed".into()),
        ..open(1)
    };
    assert_eq!(two[0].attempts, [killed, gone(2, began + 1.second(), "w3"), open(3)]);
    assert_eq!(two[1].attempts, [gone(1, began + 1.second(), "w1"), open(2)]);
    assert_eq!((one[0].status, two[0].status), (TaskStatus::Ok, TaskStatus::Offered));
    assert_eq!(history(&stage.run, &stage.log).attempts(1), two[0].attempts);
    assert_eq!(history(&stage.run, &stage.log).attempts(9), []);
}
