//! Three servers from the configurations in `nats/cluster`: everything is there three times, and no death of one of them
//! is noticed by more than a delay.

use std::time::Duration;

use rr_schemas::{decision::RunStatus, id::RunId};
use rr_tests::{TestMesh, Timing, cluster::SERVERS, cluster::Servers, eventually, verdict::Verdict};
use serde_json::Value;

/// How long runs of a few seconds may take when a server dies meanwhile. An election takes 4 to 9 s; what was delivered
/// and not acknowledged comes again after 5 s, and what was on its way to a worker after 30 s.
const END: Duration = Duration::from_mins(2);

/// A fan, a chain and a claimed job; about three seconds.
const MIXED: &str = r#"
name: mixed
slots:
  - - { name: fan, run: [sleep, "0.3"], hosts: "h[1-12]", parallelism: 3 }
    - { name: claimed, run: [sleep, "1"], hosts: "c[1-2]", on_lost: hold }
    - { name: retried, shell: '[ "$RR_ATTEMPT" -ge 2 ]', hosts: "r[1-2]", retry: { attempts: 3, delay: 1s } }
  - - { name: second, run: [sleep, "0.5"], hosts: "h[1-4]" }
  - - { name: last, run: [sleep, "0.5"] }
"#;

async fn served() -> (TestMesh<Servers>, Vec<rr_tests::Running>) {
    let mesh = TestMesh::cluster(Timing::Default).await;
    let mut processes = vec![mesh.coordinator(), mesh.coordinator()];
    mesh.is_made().await;
    for name in ["w1", "w2"] {
        let args: &[&str] =
            if name == "w1" { &["--all-hosts", "--queues", "default"] } else { &["--queues", "default"] };
        processes.push(mesh.worker(name, args));
    }
    mesh.has_workers(2).await;
    mesh.write("mixed.yaml", MIXED);
    (mesh, processes)
}

async fn publish(mesh: &TestMesh<Servers>, id: &str) -> RunId {
    let _id = mesh.rr(["publish", "mixed.yaml", "--id", id]).run().await.exits(0);
    id.parse().unwrap()
}

/// Waits until the first tasks of a run are under way.
async fn begun(mesh: &TestMesh<Servers>, run: &RunId) {
    eventually("beginning of the run", END, async || {
        let handle = mesh.mesh().await?;
        let status = handle.status(run).await.map_err(|error| error.to_string())?;
        status.map(|_| ()).ok_or("no status")?;
        Ok::<(), String>(())
    })
    .await;
}

async fn ends_right(mesh: &TestMesh<Servers>, run: &RunId) {
    let view = mesh.ended(run, END).await;
    assert_eq!(view.status, RunStatus::Succeeded, "{run}");
    let handle = eventually("connection", END, async || mesh.mesh().await).await;
    let _verdict = Verdict::of(&handle, run, Timing::Default).await;
}

