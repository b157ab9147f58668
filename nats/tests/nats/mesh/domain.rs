//! A mesh that is reached through a leaf node.

use std::time::Duration;

use rr_nats::{ConnectError, ConnectOptions, First, PullConfig, connect, ensure};
use tokio::net::TcpListener;

use super::{
    cancel,
    connecting::{failure, to},
    custom::Custom,
    entity, name,
    presence::presence,
    quick, report, run, soon, until, worker,
};

#[tokio::test]
async fn a_mesh_behind_a_leaf_node_is_reached_by_its_domain() {
    let dir = tempfile::tempdir().unwrap();
    let (hub_dir, leaf_dir) = (dir.path().join("hub"), dir.path().join("leaf"));
    for dir in [&hub_dir, &leaf_dir] {
        std::fs::create_dir(dir).unwrap();
    }
    let leaf_port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let jetstream = |domain: &str, dir: &std::path::Path| {
        format!("server_name: {domain}\njetstream {{ domain: {domain}, store_dir: \"{}\" }}\n", dir.display())
    };
    let listen = format!("leafnodes {{ listen: \"127.0.0.1:{leaf_port}\" }}\n");
    let hub = Custom::start(&hub_dir, &(jetstream("hub", &hub_dir) + &listen)).await;
    let remote = format!("leafnodes {{ remotes: [{{ url: \"nats://127.0.0.1:{leaf_port}\" }}] }}\n");
    let leaf = Custom::start(&leaf_dir, &(jetstream("edge", &leaf_dir) + &remote)).await;
    let all = ensure(&connect(&to(&hub.url)).await.unwrap(), &quick()).await.unwrap();

    let options = ConnectOptions { api_prefix: Some("$JS.hub.API".to_owned()), ..to(&leaf.url) };
    until("the leaf has joined", || async { connect(&options).await.is_ok() }).await;
    let mesh = connect(&options).await.unwrap().mesh().await.unwrap();
    mesh.request(&entity("r1"), "me", &cancel("me")).await.unwrap();
    mesh.report(&worker("w1"), &run("r1"), &report(1)).await.unwrap();
    assert_eq!(mesh.inputs_after(&entity("r1"), 0, 0).await.unwrap().len(), 2);
    assert_eq!(all.inputs_after(&entity("r1"), 0, 0).await.unwrap().len(), 2);
    assert!(mesh.submit(&run("r1"), "me", &cancel("me"), First::New).await.is_err());

    all.ensure_queue_lanes(&name("q")).await.unwrap();
    all.offer(&super::offer(&run("r1"), 1, super::queue("q"))).await.unwrap();
    let mut lane = mesh.open_lane("q2-q", PullConfig::default()).await.unwrap();
    lane.request(1).await.unwrap();
    soon(lane.next()).await.unwrap().unwrap().ack.confirm().await.unwrap();

    // Buckets are written through the prefix: a plain write would stay at the leaf.
    let mut present = mesh.present_worker(presence("w1", "i1"), Duration::from_secs(5)).await.unwrap();
    present.renew().await.unwrap();
    assert_eq!(all.workers().await.unwrap().len(), 1);
    present.withdraw().await.unwrap();
    assert_eq!(mesh.workers().await.unwrap(), []);

    let elsewhere = ConnectOptions { api_prefix: Some("$JS.nowhere.API".to_owned()), ..to(&leaf.url) };
    assert_eq!(failure(&elsewhere).await, ConnectError::JetStreamOff);
}
