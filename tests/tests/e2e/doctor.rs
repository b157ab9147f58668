//! `rr doctor`: what is wrong with a mesh is found, with what to do; what is well is called so; and what it says to do
//! helps.

mod limits;
mod shape;
mod workers;

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use rr_tests::{TestMesh, Timing, cluster::Servers, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// How long a doctor may take who finds everybody in.
const QUICK: Duration = Duration::from_secs(20);
/// How long servers of a cluster may take to notice each other.
const NOTICED: Duration = Duration::from_mins(1);

/// Every check, in order.
const CHECKS: [&str; 13] = [
    "server",
    "ack",
    "quorum",
    "drift",
    "store",
    "coordinators",
    "partitions",
    "workers",
    "clock",
    "history",
    "runs",
    "offers",
    "quarantine",
];

/// What was found, and the exit code.
struct Found {
    findings: Vec<Value>,
    code: Option<i32>,
}

impl Found {
    async fn on<S>(mesh: &TestMesh<S>, args: &[&str]) -> Self {
        let args = ["doctor", "--json"].iter().chain(args).copied();
        let output = mesh.rr(args).within(QUICK).run().await;
        let document: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
        let found = Self { findings: document["findings"].as_array().unwrap().clone(), code: output.status.code() };
        let is_bad = found.findings.iter().any(|finding| finding["level"] == "bad");
        assert_eq!(found.code, Some(i32::from(is_bad)), "{document:#}");
        let worst = document["level"].as_str().unwrap();
        assert_eq!(worst == "bad", is_bad, "{document:#}");
        for finding in &found.findings {
            assert_eq!(finding["cure"].is_null(), finding["level"] == "ok", "a cure for what is not well: {finding}");
        }
        found
    }

    /// What a check has found that is of this level and says all of this.
    fn says(&self, check: &str, level: &str, texts: &[&str]) -> Result<(), String> {
        let is_meant = |finding: &&Value| {
            let said = finding["what"].as_str().unwrap();
            finding["check"] == check && finding["level"] == level && texts.iter().all(|text| said.contains(text))
        };
        self.findings.iter().find(is_meant).map(|_| ()).ok_or_else(|| format!("{level} {check} {texts:?}: {self}"))
    }

    /// That nothing is bad, and everything was looked at.
    fn is_well(&self) -> Result<(), String> {
        let bad: Vec<&Value> =
            self.findings.iter().filter(|finding| finding["level"] == "bad" || finding["level"] == "unknown").collect();
        if bad.is_empty() { Ok(()) } else { Err(format!("{bad:#?}")) }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?} {:?}", self.findings, self.code)
    }
}

/// Waits until a doctor is found well.
async fn well<S>(mesh: &TestMesh<S>) {
    eventually("health", SOON, async || Found::on(mesh, &[]).await.is_well()).await;
}

/// A client that is not ours.
async fn client(mesh: &TestMesh) -> async_nats::Client {
    let (user, password) = (mesh.address().user().to_owned(), mesh.address().password().to_owned());
    async_nats::ConnectOptions::with_user_and_password(user, password).connect(mesh.address().url()).await.unwrap()
}

async fn js(mesh: &TestMesh) -> jetstream::Context {
    jetstream::new(client(mesh).await)
}

async fn change(js: &jetstream::Context, name: &str, change: impl FnOnce(&mut stream::Config)) {
    let mut config = js.get_stream(name).await.unwrap().cached_info().config.clone();
    change(&mut config);
    js.update_stream(config).await.unwrap();
}

/// Pauses a durable, or lets it go on.
async fn pause(mesh: &TestMesh, stream: &str, durable: &str, until: Value) {
    let client = client(mesh).await;
    let subject = format!("$JS.API.CONSUMER.PAUSE.{stream}.{durable}");
    let answer = client.request(subject, until.to_string().into()).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer.payload).contains("error"), "{answer:?}");
}

