//! What becomes of open attempts: claimed, late, lost, looked after, stopped.

use rr_core::{Effect, Heard, Wait};
use rr_schemas::{
    decision::{Event, Record, RunStatus},
    input::{Found, Input, Seen, SeenAttempts, Source},
    report::{Outcome, Report, What},
};

use super::{
    flows::{flow, one_job},
    stage::{Stage, offers},
};

#[test]
fn on_lost_fail_and_hold() {
    let mut fail = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    fail.claim("w1", 0, 1);
    fail.look(Found::WorkerGone);
    assert_eq!(fail.run.status(), RunStatus::Failed);

    let mut hold = Stage::new(&one_job(1, r#""on_lost":"hold""#));
    hold.claim("w1", 0, 1);
    hold.look(Found::WorkerGone);
    assert!(matches!(hold.run.waits()[..], [Wait::Person { .. }]));
    hold.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(hold.run.status(), RunStatus::Succeeded, "the lost worker came back and said how it ended");

    let mut person = Stage::new(&one_job(1, r#""on_lost":"hold""#));
    person.claim("w1", 0, 1);
    person.look(Found::WorkerGone);
    person.cancel();
    person.look(Found::WorkerGone);
    assert_eq!(person.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_claimed_attempt_belongs_to_the_first_who_claims() {
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    assert_eq!(stage.start("w1", 0, 1), [], "a start is no claim");
    assert_eq!(stage.end(0, 1, Outcome::Ok, Some(0)), [], "an unclaimed end does not count");
    assert_eq!(stage.claim("w1", 0, 1).len(), 1);
    assert_eq!(stage.claim("w2", 0, 1), []);
    assert_eq!(stage.end_by("w2", 0, 1, Outcome::Ok, Some(0)), []);
    stage.end_by("w1", 0, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
}

#[test]
fn late_and_repeated_reports_change_nothing() {
    let mut stage = Stage::new(&one_job(2, r#""retry":{"attempts":2}"#));
    stage.end(0, 1, Outcome::Failed, Some(1));
    let late = stage.end(0, 1, Outcome::Ok, Some(0));
    assert!(matches!(late[..], [Record { event: Event::Late { outcome: Outcome::Ok, .. }, .. }]));
    stage.end(0, 2, Outcome::Ok, Some(0));
    assert_eq!(stage.end(0, 2, Outcome::Ok, Some(0)), [], "the same worker says the same again");
    let other = stage.end_by("w2", 0, 2, Outcome::Failed, Some(1));
    assert!(matches!(other[..], [Record { event: Event::Late { .. }, .. }]));
    assert_eq!(stage.run.view().jobs[0].ok, 1);
    let unknown = stage.run.decide(&[Heard {
        seq: 99,
        at: stage.now,
        source: Source::Worker("w1".parse().unwrap()),
        input: Input::Report(Report {
            task: 1,
            attempt: 9,
            offer: 1,
            instance: "i".parse().unwrap(),
            what: What::Started { at: stage.now },
        }),
    }]);
    assert_eq!(unknown.unbelieved.len(), 1);
}

#[test]
fn what_is_seen_decides_about_open_attempts() {
    let mut offered = Stage::new(&one_job(1, ""));
    let first = offered.run.deadline();
    assert!(matches!(offered.look(Found::OfferWaits)[..], [Record { event: Event::Extended { .. }, .. }]));
    assert!(offered.run.deadline() > first);
    assert_eq!(offers(&offered.look(Found::OfferGone)), [("0".into(), 1, 2)], "the same attempt, offered again");
    offered.look(Found::OfferUnserved);
    assert_eq!(offered.run.view().jobs[0].unreachable, 1);
    assert_eq!(offered.run.status(), RunStatus::Failed);

    let mut queued = Stage::new(&flow(r#"{"name":"f","jobs":[{"name":"a","run":["x"]}]}"#));
    for _ in 0..20 {
        queued.look(Found::OfferUnserved);
    }
    assert_eq!(queued.run.status(), RunStatus::Running, "a queue waits for its workers");

    let mut running = Stage::new(&one_job(1, ""));
    running.start("w1", 0, 1);
    running.look(Found::WorkerPresent);
    assert_eq!(offers(&running.look(Found::WorkerGone)), [("0".into(), 2, 1)]);
}

#[test]
fn a_second_delivery_does_not_double_a_worker_that_is_only_slow() {
    let mut stage = Stage::new(&one_job(1, ""));
    stage.start("w1", 0, 1);
    let lost = stage.end_by("w2", 0, 1, Outcome::Lost, None);
    assert!(matches!(lost[..], [Record { event: Event::Extended { .. }, .. }]), "look first");
    assert!(offers(&stage.look(Found::WorkerPresent)).is_empty());
    stage.end_by("w1", 0, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
}

#[test]
fn cancel_kills_what_runs_and_withdraws_what_waits() {
    let mut stage = Stage::new(&one_job(3, r#""parallelism":2,"retry":{"attempts":5}"#));
    stage.start("w1", 0, 1);
    let records = stage.cancel();
    let effects = stage.run.effects(&records);
    assert!(effects.contains(&Effect::WithdrawRun));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Kill { task: 0, .. })));
    assert!(stage.cancel().is_empty(), "once is enough");
    stage.look(Found::OfferGone);
    assert_eq!(stage.run.status(), RunStatus::Running, "waits for what runs");
    stage.end(0, 1, Outcome::Cancelled, None);
    assert_eq!(stage.run.status(), RunStatus::Cancelled);
    let job = &stage.run.view().jobs[0];
    assert_eq!((job.failed, job.not_started), (2, 1));
}

#[test]
fn a_cancel_is_honoured_between_attempts_and_before_the_first() {
    let mut between = Stage::new(&one_job(1, r#""retry":{"attempts":2,"delay":"1h"}"#));
    between.end(0, 1, Outcome::Failed, Some(1));
    between.cancel();
    assert_eq!(between.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_run_out_of_time_is_stopped() {
    let text = r#"{"name":"f","timeout":"10s","jobs":[{"name":"a","run":["x"],"hosts":"h1"}]}"#;
    let mut stage = Stage::new(&flow(text));
    stage.start("w1", 0, 1);
    let records = stage.fire();
    assert!(stage.run.effects(&records).iter().any(|effect| matches!(effect, Effect::Kill { .. })));
    stage.end(0, 1, Outcome::Cancelled, None);
    assert_eq!(stage.run.status(), RunStatus::TimedOut);
}

#[test]
fn what_was_seen_of_an_earlier_offer_does_not_count() {
    let mut stage = Stage::new(&one_job(1, ""));
    stage.look(Found::OfferGone);
    let of_before = SeenAttempts {
        tasks: [0].into_iter().collect(),
        attempt: 1,
        offer: 1,
        found: Found::OfferUnserved,
        withdrawn: true,
    };
    assert_eq!(stage.hear(Source::Note, Input::Seen(Seen { attempts: vec![of_before] })), []);
}

#[test]
fn offers_that_keep_vanishing_are_a_loss() {
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    for offer in 2..=4 {
        assert_eq!(offers(&stage.look(Found::OfferGone)), [("0".into(), 1, offer)]);
    }
    stage.look(Found::OfferGone);
    assert_eq!(stage.run.status(), RunStatus::Failed);
}

#[test]
fn a_kill_is_repeated_until_the_attempt_ends() {
    let mut stage = Stage::new(&one_job(2, ""));
    stage.start("w1", 0, 1);
    stage.cancel();
    let kills = |stage: &Stage, records: &[Record]| {
        let effects = stage.run.effects(records);
        effects.iter().filter(|effect| matches!(effect, Effect::Kill { .. })).count()
    };
    let started = stage.start("w2", 1, 1);
    assert_eq!(kills(&stage, &started), 1, "a start that crossed the cancel");
    let looked = stage.look(Found::WorkerPresent);
    assert_eq!(kills(&stage, &looked), 2, "every look asks again");
}

#[test]
fn a_claimed_attempt_is_concluded_only_when_nobody_can_start_it_any_more() {
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    let seen = |found, withdrawn| {
        let tasks = [0].into_iter().collect();
        Input::Seen(Seen { attempts: vec![SeenAttempts { tasks, attempt: 1, offer: 1, found, withdrawn }] })
    };
    let unclaimed = stage.hear(Source::Note, seen(Found::OfferUnserved, false));
    assert!(matches!(unclaimed[..], [Record { event: Event::Extended { .. }, .. }]), "look again: {unclaimed:?}");
    stage.cancel();
    let waits = stage.hear(Source::Note, seen(Found::OfferWaits, false));
    assert!(matches!(waits[..], [Record { event: Event::Extended { .. }, .. }]), "seen before the cancel: {waits:?}");
    stage.hear(Source::Note, seen(Found::OfferWaits, true));
    assert_eq!(stage.run.status(), RunStatus::Cancelled);
}

#[test]
fn a_stopped_run_leaves_no_offers_behind() {
    let mut stage = Stage::new(&one_job(1, ""));
    let offered = stage.log.clone();
    stage.cancel();
    assert_eq!(stage.run.effects(&offered), [], "what was decided before is not offered any more");
    let ended = stage.look(Found::OfferGone);
    assert_eq!(stage.run.effects(&ended), [Effect::WithdrawRun]);
}
