//! What each event rests on, case by case.

use rr_schemas::{
    decision::Event,
    flow::{params::ParamValue, select},
    input::{Cancel, Found, Input, Signal, Source},
    report::{Ended, Outcome, Output, What},
};
use rr_verify::Rule;

use crate::told::{Told, at, claim, end, ended, holder, late, offered, report, seen, started};

/// Two tasks that go on whatever becomes of the other one.
const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;
const HOLD: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"hold"}]}"#;

fn told(flow: &str) -> Told {
    Told::new(flow, vec![offered("a", "0-1", 1)])
}

fn start() -> What {
    What::Started { at: at(0) }
}

fn cancel(by: &str) -> Event {
    Event::CancelRequested { by: by.into(), reason: None }
}

fn asked(by: &str) -> (Source, Input) {
    (Source::Api, Input::Cancel(Cancel { by: by.into(), reason: None }))
}

#[test]
fn a_run_is_what_was_asked_for() {
    type Change = fn(&mut Event);
    for (what, change, broken) in [
        ("the same", (|_| ()) as Change, vec![]),
        (
            "another flow",
            |event| {
                let Event::Submitted { flow, .. } = event else { return };
                flow.jobs[0].fail_fast = true;
            },
            vec![Rule::Cause],
        ),
        (
            "another parameter",
            |event| {
                let Event::Submitted { params, .. } = event else { return };
                params.insert("v".parse().unwrap(), ParamValue::Int(7));
            },
            vec![Rule::Cause],
        ),
        (
            "somebody else",
            |event| {
                let Event::Submitted { by, .. } = event else { return };
                by.push('x');
            },
            vec![Rule::Cause],
        ),
    ] {
        let mut told = told(FREE);
        change(&mut told.decisions[0].decision.events[0].event);
        assert_eq!(told.broken(), broken, "{what}");
    }
    let mut never_asked_for = told(FREE);
    never_asked_for.inputs[0].input = asked("t").1;
    assert_eq!(never_asked_for.broken(), [Rule::Cause]);
    assert_eq!(told(FREE).say(asked("me")).decide(vec![cancel("me")]).broken(), []);
    assert_eq!(told(FREE).say(asked("me")).decide(vec![cancel("you")]).broken(), [Rule::Cause]);
    let for_a_reason = Event::CancelRequested { by: "me".into(), reason: Some("late".into()) };
    assert_eq!(told(FREE).say(asked("me")).decide(vec![for_a_reason]).broken(), [Rule::Cause]);
    assert_eq!(told(FREE).say(report("me", 0, 1, start())).decide(vec![cancel("me")]).broken(), [Rule::Cause]);
}

#[test]
fn who_is_said_to_run_an_attempt_has_said_so() {
    for (what, said, event, broken) in [
        ("a report", report("w1", 0, 1, start()), started("w1", 0, 1), vec![]),
        ("of another task", report("w1", 1, 1, start()), started("w1", 0, 1), vec![Rule::Cause]),
        ("of another attempt", report("w1", 0, 2, start()), started("w1", 0, 1), vec![Rule::Cause]),
        ("of another worker", report("w2", 0, 1, start()), started("w1", 0, 1), vec![Rule::Cause]),
        ("of an end", report("w1", 0, 1, What::Ended(end(Outcome::Lost))), started("w1", 0, 1), vec![Rule::Cause]),
        ("a request", asked("w1"), started("w1", 0, 1), vec![Rule::Cause]),
    ] {
        assert_eq!(told(FREE).say(said).decide(vec![event]).broken(), broken, "{what}");
    }
    let (_, claims) = claim("w1", 0, 1);
    for (what, said, event, broken) in [
        ("a claim", claim("w1", 0, 1), started("w1", 0, 1), vec![]),
        ("of another task", claim("w1", 1, 1), started("w1", 0, 1), vec![Rule::Cause, Rule::Claim]),
        ("of another attempt", claim("w1", 0, 2), started("w1", 0, 1), vec![Rule::Cause, Rule::Claim]),
        ("of another worker", claim("w2", 0, 1), started("w1", 0, 1), vec![Rule::Cause, Rule::Claim]),
        ("that is none", (Source::Api, claims), started("w1", 0, 1), vec![Rule::Cause, Rule::Claim]),
    ] {
        assert_eq!(told(FAIL).say(said).decide(vec![event]).broken(), broken, "claimed, {what}");
    }
    let mut other_life = told(FAIL).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]);
    let Input::Claim(claim) = &mut other_life.inputs[1].input else { panic!() };
    claim.instance = "i9".parse().unwrap();
    other_life.inputs[1].source = Source::from(&*claim);
    assert_eq!(other_life.broken(), [Rule::Cause, Rule::Claim], "another life of the worker");
}