#[tokio::test]
async fn a_healthy_mesh_is_called_so_in_every_respect() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    mesh.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: [h1] }]\n");
    let _run = mesh.rr(["publish", "flow.yaml", "--wait"]).run().await.exits(0);
    well(&mesh).await;
    let found = Found::on(&mesh, &[]).await;
    let checks: Vec<&str> = found.findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(checks, CHECKS, "{found}");
    // One server promises less than three, and the doctor must say what.
    found.says("ack", "warn", &["one copy", "power failure", "cannot be seen"]).unwrap();
    for check in CHECKS.iter().filter(|check| **check != "ack") {
        found.says(check, "ok", &[]).unwrap();
    }
    // Both say what time it is there from their first renewal on.
    eventually("clocks", SOON, async || Found::on(&mesh, &[]).await.says("clock", "ok", &["compared with it: 2"]))
        .await;
    let told = mesh.rr(["doctor"]).run().await.exits(0);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert!(lines[0].starts_with("ok       server        nats-server 2."), "{told}");
    assert!(
        lines[1].starts_with("warn     ack           ") && lines[2].starts_with("         do: three servers"),
        "{told}"
    );
    assert_eq!(lines.len(), CHECKS.len() + 1, "{told}");
}

#[tokio::test]
async fn nobody_there_is_bad_and_no_mesh_at_all_is_said_in_one_line() {
    let mesh = TestMesh::bare(Timing::Short).await;
    Found::on(&mesh, &[]).await.says("drift", "bad", &["nobody has made a mesh"]).unwrap();
    let _made = mesh.rr(["init"]).run().await.exits(0);
    let found = Found::on(&mesh, &[]).await;
    found.says("coordinators", "bad", &["no coordinator is up"]).unwrap();
    found.says("workers", "warn", &["no worker"]).unwrap();
    found.says("drift", "ok", &[]).unwrap();
    // What is asked for meanwhile waits, and is seen to wait.
    mesh.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: [h1] }]\n");
    let _run = mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    eventually("an input that waits", SOON, async || {
        Found::on(&mesh, &["--waiting", "1s"]).await.says("partitions", "bad", &["1 input is not answered"])
    })
    .await;
    Found::on(&mesh, &[]).await.says("partitions", "ok", &[]).unwrap();
    let _coordinator = mesh.coordinator();
    mesh.has_coordinators(1).await;
    eventually("a coordinator", SOON, async || {
        let found = Found::on(&mesh, &["--waiting", "1s"]).await;
        found.says("coordinators", "ok", &[])?;
        found.says("partitions", "ok", &[])
    })
    .await;
}

#[tokio::test]
async fn a_durable_that_is_gone_is_named_and_made_anew_as_the_doctor_says() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    well(&mesh).await;
    let js = js(&mesh).await;
    let log = js.get_stream("RR_EVENTS").await.unwrap();
    log.delete_consumer("p0").await.unwrap();
    js.get_stream("RR_TIMERS").await.unwrap().delete_consumer("timers").await.unwrap();
    let found = Found::on(&mesh, &[]).await;
    found.says("drift", "bad", &["RR_EVENTS has no consumer p0:"]).unwrap();
    found.says("drift", "bad", &["RR_TIMERS has no consumer timers"]).unwrap();
    let _made = mesh.rr(["init"]).run().await.exits(0).says(&["made", "consumer p0 of RR_EVENTS"]);
    well(&mesh).await;
    mesh.write(
        "flow.yaml",
        "name: f\njobs: [{ name: a, shell: 'test $RR_ATTEMPT = 2', hosts: [h1], retry: { attempts: 2, delay: 1s } }]\n",
    );
    // Runs of both partitions, one of which was away, with a timer each.
    let runs = (0..4).map(|n| format!("r{n}"));
    for run in runs {
        let _run = mesh.rr(["publish", "flow.yaml", "--wait", "--id", &run]).run().await.exits(0);
    }
}

