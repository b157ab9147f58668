//! Stores at their limits: what is refused is refused with a reason, nothing is lost or judged by mistake meanwhile, and
//! once there is room everything goes on to its right end.

use std::time::Duration;

use async_nats::jetstream::{self, stream::Config};
use rr_schemas::{
    decision::{Event, RunStatus},
    id::RunId,
    report::Outcome,
};
use rr_tests::{Running, TestMesh, Timing, eventually, verdict::Verdict};
use tokio::time::sleep;

/// How long anything here may take.
const END: Duration = Duration::from_mins(2);
/// Longer than offers wait for a worker, and than leases last, in a mesh of short times.
const PAST_DEADLINES: Duration = Duration::from_secs(5);

/// Attempts that last until somebody says so, and note that they start and end.
const HELD: &str = r#"
name: held
slots:
  - - name: held
      shell: 'echo "$RR_HOST" >> "$RR_PARAM_DIR/starts"; while [ ! -e "$RR_PARAM_DIR/enough" ]; do sleep 0.05; done; echo "$RR_HOST" >> "$RR_PARAM_DIR/ends"'
      hosts: "h[1-4]"
      on_lost: hold
params: { dir: { type: string } }
"#;

/// What keeps the log growing: many short attempts, attempts that fail and come again, and a slot that comes after.
const BUSY: &str = r#"
name: busy
slots:
  - - { name: fan, run: [sleep, "0.02"], hosts: "f[1-300]", parallelism: 20 }
    - { name: retried, shell: '[ "$RR_ATTEMPT" -ge 3 ]', hosts: "r[1-4]", retry: { attempts: 4, delay: 1s } }
  - - { name: last, run: [sleep, "0.1"] }
"#;

/// Offers that take more room than there is.
const WIDE: &str = r#"
name: wide
slots:
  - - { name: fan, run: ["true"], hosts: "h[1-60]" }
    - { name: claimed, run: ["true"], hosts: "c[1-20]", on_lost: hold }
    - { name: queue, run: ["true"] }
  - - { name: last, run: ["true"], hosts: "h[1-60]" }
"#;

/// A stream of the mesh in the hands of its operator.
struct Store {
    jetstream: jetstream::Context,
    name: &'static str,
}

impl Store {
    async fn of(mesh: &TestMesh, name: &'static str) -> Self {
        let server = mesh.address();
        let (user, password) = (server.user().to_owned(), server.password().to_owned());
        let options = async_nats::ConnectOptions::with_user_and_password(user, password);
        let client = options.connect(server.url()).await.unwrap();
        Self { jetstream: jetstream::new(client), name }
    }

    async fn bytes(&self) -> u64 {
        let mut stream = self.jetstream.get_stream(self.name).await.unwrap();
        stream.info().await.unwrap().state.bytes
    }

    /// As `nats stream edit NAME --max-bytes` does it.
    async fn limit(&self, max_bytes: i64) {
        let mut stream = self.jetstream.get_stream(self.name).await.unwrap();
        let config = stream.info().await.unwrap().config.clone();
        self.jetstream.update_stream(Config { max_bytes, ..config }).await.unwrap();
    }
}

async fn publish(mesh: &TestMesh, flow: &str, id: &str) -> RunId {
    mesh.write("flow.yaml", flow);
    let dir = format!("dir={}", mesh.path("").display());
    let mut args = vec!["publish", "flow.yaml", "--id", id];
    if flow.contains("params:") {
        args.extend(["--set", &dir]);
    }
    let _id = mesh.rr(args).run().await.exits(0);
    id.parse().unwrap()
}

