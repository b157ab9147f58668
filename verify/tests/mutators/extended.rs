//! What goes on, and for how long, case by case.

use jiff::{Timestamp, ToSpan as _};
use rr_schemas::{
    decision::Event,
    input::{Found, Input, Source},
    report::{Outcome, What},
};
use rr_verify::Rule;

use crate::told::{Told, at, claim, end, offered, report, seen, started};

const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;

fn waits(flow: &str) -> Told {
    Told::new(flow, vec![offered("a", "0-1", 1)])
}

fn runs() -> Told {
    waits(FREE).say(report("w1", 0, 1, What::Started { at: at(0) })).decide(vec![started("w1", 0, 1)])
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
        ("nobody serves it yet", waits(FREE), seen(0, 1, Found::OfferUnserved), "0", (600, 0), vec![]),
        ("nobody has started it", waits(FREE), seen(0, 1, Found::WorkerPresent), "0", (0, 0), unseen.clone()),
        ("its offer is gone", waits(FREE), seen(0, 1, Found::OfferGone), "0", (0, 0), unseen.clone()),
        ("somebody may have claimed it", waits(FAIL), seen(0, 1, Found::OfferGone), "0", (0, 0), vec![]),
        ("and nobody looks", waits(FAIL), seen(0, 1, Found::OfferGone), "0", (0, 1), unheeded),
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
