//! Histories that somebody or something has shortened: a store that is older than it should be, and a purged log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rr_schemas::decision::RunStatus;
use tokio::time::sleep;

use crate::chaos::flows::{Kind, kind};
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

const SHORT: Kind =
    kind("short", "jobs: [{ name: a, shell: 'NOTE true', hosts: 'h[1-4]' }]", &[RunStatus::Succeeded]);

/// What the server keeps of the log, below the directory of its store.
const LOG: &str = "jetstream/$G/streams/RR_EVENTS";

/// What is as it was before.
const OLD: [&str; 3] = ["", LOG, "jetstream/$G/streams/RR_EVENTS/msgs"];

async fn suffix_lost(mut cue: Cue) -> Report {
    let mut report = Report::default();
    let mut which = OLD.into_iter().cycle();
    while cue.again(OLD.len()) {
        let one = lose(which.next().unwrap_or_default()).await;
        report.faults += one.faults;
        report.runs += one.runs;
        report.decisions += one.decisions;
        report.violations.extend(one.violations);
        report.stall = report.stall.max(one.stall);
    }
    report
}

async fn lose(old: &str) -> Report {
    const SHORT_KIND: &Kind = &SHORT;
    const KIND: &Kind = &LASTS;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    let (store, copy) = (stage.mesh.dir().join("nats"), stage.mesh.dir().join("copy"));
    // One that is under way in the copy, and over in what is lost; one that is under way in both; one that the copy does
    // not know.
    let over = stage.publish("over", KIND).await;
    let open = stage.publish("open", KIND).await;
    for run in [&over, &open] {
        let started = async || {
            let shown = stage.mesh.rr(["show", run.as_str(), "--json"]).run().await.stdout;
            if shown.matches("\"running\"").count() >= 4 { Ok(()) } else { Err(shown) }
        };
        eventually("start of all attempts", END, started).await;
    }
    stage.mesh.server().kill().await.expect("the death of the server");
    copy_all(&store, &copy);
    stage.mesh.server().restart().await.expect("a server");
    stage.mesh.write("over.enough", "");
    let _view = stage.mesh.ended(&over, END).await;
    let unknown = stage.publish("unknown", SHORT_KIND).await;
    let _view = stage.mesh.ended(&unknown, END).await;
    stage.forget(&unknown);
    stage.mesh.server().kill().await.expect("the death of the server");
    fs::remove_dir_all(store.join(old)).expect("the store to go");
    copy_all(&copy.join(old), &store.join(old));
    stage.mesh.server().restart().await.expect("a server");
    stage.report.faults += 1;
    sleep(Duration::from_secs(8)).await;
    stage.mesh.write("open.enough", "");
    let new = stage.publish("new", SHORT_KIND).await;
    let said: String = stage.parts.iter().map(|part| part.process.stderr()).collect();
    println!("OLD {old}: {}", said.lines().filter(|l| !l.contains("INFO")).collect::<Vec<_>>().join("\n"));
    for verb in [&["ls"][..], &["doctor"], &["show", "unknown"], &["why", "over"], &["why", "new"]] {
        println!("{}", stage.mesh.rr(verb.iter().copied()).run().await);
    }
    println!("{:#}", stage.operator().consumer("RR_EVENTS", "p0").await.unwrap_or_default());
    println!("{:#}", stage.operator().stream("RR_EVENTS").await.unwrap_or_default().get("state").cloned().unwrap_or_default());
    let _view = stage.mesh.ended(&new, Duration::from_secs(30)).await;
    stage.finish().await
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
    while cue.again(1) {
        let run = stage.publish("purged", KIND).await;
        eventually("start of all attempts", END, async || {
            let shown = stage.mesh.rr(["show", "purged", "--json"]).run().await.stdout;
            if shown.matches("\"running\"").count() >= 4 { Ok(()) } else { Err(shown) }
        })
        .await;
        stage.forget(&run);
        stage.operator().purge("RR_EVENTS").await;
        stage.report.faults += 1;
        stage.mesh.write("purged.enough", "");
        sleep(Duration::from_secs(8)).await;
        let said: String = stage.parts.iter().map(|part| part.process.stderr()).collect();
        println!("PURGED: {}", said.lines().filter(|l| !l.contains("INFO")).collect::<Vec<_>>().join("\n"));
        for verb in [&["ls"][..], &["doctor"], &["show", "purged"], &["why", "purged"]] {
            println!("{}", stage.mesh.rr(verb.iter().copied()).run().await);
        }
    }
    stage.load(&mut cue);
    stage.has_asked(4).await;
    stage.finish().await
}
