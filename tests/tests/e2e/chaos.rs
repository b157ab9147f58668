//! A selection of the chaos suite (`cargo run -p rr-tests --bin chaos` plays all of it), and that the suite finds what it
//! looks for.
//!
//! `RR_TEST_SEED` repeats the chances of a scenario; a failing test prints its own. All of it together has five minutes
//! from when the first of it begins: tests of one name follow each other.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use rr_nats::subject::partition_of;
use rr_nats::{ChunkId, OutStream, encode_decision};
use rr_schemas::decision::{Decision, Event, Record, RunStatus};
use rr_schemas::id::EntityId;
use rr_tests::chaos::flows::{Kind, kind};
use rr_tests::chaos::stage::{EVERYBODY, Losses, Stage};
use rr_tests::chaos::{Cue, Report, Scenario, scenarios};
use rr_tests::{Dice, Timing, eventually};
use tokio::time::{Instant, sleep, timeout_at};

/// How long anything here may take.
const END: Duration = Duration::from_mins(1);
/// How long all of this may take, on two cores.
const ALL: Duration = Duration::from_mins(5);
/// How much longer than alone a scenario may stall beside all the other tests.
const BESIDE_OTHERS: u32 = 3;
/// Kills of each kind of process: enough to meet it in most of what it does.
const KILLS: usize = 15;
/// For how long there are faults where they are many and of many kinds.
const MANY: Duration = Duration::from_secs(10);
/// How long a run that does not end is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where one round shows it.
const ONCE: Duration = Duration::ZERO;

/// By when all of this must be over.
fn end() -> Instant {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    *BEGUN.get_or_init(Instant::now) + ALL
}

/// What comes out of a scenario that is over before all of this must be.
async fn in_time(scenario: &Scenario, seed: u64, faults_for: Duration, least: usize) -> Report {
    let played = timeout_at(end(), scenario.play(seed, faults_for, least)).await;
    played.unwrap_or_else(|_| panic!("{}: the selection takes longer than {ALL:?}", scenario.name))
}

async fn holds(name: &str, faults_for: Duration, least: usize) {
    let scenario = scenarios::named(name).unwrap();
    let scenario = Scenario { bound: scenario.bound * BESIDE_OTHERS, ..scenario };
    let dice = Dice::new();
    let report = in_time(&scenario, dice.seed(), faults_for, least).await;
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert!(report.faults > 0 && report.runs > 0 && report.decisions > 0, "{report:?}");
}

#[tokio::test]
async fn killed_coordinators_neither_forget_nor_repeat() {
    holds("coordinator-killed", ONCE, KILLS).await;
}

#[tokio::test]
async fn killed_workers_neither_forget_nor_repeat() {
    holds("worker-restarted", ONCE, KILLS).await;
}

#[tokio::test]
async fn a_worker_that_wakes_up_too_late_is_heard_and_changes_nothing() {
    holds("worker-paused", ONCE, 0).await;
}

#[tokio::test]
async fn a_cluster_goes_on_whatever_the_server_led_that_dies() {
    holds("leader-killed", ONCE, 0).await;
}

#[tokio::test]
async fn killed_servers_neither_forget_nor_repeat() {
    holds("server-restarted", ONCE, KILLS).await;
}

#[tokio::test]
async fn a_decision_whose_confirmation_is_lost_is_taken_once() {
    holds("acks-lost", ONCE, 0).await;
}

#[tokio::test]
async fn an_offer_that_is_stored_twice_is_run_once() {
    holds("offers-twice", ONCE, 0).await;
}

#[tokio::test]
async fn a_log_that_has_lost_its_end_is_named_and_its_workers_tell_again() {
    holds("suffix-lost", ONCE, 0).await;
}

#[tokio::test]
async fn a_log_that_is_emptied_is_named_and_nothing_runs_again() {
    holds("log-purged", ONCE, 0).await;
}

#[tokio::test]
async fn whatever_happens_to_whom_every_run_ends_right() {
    holds("everything", MANY, 0).await;
}

/// A flow that cannot fail, said to.
static WRONG: Kind = kind("wrong", "jobs: [{ name: a, shell: 'NOTE true', hosts: h1 }]", &[RunStatus::Failed]);
static LONG: Kind = kind("long", "jobs: [{ name: g, signal: never }]", &[RunStatus::Succeeded]);
static LOST: Kind =
    kind("lost", "jobs: [{ name: a, shell: 'NOTE sleep 600', hosts: h9, on_lost: fail }]", &[RunStatus::Failed]);
static RIGHT: Kind = kind("right", "jobs: [{ name: a, shell: 'NOTE true', hosts: h1 }]", &[RunStatus::Succeeded]);

