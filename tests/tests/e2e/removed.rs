//! Parts of a mesh that somebody removes while everything works: they are there again within seconds, with nothing
//! lost and nothing doubled. Only the event log is not made again, and everybody says so.

mod left;

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use rr_schemas::{decision::RunStatus, id::RunId};
use rr_tests::{Running, TestMesh, Timing, eventually, verdict::Verdict};
use tokio::time::{Instant, sleep};

/// How long anything here may take.
const END: Duration = Duration::from_mins(1);
/// In which time what was removed is there again: two seconds on a machine that has nothing else to do.
const AGAIN: Duration = Duration::from_secs(20);

/// Each attempt notes that it starts, and lasts until somebody says so.
const NOTED: &str = r#"
name: noted
jobs:
  - name: noted
    shell: 'echo "$RR_TASK" >> "$RR_PARAM_DIR/starts"; while [ ! -e "$RR_PARAM_DIR/enough" ]; do sleep 0.05; done'
    TARGETS
params: { dir: { type: string } }
"#;

/// Short runs of everything: a fan-out, a queue, a claimed job, a retry that waits for a timer.
const MIXED: &str = r#"
name: mixed
slots:
  - - { name: fan, run: [sleep, "0.1"], hosts: "h[1-8]", parallelism: 4 }
    - { name: queue, run: [sleep, "0.2"] }
    - { name: claimed, run: [sleep, "0.1"], hosts: "c[1-3]", on_lost: fail }
  - - { name: retried, shell: '[ "$RR_ATTEMPT" -ge 2 ]', hosts: "r[1-2]", retry: { attempts: 2, delay: 1s } }
"#;

/// A program that removes things.
pub(crate) async fn operator(mesh: &TestMesh) -> Context {
    let server = mesh.address();
    let (user, password) = (server.user().to_owned(), server.password().to_owned());
    let client = async_nats::ConnectOptions::with_user_and_password(user, password).connect(server.url()).await;
    jetstream::new(client.unwrap())
}

/// Removes a durable and waits until it is there again.
async fn remove_durable(js: &Context, stream: &str, durable: &str) {
    let handle = js.get_stream(stream).await.unwrap();
    handle.delete_consumer(durable).await.unwrap();
    let removed = Instant::now();
    eventually(&format!("{durable} of {stream}"), END, async || handle.consumer_info(durable).await).await;
    assert!(removed.elapsed() < AGAIN, "{durable} came again after {:?}", removed.elapsed());
}

/// Removes a stream and waits until it is there again.
async fn remove_stream(js: &Context, stream: &str) {
    let before = js.get_stream(stream).await.unwrap().cached_info().config.clone();
    js.delete_stream(stream).await.unwrap();
    let removed = Instant::now();
    let mut again = eventually(stream, END, async || js.get_stream(stream).await).await;
    assert!(removed.elapsed() < AGAIN, "{stream} came again after {:?}", removed.elapsed());
    let now = again.info().await.unwrap().config.clone();
    assert_eq!((now.retention, now.subjects, now.max_bytes), (before.retention, before.subjects, before.max_bytes));
}

async fn publish(mesh: &TestMesh, id: &str, flow: &str) -> RunId {
    mesh.write("flow.yaml", flow);
    let dir = format!("dir={}", mesh.path("").display());
    let mut args = vec!["publish", "flow.yaml", "--id", id];
    if flow.contains("RR_PARAM_DIR") {
        args.extend(["--set", &dir]);
    }
    let _id = mesh.rr(args).run().await.exits(0);
    id.parse().unwrap()
}

/// How many attempts have started of each task.
fn starts(mesh: &TestMesh) -> BTreeMap<String, usize> {
    let mut starts = BTreeMap::new();
    for line in mesh.read("starts").lines() {
        *starts.entry(line.to_owned()).or_default() += 1;
    }
    starts
}

async fn have_started(mesh: &TestMesh, n: usize) {
    eventually("starts", END, async || {
        let starts = starts(mesh);
        if starts.len() >= n { Ok(()) } else { Err(format!("{starts:?}")) }
    })
    .await;
}

async fn succeeds(mesh: &TestMesh, run: &RunId) {
    assert_eq!(mesh.ended(run, END).await.status, RunStatus::Succeeded);
    let _verdict = Verdict::of(&mesh.mesh().await.unwrap(), run, Timing::ShortPatient).await;
}

async fn remembers(coordinator: &mut Running) {
    // What a coordinator has looked at once it can make again.
    coordinator.has_written("the mesh is looked after", END).await;
}

