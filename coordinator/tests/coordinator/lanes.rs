//! Lanes: who serves a host is whoever is present and has it in its lane, whatever anybody says or does meanwhile.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{Mesh, Present};
use rr_schemas::{
    decision::{Event, RunStatus},
    flow::select::Labels,
    host::Host,
    name::{InstanceId, WorkerName},
    presence::{Hosts, Join, JoinAnswer, Serves, WorkerPresence},
    report::Outcome,
};
use tokio::time::sleep;

use super::support::{World, hasty, millis, one_job, options, policy, until};

fn serves(hosts: &str) -> Serves {
    Serves { hosts: Hosts::Only(hosts.parse().unwrap()), queues: Vec::new() }
}

/// Shows a worker, and no more than that.
async fn show(mesh: &Mesh, name: &WorkerName, hosts: &str) -> Present<WorkerPresence> {
    let value = WorkerPresence {
        worker: name.clone(),
        instance: InstanceId::random(&mut fastrand::Rng::new()),
        serves: serves(hosts),
        capacity: 1,
        labels: Labels::default(),
        version: "0".to_owned(),
        since: Timestamp::now(),
        draining: false,
    };
    mesh.present_worker(value, Duration::from_mins(1)).await.unwrap()
}

#[tokio::test]
async fn a_host_that_somebody_only_says_they_serve_is_unreachable() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(500), millis(60_000))).await;
    let _liar = show(&world.mesh, &"liar".parse().unwrap(), "h[1-2]").await;
    let mut worker = world.worker("w1", "h2").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h[1-2]", "success": 1, "fail_fast": false"#)).await;
    world.happens(&run, |event| matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Unreachable)).await;
    let offer = worker.offer().await;
    assert_eq!(offer.task, 1);
    worker.ends(&offer, Outcome::Ok).await;
    let view = world.ends(&run, RunStatus::Succeeded).await;
    assert_eq!((view.jobs[0].ok, view.jobs[0].unreachable), (1, 1));
}

#[tokio::test]
async fn a_preflight_asks_what_lanes_have() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let _liar = show(&world.mesh, &"liar".parse().unwrap(), "h[1-2]").await;
    let _worker = world.worker("w1", "h2").await;
    let flow = r#"{"name": "f", "preflight": true, "jobs": [{"name": "j", "handler": "noop", "hosts": "h[1-2]"}]}"#;
    let run = world.submit("r1", flow).await;
    let view = world.ends(&run, RunStatus::Rejected).await;
    assert!(view.problems[0].contains("nobody serves h1 "), "{:?}", view.problems);
}

/// Shows a worker and lets it join; says whether it was let in.
async fn come(mesh: &Mesh, name: &WorkerName) -> (Present<WorkerPresence>, bool) {
    let present = show(mesh, name, "h1").await;
    let instance = present.value().instance.clone();
    let join = Join { worker: name.clone(), instance, serves: serves("h1"), labels: Labels::default() };
    let answer = until("a join is answered", async || mesh.join(&join).await.ok()).await;
    (present, matches!(answer, JoinAnswer::Welcome { .. }))
}

#[tokio::test]
async fn whoever_is_let_in_has_its_hosts_though_another_one_takes_them_over() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mesh = &world.mesh;
    let (old, new): (WorkerName, WorkerName) = ("old".parse().unwrap(), "new".parse().unwrap());
    let host: Host = "h1".parse().unwrap();
    let mut n_taken_over = 0;
    let begun = tokio::time::Instant::now();
    for round in 0..60_u64 {
        mesh.ensure_lane(&new, &Hosts::None, &Labels::default()).await.unwrap();
        mesh.ensure_lane(&old, &serves("h1").hosts, &Labels::default()).await.unwrap();
        let comes_back = async {
            sleep(Duration::from_micros(round % 12 * 400)).await;
            come(mesh, &old).await
        };
        let ((old_present, old_is_in), (new_present, new_is_in)) = tokio::join!(comes_back, come(mesh, &new));
        assert!(old_is_in || new_is_in, "round {round}: nobody was let in");
        for (name, is_in) in [(&old, old_is_in), (&new, new_is_in)] {
            let has = mesh.lane_hosts(name).await.unwrap().is_some_and(|hosts| hosts.serves(&host));
            assert!(has || !is_in, "round {round}: {name} was let in and has lost its host");
        }
        n_taken_over += u32::from(new_is_in);
        old_present.withdraw().await.unwrap();
        new_present.withdraw().await.unwrap();
        // Nobody's absence means anything at first.
        if begun.elapsed() < Duration::from_secs(4) {
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(n_taken_over > 0, "nothing was ever taken over");
}

#[tokio::test]
async fn a_start_that_is_said_twice_decides_nothing() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    worker.starts(&offer).await;
    world.happens(&run, |event| matches!(event, Event::Started { .. })).await;
    for _ in 0..3 {
        worker.starts(&offer).await;
    }
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    let events = world.events(&run).await;
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Started { .. })).count(), 1, "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Late { .. })), "{events:?}");
    assert!(world.decisions(&run).await.len() <= 3);
}

#[tokio::test]
async fn a_worker_is_believed_by_the_token_of_its_offer_whatever_it_serves_by_now() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    for (name, gives_up) in [("r1", false), ("r2", true)] {
        let mut worker = world.worker(&format!("{name}-first"), "h1").await;
        let run = world.submit(name, &one_job(r#", "hosts": "h1""#)).await;
        let offer = worker.offer().await;
        if gives_up {
            world.mesh.give_up_hosts(&worker.name).await.unwrap();
        } else {
            world.mesh.forget_worker(&worker.name).await.unwrap();
        }
        // Another one has the host before the report comes, and gets nothing of what is done.
        let next = world.worker(&format!("{name}-second"), "h1").await;
        worker.ends(&offer, Outcome::Ok).await;
        world.ends(&run, RunStatus::Succeeded).await;
        let events = world.events(&run).await;
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Offered { .. })).count(), 1, "{events:?}");
        world.mesh.forget_worker(&next.name).await.unwrap();
    }
}

/// What is acknowledged to a consumer that was removed stays on offer, and would be handed to whoever serves the host next.
#[tokio::test]
async fn the_offer_of_an_attempt_that_ended_without_its_consumer_is_taken_away() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.held_offer().await;
    world.mesh.forget_worker(&worker.name).await.unwrap();
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    until("nothing is on offer", async || world.mesh.offers(&run).await.unwrap().is_empty().then_some(())).await;
}

/// The same where the coordinator had seen the consumer moments ago: what it looks at does not show it any more.
#[tokio::test]
async fn a_consumer_that_is_gone_is_not_believed_to_be_there_because_it_was_seen_before() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h2").await;
    let flow = one_job(r#", "hosts": "h2""#);
    let seen = world.submit("seen", &flow).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&seen, RunStatus::Succeeded).await;
    let run = world.submit("r1", &flow).await;
    let offer = worker.held_offer().await;
    let witness: WorkerName = "witness".parse().unwrap();
    let (_present, is_in) = come(&world.mesh, &witness).await;
    assert!(is_in);
    // Nobody makes the consumer again of one who is not present; that of the witness, which goes later, says that it was looked.
    worker.vanish().await;
    world.mesh.forget_worker(&worker.name).await.unwrap();
    world.mesh.forget_worker(&witness).await.unwrap();
    until("it was looked", async || world.mesh.lane_hosts(&witness).await.unwrap().map(drop)).await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    until("nothing is on offer", async || world.mesh.offers(&run).await.unwrap().is_empty().then_some(())).await;
}