#[tokio::test]
async fn what_was_changed_by_hand_is_named_with_what_it_must_be() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    let js = js(&mesh).await;
    change(&js, "RR_EVENTS", |config| config.allow_direct = false).await;
    change(&js, "RR_OUTPUT", |config| config.max_bytes = 64 << 20).await;
    let log = js.get_stream("RR_EVENTS").await.unwrap();
    pause(&mesh, "RR_EVENTS", "p1", json!({ "pause_until": "2100-01-01T00:00:00Z" })).await;
    let found = Found::on(&mesh, &[]).await;
    found.says("drift", "bad", &["stream RR_EVENTS: allow_direct is false, must be true"]).unwrap();
    found.says("drift", "bad", &["consumer p1 of RR_EVENTS is paused"]).unwrap();
    // A size is the operator's.
    assert!(found.says("drift", "bad", &["RR_OUTPUT"]).is_err(), "{found}");
    change(&js, "RR_EVENTS", |config| config.allow_direct = true).await;
    pause(&mesh, "RR_EVENTS", "p1", json!({})).await;
    well(&mesh).await;
    // A durable that gives up on a message after some tries is not ours.
    let mut config = log.consumer_info("p0").await.unwrap().config;
    config.max_deliver = 3;
    log.update_consumer(config).await.unwrap();
    Found::on(&mesh, &[]).await.says("drift", "bad", &["p0 of RR_EVENTS: max_deliver is 3, must be -1"]).unwrap();
}

#[tokio::test]
async fn a_store_is_told_before_it_is_full() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _made = mesh.rr(["init"]).run().await.exits(0);
    mesh.write(
        "flow.yaml",
        format!("name: f\njobs: [{{ name: a, run: [echo, {}], hosts: [h1] }}]\n", "x".repeat(50_000)),
    );
    let _run = mesh.rr(["publish", "flow.yaml"]).run().await.exits(0);
    Found::on(&mesh, &[]).await.says("store", "ok", &[]).unwrap();
    let js = js(&mesh).await;
    let bytes = js.get_stream("RR_EVENTS").await.unwrap().cached_info().state.bytes;
    for (percent, level) in [(96, "bad"), (85, "warn"), (50, "ok")] {
        let limit = i64::try_from(bytes * 100 / percent).unwrap();
        change(&js, "RR_EVENTS", |config| config.max_bytes = limit).await;
        let found = Found::on(&mesh, &[]).await;
        found.says("store", level, &["RR_EVENTS", "%"]).unwrap();
    }
}

#[tokio::test]
async fn what_was_put_aside_and_clocks_that_are_wrong_are_warnings() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    let client = client(&mesh).await;
    client.publish("rr.in.0.r1.api", "no input \u{1b}[2J".into()).await.unwrap();
    let clock = jiff::Timestamp::now() + Duration::from_hours(1);
    workers::show(&mesh, "fast", clock, clock).await;
    eventually("findings", SOON, async || {
        let found = Found::on(&mesh, &[]).await;
        found.says("quarantine", "warn", &["1 message was put aside", "rr.in.0.r1.api"])?;
        found.says("clock", "warn", &["the clock of worker fast is about", "ahead of the server's"])
    })
    .await;
    let told = mesh.rr(["doctor"]).run().await.exits(0).says(&["rr quarantine ls"]);
    assert!(!told.stdout.contains('\u{1b}'), "{told}");
}

#[tokio::test]
async fn offers_that_nobody_serves_are_named_after_a_while() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Default).await;
    mesh.write(
        "flow.yaml",
        "name: f\njobs: [{ name: a, run: [echo, hi], queue: gpu }, { name: b, run: [sleep, '60'] }]\n",
    );
    let _run = mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    eventually("an offer that waits", SOON, async || {
        Found::on(&mesh, &["--waiting", "1s"]).await.says("offers", "bad", &["1 offer for queue gpu", "of run r1"])
    })
    .await;
    // It has not waited for long, and what somebody serves is nobody's trouble.
    let found = Found::on(&mesh, &[]).await;
    found.says("offers", "ok", &["1 have nobody now"]).unwrap();
    found.says("runs", "ok", &["1 under way"]).unwrap();
    let _gpu = mesh.worker("w2", &["--queues", "gpu"]);
    eventually("nobody who waits", SOON, async || {
        Found::on(&mesh, &["--waiting", "1s"]).await.says("offers", "ok", &[])
    })
    .await;
}

