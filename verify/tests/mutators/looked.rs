//! What follows from a look, case by case.

use rr_schemas::{
    decision::Event,
    input::{Cancel, Found, Input, Source},
    report::{Outcome, What},
};
use rr_verify::Rule;

use crate::told::{Told, claim, end, ended, holder, offered, report, seen, started};

/// Two tasks that go on whatever becomes of the other one.
const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;
const HOLD: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"hold"}]}"#;

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
