//! What an operator does to the store: removes, empties, shrinks, fills.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::chaos::operator::Operator;
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Stage};
use crate::mesh::Timing;
use crate::wait::eventually;

/// In which time what was removed is there again: a consumer, and a stream as well. What was delivered or stored follows.
const AGAIN: Duration = Duration::from_secs(5);
/// In which time coordinators have said what is wrong with the log.
const SAID: Duration = Duration::from_secs(15);

/// How it is said of a run that its history is not there, by what else is known of it.
const GONE: [&str; 3] = ["is gone", "is not there", "is truncated"];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumers-deleted",
        rows: &[24],
        what: "consumers of partitions, timers, workers and a queue are deleted, and there again within 5 s",
        bound: Duration::from_secs(15),
        why: "it is looked for what is missing every 2 s; offers that went with a queue are made again after two looks, 5 s apart",
        play: |cue| Box::pin(consumers_deleted(cue)),
    },
    Scenario {
        name: "streams-deleted",
        rows: &[],
        what: "the streams of timers, offers, output and quarantine, and the buckets of states, presence and locks, are deleted, and there again within 5 s",
        bound: Duration::from_secs(20),
        why: "as for consumers; without presence everybody must first show up again (3 s)",
        play: |cue| Box::pin(streams_deleted(cue)),
    },
    Scenario {
        name: "log-deleted",
        rows: &[26],
        what: "the event log is deleted: coordinators say so and live on, `rr verify` says so (78), new coordinators end with 78, and it is not made again; somebody makes an empty one: coordinators, new ones too, `rr verify` and `rr doctor` name the runs of `rr-runs`",
        bound: Duration::from_secs(5),
        why: "nothing is broken before it; afterwards nothing can be decided, and the runs of before are judged before",
        play: |cue| Box::pin(log_deleted(cue)),
    },
    Scenario {
        name: "limits-shrunk",
        rows: &[27],
        what: "the log, the offers or the states may hold one message only, for 6 s; `rr doctor` says so",
        bound: Duration::from_secs(15),
        why: "counted from when there is room again; what waits is tried again after some seconds",
        play: |cue| Box::pin(shrunk(cue, json!({ "max_msgs": 1 }), json!({ "max_msgs": -1 }))),
    },
    Scenario {
        name: "store-full",
        rows: &[],
        what: "the log, the offers or the states are full (`max_bytes`), for 6 s; `rr doctor` says so",
        bound: Duration::from_secs(15),
        why: "counted from when there is room again; what waits is tried again after some seconds",
        play: |cue| Box::pin(shrunk(cue, json!({ "max_bytes": 1 }), json!({ "max_bytes": -1 }))),
    },
];

/// Waits until coordinators know what the mesh is like, so that they can make it again.
async fn is_looked_after(stage: &mut Stage) {
    for place in stage.coordinators() {
        stage.part(place).process.has_written("the mesh is looked after", END).await;
    }
}

async fn consumers_deleted(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    is_looked_after(&mut stage).await;
    stage.load(&mut cue);
    let operator = stage.operator();
    let mut all = [
        ("RR_EVENTS", "p0"),
        ("RR_WORK", "w-w1"),
        ("RR_TIMERS", "timers"),
        ("RR_WORK", "q2-default"),
        ("RR_EVENTS", "p1"),
        ("RR_WORK", "w-w2"),
    ]
    .into_iter()
    .cycle();
    while cue.again(6) {
        stage.has_asked(2).await;
        let Some((stream, name)) = all.next() else { break };
        let since = Timestamp::now();
        operator.delete_consumer(stream, name).await;
        let again = async || operator.consumer(stream, name).await.map(drop).ok_or("it is not there");
        eventually(&format!("{name} of {stream}"), AGAIN, again).await;
        stage.struck(since);
    }
    stage.has_asked(2).await;
    stage.finish().await
}

