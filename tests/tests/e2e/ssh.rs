//! A worker that goes by ssh, with a real ssh server.

use std::time::Duration;

use rr_schemas::view::{RunView, TaskView};
use rr_tests::{Running, SshServer, TestMesh, Timing, eventually};

const SOON: Duration = Duration::from_secs(40);

/// A mesh whose one worker goes to every host by ssh.
struct Stage {
    mesh: TestMesh,
    server: SshServer,
    worker: Running,
    _coordinator: Running,
}

impl Stage {
    async fn new() -> Self {
        let server = SshServer::start().await;
        let client = server.client();
        Self::with(server, client.to_str().unwrap()).await
    }

    async fn with(server: SshServer, client: &str) -> Self {
        let mesh = TestMesh::bare(Timing::Short).await;
        let coordinator = mesh.coordinator();
        mesh.is_made().await;
        let args = ["--all-hosts", "--via", "ssh", "--ssh-config", client, "--capacity", "10"];
        let call = mesh.rr(["worker", "--name", "w1"].iter().chain(&args).copied());
        let worker = call.env("RR_WORKER__SSH__PERSIST", "10s").env("RR_WORKER__SSH__CONNECT_TIMEOUT", "5s").start();
        mesh.has_workers(1).await;
        Self { mesh, server, worker, _coordinator: coordinator }
    }

    async fn publish(&self, id: &str, jobs: &str) {
        self.mesh.write("flow.yaml", format!("name: f\njobs:\n{jobs}"));
        let _id = self.mesh.rr(["publish", "flow.yaml", "--id", id]).run().await.exits(0);
    }

    /// Runs jobs to their end.
    async fn run(&self, id: &str, jobs: &str) -> RunView {
        self.publish(id, jobs).await;
        self.ended(id).await
    }

    async fn ended(&self, id: &str) -> RunView {
        let _status = self.mesh.ended(&id.parse().unwrap(), SOON).await;
        let shown = self.mesh.rr(["show", id, "--json"]).run().await;
        serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error} {shown}"))
    }

    async fn logs(&self, id: &str) -> String {
        self.mesh.rr(["logs", id]).run().await.exits(0).stdout
    }

    /// Waits until a file of the test has this content.
    async fn has(&self, file: &str, text: &str) {
        eventually(file, SOON, async || {
            let found = self.mesh.read(file);
            if found.contains(text) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    }

    /// Waits until no `sleep` of this length runs any more.
    async fn has_no_sleep(&self, seconds: u32) {
        eventually("end of the remote tree", SOON, async || {
            let left = sleeps(seconds);
            if left == 0 { Ok(()) } else { Err(format!("{left} processes")) }
        })
        .await;
    }
}

fn sleeps(seconds: u32) -> usize {
    let line = format!("sleep\0{seconds}\0");
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|it| std::fs::read(it.path().join("cmdline")).is_ok_and(|found| found == line.as_bytes())).count()
}

/// A stubborn command with a child in a session of its own, each told by a length of sleep that nobody else has.
fn stubborn(stage: &Stage, more: &str) -> (u32, String) {
    let seconds = fastrand::u32(100_000_000..);
    let began = stage.mesh.path("began");
    let script = format!("trap \"\" TERM; echo x >> {}; setsid sleep {seconds} & sleep {seconds}", began.display());
    (seconds, format!("  - {{ name: a, shell: '{script}', hosts: [db1], grace: 1s{more} }}\n"))
}

fn task(view: &RunView, job: usize) -> &TaskView {
    &view.jobs[job].tasks[0]
}

#[tokio::test]
async fn a_command_runs_on_its_host_as_it_was_written() {
    let stage = Stage::new().await;
    let jobs = "  - { name: a, run: [printf, '[%s]', \"it's\", 'two  words', '$HOME `x` !', \"a\\nb\", '*', ''], hosts: [db1] }\n  \
                - { name: b, shell: 'echo \"$RR_HOST $RR_JOB $MINE $RR_PARAM_P\"; echo to stderr >&2; cat', hosts: [db2], env: { MINE: \"a 'b' $c\" } }\n  \
                - { name: c, shell: 'exit 7', hosts: [db3] }\n  - { name: d, shell: 'exit 255', hosts: [db3] }\n  \
                - { name: e, shell: 'kill -9 $$', hosts: [db3] }\n  - { name: f, run: [pwd], hosts: [db4], cwd: /usr }\n  \
                - { name: g, run: [pwd], hosts: [db4], cwd: /no/such/dir }\n";
    stage
        .mesh
        .write("flow.yaml", format!("name: f\nparams: {{ p: {{ type: string, default: \"x ' y\" }} }}\njobs:\n{jobs}"));
    let _id = stage.mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    let view = stage.ended("r1").await;
    let words: Vec<&str> = (0..7).map(|job| task(&view, job).status.word()).collect();
    assert_eq!(words, ["ok", "ok", "failed", "failed", "failed", "ok", "refused"], "{view:#?}");
    let codes: Vec<Option<i32>> = (2..5).map(|job| task(&view, job).attempts[0].exit_code).collect();
    assert_eq!(codes, [Some(7), Some(255), Some(137)]);
    let logs = stage.logs("r1").await;
    for text in ["[it's][two  words][$HOME `x` !][a", "b][*][]", "db2 b a 'b' $c x ' y", "to stderr", "f db4 | /usr"] {
        assert!(logs.contains(text), "{text:?} in {logs}");
    }
    assert!(!logs.contains('\u{1e}'), "{logs:?}");
    let workers = stage.mesh.mesh().await.unwrap().workers().await.unwrap();
    let shown = format!("{workers:?}");
    assert!(shown.contains("\"via\"") && shown.contains("\"ssh\""), "{shown}");
}

