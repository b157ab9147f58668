//! What follows from a look, case by case.

use jiff::ToSpan as _;
use rr_schemas::{
    decision::Event,
    input::{Cancel, Found, Input, Source},
    report::{Outcome, What},
};
use rr_verify::{Rule, history::PolicyOf};

use crate::told::{Told, at, claim, end, ended, holder, offered, report, seen, started};

/// Two tasks that go on whatever becomes of the other one.
const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;
const HOLD: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"hold"}]}"#;

const PATIENT: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_unreachable":"wait 90s"}]}"#;
const QUEUE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"queue":"q"}]}"#;

const ALL: [Found; 6] = [
    Found::WorkerPresent,
    Found::WorkerGone,
    Found::OfferWaits,
    Found::OfferUnserved,
    Found::OfferGone,
    Found::ClaimVoid,
];

fn told(flow: &str) -> Told {
    Told::new(flow, vec![offered("a", "0-1", 1)])
}

fn runs(flow: &str) -> Told {
    told(flow).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)])
}

fn held() -> Told {
    runs(HOLD).say(seen(0, 1, Found::WorkerGone)).decide(vec![Event::Held { task: 0, attempt: 1 }])
}

/// Nobody has started it.
fn held_unstarted() -> Told {
    let lost = report("w1", 0, 1, What::Ended(end(Outcome::Lost)));
    told(HOLD).say(lost).decide(vec![Event::Held { task: 0, attempt: 1 }])
}

/// Another offer of an attempt.
fn again(tasks: &str, offer: u32) -> Event {
    let Event::Offered { job, tasks, attempt, .. } = offered("a", tasks, 1) else { panic!() };
    Event::Offered { job, tasks, attempt, offer }
}

/// Its first offer was gone.
fn twice(flow: &str) -> Told {
    told(flow).say(seen(0, 1, Found::OfferGone)).decide(vec![again("0", 2)])
}

fn stop(told: Told) -> Told {
    let cancel = (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }));
    told.say(cancel).decide(vec![Event::CancelRequested { by: "t".into(), reason: None }])
}

/// What was seen of an offer of task 0, and whether it was claimed for nobody.
fn looked(offer: u32, found: Found, withdrawn: bool) -> (Source, Input) {
    let (source, mut input) = seen(0, 1, found);
    let Input::Seen(seen) = &mut input else { panic!() };
    (seen.attempts[0].offer, seen.attempts[0].withdrawn) = (offer, withdrawn);
    (source, input)
}

#[test]
fn what_ends_by_a_look_ends_as_that_says() {
    use Found::{ClaimVoid, OfferGone, OfferUnserved, WorkerGone};
    use Outcome::{Cancelled, Failed, Lost, Ok, Refused, Timeout, Unreachable};
    for found in ALL {
        for outcome in [Ok, Failed, Timeout, Lost, Unreachable, Refused, Cancelled] {
            for by in [None, Some("w1"), Some("w2")] {
                let ends = |told: &Told, withdrawn| {
                    let told = told.clone().say(looked(1, found, withdrawn));
                    !told.decide(vec![ended(by, 0, 1, end(outcome))]).broken().contains(&Rule::Presence)
                };
                let what = format!("{found:?} {outcome:?} {by:?}");
                let (may_be, nobodys) = (ends(&told(FAIL), false), ends(&told(FAIL), true));
                let waits = match outcome {
                    Lost => by.is_none() && matches!(found, OfferGone | ClaimVoid),
                    Unreachable => by.is_none() && found == OfferUnserved,
                    _ => false,
                };
                assert_eq!(nobodys, waits, "nobody has started it: {what}");
                assert_eq!(may_be, waits && found == ClaimVoid, "somebody may claim it: {what}");
                let is_gone = (outcome, found, by) == (Lost, WorkerGone, Some("w1"));
                assert_eq!(ends(&runs(FAIL), true), is_gone, "it runs: {what}");
                assert!(!ends(&held(), true), "it is held: {what}");
                assert!(!ends(&twice(FAIL), true), "it was offered again: {what}");
            }
        }
        let of_another = told(FAIL).say(seen(1, 1, found)).decide(vec![ended(None, 0, 1, end(Lost))]);
        assert!(of_another.broken().contains(&Rule::Presence), "{found:?} of another task");
    }
}

