//! What goes on, and for how long, case by case.

use jiff::{Timestamp, ToSpan as _};
use rr_schemas::{
    decision::Event,
    input::{Cancel, Found, Input, Source},
    report::{Outcome, What},
};
use rr_verify::Rule;

use crate::told::{Told, at, claim, end, offered, report, seen, started};

const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;

const HOLD: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"hold"}]}"#;
const PATIENT: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","on_unreachable":"wait 90s"}]}"#;
const QUEUE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"queue":"q"}]}"#;

fn waits(flow: &str) -> Told {
    Told::new(flow, vec![offered("a", "0-1", 1)])
}

fn runs() -> Told {
    waits(FREE).say(report("w1", 0, 1, What::Started { at: at(0) })).decide(vec![started("w1", 0, 1)])
}

fn queued() -> Told {
    Told::new(QUEUE, vec![offered("a", "0", 1)])
}

/// Somebody has stopped the run before anybody has started.
fn stops(flow: &str) -> Told {
    let cancel = (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }));
    waits(flow).say(cancel).decide(vec![Event::CancelRequested { by: "t".into(), reason: None }])
}

/// Its worker was lost, and people are to say what becomes of it.
fn held() -> Told {
    let told = waits(HOLD).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]);
    told.say(seen(0, 1, Found::WorkerGone)).decide(vec![Event::Held { task: 0, attempt: 1 }])
}

/// What was seen of an attempt that was claimed for nobody.
fn withdrawn(found: Found) -> (Source, Input) {
    let (source, mut input) = seen(0, 1, found);
    let Input::Seen(seen) = &mut input else { panic!() };
    seen.attempts[0].withdrawn = true;
    (source, input)
}

/// It goes on because of this, for so many seconds and milliseconds.
fn goes_on(told: Told, said: (Source, Input), tasks: &str, (seconds, millis): (i64, i64)) -> Vec<Rule> {
    let told = told.say(said);
    let until: Timestamp = at(told.last_said()) + seconds.seconds() + millis.milliseconds();
    told.decide(vec![Event::Extended { tasks: tasks.parse().unwrap(), until }]).broken()
}

#[test]
fn what_goes_on_was_seen_and_is_looked_after_again() {
    let lost = |worker: &str| report(worker, 0, 1, What::Ended(end(Outcome::Lost)));
    let claimed = || waits(FAIL).say(claim("w1", 0, 1)).decide(vec![started("w1", 0, 1)]);
    let (unseen, unheeded) = (vec![Rule::Presence], vec![Rule::Liveness]);
    for (what, told, said, tasks, time, broken) in [
        ("its worker is there", runs(), seen(0, 1, Found::WorkerPresent), "0", (30, 0), vec![]),
        ("for longer than a lease", runs(), seen(0, 1, Found::WorkerPresent), "0", (30, 1), unheeded.clone()),
        ("its worker is gone", runs(), seen(0, 1, Found::WorkerGone), "0", (0, 0), unseen.clone()),
        ("its offer is not what it lives by", runs(), seen(0, 1, Found::OfferWaits), "0", (0, 0), unseen.clone()),
        ("another task was seen", runs(), seen(1, 1, Found::WorkerPresent), "0", (0, 0), unseen.clone()),
        ("one of two was seen", runs(), seen(0, 1, Found::WorkerPresent), "0-1", (0, 0), unseen.clone()),
        ("another attempt was seen", runs(), seen(0, 2, Found::WorkerPresent), "0", (0, 0), unseen.clone()),
        ("somebody else has lost it", runs(), lost("w2"), "0", (0, 0), vec![]),
        ("and nobody looks at once", runs(), lost("w2"), "0", (0, 1), unheeded.clone()),
        ("it has lost it itself", runs(), lost("w1"), "0", (0, 0), unseen.clone()),
        ("nobody runs it", waits(FREE), lost("w1"), "0", (0, 0), unseen.clone()),
        ("its offer waits", waits(FREE), seen(0, 1, Found::OfferWaits), "0", (600, 0), vec![]),
        ("its offer waits too long", waits(FREE), seen(0, 1, Found::OfferWaits), "0", (600, 1), unheeded.clone()),
        ("nobody has started it", waits(FREE), seen(0, 1, Found::WorkerPresent), "0", (0, 0), unseen.clone()),
        ("its offer is gone", waits(FREE), seen(0, 1, Found::OfferGone), "0", (0, 0), unseen.clone()),
        ("somebody may have claimed it", waits(FAIL), seen(0, 1, Found::OfferGone), "0", (0, 0), vec![]),
        ("and nobody looks", waits(FAIL), seen(0, 1, Found::OfferGone), "0", (0, 1), unheeded.clone()),
        ("its claim is void", waits(FAIL), seen(0, 1, Found::ClaimVoid), "0", (0, 0), unseen.clone()),
        ("who has claimed it is there", claimed(), seen(0, 1, Found::WorkerPresent), "0", (30, 0), vec![]),
        ("nothing was seen", runs(), (Source::Timer, Input::Timer {}), "0", (0, 0), unseen),
        (
            "there is no such task",
            runs(),
            seen(0, 1, Found::WorkerPresent),
            "0-4000000000",
            (0, 0),
            vec![Rule::Chain, Rule::Presence],
        ),
    ] {
        assert_eq!(goes_on(told, said, tasks, time), broken, "{what}");
    }
}

