//! A mesh that is written into a directory and made again elsewhere.

use std::fs;
use std::time::Duration;

use rr_schemas::decision::RunStatus;
use rr_schemas::id::RunId;
use rr_tests::{TestMesh, Timing, eventually, verdict::Verdict};
use serde_json::Value;

const SOON: Duration = Duration::from_mins(1);

fn run(id: &str) -> RunId {
    id.parse().unwrap()
}

/// A run that is over, one that runs and has more to do, one that waits for a signal, one that nobody serves yet.
#[tokio::test]
async fn open_runs_go_on_in_the_restored_mesh() {
    let mut mesh = TestMesh::bare(Timing::ShortPatient).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    let worker = mesh.worker("w1", &["--hosts", "h[1-4]", "--queues", "default"]);
    mesh.has_workers(1).await;
    let go = mesh.path("go");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done; echo $RR_HOST >> ran", go.display());
    let wait = wait.replace(">> ran", &format!(">> {}", mesh.path("ran").display()));
    for (name, jobs) in [
        ("over", "{ name: a, run: [\"true\"], hosts: 'h[1-4]' }".to_owned()),
        ("midway", format!("{{ name: a, shell: {wait:?}, hosts: 'h[1-4]', parallelism: 2, on_lost: fail }}")),
        ("gated", "{ name: a, signal: approved }, { name: b, run: [\"true\"], needs: [a] }".to_owned()),
        ("later", "{ name: a, run: [\"true\"], queue: elsewhere }".to_owned()),
    ] {
        mesh.write(&format!("{name}.yaml"), format!("name: f\njobs: [{jobs}]\n"));
        let _id = mesh.rr(["publish", &format!("{name}.yaml"), "--id", name]).run().await.exits(0);
    }
    assert_eq!(mesh.ended(&run("over"), SOON).await.status, RunStatus::Succeeded);
    eventually("two of four under way", SOON, async || {
        let shown = mesh.rr(["show", "midway", "--json"]).run().await.exits(0);
        let running = shown.stdout.matches("\"running\"").count();
        if running >= 4 { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    worker.pause();
    let written = mesh.rr(["backup", "kept", "--json"]).run().await.exits(0);
    let names: Vec<Value> = written.json("streams").as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["KV_rr-runs", "RR_EVENTS", "RR_QUARANTINE", "RR_OUTPUT"]);
    let _full = mesh.rr(["backup", "kept"]).run().await.exits(73).says(&["is not empty"]);
    let _living = mesh.rr(["restore", "kept"]).run().await.exits(73).says(&["there is a mesh", "nothing was done"]);

    coordinator.kill().await;
    mesh.server().kill().await.unwrap();
    fs::remove_dir_all(mesh.dir().join("nats")).unwrap();
    mesh.server().restart().await.unwrap();
    let _none = mesh.rr(["ls"]).run().await.exits(78).says(&["nobody has made a mesh"]);
    let restored = mesh.rr(["restore", "kept"]).run().await.exits(0);
    let restored = restored.says(&["runs over: 1, open: 3", "violations: 0, incomplete: 0"]);
    assert!(!restored.stdout.contains("violation"), "{restored}");

    let _coordinator = mesh.coordinator();
    worker.go_on();
    fs::write(go, "").unwrap();
    assert_eq!(mesh.ended(&run("midway"), SOON).await.status, RunStatus::Succeeded);
    let mut ran: Vec<String> = mesh.read("ran").lines().map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, ["h1", "h2", "h3", "h4"], "a claimed attempt runs once");
    let _given = mesh.rr(["signal", "gated", "approved"]).run().await.exits(0);
    assert_eq!(mesh.ended(&run("gated"), SOON).await.status, RunStatus::Succeeded);
    let _late = mesh.worker("w2", &["--queues", "elsewhere"]);
    assert_eq!(mesh.ended(&run("later"), SOON).await.status, RunStatus::Succeeded);
    let _new = mesh.rr(["publish", "over.yaml", "--wait"]).run().await.exits(0);
    let handle = mesh.mesh().await.unwrap();
    for name in ["over", "midway", "gated", "later"] {
        let _judged = Verdict::of(&handle, &run(name), Timing::ShortPatient).await;
    }
    let _clean = mesh.rr(["verify"]).run().await.exits(0).says(&["runs over: 5, open: 0"]);
}

#[tokio::test]
async fn what_is_no_backup_is_refused_before_anything_is_made() {
    let (mut mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    let _written = mesh.rr(["backup", "kept"]).run().await.exits(0).says(&["RR_EVENTS: "]);
    mesh.server().kill().await.unwrap();
    fs::remove_dir_all(mesh.dir().join("nats")).unwrap();
    mesh.server().restart().await.unwrap();
    let _nowhere = mesh.rr(["restore", "nowhere"]).run().await.exits(66).says(&["backup.json"]);
    let log = mesh.path("kept").join("RR_EVENTS.tar.s2");
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&log, bytes).unwrap();
    let _damaged =
        mesh.rr(["restore", "kept"]).run().await.exits(65).says(&["not what rr backup wrote", "nothing was done"]);
    fs::write(mesh.path("kept").join("backup.json"), "{").unwrap();
    let _bad = mesh.rr(["restore", "kept"]).run().await.exits(65);
}
