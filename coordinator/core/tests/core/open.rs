//! What becomes of open attempts: claimed, late, lost, looked after, stopped.

use rr_core::{Effect, Heard, Run, Wait};
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

    let mut restarted = Stage::new(&one_job(1, r#""on_lost":"hold""#));
    restarted.claim("w1", 0, 1);
    restarted.look(Found::WorkerGone);
    assert_eq!(restarted.end(0, 1, Outcome::Lost, None), [], "a worker that has begun a new life knows no more");
    restarted.cancel();
    assert_eq!(restarted.end(0, 1, Outcome::Lost, None), [], "nor in a run that is being stopped: a look ends it");
    restarted.look(Found::WorkerGone);
    assert_eq!(restarted.run.status(), RunStatus::Cancelled);

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
fn an_attempt_under_a_lock_is_claimed_and_a_lost_one_follows_on_lost() {
    let mut stage = Stage::new(&one_job(1, r#""lock":"deploy""#));
    let plan = stage.run.plan().unwrap();
    let offer = plan.offer(stage.run.id(), 0, 1, 1).unwrap();
    assert_eq!((offer.claimed, offer.lock), (true, Some("deploy".parse().unwrap())));
    assert_eq!(stage.start("w1", 0, 1), [], "a start is no claim");
    assert_eq!(stage.claim("w1", 0, 1).len(), 1);
    assert_eq!(stage.claim("w2", 0, 1), []);
    stage.end_by("w1", 0, 1, Outcome::Lost, None);
    assert_eq!(stage.claim("w2", 0, 2).len(), 1, "the next attempt has a claim of its own");
    stage.end_by("w2", 0, 2, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);

    let mut fail = Stage::new(&one_job(1, r#""lock":"deploy","on_lost":"fail""#));
    fail.claim("w1", 0, 1);
    fail.end_by("w1", 0, 1, Outcome::Lost, None);
    assert_eq!(fail.run.status(), RunStatus::Failed);
}

#[test]
fn late_and_repeated_reports_change_nothing() {
    let mut stage = Stage::new(&one_job(2, r#""retry":{"attempts":2}"#));
    stage.end(0, 1, Outcome::Failed, Some(1));
    let late = stage.end(0, 1, Outcome::Ok, Some(0));
    assert!(matches!(late[..], [Record { event: Event::Late { outcome: Some(Outcome::Ok), .. }, .. }]));
    stage.end(0, 2, Outcome::Ok, Some(0));
    assert_eq!(stage.end(0, 2, Outcome::Ok, Some(0)), [], "the same worker says the same again");
    let other = stage.end_by("w2", 0, 2, Outcome::Failed, Some(1));
    assert!(matches!(other[..], [Record { event: Event::Late { .. }, .. }]));
    assert_eq!(stage.run.view().jobs[0].ok, 1);
    let report = Report {
        task: 1,
        attempt: 9,
        offer: 1,
        instance: "i".parse().unwrap(),
        what: What::Started { at: stage.now },
        token: String::new(),
    };
    let source = Source::Worker("w1".parse().unwrap());
    let unknown = stage.run.decide(&[Heard::new(99, stage.now, source, Input::Report(report))]);
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

/// A start that comes too late goes on in vain: whoever says it is told to end, once, and it is noted.
#[test]
fn a_start_that_does_not_count_is_ended() {
    type Before = fn(&mut Stage);
    let flow = one_job(1, r#""retry":{"attempts":2,"delay":"1h"}"#);
    let told = |records: Vec<Record>, run: &Run| -> Vec<String> {
        let kill = |effect: &Effect| match effect {
            Effect::Kill { attempt, holder, .. } => Some(format!("{} {attempt}", holder.worker)),
            _ => None,
        };
        run.effects(&records).iter().filter_map(kill).collect()
    };
    let cases: [(&str, Before, &[&str]); 9] = [
        ("offered", |_| (), &[]),
        ("it runs there already", |stage| drop(stage.start("w1", 0, 1)), &[]),
        ("another one runs it", |stage| drop(stage.start("w2", 0, 1)), &["w1 1"]),
        ("it said its end before", |stage| drop(stage.end(0, 1, Outcome::Ok, Some(0))), &[]),
        ("another one ended it", |stage| drop(stage.end_by("w2", 0, 1, Outcome::Ok, Some(0))), &["w1 1"]),
        ("the next attempt is to come", |stage| drop(stage.end_by("w2", 0, 1, Outcome::Failed, Some(1))), &["w1 1"]),
        (
            "the next attempt is offered",
            |stage| {
                stage.end_by("w2", 0, 1, Outcome::Failed, Some(1));
                stage.fire();
            },
            &["w1 1"],
        ),
        (
            "the next attempt runs there",
            |stage| {
                stage.end_by("w2", 0, 1, Outcome::Failed, Some(1));
                stage.fire();
                stage.start("w1", 0, 2);
            },
            &["w1 1"],
        ),
        (
            "the run was stopped",
            |stage| {
                stage.cancel();
                stage.look(Found::OfferWaits);
            },
            &["w1 1"],
        ),
    ];
    for (case, before, expected) in cases {
        let mut stage = Stage::new(&flow);
        before(&mut stage);
        let records = stage.start("w1", 0, 1);
        assert_eq!(told(records, &stage.run), expected, "{case}");
    }
}

/// What the second of two workers says after it was told to end does not end the attempt of the first.
#[test]
fn of_two_workers_that_started_the_first_goes_on() {
    let mut stage = Stage::new(&one_job(1, ""));
    stage.start("w1", 0, 1);
    stage.start("w2", 0, 1);
    let late = stage.end_by("w2", 0, 1, Outcome::Cancelled, None);
    assert!(
        matches!(late[..], [Record { event: Event::Late { outcome: Some(Outcome::Cancelled), .. }, .. }]),
        "{late:?}"
    );
    stage.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
}

/// A worker that was only cut off goes on for nothing: it is told to end when it is given up, and again when it says that
/// it runs; what it says in the end is noted.
#[test]
fn a_worker_that_was_given_up_and_lives_is_told_and_heard() {
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    stage.claim("w1", 0, 1);
    let lost = stage.look(Found::WorkerGone);
    let kills = |records: &[Record], run: &Run| {
        run.effects(records).iter().filter(|effect| matches!(effect, Effect::Kill { .. })).count()
    };
    assert_eq!((kills(&lost, &stage.run), stage.run.status()), (1, RunStatus::Failed));
    let back = stage.start("w1", 0, 1);
    assert_eq!(kills(&back, &stage.run), 1);
    let late = stage.end(0, 1, Outcome::Ok, Some(0));
    assert!(matches!(late[..], [Record { event: Event::Late { outcome: Some(Outcome::Ok), .. }, .. }]), "{late:?}");
    assert_eq!(stage.run.status(), RunStatus::Failed, "what was decided stays");
}

/// Nobody can start an attempt whose claim is in hands that do not count: it is lost, also when the run is stopped.
#[test]
fn an_attempt_that_nobody_can_claim_is_lost() {
    for (on_lost, stop, expected) in [
        ("fail", false, RunStatus::Failed),
        ("fail", true, RunStatus::Cancelled),
        ("hold", false, RunStatus::Running),
        ("hold", true, RunStatus::Cancelled),
    ] {
        let mut stage = Stage::new(&one_job(1, &format!(r#""on_lost":"{on_lost}""#)));
        if stop {
            stage.cancel();
        }
        stage.look(Found::ClaimVoid);
        assert_eq!(stage.run.status(), expected, "{on_lost}, stopped: {stop}");
        assert_eq!(stage.offered(), 1, "it is not handed out again");
    }
}
