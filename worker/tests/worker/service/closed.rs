//! A worker whose connection is closed for good.

use rr_worker::{Handle, Handlers, RunError, StartError, Worker};
use tokio::time::timeout;

use super::{Stage, WAIT_MAX, offer, sh, until};

async fn ends(mut worker: Handle) {
    let ended = timeout(WAIT_MAX, worker.join()).await.unwrap();
    assert!(matches!(ended, Err(RunError::Closed)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_ends_when_its_connection_is_closed_for_good() {
    let stage = Stage::new().await;
    let mesh = stage.connect("w1").await;
    let worker = Worker::start(mesh.clone(), stage.options("w1", &["q"], 1), Handlers::new()).await.unwrap();
    mesh.drain().await;
    ends(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_ends_when_its_connection_is_closed_for_good() {
    let stage = Stage::new().await;
    let mesh = stage.connect("w1").await;
    let worker = Worker::start(mesh.clone(), stage.options("w1", &["q"], 1), Handlers::new()).await.unwrap();
    stage.offer(&offer(0, sh("sleep 1000"))).await;
    until("it runs", async || (!stage.reports().await.is_empty()).then_some(())).await;
    worker.drain();
    until("it drains", async || {
        let workers = stage.mesh.workers().await.unwrap();
        workers.iter().any(|worker| worker.draining).then_some(())
    })
    .await;
    mesh.drain().await;
    ends(worker).await;
}

/// What it could not say is said by its next life.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_had_in_hand_is_reported_by_its_next_life() {
    let stage = Stage::new().await;
    let mesh = stage.connect("w1").await;
    let worker = Worker::start(mesh.clone(), stage.options("w1", &["q"], 1), Handlers::new()).await.unwrap();
    stage.offer(&offer(0, sh("sleep 1000"))).await;
    until("it runs", async || (!stage.reports().await.is_empty()).then_some(())).await;
    mesh.drain().await;
    ends(worker).await;
    let _next = stage.start(stage.options("w1", &["q"], 1), Handlers::new()).await.unwrap();
    until("its end is reported", async || (stage.ends().await.len() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_waits_for_a_coordinator_ends_when_its_connection_is_closed_for_good() {
    let mut stage = Stage::new().await;
    stage.stop_coordinator().await;
    let mesh = stage.connect("w1").await;
    let start = Worker::start(mesh.clone(), stage.options("w1", &["q"], 1), Handlers::new());
    let close = async {
        until("it shows itself", async || (stage.mesh.workers().await.unwrap().len() == 1).then_some(())).await;
        mesh.drain().await;
    };
    let (started, ()) = tokio::join!(timeout(WAIT_MAX, start), close);
    assert!(matches!(started.unwrap(), Err(StartError::Mesh(rr_nats::Error::Unreachable(_)))));
}
