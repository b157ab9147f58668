//! What must be answered: reports of ends, and whatever waits for long.

use jiff::{Timestamp, ToSpan as _};
use rr_schemas::{
    decision::{Event, JobStatus},
    input::{Cancel, Found, Input, Signal, Source},
    report::{Outcome, What},
};
use rr_verify::{Rule, token::token};

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
    assert_eq!(left.clone().decide(aside(&left)).broken(), [Rule::Readable], "it was left behind");
    let unknown = told(FREE).say(report("w1", 0, 2, What::Ended(end(Ok))));
    assert_eq!(unknown.clone().decide(aside(&unknown)).broken(), [], "nobody offered it");
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
    assert_eq!(passed(left).broken(), [Rule::Readable], "a claim that was left behind wins nothing");
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
    assert_eq!(second(left.decide(aside)), [Rule::Readable], "it was left behind");
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
    let told_of = |said| won().say(said).judged().violations.remove(0).text;
    let runs = "w2 (i-w2) has run attempt 1 of task";
    assert_eq!(told_of(report("w2", 0, 1, start())), format!("{runs} 0, which w1 (i-w1) has claimed"));
    assert_eq!(told_of(report("w2", 1, 1, start())), format!("{runs} 1, which nobody has claimed"));
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
        // What a worker may say of a host was known to coordinators alone before there were tokens.
        let is_report = matches!(said_last(&aside), Input::Report(_));
        assert_eq!(aside.broken(), if is_report { vec![] } else { expected.clone() }, "{what}, put aside");
        let mut unknown = told.clone();
        unknown.times.remove(&seq);
        assert_eq!(unknown.broken(), [], "{what}, at a time that nobody knows");
        let mut secret = told.clone();
        secret.decisions[0].decision.secret = "secret".into();
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

/// What is decided when the time of the run is over stops it, if nobody has before.
#[test]
fn no_decision_passes_over_the_end_of_the_time() {
    let flow = FREE.replacen('{', r#"{"timeout":"5s","#, 1);
    let stop = || Event::DeadlinePassed {};
    let cancel = || Event::CancelRequested { by: "t".into(), reason: None };
    let asked = || (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }));
    let begun = || started("w1", 0, 1);
    // The run began with the first message.
    for (what, late, stopped, events, fits) in [
        ("in time", 4_999, false, vec![begun()], true),
        ("when it is over", 5_000, false, vec![begun()], false),
        ("with the stop", 5_000, false, vec![begun(), stop()], true),
        ("with a cancel", 5_000, false, vec![begun(), cancel()], true),
        ("behind a cancel", 5_000, true, vec![begun()], true),
        ("what was left behind", 5_000, false, vec![Event::PutAside { input: 3, reason: "broken".into() }], true),
    ] {
        let mut told = told(&flow);
        if stopped {
            told = told.say(asked()).decide(vec![cancel()]);
        }
        told = told.say(report("w1", 0, 1, start()));
        let (seq, now) = (told.last_said(), at(1) + late.milliseconds());
        told.times.insert(seq, now);
        told = told.decide(events);
        told.decisions.last_mut().unwrap().decision.events.iter_mut().for_each(|record| record.at = now);
        assert_eq!(told.broken().contains(&Rule::Stop), !fits, "{what}: {:?}", told.broken());
    }
}

fn said_last(told: &Told) -> &Input {
    &told.inputs.last().unwrap().input
}