#[test]
fn what_is_noted_as_late_was_said() {
    let ok = || What::Ended(end(Outcome::Ok));
    let over = || told(FREE).say(report("w1", 0, 1, ok())).decide(vec![ended(Some("w1"), 0, 1, end(Outcome::Ok))]);
    let is_ok = Some(Outcome::Ok);
    for (what, said, event, broken) in [
        ("an end", report("w2", 0, 1, ok()), late("w2", 0, 1, is_ok), vec![]),
        ("a start", report("w2", 0, 1, start()), late("w2", 0, 1, None), vec![]),
        ("another end", report("w2", 0, 1, ok()), late("w2", 0, 1, Some(Outcome::Failed)), vec![Rule::Cause]),
        ("an end that is called a start", report("w2", 0, 1, ok()), late("w2", 0, 1, None), vec![Rule::Cause]),
        ("a start that is called an end", report("w2", 0, 1, start()), late("w2", 0, 1, is_ok), vec![Rule::Cause]),
        ("of another task", report("w2", 1, 1, start()), late("w2", 0, 1, None), vec![Rule::Cause]),
        ("of another attempt", report("w2", 0, 2, start()), late("w2", 0, 1, None), vec![Rule::Cause]),
        ("of another worker", report("w3", 0, 1, start()), late("w2", 0, 1, None), vec![Rule::Cause]),
        ("nobody's", asked("w2"), late("w2", 0, 1, None), vec![Rule::Cause]),
    ] {
        assert_eq!(over().say(said).decide(vec![event]).broken(), broken, "{what}");
    }
}

#[test]
fn what_is_held_as_lost_was_lost() {
    let held = || vec![Event::Held { task: 0, attempt: 1 }];
    let runs = || told(HOLD).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]);
    let lost = || What::Ended(end(Outcome::Lost));
    for (what, said, broken) in [
        ("its worker says so", report("w1", 0, 1, lost()), vec![]),
        ("of another task", report("w1", 1, 1, lost()), vec![Rule::Presence]),
        ("of another attempt", report("w1", 0, 2, lost()), vec![Rule::Presence]),
        ("it was seen", seen(0, 1, Found::WorkerGone), vec![]),
        ("another one says so", report("w2", 0, 1, lost()), vec![Rule::Presence]),
        ("its offer was gone", seen(0, 1, Found::OfferGone), vec![Rule::Presence]),
        ("its claim was void", seen(0, 1, Found::ClaimVoid), vec![Rule::Presence]),
        ("its worker was there", seen(0, 1, Found::WorkerPresent), vec![Rule::Presence]),
        ("nobody served it", seen(0, 1, Found::OfferUnserved), vec![Rule::Presence]),
        ("it waited", seen(0, 1, Found::OfferWaits), vec![Rule::Presence]),
        ("another task was looked at", seen(1, 1, Found::WorkerGone), vec![Rule::Presence]),
        ("another attempt was looked at", seen(0, 2, Found::WorkerGone), vec![Rule::Presence]),
        ("a look of no coordinator", (Source::Api, seen(0, 1, Found::WorkerGone).1), vec![Rule::Presence]),
        ("it was asked for", asked("t"), vec![Rule::Presence]),
    ] {
        assert_eq!(runs().say(said).decide(held()).broken(), broken, "{what}");
    }
    let failed = report("w1", 0, 1, What::Ended(end(Outcome::Failed)));
    assert!(runs().say(failed).decide(held()).broken().contains(&Rule::Presence), "it has failed");
}

