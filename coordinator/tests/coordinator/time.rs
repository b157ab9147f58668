//! What follows from the passing of time.

use std::time::Duration;

use jiff::Timestamp;
use rr_coordinator::Options;
use rr_core::Policy;
use rr_schemas::{
    decision::{Event, RunStatus},
    id::{EntityId, RunId},
    input::{Cancel, Input},
    presence::Control,
    report::{Claim, Outcome},
};
use tokio::time::Instant;

use crate::support::{PATIENCE, World, hasty, millis, one_job, options, policy, until};

#[tokio::test]
async fn a_retry_waits_its_delay() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let rest = r#", "hosts": "h1", "retry": {"attempts": 3, "delay": "600ms"}"#;
    let run = world.submit("r1", &one_job(rest)).await;
    let mut last = worker.offer().await;
    for attempt in 2..=3 {
        let failed = Instant::now();
        worker.ends(&last, Outcome::Failed).await;
        last = worker.offer().await;
        assert_eq!(last.attempt, attempt);
        // The timers of the server are up to 250 ms late and never early.
        assert!(failed.elapsed() >= Duration::from_millis(600), "{:?}", failed.elapsed());
    }
    worker.ends(&last, Outcome::Failed).await;
    world.ends(&run, RunStatus::Failed).await;
}

#[tokio::test]
async fn a_delay_passes_also_while_no_coordinator_is_there() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let rest = r#", "hosts": "h1", "retry": {"attempts": 2, "delay": "1s"}"#;
    let run = world.submit("r1", &one_job(rest)).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Failed).await;
    world.happens(&run, |event| matches!(event, Event::Ended { .. })).await;
    drop(coordinator);
    let _successor = world.coordinator(options()).await;
    let again = worker.offer().await;
    assert_eq!(again.attempt, 2);
    worker.ends(&again, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn a_host_that_nobody_serves_is_unreachable() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(500), millis(60_000))).await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h[1-5]""#)).await;
    let view = world.ends(&run, RunStatus::Failed).await;
    assert_eq!(view.jobs[0].unreachable, 5);
}

#[tokio::test]
async fn an_offer_that_somebody_will_take_is_waited_for() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(300), millis(60_000))).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    for _ in 0..2 {
        let looks = world.events(&run).await.iter().filter(|event| matches!(event, Event::Extended { .. })).count();
        world.happens_more(&run, looks, |event| matches!(event, Event::Extended { .. })).await;
    }
    let offer = worker.offer().await;
    assert_eq!((offer.attempt, offer.offer), (1, 1));
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn an_offer_that_vanishes_is_made_again() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(500), millis(60_000))).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let vanished = worker.offer().await;
    let offer = worker.offer().await;
    assert_eq!((vanished.offer, offer.attempt, offer.offer), (1, 1, 2));
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn an_attempt_lives_as_long_as_its_worker_and_is_offered_again_after_it() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(60_000), millis(400))).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    worker.starts(&offer).await;
    world.happens(&run, |event| matches!(event, Event::Extended { .. })).await;
    worker.vanish().await;
    world.happens(&run, |event| matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Lost)).await;
    let mut successor = world.worker("w1", "h1").await;
    let again = successor.offer().await;
    assert_eq!(again.attempt, 2);
    successor.ends(&again, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn a_run_out_of_time_ends() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let flow = r#"{"name": "f", "timeout": "1s", "jobs": [{"name": "j", "handler": "noop", "queue": "q"}]}"#;
    let run = world.submit("r1", flow).await;
    world.ends(&run, RunStatus::TimedOut).await;
}

#[tokio::test]
async fn a_claimed_attempt_that_nobody_started_is_claimed_for_nobody_before_it_ends() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(400), millis(60_000))).await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1", "on_lost": "fail""#)).await;
    let view = world.ends(&run, RunStatus::Failed).await;
    assert_eq!(view.jobs[0].unreachable, 1);
    let claim = world.mesh.claim_of(&run, 0, 1).await.unwrap().unwrap();
    assert_eq!(claim.holder.unwrap().worker.as_str(), "_rr");
}

/// Its worker had lost its link and says so late that it has started: it must not go on for nothing.
#[tokio::test]
async fn a_start_that_is_heard_after_the_run_was_stopped_is_ended() {
    let world = World::new(hasty()).await;
    let policy = Policy { stop_wait: millis(300), ..Policy::default() };
    let _coordinator = world.coordinator(Options { policy, ..options() }).await;
    let mut worker = world.worker("w1", "h1").await;
    let mut controls = world.mesh.controls(&worker.name).await.unwrap();
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    let cancel = Input::Cancel(Cancel { by: "test".to_owned(), reason: None });
    world.mesh.request(&EntityId::from(&run), "test", &cancel).await.unwrap();
    world.ends(&run, RunStatus::Cancelled).await;
    worker.starts(&offer).await;
    let told = tokio::time::timeout(PATIENCE, controls.next()).await.unwrap().unwrap();
    assert_eq!(told, Control::Kill { run: run.clone(), task: 0, attempt: 1 });
    world.happens(&run, |event| matches!(event, Event::Late { outcome: None, .. })).await;
}

