//! Gates and signals as their users see them.

use std::time::Duration;

use rr_schemas::{decision::Event, id::RunId, view::RunView};
use rr_tests::{TestMesh, Timing, eventually, verdict::Verdict};

/// How long what follows at once may take.
const SOON: Duration = Duration::from_secs(20);

const FLOW: &str = r#"
name: gated
jobs:
  - { name: build, run: ["true"] }
  - { name: ask, signal: approved, needs: [build], timeout: 1h }
  - { name: deploy, run: ["true"], hosts: "web[1-3]", needs: [ask] }
"#;

#[tokio::test]
async fn a_run_waits_at_a_gate_until_it_is_given_the_signal() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Default).await;
    mesh.write("gated.yaml", FLOW);
    let run: RunId = "g1".parse().unwrap();
    let _id = mesh.rr(["publish", "gated.yaml", "--id", "g1"]).run().await.exits(0);
    eventually("a run at its gate", SOON, async || {
        let why = mesh.rr(["why", "g1"]).run().await.stdout;
        let is_there = why.contains("ask: waits for signal approved, and fails without it in ");
        if is_there && why.contains("rr signal g1 approved") { Ok(()) } else { Err(why) }
    })
    .await;
    // Two signals that are none of its, and a run that is not there: nothing is stored.
    let near = mesh.rr(["signal", "g1", "aproved"]).run().await.exits(66);
    assert!(near.stderr.contains("did you mean \"approved\"?"), "{}", near.stderr);
    let _unknown = mesh.rr(["signal", "nobody", "approved"]).run().await.exits(66);
    let _bad = mesh.rr(["signal", "g1", "no name"]).run().await.exits(65);
    for _ in 0..2 {
        let given = mesh.rr(["signal", "g1", "approved", "--reason", "tested", "--json"]).run().await.exits(0);
        assert!(given.stdout.contains(r#""signal":"approved""#), "{}", given.stdout);
    }
    let view = mesh.ended(&run, SOON).await;
    assert_eq!(view.jobs.iter().map(|job| (job.targets, job.ok)).collect::<Vec<_>>(), [(1, 1), (0, 0), (3, 3)]);
    let verdict = Verdict::of(&mesh.mesh().await.unwrap(), &run, Timing::Default).await;
    let signals = verdict.events().filter(|event| matches!(event, Event::Signalled { .. })).count();
    assert_eq!(signals, 1, "it is given once");
    let late = mesh.rr(["signal", "g1", "approved", "--json"]).run().await.exits(0);
    assert!(late.stdout.contains(r#""given":false"#), "{}", late.stdout);
    let shown: RunView = serde_json::from_str(&mesh.rr(["show", "g1", "--json"]).run().await.exits(0).stdout).unwrap();
    assert_eq!(shown.jobs[1].signal.as_ref().map(ToString::to_string).as_deref(), Some("approved"));
}

/// It survives whoever has heard it: a coordinator that is killed, and a gate that is not reached yet.
#[tokio::test]
async fn a_signal_that_came_early_opens_the_gate_after_a_take_over() {
    let (mesh, mut coordinator, _worker) = TestMesh::start(Timing::Short).await;
    mesh.write("gated.yaml", FLOW.replace(r#""true"]"#, r#"sleep, "1"]"#));
    let run: RunId = "g2".parse().unwrap();
    let _id = mesh.rr(["publish", "gated.yaml", "--id", "g2"]).run().await.exits(0);
    let _given = mesh.rr(["signal", "g2", "approved"]).run().await.exits(0);
    coordinator.kill().await;
    let _next = mesh.coordinator();
    let _view = mesh.ended(&run, Duration::from_secs(40)).await;
    let _verdict = Verdict::of(&mesh.mesh().await.unwrap(), &run, Timing::Short).await;
}
