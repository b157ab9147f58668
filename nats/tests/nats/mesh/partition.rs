//! How a partition is shared.

use std::time::{Duration, Instant};

use super::{cancel, entity, feed, soon, take, world};

#[tokio::test]
async fn one_coordinator_gets_a_partition_and_hands_it_over_at_once() {
    let world = world().await;
    let one = entity("r1");
    let ask = |by: &'static str| {
        let (mesh, one) = (&world.mesh, &one);
        async move { mesh.request(one, by, &cancel(by)).await.unwrap() }
    };
    let mut first = feed(&world.mesh, &one, "c1").await;
    ask("a").await;
    let input = take(&mut first, 1).await.remove(0);
    let pin = first.pin().expect("the feed has the pin");
    assert_eq!(input.delivery.as_ref().unwrap().pin.as_deref(), Some(pin.as_str()));
    input.delivery.unwrap().ack.confirm().await.unwrap();

    let mut second = feed(&world.mesh, &one, "c2").await;
    for by in ["b", "c", "d"] {
        ask(by).await;
    }
    for (expected, input) in (2..).zip(take(&mut first, 3).await) {
        let delivery = input.delivery.unwrap();
        assert_eq!((delivery.pin.as_deref(), delivery.consumer_seq), (Some(pin.as_str()), expected));
        delivery.ack.confirm().await.unwrap();
    }

    first.pause().await.1.unwrap();
    let since = Instant::now();
    ask("e").await;
    let input = take(&mut second, 1).await.remove(0);
    assert_eq!(input.from, "api:e");
    assert!(since.elapsed() < Duration::from_secs(1), "the hand-over took {:?}", since.elapsed());
    assert_ne!(input.delivery.as_ref().unwrap().pin.as_deref(), Some(pin.as_str()));
    input.delivery.unwrap().ack.confirm().await.unwrap();

    second.pause().await.1.unwrap();
    first.resume();
    ask("f").await;
    assert_eq!(take(&mut first, 1).await[0].from, "api:f");
}

/// What a coordinator asked for before it paused must not bring the partition back to it.
#[tokio::test]
async fn a_partition_that_is_handed_over_stays_away() {
    let world = world().await;
    let one = entity("r1");
    let mut feeds = [feed(&world.mesh, &one, "c1").await, feed(&world.mesh, &one, "c2").await];
    feeds[1].pause().await.1.unwrap();
    for round in 0..20 {
        world.mesh.request(&one, "a", &cancel("a")).await.unwrap();
        let delivery = take(&mut feeds[0], 1).await.remove(0).delivery.unwrap();
        assert_eq!(delivery.delivered, 1, "round {round}: it went to the other one first");
        delivery.ack.confirm().await.unwrap();
        feeds[1].resume();
        // The other one asks behind what this one has asked for.
        tokio::time::sleep(Duration::from_millis(50 * (round % 5))).await;
        feeds[0].pause().await.1.unwrap();
        feeds.reverse();
    }
}

#[tokio::test]
async fn an_idle_and_a_busy_coordinator_keep_their_partition() {
    let world = world().await;
    let one = entity("r1");
    let mut first = feed(&world.mesh, &one, "c1").await;
    world.mesh.request(&one, "a", &cancel("a")).await.unwrap();
    take(&mut first, 1).await.remove(0).delivery.unwrap().ack.confirm().await.unwrap();
    let pin = first.pin();
    let mut second = feed(&world.mesh, &one, "c2").await;
    // Longer than the pin would last without pulls; the second feed must get nothing all the while.
    let silent = tokio::time::timeout(Duration::from_secs(4), second.next_batch(1)).await;
    assert!(silent.is_err());
    world.mesh.request(&one, "b", &cancel("b")).await.unwrap();
    let input = take(&mut first, 1).await.remove(0);
    assert_eq!((input.from.as_str(), first.pin()), ("api:b", pin));
}

#[tokio::test]
async fn a_coordinator_that_is_gone_is_followed_by_another() {
    let world = world().await;
    let one = entity("r1");
    let mut first = feed(&world.mesh, &one, "c1").await;
    world.mesh.request(&one, "a", &cancel("a")).await.unwrap();
    let unanswered = take(&mut first, 1).await.remove(0);
    drop(first);
    let mut second = feed(&world.mesh, &one, "c2").await;
    let input = soon(second.next_batch(1)).await.unwrap().remove(0);
    assert_eq!(input.seq(), unanswered.seq());
    assert_eq!(input.delivery.unwrap().delivered, 2);
}

#[tokio::test]
async fn a_full_channel_loses_nothing() {
    const INPUTS: usize = 2_000;
    let world = world().await;
    let one = entity("r1");
    let config = rr_nats::FeedConfig { capacity: 8, ..rr_nats::FeedConfig::new("c1".parse().unwrap()) };
    let mut feed = rr_nats::PartitionFeed::open(&world.mesh, world.mesh.partition_of(&one), config).await.unwrap();
    let asked = (0..INPUTS).map(|_| async { world.mesh.request(&one, "a", &cancel("a")).await.unwrap() });
    let mut asked = futures::future::join_all(asked).await;
    let mut taken = std::collections::BTreeSet::new();
    while taken.len() < INPUTS {
        for input in soon(feed.next_batch(5)).await.unwrap() {
            input.delivery.as_ref().unwrap().ack.ack().await;
            taken.insert(input.seq());
        }
    }
    asked.sort_unstable();
    assert_eq!(taken.into_iter().collect::<Vec<_>>(), asked);
}

#[tokio::test]
async fn a_partition_whose_consumer_was_removed_says_so_and_goes_on_when_it_is_back() {
    let world = world().await;
    let one = entity("r1");
    let mut feed = world.feed(&one).await;
    world.mesh.request(&one, "a", &cancel("a")).await.unwrap();
    take(&mut feed, 1).await;
    let js = world.stranger().await;
    let consumer = format!("p{}", world.mesh.partition_of(&one));
    js.get_stream("RR_EVENTS").await.unwrap().delete_consumer(&consumer).await.unwrap();
    let error = soon(feed.next_batch(1)).await.unwrap_err();
    assert_eq!(error, rr_nats::PullError::Gone);
    rr_nats::ensure(&world.link, &super::quick()).await.unwrap();
    let back = loop {
        match soon(feed.next_batch(1)).await {
            Ok(batch) => break batch,
            Err(error) => assert_eq!(error, rr_nats::PullError::NoResponders),
        }
    };
    assert_eq!(back[0].from, "api:a");
}