/// Somebody has taken the claim of an attempt that was still to come. Nothing may wait for it for ever.
#[tokio::test]
async fn an_attempt_whose_claim_is_in_wrong_hands_is_lost() {
    for stop in [false, true] {
        let world = World::new(hasty()).await;
        let policy = Policy { offer_expiry: millis(300), stop_wait: millis(300), ..Policy::default() };
        let _coordinator = world.coordinator(Options { policy, ..options() }).await;
        let forged = Claim {
            task: 0,
            attempt: 1,
            worker: "w9".parse().unwrap(),
            instance: "i9".parse().unwrap(),
            token: String::new(),
        };
        let run: RunId = "r1".parse().unwrap();
        world.mesh.claim(&run, &forged, rr_nats::Earlier::None).await.unwrap();
        let run = world.submit("r1", &one_job(r#", "hosts": "h1", "on_lost": "fail""#)).await;
        if stop {
            world.happens(&run, |event| matches!(event, Event::Offered { .. })).await;
            let cancel = Input::Cancel(Cancel { by: "test".to_owned(), reason: None });
            world.mesh.request(&EntityId::from(&run), "test", &cancel).await.unwrap();
        }
        world.ends(&run, if stop { RunStatus::Cancelled } else { RunStatus::Failed }).await;
        let lost = |event: &Event| matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Lost);
        assert!(world.events(&run).await.iter().any(lost), "stopped: {stop}");
    }
}

#[tokio::test]
async fn a_timer_that_fires_too_early_is_armed_anew() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(60_000), millis(60_000))).await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let entity = EntityId::from(&run);
    let armed = async || world.mesh.armed(&entity).await.unwrap();
    let first = until("its timer is armed", &armed).await;
    // As one does who has been overtaken and does not know it.
    let stale = world.mesh.arm(&entity, Timestamp::UNIX_EPOCH, Some(first)).await.unwrap();
    let second = until("it is armed anew", async || armed().await.filter(|armed| armed.seq > stale.seq)).await;
    assert_eq!(second.at, first.at, "what it waits for is the same");
}

/// Whoever loads a run does not know who armed its timer, nor whether that still fires: it is armed anew, and no later.
#[tokio::test]
async fn a_timer_that_is_early_enough_is_armed_anew_for_the_same_time() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(policy(millis(60_000), millis(60_000))).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    let entity = EntityId::from(&run);
    let first = until("its timer is armed", async || world.mesh.armed(&entity).await.unwrap()).await;
    drop(coordinator);
    let _successor = world.coordinator(policy(millis(90_000), millis(90_000))).await;
    worker.starts(&offer).await;
    world.happens(&run, |event| matches!(event, Event::Started { .. })).await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    let last = world.mesh.armed(&entity).await.unwrap().expect("a timer");
    assert!(last.seq > first.seq, "{last:?} is the first one");
    assert_eq!(last.at, first.at);
}

/// A server that is killed forgets that an earlier timer took the place of a later one: where the earlier one has fired, the
/// later one is there again, and never fires. A run that relied on it would sleep for ever.
#[tokio::test]
async fn a_timer_that_comes_back_with_a_killed_server_is_not_relied_on() {
    let mut world = World::new(hasty()).await;
    let [other, entity]: [EntityId; 2] = ["r0", "r1"].map(|run| EntityId::from(&run.parse::<RunId>().unwrap()));
    let soon = Timestamp::now() + Duration::from_secs(2);
    // A message in front of it: an empty stream forgets nothing.
    world.mesh.arm(&other, soon + Duration::from_hours(1), None).await.unwrap();
    let replaced = world.mesh.arm(&entity, soon, None).await.unwrap();
    world.mesh.arm(&entity, Timestamp::UNIX_EPOCH, Some(replaced)).await.unwrap();
    until("the earlier one has fired", async || world.mesh.armed(&entity).await.unwrap().is_none().then_some(())).await;
    world.server.kill().await.unwrap();
    world.server.restart().await.unwrap();
    let there = until("the server answers", async || world.mesh.armed(&entity).await.ok()).await;
    assert_eq!(there, Some(replaced), "the server has learnt it: nothing is left to test here");
    let _coordinator = world.coordinator(policy(millis(4_000), millis(60_000))).await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let view = world.ends(&run, RunStatus::Failed).await;
    assert_eq!(view.jobs[0].unreachable, 1);
}
