//! What could not be read or believed: seen, put back, removed.

use std::time::Duration;

use rr_tests::{TestMesh, Timing, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_message_that_nobody_can_read_is_seen_and_removed() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _none = mesh.rr(["quarantine", "ls"]).run().await.exits(0).says(&["nothing is in the quarantine"]);
    let client = async_nats::ConnectOptions::with_user_and_password(
        mesh.address().user().to_owned(),
        mesh.address().password().to_owned(),
    );
    let client = client.connect(mesh.address().url()).await.unwrap();
    for body in ["no input \u{1b}[2J at all", "nor this"] {
        client.publish("rr.in.0.r1.api", body.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let listed = eventually("two messages in the quarantine", SOON, async || {
        let listed = mesh.rr(["quarantine", "ls", "--json"]).run().await.exits(0);
        let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
        if listed.len() == 2 { Ok(listed) } else { Err(format!("{listed:?}")) }
    })
    .await;
    assert_eq!(listed[0]["subject"], "rr.in.0.r1.api");
    assert!(listed.iter().all(|found| !found["reason"].as_str().unwrap().is_empty()), "{listed:?}");
    let seq = listed[1]["seq"].to_string();
    let shown = mesh.rr(["quarantine", "show", &seq]).run().await.exits(0).says(&["rr.in.0.r1.api", "at all"]);
    assert!(!shown.stdout.contains('\u{1b}'), "{shown}");
    // Nobody is there to be asked.
    for args in [&["restore", &seq][..], &["drop", &seq], &["drop", "--all"]] {
        let _asked = mesh.rr(["quarantine"].iter().chain(args).copied()).run().await.exits(2).says(&["--yes"]);
    }
    // Put back it is read again, cannot be read again, and is put aside again.
    let _restored =
        mesh.rr(["quarantine", "restore", &seq, "--yes"]).run().await.exits(0).says(&["put back as message"]);
    eventually("it to be put aside again", SOON, async || {
        let listed = mesh.rr(["quarantine", "ls", "-n", "1", "--json"]).run().await.exits(0);
        let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
        if listed[0]["seq"].as_u64() == Some(3) { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await;
    let _gone = mesh.rr(["quarantine", "show", &seq]).run().await.exits(66).says(&["rr quarantine ls"]);
    let _one = mesh.rr(["quarantine", "drop", "3", "--yes"]).run().await.exits(0);
    let all = mesh.rr(["quarantine", "drop", "--all", "--yes", "--json"]).run().await.exits(0);
    assert_eq!(all.json("dropped"), 1);
    let _none = mesh.rr(["quarantine", "drop"]).run().await.exits(2);
}
