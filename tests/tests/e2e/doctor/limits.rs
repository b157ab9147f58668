//! Limits: what was not looked at is told and is no trouble by itself, and a doctor comes to an end.

use futures::{StreamExt as _, stream};
use rr_tests::proxy::Proxy;
use tokio::time::Instant;

use super::*;

/// How long a doctor may take at most.
const LIMIT: Duration = Duration::from_secs(30);

async fn publish<S>(mesh: &TestMesh<S>, flow: &str, ids: impl Iterator<Item = String>) {
    let publish = |id: String| async move {
        let _run = mesh.rr(["publish", flow, "--id", &id]).run().await.exits(0);
    };
    stream::iter(ids.map(publish)).buffer_unordered(4).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn runs_that_wait_for_people_hide_none_that_is_stuck_and_what_is_unread_is_told() {
    let (mesh, coordinator, _worker) = TestMesh::start(Timing::Short).await;
    let gate = |more: &str| format!("name: f\njobs: [{{ name: a, signal: go{more} }}]\n");
    mesh.write("gate.yaml", gate(""));
    mesh.write("timed.yaml", gate(", timeout: 1h"));
    let flow = "name: f\njobs: [{ name: a, run: ['false'], hosts: [h1], retry: { attempts: 2, delay: 5s } }]\n";
    mesh.write("stuck.yaml", flow);
    let shown = |n: usize| {
        let mesh = &mesh;
        async move {
            eventually("states", SOON, async || {
                let (found, _) = mesh.mesh().await?.unfinished(LIMIT).await.map_err(|error| error.to_string())?;
                if found.len() == n { Ok(()) } else { Err(format!("{} of {n}", found.len())) }
            })
            .await;
        }
    };
    publish(&mesh, "gate.yaml", (0..51).map(|n| format!("g{n}"))).await;
    shown(51).await;
    publish(&mesh, "stuck.yaml", std::iter::once("r1".to_owned())).await;
    eventually("an attempt that has failed", SOON, async || {
        let shown = mesh.rr(["show", "r1", "--json"]).run().await.stdout;
        if shown.contains("failed") { Ok(()) } else { Err(shown) }
    })
    .await;
    shown(52).await;
    coordinator.terminate();
    let _stopped = coordinator.ended(SOON).await.exits(0);
    eventually("a run that is stuck", SOON, async || {
        let found = Found::on(&mesh, &["--waiting", "1s"]).await;
        found.says("runs", "bad", &["run r1 has not moved"])?;
        // All were looked at.
        if found.says("runs", "unknown", &[]).is_ok() { Err(found.to_string()) } else { Ok(()) }
    })
    .await;
    let _coordinator = mesh.coordinator();
    mesh.has_coordinators(1).await;
    let _over = mesh.ended(&"r1".parse().unwrap(), SOON).await;
    publish(&mesh, "timed.yaml", (0..51).map(|n| format!("t{n}"))).await;
    shown(102).await;
    eventually("a run that was not looked at", SOON, async || {
        let found = Found::on(&mesh, &["--waiting", "1s"]).await;
        found.says("runs", "ok", &["102 under way, none of those that were looked at stuck"])?;
        found.says("runs", "unknown", &["1 has not changed for long and", "not looked at"])
    })
    .await;
}

#[tokio::test]
async fn a_doctor_behind_a_slow_link_comes_to_an_end_and_calls_nothing_bad_that_it_has_not_seen() {
    let mesh = TestMesh::bare(Timing::Short).await;
    mesh.configure(&format!("server: {}\nmesh: {{ partitions: 400 }}\n", mesh.url()));
    let _made = mesh.rr(["init"]).run().await.exits(0);
    let (user, password, port) = (mesh.address().user(), mesh.address().password(), mesh.address().port());
    let proxy = Proxy::to(port).await;
    let url = format!("nats://{user}:{password}@127.0.0.1:{}", proxy.port());
    proxy.delay(Duration::from_millis(600));
    let began = Instant::now();
    let told = mesh.rr(["doctor", "--json", "--server", &url]).within(LIMIT * 2).run().await.exits(1);
    assert!(began.elapsed() < LIMIT, "{:?}: {told}", began.elapsed());
    let document: Value = serde_json::from_str(&told.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().clone();
    let found = Found { findings, code: Some(1) };
    // There was no time for the last ones. That says nothing of who leads them.
    found.says("partitions", "unknown", &["were not looked at"]).unwrap();
    found.says("quorum", "ok", &[]).unwrap();
    assert!(found.says("quorum", "bad", &[]).is_err(), "{found}");
    found.says("drift", "ok", &[]).unwrap();
}
