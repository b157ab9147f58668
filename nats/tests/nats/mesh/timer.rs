//! Timers.

use std::time::Duration;

use async_nats::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use rr_nats::{Armed, Fired, PublishError, Timers};
use rr_schemas::input::{Input, Source};

use super::{World, entity, instance, soon, take, world};

/// The server's clock, which is this machine's.
async fn now(world: &World) -> Timestamp {
    world.mesh.request(&entity("clock"), "me", &super::cancel("me")).await.unwrap();
    world.mesh.inputs_after(&entity("clock"), 0, 0).await.unwrap().pop().unwrap().at()
}

async fn timers(world: &World) -> Timers {
    Timers::open(&world.mesh, Duration::from_millis(500)).await.unwrap()
}

/// The next timer that fires.
async fn next(timers: &mut Timers) -> Fired {
    soon(async {
        loop {
            if timers.outstanding() == 0 {
                timers.request(1).await.unwrap();
            }
            if let Some(fired) = timers.next().await.unwrap() {
                return fired;
            }
        }
    })
    .await
}

/// Messages in the stream of the timers.
async fn stored(world: &World) -> u64 {
    let js = world.stranger().await;
    js.get_stream("RR_TIMERS").await.unwrap().info().await.unwrap().state.messages
}

#[tokio::test]
async fn a_timer_fires_once_not_early_and_the_last_arming_counts() {
    let mut world = world().await;
    let one = entity("r1");
    assert_eq!(world.mesh.armed(&one).await, Ok(None));
    let at = now(&world).await + SignedDuration::from_secs(2);
    let mut armed = None;
    for minutes in (0..20).rev() {
        armed = Some(world.mesh.arm(&one, at + SignedDuration::from_mins(minutes), armed).await.unwrap());
    }
    assert_eq!(world.mesh.armed(&one).await, Ok(armed));
    assert_eq!(armed.map(|armed| armed.at), Some(at));
    assert_eq!(stored(&world).await, 1, "what was replaced is gone");
    // What is armed outlives the server.
    world.server.kill().await.unwrap();
    world.server.restart().await.unwrap();
    super::until("the server answers", || async { world.mesh.armed(&one).await.is_ok() }).await;
    let mut timers = timers(&world).await;
    let fired = next(&mut timers).await;
    assert_eq!(fired.entity, Ok(one.clone()));
    assert!(fired.raw.at >= at, "{} is before {at}", fired.raw.at);
    assert_eq!(world.mesh.armed(&one).await, Ok(None));
    fired.ack.confirm().await.unwrap();
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn only_who_has_seen_the_armed_timer_replaces_it() {
    let world = world().await;
    let (one, two) = (entity("r1"), entity("r2"));
    let later = now(&world).await + SignedDuration::from_hours(1);
    let soon = later - SignedDuration::from_mins(1);
    let first = world.mesh.arm(&one, later, None).await.unwrap();
    assert_eq!(world.mesh.arm(&one, soon, None).await, Err(PublishError::Conflict));
    let second = world.mesh.arm(&one, soon, Some(first)).await.unwrap();
    assert_eq!(world.mesh.arm(&one, soon, Some(first)).await, Err(PublishError::Conflict));
    assert_eq!(world.mesh.arm(&one, soon, None).await, Err(PublishError::Conflict));
    assert_eq!(world.mesh.armed(&one).await, Ok(Some(second)));
    assert_eq!(second, Armed { at: soon, seq: second.seq });
    // Each entity has its own.
    world.mesh.arm(&two, later, None).await.unwrap();
}

#[tokio::test]
async fn a_fired_timer_comes_until_it_is_acknowledged_and_then_the_entity_may_be_armed_anew() {
    let world = world().await;
    let one = entity("r1");
    let past = Timestamp::UNIX_EPOCH;
    let first = world.mesh.arm(&one, past, None).await.unwrap();
    let mut left = timers(&world).await;
    assert_eq!(next(&mut left).await.entity, Ok(one.clone()));
    drop(left);
    let mut timers = timers(&world).await;
    let again = next(&mut timers).await;
    assert_eq!(again.entity, Ok(one.clone()));
    for _ in 0..2 {
        world.mesh.tell_fired(&one, &instance("c1")).await.unwrap();
    }
    again.ack.confirm().await.unwrap();
    let inputs = take(&mut world.feed(&one).await, 2).await;
    for input in inputs {
        assert_eq!((input.source, input.input, &*input.from), (Source::Timer, Ok(Input::Timer {}), "coordinator:c1"));
    }
    assert_eq!(world.mesh.arm(&one, past, Some(first)).await, Err(PublishError::Conflict), "it has fired");
    world.mesh.arm(&one, past, None).await.unwrap();
    assert_eq!(next(&mut timers).await.entity, Ok(one));
}

/// Arming meets firing: whatever the order, the entity is told.
#[tokio::test]
async fn an_arming_that_meets_a_firing_is_refused_or_fires_or_has_fired() {
    let world = world().await;
    let soon = now(&world).await + SignedDuration::from_millis(400);
    let early = soon - SignedDuration::from_millis(10);
    let mut armed = Vec::new();
    for n in 0..200 {
        let one = entity(&format!("r{n}"));
        let first = world.mesh.arm(&one, soon, None).await.unwrap();
        armed.push((one, first));
    }
    let replaced = async {
        // Again and again in the quarter of a second in which they fire.
        for round in 0..20 {
            for (one, first) in &mut armed {
                match world.mesh.arm(one, early - SignedDuration::from_millis(round), Some(*first)).await {
                    Ok(second) => *first = second,
                    Err(error) => assert_eq!(error, PublishError::Conflict),
                }
            }
        }
    };
    let mut timers = timers(&world).await;
    let all_fire = async {
        let mut fired = std::collections::BTreeSet::new();
        while fired.len() < 200 {
            let next = next(&mut timers).await;
            fired.insert(next.entity.unwrap().as_str().to_owned());
            next.ack.ack().await;
        }
    };
    tokio::join!(replaced, all_fire);
}

#[tokio::test]
async fn what_no_timer_has_fired_is_nobodys() {
    let world = world().await;
    let one = entity("r1");
    let partition = world.mesh.partition_of(&one);
    let js = world.stranger().await;
    let schedule = |from: &str, to: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Schedule", "@at 2020-01-01T00:00:00Z");
        headers.insert("Nats-Schedule-Target", to);
        (format!("rr.at.{from}"), headers)
    };
    let other = 1 - partition.0;
    let cases = [
        ((format!("rr.fired.{partition}.r1"), HeaderMap::new()), "not fired by the server"),
        ((format!("rr.fired.{other}.r1"), HeaderMap::new()), "another partition"),
        ((format!("rr.fired.{partition}.r1.more"), HeaderMap::new()), "no timer fires to such a subject"),
        (schedule(&format!("{partition}.r2"), &format!("rr.fired.{partition}.r1")), "fired by the schedule"),
    ];
    let mut timers = timers(&world).await;
    for ((subject, headers), reason) in cases {
        js.publish_with_headers(subject.clone(), headers, "".into()).await.unwrap().await.unwrap();
        let fired = next(&mut timers).await;
        let said = fired.entity.unwrap_err();
        assert!(said.contains(reason), "{subject}: {said}");
        fired.ack.confirm().await.unwrap();
    }
    // What is on a timer's subject and is none does not keep the timer from being armed.
    js.publish(format!("rr.at.{partition}.r1"), "".into()).await.unwrap().await.unwrap();
    let there = world.mesh.armed(&one).await.unwrap().unwrap();
    assert_eq!(there.at, Timestamp::MAX);
    world.mesh.arm(&one, Timestamp::UNIX_EPOCH, Some(there)).await.unwrap();
    assert_eq!(next(&mut timers).await.entity, Ok(one));
}

/// Its sequence may be that of another timer by then, and a work queue removes whatever has it.
#[tokio::test]
async fn what_came_before_the_connection_broke_is_not_acknowledged_after_that() {
    let mut world = world().await;
    let one = entity("r1");
    world.mesh.arm(&one, Timestamp::UNIX_EPOCH, None).await.unwrap();
    let mut timers = timers(&world).await;
    let before = next(&mut timers).await;
    let mut connected = world.mesh.connected();
    world.server.kill().await.unwrap();
    soon(connected.until(false)).await.unwrap();
    // Neither now, to be sent when there is a connection again, nor then.
    before.ack.ack().await;
    world.server.restart().await.unwrap();
    soon(connected.until(true)).await.unwrap();
    before.ack.ack().await;
    assert!(before.ack.confirm().await.is_err());
    let again = next(&mut timers).await;
    assert_eq!((again.entity, again.raw.seq), (Ok(one), before.raw.seq));
    again.ack.confirm().await.unwrap();
    assert_eq!(stored(&world).await, 0);
}
