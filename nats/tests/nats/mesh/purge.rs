//! What is taken away must not take with it what others hold: a message that was delivered before and is not
//! acknowledged comes again, whatever else is purged from its stream and acknowledged on its consumer meanwhile.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt as _;
use jiff::Timestamp;
use rr_nats::{ConnectOptions, OfferMsg, PullConfig, Timers, Topology, connect};
use rr_schemas::{
    flow::{Priority, select::Labels},
    offer::Target,
    presence::Hosts,
};
use tokio::time::timeout;

use super::{
    World, cancel, entity, feed, host, name, offer, options, queue, quick, run, soon, take, worker, world, world_of,
};
use crate::support;

/// Deliveries of a lane, until there are `count`.
async fn deliveries(lane: &mut rr_nats::Lane, count: usize) -> Vec<OfferMsg> {
    soon(async {
        let mut taken = Vec::new();
        while taken.len() < count {
            if lane.outstanding() == 0 {
                lane.request(count - taken.len()).await.unwrap();
            }
            taken.extend(lane.next().await.unwrap());
        }
        taken
    })
    .await
}

/// Offers of three runs come one after the other; the second run's are taken away, the third's are acknowledged.
async fn offers_come_again(world: &World, durable: &str, target: impl Fn(u32) -> Target, whole: bool) {
    // An id of an offer guards for minutes: each case has runs of its own.
    let kind = match target(0) {
        Target::Host(_) => "host",
        Target::Queue(_) => "queue",
        Target::Worker(_) => "worker",
    };
    let case = format!("{kind}-{whole}");
    let (old, gone, new) = (run(&format!("old-{case}")), run(&format!("gone-{case}")), run(&format!("new-{case}")));
    let mut lane = world.mesh.open_lane(durable, PullConfig::default()).await.unwrap();
    for run in [&old, &gone] {
        for task in 0..3 {
            world.mesh.offer(&offer(run, task, target(task))).await.unwrap();
        }
    }
    deliveries(&mut lane, 6).await;
    if whole {
        assert_eq!(world.mesh.withdraw_run(&gone).await.unwrap(), 3);
    } else {
        for task in 0..3 {
            world.mesh.withdraw(&gone, task, 1, &target(task)).await.unwrap();
        }
    }
    for task in 0..3 {
        world.mesh.offer(&offer(&new, task, target(task))).await.unwrap();
    }
    let mut latest = deliveries(&mut lane, 3).await;
    latest.reverse();
    for delivery in latest {
        assert_eq!(delivery.offer.unwrap().run, new);
        delivery.ack.confirm().await.unwrap();
    }
    let again: BTreeSet<u32> = deliveries(&mut lane, 3)
        .await
        .into_iter()
        .map(|again| {
            let offer = again.offer.unwrap();
            assert_eq!((&offer.run, again.delivered), (&old, 2));
            offer.task
        })
        .collect();
    assert_eq!(again, BTreeSet::from([0, 1, 2]));
    world.mesh.withdraw_run(&old).await.unwrap();
}

