//! What must be answered: reports of ends, and whatever waits for long.

use jiff::{Timestamp, ToSpan as _};
use rr_schemas::{
    decision::Event,
    input::{Cancel, Found, Input, Signal, Source},
    report::{Outcome, What},
};
use rr_verify::Rule;

use crate::told::{Told, at, claim, end, ended, late, offered, report, seen, started};

const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;

fn told(flow: &str) -> Told {
    Told::new(flow, vec![offered("a", "0-1", 1)])
}

fn start() -> What {
    What::Started { at: at(0) }
}

fn ends(worker: &str, outcome: Outcome) -> (Source, Input) {
    report(worker, 0, 1, What::Ended(end(outcome)))
}

fn is_ended(worker: &str, outcome: Outcome) -> Vec<Event> {
    vec![ended(Some(worker), 0, 1, end(outcome))]
}

#[test]
fn what_a_worker_reports_as_ended_is_heard() {
    use Outcome::{Failed, Lost, Ok};
    let aside = |told: &Told| vec![Event::PutAside { input: told.last_said(), reason: "broken".into() }];
    let passed = |told: Told| told.decide(vec![]);
    assert_eq!(told(FREE).say(ends("w1", Ok)).broken(), [], "it is not answered yet");
    assert_eq!(passed(told(FREE).say(ends("w1", Ok))).broken(), [Rule::Heard]);
    assert_eq!(passed(told(FREE).say(ends("w1", Failed))).broken(), [Rule::Heard]);
    assert_eq!(passed(told(FREE).say(ends("w1", Lost))).broken(), [], "nobody knows");
    assert_eq!(passed(told(FREE).say(report("w1", 0, 1, start()))).broken(), [], "it is no end");
    assert_eq!(passed(told(FREE).say(report("w1", 0, 2, What::Ended(end(Ok))))).broken(), [], "nobody offered it");
    let left = told(FREE).say(ends("w1", Ok));
    assert_eq!(left.clone().decide(aside(&left)).broken(), [], "it was left behind");
    let noted = told(FREE).say(ends("w1", Ok)).decide(vec![late("w1", 0, 1, Some(Ok))]);
    assert_eq!(noted.broken(), [], "it is noted");

    // Of a claimed attempt only who has won it is believed.
    let unclaimed = passed(told(FAIL).say(ends("w1", Outcome::Refused)));
    assert_eq!(unclaimed.broken(), []);
    let won = |winner: &str| told(FAIL).say(claim(winner, 0, 1)).decide(vec![started(winner, 0, 1)]);
    assert_eq!(passed(won("w1").say(ends("w1", Ok))).broken(), [Rule::Heard]);
    assert_eq!(passed(won("w2").say(ends("w1", Outcome::Refused))).broken(), []);
    let first = told(FAIL).say(ends("w1", Outcome::Refused)).decide(vec![]);
    assert_eq!(
        first.say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]).broken(),
        [],
        "he had not claimed it yet"
    );
    let left = told(FAIL).say(claim("w1", 0, 1));
    let left = left.clone().decide(aside(&left)).say(ends("w1", Outcome::Refused));
    assert_eq!(passed(left).broken(), [], "a claim that was left behind wins nothing");
}