/// What coordinators put into the quarantine they must not have believed.
#[test]
fn what_is_put_aside_was_not_to_be_believed() {
    const QUEUE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"queue":"q"}]}"#;
    let (secret, run) = ("secret", "r1".parse().unwrap());
    let bears = |flow: &str, (source, mut input): (Source, Input)| {
        let mut told = told(flow);
        told.decisions[0].decision.secret = secret.into();
        match &mut input {
            Input::Report(report) => report.token = token(secret, &run, report.task, report.attempt),
            Input::Claim(claim) => claim.token = token(secret, &run, claim.task, claim.attempt),
            _ => {}
        }
        told.say((source, input))
    };
    let bare = |flow: &str, said: (Source, Input)| told(flow).say(said);
    let of_queue = |said: (Source, Input)| Told::new(QUEUE, vec![offered("a", "0", 1)]).say(said);
    let aside = |mut told: Told| {
        told.aside.insert(told.last_said());
        told.decide(vec![]).broken()
    };
    let cancel = || (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }));
    let true_one = vec![Rule::Readable];
    for (what, told, broken) in [
        ("an end", bears(FREE, ends("w1", Outcome::Ok)), true_one.clone()),
        ("a start", bears(FREE, report("w1", 0, 1, start())), true_one.clone()),
        ("a return", bears(FREE, report("w1", 0, 1, What::Returned {})), true_one.clone()),
        ("a loss", bears(FREE, ends("w1", Outcome::Lost)), true_one.clone()),
        ("a claim", bears(FAIL, claim("w1", 0, 1)), true_one.clone()),
        ("a claim for nobody", bears(FAIL, claim("_rr", 0, 1)), true_one.clone()),
        ("a cancel", bare(FREE, cancel()), true_one.clone()),
        ("a look", bare(FREE, seen(0, 1, Found::OfferWaits)), true_one.clone()),
        ("a timer", bare(FREE, (Source::Timer, Input::Timer {})), true_one.clone()),
        ("an end of a queue's", of_queue(ends("w1", Outcome::Ok)), true_one),
        ("by who may not exist", bears(FREE, ends("_rr", Outcome::Ok)), vec![]),
        ("of what was not claimed", bears(FAIL, ends("w1", Outcome::Ok)), vec![]),
        ("of a task that there is not", bears(FREE, report("w1", 2, 1, start())), vec![]),
        ("of before there were tokens", bare(FREE, ends("w1", Outcome::Ok)), vec![]),
    ] {
        assert_eq!(aside(told), broken, "{what}");
    }
    let mut forged = bears(FREE, ends("w1", Outcome::Ok));
    forged.decisions[0].decision.secret = "another".into();
    assert_eq!(aside(forged), [], "without its token");
    // Who bears the token of what nobody has offered was offered it, and a decision is lost.
    let mut lost = bears(FREE, report("w1", 0, 2, start()));
    lost.aside.insert(lost.last_said());
    assert!(lost.judged().truncated.is_some());
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

/// A run that only waits for itself is told of each decision, where it has few tasks; else of every 64th, and of the last.
#[test]
fn after_each_decision_of_a_small_run_it_is_asked_what_it_waits_for() {
    let n_decisions = 72;
    for (n_tasks, expected) in [(998, (2..=n_decisions).collect()), (999, vec![64, n_decisions])] {
        // The plan has two tasks more.
        let flow = format!(
            r#"{{"name":"f","jobs":[{{"name":"a","run":["x"]}},
                {{"name":"many","run":["x"],"hosts":"h[1-{n_tasks}]","needs":["a"]}},
                {{"name":"itself","run":["x"],"needs":["itself"]}}]}}"#
        );
        let failed = Event::JobEnded { job: "a".parse().unwrap(), status: JobStatus::Failed };
        let mut told = Told::new(&flow, vec![offered("a", "0", 1)]).say(ends("w1", Outcome::Failed));
        told = told.decide([is_ended("w1", Outcome::Failed), vec![failed]].concat());
        while told.decisions.len() < n_decisions {
            told = told.say(ends("w2", Outcome::Ok)).decide(vec![late("w2", 0, 1, Some(Outcome::Ok))]);
        }
        let violations = told.judged().violations;
        assert!(violations.iter().all(|found| found.rule == Rule::Waits), "{violations:?}");
        let place = |at| told.decisions.iter().position(|stored| stored.seq == at).unwrap();
        let places: Vec<_> = violations.iter().map(|found| place(found.at) + 1).collect();
        assert_eq!(places, expected, "{n_tasks} tasks wait for it");
    }
}
