//! What is looked at when a deadline has come, how often, and what follows from what is found.

use jiff::{Timestamp, ToSpan as _};
use rr_core::{Heard, Look, Policy, Run, run::decide::Around};
use rr_schemas::{
    decision::{Event, Record},
    flow::{params::ParamValues, select},
    input::{Found, Input, Seen, SeenAttempts, Source, Submit},
    offer::Target,
    ranges::Ranges,
    report::Outcome,
};

use super::{
    flows::{flow, one_job},
    stage::{Stage, offers},
};

/// A look in short.
fn told(look: &Look) -> String {
    let mut text = format!("{} {}.{}", look.tasks, look.attempt, look.offer);
    for (is_so, word) in [(look.is_last_offer, " last"), (look.patient, " patient"), (look.claimed, " claimed")] {
        text.push_str(if is_so { word } else { "" });
    }
    if let Some(Target::Queue(queue)) = &look.queue {
        text = format!("{text} in {queue}");
    }
    if let Some(holder) = &look.holder {
        text = format!("{text} at {}", holder.worker);
    }
    text
}

fn looks(stage: &Stage) -> Vec<String> {
    stage.run.looks(stage.now).iter().map(told).collect()
}

#[test]
fn what_is_due_is_looked_at_by_job_attempt_offer_and_worker() {
    let text = r#"{"name":"f","jobs":[
        {"name":"a","run":["x"],"hosts":"a[1-4]","on_lost":"hold"},
        {"name":"q","run":["x"],"queue":"fast"},
        {"name":"w","run":["x"],"hosts":"w[1-2]","on_unreachable":"wait 2m"}]}"#;
    let mut stage = Stage::new(&flow(text));
    let began = stage.now;
    stage.claim("w1", 0, 1);
    stage.claim("w2", 1, 1);
    stage.claim("w1", 2, 1);
    stage.give_back("w3", 5, 1, 1);
    stage.now = began + 29_999.milliseconds();
    assert_eq!(looks(&stage), [""; 0], "nothing is due");
    stage.now = began + 30.seconds();
    assert_eq!(looks(&stage), ["0,2 1.1 claimed at w1", "1 1.1 claimed at w2"]);
    stage.now = began + 60.seconds();
    let offered = ["3 1.1 claimed", "0,2 1.1 claimed at w1", "1 1.1 claimed at w2", "4 1.1 in fast"];
    assert_eq!(looks(&stage), [&offered[..], &["6 1.1 patient", "5 1.2 patient"]].concat());
    // A minute before its patience is over it is patient, and then no more.
    stage.now = began + 119_999.milliseconds();
    assert!(looks(&stage).contains(&"6 1.1 patient".to_owned()));
    stage.now = began + 120.seconds();
    assert!(looks(&stage).contains(&"6 1.1".to_owned()), "{:?}", looks(&stage));
}

#[test]
fn the_last_offer_of_an_attempt_is_called_so() {
    let mut stage = Stage::new(&one_job(1, ""));
    for offer in 1..=3 {
        stage.fire();
        assert_eq!(looks(&stage), [format!("0 1.{offer}")]);
        assert_eq!(offers(&stage.look(Found::OfferGone)), [("0".into(), 1, offer + 1)]);
    }
    stage.fire();
    assert_eq!(looks(&stage), ["0 1.4 last"]);
}

/// What was seen of them is one note, and what follows must fit into one decision.
#[test]
fn many_tasks_are_looked_at_in_parts() {
    let mut stage = Stage::new(&one_job(1_000, ""));
    stage.fire();
    let tasks: Vec<_> = stage.run.looks(stage.now).iter().map(|look| look.tasks.to_string()).collect();
    assert_eq!(tasks, ["0-399", "400-799", "800-999"]);
}

