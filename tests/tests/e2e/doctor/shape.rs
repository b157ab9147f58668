//! Parts of a mesh: whatever `rr init` makes is looked at, and what is made again is well.

use futures::TryStreamExt as _;
use serde_json::json;

use super::*;

#[tokio::test]
async fn every_stream_of_a_mesh_is_missed_when_it_is_gone() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _made = mesh.rr(["init"]).run().await.exits(0);
    let js = js(&mesh).await;
    let names: Vec<String> = js.stream_names().try_collect().await.unwrap();
    assert!(names.iter().any(|name| name == "KV_rr-locks"), "{names:?}");
    // Without the log there is no mesh, and `rr init` would make one.
    for name in names.iter().filter(|name| *name != "RR_EVENTS") {
        js.delete_stream(name).await.unwrap();
        let found = Found::on(&mesh, &[]).await;
        found.says("drift", "bad", &[&format!("there is no stream {name},")]).unwrap();
        let _made = mesh.rr(["init"]).run().await.exits(0).says(&["made", name]);
        Found::on(&mesh, &[]).await.says("drift", "ok", &[]).unwrap();
    }
}

#[tokio::test]
async fn a_durable_that_a_coordinator_makes_again_is_well() {
    let (mesh, mut coordinator, _worker) = TestMesh::start(Timing::Short).await;
    coordinator.has_written("the mesh is looked after", SOON).await;
    let log = js(&mesh).await.get_stream("RR_EVENTS").await.unwrap();
    log.delete_consumer("p0").await.unwrap();
    coordinator.has_written("a consumer was removed; it is made again", SOON).await;
    well(&mesh).await;
    let mut config = log.consumer_info("p1").await.unwrap().config;
    config.max_deliver = 3;
    log.update_consumer(config).await.unwrap();
    Found::on(&mesh, &[]).await.says("drift", "bad", &["p1 of RR_EVENTS: max_deliver is 3, must be -1"]).unwrap();
    // As the doctor says.
    log.delete_consumer("p1").await.unwrap();
    let _made = mesh.rr(["init"]).run().await.exits(0);
    well(&mesh).await;
}

#[tokio::test]
async fn a_paused_durable_of_a_worker_or_a_queue_is_named() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    let work = js(&mesh).await.get_stream("RR_WORK").await.unwrap();
    for durable in ["w-w1", "q2-default"] {
        // A worker shows itself before it has anything to get work from.
        eventually(durable, SOON, async || work.consumer_info(durable).await).await;
        pause(&mesh, "RR_WORK", durable, json!({ "pause_until": "2100-01-01T00:00:00Z" })).await;
        let found = Found::on(&mesh, &[]).await;
        found.says("drift", "bad", &[&format!("consumer {durable} of RR_WORK is paused")]).unwrap();
        pause(&mesh, "RR_WORK", durable, json!({})).await;
        Found::on(&mesh, &[]).await.says("drift", "ok", &[]).unwrap();
    }
}
