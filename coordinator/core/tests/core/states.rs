//! What is shown of tasks and their workers, in each state of a run.

use jiff::ToSpan as _;
use rr_core::{Heard, Policy, Run};
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    input::{Cancel, Found, Input, Seen, Signal, Source},
    report::{Claim, Outcome, Report, What},
    view::TaskStatus,
};

use super::{
    flows::{flow, one_job},
    stage::Stage,
};

fn shown(stage: &Stage) -> Vec<(TaskStatus, u32, Option<&str>)> {
    let n = stage.run.plan().unwrap().n_tasks();
    let holder = |task| stage.run.holder(task).map(|holder| holder.worker.as_str());
    (0..n).map(|task| stage.run.task(task).map(|(status, attempt)| (status, attempt, holder(task))).unwrap()).collect()
}

#[test]
fn a_task_is_shown_as_it_stands() {
    use TaskStatus::{Cancelled, Failed, Lost, NotStarted, Offered, Ok, Running, Skipped, Unreachable, Waiting};
    let text = r#"{"name":"f","slots":[
        {"jobs":[{"name":"a","run":["x"],"hosts":"a[1-4]","parallelism":3,"on_lost":"hold",
                  "retry":{"attempts":2,"delay":"1h"}}]},
        {"jobs":[{"name":"b","run":["x"],"hosts":"b1"}]}]}"#;
    let mut stage = Stage::new(&flow(text));
    let (offered, waits) = ((Offered, 1, None), (Waiting, 0, None));
    assert_eq!(shown(&stage), [offered, offered, offered, waits, waits]);
    stage.claim("w1", 0, 1);
    stage.claim("w2", 1, 1);
    stage.end_by("w2", 1, 1, Outcome::Failed, Some(1));
    stage.claim("w3", 2, 1);
    let (runs, delayed) = ((Running, 1, Some("w1")), (Waiting, 1, None));
    assert_eq!(shown(&stage), [runs, delayed, (Running, 1, Some("w3")), waits, waits]);
    stage.look(Found::WorkerGone);
    let lost = |by| (Lost, 1, Some(by));
    assert_eq!(shown(&stage), [lost("w1"), delayed, lost("w3"), waits, waits]);
    stage.end_by("w1", 0, 1, Outcome::Ok, Some(0));
    stage.cancel();
    assert_eq!(shown(&stage), [(Ok, 1, None), delayed, lost("w3"), offered, waits], "the window slides");
    stage.look(Found::WorkerGone);
    assert_eq!(stage.run.status(), RunStatus::Cancelled);
    let stopped = (Cancelled, 1, None);
    assert_eq!(shown(&stage), [(Ok, 1, None), (Failed, 1, None), stopped, stopped, (Skipped, 0, None)]);
    assert_eq!((stage.run.task(5), stage.run.holder(5)), (None, None));

    let mut away = Stage::new(&one_job(2, r#""parallelism":1"#));
    away.look(Found::OfferUnserved);
    assert_eq!(shown(&away), [(Unreachable, 1, None), (NotStarted, 0, None)]);
}

/// A history of another hand may end a run with work left: nothing of it waits then.
#[test]
fn a_task_that_has_had_no_turn_when_its_run_ends_has_not_started() {
    let mut stage = Stage::new(&one_job(2, r#""parallelism":1"#));
    assert_eq!(stage.run.task(1), Some((TaskStatus::Waiting, 0)));
    let ended = Event::RunEnded { status: RunStatus::Failed };
    stage.run.apply(&Record { cause: 9, at: stage.now + 1.second(), event: ended }).unwrap();
    assert_eq!(stage.run.task(1), Some((TaskStatus::NotStarted, 0)));
    assert_eq!(stage.run.view().ended_at, Some(stage.now + 1.second()));
    assert_eq!((stage.run.waits(), stage.run.deadline(), stage.run.more()), (vec![], None, false));
    assert_eq!(stage.run.view().jobs[0].status, JobStatus::Running);
}

/// It is of a run that was removed, or of one that nobody has asked for.
#[test]
fn what_comes_before_a_run_exists_is_no_news_and_nobodys_fault() {
    let (worker, instance) = ("w1".parse().unwrap(), "i".parse().unwrap());
    let report = |what| Report { task: 0, attempt: 1, offer: 1, instance, what, token: String::new() };
    let claim = Claim {
        task: 0,
        attempt: 1,
        worker: "w1".parse().unwrap(),
        instance: "i".parse().unwrap(),
        token: String::new(),
    };
    let inputs = [
        (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None })),
        (Source::Api, Input::Signal(Signal { signal: "go".parse().unwrap(), by: "t".into(), reason: None })),
        (Source::Worker(worker), Input::Report(report(What::Returned {}))),
        (Source::from(&claim), Input::Claim(claim)),
        (Source::Note, Input::Seen(Seen { attempts: vec![] })),
        (Source::Timer, Input::Timer {}),
    ];
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let heard: Vec<_> = (1..).zip(inputs).map(|(seq, (source, input))| Heard::new(seq, at, source, input)).collect();
    let mut run = Run::new("r".parse().unwrap(), Policy::default());
    let decided = run.decide(&heard);
    assert_eq!((decided.answered, decided.records, decided.unbelieved), (6, vec![], vec![]));
    assert_eq!((run.status(), run.exists(), run.more()), (RunStatus::Queued, false, false));
}
