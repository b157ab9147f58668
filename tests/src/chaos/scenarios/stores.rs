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

/// In which time what was removed is there again.
const AGAIN: Duration = Duration::from_secs(15);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumers-deleted",
        rows: &[24],
        what: "consumers of partitions, timers, workers and a queue are deleted",
        bound: Duration::from_secs(15),
        why: "it is looked for what is missing every 2 s; offers that went with a queue are made again after two looks, 5 s apart",
        play: |cue| Box::pin(consumers_deleted(cue)),
    },
    Scenario {
        name: "streams-deleted",
        rows: &[],
        what: "the streams of timers, offers and output, and the buckets of states, presence and locks, are deleted",
        bound: Duration::from_secs(20),
        why: "as for consumers; without presence everybody must first show up again (3 s)",
        play: |cue| Box::pin(streams_deleted(cue)),
    },
    Scenario {
        name: "log-deleted",
        rows: &[26],
        what: "the event log is deleted: coordinators complain, new ones end with 78, and it is not made again",
        bound: Duration::from_secs(5),
        why: "nothing is broken before it; afterwards nothing can be decided",
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
        operator.delete_consumer(stream, name).await;
        stage.report.faults += 1;
        let again = async || operator.consumer(stream, name).await.map(drop).ok_or("it is not there");
        eventually(&format!("{name} of {stream}"), AGAIN, again).await;
    }
    stage.has_asked(2).await;
    stage.finish().await
}

async fn streams_deleted(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    is_looked_after(&mut stage).await;
    stage.load(&mut cue);
    let operator = stage.operator();
    let mut all = ["RR_TIMERS", "RR_WORK", "KV_rr-runs", "KV_rr-workers", "KV_rr-locks", "RR_OUTPUT", "RR_QUARANTINE"]
        .into_iter()
        .cycle();
    while cue.again(7) {
        stage.has_asked(2).await;
        let Some(name) = all.next() else { break };
        operator.delete_stream(name).await;
        stage.report.faults += 1;
        let again = async || operator.stream(name).await.map(drop).ok_or("it is not there");
        eventually(name, AGAIN, again).await;
    }
    stage.has_asked(2).await;
    stage.finish().await
}

async fn log_deleted(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    is_looked_after(&mut stage).await;
    stage.load(&mut cue);
    stage.has_asked(8).await;
    stage.judge().await;
    let operator = stage.operator();
    operator.delete_stream("RR_EVENTS").await;
    stage.report.faults += 1;
    for place in stage.coordinators() {
        stage.part(place).process.has_written("the event log, stream RR_EVENTS, is gone", AGAIN).await;
    }
    for verb in ["coordinator", "init"] {
        let told = stage.mesh.rr([verb]).run().await;
        let is_told = told.status.code() == Some(78) && told.stderr.contains("RR_EVENTS");
        stage.report.demand(is_told, || format!("without its log: {told}"));
    }
    stage.report.demand(operator.stream("RR_EVENTS").await.is_none(), || "the log was made again".to_owned());
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
        stage.report.faults += 1;
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
    }
    stage.has_asked(4).await;
    stage.finish().await
}
