//! Histories that somebody or something has shortened: a store that is older than it should be, and a purged log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::decision::RunStatus;
use tokio::time::sleep;

use crate::chaos::flows::{Kind, STARTS, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Stage};
use crate::mesh::Timing;
use crate::wait::eventually;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "suffix-lost",
        rows: &[12],
        what: "the log, or the whole store, is one of 5 s ago when the server comes back, as after a loss of power",
        bound: Duration::from_secs(15),
        why: "what was under way is looked after when its leases end, and told again by who ran it",
        play: |cue| Box::pin(suffix_lost(cue)),
    },
    Scenario {
        name: "log-purged",
        rows: &[25],
        what: "the event log is emptied while runs are under way: coordinators and `rr doctor` name it, nothing is run again",
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

async fn lose(old: &str, is_total: bool) -> Report {
    const KIND: &Kind = &LASTS;
    const SHORT_KIND: &Kind = &SHORT;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    // Of the run that states show and no history has.
    stage.verdicts = if old.is_empty() { &[0] } else { &[3] };
    let (store, copy) = (stage.mesh.dir().join("nats"), stage.mesh.dir().join("copy"));
    // One that is under way in the copy and over in what is lost, and one that is under way in both.
    let over = stage.publish("over", KIND).await;
    let open = stage.publish("open", KIND).await;
    for run in [&over, &open] {
        runs_on_four(&stage, run.as_str()).await;
    }
    stage.mesh.server().kill().await.expect("the death of the server");
    copy_all(&store, &copy);
    stage.mesh.server().restart().await.expect("a server");
    stage.mesh.write("over.enough", "");
    let _view = stage.mesh.ended(&over, END).await;
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
            stage.kill(place).await;
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
    stage.report.faults += 1;
    for place in stage.coordinators() {
        stage.part(place).process.has_written("the event log has lost its end", END).await;
    }
    if !old.is_empty() {
        let named = stage.mesh.rr(["doctor"]).run().await;
        let is_named = named.status.code() == Some(1) && named.stdout.contains("the history of run unknown is gone");
        stage.report.demand(is_named, || format!("rr doctor does not name what is lost: {named}"));
    }
    stage.mesh.write("open.enough", "");
    let _new = stage.publish("new", SHORT_KIND).await;
    stage.finish().await
}

/// Waits until the four attempts of a run have begun, and said so.
async fn runs_on_four(stage: &Stage, run: &str) {
    eventually("start of all attempts", END, async || {
        let shown = stage.mesh.rr(["show", run, "--json"]).run().await.stdout;
        if shown.matches("\"running\"").count() >= 5 { Ok(()) } else { Err(shown) }
    })
    .await;
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
        runs_on_four(&stage, &id).await;
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
        let starts = stage.mesh.read(STARTS).lines().filter(|line| line.starts_with(&id)).count();
        stage.report.demand(starts == 4, || format!("{id} has started {starts} attempts, not 4"));
    }
    stage.load(&mut cue);
    stage.has_asked(4).await;
    stage.finish().await
}
