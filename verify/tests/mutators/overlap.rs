//! What runs at once by the words of workers.

use rr_schemas::{
    decision::Event,
    input::{Found, Input, Source},
    report::{Outcome, What},
};
use rr_verify::Rule;

use crate::told::{Told, at, claim, end, ended, late, offered, report, seen, started};

/// One at a time; a flow takes what is put between its braces.
const ONE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-3]","parallelism":1}]}"#;
const CLAIMED: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-3]","parallelism":1,"on_lost":"fail","success":1}]}"#;

fn starts(worker: &str, task: u32, attempt: u32, offer: u32) -> (Source, Input) {
    let (source, mut input) = report(worker, task, attempt, What::Started { at: at(0) });
    let Input::Report(report) = &mut input else { panic!() };
    report.offer = offer;
    (source, input)
}

fn ends(worker: &str, task: u32, attempt: u32, outcome: Outcome) -> (Source, Input) {
    report(worker, task, attempt, What::Ended(end(outcome)))
}

/// One ends well, and the next one runs.
fn next_runs() -> Told {
    let told = Told::new(ONE, vec![offered("a", "0", 1)]).say(starts("w1", 0, 1, 1)).decide(vec![started("w1", 0, 1)]);
    let told = told.say(ends("w1", 0, 1, Outcome::Ok));
    let told = told.decide(vec![ended(Some("w1"), 0, 1, end(Outcome::Ok)), offered("a", "1", 1)]);
    told.say(starts("w2", 1, 1, 1)).decide(vec![started("w2", 1, 1)])
}

/// One is lost while it runs, and offered again.
fn is_lost() -> Told {
    let told = Told::new(ONE, vec![offered("a", "0", 1)]).say(starts("w1", 0, 1, 1)).decide(vec![started("w1", 0, 1)]);
    let told = told.say(seen(0, 1, Found::WorkerGone));
    let mut lost = ended(Some("w1"), 0, 1, end(Outcome::Lost));
    let Event::Ended { again, .. } = &mut lost else { panic!() };
    *again = Some(at(told.last_said()));
    told.decide(vec![lost, offered("a", "0", 2)])
}

/// What is broken, and how often something began beside what may run on.
fn found(told: &Told) -> (Vec<Rule>, u64) {
    (told.broken(), told.judged().n_beside)
}

#[test]
fn what_a_worker_has_ended_does_not_run_beside_the_next_one() {
    assert_eq!(found(&next_runs()), (vec![], 0));
    assert_eq!(found(&next_runs().say(starts("w1", 0, 1, 2))), (vec![Rule::Overlap], 0), "it starts once more");
    assert_eq!(found(&next_runs().say(starts("w1", 0, 1, 1))), (vec![], 0), "what was said is said again");
    let twice = next_runs().say(starts("w1", 0, 1, 2)).say(starts("w1", 0, 1, 2));
    assert_eq!(twice.judged().violations.len(), 1, "one start is told once");
    // The next one is over by then.
    let over = next_runs().say(ends("w2", 1, 1, Outcome::Ok));
    let over = over.decide(vec![ended(Some("w2"), 1, 1, end(Outcome::Ok)), offered("a", "2", 1)]);
    assert_eq!(found(&over.clone().say(starts("w1", 0, 1, 2))), (vec![], 0), "nothing runs beside it");
    let beside = over.say(starts("w1", 0, 1, 2)).say(starts("w2", 2, 1, 1));
    assert_eq!(found(&beside.decide(vec![started("w2", 2, 1)])), (vec![Rule::Overlap], 0), "the next one begins");
}

#[test]
fn what_was_decided_without_its_workers_word_may_run_on_and_is_counted() {
    // Who has it a second time speaks of it late.
    let copy = next_runs().say(starts("w3", 0, 1, 1)).decide(vec![late("w3", 0, 1, None)]);
    assert_eq!(found(&copy), (vec![], 1));
    assert_eq!(found(&is_lost()), (vec![], 0));
    let again = is_lost().say(starts("w2", 0, 2, 1)).decide(vec![started("w2", 0, 2)]);
    assert_eq!(found(&again), (vec![], 1), "the lost one may run on");
    let by_then = is_lost().say(ends("w1", 0, 1, Outcome::Ok)).decide(vec![late("w1", 0, 1, Some(Outcome::Ok))]);
    let by_then = by_then.say(starts("w2", 0, 2, 1)).decide(vec![started("w2", 0, 2)]);
    assert_eq!(found(&by_then), (vec![], 0), "the lost one is over");
    // At two workers before anything is decided: it is one attempt.
    let two = Told::new(ONE, vec![offered("a", "0", 1)]).say(starts("w1", 0, 1, 1)).decide(vec![started("w1", 0, 1)]);
    let two = two.say(starts("w2", 0, 1, 1)).decide(vec![late("w2", 0, 1, None)]);
    assert_eq!(found(&two), (vec![], 0));
}

#[test]
fn what_is_claimed_runs_from_its_claim_on() {
    let told = Told::new(CLAIMED, vec![offered("a", "0", 1)]).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]);
    let lost = told.clone().say(seen(0, 1, Found::WorkerGone));
    let lost = lost.decide(vec![ended(Some("w1"), 0, 1, end(Outcome::Lost)), offered("a", "1", 1)]);
    let next = lost.say(claim("w2", 1, 1)).decide(vec![started("w2", 1, 1)]);
    assert_eq!(found(&next), (vec![], 1), "the lost one may run on");
    let ended_by = told.say(ends("w1", 0, 1, Outcome::Ok));
    let ended_by = ended_by.decide(vec![ended(Some("w1"), 0, 1, end(Outcome::Ok)), offered("a", "1", 1)]);
    let next = ended_by.say(claim("w2", 1, 1)).decide(vec![started("w2", 1, 1)]);
    assert_eq!(found(&next), (vec![], 0));
    // A claim for nobody starts nothing.
    let withdrawn = Told::new(CLAIMED, vec![offered("a", "0", 1)]).say(claim("_rr", 0, 1));
    assert_eq!(found(&withdrawn.decide(vec![])), (vec![], 0));
}