#[tokio::test]
async fn many_attempts_on_a_host_share_one_connection() {
    let stage = Stage::new().await;
    let job = "  - { name: a, run: ['true'], hosts: 'db[1-10]', parallelism: 10 }\n  - { name: b, run: ['true'], hosts: 'db[1-10]', parallelism: 10 }\n";
    let view = stage.run("r1", job).await;
    assert_eq!(view.status.word(), "succeeded", "{view:#?}");
    assert_eq!(stage.server.connections(), 10, "{}", stage.server.log());
}

#[tokio::test]
async fn who_cannot_be_reached_is_unreachable_and_not_failed() {
    let stage = Stage::new().await;
    let view = stage.run("r1", "  - { name: a, run: ['true'], hosts: [closed1] }\n").await;
    assert_eq!(task(&view, 0).status.word(), "unreachable", "{view:#?}");
    let _why = stage.mesh.rr(["show", "r1"]).run().await.says(&["Connection refused"]);
    let Stage { server, .. } = stage;
    let client = server.mistaken_client();
    let stage = Stage::with(server, client.to_str().unwrap()).await;
    let view = stage.run("r1", "  - { name: a, run: ['true'], hosts: [db1] }\n").await;
    // It is there; whoever leaves out hosts that are away must not leave out this one.
    assert_eq!(task(&view, 0).status.word(), "refused", "{view:#?}");
    assert_eq!(stage.server.connections(), 0);
}

#[tokio::test]
async fn a_time_limit_and_a_cancel_end_the_whole_tree_over_there() {
    let stage = Stage::new().await;
    let (seconds, job) = stubborn(&stage, ", timeout: 1s");
    let view = stage.run("r1", &job).await;
    assert_eq!(task(&view, 0).status.word(), "timeout", "{view:#?}");
    assert_eq!(task(&view, 0).attempts[0].reason, None, "{view:#?}");
    stage.has_no_sleep(seconds).await;
    let (seconds, job) = stubborn(&stage, "");
    stage.publish("r2", &job).await;
    stage.has("began", "x\nx\n").await;
    let _cancel = stage.mesh.rr(["cancel", "r2"]).run().await.exits(0);
    let view = stage.ended("r2").await;
    assert_eq!(task(&view, 0).status.word(), "cancelled", "{view:#?}");
    assert_eq!(task(&view, 0).attempts[0].reason, None, "{view:#?}");
    stage.has_no_sleep(seconds).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_nothing_running_over_there() {
    let mut stage = Stage::new().await;
    let (seconds, job) = stubborn(&stage, "");
    stage.publish("r1", &job).await;
    stage.has("began", "x\n").await;
    eventually("its two processes", SOON, async || if sleeps(seconds) == 2 { Ok(()) } else { Err("fewer") }).await;
    stage.worker.kill().await;
    stage.has_no_sleep(seconds).await;
}

#[tokio::test]
async fn a_connection_that_breaks_makes_the_attempt_lost_and_ends_its_tree() {
    let stage = Stage::new().await;
    let (seconds, job) = stubborn(&stage, ", on_lost: fail");
    stage.publish("r1", &job).await;
    stage.has("began", "x\n").await;
    stage.server.cut();
    let view = stage.ended("r1").await;
    assert_eq!(task(&view, 0).status.word(), "lost", "{view:#?}");
    stage.has_no_sleep(seconds).await;
}

#[tokio::test]
async fn a_lock_is_kept_over_there_until_the_end_and_longer_where_nobody_knows_the_end() {
    let stage = Stage::new().await;
    let log = stage.mesh.path("log");
    let script = format!("echo in $RR_LOCK_TOKEN >> {0}; sleep 0.2; echo out >> {0}", log.display());
    let job = format!("  - {{ name: a, shell: '{script}', hosts: 'db[1-4]', lock: deploy, parallelism: 4 }}\n");
    let view = stage.run("r1", &job).await;
    assert_eq!(view.status.word(), "succeeded", "{view:#?}");
    let log = stage.mesh.read("log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 8, "{log}");
    assert!(lines.chunks(2).all(|pair| pair[0].starts_with("in ") && pair[1] == "out"), "{log}");
    let tokens: Vec<u64> = lines.iter().step_by(2).map(|line| line[3..].parse().unwrap()).collect();
    assert!(tokens.is_sorted_by(|one, next| one < next), "{log}");

    let _free = stage.mesh.rr(["lock", "deploy", "--no-wait", "--", "true"]).run().await.exits(0);
    let (seconds, job) = stubborn(&stage, ", lock: deploy, on_lost: fail");
    stage.publish("r2", &job).await;
    stage.has("began", "x\n").await;
    stage.server.cut();
    assert_eq!(task(&stage.ended("r2").await, 0).status.word(), "lost");
    let _held = stage.mesh.rr(["lock", "deploy", "--no-wait", "--", "true"]).run().await.exits(6).says(&["r2"]);
    stage.has_no_sleep(seconds).await;
}

#[tokio::test]
async fn without_ssh_a_worker_does_not_start() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let call = mesh.rr(["worker", "--name", "w1", "--all-hosts", "--via", "ssh"]).env("PATH", "/nowhere");
    let _refused = call.run().await.exits(78).says(&["ssh", "no such program"]);
}