#[test]
fn the_first_report_decides_and_another_word_is_noted() {
    use Outcome::{Failed, Ok};
    let decided = || told(FREE).say(ends("w1", Ok)).decide(is_ended("w1", Ok));
    let then = |what: (Source, Input), events: Vec<Event>| decided().say(what).decide(events).broken();
    assert_eq!(then(ends("w1", Ok), vec![]), [], "the same again");
    assert_eq!(then(ends("w1", Failed), vec![]), [Rule::Heard], "the same worker otherwise");
    assert_eq!(then(ends("w2", Ok), vec![]), [Rule::Heard], "another worker");
    assert_eq!(then(ends("w2", Ok), vec![late("w2", 0, 1, Some(Ok))]), []);
    assert_eq!(then(ends("w1", Failed), vec![late("w1", 0, 1, Some(Failed))]), []);

    // Passed over until another one comes.
    let second = |first: Told| first.say(ends("w2", Ok)).decide(is_ended("w2", Ok)).broken();
    assert_eq!(second(told(FREE).say(ends("w1", Failed)).decide(vec![])), [Rule::Heard]);
    let noted = |outcome| vec![late("w1", 0, 1, Some(outcome))];
    assert_eq!(second(told(FREE).say(ends("w1", Failed)).decide(noted(Failed))), [Rule::Heard]);
    // Beside a worker that runs it only a success counts.
    let beside = |runs: &str| told(FREE).say(report(runs, 0, 1, start())).decide(vec![started(runs, 0, 1)]);
    assert_eq!(second(beside("w2").say(ends("w1", Failed)).decide(noted(Failed))), []);
    assert_eq!(second(beside("w2").say(ends("w1", Failed)).decide(vec![])), [Rule::Heard]);
    assert_eq!(second(beside("w2").say(ends("w1", Ok)).decide(noted(Ok))), [Rule::Heard]);
    assert_eq!(second(beside("w1").say(ends("w1", Failed)).decide(noted(Failed))), [Rule::Heard]);
    let later = told(FREE).say(ends("w1", Failed)).decide(noted(Failed));
    let later = later.say(report("w2", 0, 1, start())).decide(vec![started("w2", 0, 1)]);
    assert_eq!(second(later), [Rule::Heard], "nobody ran it by then");
    let left = told(FREE).say(ends("w1", Failed));
    let aside = vec![Event::PutAside { input: left.last_said(), reason: "broken".into() }];
    assert_eq!(second(left.decide(aside)), [], "it was left behind");
}

#[test]
fn a_claimed_attempt_has_one_claim_and_runs_where_that_says() {
    let won = || told(FAIL).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]);
    assert_eq!(won().broken(), []);
    assert_eq!(won().say(claim("w2", 0, 1)).decide(vec![]).broken(), [Rule::Claim], "a second one");
    assert_eq!(won().say(claim("w1", 1, 1)).decide(vec![started("w1", 1, 1)]).broken(), [], "another task");
    for (what, said, fits) in [
        ("he starts", report("w1", 0, 1, start()), true),
        ("another one starts", report("w2", 0, 1, start()), false),
        ("another one has run it", ends("w2", Outcome::Failed), false),
        ("another one refuses", ends("w2", Outcome::Refused), true),
        ("another one gives it back", report("w2", 0, 1, What::Returned {}), true),
        ("he starts what nobody has claimed", report("w1", 1, 1, start()), false),
    ] {
        assert_eq!(won().say(said).broken(), if fits { vec![] } else { vec![Rule::Claim] }, "{what}");
    }
    // It counts as started by that claim alone.
    let by_report = told(FAIL).say(report("w1", 0, 1, start())).decide(vec![started("w1", 0, 1)]);
    assert_eq!(by_report.broken(), [Rule::Claim]);
    let for_nobody = told(FAIL).say(claim("_rr", 0, 1)).decide(vec![started("_rr", 0, 1)]);
    assert_eq!(for_nobody.broken(), [Rule::Claim]);
    let free = told(FREE).say(report("w1", 0, 1, start())).decide(vec![started("w1", 0, 1)]);
    assert_eq!(free.say(report("w2", 0, 1, start())).broken(), [], "nobody need claim it");
}

fn later(seq: u64, seconds: i64, millis: i64) -> Timestamp {
    at(seq) + seconds.seconds() + millis.milliseconds()
}

#[test]
fn no_deadline_passes_for_long_without_a_decision() {
    // The offers are looked after a minute after they were made.
    let mut told = told(FREE);
    for (now, broken) in [
        (None, vec![]),
        (Some(later(1, 60, 0)), vec![]),
        (Some(later(1, 60 + 90, 0)), vec![]),
        (Some(later(1, 60 + 90, 1)), vec![Rule::Liveness]),
    ] {
        told.now = now;
        assert_eq!(told.broken(), broken, "{now:?}");
    }
}