#[tokio::test]
async fn an_offer_that_is_taken_back_leaves_the_others_to_come_again() {
    let world = world().await;
    let own = world.mesh.ensure_lane(&worker("w1"), &Hosts::All, &Labels::default()).await.unwrap();
    let [_, normal, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    for whole in [false, true] {
        offers_come_again(&world, &own, |task| host(&format!("db{task}")), whole).await;
        offers_come_again(&world, &own, |_| Target::Worker(worker("w1")), whole).await;
        offers_come_again(&world, &normal, |_| queue("q"), whole).await;
    }
}

#[tokio::test]
async fn what_is_offered_after_a_lost_lane_was_looked_at_stays() {
    let world = world().await;
    let names = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let lost = async || world.mesh.lost_lane(&name("q"), Priority::Normal).await.unwrap();
    assert_eq!(lost().await, None, "it is there");
    let before = run("before");
    world.mesh.offer(&offer(&before, 0, queue("q"))).await.unwrap();
    world.stranger().await.delete_consumer_from_stream(&names[1], "RR_WORK").await.unwrap();
    let looked = lost().await.unwrap();
    // Another coordinator is quicker: it clears, makes the durable again, and offers once more.
    world.mesh.clear_lane(&lost().await.unwrap()).await.unwrap();
    assert!(world.mesh.offers(&before).await.unwrap().is_empty());
    world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let after = run("after");
    world.mesh.offer(&offer(&after, 0, queue("q"))).await.unwrap();

    world.mesh.clear_lane(&looked).await.unwrap();
    assert_eq!(world.mesh.offers(&after).await.unwrap(), BTreeSet::from([(0, 1)]));
}

#[tokio::test]
async fn a_run_that_is_forgotten_leaves_the_inputs_of_others_to_come_again() {
    let world = world_of(&Topology { partitions: 1, ..quick() }).await;
    let (old, gone, new) = (entity("r-old"), entity("r-gone"), entity("r-new"));
    for one in [&old, &old, &gone, &gone] {
        world.mesh.request(one, "me", &cancel("me")).await.unwrap();
    }
    let mut feed = feed(&world.mesh, &old, "c1").await;
    take(&mut feed, 4).await;
    world.mesh.purge_run(&run("r-gone")).await.unwrap();
    assert_eq!(world.mesh.first_of(&gone).await.unwrap(), None);
    for _ in 0..2 {
        world.mesh.request(&new, "me", &cancel("me")).await.unwrap();
    }
    let mut latest = take(&mut feed, 2).await;
    latest.reverse();
    for input in latest {
        assert_eq!(input.entity, new);
        input.delivery.unwrap().ack.confirm().await.unwrap();
    }
    for again in take(&mut feed, 2).await {
        assert_eq!(again.entity, old);
    }
}

#[tokio::test]
async fn a_run_that_is_forgotten_leaves_the_timers_of_others_to_come_again() {
    let world = world().await;
    let mut timers = Timers::open(&world.mesh, Duration::from_millis(500)).await.unwrap();
    let mut fire = async |names: &[&str]| {
        for name in names {
            world.mesh.arm(&entity(name), Timestamp::UNIX_EPOCH, None).await.unwrap();
        }
        next_timers(&mut timers, names.len()).await
    };
    fire(&["r-old1", "r-old2", "r-gone"]).await;
    world.mesh.purge_run(&run("r-gone")).await.unwrap();
    let mut latest = fire(&["r-new1", "r-new2"]).await;
    latest.reverse();
    for fired in latest {
        assert!(fired.entity.unwrap().as_str().starts_with("r-new"));
        fired.ack.confirm().await.unwrap();
    }
    let again = next_timers(&mut timers, 2).await.into_iter().map(|again| again.entity.unwrap().as_str().to_owned());
    assert_eq!(again.collect::<BTreeSet<_>>(), BTreeSet::from(["r-old1".to_owned(), "r-old2".to_owned()]));
}

async fn next_timers(timers: &mut Timers, count: usize) -> Vec<rr_nats::Fired> {
    soon(async {
        let mut fired = Vec::new();
        while fired.len() < count {
            if timers.outstanding() == 0 {
                timers.request(1).await.unwrap();
            }
            fired.extend(timers.next().await.unwrap());
        }
        fired
    })
    .await
}

/// What a reading has counted may be gone before it comes: run out, or removed.
#[tokio::test]
async fn a_reading_ends_though_what_it_counted_is_gone() {
    let world = world().await;
    for name in ["r1", "r2", "r3"] {
        world.mesh.request(&run(name).into(), "me", &cancel("me")).await.unwrap();
    }
    let mut requests = world.mesh.old_requests().await.unwrap();
    world.stranger().await.get_stream("RR_EVENTS").await.unwrap().purge().await.unwrap();
    let next = soon(requests.next()).await;
    assert_eq!(next.unwrap().map(|request| request.seq), None);
    requests.close().await;
}

/// A stream that has no leader for a moment never answers what it was asked then.
#[tokio::test]
async fn the_withdrawal_of_what_is_over_is_asked_for_again() {
    let world = world().await;
    let between = support::client(&world.server).await;
    let mut asked = between.subscribe("$BETWEEN.API.>").await.unwrap();
    let options = ConnectOptions { api_prefix: Some("$BETWEEN.API".to_owned()), ..options(&world.server) };
    let passes_on = async {
        let mut lost = 0;
        while let Some(message) = asked.next().await {
            if message.subject.contains("STREAM.PURGE") && lost == 0 {
                lost += 1;
                continue;
            }
            let subject = message.subject.replacen("$BETWEEN", "$JS", 1);
            between.publish_with_reply(subject, message.reply.unwrap(), message.payload).await.unwrap();
        }
    };
    let withdraws = async {
        world.mesh.offer(&offer(&run("r1"), 0, host("db0"))).await.unwrap();
        let mesh = connect(&options).await.unwrap().mesh().await.unwrap();
        // Far sooner than one answer is waited for.
        let withdrawn = timeout(Duration::from_secs(8), mesh.withdraw_run(&run("r1"))).await;
        assert_eq!(withdrawn.unwrap().unwrap(), 1);
    };
    tokio::select! {
        () = passes_on => unreachable!("requests end"),
        () = withdraws => {}
    }
}