#[test]
fn what_ends_by_a_report_ends_as_that_says() {
    let output = |chunks| Output { stdout_bytes: 7, stderr_bytes: 0, dropped_bytes: 0, chunks };
    let failed = || Ended { output: output(1), ..end(Outcome::Failed) };
    let said = || report("w1", 0, 1, What::Ended(failed()));
    let killed = || Ended { exit_code: None, signal: Some(9), ..end(Outcome::Failed) };
    for (what, said, event, broken) in [
        ("the same", said(), ended(Some("w1"), 0, 1, failed()), vec![]),
        ("the same signal", report("w1", 0, 1, What::Ended(killed())), ended(Some("w1"), 0, 1, killed()), vec![]),
        (
            "another exit code",
            said(),
            ended(Some("w1"), 0, 1, Ended { exit_code: Some(2), ..failed() }),
            vec![Rule::Outcome],
        ),
        (
            "another signal",
            report("w1", 0, 1, What::Ended(killed())),
            ended(Some("w1"), 0, 1, Ended { signal: Some(15), ..killed() }),
            vec![Rule::Outcome],
        ),
        (
            "another outcome",
            said(),
            ended(Some("w1"), 0, 1, Ended { outcome: Outcome::Timeout, ..failed() }),
            vec![Rule::Outcome],
        ),
        (
            "another output",
            said(),
            ended(Some("w1"), 0, 1, Ended { output: output(2), ..failed() }),
            vec![Rule::Output],
        ),
        ("nobody's", said(), ended(None, 0, 1, failed()), vec![Rule::Cause, Rule::Heard]),
        ("another one's", said(), ended(Some("w2"), 0, 1, failed()), vec![Rule::Cause, Rule::Heard]),
        ("a start", report("w1", 0, 1, start()), ended(Some("w1"), 0, 1, failed()), vec![Rule::Cause]),
        ("a request", asked("w1"), ended(Some("w1"), 0, 1, failed()), vec![Rule::Cause]),
    ] {
        let broken_rules = told(FREE).say(said).decide(vec![event]).broken();
        assert_eq!(broken_rules.contains(&Rule::Cause), broken.contains(&Rule::Cause), "{what}: {broken_rules:?}");
        assert_eq!(broken_rules.contains(&Rule::Outcome), broken.contains(&Rule::Outcome), "{what}: {broken_rules:?}");
        assert_eq!(broken_rules.contains(&Rule::Output), broken.contains(&Rule::Output), "{what}: {broken_rules:?}");
        assert_eq!(broken_rules.is_empty(), broken.is_empty(), "{what}: {broken_rules:?}");
    }
    let other_task = told(FREE).say(report("w1", 1, 1, What::Ended(failed())));
    assert!(other_task.decide(vec![ended(Some("w1"), 0, 1, failed())]).broken().contains(&Rule::Cause));
}

/// What is one worker's own task nobody else runs.
#[test]
fn another_workers_task_is_not_run() {
    let flow = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"all":{"role":"web"}}]}"#;
    let told = || {
        let mut told = Told::new(flow, vec![offered("a", "0-1", 1)]);
        let Event::Submitted { found, .. } = &mut told.decisions[0].decision.events[0].event else { panic!() };
        let workers = select::Found::Workers(vec!["w1".parse().unwrap(), "w2".parse().unwrap()]);
        found.insert("a".parse().unwrap(), workers);
        told
    };
    let ok = || end(Outcome::Ok);
    assert_eq!(told().say(report("w2", 1, 1, start())).decide(vec![started("w2", 1, 1)]).broken(), []);
    let other = told().say(report("w1", 1, 1, start())).decide(vec![started("w1", 1, 1)]);
    assert_eq!(other.broken(), [Rule::Presence]);
    let ends = |worker: &str| {
        let told = told().say(report(worker, 0, 1, What::Ended(ok())));
        told.decide(vec![ended(Some(worker), 0, 1, ok())]).broken()
    };
    assert_eq!((ends("w1"), ends("w2")), (vec![], vec![Rule::Presence]));
}

