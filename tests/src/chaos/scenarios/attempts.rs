//! Commands that write without end, will not end, or are very many; and two workers of one name.

use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::decision::RunStatus;
use tokio::time::Instant;

use crate::chaos::flows::{Kind, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{ALL_HOSTS, END, EVERYBODY, Role, Stage};
use crate::mesh::Timing;
use crate::procfs::{self, Found};
use crate::wait::eventually;

const MIB: u64 = 1024 * 1024;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "huge-output",
        rows: &[29],
        what: "attempts write 1 GiB of zeroes, 256 MiB of short lines, and one line of 100 MB, all to one worker at once",
        bound: Duration::from_secs(10),
        why: "nothing of it is decided by; the machine is busy",
        play: |cue| Box::pin(huge_output(cue)),
    },
    Scenario {
        name: "fan-out",
        rows: &[31],
        what: "a run over 10,000 hosts, all of them served by one worker: within 120 s",
        bound: Duration::from_secs(15),
        why: "a decision answers up to 512 reports that come together, on a machine that starts 10,000 commands",
        play: |cue| Box::pin(fan_out(cue)),
    },
    Scenario {
        name: "escape",
        rows: &[43],
        what: "attempts start twenty children each in sessions of their own, and run into their time limit or are cancelled",
        bound: Duration::from_secs(2),
        why: "from the TERM to the death of all of it: the grace of 1 s, and 1 s for the search",
        play: |cue| Box::pin(stubborn(cue, &ESCAPES)),
    },
    Scenario {
        name: "deaf",
        rows: &[44],
        what: "attempts ignore TERM, and run into their time limit or are cancelled",
        bound: Duration::from_secs(2),
        why: "from the TERM to the death of all of it: the grace of 1 s, and 1 s",
        play: |cue| Box::pin(stubborn(cue, &DEAF)),
    },
    Scenario {
        name: "name-twice",
        rows: &[50],
        what: "a worker is started under the name of one that is there: it is refused (73), and the first one goes on",
        bound: Duration::from_secs(5),
        why: "nothing that is there is touched",
        play: |cue| Box::pin(name_twice(cue)),
    },
];

const GOOD: &[RunStatus] = &[RunStatus::Succeeded];

/// Memory that a worker may ever have: its own, 8 MiB kept of each attempt, and what waits for the link.
const RESIDENT_MAX: u64 = 96 * MIB;

const HUGE: Kind = kind(
    "huge",
    "jobs:\n- { name: zeroes, shell: 'NOTE head -c 1073741824 /dev/zero', hosts: h1 }\n\
     - { name: lines, shell: 'NOTE yes | head -c 268435456', hosts: h2 }\n\
     - { name: line, shell: 'NOTE head -c 104857600 /dev/zero | tr \"\\0\" x', hosts: h3 }",
    GOOD,
);

async fn huge_output(mut cue: Cue) -> Report {
    const KIND: &Kind = &HUGE;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(1) {
        let id = format!("huge{}", stage.report.faults);
        let run = stage.publish(&id, KIND).await;
        let _view = stage.mesh.ended(&run, END).await;
        stage.report.faults += 1;
        let kept = stage.mesh.rr(["logs", &id, "--raw"]).run().await.exits(0);
        let bytes = kept.stdout.len() as u64;
        stage.report.demand((3 * MIB..=3 * 9 * MIB).contains(&bytes), || format!("{bytes} bytes are kept of {id}"));
        // What is kept and what was dropped adds up to what was written.
        let _verified = stage.mesh.rr(["verify", &id]).run().await.exits(0);
    }
    for place in stage.workers() {
        let peak = procfs::peak_resident(stage.part(place).process.pid()).unwrap_or(u64::MAX);
        stage.report.demand(peak <= RESIDENT_MAX, || format!("a worker has had {} MiB", peak / MIB));
    }
    stage.finish().await
}

const WIDE: Kind = kind("wide", "jobs: [{ name: a, shell: 'NOTE true', hosts: 'n[1-10000]', parallelism: 400 }]", GOOD);

async fn fan_out(mut cue: Cue) -> Report {
    const KIND: &Kind = &WIDE;
    let mut stage = Stage::single(Timing::Default, &[Role::Coordinator, Role::Worker("w1", ALL_HOSTS)]).await;
    while cue.again(1) {
        let id = format!("wide{}", stage.report.faults);
        let begun = Instant::now();
        let run = stage.publish(&id, KIND).await;
        let _view = stage.mesh.ended(&run, END).await;
        let took = begun.elapsed();
        stage.report.demand(took < Duration::from_mins(2), || format!("{id} took {took:?}"));
        stage.report.faults += 1;
    }
    let peak = procfs::peak_resident(stage.part(0).process.pid()).unwrap_or(u64::MAX);
    stage.report.demand(peak <= 300 * MIB, || format!("the coordinator has had {} MiB", peak / MIB));
    stage.finish().await
}