#[tokio::test]
async fn a_cluster_keeps_three_copies_of_everything() {
    let mesh = TestMesh::cluster(Timing::Default).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    coordinator.has_written("copies=3", END).await;
    let _worker = mesh.worker("w1", &["--all-hosts", "--queues", "default"]);
    mesh.has_workers(1).await;
    eventually("copies", END, async || {
        for server in 0..SERVERS {
            let streams = mesh.streams(server).await?;
            let names: Vec<&str> = streams.iter().filter_map(|stream| stream["name"].as_str()).collect();
            for name in [
                "RR_EVENTS",
                "RR_TIMERS",
                "RR_WORK",
                "RR_OUTPUT",
                "RR_QUARANTINE",
                "KV_rr-runs",
                "KV_rr-workers",
                "KV_rr-locks",
            ] {
                if !names.contains(&name) {
                    return Err(format!("server {server} has only {names:?}"));
                }
            }
            for stream in &streams {
                assert_eq!(stream["config"]["num_replicas"], 3, "{stream}");
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn runs_survive_the_death_of_every_leader() {
    let (mut mesh, mut processes) = served().await;
    let partition = Some("p0");
    let leaders = [
        ("RR_EVENTS", None),
        ("RR_WORK", None),
        ("RR_EVENTS", partition),
        ("RR_WORK", Some("w-w1")),
        ("KV_rr-runs", None),
    ];
    for (n, (stream, consumer)) in leaders.into_iter().enumerate() {
        let mut runs = Vec::new();
        for part in 0..3 {
            runs.push(publish(&mesh, &format!("r{n}{part}")).await);
        }
        begun(&mesh, &runs[0]).await;
        let victim = mesh.leader(stream, consumer).await;
        mesh.kill_server(victim).await;
        for run in &runs {
            ends_right(&mesh, run).await;
        }
        mesh.start_server(victim).await;
        mesh.is_healthy(victim).await;
    }
    for process in &mut processes {
        assert!(process.runs(), "{}", process.stderr());
    }
}

/// Attempts that last until somebody says so, and note that they start and end.
const HELD: &str = r#"
name: held
slots:
  - - name: held
      shell: 'echo "$RR_HOST" >> "$RR_PARAM_DIR/starts"; while [ ! -e "$RR_PARAM_DIR/enough" ]; do sleep 0.1; done; echo "$RR_HOST" >> "$RR_PARAM_DIR/ends"'
      hosts: "h[1-3]"
      on_lost: hold
  - - { name: then, run: ["true"], hosts: "h[1-3]" }
params: { dir: { type: string } }
"#;

/// Waits until all three attempts have noted this.
async fn have_noted(mesh: &TestMesh<Servers>, file: &str) {
    eventually(file, END, async || {
        let found = mesh.read(file);
        if found.lines().count() == 3 { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_accepted_and_what_runs_goes_on() {
    let (mut mesh, mut processes) = served().await;
    mesh.write("held.yaml", HELD);
    let dir = format!("dir={}", mesh.path("").display());
    let _id = mesh.rr(["publish", "held.yaml", "--id", "held", "--set", &dir]).run().await.exits(0);
    have_noted(&mesh, "starts").await;
    for victim in [0, 1] {
        mesh.kill_server(victim).await;
    }
    let refused = mesh.rr(["publish", "mixed.yaml", "--id", "refused"]).within(END).run().await.exits(69);
    let refused = refused.says(&["majority"]);
    let is_in_doubt = refused.stderr.contains("may be stored all the same");
    // What runs ends, and its worker keeps the report.
    mesh.write("enough", "");
    have_noted(&mesh, "ends").await;
    for process in &mut processes {
        assert!(process.runs(), "{}", process.stderr());
    }
    for back in [0, 1] {
        mesh.start_server(back).await;
    }
    for server in 0..SERVERS {
        mesh.is_healthy(server).await;
    }
    ends_right(&mesh, &"held".parse().unwrap()).await;
    assert_eq!(mesh.read("starts").lines().count(), 3, "each has started once");
    // Only what was said to be in doubt may have come to be.
    let again = mesh.rr(["publish", "mixed.yaml", "--id", "refused"]).within(END).run().await;
    assert!(again.status.success() || is_in_doubt && again.status.code() == Some(73), "{refused}, then {again}");
    ends_right(&mesh, &"refused".parse().unwrap()).await;
}

#[tokio::test]
async fn a_backup_of_one_server_is_kept_three_times_by_a_cluster() {
    let single = TestMesh::bare(Timing::Short).await;
    let _coordinator = single.coordinator();
    single.is_made().await;
    let _written = single.rr(["backup", "kept"]).run().await.exits(0);
    let kept = single.path("kept").display().to_string();
    let mesh = TestMesh::cluster(Timing::Default).await;
    let restored = mesh.rr(["restore", &kept]).run().await.exits(0);
    let _said = restored.says(&["copies of RR_EVENTS: 3, where there were 1"]);
    let streams = eventually("streams", END, async || mesh.streams(0).await).await;
    assert_eq!(streams.len(), 8);
    for stream in &streams {
        assert_eq!(stream["config"]["num_replicas"], 3, "{stream}");
    }
}

/// A stream with something in it, and one with nothing.
#[tokio::test]
async fn a_restore_goes_on_when_a_cluster_loses_its_majority_meanwhile() {
    tokio::join!(goes_on_from("STREAM.RESTORE.RR_EVENTS"), goes_on_from("STREAM.RESTORE.RR_QUARANTINE"));
}

async fn goes_on_from(request: &'static str) {
    let single = TestMesh::bare(Timing::Short).await;
    let _coordinator = single.coordinator();
    single.is_made().await;
    single.write("lone.yaml", "name: lone\njobs: [{ name: a, run: ['true'] }]\n");
    let _id = single.rr(["publish", "lone.yaml", "--id", "kept"]).run().await.exits(0);
    let _written = single.rr(["backup", "kept"]).run().await.exits(0);
    let kept = single.path("kept").display().to_string();
    let mesh = TestMesh::cluster(Timing::Default).await;
    let (awake, asleep) = (0, [1, 2]);
    let wire = mesh.proxy_to(awake).await;
    let url = format!("nats://rr:secret@127.0.0.1:{}", wire.port());
    wire.silence_before(request);
    let mut restore = mesh.rr(["restore", &kept, "--server", &url]).start();
    assert!(wire.falls_silent(END).await, "{request}");
    for server in asleep {
        mesh.server_process(server).pause();
    }
    wire.heal();
    restore.has_written(&format!("no answer in time: $JS.API.{request}; it is tried again"), END).await;
    for server in asleep {
        mesh.server_process(server).go_on();
    }
    let _restored = restore.ended(END).await.exits(0).says(&["runs over: 0, open: 1", "violations: 0"]);
    eventually("all streams on all servers", END, async || {
        for server in 0..SERVERS {
            let streams = mesh.streams(server).await?;
            let held = |stream: &Value| (stream["name"] == "RR_EVENTS").then(|| stream["state"]["messages"].as_u64());
            let log = streams.iter().find_map(held).flatten();
            if streams.len() != 8 || log.is_none_or(|messages| messages == 0) {
                return Err(format!("server {server} has {} streams and {log:?} messages of the log", streams.len()));
            }
        }
        Ok(())
    })
    .await;
}
