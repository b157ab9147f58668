//! Several coordinators, one after the other or at once.

use std::{collections::BTreeMap, time::Duration};

use rr_coordinator::{Handle, Options};
use rr_core::{Heard, History, Run};
use rr_nats::{FeedConfig, First, PartitionFeed, Topology, encode_decision};
use rr_schemas::{
    decision::{Decision, Event, Record, RunStatus},
    id::{EntityId, RunId},
    input::Holder,
    offer::Offer,
    report::Outcome,
};
use tokio::time::{Instant, sleep};

use crate::support::{World, hasty, millis, one_job, options, policy, submit, until};

#[tokio::test]
async fn what_is_not_believed_is_kept_by_whoever_passes_over_it() {
    let world = World::new(hasty()).await;
    let first = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    first.stop().await;
    // Somebody gets it, and is gone before it is judged: the next one reads it from the log, with what comes behind it.
    let forged = Offer { token: "forged".to_owned(), ..offer.clone() };
    worker.ends(&forged, Outcome::Failed).await;
    let config = FeedConfig::new("gone".parse().unwrap());
    let partition = world.mesh.partition_of(&EntityId::from(&run));
    let mut feed = PartitionFeed::open(&world.mesh, partition, config).await.unwrap();
    let held = feed.next_batch(1).await.unwrap();
    drop(feed);
    worker.ends(&offer, Outcome::Ok).await;
    let _second = world.coordinator(options()).await;
    world.ends(&run, RunStatus::Succeeded).await;
    let (kept, _) = world.mesh.quarantined(10).await.unwrap();
    let kept: Vec<u64> = kept.iter().map(|kept| kept.was).collect();
    assert_eq!(kept, [held[0].seq()]);
}

#[tokio::test]
async fn a_forged_report_keeps_no_offer_from_being_made() {
    // Ids are soon forgotten, so that an offer which is made again is stored again.
    let world = World::new(Topology { duplicate_window: Duration::from_millis(100), ..hasty() }).await;
    let first = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    drop(first);
    // As if it had died before it made the offer.
    world.mesh.withdraw(&run, offer.task, offer.attempt, &offer.target).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    worker.ends(&Offer { token: "forged".to_owned(), ..offer.clone() }, Outcome::Ok).await;
    let _second = world.coordinator(options()).await;
    assert_eq!(worker.offer().await, offer);
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn a_decision_of_another_one_is_never_overwritten_or_repeated() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    // Somebody who believes to have the partition too decides something.
    let entity = EntityId::from(&run);
    let last = world.mesh.last_decision(&entity).await.unwrap().unwrap();
    let by = Holder { worker: worker.name.clone(), instance: worker.instance.clone() };
    let upto = last.decision.as_ref().unwrap().upto;
    let event = Event::Started { task: 0, attempt: 1, by };
    let foreign = Decision {
        n: 2,
        by: "foreign".parse().unwrap(),
        upto,
        prev: last.hash.clone(),
        secret: String::new(),
        events: vec![Record { cause: upto, at: last.at, event }],
    };
    let encoded = encode_decision(&entity, &foreign).unwrap();
    world.mesh.append(&entity, &encoded, last.seq).await.unwrap();
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    let by: Vec<_> = world.decisions(&run).await.into_iter().map(|decision| decision.by).collect();
    assert_eq!(by, [coordinator.instance().clone(), foreign.by, coordinator.instance().clone()]);
}

/// Two jobs, and one that needs them.
const SLOTS: &str = r#"{"name": "f", "slots": [
    {"jobs": [{"name": "a", "handler": "noop", "hosts": "h[1-20]", "parallelism": 3},
              {"name": "b", "handler": "noop", "hosts": "h[1-10]", "parallelism": 1}]},
    {"jobs": [{"name": "c", "handler": "noop", "hosts": "h[1-20]", "parallelism": "50%"}]}]}"#;

/// The run of [`SLOTS`] ends right: everything succeeded, and the second slot waited for the first.
async fn ends_right(world: &World, run: &RunId) {
    let view = world.ends(run, RunStatus::Succeeded).await;
    assert!(view.jobs.iter().all(|job| job.ok == job.targets), "{view:?}");
    let events = world.events(run).await;
    let job_is = |event: &Event, name: &str| matches!(event, Event::Offered { job, .. } if job.as_str() == name);
    let before = events.iter().take_while(|event| !job_is(event, "c"));
    let ended = before.filter(|event| matches!(event, Event::JobEnded { .. })).count();
    assert_eq!(ended, 2, "the next slot starts after the one before");
}

#[tokio::test]
async fn a_run_ends_right_whenever_its_coordinators_die() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new(hasty()).await;
    let _working = world.worker("w1", "h[1-20]").await.works();
    let mut runs = Vec::new();
    for round in 0..20 {
        let coordinator = world.coordinator(options()).await;
        runs.push(world.submit(&format!("r{round}"), SLOTS).await);
        sleep(Duration::from_millis(rng.u64(0..100))).await;
        drop(coordinator);
    }
    let _last = world.coordinator(options()).await;
    for run in runs {
        ends_right(&world, &run).await;
    }
}

#[tokio::test]
async fn a_run_ends_right_however_its_coordinators_come_and_go() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new(hasty()).await;
    let _working = world.worker("w1", "h[1-20]").await.works();
    let (mut runs, mut alive) = (Vec::new(), Vec::new());
    for round in 0..25 {
        alive.push(world.coordinator(options()).await);
        runs.push(world.submit(&format!("r{round}"), SLOTS).await);
        sleep(Duration::from_millis(rng.u64(0..80))).await;
        while alive.len() > rng.usize(0..4) {
            let gone = alive.swap_remove(rng.usize(..alive.len()));
            if rng.bool() {
                gone.stop().await;
            }
        }
    }
    alive.push(world.coordinator(options()).await);
    for run in runs {
        ends_right(&world, &run).await;
    }
}

