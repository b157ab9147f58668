//! What comes and cannot start goes to somebody else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rr_schemas::{
    flow::Priority,
    offer::{Offer, Target},
    report::{Outcome, What},
};
use rr_worker::{Handlers, config::Hosts};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::{Stage, ended, handler, offer, sharing::gate, until};

fn of_queue(queue: &str, task: u32, name: &str) -> Offer {
    Offer { target: Target::Queue(queue.parse().unwrap()), ..offer(task, handler(name)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_of_one_slot_starts_whatever_comes_on_any_lane() {
    let stage = Stage::new().await;
    let handlers = Handlers::new().register("noop".parse().unwrap(), |_| async { Ok::<_, String>(()) });
    let mut options = stage.options("w1", &["a", "b"], 1);
    options.serves.hosts = Hosts::All;
    let _worker = stage.start(options, handlers).await.unwrap();
    let start = Instant::now();
    let mut task = 0;
    for _ in 0..3 {
        let host = Target::Host("h1".parse().unwrap());
        stage.offer(&Offer { target: host, ..offer(task, handler("noop")) }).await;
        task += 1;
        stage.all_ends(task as usize).await;
        for queue in ["a", "b"] {
            for priority in [Priority::Low, Priority::High, Priority::Normal] {
                stage.offer(&Offer { priority, ..of_queue(queue, task, "noop") }).await;
                task += 1;
                stage.all_ends(task as usize).await;
            }
        }
    }
    // Had the slot waited with another lane, each of these would have taken longer than a moment.
    assert!(start.elapsed() < Duration::from_millis(200) * task, "{task} offers took {:?}", start.elapsed());
    assert_eq!(stage.returns().await, []);
}

/// Offers one of each queue at once to a worker of one slot that waits at all of them, so that one starts and the others
/// are given back; returns the task of the first. A worker that does not wait yet takes them one after the other.
async fn more_than_slots(stage: &Stage, queues: &[&str], permits: &Semaphore, claimed: bool) -> u32 {
    let count = u32::try_from(queues.len()).unwrap();
    for first in (0..20 * count).step_by(queues.len()) {
        for (task, queue) in (first..).zip(queues) {
            stage.offer(&Offer { claimed, ..of_queue(queue, task, "gate") }).await;
        }
        let returned = async || stage.returns().await.len() + 1 == queues.len();
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if returned().await {
                return first;
            }
            sleep(Duration::from_millis(10)).await;
        }
        permits.add_permits(queues.len());
        stage.all_ends((first + count) as usize).await;
    }
    panic!("nothing is ever given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_come_at_once_another_worker_gets_the_second() {
    let stage = Stage::new().await;
    let (handlers, begun, permits) = gate();
    let _one = stage.start(stage.options("w1", &["a", "b"], 1), handlers).await.unwrap();
    let first = more_than_slots(&stage, &["a", "b"], &permits, false).await;
    let (task, number, by) = stage.returns().await.remove(0);
    assert_eq!((begun.load(Ordering::SeqCst), number, by.as_str()), (first as usize + 1, 1, "w1"));
    let (handlers, second, more) = gate();
    let _two = stage.start(stage.options("w2", &["a", "b"], 1), handlers).await.unwrap();
    until("the other one has it", async || (second.load(Ordering::SeqCst) == 1).then_some(())).await;
    permits.add_permits(1);
    more.add_permits(1);
    let ends = stage.all_ends(first as usize + 2).await;
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
    assert_eq!(begun.load(Ordering::SeqCst) + second.load(Ordering::SeqCst), ends.len(), "each of them ran once");
    let by_first = stage.reports().await.into_iter().filter(|(_, by, _)| by.as_str() == "w1");
    let said: Vec<What> = by_first.filter(|(.., report)| report.task == task).map(|(.., report)| report.what).collect();
    assert_eq!(said, [What::Returned {}], "who has given it back says nothing else of it");
}

/// Alone in the mesh it gets back what it has given back, when it has a slot for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_may_come_again_to_the_same_worker() {
    for claimed in [false, true] {
        let stage = Stage::new().await;
        let (handlers, begun, permits) = gate();
        let _worker = stage.start(stage.options("w1", &["a", "b"], 1), handlers).await.unwrap();
        let first = more_than_slots(&stage, &["a", "b"], &permits, claimed).await;
        permits.add_permits(2);
        let ends = stage.all_ends(first as usize + 2).await;
        assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
        assert_eq!(begun.load(Ordering::SeqCst), ends.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_gives_back_what_it_has_not_started() {
    let stage = Stage::new().await;
    let (handlers, begun, permits) = gate();
    let mut worker = stage.start(stage.options("w1", &["q"], 3), handlers).await.unwrap();
    for round in 0..5_u32 {
        for task in 0..3 {
            stage.offer(&offer(round * 3 + task, handler("gate"))).await;
        }
    }
    until("three run", async || (begun.load(Ordering::SeqCst) == 3).then_some(())).await;
    worker.drain();
    permits.add_permits(100);
    ended(&mut worker).await;
    let (ends, left) = (stage.ends().await, stage.mesh.offers(&super::run()).await.unwrap());
    assert_eq!((ends.len() + left.len(), begun.load(Ordering::SeqCst)), (15, ends.len()), "the rest waits for others");
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
}

/// Held because what runs has just begun, and given back when the worker drains.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_slot_is_given_back_by_a_worker_that_drains() {
    let stage = Stage::new().await;
    let (handlers, begun, permits) = gate();
    let mut options = stage.options("w1", &["a", "b", "q"], 1);
    // Everything that runs counts as just begun, so what waits is held as long as it can be.
    options.times.started_after = "60s".parse().unwrap();
    let mut worker = stage.start(options, handlers).await.unwrap();
    let first = more_than_slots(&stage, &["a", "b", "q"], &permits, false).await;
    worker.drain();
    permits.add_permits(3);
    ended(&mut worker).await;
    assert_eq!((stage.ends().await.len(), begun.load(Ordering::SeqCst)), (first as usize + 1, first as usize + 1));
    let waits = async || (stage.mesh.offers(&super::run()).await.unwrap().len() == 2).then_some(());
    until("they wait for somebody else", waits).await;
}