/// What such an attempt runs, which is nothing else's.
const LEFT: &str = "sleep 611";

// Each notes when it is told to end (`.term`). Who escapes ends then, and leaves what it has started in other sessions.
const ESCAPES: [Kind; 2] = [
    kind(
        "escape-time",
        "jobs: [{ name: a, shell: 'NOTE own=\"$RR_PARAM_DIR/$RR_RUN\"; trap \"date +%s%N > $own.term; exit\" TERM; \
         n=0; while [ $n -lt 20 ]; do n=$((n+1)); setsid sleep 611 & done; echo there > \"$own\"; wait', \
         hosts: h1, timeout: 2s, grace: 1s }]",
        &[RunStatus::Failed],
    ),
    kind(
        "escape-cancel",
        "jobs: [{ name: a, shell: 'NOTE own=\"$RR_PARAM_DIR/$RR_RUN\"; trap \"date +%s%N > $own.term; exit\" TERM; \
         n=0; while [ $n -lt 20 ]; do n=$((n+1)); setsid sleep 611 & done; echo there > \"$own\"; wait', \
         hosts: h1, grace: 1s }]",
        &[RunStatus::Cancelled],
    ),
];

// Who is deaf has a child that ignores TERM, and goes on itself.
const DEAF: [Kind; 2] = [
    kind(
        "deaf-time",
        "jobs: [{ name: a, shell: 'NOTE own=\"$RR_PARAM_DIR/$RR_RUN\"; trap \"date +%s%N > $own.term\" TERM; \
         (trap \"\" TERM; exec sleep 611) & echo there > \"$own\"; while :; do wait; done', \
         hosts: h1, timeout: 2s, grace: 1s }]",
        &[RunStatus::Failed],
    ),
    kind(
        "deaf-cancel",
        "jobs: [{ name: a, shell: 'NOTE own=\"$RR_PARAM_DIR/$RR_RUN\"; trap \"date +%s%N > $own.term\" TERM; \
         (trap \"\" TERM; exec sleep 611) & echo there > \"$own\"; while :; do wait; done', \
         hosts: h1, grace: 1s }]",
        &[RunStatus::Cancelled],
    ),
];

/// Runs of both kinds end, and soon after they are told to nothing of them is left.
async fn stubborn(mut cue: Cue, kinds: &'static [Kind; 2]) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(1) {
        for kind in kinds {
            let id = format!("{}{}", kind.name, stage.report.faults);
            let run = stage.publish(&id, kind).await;
            eventually(&id, END, async || if stage.mesh.read(&id).is_empty() { Err("not there") } else { Ok(()) })
                .await;
            stage.report.demand(!left_of(&stage).is_empty(), || format!("nothing of {id} runs"));
            if kind.ends == [RunStatus::Cancelled] {
                let _cancelled = stage.mesh.rr(["cancel", &id]).run().await;
            }
            eventually("end of everything that was started", END, async || match left_of(&stage) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            })
            .await;
            let gone = Timestamp::now();
            let told = stage.mesh.read(&format!("{id}.term"));
            let told = told.trim().parse().ok().and_then(|at| Timestamp::from_nanosecond(at).ok());
            match told {
                Some(told) => {
                    let took = Duration::try_from(gone.duration_since(told)).unwrap_or_default();
                    stage.took(took, format!("{id} was gone {took:.1?} after it was told to end"));
                }
                None => stage.report.violations.push(format!("{id} was never told to end")),
            }
            let _view = stage.mesh.ended(&run, END).await;
            stage.report.faults += 1;
        }
    }
    stage.finish().await
}

/// What lives of such an attempt.
fn left_of(stage: &Stage) -> Vec<Found> {
    stage.mesh.processes().into_iter().filter(|found| found.command.contains(LEFT)).collect()
}

async fn name_twice(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(2) {
        stage.has_asked(3).await;
        // Once with the ledger of the first one, as on one machine, and once without it, as on another.
        let elsewhere = stage.mesh.path("elsewhere").to_string_lossy().into_owned();
        let worker = ["worker", "--name", "w1", "--hosts", "h[1-3]", "--queues", "default"];
        let mut call = stage.mesh.rr(worker);
        if stage.report.faults % 2 == 1 {
            call = call.env("XDG_STATE_HOME", elsewhere);
        }
        let told = call.run().await;
        stage.report.faults += 1;
        stage.report.demand(told.status.code() == Some(73), || format!("a second w1: {told}"));
    }
    stage.finish().await
}
