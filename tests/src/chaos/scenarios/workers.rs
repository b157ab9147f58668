//! Workers that die in the middle, come back at once or later, and sleep.

use std::collections::BTreeSet;
use std::time::Duration;

use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::report::Outcome;
use tokio::time::sleep;

use super::somebody_sleeps;
use crate::chaos::flows::{Kind, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Stage};
use crate::mesh::Timing;
use crate::verdict::Verdict;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "worker-killed",
        rows: &[4],
        what: "`kill -9` of a worker in the middle of its attempts; it comes back after 4 to 6 s",
        bound: Duration::from_secs(15),
        why: "presence runs out (3 s), leases are looked after (2 s), and everybody is given time to show up (3 s)",
        play: |cue| Box::pin(killed(cue, 4_000..6_000)),
    },
    Scenario {
        name: "worker-restarted",
        rows: &[6],
        what: "`kill -9` of a worker in the middle of its attempts; it comes back at once",
        bound: Duration::from_secs(15),
        why: "as for one that stays away; here its ledger says what is lost",
        play: |cue| Box::pin(killed(cue, 0..200)),
    },
    Scenario {
        name: "worker-paused",
        rows: &[5, 21, 23],
        what: "a worker sleeps for 5 to 8 s, longer than its leases and its presence last, and wakes up",
        bound: Duration::from_secs(15),
        why: "as for one that dies",
        play: |cue| Box::pin(somebody_sleeps(cue, Stage::workers)),
    },
];

/// An attempt that lasts, and notes when the one before it still runs.
const LASTS: Kind = kind(
    "lasts",
    "jobs: [{ name: a, shell: 'NOTE own=\"$RR_PARAM_DIR/$RR_RUN.$RR_TASK\"; \
     [ -e \"$own\" ] && grep -qa sleep /proc/$(cat \"$own\")/cmdline && echo \"$RR_RUN $RR_TASK $RR_ATTEMPT\" >> \"$RR_PARAM_DIR/overlaps\"; \
     echo $$ > \"$own\"; sleep 2', hosts: 'h[1-9]' }]",
    &[RunStatus::Succeeded],
);

async fn killed(mut cue: Cue, away: std::ops::Range<u64>) -> Report {
    const KIND: &Kind = &LASTS;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let mut struck = Vec::new();
    while cue.again(2) {
        stage.has_asked(2).await;
        let run = stage.publish(&format!("lasts{}", stage.report.faults), KIND).await;
        let victim = *cue.dice.one_of(&stage.workers());
        // In the middle of what lasts.
        sleep(cue.dice.pause(500..1_500)).await;
        stage.kill(victim).await;
        sleep(cue.dice.pause(away.clone())).await;
        stage.revive(victim);
        struck.push(run);
    }
    stage.has_asked(3).await;
    let mut n_lost = 0;
    for run in struck {
        let _view = stage.mesh.ended(&run, END).await;
        let verdict = Verdict::read(&stage.handle, &run, &BTreeSet::new()).await.expect("a history");
        let is_lost = |event: &Event| matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Lost);
        n_lost += verdict.events().filter(|event| is_lost(event)).count();
    }
    stage.report.demand(n_lost > 0, || "no worker was killed in the middle of an attempt".to_owned());
    let overlaps = stage.mesh.read("overlaps");
    stage.report.demand(overlaps.is_empty(), || format!("what was lost still ran when it was run again: {overlaps}"));
    stage.finish().await
}