/// What waits for a host that nobody serves ends when its flow waits no longer, and nobody can have claimed it.
#[test]
fn what_is_unreachable_was_waited_for() {
    let ends = |told: Told, offer, withdrawn, millis: i64| {
        let mut told = told.say(looked(offer, Found::OfferUnserved, withdrawn));
        let now = at(1) + millis.milliseconds();
        told.times.insert(told.last_said(), now);
        told = told.decide(vec![ended(None, 0, 1, end(Outcome::Unreachable))]);
        told.decisions.last_mut().unwrap().decision.events.iter_mut().for_each(|record| record.at = now);
        told
    };
    let queue = || Told::new(QUEUE, vec![offered("a", "0", 1)]);
    for (what, told, broken) in [
        ("its flow does not wait", ends(told(FREE), 1, false, 2), vec![]),
        ("its flow waits", ends(told(PATIENT), 1, false, 89_999), vec![Rule::Presence]),
        ("its flow has waited", ends(told(PATIENT), 1, false, 90_000), vec![]),
        ("since the first offer", ends(twice(PATIENT), 2, false, 90_000), vec![]),
        ("somebody may have claimed it", ends(told(FAIL), 1, false, 90_000), vec![Rule::Presence]),
        ("nobody can claim it", ends(told(FAIL), 1, true, 2), vec![]),
        ("it is for a queue", ends(queue(), 1, false, 90_000), vec![Rule::Presence]),
        ("it is to stop", ends(stop(told(FREE)), 1, false, 90_000), vec![Rule::Stop]),
    ] {
        for policy_of in [PolicyOf::Coordinators, PolicyOf::Reader] {
            let mut told = told.clone();
            told.policy_of = policy_of;
            assert_eq!(told.broken(), broken, "{what}, {policy_of:?}");
        }
    }
}

/// Only what is to stop ends cancelled by a look: what was lost before, and what nobody has started nor can any more.
#[test]
fn what_a_look_calls_cancelled_is_to_stop() {
    let but_void = ALL.into_iter().filter(|found| *found != Found::ClaimVoid).collect::<Vec<_>>();
    let (all, none) = (ALL.to_vec(), vec![]);
    for (what, told, by, withdrawn, fits) in [
        ("nobody has started it", stop(told(FREE)), None, false, &but_void),
        ("somebody is said to have", stop(told(FREE)), Some("w1"), false, &none),
        ("the run goes on", told(FAIL), None, true, &none),
        ("it may be claimed", stop(told(FAIL)), None, false, &none),
        ("nobody can claim it any more", stop(told(FAIL)), None, true, &but_void),
        ("another offer was looked at", stop(twice(FREE)), None, false, &none),
        ("it runs", stop(runs(FAIL)), None, true, &none),
        ("it runs, and who runs it is named", stop(runs(FAIL)), Some("w1"), true, &none),
        ("it was lost", stop(held()), Some("w1"), false, &all),
        ("it was lost, by somebody else", stop(held()), Some("w2"), false, &none),
        ("it was lost, by nobody", stop(held()), None, false, &none),
        ("it was lost, and the run goes on", held(), Some("w1"), false, &none),
        ("it was lost, and had not started", stop(held_unstarted()), None, false, &all),
    ] {
        for found in ALL {
            let told = told.clone().say(looked(1, found, withdrawn));
            let told = told.decide(vec![ended(by, 0, 1, end(Outcome::Cancelled))]);
            let expected = if fits.contains(&found) { vec![] } else { vec![Rule::Presence] };
            assert_eq!(told.broken(), expected, "{what}, {found:?}");
        }
    }
}

#[test]
fn what_is_held_was_lost_as_it_stands() {
    let hold = || vec![Event::Held { task: 0, attempt: 1 }];
    for found in ALL {
        for (what, told, withdrawn, fits) in [
            ("it waits", told(HOLD), false, found == Found::ClaimVoid),
            ("nobody can claim it", told(HOLD), true, matches!(found, Found::ClaimVoid | Found::OfferGone)),
            ("it runs", runs(HOLD), false, found == Found::WorkerGone),
            ("it was offered again", twice(HOLD), true, false),
        ] {
            let told = told.say(looked(1, found, withdrawn)).decide(hold());
            assert_eq!(told.broken(), if fits { vec![] } else { vec![Rule::Presence] }, "{what}, {found:?}");
        }
    }
    let lost = |worker: &str| report(worker, 0, 1, What::Ended(end(Outcome::Lost)));
    assert_eq!(told(HOLD).say(lost("w2")).decide(hold()).broken(), [], "nobody has started it");
    assert_eq!(runs(HOLD).say(lost("w1")).decide(hold()).broken(), [], "who runs it has lost it");
    assert_eq!(runs(HOLD).say(lost("w2")).decide(hold()).broken(), [Rule::Presence], "another one has lost it");
    let ends = |told: Told, by: &str| told.say(lost(by)).decide(vec![ended(Some(by), 0, 1, end(Outcome::Lost))]);
    assert_eq!(ends(told(FAIL), "w2").broken(), [], "nobody has started what ends");
    assert_eq!(ends(runs(FAIL), "w1").broken(), [], "who runs what ends has lost it");
    assert_eq!(ends(runs(FAIL), "w2").broken(), [Rule::Presence], "another one has lost what ends");
    assert_eq!(ends(stop(held()), "w1").broken(), [Rule::Presence], "it was lost before");
    let gone = stop(told(FAIL)).say(looked(1, Found::OfferGone, true));
    assert_eq!(gone.decide(vec![ended(None, 0, 1, end(Outcome::Lost))]).broken(), [Rule::Stop], "it is withdrawn");
}

