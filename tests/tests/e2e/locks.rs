//! Locks of the mesh: jobs with `lock`, and `rr lock`.

use std::{path::Path, time::Duration};

use rr_schemas::{decision::RunStatus, id::RunId};
use rr_tests::{Proxy, Running, TestMesh, Timing, eventually};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(1);

/// A mesh with two workers, each with a host of its own.
async fn mesh() -> (TestMesh, Running, [Running; 2]) {
    let mesh = TestMesh::bare(Timing::Short).await;
    let coordinator = mesh.coordinator();
    mesh.is_made().await;
    let workers =
        ["1", "2"].map(|n| mesh.worker(&format!("w{n}"), &["--hosts", &format!("h{n}"), "--queues", "default"]));
    mesh.has_workers(2).await;
    (mesh, coordinator, workers)
}

/// Publishes a flow of one job under the lock `deploy`.
async fn publish(mesh: &TestMesh, id: &str, host: &str, script: &str, more: &str) -> RunId {
    let flow = format!("name: {id}\njobs: [{{ name: a, hosts: [{host}], lock: deploy, shell: {script:?}{more} }}]\n");
    mesh.write(&format!("{id}.yaml"), flow);
    let file = format!("{id}.yaml");
    let _published = mesh.rr(["publish", file.as_str(), "--id", id]).run().await.exits(0);
    id.parse().unwrap()
}

async fn why(mesh: &TestMesh, run: &str, says: &[&str]) {
    eventually("the reason", LIMIT, async || {
        let why = mesh.rr(["why", run]).run().await.exits(0).stdout;
        if says.iter().all(|text| why.contains(text)) { Ok(()) } else { Err(why) }
    })
    .await;
}

async fn held(mesh: &TestMesh) -> Vec<Value> {
    serde_json::from_str(&mesh.rr(["lock", "ls", "--json"]).run().await.exits(0).stdout).unwrap()
}

