//! Offers, lanes, claims.

use std::collections::BTreeSet;

use rr_nats::{ClaimError, Earlier, HostFilter, LaneError, OfferMsg, PullConfig};
use rr_schemas::{
    flow::Priority,
    flow::select::Labels,
    host::HostSet,
    offer::{Offer, Target},
    presence::Hosts,
    report::Claim,
};

use super::{host, instance, name, offer, queue, run, soon, until, worker, world};

fn hosts(text: &str) -> Hosts {
    Hosts::Only(text.parse::<HostSet>().unwrap())
}

async fn next(lane: &mut rr_nats::Lane) -> OfferMsg {
    loop {
        if lane.outstanding() == 0 {
            lane.request(1).await.unwrap();
        }
        if let Some(offer) = soon(lane.next()).await.unwrap() {
            return offer;
        }
    }
}

#[tokio::test]
async fn an_offer_is_made_once_however_often_it_is_published() {
    let world = world().await;
    let id = run("r1");
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    let first = offer(&id, 7, queue("q"));
    for result in futures::future::join_all((0..10).map(|_| world.mesh.offer(&first))).await {
        result.unwrap();
    }
    let got = next(&mut lane).await;
    assert_eq!((got.offer, got.delivered), (Ok(first.clone()), 1));
    got.ack.confirm().await.unwrap();
    // After the acknowledgement the id still guards; only another offer number passes.
    world.mesh.offer(&first).await.unwrap();
    assert_eq!(world.mesh.offers(&id).await.unwrap(), BTreeSet::new());
    let again = Offer { offer: 2, ..first };
    world.mesh.offer(&again).await.unwrap();
    assert_eq!(next(&mut lane).await.offer, Ok(again));
}

#[tokio::test]
async fn offers_of_both_shapes_are_found_and_taken_back() {
    const TASKS: u32 = 300;
    let world = world().await;
    let (one, other) = (run("r1"), run("r2"));
    let target = |task| if task % 2 == 0 { queue("q") } else { host("db7.example.org") };
    let made = (0..TASKS).map(|task| offer(&one, task, target(task))).collect::<Vec<_>>();
    for result in futures::future::join_all(made.iter().map(|offer| world.mesh.offer(offer))).await {
        result.unwrap();
    }
    world.mesh.offer(&offer(&other, 1, host("db7"))).await.unwrap();
    let all: BTreeSet<(u32, u32)> = (0..TASKS).map(|task| (task, 1)).collect();
    assert_eq!(world.mesh.offers(&one).await.unwrap(), all);
    world.mesh.withdraw(&one, 4, 1, &target(4)).await.unwrap();
    world.mesh.withdraw(&one, 5, 1, &target(5)).await.unwrap();
    assert_eq!(world.mesh.offers(&one).await.unwrap().len(), all.len() - 2);
    assert_eq!(world.mesh.withdraw_run(&one).await.unwrap(), u64::from(TASKS) - 2);
    assert_eq!(world.mesh.offers(&one).await.unwrap(), BTreeSet::new());
    assert_eq!(world.mesh.offers(&other).await.unwrap(), BTreeSet::from([(1, 1)]));
}

#[tokio::test]
async fn a_lane_has_never_more_outstanding_than_was_asked_for() {
    const TASKS: u32 = 200;
    let world = world().await;
    let id = run("r1");
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    // Asked before there is anything, in several requests.
    for _ in 0..3 {
        lane.request(2).await.unwrap();
    }
    assert_eq!(lane.outstanding(), 6);
    for task in 0..TASKS {
        world.mesh.offer(&offer(&id, task, queue("q"))).await.unwrap();
    }
    let js = world.stranger().await;
    for left in (0..6).rev() {
        soon(lane.next()).await.unwrap().unwrap();
        assert_eq!(lane.outstanding(), left);
    }
    let mut consumer: async_nats::jetstream::consumer::PullConsumer =
        js.get_stream("RR_WORK").await.unwrap().get_consumer(&durable).await.unwrap();
    let info = consumer.info().await.unwrap();
    assert_eq!((info.num_ack_pending, info.num_waiting), (6, 0));
    let nothing_more = tokio::time::timeout(std::time::Duration::from_millis(300), lane.next()).await;
    assert!(nothing_more.is_err());

    // What is there comes at once, and what is not there comes back at once.
    lane.request_now(1_000).await.unwrap();
    let mut taken = 0;
    while lane.outstanding() > 0 {
        taken += usize::from(soon(lane.next()).await.unwrap().is_some());
    }
    assert_eq!(taken, TASKS as usize - 6);
    lane.request_now(1).await.unwrap();
    assert!(soon(lane.next()).await.unwrap().is_none());
    assert_eq!(lane.outstanding(), 0);
}