#[tokio::test]
async fn a_run_ends_right_whenever_the_server_dies() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let _working = world.worker("w1", "h[1-20]").await.works();
    let mut runs = Vec::new();
    for round in 0..4 {
        let run: RunId = format!("r{round}").parse().unwrap();
        until("the submit is stored", async || world.mesh.submit(&run, "test", &submit(SLOTS), First::Any).await.ok())
            .await;
        runs.push(run);
        sleep(Duration::from_millis(rng.u64(0..60))).await;
        world.server.kill().await.unwrap();
        world.server.restart().await.unwrap();
    }
    for run in runs {
        until("the server answers", async || world.mesh.status(&run).await.ok()).await;
        ends_right(&world, &run).await;
    }
}

#[tokio::test]
async fn a_timer_that_was_owed_is_armed_by_the_successor() {
    let world = World::new(hasty()).await;
    // It would arm the timer of this run only after a minute, and dies before.
    let patient = Options { settle_after: millis(60_000), ..policy(millis(3_000), millis(60_000)) };
    let coordinator = world.coordinator(patient).await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    world.happens(&run, |event| matches!(event, Event::Offered { .. })).await;
    drop(coordinator);
    // Nothing but the input that was withheld can wake the next one.
    let _successor = world.coordinator(policy(millis(3_000), millis(60_000))).await;
    let view = world.ends(&run, RunStatus::Failed).await;
    assert_eq!(view.jobs[0].unreachable, 1);
}

#[tokio::test]
async fn a_clean_stop_hands_over_at_once() {
    // Without a hand-over the successor would wait for the pin and for what was not acknowledged.
    let slow =
        Topology { partition_ack_wait: Duration::from_secs(15), pin_timeout: Duration::from_secs(15), ..hasty() };
    let world = World::new(slow).await;
    let coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    let run = world.submit("r1", &flow).await;
    let offer = worker.offer().await;
    let _successor = world.coordinator(options()).await;
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    coordinator.stop().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    for other in 0..4 {
        let run = world.submit(&format!("s{other}"), &flow).await;
        let offer = worker.offer().await;
        worker.ends(&offer, Outcome::Ok).await;
        world.ends(&run, RunStatus::Succeeded).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_new_replica_gets_an_equal_share_of_the_partitions() {
    const PARTITIONS: u16 = 8;
    let world = World::new(Topology { partitions: PARTITIONS, ..hasty() }).await;
    let first = world.coordinator(options()).await;
    let _working = world.worker("w1", "").await.works();
    let run = world.submit("r", &one_job("")).await;
    world.ends(&run, RunStatus::Succeeded).await;
    let second = world.coordinator(options()).await;
    let mut round = 0..;
    // Who has decided last in each partition.
    let mut by = BTreeMap::new();
    let equal = usize::from(PARTITIONS / 2);
    // It stays so: on the way to any other share there is a moment like this.
    let mut lasted = 0;
    until("an equal share", async || {
        let run = world.submit(&format!("r{}", round.next()?), &one_job("")).await;
        world.ends(&run, RunStatus::Succeeded).await;
        let last = world.decisions(&run).await.pop()?.by;
        by.insert(world.mesh.partition_of(&EntityId::from(&run)), last);
        let share = |of: &Handle| by.values().filter(|last| *last == of.instance()).count();
        lasted = if share(&first) == equal && share(&second) == equal { lasted + 1 } else { 0 };
        (lasted == 50).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_history_that_cannot_be_folded_parks_its_run_and_no_other() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    let run = world.submit("r1", &flow).await;
    let offer = worker.offer().await;
    drop(coordinator);
    let entity = EntityId::from(&run);
    let last = world.mesh.last_decision(&entity).await.unwrap().unwrap();
    let by = Holder { worker: worker.name.clone(), instance: worker.instance.clone() };
    let event = Event::Started { task: 77, attempt: 1, by };
    let upto = last.decision.as_ref().unwrap().upto;
    let illegal = Decision {
        n: 2,
        by: "foreign".parse().unwrap(),
        upto,
        prev: last.hash.clone(),
        secret: String::new(),
        events: vec![Record { cause: upto, at: last.at, event }],
    };
    let encoded = encode_decision(&entity, &illegal).unwrap();
    world.mesh.append(&entity, &encoded, last.seq).await.unwrap();
    let _successor = world.coordinator(options()).await;
    worker.ends(&offer, Outcome::Ok).await;
    let other = world.submit("r2", &flow).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&other, RunStatus::Succeeded).await;
    assert_eq!(world.decisions(&run).await.len(), 2, "nothing is added to what is not understood");
}

/// What a successor concludes is what the dead one would have: the fold of the log is the state.
#[tokio::test]
async fn a_loaded_run_decides_as_the_one_that_lived() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h[1-4]").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h[1-4]", "parallelism": 2"#)).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.happens(&run, |event| matches!(event, Event::Ended { .. })).await;
    drop(coordinator);
    let mut folded = Run::new(run.clone(), rr_core::Policy::default());
    let mut history = History::new(run.clone());
    for decision in world.decisions(&run).await {
        for record in &decision.events {
            folded.apply(record).unwrap();
            history.apply(record).unwrap();
        }
    }
    assert_eq!(folded.view(), history.run().view());
    let nothing: [Heard; 0] = [];
    assert_eq!(folded.decide(&nothing).records, [], "a stored decision leaves nothing to conclude");
}