#[tokio::test]
async fn durables_of_coordinators_come_again_while_runs_go_on() {
    let (mesh, mut coordinator, _worker) = TestMesh::start(Timing::ShortPatient).await;
    let mut other = mesh.coordinator();
    mesh.has_coordinators(2).await;
    remembers(&mut coordinator).await;
    remembers(&mut other).await;
    let js = operator(&mesh).await;
    let mut runs = Vec::new();
    for (n, (stream, durable)) in [
        ("RR_EVENTS", "p0"),
        ("RR_EVENTS", "p1"),
        ("RR_TIMERS", "timers"),
        ("RR_EVENTS", "p0"),
        ("RR_TIMERS", "timers"),
    ]
    .into_iter()
    .enumerate()
    {
        for part in ["a", "b"] {
            runs.push(publish(&mesh, &format!("r{n}{part}"), MIXED).await);
        }
        sleep(Duration::from_millis(200)).await;
        remove_durable(&js, stream, durable).await;
    }
    for run in &runs {
        succeeds(&mesh, run).await;
    }
    let said = coordinator.stderr() + &other.stderr();
    assert!(said.contains("a consumer was removed; it is made again"), "{said}");
}

#[tokio::test]
async fn a_partition_begins_again_behind_what_was_answered() {
    let (mesh, mut coordinator, _worker) = TestMesh::start(Timing::ShortPatient).await;
    for n in 0..5 {
        for part in ["a", "b", "c", "d"] {
            let run =
                publish(&mesh, &format!("old{n}{part}"), "{ name: f, jobs: [{ name: j, run: [\"true\"] }] }").await;
            let _view = mesh.ended(&run, END).await;
        }
    }
    remembers(&mut coordinator).await;
    let js = operator(&mesh).await;
    let last = js.get_stream("RR_EVENTS").await.unwrap().cached_info().state.last_sequence;
    // The next look at them, at the latest after two seconds, sees that all of this is answered.
    sleep(Duration::from_secs(5)).await;
    for durable in ["p0", "p1"] {
        remove_durable(&js, "RR_EVENTS", durable).await;
        let info = js.get_stream("RR_EVENTS").await.unwrap().consumer_info(durable).await.unwrap();
        assert!(info.delivered.consumer_sequence < 5, "{last}: {info:?}");
        assert!(info.config.ack_wait == Duration::from_secs(1), "{info:?}");
    }
    let run = publish(&mesh, "new", MIXED).await;
    succeeds(&mesh, &run).await;
}

#[tokio::test]
async fn lanes_come_again_and_what_is_held_runs_once() {
    let (mesh, mut coordinator, _first) = TestMesh::start(Timing::ShortPatient).await;
    let _second = mesh.worker("w2", &["--queues", "default"]);
    mesh.has_workers(2).await;
    remembers(&mut coordinator).await;
    let js = operator(&mesh).await;
    let on_hosts = publish(&mesh, "hosts", &NOTED.replace("TARGETS", "hosts: \"h[1-4]\"")).await;
    have_started(&mesh, 4).await;
    remove_durable(&js, "RR_WORK", "w-w1").await;
    mesh.write("enough", "");
    succeeds(&mesh, &on_hosts).await;
    assert_eq!(starts(&mesh).values().copied().collect::<Vec<_>>(), [1; 4]);
    std::fs::remove_file(mesh.path("enough")).unwrap();
    std::fs::remove_file(mesh.path("starts")).unwrap();
    // Both workers have free slots, and each would take what the other one holds.
    let flow = "name: queued\njobs:\n".to_owned()
        + &(0..4).map(|n| format!("  - {{ name: j{n}, shell: 'echo {n} >> \"$RR_PARAM_DIR/starts\"; while [ ! -e \"$RR_PARAM_DIR/enough\" ]; do sleep 0.05; done' }}\n")).collect::<String>()
        + "params: { dir: { type: string } }\n";
    let queued = publish(&mesh, "queued", &flow).await;
    have_started(&mesh, 4).await;
    // A start is reported after 250 ms.
    let started = async || {
        let shown = mesh.rr(["show", "queued", "--json"]).run().await.exits(0).stdout;
        let running = shown.matches("\"running\"").count();
        if running >= 4 { Ok(()) } else { Err(shown) }
    };
    eventually("reports", END, started).await;
    remove_durable(&js, "RR_WORK", "q2-default").await;
    // What was offered is looked for twice, with a pause in between.
    coordinator.has_written("what was lost with a part of the mesh is made again", END).await;
    mesh.write("enough", "");
    succeeds(&mesh, &queued).await;
    assert_eq!(starts(&mesh).values().copied().collect::<Vec<_>>(), [1; 4]);
}

#[tokio::test]
async fn a_worker_that_lost_its_hosts_has_them_again() {
    let mesh = TestMesh::bare(Timing::ShortPatient).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _worker = mesh.worker("w1", &["--hosts", "h[1-2]"]);
    mesh.has_workers(1).await;
    let handle = mesh.mesh().await.unwrap();
    let name = "w1".parse().unwrap();
    let has = async || {
        let hosts = handle.lane_hosts(&name).await.map_err(|error| error.to_string())?;
        let has = hosts.is_some_and(|hosts| hosts.serves(&"h2".parse().unwrap()));
        if has { Ok(()) } else { Err("it has not".to_owned()) }
    };
    eventually("lane", END, has).await;
    handle.give_up_hosts(&name).await.unwrap();
    eventually("lane again", END, has).await;
    let run = publish(&mesh, "again", "{ name: f, jobs: [{ name: j, run: [\"true\"], hosts: \"h[1-2]\" }] }").await;
    succeeds(&mesh, &run).await;
}