#[test]
fn no_input_waits_for_long_without_an_answer() {
    let cancel = || (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }));
    let signal = Signal { signal: "go".parse().unwrap(), by: "t".into(), reason: None };
    for (what, said, needs_answer) in [
        ("a cancel", cancel(), true),
        ("a start", report("w1", 0, 1, start()), true),
        ("an end", ends("w1", Outcome::Ok), true),
        ("a look", seen(0, 1, Found::OfferGone), true),
        ("a look at a task that there is not", seen(2, 1, Found::OfferGone), false),
        ("a look at another attempt", seen(0, 2, Found::OfferGone), false),
        ("a timer", (Source::Timer, Input::Timer {}), false),
        ("what no timer may say", (Source::Timer, cancel().1), false),
        ("a signal that nobody waits for", (Source::Api, Input::Signal(signal)), false),
    ] {
        let mut told = told(FREE).say(said);
        let seq = told.last_said();
        told.now = Some(later(seq, 90, 0));
        assert_eq!(told.broken(), [], "{what}, in time");
        told.now = Some(later(seq, 90, 1));
        let expected = if needs_answer { vec![Rule::Liveness] } else { vec![] };
        assert_eq!(told.broken(), expected, "{what}, late");
        let mut aside = told.clone();
        aside.aside.insert(seq);
        assert_eq!(aside.broken(), [], "{what}, put aside");
        let mut unknown = told.clone();
        unknown.times.remove(&seq);
        assert_eq!(unknown.broken(), [], "{what}, at a time that nobody knows");
        let mut secret = told.clone();
        secret.decisions[0].decision.secret = "secret".into();
        let is_report = matches!(secret.inputs[1].input, Input::Report(_));
        assert_eq!(secret.broken(), if is_report { vec![] } else { expected }, "{what}, without its token");
        assert_eq!(
            told.decide(vec![]).judged().violations.iter().filter(|found| found.rule == Rule::Liveness).count(),
            0
        );
    }
    let mut asked = told(FREE);
    asked.decisions.clear();
    asked.now = Some(later(1, 90, 1));
    assert_eq!(asked.broken(), [Rule::Liveness], "even a rejection is a decision");
}

/// Links of the chain, one by one.
#[test]
fn decisions_are_a_chain() {
    type Change = fn(&mut Told);
    let good = || {
        let told = told(FREE).say(report("w1", 0, 1, start())).decide(vec![started("w1", 0, 1)]);
        told.say(ends("w1", Outcome::Ok)).decide(is_ended("w1", Outcome::Ok))
    };
    assert_eq!(good().broken(), []);
    for (what, change, broken) in [
        ("a number is left out", (|told| told.decisions[1].decision.n = 3) as Change, vec![Rule::Chain]),
        ("it follows another one", |told| told.decisions[1].decision.prev.push('x'), vec![Rule::Chain]),
        ("the first one follows one", |told| told.decisions[0].decision.prev.push('x'), vec![Rule::Chain]),
        ("the cursor goes back", |told| told.decisions[2].decision.upto = 2, vec![Rule::Chain, Rule::Time]),
        ("the cursor stays", |told| told.decisions[2].decision.upto = 3, vec![Rule::Time]),
        ("the cursor is at the decision itself", |told| told.decisions[2].decision.upto = 6, vec![Rule::Time]),
        ("the cursor is right before it", |told| told.decisions[2].decision.upto = 5, vec![]),
        ("a cause is not answered yet", |told| told.decisions[1].decision.events[0].cause = 4, vec![Rule::Time]),
    ] {
        let mut told = good();
        change(&mut told);
        assert_eq!(told.broken(), broken, "{what}");
    }
}
