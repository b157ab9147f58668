//! Workers: what they say of themselves, and what they really have.

use jiff::Timestamp;

use super::*;

/// Shows a worker that has nothing to get work from, with what its clock says now and said when it started.
pub(super) async fn show(mesh: &TestMesh, name: &str, clock: Timestamp, since: Timestamp) {
    let worker = json!({
        "worker": name, "instance": "i1", "serves": { "hosts": "none", "queues": [] }, "capacity": 1,
        "version": "1", "since": since.to_string(),
    });
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-TTL", "1h");
    headers.insert("Rr-Clock", clock.to_string());
    let client = client(mesh).await;
    let key = format!("$KV.rr-workers.worker.{name}");
    client.publish_with_headers(key, headers, worker.to_string().into()).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn a_worker_without_a_consumer_is_bad_once_it_has_had_time_to_join() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _made = mesh.rr(["init"]).run().await.exits(0);
    let now = Timestamp::now();
    // Its clock is wrong, which makes it no older.
    let wrong = now - Duration::from_hours(2);
    for (name, clock, since) in [("old", now, now - Duration::from_hours(1)), ("new", now, now), ("slow", wrong, wrong)]
    {
        show(&mesh, name, clock, since).await;
    }
    // Nobody is there who could let them in, and that is what is wrong.
    eventually("three who are present", SOON, async || {
        let found = Found::on(&mesh, &[]).await;
        found.says("coordinators", "bad", &[])?;
        found.says("workers", "ok", &["3 present", "3 have not joined yet"])
    })
    .await;
    let _coordinator = mesh.coordinator();
    mesh.has_coordinators(1).await;
    eventually("one that has not joined for an hour", SOON, async || {
        Found::on(&mesh, &[]).await.says("workers", "bad", &["present for longer than 5m00s", "work from: old"])
    })
    .await;
    let found = Found::on(&mesh, &[]).await;
    for name in ["new", "slow"] {
        assert!(found.says("workers", "bad", &[name]).is_err(), "{found}");
    }
    eventually("two who are late", SOON, async || {
        Found::on(&mesh, &["--waiting", "1s"]).await.says("workers", "bad", &["new, old, slow"])
    })
    .await;
}

#[tokio::test]
async fn a_host_is_served_only_when_its_workers_consumer_has_it() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _worker = mesh.worker("w1", &["--hosts", "h[1-2]"]);
    mesh.has_workers(1).await;
    let handle = mesh.mesh().await.unwrap();
    let name = "w1".parse().unwrap();
    eventually("a lane", SOON, async || match handle.lane_hosts(&name).await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // It asks again, but not so soon.
    handle.give_up_hosts(&name).await.unwrap();
    mesh.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: h1, on_unreachable: wait 1h }]\n");
    let _run = mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    eventually("an offer that waits", SOON, async || {
        let found = Found::on(&mesh, &["--waiting", "1s"]).await;
        found.says(
            "offers",
            "bad",
            &["1 offer for host h1", "of run r1", "worker w1 says that it does, but its consumer"],
        )
    })
    .await;
}