#[tokio::test]
async fn streams_come_again_and_what_they_held_follows_from_the_histories() {
    let mesh = TestMesh::bare(Timing::ShortPatient).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    mesh.has_coordinators(1).await;
    remembers(&mut coordinator).await;
    let js = operator(&mesh).await;
    // Nobody is there to take what is offered.
    let offered = publish(&mesh, "offered", "{ name: f, jobs: [{ name: j, run: [\"true\"], hosts: h1 }] }").await;
    eventually("offer", END, async || {
        let found = mesh.mesh().await?.offers(&offered).await.map_err(|error| error.to_string())?;
        if found.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    remove_stream(&js, "RR_WORK").await;
    let _worker = mesh.worker("w1", &["--all-hosts", "--queues", "default"]);
    // Before anybody would look after the offer.
    let asked = Instant::now();
    succeeds(&mesh, &offered).await;
    assert!(asked.elapsed() < Duration::from_secs(18), "{:?}", asked.elapsed());
    let retry = "{ name: f, jobs: [{ name: j, shell: '[ $RR_ATTEMPT -ge 2 ]', retry: { attempts: 2, delay: 6s } }] }";
    let retried = publish(&mesh, "retried", retry).await;
    eventually("end of the first attempt", END, async || {
        let shown = mesh.rr(["show", "retried", "--json"]).run().await.stdout;
        if shown.contains("failed") { Ok(()) } else { Err(shown) }
    })
    .await;
    for stream in ["RR_TIMERS", "KV_rr-runs", "KV_rr-workers", "KV_rr-locks", "RR_OUTPUT", "RR_QUARANTINE"] {
        remove_stream(&js, stream).await;
    }
    succeeds(&mesh, &retried).await;
    let run = publish(&mesh, "after", MIXED).await;
    succeeds(&mesh, &run).await;
    // The states of runs that were over are there again, too.
    let shown = mesh.ended(&offered, END).await;
    assert_eq!(shown.status, RunStatus::Succeeded);
}

/// Whoever starts a coordinator makes what is missing; what was in it when nobody looked is made again all the same.
#[tokio::test]
async fn what_is_removed_while_no_coordinator_is_there_is_made_again_by_the_next_one() {
    let (mesh, mut coordinator, _worker) = TestMesh::start(Timing::ShortPatient).await;
    let js = operator(&mesh).await;
    let retry = "{ name: f, jobs: [{ name: j, shell: '[ $RR_ATTEMPT -ge 2 ]', retry: { attempts: 2, delay: 8s } }] }";
    let run = publish(&mesh, "waits", retry).await;
    eventually("end of the first attempt", END, async || {
        let shown = mesh.rr(["show", "waits", "--json"]).run().await.stdout;
        if shown.contains("failed") { Ok(()) } else { Err(shown) }
    })
    .await;
    let gate = publish(&mesh, "gate", "{ name: f, jobs: [{ name: j, signal: go, timeout: 9s }] }").await;
    eventually("gate", END, async || {
        let why = mesh.rr(["why", "gate"]).run().await.stdout;
        if why.contains("waits for signal go") { Ok(()) } else { Err(why) }
    })
    .await;
    coordinator.kill().await;
    let mut last = 0;
    for stream in ["RR_TIMERS", "RR_WORK"] {
        let mut stream = js.get_stream(stream).await.unwrap();
        last = last.max(stream.info().await.unwrap().state.last_sequence);
        js.delete_stream(&stream.cached_info().config.name).await.unwrap();
    }
    let _next = mesh.coordinator();
    succeeds(&mesh, &run).await;
    assert_eq!(mesh.ended(&gate, END).await.status, RunStatus::Failed, "its time was over");
    // Fencing tokens rest on the numbers of messages.
    let first = js.get_stream("RR_WORK").await.unwrap().info().await.unwrap().state.first_sequence;
    assert!(first > last, "{first} after {last}");
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_made_again_and_everybody_says_so() {
    let (mesh, mut coordinator, _worker) = TestMesh::start(Timing::ShortPatient).await;
    let run = publish(&mesh, "lost", MIXED).await;
    succeeds(&mesh, &run).await;
    let js = operator(&mesh).await;
    js.delete_stream("RR_EVENTS").await.unwrap();
    coordinator.has_written("the event log, stream RR_EVENTS, is gone", AGAIN).await;
    let _refused = mesh.rr(["coordinator"]).run().await.exits(78).says(&["RR_EVENTS", "is gone", "rr restore DIR"]);
    let _refused = mesh.rr(["init"]).run().await.exits(78).says(&["RR_EVENTS", "is gone"]);
    assert!(js.get_stream("RR_EVENTS").await.is_err() && coordinator.runs());
}
