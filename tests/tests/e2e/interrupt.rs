//! Whatever ends `rr run`, nothing that it started goes on alone, and what happened can be looked at.

use std::time::Duration;

use rr_schemas::view::RunView;
use rr_tests::{Output, Running, Sandbox, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Two tasks that never end by themselves, one of them with a child in a session of its own.
const ENDLESS: &str = "name: endless\njobs:\n  - name: a\n    shell: 'echo x >> began; setsid sleep 600 & sleep 601'\n    \
                       hosts: h[1-2]\n    grace: 500ms\n";

/// A run under way.
async fn under_way(sandbox: &Sandbox, args: &[&str]) -> Running {
    sandbox.write("flow.yaml", ENDLESS);
    let run = sandbox.rr(["run", "flow.yaml", "--id", "r1"].iter().chain(args).copied()).start();
    eventually("start of both tasks", SOON, async || {
        let began = sandbox.read("began");
        if began.lines().count() == 2 { Ok(()) } else { Err(format!("{began}{}", run.stderr())) }
    })
    .await;
    run
}

fn view(output: &Output) -> RunView {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} {output}"))
}

#[tokio::test]
async fn ctrl_c_cancels_the_run_and_waits() {
    let sandbox = Sandbox::new().await;
    let run = under_way(&sandbox, &["--json"]).await;
    run.ctrl_c();
    let ended = run.ended(SOON).await.exits(4);
    assert_eq!(view(&ended).status.word(), "cancelled");
    sandbox.is_quiet(SOON).await;
    let _shown = sandbox.rr(["show", "r1"]).run().await.exits(0).says(&["cancelled"]);
    let _why = sandbox.rr(["why", "r1"]).run().await.exits(0).says(&["cancel"]);
}

#[tokio::test]
async fn a_second_ctrl_c_kills_everything_at_once() {
    let sandbox = Sandbox::new().await;
    let stubborn = ENDLESS.replace("'echo", "'trap \"\" TERM; echo").replace("grace: 500ms", "grace: 5m");
    sandbox.write("flow.yaml", stubborn.replace("sleep 601'", "while :; do sleep 0.1; done'"));
    let mut run = sandbox.rr(["run", "flow.yaml", "--id", "r1"]).start();
    eventually("start of both tasks", SOON, async || {
        let began = sandbox.read("began");
        if began.lines().count() == 2 { Ok(()) } else { Err(format!("{began}{}", run.stderr())) }
    })
    .await;
    run.ctrl_c();
    run.has_written("cancelling", SOON).await;
    run.ctrl_c();
    let _ended = run.ended(SOON).await.exits(130);
    sandbox.is_quiet(SOON).await;
}

#[tokio::test]
async fn a_killed_run_leaves_no_process_behind() {
    let sandbox = Sandbox::new().await;
    let mut run = under_way(&sandbox, &[]).await;
    assert!(sandbox.processes().iter().any(|found| found.command.contains("nats-server")));
    run.kill().await;
    sandbox.is_quiet(SOON).await;
    // What had happened until then can be looked at.
    let _shown = sandbox.rr(["show", "r1"]).run().await.exits(0).says(&["r1"]);
}

#[tokio::test]
async fn waiting_for_a_published_run_can_be_left() {
    let sandbox = Sandbox::new().await;
    let mut up = sandbox.rr(["up", "--all-hosts"]).start();
    up.has_written("mesh at", SOON).await;
    sandbox.write("flow.yaml", ENDLESS);
    let mut wait = sandbox.rr(["publish", "flow.yaml", "--id", "r1", "--wait"]).start();
    wait.has_written("published run r1", SOON).await;
    eventually("start", SOON, async || if sandbox.read("began").is_empty() { Err("nothing") } else { Ok(()) }).await;
    wait.ctrl_c();
    let _left = wait.ended(SOON).await.exits(6).says(&["continues", "rr watch r1"]);
    let _still = sandbox.rr(["show", "r1"]).run().await.exits(0).says(&["running"]);
    let _gave_up = sandbox.rr(["publish", "flow.yaml", "--wait", "--timeout", "200ms"]).run().await.exits(6);
    // A mesh that is stopped twice takes its attempts with it.
    up.ctrl_c();
    up.has_written("again", SOON).await;
    up.ctrl_c();
    let _up = up.ended(SOON).await.exits(130);
    sandbox.is_quiet(SOON).await;
}

#[tokio::test]
async fn the_last_twenty_private_runs_are_kept() {
    let sandbox = Sandbox::new().await;
    sandbox.write("flow.yaml", "name: f\njobs:\n  - { name: a, run: [sh, -c, 'echo hello; exit 3'], hosts: [h1] }\n");
    for n in 1..=22 {
        let _ran = sandbox.rr(["run", "flow.yaml", "--id", &format!("run-{n:02}")]).run().await.exits(1);
    }
    let listed = sandbox.rr(["ls", "--all", "--json"]).run().await.exits(0);
    for n in 1..=22 {
        assert_eq!(listed.stdout.contains(&format!("run-{n:02}")), n > 2, "run {n} {listed}");
    }
    let _gone = sandbox.rr(["show", "run-01"]).run().await.exits(66);
    let shown = sandbox.rr(["show", "run-03", "--json"]).run().await.exits(0);
    assert_eq!(view(&shown).jobs[0].tasks[0].attempts[0].exit_code, Some(3));
    assert_eq!(sandbox.rr(["logs", "run-03"]).run().await.exits(0).stdout, "a h1 | hello\n");
    let _why = sandbox.rr(["why", "run-03"]).run().await.exits(0).says(&["exit 3"]);
    let _watched = sandbox.rr(["watch", "run-03"]).run().await.says(&["failed"]);
    let _taken = sandbox.rr(["run", "flow.yaml", "--id", "run-22"]).run().await.exits(73);
    sandbox.is_quiet(SOON).await;
}