/// The longer an offer has waited in a queue, the more seldom it is looked after.
#[test]
fn looks_at_what_waits_become_rare() {
    for found in [Found::OfferWaits, Found::OfferUnserved] {
        let mut stage = Stage::new(&flow(r#"{"name":"f","jobs":[{"name":"a","run":["x"]}]}"#));
        let mut waited = Vec::new();
        for _ in 0..7 {
            let before = stage.now;
            stage.look(found);
            waited.push(stage.now.duration_since(before).as_millis());
        }
        assert_eq!(waited, [1, 1, 2, 4, 8, 10, 10].map(|minutes| minutes * 60_000), "{found:?}");
    }
}

/// A worker of an `all` job that is away may come back for its task, ten minutes where the flow says nothing else.
#[test]
fn a_worker_that_is_away_is_waited_for() {
    let text = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"all":{"role":"web"}}]}"#;
    let (flow, at) = (flow(text), "2026-01-01T00:00:00Z".parse().unwrap());
    let submit = Submit { flow, params: ParamValues::default(), by: "t".into(), retry_of: None };
    let mut heard = Heard::new(1, at, Source::Api, Input::Submit(Box::new(submit)));
    let found = [("a".parse().unwrap(), select::Found::Workers(vec!["w1".parse().unwrap()]))].into();
    heard.around = Some(Box::new(Around { found, ..Around::default() }));
    let mut run = Run::new("r".parse().unwrap(), Policy::default());
    let records = run.decide(&[heard]).records;
    let mut stage = Stage::of(run, records);
    let mut n_looks = 0;
    while stage.run.view().jobs[0].unreachable == 0 {
        stage.look(Found::OfferUnserved);
        n_looks += 1;
        assert!(n_looks < 20);
    }
    assert_eq!((stage.now.duration_since(at).as_secs(), n_looks), (600, 5), "after 1, 2, 4, 8 and 10 minutes");
}

/// A note of what was seen of one attempt of some tasks.
fn seen(tasks: &str, attempt: u32, offer: u32, found: Found, withdrawn: bool) -> Input {
    let tasks: Ranges = tasks.parse().unwrap();
    Input::Seen(Seen { attempts: vec![SeenAttempts { tasks, attempt, offer, found, withdrawn }] })
}

/// What follows, in short.
fn kinds(records: &[Record]) -> Vec<String> {
    let kind = |record: &Record| match &record.event {
        Event::Extended { tasks, until } => format!("extended {tasks} by {}", until.duration_since(record.at)),
        Event::Ended { task, end, .. } => format!("{task} {}", end.outcome.word()),
        Event::Held { task, .. } => format!("{task} held"),
        Event::Offered { tasks, attempt, offer, .. } => format!("offered {tasks} {attempt}.{offer}"),
        event => format!("{event:?}"),
    };
    records.iter().map(kind).collect()
}

