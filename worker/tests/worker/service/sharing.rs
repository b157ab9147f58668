//! Capacity, weights, and who may run what.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rr_nats::PullConfig;
use rr_schemas::{
    flow::Priority,
    offer::{Offer, Target},
    report::Outcome,
};
use rr_worker::Handlers;
use tokio::sync::Semaphore;

use super::{Stage, handler, offer, run, sh, until};

/// A handler `gate` that counts who waits at it, and lets through when it is given permits.
pub(super) fn gate() -> (Handlers, Arc<AtomicUsize>, Arc<Semaphore>) {
    let (waiting, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let shared = (Arc::clone(&waiting), Arc::clone(&permits));
    let handlers = Handlers::new().register("gate".parse().unwrap(), move |_| {
        let (waiting, permits) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
        async move {
            waiting.fetch_add(1, Ordering::SeqCst);
            permits.acquire().await.map_err(|error| error.to_string())?.forget();
            Ok::<_, String>(())
        }
    });
    (handlers, waiting, permits)
}

/// A handler `note` that writes something of each offer down.
fn noting(what: impl Fn(&Offer) -> String + Send + Sync + 'static) -> (Handlers, Arc<Mutex<String>>) {
    let order = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&order);
    let handlers = Handlers::new().register("note".parse().unwrap(), move |context| {
        seen.lock().unwrap().push_str(&what(context.offer()));
        async { Ok::<_, String>(()) }
    });
    (handlers, order)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_as_many_offers_as_it_can_run_and_leaves_the_rest_to_others() {
    let stage = Stage::new().await;
    let (handlers, first, _closed) = gate();
    let _one = stage.worker("w1", 3, handlers).await;
    for task in 0..10 {
        stage.offer(&offer(task, handler("gate"))).await;
    }
    until("w1 is full", async || (first.load(Ordering::SeqCst) == 3).then_some(())).await;
    let (handlers, second, permits) = gate();
    permits.add_permits(100);
    let options = stage.options("w2", &["q"], 20);
    let _two = stage.start(options, handlers).await.unwrap();
    until("w2 has the rest", async || (stage.ends().await.len() == 7).then_some(())).await;
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (3, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_share_the_slots_by_weight() {
    let stage = Stage::new().await;
    let (handlers, order) = noting(|offer| match &offer.target {
        Target::Queue(queue) => queue.to_string(),
        Target::Host(_) | Target::Worker(_) => "?".to_owned(),
    });
    for queue in ["a", "b"] {
        stage.mesh.ensure_queue_lanes(&queue.parse().unwrap()).await.unwrap();
    }
    for task in 0..30 {
        for (queue, first) in [("a", 0), ("b", 100)] {
            let target = Target::Queue(queue.parse().unwrap());
            stage.offer(&Offer { target, ..offer(first + task, handler("note")) }).await;
        }
    }
    let options = stage.options("w1", &["a", "a", "b"], 1);
    let _worker = stage.start(options, handlers).await.unwrap();
    stage.all_ends(60).await;
    let order = order.lock().unwrap().clone();
    let of_a = order.chars().take(30).filter(|queue| *queue == 'a').count();
    assert_eq!(of_a, 20, "{order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn high_offers_go_first_and_of_ten_each_priority_gets_one() {
    let stage = Stage::new().await;
    let (handlers, order) = noting(|offer| offer.priority.class().to_string());
    for (task, priority) in (0..).zip([Priority::Low, Priority::Normal, Priority::High].repeat(40)) {
        stage.offer(&Offer { priority, ..offer(task, handler("note")) }).await;
    }
    let _worker = stage.start(stage.options("w1", &["q"], 1), handlers).await.unwrap();
    stage.all_ends(120).await;
    let order = order.lock().unwrap().clone();
    assert!(order.starts_with("11111111"), "{order}");
    // While there are any, high ones get most of it, and none of the others is left out.
    for at in 0..40 {
        let of = |class| order[at..at + 10].matches(class).count();
        assert!(of("1") >= 7 && of("2") >= 1 && of("3") >= 1, "{order} at {at}");
    }
    assert!(order.trim_end_matches('3').len() < 100, "normal ones are done before low ones: {order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_queues_do_not_hold_up_a_full_one() {
    let stage = Stage::new().await;
    let handlers = Handlers::new().register("noop".parse().unwrap(), |_| async { Ok::<_, String>(()) });
    let _worker = stage.start(stage.options("w1", &["a", "b", "q"], 1), handlers).await.unwrap();
    let start = Instant::now();
    for task in 0..100 {
        stage.offer(&offer(task, handler("noop"))).await;
    }
    stage.all_ends(100).await;
    // Each empty queue that held the slot for one pull would have cost a second.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_comes_a_second_time_is_reported_as_lost_and_not_run() {
    let stage = Stage::new().await;
    let [_, durable, _] = stage.mesh.ensure_queue_lanes(&"q".parse().unwrap()).await.unwrap();
    let mut lane = stage.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    stage.offer(&offer(0, sh("touch ran"))).await;
    lane.request(1).await.unwrap();
    let message = lane.next().await.unwrap().unwrap();
    assert_eq!(message.delivered, 1);
    message.ack.nak(None).await;
    drop(lane);
    let _worker = stage.worker("w1", 1, Handlers::new()).await;
    let ended = stage.end().await;
    assert_eq!((ended.outcome, ended.started_at), (Outcome::Lost, None));
    assert_eq!(ended.reason.unwrap(), "offer came a second time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_the_worker_knows_is_never_started_again() {
    let stage = Stage::new().await;
    let (handlers, waiting, permits) = gate();
    let _worker = stage.worker("w1", 4, handlers).await;
    stage.offer(&offer(0, handler("gate"))).await;
    until("it runs", async || (waiting.load(Ordering::SeqCst) == 1).then_some(())).await;
    // The coordinator missed it and offers it again, while it runs.
    let again = |number| Offer { offer: number, ..offer(0, handler("gate")) };
    let other_queue = Target::Host("h1".parse().unwrap());
    stage.offer(&Offer { target: other_queue.clone(), ..again(2) }).await;
    let name = "w1".parse().unwrap();
    until("it has got it", async || (!stage.mesh.is_host_lane_idle(&name).await.unwrap()).then_some(())).await;
    permits.add_permits(1);
    let ends = stage.all_ends(1).await;
    assert_eq!((ends.len(), ends[0].1.outcome), (1, Outcome::Ok));
    // And once more, when it has ended: then the report did not count, and nothing better is known.
    stage.offer(&again(3)).await;
    let ends = stage.all_ends(2).await;
    assert_eq!(ends[1].1.outcome, Outcome::Lost);
    assert_eq!(waiting.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_attempt_runs_once_however_many_workers_get_it() {
    let stage = Stage::new().await;
    let fences = Arc::new(Mutex::new(Vec::new()));
    let handlers = || {
        let fences = Arc::clone(&fences);
        Handlers::new().register("fence".parse().unwrap(), move |context| {
            fences.lock().unwrap().push(context.fence());
            async { Ok::<_, String>(()) }
        })
    };
    let _one = stage.start(stage.options("w1", &["q1"], 8), handlers()).await.unwrap();
    let _two = stage.start(stage.options("w2", &["q2"], 8), handlers()).await.unwrap();
    let count = 20;
    for task in 0..count {
        for (queue, number) in [("q1", 1), ("q2", 2)] {
            let target = Target::Queue(queue.parse().unwrap());
            stage.offer(&Offer { target, offer: number, claimed: true, ..offer(task, handler("fence")) }).await;
        }
    }
    let ends = stage.all_ends(20).await;
    assert_eq!(ends.len(), 20);
    assert_eq!(fences.lock().unwrap().len(), 20);
    let claims = async |task| stage.mesh.claim_of(&run(), task, 1).await.unwrap().unwrap().seq;
    let mut claimed = Vec::new();
    for task in 0..count {
        claimed.push(claims(task).await);
    }
    claimed.sort_unstable();
    let mut fences = fences.lock().unwrap().clone();
    fences.sort_unstable();
    assert!(fences.iter().zip(claimed).all(|(fence, claim)| *fence > claim), "the offer counts beside the claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_somebody_else_has_claimed_is_dropped() {
    let stage = Stage::new().await;
    stage.claims("other", "x").await;
    let _worker = stage.worker("w1", 1, Handlers::new()).await;
    stage.offer(&Offer { claimed: true, ..offer(0, sh("true")) }).await;
    stage.offer(&Offer { claimed: true, ..offer(1, sh("test $RR_FENCE -gt 0")) }).await;
    let ends = stage.all_ends(1).await;
    assert_eq!(ends.iter().map(|(task, ended)| (*task, ended.outcome)).collect::<Vec<_>>(), [(1, Outcome::Ok)]);
}

/// The log has lost the end of an attempt, and it is offered again: by then it may be somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn of_what_it_has_ended_before_a_worker_says_no_more_where_somebody_else_has_claimed_it() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, Handlers::new()).await;
    stage.offer(&offer(0, sh("true"))).await;
    assert_eq!(stage.all_ends(1).await.len(), 1);
    stage.claims("other", "x").await;
    stage.offer(&Offer { claimed: true, offer: 2, ..offer(0, sh("true")) }).await;
    stage.offer(&Offer { claimed: true, ..offer(1, sh("true")) }).await;
    let ends = stage.all_ends(2).await;
    let said: Vec<_> = ends.iter().map(|(task, ended)| (*task, ended.outcome)).collect();
    assert_eq!(said, [(0, Outcome::Ok), (1, Outcome::Ok)]);
}
