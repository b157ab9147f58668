//! How long partitions are without a coordinator, on real processes with the defaults for users:
//!
//! ```sh
//! cargo run --release -p rr-tests --bin takeover          # or with a number of rounds behind --
//! ```
//!
//! Runs are asked for at a steady rate over all partitions. Each decision says when what it answers was stored, so the
//! longest time between the two while a coordinator stops or dies is the time that its partitions were without one.
#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use rr_nats::{First, Mesh, Start};
use rr_schemas::{
    flow::{Flow, params::ParamValues},
    id::RunId,
    input::{Input, Submit},
};
use rr_tests::{TestMesh, Timing};
use rr_worker::{
    Handlers, Options, Worker,
    config::{Hosts, Serves},
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Rounds, where nobody says how many.
const ROUNDS: usize = 10;
/// One run asked for each time; every partition has one in 16 ms.
const EVERY: Duration = Duration::from_millis(2);
/// Attempts at once: more than come in a moment.
const CAPACITY: NonZeroU32 = NonZeroU32::new(64).expect("not zero");
/// How long is looked on after a stop, and after a start.
const CALM: Duration = Duration::from_secs(4);
/// How long after a kill: longer than any take-over.
const LONG: Duration = Duration::from_secs(10);
/// Decisions that wait to be looked at: more than all of a round.
const DECISIONS_MAX: usize = 100_000;

/// A first decision of a run.
#[derive(Debug)]
struct Decided {
    partition: u16,
    by: String,
    /// Between the request and the decision, as they are stored.
    took: Duration,
    seen: Instant,
}

#[tokio::main]
async fn main() {
    let rounds = std::env::args_os().nth(1).and_then(|rounds| rounds.to_str()?.parse().ok()).unwrap_or(ROUNDS);
    let mesh = TestMesh::bare(Timing::Default).await;
    let (mut staying, mut going) = (mesh.coordinator(), mesh.coordinator());
    mesh.is_made().await;
    let handle = mesh.mesh().await.expect("a mesh");
    let (sender, mut decided) = mpsc::channel(DECISIONS_MAX);
    let mut tasks = JoinSet::new();
    let ledger = tempfile::tempdir().expect("a directory");
    tasks.spawn(serve(handle.clone(), ledger.path().to_owned()));
    tasks.spawn(load(handle.clone()));
    tasks.spawn(watch(handle.clone(), sender));
    sleep(CALM).await;

    let (mut stops, mut kills, mut firsts, mut shares, mut sizes) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let _before = drained(&mut decided);
        going.terminate();
        sleep(CALM).await;
        stops.push(longest(&drained(&mut decided)));
        let _output = going.ended(LONG).await;

        let started = Instant::now();
        going = mesh.coordinator();
        sleep(CALM).await;
        let (first, settled, size) = share(&drained(&mut decided), started);
        firsts.push(first);
        shares.push(settled);
        sizes.push(size);

        // They take turns, so that both ways of going hit everybody.
        std::mem::swap(&mut staying, &mut going);
        going.kill().await;
        sleep(LONG).await;
        kills.push(longest(&drained(&mut decided)));
        going = mesh.coordinator();
        sleep(CALM).await;
    }
    say("clean stop: longest wait for a decision", &mut stops);
    say("kill -9: longest wait for a decision", &mut kills);
    say("new replica: its first decision after its start", &mut firsts);
    say("new replica: all that is its own after its start", &mut shares);
    let partitions = handle.partitions();
    drop(writeln!(std::io::stdout(), "new replica: partitions of {partitions}: {sizes:?}"));
    // Before the servers go.
    tasks.shutdown().await;
}

/// Serves what is asked for, so that what is under way does not become more and more.
async fn serve(mesh: Mesh, dir: PathBuf) {
    let queues = vec!["default".parse().expect("a queue")];
    let options = Options {
        serves: Serves { hosts: Hosts::None, queues },
        capacity: CAPACITY,
        ..Options::new("probe".parse().expect("a name"), dir)
    };
    let handlers = Handlers::new().register("noop".parse().expect("a name"), |_| async { Ok::<(), String>(()) });
    let mut worker = Worker::start(mesh, options, handlers).await.expect("a worker");
    worker.join().await.expect("a worker that goes on");
}

/// Asks for runs that end at once.
async fn load(mesh: Mesh) {
    let flow: Flow =
        serde_json::from_str(r#"{"name":"probe","jobs":[{"name":"a","handler":"noop"}]}"#).expect("a flow");
    let submit = Input::Submit(Box::new(Submit {
        flow,
        params: ParamValues::default(),
        by: "takeover".to_owned(),
        retry_of: None,
    }));
    let mut rng = fastrand::Rng::new();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        mesh.submit(&RunId::random(&mut rng), "takeover", &submit, First::New).await.expect("a request");
    }
}

/// Hands over every first decision.
async fn watch(mesh: Mesh, decided: mpsc::Sender<Decided>) {
    let mut tail = mesh.tail(None, Start::New).await.expect("the log");
    loop {
        let item = tail.next().await.expect("the log");
        let decision = item.decision.expect("a decision");
        let Some(cause) = decision.events.first().filter(|_| decision.n == 1) else { continue };
        let took = item.at.duration_since(cause.at).try_into().unwrap_or_default();
        let partition = mesh.partition_of(&item.entity).0;
        let one = Decided { partition, by: decision.by.to_string(), took, seen: Instant::now() };
        decided.send(one).await.expect("somebody who looks at it");
    }
}

fn drained(decided: &mut mpsc::Receiver<Decided>) -> Vec<Decided> {
    std::iter::from_fn(|| decided.try_recv().ok()).collect()
}

fn longest(decided: &[Decided]) -> Duration {
    decided.iter().map(|one| one.took).max().expect("decisions")
}

/// When the newest coordinator took its first decision, when it had taken over its last partition, and how many it has.
fn share(decided: &[Decided], started: Instant) -> (Duration, Duration, usize) {
    let mut first_of = BTreeMap::new();
    for one in decided {
        first_of.entry((&one.by, one.partition)).or_insert(one.seen);
    }
    let old = decided.first().map(|old| &old.by);
    let own: Vec<Duration> =
        first_of.iter().filter(|((by, _), _)| Some(*by) != old).map(|(_, seen)| *seen - started).collect();
    let (first, last) = (own.iter().min(), own.iter().max());
    (first.copied().unwrap_or_default(), last.copied().unwrap_or_default(), own.len())
}

fn say(what: &str, all: &mut [Duration]) {
    all.sort_unstable();
    let (middle, longest) = (all.get(all.len() / 2), all.last());
    let (middle, longest) = (middle.copied().unwrap_or_default(), longest.copied().unwrap_or_default());
    drop(writeln!(std::io::stdout(), "{what}: p50 {middle:?}, max {longest:?}, {} times", all.len()));
}
