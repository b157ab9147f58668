//! How a worker ends.

use std::sync::Arc;
use std::time::Duration;

use rr_schemas::{presence::Control, report::Outcome};
use rr_worker::Handlers;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::{Stage, ended, handler, offer, run, sh, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_finishes_what_runs_and_takes_nothing_new() {
    let stage = Stage::new().await;
    let permits = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&permits);
    let handlers = Handlers::new().register("gate".parse().unwrap(), move |_| {
        let gate = Arc::clone(&gate);
        async move { gate.acquire().await.map(SemaphorePermit::forget).map_err(|error| error.to_string()) }
    });
    let mut worker = stage.worker("w1", 4, handlers).await;
    stage.offer(&offer(0, handler("gate"))).await;
    until("it runs", async || (!stage.reports().await.is_empty()).then_some(())).await;
    stage.mesh.control(&"w1".parse().unwrap(), &Control::Drain {}).await.unwrap();
    until("it says so", async || {
        let workers = stage.mesh.workers().await.unwrap();
        workers.iter().any(|worker| worker.draining).then_some(())
    })
    .await;
    stage.offer(&offer(1, handler("gate"))).await;
    permits.add_permits(2);
    ended(&mut worker).await;
    let ends = stage.ends().await;
    assert_eq!(ends.iter().map(|(task, ended)| (*task, ended.outcome)).collect::<Vec<_>>(), [(0, Outcome::Ok)]);
    assert_eq!(stage.mesh.workers().await.unwrap(), []);
    assert_eq!(stage.mesh.offers(&run()).await.unwrap().len(), 1, "the new offer waits for somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_ends_at_once_and_says_that_its_attempts_are_lost() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", 4, Handlers::new()).await;
    let left = format!("10{}", fastrand::u32(10_000_000..));
    stage.offer(&offer(0, sh(&format!("trap '' TERM; setsid sleep {left} & sleep 1000")))).await;
    until("it runs", async || (!stage.reports().await.is_empty()).then_some(())).await;
    worker.drain();
    worker.kill();
    ended(&mut worker).await;
    let lines =
        std::fs::read_dir("/proc").unwrap().filter_map(|it| std::fs::read(it.unwrap().path().join("cmdline")).ok());
    let survivors = lines.filter(|line| String::from_utf8_lossy(line) == format!("sleep\0{left}\0")).count();
    assert_eq!(survivors, 0, "also who has left the process group is gone when it says so");
    let ends = stage.ends().await;
    assert_eq!((ends.len(), ends[0].1.outcome), (1, Outcome::Lost));
    assert_eq!(ends[0].1.reason.as_deref(), Some("worker stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_to_a_worker_that_drains_is_never_lost() {
    let stage = Stage::new().await;
    let handlers = Handlers::new().register("noop".parse().unwrap(), |_| async { Ok::<_, String>(()) });
    for round in 0..5 {
        let mut worker = stage.worker("w1", 64, handlers.clone()).await;
        let begun = stage.ends().await.len();
        for task in 0..400 {
            stage.offer(&offer(round * 400 + task, handler("noop"))).await;
        }
        until("some have ended", async || (stage.ends().await.len() > begun + 20).then_some(())).await;
        worker.drain();
        ended(&mut worker).await;
    }
    let mut worker = stage.worker("w1", 64, handlers).await;
    let ends = stage.all_ends(2000).await;
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
    let start = Instant::now();
    worker.drain();
    ended(&mut worker).await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "an idle one waits for no pull to run out: {:?}",
        start.elapsed()
    );
}