/// A claim that is won is answered by the start, unless nobody can start it any more.
#[test]
fn who_has_won_a_claim_has_started() {
    let passed = |told: Told| told.say(claim("w1", 0, 1)).decide(vec![]).broken();
    assert_eq!(told(FAIL).say(claim("w1", 0, 1)).broken(), [], "it is not answered yet");
    assert_eq!(passed(told(FAIL)), [Rule::Claim]);
    assert_eq!(passed(stop(told(FAIL))), [Rule::Claim], "it runs until it is ended");
    assert_eq!(passed(told(FREE)), [], "nobody need claim it");
    assert_eq!(passed(held_unstarted()), [], "it is held as lost");
    let lost = told(FAIL).say(looked(1, Found::ClaimVoid, false));
    assert_eq!(passed(lost.decide(vec![ended(None, 0, 1, end(Outcome::Lost))])), [], "it is lost");
    let for_nobody = told(FAIL).say(claim("_rr", 0, 1)).decide(vec![]);
    assert_eq!(for_nobody.broken(), [], "it was claimed for nobody");
    // One decision may answer both.
    let both = told(FAIL).say(looked(1, Found::ClaimVoid, false));
    let cause = both.last_said();
    let both = both.say(claim("w1", 0, 1)).decide_of(cause, vec![ended(None, 0, 1, end(Outcome::Lost))]);
    assert_eq!(both.broken(), [], "it was lost before");
    let both = told(FAIL).say(claim("w1", 0, 1)).say(looked(1, Found::ClaimVoid, false));
    assert_eq!(both.decide(vec![ended(None, 0, 1, end(Outcome::Lost))]).broken(), [Rule::Claim], "it was lost later");
}

/// An attempt is offered again when its offer was seen to be gone, or was given back, and has not started.
#[test]
fn what_is_offered_again_was_gone_or_given_back() {
    let (unseen, impossible) = (|| vec![Rule::Presence], || vec![Rule::Chain, Rule::Presence]);
    for found in ALL {
        let told = told(FREE).say(seen(0, 1, found)).decide(vec![again("0", 2)]);
        assert_eq!(told.broken(), if found == Found::OfferGone { vec![] } else { unseen() }, "{found:?}");
    }
    let returns = || report("w1", 0, 1, What::Returned {});
    let returned = || Event::Returned { task: 0, attempt: 1, offer: 1, by: holder("w1") };
    let lost = || report("w1", 0, 1, What::Ended(end(Outcome::Lost)));
    for (what, told, said, events, broken) in [
        ("another task was gone", told(FREE), seen(1, 1, Found::OfferGone), vec![again("0", 2)], unseen()),
        ("one of two was", told(FREE), seen(0, 1, Found::OfferGone), vec![again("0-1", 2)], unseen()),
        ("another attempt was", told(FREE), seen(0, 2, Found::OfferGone), vec![again("0", 2)], unseen()),
        ("nobody has looked", told(FREE), (Source::Timer, Input::Timer {}), vec![again("0", 2)], unseen()),
        (
            "no coordinator has",
            told(FREE),
            (Source::Api, seen(0, 1, Found::OfferGone).1),
            vec![again("0", 2)],
            unseen(),
        ),
        ("the second one was", twice(FREE), looked(2, Found::OfferGone, false), vec![again("0", 3)], vec![]),
        ("the first one still is", twice(FREE), looked(1, Found::OfferGone, false), vec![again("0", 3)], unseen()),
        ("it was given back", told(FREE), returns(), vec![returned(), again("0", 2)], vec![]),
        ("it was, and that is not said", told(FREE), returns(), vec![again("0", 2)], unseen()),
        ("somebody has lost it", told(FREE), lost(), vec![again("0", 2)], unseen()),
        (
            "it was given back before",
            told(FREE).say(returns()).decide(vec![returned()]),
            seen(0, 1, Found::OfferWaits),
            vec![again("0", 2)],
            unseen(),
        ),
        (
            "it was given back, and is gone",
            told(FREE).say(returns()).decide(vec![returned()]),
            seen(0, 1, Found::OfferGone),
            vec![again("0", 2)],
            vec![],
        ),
        ("it runs", runs(FAIL), seen(0, 1, Found::OfferGone), vec![again("0", 2)], impossible()),
        ("it is held as lost", held(), seen(0, 1, Found::OfferGone), vec![again("0", 2)], impossible()),
        (
            "there is no such task",
            told(FREE),
            seen(0, 1, Found::OfferGone),
            vec![again("0-4000000000", 2)],
            vec![Rule::Count],
        ),
        ("it is out of turn", told(FREE), seen(0, 1, Found::OfferWaits), vec![again("0", 3)], vec![Rule::Count]),
    ] {
        assert_eq!(told.say(said).decide(events).broken(), broken, "{what}");
    }
}