#[tokio::test]
async fn what_was_asked_for_in_vain_comes_back() {
    let world = world().await;
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let config = PullConfig { expires: std::time::Duration::from_millis(400), ..PullConfig::default() };
    let mut lane = world.mesh.open_lane(&durable, config).await.unwrap();
    lane.request(5).await.unwrap();
    world.mesh.offer(&offer(&run("r1"), 1, queue("q"))).await.unwrap();
    assert!(soon(lane.next()).await.unwrap().is_some());
    assert_eq!(lane.outstanding(), 4);
    assert!(soon(lane.next()).await.unwrap().is_none());
    assert_eq!(lane.outstanding(), 0);
}

#[tokio::test]
async fn a_host_is_served_by_one_worker_and_the_other_is_told_by_whom() {
    let world = world().await;
    let (one, two) = (worker("edge-1"), worker("edge-2"));
    let lane = world.mesh.ensure_lane(&one, &hosts("db[1-10],web1.example.org"), &Labels::default()).await.unwrap();
    assert_eq!(lane, "w-edge-1");
    // Again, and with other hosts, is no conflict with oneself.
    world.mesh.ensure_lane(&one, &hosts("db[1-10],web1.example.org"), &Labels::default()).await.unwrap();
    let taken = |host: &str| LaneError::Taken { by: "edge-1".to_owned(), host: Some(host.parse().unwrap()) };
    let refused = world.mesh.ensure_lane(&two, &hosts("db[10-12]"), &Labels::default()).await.unwrap_err();
    assert_eq!(refused, taken("db10"));
    assert_eq!(refused.to_string(), "db10 is served by worker edge-1");
    assert!(matches!(
        world.mesh.ensure_lane(&two, &Hosts::All, &Labels::default()).await,
        Err(LaneError::Taken { .. })
    ));
    world.mesh.ensure_lane(&two, &hosts("db[11-12]"), &Labels::default()).await.unwrap();
    let served = world.mesh.lane_hosts(&two).await.unwrap().unwrap();
    assert!(served.serves(&"db11".parse().unwrap()) && !served.serves(&"db10".parse().unwrap()));
    assert_eq!(world.mesh.lane_hosts(&worker("nobody")).await.unwrap(), None);
    world.mesh.give_up_hosts(&one).await.unwrap();
    world.mesh.give_up_hosts(&one).await.unwrap();
    assert!(!world.mesh.lane_hosts(&one).await.unwrap().unwrap().serves(&"db1".parse().unwrap()));
    world.mesh.ensure_lane(&two, &hosts("db[1-12]"), &Labels::default()).await.unwrap();
    let many = world.mesh.ensure_lane(&two, &hosts("db[1-65]"), &Labels::default()).await.unwrap_err();
    assert_eq!(many, LaneError::TooMany { found: 65 });
    world.mesh.forget_worker(&two).await.unwrap();
    world.mesh.forget_worker(&two).await.unwrap();
    world.mesh.ensure_lane(&one, &Hosts::All, &Labels::default()).await.unwrap();
    assert_eq!(world.mesh.lane_hosts(&one).await.unwrap(), Some(HostFilter::All));
}

