//! Timers.

use async_nats::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use rr_nats::PublishError;
use rr_schemas::input::{Input, Source};

use super::{World, append, entity, take, world};

/// The server's clock, which is this machine's.
async fn now(world: &World) -> Timestamp {
    world.mesh.request(&entity("clock"), "me", &super::cancel("me")).await.unwrap();
    world.mesh.inputs_after(&entity("clock"), 0, 0).await.unwrap().pop().unwrap().at()
}

#[tokio::test]
async fn a_timer_fires_once_not_early_and_the_last_arming_counts() {
    let world = world().await;
    let one = entity("r1");
    let seq = append(&world.mesh, &one, 1, 0).await.unwrap();
    let at = now(&world).await + SignedDuration::from_millis(400);
    world.mesh.arm(&one, at + SignedDuration::from_hours(1), seq).await.unwrap();
    world.mesh.arm(&one, at, seq).await.unwrap();
    let mut feed = world.feed(&one).await;
    let fired = loop {
        let next = take(&mut feed, 1).await.remove(0);
        if next.entity == one {
            break next;
        }
    };
    assert_eq!((fired.source, fired.input), (Source::Timer, Ok(Input::Timer {})));
    assert!(fired.raw.scheduler().is_some_and(|scheduler| scheduler.starts_with("rr.at.")));
    assert!(fired.raw.at >= at, "{} is before {at}", fired.raw.at);
    let subjects = world.mesh.inputs_after(&one, 0, 0).await.unwrap();
    assert_eq!(subjects.len(), 1);
}

#[tokio::test]
async fn a_stale_coordinator_arms_nothing() {
    let world = world().await;
    let one = entity("r1");
    let first = append(&world.mesh, &one, 1, 0).await.unwrap();
    append(&world.mesh, &one, 2, first).await.unwrap();
    let later = now(&world).await + SignedDuration::from_hours(1);
    assert_eq!(world.mesh.arm(&one, later, first).await, Err(PublishError::Conflict));
    assert_eq!(world.mesh.arm(&one, later, 0).await, Err(PublishError::Conflict));
}

#[tokio::test]
async fn a_foreign_schedule_is_seen_through() {
    let world = world().await;
    let (one, two) = (entity("r1"), entity("r2"));
    let js = world.stranger().await;
    // A worker that may only report lets the server speak for it: to a timer, to the api, to the decisions.
    let report = format!("rr.in.{}.r2.w.w1", world.mesh.partition_of(&two));
    let partition = world.mesh.partition_of(&one);
    let targets = [
        (
            format!("rr.in.{partition}.r1.timer"),
            r#"{"v":1,"kind":"rr.input","from":"coordinator:timer","to":"r1","body":{"timer":{}}}"#,
        ),
        (
            format!("rr.in.{partition}.r1.api"),
            r#"{"v":1,"kind":"rr.input","from":"api:me","to":"r1","body":{"cancel":{"by":"me"}}}"#,
        ),
        (
            format!("rr.ev.{partition}.r1"),
            r#"{"v":1,"kind":"rr.decision","from":"coordinator:c1","to":"r1","body":{"n":1,"by":"c1","upto":0,"events":[]}}"#,
        ),
    ];
    for (n, (target, body)) in targets.iter().enumerate() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Schedule", "@at 2020-01-01T00:00:00Z");
        headers.insert("Nats-Schedule-Target", target.as_str());
        let subject = format!("{report}{n}");
        js.publish_with_headers(subject, headers, (*body).into()).await.unwrap().await.unwrap();
    }
    let inputs = || async { world.mesh.inputs_after(&one, 0, 0).await.unwrap() };
    super::until("both inputs are there", || async { inputs().await.len() == 2 }).await;
    for input in inputs().await {
        assert!(input.input.is_err(), "{} was believed", input.raw.subject);
    }
    super::until("the decision is there", || async { world.mesh.last_decision(&one).await.unwrap().is_some() }).await;
    assert!(world.mesh.last_decision(&one).await.unwrap().unwrap().decision.is_err());
}