#[test]
fn an_event_follows_from_what_is_there_and_can_be_believed() {
    let ok = || end(Outcome::Ok);
    let good = || told(FREE).say(report("w1", 0, 1, What::Ended(ok()))).decide(vec![ended(Some("w1"), 0, 1, ok())]);
    assert_eq!(good().broken(), []);
    let mut gone = good();
    gone.inputs.pop();
    assert_eq!(gone.broken(), [Rule::Cause]);
    assert_eq!(gone.judged().violations[0].text, "event Ended cites an input that is not there");
    let mut bad = good();
    let seq = bad.inputs.pop().unwrap().seq;
    bad.bad.insert(seq, "no JSON".into());
    assert_eq!(bad.broken(), [Rule::Readable]);
    let mut forged = good();
    forged.decisions[0].decision.secret = "secret".into();
    assert_eq!(forged.broken(), [Rule::Readable]);
    // What is left behind need not be believed.
    let aside = |seq| vec![Event::PutAside { input: seq, reason: "no JSON".into() }];
    let leave = |told: Told| (told.last_said(), told.clone().decide(aside(told.last_said())));
    assert_eq!(leave(told(FREE).say(asked("t"))).1.broken(), [Rule::Readable], "a cancel that can be answered");
    let (seq, mut left) = leave(told(FREE).say(asked(&"t".repeat(65 * 1024))));
    assert_eq!(left.broken(), [], "one that is too large for the answer");
    left.inputs.pop();
    left.bad.insert(seq, "no JSON".into());
    assert_eq!(left.broken(), []);
    left.bad.clear();
    assert_eq!(left.broken(), []);
}

/// Time in decisions is that of the input, or of a later one that was answered before.
#[test]
fn an_event_is_of_the_time_of_its_cause() {
    let good = || {
        let told = told(FREE).say(report("w1", 0, 1, start())).decide(vec![started("w1", 0, 1)]);
        told.say(report("w2", 1, 1, start())).decide(vec![started("w2", 1, 1)])
    };
    assert_eq!(good().broken(), []);
    for (what, seq, expected) in [("a little earlier", 4, vec![Rule::Time]), ("later", 6, vec![Rule::Time])] {
        let mut told = good();
        told.decisions[2].decision.events[0].at = at(seq);
        assert_eq!(told.broken(), expected, "{what}");
    }
    // The clock of the stream steps back: the run's own time does not.
    let mut back = good();
    back.times.insert(5, at(2));
    back.decisions[2].decision.events[0].at = at(3);
    assert_eq!(back.broken(), []);
    back.decisions[2].decision.events[0].at = at(4);
    assert_eq!(back.broken(), [Rule::Time], "nothing was stored then");
    back.times.remove(&5);
    assert_eq!(back.broken(), [], "what is not known is not compared");
}

#[test]
fn a_signal_counts_when_it_was_given_and_from_then_on() {
    let flow = r#"{"name":"f","jobs":[{"name":"g","signal":"go"},{"name":"h","signal":"on"}]}"#;
    let gives = |signal: &str| {
        (Source::Api, Input::Signal(Signal { signal: signal.parse().unwrap(), by: "t".into(), reason: None }))
    };
    let counts = |signal: &str| Event::Signalled { signal: signal.parse().unwrap(), by: "t".into(), reason: None };
    let passes =
        |job: &str| Event::JobEnded { job: job.parse().unwrap(), status: rr_schemas::decision::JobStatus::Succeeded };
    let go = || vec![counts("go"), passes("g")];
    let begun = || Told::new(flow, vec![]);
    assert_eq!(begun().say(gives("go")).decide(go()).broken(), []);
    assert_eq!(begun().say(gives("on")).decide(go()).broken(), [Rule::Cause, Rule::Heard], "another one was given");
    assert_eq!(begun().say(asked("t")).decide(go()).broken(), [Rule::Cause], "none was");
    let other = |by: &str, reason: Option<&str>| Event::Signalled {
        signal: "go".parse().unwrap(),
        by: by.into(),
        reason: reason.map(str::to_owned),
    };
    for event in [other("u", None), other("t", Some("late"))] {
        assert_eq!(begun().say(gives("go")).decide(vec![event, passes("g")]).broken(), [Rule::Cause], "not so");
    }
    assert_eq!(begun().say(gives("go")).decide(vec![]).broken(), [Rule::Heard], "it is passed over");
    assert_eq!(begun().say(gives("no")).decide(vec![]).broken(), [], "nobody waits for it");
    assert_eq!(begun().say(gives("go")).broken(), [], "it is not answered yet");
    assert_eq!(begun().say(gives("go")).decide(go()).say(gives("go")).decide(vec![]).broken(), [], "it counts already");
    let stopped = || begun().say(asked("t")).decide(vec![cancel("t")]);
    assert_eq!(stopped().say(gives("go")).decide(vec![]).broken(), [], "the run is being stopped");
    let before = begun().say(gives("go")).say(asked("t")).decide(vec![cancel("t")]);
    assert_eq!(before.broken(), [Rule::Heard], "it came before the stop");
}

