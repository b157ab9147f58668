//! Histories that somebody or something has shortened: a store that is older than it should be, and a purged log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::id::RunId;
use tokio::time::sleep;

use super::{lost_of, running_on};
use crate::chaos::flows::{Kind, Then, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Stage};
use crate::mesh::Timing;
use crate::wait::eventually;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "suffix-lost",
        rows: &[12],
        what: "the log, or the whole store, is one of some seconds ago when the server comes back, as after a loss of power: what ended since is told again, and nothing begins twice",
        bound: Duration::from_secs(15),
        why: "what was under way is looked after when its leases end, and told again by who ran it",
        play: |cue| Box::pin(suffix_lost(cue)),
    },
    Scenario {
        name: "log-purged",
        rows: &[25],
        what: "the event log is emptied while a run is under way: coordinators and `rr doctor` name it, nothing is run again",
        bound: Duration::from_secs(15),
        why: "only what is asked for afterwards is counted",
        play: |cue| Box::pin(log_purged(cue)),
    },
];

/// Attempts that last until somebody says so.
const LASTS: Kind = kind(
    "lasts",
    "jobs: [{ name: a, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.05; done', \
     hosts: 'h[1-4]' }, { name: b, needs: [a], shell: 'NOTE true', hosts: 'h[1-2]' }]",
    &[RunStatus::Succeeded],
);

/// In the queue, and claimed, and both: attempts that last until somebody says so.
const CLAIMED: Kind = kind(
    "claimed-too",
    "jobs:\n\
     - { name: q, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.05; done' }\n\
     - { name: c, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.05; done', on_lost: fail }\n\
     - { name: h, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.05; done', on_lost: fail, hosts: h5 }",
    &[RunStatus::Succeeded],
);

/// Claimed attempts on hosts whose worker comes later: their claims and ends go with the end of the log, and nothing of
/// it but the worker's ledger knows that they ran. Once is enough, whatever the history says of it.
const AWAITED: Kind = Kind {
    once: true,
    then: Then::CancelIfHeld,
    ..kind(
        "awaited",
        "jobs: [{ name: a, shell: 'NOTE true', hosts: 'h[7-8]', on_lost: fail }]",
        &[RunStatus::Succeeded, RunStatus::Failed, RunStatus::Cancelled],
    )
};

/// Longer than the time between two looks at the log, and than a lease.
const LOOKED: Duration = Duration::from_secs(3);

const SHORT: Kind = kind("short", "jobs: [{ name: a, shell: 'NOTE true', hosts: 'h[1-4]' }]", &[RunStatus::Succeeded]);

/// What the server keeps of the log, below the directory of its store.
const LOG: &str = "jetstream/$G/streams/RR_EVENTS";

/// What is as it was before, and whether coordinators die as well: who was there sees the log go back, who comes sees
/// only that states are ahead of it.
const CASES: [(&str, bool); 3] = [("", false), (LOG, false), (LOG, true)];

async fn suffix_lost(mut cue: Cue) -> Report {
    let mut report = Report::default();
    let mut cases = CASES.into_iter().cycle();
    while cue.again(CASES.len()) {
        let Some((old, is_total)) = cases.next() else { break };
        let one = lose(old, is_total).await;
        report.faults += one.faults;
        report.runs += one.runs;
        report.decisions += one.decisions;
        report.violations.extend(one.violations.into_iter().map(|text| format!("{old:?}, {is_total}: {text}")));
        report.stall = report.stall.max(one.stall);
    }
    report
}

/// What is there when the copy is made.
struct Copied {
    /// Under way in the copy, and over in what is lost.
    over: RunId,
    /// Under way in both.
    open: RunId,
    /// As `over`.
    claimed: RunId,
    /// The copy has nothing of it but its offers.
    awaited: RunId,
}

