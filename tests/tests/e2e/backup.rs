//! A mesh that is written into a directory and made again elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use rr_nats::server::{Config as ServerConfig, Embedded};
use rr_schemas::decision::RunStatus;
use rr_schemas::id::RunId;
use rr_tests::{TestMesh, Timing, eventually, program, verdict::Verdict};
use serde_json::{Value, json};

use crate::removed::operator;

const SOON: Duration = Duration::from_mins(1);

fn run(id: &str) -> RunId {
    id.parse().unwrap()
}

/// The server loses everything.
async fn loses_all(mesh: &mut TestMesh) {
    mesh.server().kill().await.unwrap();
    fs::remove_dir_all(mesh.dir().join("nats")).unwrap();
    mesh.server().restart().await.unwrap();
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
    loses_all(&mut mesh).await;
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
    loses_all(&mut mesh).await;
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

/// Whatever a job changes may have seen the fence of an attempt that the backup does not know.
#[tokio::test]
async fn fences_grow_over_a_restore_though_the_log_goes_back() {
    let (mut mesh, mut coordinator, mut worker) = TestMesh::start(Timing::Short).await;
    let note = format!("echo $RR_FENCE >> {}", mesh.path("fences").display());
    let job = format!("{{ name: a, shell: {note:?}, hosts: 'h[1-30]', on_lost: fail }}");
    mesh.write("noted.yaml", format!("name: f\njobs: [{job}]\n"));
    let _written = mesh.rr(["backup", "kept"]).run().await.exits(0);
    let _run = mesh.rr(["publish", "noted.yaml", "--id", "noted", "--wait"]).run().await.exits(0);
    let fences =
        |mesh: &TestMesh| -> Vec<u64> { mesh.read("fences").lines().map(|fence| fence.parse().unwrap()).collect() };
    let before = fences(&mesh);
    coordinator.kill().await;
    worker.kill().await;
    loses_all(&mut mesh).await;
    let _restored = mesh.rr(["restore", "kept"]).run().await.exits(0);
    let _coordinator = mesh.coordinator();
    // One that does not remember the run.
    let _worker = mesh.worker("w2", &["--all-hosts"]);
    mesh.has_workers(1).await;
    let _again = mesh.rr(["publish", "noted.yaml", "--id", "noted", "--wait"]).run().await.exits(0);
    let all = fences(&mesh);
    let (old, new) = all.split_at(before.len());
    assert_eq!((old.len(), new.len()), (30, 30));
    assert!(old.iter().max() < new.iter().min(), "{old:?} {new:?}");
}

#[tokio::test]
async fn a_restore_that_broke_off_is_carried_on() {
    let mut mesh = TestMesh::bare(Timing::Short).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    let kept = mesh.path("kept");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o755)).unwrap();
    let _written = mesh.rr(["backup", "kept"]).run().await.exits(0);
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "only its owner may read it");
    assert!(!kept.join("backup.json.part").exists());
    coordinator.kill().await;
    loses_all(&mut mesh).await;
    let js = operator(&mesh).await;
    let stream = |name: &str, subject: &str| {
        let (name, subjects) = (name.to_owned(), vec![subject.to_owned()]);
        Config { name, subjects, ..Config::default() }
    };
    // Somebody else has the subjects of the log, which is the last stream.
    js.create_stream(stream("ORDERS", "rr.ev.>")).await.unwrap();
    let _broken = mesh.rr(["restore", "kept"]).run().await.exits(78).says(&["restored RR_OUTPUT"]);
    js.delete_stream("ORDERS").await.unwrap();
    js.create_stream(stream("RR_WORK", "rr.work.>")).await.unwrap();
    let _named = mesh.rr(["restore", "kept"]).run().await.exits(73).says(&["(RR_WORK)", "nats stream rm -f RR_WORK)"]);
    js.delete_stream("RR_WORK").await.unwrap();
    let carried_on = mesh.rr(["restore", "kept"]).run().await.exits(0);
    let _said = carried_on.says(&["KV_rr-runs: there already", "restored RR_EVENTS", "violations: 0"]);
    let log = js.get_stream("RR_EVENTS").await.unwrap().cached_info().config.clone();
    assert!(!log.metadata.contains_key("rr_pack"), "{log:?}");
    let _over = mesh.rr(["restore", "kept"]).run().await.exits(73).says(&["there is a mesh", "nothing was done"]);
}

#[tokio::test]
async fn a_mesh_of_three_servers_is_restored_on_one() {
    let mut mesh = TestMesh::bare(Timing::Short).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _written = mesh.rr(["backup", "kept"]).run().await.exits(0);
    coordinator.kill().await;
    let path = mesh.path("kept").join("backup.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for packed in manifest["streams"].as_array_mut().unwrap() {
        packed["config"]["num_replicas"] = json!(3);
    }
    fs::write(&path, manifest.to_string()).unwrap();
    loses_all(&mut mesh).await;
    let three = mesh.rr(["restore", "kept", "--replicas", "3"]).run().await.exits(78);
    let _said = three.says(&["3 copies of stream KV_rr-runs need 3 servers"]);
    let one = mesh.rr(["restore", "kept"]).run().await.exits(0);
    let _said = one.says(&["copies of RR_EVENTS: 1, where there were 3"]);
}

/// Another server of the same machine, with so much room.
async fn small_server(mesh: &TestMesh, file_store_max: u64) -> (Embedded, String) {
    let (store, run) = (mesh.path("small"), mesh.path("small-run"));
    let config = ServerConfig { file_store_max, ..ServerConfig::new(store, run) };
    let server = Embedded::start(&program::nats_server().await, config).await.unwrap();
    let url = format!("nats://{}:{}@127.0.0.1:{}", server.user(), server.password(), server.port());
    (server, url)
}

#[tokio::test]
async fn a_server_that_is_too_small_is_told_with_what_the_mesh_needs_and_a_larger_one_carries_on() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _written = mesh.rr(["backup", "kept"]).run().await.exits(0);
    let (mut server, url) = small_server(&mesh, 2 << 30).await;
    let refused = mesh.rr(["restore", "kept", "--server", &url]).run().await.exits(78);
    // The states and what was quarantined may take a GiB and a quarter, output four.
    let says =
        ["restored RR_QUARANTINE", "no room for stream RR_OUTPUT", "needs 4.0 GiB", "does not tell", "max_file_store"];
    let _refused = refused.says(&says).says(&["restore again"]);
    server.kill().await.unwrap();
    drop(server);
    let (_server, url) = small_server(&mesh, 16 << 30).await;
    let carried_on = mesh.rr(["restore", "kept", "--server", &url]).run().await.exits(0);
    let _said = carried_on.says(&["RR_QUARANTINE: there already", "restored RR_OUTPUT", "violations: 0"]);
}