/// Between a look and its answer a worker may have claimed the attempt; unless the claim was won for nobody.
#[test]
fn what_was_seen_counts_of_the_attempt_that_is_still_so() {
    let free = one_job(3, r#""fail_fast":false,"on_lost":"retry""#);
    let claimed = one_job(3, r#""fail_fast":false,"on_lost":"fail""#);
    for (what, flow, stop, input, expected) in [
        ("a task that is not there", &free, false, seen("3", 1, 1, Found::OfferGone, false), vec![]),
        ("another attempt", &free, false, seen("0", 2, 1, Found::OfferGone, false), vec![]),
        ("another offer", &free, false, seen("0", 1, 2, Found::OfferGone, false), vec![]),
        ("it waits", &free, false, seen("0-1", 1, 1, Found::OfferWaits, false), vec!["extended 0-1 by PT1M"]),
        ("nobody serves it", &free, false, seen("0", 1, 1, Found::OfferUnserved, false), vec!["0 unreachable"]),
        ("it is gone", &free, false, seen("0", 1, 1, Found::OfferGone, false), vec!["offered 0 1.2"]),
        ("there was no worker", &free, false, seen("0", 1, 1, Found::WorkerGone, false), vec![]),
        (
            "nobody may claim it",
            &free,
            false,
            seen("0", 1, 1, Found::ClaimVoid, false),
            vec!["0 lost", "offered 0 2.1"],
        ),
        ("a stop, and it waits", &free, true, seen("0", 1, 1, Found::OfferWaits, false), vec!["0 cancelled"]),
        ("a claim may come", &claimed, false, seen("0", 1, 1, Found::OfferUnserved, false), vec!["extended 0 by PT0S"]),
        ("none can", &claimed, false, seen("0", 1, 1, Found::OfferUnserved, true), vec!["0 unreachable"]),
        (
            "a stop, a claim may come",
            &claimed,
            true,
            seen("0", 1, 1, Found::OfferWaits, false),
            vec!["extended 0 by PT0S"],
        ),
        ("a stop, none can", &claimed, true, seen("0", 1, 1, Found::OfferGone, true), vec!["0 cancelled"]),
        ("gone, not the last", &claimed, false, seen("0", 1, 1, Found::OfferGone, false), vec!["offered 0 1.2"]),
    ] {
        let mut stage = Stage::new(flow);
        if stop {
            stage.cancel();
        }
        assert_eq!(kinds(&stage.hear(Source::Note, input)), expected, "{what}");
    }
    // The last offer of a claimed attempt: as long as a claim may come it is looked after again.
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    for _ in 0..3 {
        stage.look(Found::OfferGone);
    }
    assert_eq!(kinds(&stage.hear(Source::Note, seen("0", 1, 4, Found::OfferGone, false))), ["extended 0 by PT0S"]);
    assert_eq!(kinds(&stage.hear(Source::Note, seen("0", 1, 4, Found::OfferGone, true)))[0], "0 lost");
    // A worker that runs it is there, or is gone.
    let mut stage = Stage::new(&one_job(2, ""));
    stage.start("w1", 0, 1);
    let present = seen("0", 1, 1, Found::WorkerPresent, false);
    assert_eq!(kinds(&stage.hear(Source::Note, present)), ["extended 0 by PT30S"]);
    assert_eq!(kinds(&stage.hear(Source::Note, seen("0", 1, 1, Found::OfferGone, false))), [""; 0]);
    let gone = stage.hear(Source::Note, seen("0", 1, 1, Found::WorkerGone, false));
    assert_eq!(kinds(&gone), ["0 lost", "offered 0 2.1"]);
    let Event::Ended { by, end, .. } = &gone[0].event else { panic!("{gone:?}") };
    assert_eq!(by.as_ref().map(|by| by.worker.as_str()), Some("w1"));
    assert_eq!((end.outcome, end.reason.as_deref()), (Outcome::Lost, Some("its worker is gone")));
}

#[test]
fn what_is_held_waits_for_a_person_whatever_is_seen_of_it_as_long_as_its_run_goes_on() {
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"hold""#));
    stage.claim("w1", 0, 1);
    let gone = seen("0", 1, 1, Found::WorkerGone, false);
    assert_eq!(kinds(&stage.hear(Source::Note, gone.clone())), ["0 held"]);
    assert_eq!(kinds(&stage.hear(Source::Note, gone.clone())), [""; 0]);
    stage.cancel();
    assert_eq!(kinds(&stage.hear(Source::Note, gone))[0], "0 cancelled");
}

#[test]
fn deadlines_in_no_order_are_grouped_and_cost_no_more_than_their_sorting() {
    const N: u32 = 100_000;
    let mut run = Stage::new(&one_job(N, &format!(r#""parallelism":{N}"#))).run;
    let start: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
    for n in 0..N {
        // Neighbours come far from each other, so that nearly every one is a range of its own for long.
        let task = (n * 2 + n / (N / 2)) % N;
        let until = start + i64::from(n * 7_919 % N).milliseconds();
        let event = Event::Extended { tasks: Ranges::from(task..=task), until };
        run.apply(&Record { cause: 2, at: start, event }).unwrap();
    }
    let looks = run.looks(start + 1.hour());
    let tasks: Vec<u32> = looks.iter().flat_map(|look| look.tasks.iter()).collect();
    assert!(tasks.into_iter().eq(0..N));
    assert!(looks.iter().all(|look| look.tasks.iter_ranges().len() == 1));
    let first_half = run.looks(start + i64::from(N / 2 - 1).milliseconds());
    assert_eq!(first_half.iter().map(|look| look.tasks.len()).sum::<u64>(), u64::from(N / 2));
}
