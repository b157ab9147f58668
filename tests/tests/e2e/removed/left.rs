//! A worker that is gone for good, and its consumer with it: what it has ended and not acknowledged must not be on offer for
//! whoever serves its hosts next.

use async_nats::HeaderMap;
use rr_schemas::decision::RunStatus;
use rr_tests::{TestMesh, Timing, eventually};

use super::{END, NOTED, have_started, operator, publish, starts, succeeds};

/// An offer whose acknowledgement nobody has taken is stored as it was, and nobody is there to whom it would be delivered.
#[tokio::test]
async fn what_is_left_on_offer_of_a_run_that_is_over_does_not_run_again_where_somebody_else_comes() {
    let mesh = TestMesh::bare(Timing::ShortPatient).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    let mut worker = mesh.worker("w1", &["--hosts", "h1"]);
    mesh.has_workers(1).await;
    let run = publish(&mesh, "left", &NOTED.replace("TARGETS", "hosts: h1")).await;
    have_started(&mesh, 1).await;
    let (handle, js) = (mesh.mesh().await.unwrap(), operator(&mesh).await);
    let ahead = publish(&mesh, "ahead", "{ name: f, jobs: [{ name: j, run: [\"true\"], hosts: h2 }] }").await;
    eventually("its state", END, async || match handle.status(&ahead).await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(handle.offers(&ahead).await.unwrap().len(), 1);
    // What a log that has lost its end leaves: a state that says more than it does, until a coordinator has seen to it.
    coordinator.kill().await;
    let mut entry = handle.status(&ahead).await.unwrap().unwrap();
    entry.n += 1;
    entry.view.status = RunStatus::Cancelled;
    entry.view.ended_at = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let _revision = js
        .get_key_value("rr-runs")
        .await
        .unwrap()
        .put("ahead", serde_json::to_vec(&entry).unwrap().into())
        .await
        .unwrap();
    let _coordinator = mesh.coordinator();
    let mut offers = Vec::new();
    handle.each_offer(Some(&run), |offer| offers.push(offer)).await.unwrap();
    mesh.write("enough", "");
    succeeds(&mesh, &run).await;
    worker.kill().await;
    mesh.has_workers(0).await;
    js.get_stream("RR_WORK").await.unwrap().delete_consumer("w-w1").await.unwrap();
    let [offer] = offers.as_slice() else { panic!("{offers:?}") };
    let mut headers = HeaderMap::new();
    for (name, value) in offer.headers.iter().filter(|(name, _)| !name.starts_with("Nats-")) {
        headers.insert(name.as_str(), value.as_str());
    }
    let stored = js.publish_with_headers(offer.subject.clone(), headers, offer.payload.clone()).await.unwrap().await;
    let _ack = stored.unwrap();
    assert_eq!(handle.offers(&run).await.unwrap().len(), 1);
    eventually("end of its offer", END, async || match handle.offers(&run).await {
        Ok(offers) if offers.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let _other = mesh.worker("w2", &["--hosts", "h1"]);
    mesh.has_workers(1).await;
    let after = publish(&mesh, "after", "{ name: f, jobs: [{ name: j, run: [\"true\"], hosts: h1 }] }").await;
    succeeds(&mesh, &after).await;
    assert_eq!(starts(&mesh).into_values().collect::<Vec<_>>(), [1], "it ran once");
    assert_eq!(handle.offers(&ahead).await.unwrap().len(), 1, "its history says that it goes on");
}
