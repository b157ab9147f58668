//! Offers that are given back unstarted, and those that vanish.

use rr_core::Effect;
use rr_schemas::{
    decision::{Event, RunStatus},
    input::Found,
    report::Outcome,
};

use super::{
    flows::one_job,
    stage::{Stage, offers},
};

#[test]
fn what_is_given_back_is_handed_out_again_at_once_and_costs_nothing() {
    let mut stage = Stage::new(&one_job(1, ""));
    for offer in 1..=20 {
        let records = stage.give_back("w1", 0, 1, offer);
        assert_eq!(offers(&records), [("0".into(), 1, offer + 1)]);
        assert!(matches!(&records[0].event, Event::Returned { by, .. } if by.worker.as_str() == "w1"), "{records:?}");
        assert_eq!(stage.run.effects(&records), [Effect::Offer { task: 0, attempt: 1, offer: offer + 1 }]);
    }
    for (attempt, offer) in [(1, 20), (1, 1), (0, 1), (2, 1)] {
        assert_eq!(stage.give_back("w1", 0, attempt, offer), [], "late, repeated or never offered: {attempt} {offer}");
    }
    stage.look(Found::OfferWaits);
    assert_eq!(stage.run.looks(stage.run.deadline().unwrap()).iter().filter(|look| look.is_last_offer).count(), 0);
    // Losses have all their tries left, and a new attempt begins anew.
    for attempt in 1..=3 {
        assert_eq!(offers(&stage.end(0, attempt, Outcome::Lost, None)), [("0".into(), attempt + 1, 1)]);
    }
    stage.end(0, 4, Outcome::Ok, Some(0));
    assert_eq!((stage.run.status(), stage.give_back("w1", 0, 4, 1)), (RunStatus::Succeeded, vec![]));
}

/// Those that came back were offers of another attempt.
#[test]
fn offers_of_each_attempt_that_vanish_are_counted_anew() {
    let mut stage = Stage::new(&one_job(1, r#""retry":{"attempts":2}"#));
    for offer in 1..=3 {
        stage.give_back("w1", 0, 1, offer);
    }
    assert_eq!(offers(&stage.end(0, 1, Outcome::Failed, Some(1))), [("0".into(), 2, 1)]);
    for offer in 2..=4 {
        assert_eq!(offers(&stage.look(Found::OfferGone)), [("0".into(), 2, offer)]);
    }
    assert_eq!(offers(&stage.look(Found::OfferGone)), [("0".into(), 3, 1)], "the attempt is lost, and no try");
}

#[test]
fn an_offer_that_somebody_runs_or_that_is_being_stopped_is_not_handed_out_again() {
    let mut running = Stage::new(&one_job(1, ""));
    running.start("w2", 0, 1);
    assert_eq!(running.give_back("w1", 0, 1, 1), []);
    let mut stopped = Stage::new(&one_job(1, ""));
    stopped.cancel();
    assert_eq!(stopped.give_back("w1", 0, 1, 1), []);
    stopped.look(Found::OfferGone);
    assert_eq!(stopped.run.status(), RunStatus::Cancelled);
}

/// What is given back again and again rests until it is looked after. It is never lost by that: it did not vanish, and a
/// lock may be held for long.
#[test]
fn an_offer_does_not_go_round_in_circles_and_is_not_lost_by_coming_back() {
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    for offer in 1..=100 {
        assert_eq!(offers(&stage.give_back("w1", 0, 1, offer)), [("0".into(), 1, offer + 1)]);
    }
    for offer in 101..=120 {
        assert_eq!(offers(&stage.give_back("w1", 0, 1, offer)), []);
        assert_eq!(offers(&stage.look(Found::OfferGone)), [("0".into(), 1, offer + 1)]);
    }
    // One that vanishes without a word is another thing: after four the attempt is lost.
    for offer in 122..=124 {
        assert_eq!(offers(&stage.look(Found::OfferGone)), [("0".into(), 1, offer)]);
    }
    stage.look(Found::OfferGone);
    assert_eq!(stage.run.status(), RunStatus::Failed);
}
