//! What a run says that it waits for.

use jiff::{Timestamp, ToSpan as _};
use rr_core::{Policy, Run, Wait};
use rr_schemas::{
    decision::{Event, Record},
    input::{Found, Holder},
    report::Outcome,
};

use super::{flows::flow, stage::Stage};

const FLOW: &str = r#"{"name":"f","jobs":[
    {"name":"first","run":["x"],"queue":"q"},
    {"name":"a","run":["x"],"hosts":"a[1-6]","parallelism":5,"on_lost":"hold","retry":{"attempts":2,"delay":"1h"}},
    {"name":"gate","signal":"go","timeout":"5m"},
    {"name":"last","run":["x"],"needs":["a","gate"]}]}"#;

fn until(began: Timestamp, seconds: i64) -> Timestamp {
    began + seconds.seconds()
}

#[test]
fn each_thing_that_a_run_waits_for_has_its_name() {
    let new = Run::new("r".parse().unwrap(), Policy::default());
    assert_eq!(new.waits(), [Wait::Coordinator]);
    let mut stage = Stage::new(&flow(FLOW));
    let began = stage.now;
    let name = |name: &str| name.parse().unwrap();
    let holder =
        |worker: &str| Holder { worker: worker.parse().unwrap(), instance: format!("i-{worker}").parse().unwrap() };
    let first = || Wait::Worker { job: name("first"), tasks: (0..=0).into(), until: until(began, 60) };
    let window = |n| Wait::Window { job: name("a"), n, window: 5 };
    let gate = || Wait::Signal { job: name("gate"), signal: name("go"), until: Some(until(began, 300)) };
    let needs = |unmet| Wait::Needs { job: name("last"), unmet };
    let offered = |tasks: &str, seconds| Wait::Worker {
        job: name("a"),
        tasks: tasks.parse().unwrap(),
        until: until(began, seconds),
    };
    assert_eq!(stage.run.waits(), [first(), offered("1-5", 60), window(1), gate(), needs(2)]);
    for (worker, task) in [("w1", 1), ("w2", 2), ("w2", 3)] {
        stage.claim(worker, task, 1);
        stage.now += 1.second();
    }
    let runs = |worker: &str, tasks: &str, seconds| Wait::Report {
        job: name("a"),
        tasks: tasks.parse().unwrap(),
        holder: holder(worker),
        until: until(began, seconds),
    };
    assert_eq!(
        stage.run.waits(),
        [first(), offered("4-5", 60), runs("w1", "1", 30), runs("w2", "2-3", 31), window(1), gate(), needs(2)]
    );
    stage.end_by("w2", 2, 1, Outcome::Failed, Some(1));
    let retry = Wait::Retry { job: name("a"), tasks: (2..=2).into(), until: until(began, 3 + 3_600) };
    stage.look(Found::WorkerGone);
    stage.signal("go");
    let person = Wait::Person { job: name("a"), tasks: (1..=1).into() };
    assert_eq!(
        stage.run.waits(),
        [first(), offered("4-5", 60), runs("w2", "3", 32), retry.clone(), person.clone(), window(1), needs(1)]
    );
    // Nothing more begins in a run that is being stopped; what waits in it is looked after soon.
    let first = Wait::Worker { job: name("first"), tasks: (0..=0).into(), until: until(began, 31) };
    stage.cancel();
    assert_eq!(stage.run.waits(), [first, offered("4-5", 31), runs("w2", "3", 32), retry, person, needs(1)]);
}

/// Between two decisions of which the first was full: what follows is nobody's but the coordinator's to say.
#[test]
fn what_is_decided_in_part_waits_for_its_coordinator() {
    let stage = Stage::new(&flow(FLOW));
    let signalled = Event::Signalled { signal: "go".parse().unwrap(), by: "t".into(), reason: None };
    for event in [signalled, Event::CancelRequested { by: "t".into(), reason: None }] {
        let mut run = stage.run.clone();
        run.apply(&Record { cause: 9, at: stage.now, event }).unwrap();
        let of_gate = |wait: &&Wait| matches!(wait, Wait::Coordinator | Wait::Signal { .. });
        assert_eq!(run.waits().iter().find(of_gate), Some(&Wait::Coordinator), "the gate ends in the next one");
    }

    let mut run = Run::new("r".parse().unwrap(), Policy::default());
    run.apply(&stage.log[0]).unwrap();
    let begun = run.waits();
    assert_eq!(begun[..2], [Wait::Coordinator, Wait::Coordinator], "nothing of them was offered yet");
    assert!(matches!(begun[2..], [Wait::Signal { .. }, Wait::Needs { unmet: 2, .. }]), "{begun:?}");
}

/// What is stopped is looked after soon, and its own limit ends nothing any more; what waited for a retry is due no more.
#[test]
fn a_stop_leaves_no_deadline_but_those_of_what_is_open() {
    let text = r#"{"name":"f","timeout":"10s","jobs":[
        {"name":"a","run":["x"],"hosts":"a[1-2]","retry":{"attempts":2,"delay":"5s"}}]}"#;
    let mut stage = Stage::new(&flow(text));
    let began = stage.now;
    assert_eq!(stage.run.deadline(), Some(until(began, 10)));
    stage.end(0, 1, Outcome::Failed, Some(1));
    assert_eq!(stage.run.deadline(), Some(until(began, 5)));
    stage.start("w1", 1, 1);
    stage.cancel();
    assert_eq!(stage.run.deadline(), Some(until(began, 30)), "of what runs");
    stage.end(1, 1, Outcome::Cancelled, None);
    assert_eq!((stage.run.deadline(), stage.run.waits()), (None, vec![]));

    let mut offered = Stage::new(&flow(text));
    offered.cancel();
    assert_eq!(offered.run.deadline(), Some(until(began, 1)), "of what may have started");

    let mut hopeless = Stage::new(&flow(&text.replace("10s", "1h").replace("a[1-2]", "a[1-3]")));
    hopeless.end(0, 1, Outcome::Failed, Some(1));
    hopeless.start("w1", 2, 1);
    assert_eq!(hopeless.run.deadline(), Some(until(began, 5)));
    hopeless.end(1, 1, Outcome::Refused, None);
    assert_eq!(hopeless.run.deadline(), Some(until(began, 30)), "no retry follows in vain");
}