/// Everything that the suite must not overlook, at once.
async fn spoilt(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Never;
    stage.patience = PATIENCE;
    // A fault that meets nothing.
    stage.struck(Timestamp::now());
    // Output that nobody has written.
    let written = stage.publish("written", &RIGHT).await;
    let _view = stage.mesh.ended(&written, END).await;
    let chunk = ChunkId { task: 0, attempt: 1, stream: OutStream::Stdout, n: 0 };
    stage.handle.publish_chunk(&"w1".parse().unwrap(), &written, chunk, b"more".to_vec().into()).await.unwrap();
    stage.load(&mut cue);
    // A run that does not end, and one of which a worker is lost, and nobody says that it was killed.
    let _long = stage.publish("long", &LONG).await;
    let lost = stage.publish("lost", &LOST).await;
    eventually("start", END, async || if stage.starts_of(&lost) == 1 { Ok(()) } else { Err("none") }).await;
    let gone = *stage.workers().last().unwrap();
    stage.part(gone).process.kill().await;
    let _view = stage.mesh.ended(&lost, END).await;
    stage.revive(gone);
    // A run that ends as it must not, a second end that somebody has forged, a state that is not that of the history.
    for (id, kind) in [("wrong", &WRONG), ("forged", &RIGHT), ("shown", &RIGHT)] {
        let run = stage.publish(id, kind).await;
        let _view = stage.mesh.ended(&run, END).await;
    }
    forge_an_end(&stage, "forged").await;
    let mut entry = stage.handle.status(&"shown".parse().unwrap()).await.unwrap().unwrap();
    entry.view.jobs[0].ok = 7;
    let text = serde_json::to_vec(&entry).unwrap();
    let mut by_hand = stage.operator().by_hand().await;
    let _seq = by_hand.store(b"$KV.rr-runs.shown", b"NATS/1.0\r\n\r\n", &text).await.unwrap();
    // What is no input, and is put aside.
    let partition = partition_of(&EntityId::from(&lost), stage.handle.partitions()).0;
    let subject = format!("rr.in.{partition}.{lost}.api");
    let _seq = by_hand.store(subject.as_bytes(), b"NATS/1.0\r\n\r\n", b"garbage").await.unwrap();
    // Nobody decides for a while, and nobody says that this is so.
    for place in stage.coordinators() {
        stage.part(place).process.pause();
    }
    sleep(Duration::from_secs(5)).await;
    for place in stage.coordinators() {
        stage.part(place).process.go_on();
    }
    stage.has_asked(2).await;
    // What has begun has begun twice.
    let starts = stage.mesh.read("starts");
    let first = starts.lines().find(|line| line.starts_with("forged")).unwrap();
    stage.mesh.write("starts", format!("{starts}{first}\n"));
    stage.judge().await;
    stage.part(gone).process.kill().await;
    stage.close().await
}

/// Appends another end to the history of a run that is over, as whoever has a coordinator's rights can.
async fn forge_an_end(stage: &Stage, run: &str) {
    let entity: EntityId = run.parse().unwrap();
    let last = stage.handle.last_decision(&entity).await.unwrap().unwrap();
    let before = last.decision.unwrap();
    let record = before.events.last().unwrap().clone();
    let forged = Decision {
        n: before.n + 1,
        by: "evil".parse().unwrap(),
        upto: before.upto,
        prev: last.hash,
        events: vec![Record { event: Event::RunEnded { status: RunStatus::Failed }, ..record }],
        secret: String::new(),
    };
    let forged = encode_decision(&entity, &forged).unwrap();
    let _seq = stage.handle.append(&entity, &forged, last.seq).await.unwrap();
}

#[tokio::test]
async fn the_suite_overlooks_nothing() {
    let scenario = Scenario {
        name: "spoilt",
        rows: &[],
        what: "everything that is wrong",
        bound: Duration::from_secs(3),
        why: "nobody decides for 5 s",
        play: |cue| Box::pin(spoilt(cue)),
    };
    let report = in_time(&scenario, 1, ONCE, 0).await;
    let found = |texts: &[&str]| report.violations.iter().any(|found| texts.iter().all(|text| found.contains(text)));
    for texts in [
        &["run wrong ends succeeded"][..],
        &["run forged: violation I11"],
        &["rr-runs differs from the history of shown"],
        &["forged", "began twice"],
        &["has died by itself"],
        &["a stall beyond 3s"],
        &["run long does not end"],
        &["lost: task 0, attempt 1 is lost, and every worker was there"],
        &["inputs were put aside", "rr.in."],
        &["struck while no run was under way"],
        &["not one of [0]", "violation I11"],
        &["one run by itself", "violation I30 run=written"],
    ] {
        assert!(found(texts), "{texts:?} is not found: {:#?}", report.violations);
    }
    // A panic of the harness is one, too.
    let panics = Scenario { play: |_| Box::pin(async { panic!("no such thing") }), ..scenario };
    assert_eq!(panics.play(1, ONCE, 0).await.violations, ["no such thing"]);
}