async fn is_free(mesh: &TestMesh) {
    eventually("a free lock", LIMIT, async || {
        let held = held(mesh).await;
        if held.is_empty() { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}

/// The process that has written its number there.
async fn process(mesh: &TestMesh, file: &str) -> u32 {
    eventually("a process", LIMIT, async || mesh.read(file).trim().parse::<u32>().map_err(|error| error.to_string()))
        .await
}

/// Whether a process lives; one that nobody has asked for its end does not.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

async fn is_gone(pid: u32) {
    eventually("end of the process", LIMIT, async || if lives(pid) { Err("it lives") } else { Ok(()) }).await;
}

#[tokio::test]
async fn what_runs_under_one_lock_never_overlaps_whatever_run_and_worker() {
    let (mesh, _coordinator, _workers) = mesh().await;
    let log = mesh.path("log").display().to_string();
    let script = format!("echo in $RR_LOCK $RR_LOCK_TOKEN >> {log}; sleep 0.1; echo out >> {log}");
    let jobs: String =
        (0..4).map(|n| format!("  - {{ name: j{n}, queue: default, lock: Deploy, shell: {script:?} }}\n")).collect();
    mesh.write("flow.yaml", format!("name: f\njobs:\n{jobs}"));
    for id in ["one", "two"] {
        let _published = mesh.rr(["publish", "flow.yaml", "--id", id]).run().await.exits(0);
    }
    let _by_hand = mesh.rr(["lock", "deploy", "--", "sh", "-c", &script]).run().await.exits(0);
    for id in ["one", "two"] {
        assert_eq!(mesh.ended(&id.parse().unwrap(), LIMIT).await.status, RunStatus::Succeeded);
    }
    let log = mesh.read("log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 18, "{log}");
    assert!(lines.chunks(2).all(|pair| pair[0].starts_with("in ") && pair[1] == "out"), "{log}");
    let tokens: Vec<u64> =
        lines.iter().step_by(2).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(tokens.is_sorted_by(|one, next| one < next), "{log}");
    is_free(&mesh).await;
}

#[tokio::test]
async fn a_holder_that_is_killed_frees_its_lock_when_its_time_is_over() {
    let (mesh, _coordinator, [mut first, _second]) = mesh().await;
    let pid = mesh.path("pid").display().to_string();
    let one = publish(&mesh, "one", "h1", &format!("echo $$ > {pid}; sleep 1000"), ", on_lost: fail").await;
    let sleeper = process(&mesh, "pid").await;
    let two = publish(&mesh, "two", "h2", "true", "").await;
    why(&mesh, "two", &["a: 1 task on h2 waits for lock deploy, held by worker w1 (run one, job a, task 0) since 20"])
        .await;
    let _listed = mesh.rr(["lock", "ls"]).run().await.exits(0).says(&["deploy", "worker w1 (run one", "in "]);
    let listed = held(&mesh).await;
    assert_eq!((&listed[0]["lock"], &listed[0]["holder"]["attempt"]["worker"]), (&"deploy".into(), &"w1".into()));
    assert!(listed[0]["token"].is_u64() && listed[0]["expires"].is_string(), "{listed:?}");
    first.kill().await;
    assert_eq!(mesh.ended(&two, LIMIT).await.status, RunStatus::Succeeded);
    assert!(!lives(sleeper), "what ran before is gone when the next one runs");
    assert_eq!(mesh.ended(&one, LIMIT).await.status, RunStatus::Failed);
    why(&mesh, "one", &["h1: lost"]).await;
}

#[tokio::test]
async fn a_run_that_waits_for_a_lock_can_be_cancelled_and_leaves_no_trace() {
    let (mesh, _coordinator, _workers) = mesh().await;
    let go = mesh.path("go").display().to_string();
    let wait = format!("echo held; until [ -e {go} ]; do sleep 0.05; done");
    let mut holder = mesh.rr(["lock", "deploy", "--", "sh", "-c", &wait]).start();
    holder.has_written("held", LIMIT).await;
    let one = publish(&mesh, "one", "h1", "true", "").await;
    why(&mesh, "one", &["waits for lock deploy, held by tester@", "(sh, process "]).await;
    let _cancelled = mesh.rr(["cancel", "one"]).run().await.exits(0);
    assert_eq!(mesh.ended(&one, LIMIT).await.status, RunStatus::Cancelled);
    // The next one gets the lock when its turn comes.
    let two = publish(&mesh, "two", "h1", "true", "").await;
    why(&mesh, "two", &["waits for lock deploy, held by tester@"]).await;
    assert!(holder.runs());
    mesh.write("go", "");
    let _holder = holder.ended(LIMIT).await.exits(0);
    assert_eq!(mesh.ended(&two, LIMIT).await.status, RunStatus::Succeeded);
    is_free(&mesh).await;
}

#[tokio::test]
async fn a_command_under_a_lock_is_run_as_if_there_was_none() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let script = "read line; echo \"$line $RR_LOCK $HOME\"; test $RR_LOCK_TOKEN -gt 0 && exit 7";
    let run = mesh.rr(["lock", "Deploy", "--", "sh", "-c", script]).stdin("in", "hello\n").run().await.exits(7);
    assert_eq!(run.stdout, format!("hello Deploy {}\n", mesh.dir().join("home").display()));
    assert_eq!(run.stderr, "");
    for (args, code, says) in [
        (&["lock", "deploy", "--", "true"][..], 0, ""),
        (&["lock", "deploy", "--", "sh", "-c", "kill -TERM $$"], 143, ""),
        (&["lock", "deploy", "--", "no-such-program"], 127, "no such program"),
        (&["lock", "deploy", "--", "/"], 126, "it is a directory"),
        (&["lock", "deploy"], 2, "rr lock NAME -- COMMAND"),
        (&["lock", "deploy", "--no-wait", "--wait", "1s", "--", "true"], 2, "--no-wait"),
        (&["lock", "a.b", "--", "true"], 65, "lock name may hold"),
        (&["lock", "deploy", "--ttl", "1s", "--", "true"], 65, "2s at least"),
        // A lock may have this name; to list needs no command.
        (&["lock", "ls", "--", "rr-not-there"], 127, "no such program"),
        (&["lock", "ls"], 0, "no lock is held"),
    ] {
        let _called = mesh.rr(args.iter().copied()).run().await.exits(code).says(&[says]);
    }
    // Signals are handed on, and somebody else waits meanwhile.
    let script = "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut holder = mesh.rr(["lock", "deploy", "--", "sh", "-c", script]).start();
    holder.has_written("ready", LIMIT).await;
    let _refused =
        mesh.rr(["lock", "DEPLOY", "--no-wait", "--", "true"]).run().await.exits(6).says(&["held by tester@"]);
    let waited = mesh.rr(["lock", "deploy", "--wait", "300ms", "--", "true"]).run().await.exits(6);
    let _waited = waited.says(&["waiting for lock deploy, held by tester@", "gave up waiting"]);
    let mut next = mesh.rr(["lock", "deploy", "--", "echo", "mine"]).start();
    next.has_written("waiting for lock deploy", LIMIT).await;
    holder.terminate();
    let _holder = holder.ended(LIMIT).await.exits(9).says(&["asked"]);
    let _next = next.ended(LIMIT).await.exits(0).says(&["mine"]);
    assert_eq!(held(&mesh).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_command_whose_lock_or_keeper_is_gone_is_ended() {
    let mut mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let stubborn = |file: &str| {
        let file = mesh.path(file).display().to_string();
        format!("trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done")
    };
    // Its rr is killed: nobody renews the lock any more.
    let mut killed = mesh.rr(["lock", "deploy", "--ttl", "3s", "--", "sh", "-c", &stubborn("one")]).start();
    let one = process(&mesh, "one").await;
    killed.kill().await;
    is_gone(one).await;
    // It runs out by itself then.
    let lost = mesh.rr(["lock", "deploy", "--ttl", "3s", "--", "sh", "-c", &stubborn("two")]).start();
    let two = process(&mesh, "two").await;
    mesh.server().kill().await.unwrap();
    let _lost = lost.ended(LIMIT).await.exits(1).says(&["lock deploy was lost", "--ttl"]);
    is_gone(two).await;
}

#[tokio::test]
async fn a_signal_before_the_command_starts_or_after_it_has_ended_is_for_rr() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let go = mesh.path("go").display().to_string();
    let until_told = format!("echo held; until [ -e {go} ]; do sleep 0.05; done");
    let mut holder = mesh.rr(["lock", "deploy", "--", "sh", "-c", &until_told]).start();
    holder.has_written("held", LIMIT).await;
    let proxy = Proxy::to(mesh.address().port()).await;
    let mut next = mesh.rr_via(&proxy, ["lock", "deploy", "--", "echo", "mine"]).start();
    next.has_written("waiting for lock deploy", LIMIT).await;
    // Its next try is answered so late that the signal comes in between.
    proxy.delay(Duration::from_millis(700));
    mesh.write("go", "");
    let _holder = holder.ended(LIMIT).await.exits(0);
    next.terminate();
    let ended = next.ended(LIMIT).await.exits(143);
    assert!(!ended.stdout.contains("mine"), "{ended}");
    proxy.heal();

    std::fs::remove_file(mesh.path("go")).unwrap();
    let pid = mesh.path("pid").display().to_string();
    let until_told = format!("echo $$ > {pid}; {until_told}");
    let mut silent = mesh.rr_via(&proxy, ["lock", "other", "--", "sh", "-c", &until_told]).start();
    silent.has_written("held", LIMIT).await;
    proxy.silence_both();
    mesh.write("go", "");
    is_gone(process(&mesh, "pid").await).await;
    eventually("its end", LIMIT, async || {
        if silent.runs() {
            silent.terminate();
            return Err("it waits for the server");
        }
        Ok(())
    })
    .await;
    let _ended = silent.ended(LIMIT).await.exits(0).says(&["lock other is not given back, it runs out by itself"]);
}

#[tokio::test]
async fn whoever_was_to_outlive_its_terminal_does() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let rr = rr_tests::program::rr();
    let go = mesh.path("go").display().to_string();
    let script = format!("kill -HUP $PPID; echo held; until [ -e {go} ]; do sleep 0.05; done; echo done");
    let nohup =
        ["-c", "trap '' HUP; exec \"$@\"", "sh", rr.to_str().unwrap(), "lock", "deploy", "--", "sh", "-c", &script];
    let mut kept = mesh.call(Path::new("/bin/sh"), nohup).start();
    kept.has_written("held", LIMIT).await;
    mesh.write("go", "");
    let _ended = kept.ended(LIMIT).await.exits(0).says(&["done"]);
    let mut ended = mesh.rr(["lock", "deploy", "--", "sh", "-c", "kill -HUP $PPID; sleep 100"]).start();
    eventually("its end", LIMIT, async || if ended.runs() { Err("it goes on") } else { Ok(()) }).await;
    let _ended = ended.ended(LIMIT).await.exits(129);
}