/// What nobody can start is not waited for, nor what nobody serves for longer than its flow says.
#[test]
fn what_is_waited_for_may_still_start() {
    let (unseen, unheeded, in_vain) = (vec![Rule::Presence], vec![Rule::Liveness], vec![Rule::Stop]);
    for (what, told, said, time, broken) in [
        ("nobody works for its queue", queued(), seen(0, 1, Found::OfferUnserved), (600, 0), vec![]),
        ("nobody serves it", waits(FREE), seen(0, 1, Found::OfferUnserved), (0, 0), unseen.clone()),
        ("nobody serves it yet", waits(PATIENT), seen(0, 1, Found::OfferUnserved), (89, 0), vec![]),
        ("for longer than the flow says", waits(PATIENT), seen(0, 1, Found::OfferUnserved), (90, 0), unheeded.clone()),
        ("nobody serves what may be claimed", waits(FAIL), seen(0, 1, Found::OfferUnserved), (0, 0), vec![]),
        ("nobody can claim it any more", waits(FAIL), withdrawn(Found::OfferUnserved), (0, 0), unseen.clone()),
        ("nobody can claim it", waits(FAIL), withdrawn(Found::OfferGone), (0, 0), unseen.clone()),
        ("it is to stop, and waits", stops(FREE), seen(0, 1, Found::OfferWaits), (0, 0), in_vain.clone()),
        ("it may be claimed, and is to stop", stops(FAIL), seen(0, 1, Found::OfferWaits), (0, 0), vec![]),
        ("whoever was seen", stops(FAIL), seen(0, 1, Found::WorkerPresent), (0, 0), vec![]),
        ("or was not seen", stops(FAIL), seen(0, 1, Found::WorkerGone), (0, 0), vec![]),
        ("and nobody looks then", stops(FAIL), seen(0, 1, Found::OfferWaits), (0, 1), in_vain.clone()),
        ("nobody can claim what is to stop", stops(FAIL), withdrawn(Found::OfferWaits), (0, 0), in_vain.clone()),
        ("void, and to stop", stops(FAIL), seen(0, 1, Found::ClaimVoid), (0, 0), in_vain.clone()),
        ("it is held as lost", held(), seen(0, 1, Found::WorkerPresent), (0, 0), unseen.clone()),
    ] {
        assert_eq!(goes_on(told, said, "0", time), broken, "{what}");
    }
}
