//! Looking after workers: who there is, letting one go, forgetting one.

use std::time::Duration;

use rr_tests::{Dice, TestMesh, Timing, eventually};
use serde_json::Value;
use tokio::time::sleep;

const SOON: Duration = Duration::from_secs(30);

async fn list(mesh: &TestMesh) -> Vec<Value> {
    let listed = mesh.rr(["worker", "ls", "--json"]).run().await.exits(0);
    serde_json::from_str(&listed.stdout).unwrap()
}

#[tokio::test]
async fn a_worker_is_shown_drained_and_forgotten() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _none = mesh.rr(["worker", "ls"]).run().await.exits(0).says(&["no workers yet"]);
    let db = mesh.worker("db7", &["--hosts", "db[7-8]", "--label", "role=db"]);
    mesh.has_workers(1).await;
    let _shown = mesh.rr(["worker", "ls"]).run().await.exits(0).says(&["db7", "present", "db[7-8]", "role=db"]);
    let listed = list(&mesh).await;
    assert_eq!((&listed[0]["worker"], &listed[0]["state"]), (&"db7".into(), &"present".into()));
    assert!(listed[0]["last_seen"].is_string() && listed[0]["instance"].is_string(), "{listed:?}");
    let _present = mesh.rr(["worker", "forget", "db7"]).run().await.exits(73).says(&["rr worker drain db7"]);
    // What runs is let end; nothing new starts.
    mesh.write(
        "flow.yaml",
        "name: f\njobs: [{ name: a, shell: 'echo on; until [ -e \"$RR_PARAM_GO\" ]; do sleep 0.05; done', hosts: [db7] }]\n\
         params: { go: { type: string } }\n",
    );
    let go = mesh.path("go").display().to_string();
    let mut wait = mesh.rr(["publish", "flow.yaml", "--follow", "--set", &format!("go={go}")]).start();
    wait.has_written("a: started", SOON).await;
    let _slow = mesh
        .rr(["worker", "drain", "db7", "--wait", "--timeout", "100ms"])
        .run()
        .await
        .exits(6)
        .says(&["goes on draining"]);
    assert_eq!(list(&mesh).await[0]["state"], "draining");
    let drained = mesh.rr(["worker", "drain", "db7", "--wait"]).start();
    mesh.write("go", "");
    let _drained = drained.ended(SOON).await.exits(0).says(&["is gone"]);
    let _run = wait.ended(SOON).await.exits(0);
    let _worker = db.ended(SOON).await.exits(0);
    eventually("the worker to be away", SOON, async || {
        let listed = list(&mesh).await;
        if listed[0]["state"] == "away" { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await;
    let listed = list(&mesh).await;
    assert_eq!((&listed[0]["hosts"], &listed[0]["labels"]["role"]), (&"db[7-8]".into(), &"db".into()));
    let _away = mesh.rr(["worker", "drain", "db7"]).run().await.exits(0).says(&["is away"]);
    let _forgotten = mesh.rr(["worker", "forget", "db7"]).run().await.exits(0).says(&["forgotten"]);
    assert!(list(&mesh).await.is_empty());
    for verb in ["drain", "forget"] {
        let _unknown = mesh.rr(["worker", verb, "db7"]).run().await.exits(66).says(&["rr worker ls"]);
        let _no_name = mesh.rr(["worker", verb, "a.b"]).run().await.exits(65);
    }
    let _both = mesh.rr(["worker", "--all-hosts", "ls"]).run().await.exits(2);
}

#[tokio::test]
async fn a_worker_that_dies_while_it_starts_can_be_started_again() {
    let mut dice = Dice::new();
    let (mesh, _coordinator, mut worker) = TestMesh::start(Timing::Default).await;
    for _ in 0..6 {
        worker.kill().await;
        worker = mesh.worker("w1", &["--all-hosts", "--queues", "default"]);
        sleep(dice.pause(0..60)).await;
    }
    worker.kill().await;
    worker = mesh.worker("w1", &["--all-hosts", "--queues", "default"]);
    worker.has_written("worker ready", SOON).await;
}