async fn lose(old: &str, is_total: bool) -> Report {
    const SHORT_KIND: &Kind = &SHORT;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    // Of the run that states show and no history has. Where the states are lost, too, a worker may still speak of what is lost.
    stage.verdicts = if old.is_empty() { &[0, 3] } else { &[3] };
    stage.puts_aside = true;
    stage.keeps_output = !old.is_empty();
    let (store, copy) = (stage.mesh.dir().join("nats"), stage.mesh.dir().join("copy"));
    // The last worker is away while the copy is made.
    let late = *stage.workers().last().expect("a worker");
    stage.part(late).process.kill().await;
    let runs = begin(&mut stage).await;
    stage.mesh.server().kill().await.expect("the death of the server");
    copy_all(&store, &copy);
    stage.mesh.server().restart().await.expect("a server");
    stage.revive(late);
    for run in [&runs.over, &runs.claimed] {
        stage.mesh.write(&format!("{run}.enough"), "");
    }
    for run in [&runs.over, &runs.claimed, &runs.awaited] {
        let _view = stage.mesh.ended(run, END).await;
    }
    // One that the copy does not know.
    let unknown = stage.publish("unknown", SHORT_KIND).await;
    let _view = stage.mesh.ended(&unknown, END).await;
    stage.forget(&unknown);
    // Long enough for the look that sees how far the log is.
    sleep(LOOKED).await;
    stage.mesh.server().kill().await.expect("the death of the server");
    let since = Timestamp::now();
    if is_total {
        for place in stage.coordinators() {
            stage.part(place).process.kill().await;
        }
    }
    fs::remove_dir_all(store.join(old)).expect("the store to go");
    copy_all(&copy.join(old), &store.join(old));
    stage.mesh.server().restart().await.expect("a server");
    if is_total {
        for place in stage.coordinators() {
            stage.revive(place);
        }
    }
    stage.was_out(since);
    stage.struck(since);
    for place in stage.coordinators() {
        stage.part(place).process.has_written("the event log has lost its end", END).await;
    }
    if !old.is_empty() {
        let named = stage.mesh.rr(["doctor"]).run().await;
        let is_named = named.status.code() == Some(1) && named.stdout.contains("the history of run unknown is gone");
        stage.report.demand(is_named, || format!("rr doctor does not name what is lost: {named}"));
        let named = stage.mesh.rr(["verify", "--all"]).run().await;
        let is_named = named.status.code() == Some(3) && named.stdout.lines().any(is_truncated);
        stage.report.demand(is_named, || format!("rr verify does not name what is lost: {named}"));
    }
    // Where states went back with the log, nothing on the server says of which run something is gone: only coordinators that
    // have seen more know that it is so.
    stage.mesh.write("open.enough", "");
    let _new = stage.publish("new", SHORT_KIND).await;
    judge(stage, &runs).await
}

/// Whether this is said of the run of which only a state is left.
fn is_truncated(line: &str) -> bool {
    line.starts_with("incomplete run=unknown because ")
        && (line.contains("its history is truncated") || line.contains("its history is gone"))
}

async fn begin(stage: &mut Stage) -> Copied {
    const KIND: &Kind = &LASTS;
    const CLAIMED_KIND: &Kind = &CLAIMED;
    const AWAITED_KIND: &Kind = &AWAITED;
    let over = stage.publish("over", KIND).await;
    let open = stage.publish("open", KIND).await;
    let claimed = stage.publish("claimed-too", CLAIMED_KIND).await;
    for (run, n) in [(&over, 4), (&open, 4), (&claimed, 3)] {
        let _running = running_on(stage, run, n, "").await;
        // Claimed is not begun yet.
        eventually("start of all attempts", END, async || match stage.starts_of(run) {
            starts if starts == n => Ok(()),
            starts => Err(format!("{starts} of {n} of {run}")),
        })
        .await;
    }
    let awaited = stage.publish("awaited", AWAITED_KIND).await;
    eventually("offers", END, async || match stage.handle.offers(&awaited).await {
        Ok(offers) if offers.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    Copied { over, open, claimed, awaited }
}

async fn judge(mut stage: Stage, runs: &Copied) -> Report {
    let Copied { over, open, claimed, awaited } = runs;
    for run in [over, open, claimed, awaited] {
        // The state of a run may be of before.
        eventually("end in the history", END, async || {
            let events = stage.events_of(run).await;
            let is_over = events.iter().any(|event| matches!(event, Event::RunEnded { .. } | Event::Held { .. }));
            if is_over { Ok(()) } else { Err(format!("{run}: {events:#?}")) }
        })
        .await;
    }
    stage.judge().await;
    // What a worker remembers it tells again: nothing is lost, and nothing runs again.
    for run in [over, open, claimed] {
        let lost = lost_of(&stage, run).await;
        stage.report.demand(lost.is_empty(), || format!("{lost:?} of {run} are lost, and their workers are there"));
    }
    for (run, n) in [(over, 6), (open, 6), (claimed, 3), (awaited, 2)] {
        let starts = stage.starts_of(run);
        stage.report.demand(starts == n, || format!("{run} has begun {starts} attempts, not {n}"));
    }
    stage.close().await
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_all(&source, &target);
        } else {
            fs::copy(&source, &target).expect("a copy");
        }
    }
}

async fn log_purged(mut cue: Cue) -> Report {
    const KIND: &Kind = &LASTS;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    // Of that history nobody can say anything.
    stage.verdicts = &[3];
    while cue.again(1) {
        let id = format!("purged{}", stage.report.faults);
        let run = stage.publish(&id, KIND).await;
        let _running = running_on(&stage, &run, 4, "").await;
        stage.forget(&run);
        stage.operator().purge("RR_EVENTS").await;
        stage.report.faults += 1;
        for place in stage.coordinators() {
            stage.part(place).process.has_written("the event log has lost its end", END).await;
        }
        let named = stage.mesh.rr(["doctor"]).run().await;
        let is_named = named.status.code() == Some(1) && named.stdout.contains(&format!("run {id} is gone"));
        stage.report.demand(is_named, || format!("rr doctor does not name what is lost: {named}"));
        stage.mesh.write(&format!("{id}.enough"), "");
        // Longer than leases: whoever could think of running it again would.
        sleep(LOOKED * 2).await;
        let starts = stage.starts_of(&run);
        stage.report.demand(starts == 4, || format!("{id} has started {starts} attempts, not 4"));
    }
    stage.load(&mut cue);
    stage.has_asked(4).await;
    stage.finish().await
}