/// Waits until so many attempts have noted this.
async fn have_noted(mesh: &TestMesh, file: &str, n: usize) {
    eventually(file, END, async || {
        let found = mesh.read(file);
        if found.lines().count() >= n { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn is_over(mesh: &TestMesh, run: &RunId) -> bool {
    let status = mesh.mesh().await.unwrap().status(run).await.unwrap();
    status.is_some_and(|entry| entry.view.status.is_final())
}

/// The run succeeds, by its history as well, and nothing of it was called lost or out of reach.
async fn succeeds_without_a_loss(mesh: &TestMesh, run: &RunId, timing: Timing) {
    assert_eq!(mesh.ended(run, END).await.status, RunStatus::Succeeded, "{run}");
    let verdict = Verdict::of(&mesh.mesh().await.unwrap(), run, timing).await;
    let wrong = verdict.events().filter(|event| {
        matches!(event, Event::Ended { end, .. } if matches!(end.outcome, Outcome::Lost | Outcome::Unreachable))
    });
    assert_eq!(wrong.count(), 0, "{run}");
}

fn all_run(processes: &mut [&mut Running]) {
    for process in processes {
        assert!(process.runs(), "{}", process.stderr());
    }
}

#[tokio::test]
async fn a_full_log_refuses_with_a_reason_and_goes_on_when_there_is_room() {
    let (mesh, mut coordinator, mut worker) = TestMesh::start(Timing::Short).await;
    let log = Store::of(&mesh, "RR_EVENTS").await;
    let held = publish(&mesh, HELD, "held").await;
    have_noted(&mesh, "starts", 4).await;
    // The busy run is what fills it, somewhere in its midst.
    log.limit(i64::try_from(log.bytes().await).unwrap() + 24 * 1024).await;
    let busy = publish(&mesh, BUSY, "busy").await;
    coordinator.has_written("the store is full", END).await;
    // What is too small for a decision may do for a submit, and what is rolled up makes room.
    log.limit(1).await;

    mesh.write("flow.yaml", BUSY);
    let refused = mesh.rr(["publish", "flow.yaml", "--id", "refused"]).run().await.exits(78);
    let _told = refused.says(&["the store is full", "RR_EVENTS", "--max-bytes"]);
    let _unknown = mesh.rr(["show", "refused"]).run().await.exits(66);
    // What runs goes on, ends, and is kept by its worker.
    mesh.write("enough", "");
    have_noted(&mesh, "ends", 4).await;
    sleep(PAST_DEADLINES).await;
    assert!(!is_over(&mesh, &held).await && !is_over(&mesh, &busy).await);
    all_run(&mut [&mut coordinator, &mut worker]);

    log.limit(-1).await;
    for run in [&held, &busy] {
        succeeds_without_a_loss(&mesh, run, Timing::Short).await;
    }
    assert_eq!(mesh.read("starts").lines().count(), 4, "each has started once");
    let accepted = publish(&mesh, BUSY, "refused").await;
    succeeds_without_a_loss(&mesh, &accepted, Timing::Short).await;
}

#[tokio::test]
async fn a_work_queue_without_any_room_holds_runs_up_and_ends_none() {
    let (mesh, mut coordinator, mut worker) = TestMesh::start(Timing::Short).await;
    let work = Store::of(&mesh, "RR_WORK").await;
    work.limit(1).await;
    let run = publish(&mesh, WIDE, "wide").await;
    coordinator.has_written("the store is full", END).await;
    sleep(PAST_DEADLINES).await;
    assert!(!is_over(&mesh, &run).await);
    all_run(&mut [&mut coordinator, &mut worker]);
    work.limit(1 << 20).await;
    succeeds_without_a_loss(&mesh, &run, Timing::Short).await;
}

#[tokio::test]
async fn a_work_queue_with_little_room_is_filled_again_as_workers_empty_it() {
    let (mesh, mut coordinator, mut worker) = TestMesh::start(Timing::Short).await;
    // Some five offers.
    Store::of(&mesh, "RR_WORK").await.limit(4 * 1024).await;
    let run = publish(&mesh, WIDE, "wide").await;
    coordinator.has_written("the store is full", END).await;
    succeeds_without_a_loss(&mesh, &run, Timing::Short).await;
    all_run(&mut [&mut coordinator, &mut worker]);
}