/// Who has given an offer back has not started it, and nobody else has given it back in his name.
#[test]
fn an_offer_is_given_back_by_who_has_not_started_it() {
    let returns = |worker: &str, task, attempt| report(worker, task, attempt, What::Returned {});
    let returned = |worker: &str, offer| Event::Returned { task: 0, attempt: 1, offer, by: holder(worker) };
    let good = || told(FREE).say(returns("w1", 0, 1)).decide(vec![returned("w1", 1)]);
    assert_eq!(good().broken(), []);
    for (what, said, event) in [
        ("another one said so", returns("w2", 0, 1), returned("w1", 1)),
        ("of another task", returns("w1", 1, 1), returned("w1", 1)),
        ("of another attempt", returns("w1", 0, 2), returned("w1", 1)),
        ("he said that he runs it", report("w1", 0, 1, start()), returned("w1", 1)),
    ] {
        assert_eq!(told(FREE).say(said).decide(vec![event]).broken(), [Rule::Returned], "{what}");
    }
    for (what, also, fits) in [
        ("he has started it", start(), false),
        ("it has ended there", What::Ended(end(Outcome::Ok)), false),
        ("it has failed there", What::Ended(end(Outcome::Failed)), false),
        ("its time was over there", What::Ended(end(Outcome::Timeout)), false),
        ("it was lost", What::Ended(end(Outcome::Lost)), true),
        ("he refuses it", What::Ended(end(Outcome::Refused)), true),
        ("he says so again", What::Returned {}, true),
    ] {
        let told = good().say(report("w1", 0, 1, also.clone()));
        assert_eq!(told.broken().contains(&Rule::Returned), !fits, "{what}");
        let other = good().say(report("w2", 0, 1, also));
        assert!(!other.broken().contains(&Rule::Returned), "{what}, of another one");
    }
}

/// A worker that bears the token of an attempt was offered it.
#[test]
fn a_token_that_no_decision_explains_shows_that_one_is_missing() {
    let secret = "secret";
    let run = "r1".parse().unwrap();
    let bears = |task, attempt| {
        let (source, input) = report("w1", task, attempt, start());
        let Input::Report(mut report) = input else { panic!() };
        report.token = rr_verify::token::token(secret, &run, task, attempt);
        (source, Input::Report(report))
    };
    let secret_told = || {
        let mut told = Told::new(FREE, vec![offered("a", "0", 1)]);
        told.decisions[0].decision.secret = secret.into();
        told
    };
    for (what, said, is_truncated) in [
        ("what was offered", bears(0, 1), false),
        ("another task", bears(1, 1), true),
        ("a later attempt", bears(0, 2), true),
        ("a task that there is not", bears(2, 1), false),
        ("without a token", report("w1", 1, 1, start()), false),
    ] {
        let judged = secret_told().say(said).judged();
        assert_eq!((judged.truncated.is_some(), judged.violations), (is_truncated, vec![]), "{what}");
    }
    let free = Told::new(FREE, vec![offered("a", "0", 1)]).say(bears(1, 1)).judged();
    assert_eq!((free.truncated, free.violations), (None, vec![]), "a run without a secret has no tokens");
}