/// A worker that is away stays known with its labels, also when others have taken its hosts over.
#[tokio::test]
async fn a_worker_is_known_until_it_is_forgotten() {
    let world = world().await;
    let (one, two) = (worker("edge-1"), worker("edge-2"));
    let labels: Labels = serde_json::from_str(r#"{"role": "db", "zone": "eu"}"#).unwrap();
    world.mesh.ensure_lane(&one, &hosts("db[1-2]"), &labels).await.unwrap();
    let durable = world.mesh.ensure_lane(&two, &Hosts::None, &Labels::default()).await.unwrap();
    let names = async || {
        let known = world.mesh.known_workers().await.unwrap();
        known.into_iter().map(|known| (known.worker.to_string(), known.labels.to_string())).collect::<Vec<_>>()
    };
    let both = [("edge-1".to_owned(), "role=db, zone=eu".to_owned()), ("edge-2".to_owned(), String::new())];
    assert_eq!(names().await, both);
    world.mesh.give_up_hosts(&one).await.unwrap();
    assert_eq!(names().await, both);
    world.mesh.forget_worker(&one).await.unwrap();
    assert_eq!(names().await, both[1..]);
    // What is for a worker alone comes to it and to nobody else.
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    for (task, name) in [(1, "edge-1"), (2, "edge-2")] {
        world.mesh.offer(&offer(&run("r1"), task, Target::Worker(worker(name)))).await.unwrap();
    }
    assert_eq!(next(&mut lane).await.offer.unwrap().task, 2);
    assert_eq!(world.mesh.withdraw_run(&run("r1")).await.unwrap(), 2);
}

#[tokio::test]
async fn a_worker_gets_the_offers_of_its_hosts_and_no_others() {
    let world = world().await;
    let id = run("r1");
    let durable = world.mesh.ensure_lane(&worker("w1"), &hosts("a.example.org,::1"), &Labels::default()).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    for (task, target) in [(1, host("b.example.org")), (2, host("a.example.org")), (3, host("::1"))] {
        world.mesh.offer(&offer(&id, task, target)).await.unwrap();
    }
    for expected in [host("a.example.org"), host("::1")] {
        let got: Target = next(&mut lane).await.offer.unwrap().target;
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn an_offer_that_says_another_thing_than_its_subject_is_bad() {
    let world = world().await;
    let id = run("r1");
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    world.mesh.offer(&offer(&id, 1, queue("q"))).await.unwrap();
    let good = next(&mut lane).await;
    let js = world.stranger().await;
    for subject in ["rr.work.q.q.2.r1.2.1", "rr.work.q.q.2.r2.1.1", "rr.work.q.q.2.r1.1.2", "rr.work.q.q.2.x"] {
        js.publish(subject, good.raw.payload.clone()).await.unwrap().await.unwrap();
        let bad = next(&mut lane).await;
        assert_eq!(bad.raw.subject, subject);
        assert!(bad.offer.is_err(), "{subject} was believed");
    }
}

#[tokio::test]
async fn progress_keeps_an_offer_and_silence_gives_it_back() {
    let world = world().await;
    let id = run("r1");
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    world.mesh.offer(&offer(&id, 1, queue("q"))).await.unwrap();
    let got = next(&mut lane).await;
    let wait = world.mesh.work_ack_wait();
    lane.request(1).await.unwrap();
    for _ in 0..5 {
        got.ack.progress().await;
        let quiet = tokio::time::timeout(wait / 3, lane.next()).await;
        assert!(quiet.is_err(), "it came again although it was kept");
    }
    let again = next(&mut lane).await;
    assert_eq!((again.delivered, again.raw.seq), (2, got.raw.seq));
    // A stale holder's acknowledgement counts as well: it proves nothing.
    got.ack.confirm().await.unwrap();
    until("the offer is gone", || async { world.mesh.offers(&id).await.unwrap().is_empty() }).await;
}

fn claim(by: &str, attempt: u32) -> Claim {
    Claim { task: 3, attempt, worker: worker(by), instance: instance(&format!("i-{by}")), token: String::new() }
}

#[tokio::test]
async fn of_many_claims_one_wins_and_its_holder_may_ask_again() {
    const RACERS: usize = 20;
    let world = world().await;
    let id = run("r1");
    let claims: Vec<Claim> = (0..RACERS).map(|n| claim(&format!("w{n}"), 1)).collect();
    let results =
        futures::future::join_all(claims.iter().map(|claim| world.mesh.claim(&id, claim, Earlier::None))).await;
    let winners: Vec<usize> = (0..RACERS).filter(|&n| results[n].is_ok()).collect();
    let [winner] = winners[..] else { panic!("winners: {winners:?}") };
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| *error == ClaimError::Lost));
    let fence = *results[winner].as_ref().unwrap();
    let stored = world.mesh.claim_of(&id, 3, 1).await.unwrap().unwrap();
    assert_eq!((&stored.holder.unwrap().worker, stored.seq), (&claims[winner].worker, fence));
    // Whoever has tried before is told whether it was they; the others still are not.
    for (n, claim) in claims.iter().enumerate() {
        let expected = if n == winner { Ok(fence) } else { Err(ClaimError::Lost) };
        assert_eq!(world.mesh.claim(&id, claim, Earlier::Perhaps).await, expected, "{n}");
    }
    // Nor is another life of the winner, which knows nothing of the one before.
    let next_life = Claim { instance: instance("i-next"), ..claims[winner].clone() };
    assert_eq!(world.mesh.claim(&id, &next_life, Earlier::Perhaps).await, Err(ClaimError::Lost));
    // Another attempt is another claim, with a larger fence.
    assert!(world.mesh.claim(&id, &claim("w0", 2), Earlier::None).await.unwrap() > fence);
    assert_eq!(world.mesh.claim_of(&id, 3, 9).await.unwrap(), None);
}

/// Nobody can say whether a server that could not be heard for a while still knows a request.
#[tokio::test]
async fn what_was_asked_for_and_forgotten_still_comes() {
    let world = world().await;
    let id = run("r1");
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    lane.request(1).await.unwrap();
    lane.forget();
    lane.request(1).await.unwrap();
    assert_eq!(lane.outstanding(), 1);
    for task in [1, 2] {
        world.mesh.offer(&offer(&id, task, queue("q"))).await.unwrap();
    }
    let mut came = BTreeSet::new();
    while came.len() < 2 {
        came.extend(soon(lane.next()).await.unwrap().map(|got| (got.offer.unwrap().task, got.delivered)));
    }
    assert_eq!((came, lane.outstanding()), (BTreeSet::from([(1, 1), (2, 1)]), 0));
    // Also where nothing is asked for any more: it would come again only after a long time, and counts as a second try.
    lane.request(1).await.unwrap();
    lane.forget();
    world.mesh.offer(&offer(&id, 3, queue("q"))).await.unwrap();
    let js = world.stranger().await;
    let mut consumer: async_nats::jetstream::consumer::PullConsumer =
        js.get_stream("RR_WORK").await.unwrap().get_consumer(&durable).await.unwrap();
    soon(async { while consumer.info().await.unwrap().num_ack_pending < 3 {} }).await;
    lane.close().await;
    let mut came = Vec::new();
    while lane.outstanding() > 0 {
        came.extend(soon(lane.next()).await.unwrap().map(|got| got.offer.unwrap().task));
    }
    assert_eq!(came, [3]);
}

/// Whoever gives an offer back says so before it acknowledges it: the next offer must not wait for that.
#[tokio::test]
async fn a_later_offer_takes_the_place_of_an_earlier_one_and_never_the_other_way_round() {
    let world = world().await;
    let id = run("r1");
    let [_, durable, _] = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = world.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    let offered = |number| Offer { offer: number, ..offer(&id, 1, queue("q")) };
    world.mesh.offer(&offered(1)).await.unwrap();
    let first = next(&mut lane).await;
    for number in [2, 2, 1] {
        world.mesh.offer(&offered(number)).await.unwrap();
    }
    let second = next(&mut lane).await;
    assert_eq!((second.offer.unwrap().offer, second.delivered), (2, 1));
    // The acknowledgement of the first one comes late, and takes nothing away.
    first.ack.confirm().await.ok();
    assert_eq!(world.mesh.offers(&id).await.unwrap(), BTreeSet::from([(1, 1)]));
    // The third comes when the second is gone already.
    second.ack.confirm().await.unwrap();
    world.mesh.offer(&offered(3)).await.unwrap();
    assert_eq!(next(&mut lane).await.offer.unwrap().offer, 3);
}

#[tokio::test]
async fn each_priority_of_a_queue_has_a_lane() {
    let world = world().await;
    let id = run("r1");
    for _ in 0..2 {
        let lanes = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
        assert_eq!(lanes, ["q1-q", "q2-q", "q3-q"]);
    }
    let lanes = world.mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    for (task, (durable, priority)) in (0..).zip(lanes.iter().zip(Priority::ALL)) {
        world.mesh.offer(&Offer { priority, ..offer(&id, task, queue("q")) }).await.unwrap();
        let mut lane = world.mesh.open_lane(durable, PullConfig::default()).await.unwrap();
        assert_eq!(next(&mut lane).await.offer.unwrap().priority, priority);
    }
}