async fn streams_deleted(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.keeps_output = false;
    is_looked_after(&mut stage).await;
    stage.load(&mut cue);
    let operator = stage.operator();
    let mut all = ["RR_TIMERS", "RR_WORK", "KV_rr-runs", "KV_rr-workers", "KV_rr-locks", "RR_OUTPUT", "RR_QUARANTINE"]
        .into_iter()
        .cycle();
    while cue.again(7) {
        stage.has_asked(2).await;
        let Some(name) = all.next() else { break };
        let since = Timestamp::now();
        operator.delete_stream(name).await;
        let again = async || operator.stream(name).await.map(drop).ok_or("it is not there");
        eventually(name, AGAIN, again).await;
        stage.struck(since);
    }
    stage.has_asked(2).await;
    stage.finish().await
}

async fn log_deleted(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    is_looked_after(&mut stage).await;
    stage.load(&mut cue);
    stage.has_asked(8).await;
    let known = stage.runs();
    // What was decided before is judged as long as it is there.
    stage.judge().await;
    let operator = stage.operator();
    let log = operator.stream("RR_EVENTS").await.expect("the event log");
    operator.delete_stream("RR_EVENTS").await;
    stage.report.faults += 1;
    for place in stage.coordinators() {
        stage.part(place).process.has_written("the event log, stream RR_EVENTS, is gone", SAID).await;
    }
    for call in [&["coordinator"][..], &["init"], &["verify", "--all"]] {
        let told = stage.mesh.rr(call.iter().copied()).run().await;
        let is_told = told.status.code() == Some(78) && told.stderr.contains("RR_EVENTS, is gone");
        stage.report.demand(is_told, || format!("without its log: {told}"));
    }
    stage.report.demand(operator.stream("RR_EVENTS").await.is_none(), || "the log was made again".to_owned());
    // Somebody makes an empty one, as if nothing had ever happened: what the bucket still shows is held against it.
    let config = log.get("config").cloned().expect("the options of the event log");
    operator.call("STREAM.CREATE.RR_EVENTS", &config).await;
    stage.report.faults += 1;
    let newcomer = *stage.coordinators().first().expect("a coordinator");
    stage.restart(newcomer).await;
    for place in stage.coordinators() {
        let process = &mut stage.part(place).process;
        process.has_written("the event log has lost its end", SAID).await;
        // More than these are counted only.
        let said = process.stderr();
        let is_named = known.iter().any(|run| said.contains(&format!("{run} (decision 0 of ")));
        stage.report.demand(is_named, || format!("a coordinator on an empty log names none of {known:?}: {said}"));
    }
    for (verb, code) in [(&["verify", "--all"][..], 3), (&["doctor"], 1)] {
        let told = stage.mesh.rr(verb.iter().copied()).run().await;
        stage.report.demand(told.status.code() == Some(code), || format!("on an empty log: {told}"));
        for run in &known {
            let says = |line: &str| GONE.iter().any(|words| line.contains(words));
            let is_named = told.stdout.lines().any(|line| line.contains(run.as_str()) && says(line));
            stage.report.demand(is_named, || format!("{run} is not named: {told}"));
        }
    }
    stage.close().await
}

/// A stream after the other has no room, and has it again.
async fn shrunk(mut cue: Cue, no_room: serde_json::Value, room: serde_json::Value) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let operator: Operator = stage.operator();
    let mut all = ["RR_EVENTS", "RR_WORK", "KV_rr-runs"].into_iter().cycle();
    while cue.again(3) {
        stage.has_asked(4).await;
        let Some(name) = all.next() else { break };
        let (since, begun) = (Timestamp::now(), Instant::now());
        operator.edit(name, &no_room).await;
        if name == "RR_EVENTS" {
            let refused = stage.mesh.rr(["publish", &stage.flow(), "--id", "refused"]).run().await;
            let is_told = refused.status.code() == Some(78) && refused.stderr.contains("the store is full");
            stage.report.demand(is_told, || format!("while the log is full: {refused}"));
        }
        let doctor = stage.mesh.rr(["doctor"]).run().await;
        let is_told = doctor.status.code() == Some(1) && doctor.stdout.contains(name.trim_start_matches("KV_"));
        stage.report.demand(is_told, || format!("while {name} is full: {doctor}"));
        sleep(Duration::from_secs(6).saturating_sub(begun.elapsed())).await;
        operator.edit(name, &room).await;
        stage.was_out(since);
        stage.struck(since);
    }
    stage.has_asked(4).await;
    stage.finish().await
}