#[tokio::test]
async fn a_run_whose_deadline_has_passed_is_stuck() {
    let (mesh, coordinator, _worker) = TestMesh::start(Timing::Short).await;
    mesh.write(
        "flow.yaml",
        "name: f\njobs: [{ name: a, run: ['false'], hosts: [h1], retry: { attempts: 2, delay: 2s } }]\n",
    );
    let mut follow = mesh.rr(["publish", "flow.yaml", "--follow", "--id", "r1"]).start();
    follow.has_written("exit 1", SOON).await;
    eventually("a state of the run", SOON, async || match mesh.mesh().await?.status(&"r1".parse().unwrap()).await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    coordinator.terminate();
    let _stopped = coordinator.ended(SOON).await.exits(0);
    eventually("a run that is stuck", SOON, async || {
        let found = Found::on(&mesh, &["--waiting", "1s"]).await;
        found.says("coordinators", "bad", &["no coordinator is up"])?;
        found.says("runs", "bad", &["run r1 has not moved", "was to be looked after"])
    })
    .await;
    let _coordinator = mesh.coordinator();
    let _over = follow.ended(SOON).await.exits(1);
    eventually("nothing that is stuck", SOON, async || {
        Found::on(&mesh, &["--waiting", "1s"]).await.says("runs", "ok", &["0 under way"])
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_that_hangs_is_noticed_by_what_it_does_not_ask_for() {
    let mesh = TestMesh::bare(Timing::Short).await;
    // It is shown as present for much longer than its partitions are its own.
    mesh.configure(&format!(
        "server: {}\nmesh: {{ partitions: 2, pin-timeout: 1s }}\ncoordinator: {{ presence-ttl: 5m }}\n",
        mesh.url()
    ));
    let coordinator = mesh.coordinator();
    mesh.has_coordinators(1).await;
    well(&mesh).await;
    coordinator.pause();
    eventually("partitions that are nobody's", SOON, async || {
        let found = Found::on(&mesh, &[]).await;
        found.says("coordinators", "ok", &["1 is up"])?;
        found.says("partitions", "bad", &["no coordinator asks for the inputs of p0, p1"])
    })
    .await;
    coordinator.go_on();
    well(&mesh).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_finding() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let args = ["doctor", "--json", "--server", "nats://127.0.0.1:1"];
    let told = mesh.rr(args).within(QUICK).run().await.exits(69).says(&["cannot reach a NATS server"]);
    assert!(told.stdout.is_empty(), "{told}");
}

#[tokio::test]
async fn servers_that_are_away_are_named_and_a_lost_majority_is_bad() {
    let mut mesh: TestMesh<Servers> = TestMesh::cluster(Timing::Default).await;
    let _made = mesh.rr(["init"]).run().await.exits(0);
    let _coordinator = mesh.coordinator();
    mesh.has_coordinators(1).await;
    eventually("health", NOTICED, async || {
        let found = Found::on(&mesh, &[]).await;
        found.is_well()?;
        found.says("ack", "ok", &["3 copies", "outlives 1 of them"])?;
        found.says("quorum", "ok", &["3 copies are current"])
    })
    .await;
    mesh.kill_server(1).await;
    eventually("a server that is away", NOTICED, async || {
        let found = Found::on(&mesh, &[]).await;
        found.says("quorum", "warn", &["server n2 is away", "stream RR_EVENTS"])?;
        if found.code == Some(0) { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    mesh.kill_server(2).await;
    eventually("no majority", NOTICED, async || {
        Found::on(&mesh, &[]).await.says("quorum", "bad", &["nobody leads", "stream RR_EVENTS"])
    })
    .await;
}
