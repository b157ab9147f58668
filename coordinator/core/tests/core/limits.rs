//! How much one decision holds.

use jiff::ToSpan as _;
use rr_core::{
    Heard, Policy, Run,
    run::decide::{Around, Decided},
};
use rr_schemas::{
    decision::{EVENTS_MAX, Event, Record},
    flow::{Flow, params::ParamValues},
    input::{Input, Source, Submit},
    report::{Outcome, Report, What},
    retry::{Again, Carried, RetryOf},
};

use super::{
    flows::{flow, one_job},
    stage::Stage,
};

/// Ranges that the offers of one decision take to say.
const RANGES_MAX: usize = 4_096;

fn n_offers(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record.event, Event::Offered { .. })).count()
}

fn n_ranges(records: &[Record]) -> usize {
    let ranges = |record: &Record| match &record.event {
        Event::Offered { tasks, .. } => tasks.iter_ranges().len(),
        _ => 0,
    };
    records.iter().map(ranges).sum()
}

fn first_decision(flow: Flow, carried: Option<Carried>) -> (Run, Decided) {
    let retry_of = carried.as_ref().map(|carried| RetryOf { run: carried.run.clone(), again: Again::Failed });
    let submit = Submit { flow, params: ParamValues::default(), by: "t".into(), retry_of };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut heard = Heard::new(1, at, Source::Api, Input::Submit(Box::new(submit)));
    heard.around = Some(Box::new(Around { carried: carried.map(Box::new), ..Around::default() }));
    let mut run = Run::new("r2".parse().unwrap(), Policy::default());
    let decided = run.decide(&[heard]);
    (run, decided)
}

/// Every second one of the first `2 * n` tasks.
fn scattered(n: u32) -> Carried {
    let tasks = [(Outcome::Ok, (0..n).map(|task| 2 * task).collect())].into();
    Carried { run: "r".parse().unwrap(), tasks, signals: [].into() }
}

#[test]
fn what_a_big_flow_begins_with_goes_into_the_next_decision() {
    for (n, beside) in [(1, 1), (256, 256), (257, 0)] {
        let jobs: Vec<_> = (0..n).map(|index| format!(r#"{{"name":"a{index}","run":["x"]}}"#)).collect();
        let (run, decided) = first_decision(flow(&format!(r#"{{"name":"f","jobs":[{}]}}"#, jobs.join(","))), None);
        assert_eq!((n_offers(&decided.records), run.more()), (beside, beside == 0), "{n} jobs");
    }
    for (n, beside) in [(1, 1), (256, 1), (257, 0)] {
        let (run, decided) = first_decision(one_job(1_000, ""), Some(scattered(n)));
        assert_eq!((n_offers(&decided.records), run.more()), (beside, beside == 0), "{n} ranges are carried");
    }
}

/// Two events follow from each of these inputs.
#[test]
fn inputs_are_left_to_the_next_decision_when_one_is_half_full() {
    let mut stage = Stage::new(&one_job(512, ""));
    let report = |task| Report {
        task,
        attempt: 1,
        offer: 1,
        instance: "i".parse().unwrap(),
        what: What::Returned {},
        token: String::new(),
    };
    let heard = |task| {
        Heard::new(9 + u64::from(task), stage.now, Source::Worker("w".parse().unwrap()), Input::Report(report(task)))
    };
    let all: Vec<_> = (0..512).map(heard).collect();
    let decided = stage.run.decide(&all);
    assert_eq!((decided.answered, decided.records.len()), (EVENTS_MAX / 4, EVENTS_MAX / 2));
    let decided = stage.run.decide(&all[decided.answered..]);
    assert_eq!((decided.answered, decided.records.len()), (EVENTS_MAX / 4, EVENTS_MAX / 2));
    assert_eq!(stage.run.decide(&all[500..]).answered, 12);
}

/// Each job that is offered is an event; those that have no room follow without another input.
#[test]
fn a_decision_holds_a_limited_number_of_events() {
    let jobs: Vec<_> = (0..2_500).map(|index| format!(r#"{{"name":"a{index}","run":["x"]}}"#)).collect();
    let (mut run, _) = first_decision(flow(&format!(r#"{{"name":"f","jobs":[{}]}}"#, jobs.join(","))), None);
    let mut sizes = Vec::new();
    while run.more() {
        assert!(sizes.len() < 10, "{sizes:?}");
        sizes.push(run.decide(&[]).records.len());
    }
    assert_eq!(sizes, [EVENTS_MAX, EVENTS_MAX, 500]);
}

/// Tasks that lie scattered take much room: of those that begin, and of those that are tried again.
#[test]
fn scattered_tasks_are_offered_in_parts() {
    let n = 20_000;
    let (mut run, _) = first_decision(one_job(2 * n, ""), Some(scattered(n)));
    let mut sizes = Vec::new();
    while run.more() {
        assert!(sizes.len() < 10, "{sizes:?}");
        sizes.push(n_ranges(&run.decide(&[]).records));
    }
    assert_eq!(sizes, [RANGES_MAX, RANGES_MAX, RANGES_MAX, RANGES_MAX, 20_000 - 4 * RANGES_MAX]);

    let fields = format!(r#""parallelism":{n},"fail_fast":false,"retry":{{"attempts":2,"delay":"1h"}}"#);
    let mut stage = Stage::new(&one_job(n, &fields));
    for task in (0..n).step_by(2) {
        stage.end(task, 1, Outcome::Failed, Some(1));
    }
    // All of them are due, for example because no coordinator was there meanwhile.
    stage.now += 2.hours();
    let heard = Heard::new(99_999, stage.now, Source::Timer, Input::Timer {});
    let mut sizes = vec![n_ranges(&stage.run.decide(&[heard]).records)];
    while stage.run.more() {
        assert!(sizes.len() < 10, "{sizes:?}");
        sizes.push(n_ranges(&stage.run.decide(&[]).records));
    }
    assert_eq!(sizes, [RANGES_MAX, RANGES_MAX, 10_000 - 2 * RANGES_MAX]);
}
