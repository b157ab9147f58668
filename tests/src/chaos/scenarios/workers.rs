//! Workers that die in the middle, come back at once or later, and sleep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::id::RunId;
use rr_schemas::report::Outcome;
use tokio::time::{Instant, sleep};

use super::{Attempt, lost_of, running_on};
use crate::chaos::flows::{Kind, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Role, Stage};
use crate::mesh::Timing;
use crate::procfs::Found;
use crate::verdict::Verdict;
use crate::wait::eventually;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "worker-killed",
        rows: &[4],
        what: "`kill -9` of a worker in the middle of its attempts, of which nothing is left within 5 s; it comes back when all of it is called lost, after 4 to 6 s at least",
        bound: Duration::from_secs(7),
        why: "from its death to the last word that something is lost: a lease (2 s) and 5 s; presence runs out in 3 s, and the lease that is looked after before it in 2 s",
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
        rows: &[5, 21],
        what: "a worker sleeps until what it runs is called lost, and wakes up: it ends what it ran, and says so too late",
        bound: Duration::from_secs(7),
        why: "as for one that dies: from its falling asleep to the last word that something is lost; then 5 s from its awakening to the end of what it ran",
        play: |cue| Box::pin(paused(cue)),
    },
];

/// Attempts that last until somebody says so, with a child that lasts longer. Each notes its processes, and whether the
/// one before it still runs.
const LASTS: Kind = kind(
    "lasts",
    "jobs: [{ name: a, shell: 'NOTE own=\"$RR_PARAM_DIR/$RR_RUN.$RR_TASK\"; before=\"$own.$((RR_ATTEMPT - 1))\"; \
     [ -e \"$before\" ] && for one in $(cat \"$before\"); do grep -qas \"RR_RUN=$RR_RUN\" /proc/$one/environ && \
     echo \"$RR_RUN $RR_TASK $RR_ATTEMPT\" >> \"$RR_PARAM_DIR/overlaps\"; done; \
     sleep 600 & echo \"$$ $!\" > \"$own.$RR_ATTEMPT\"; \
     until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.1; done; kill $!', hosts: 'h[1-9]' }]",
    &[RunStatus::Succeeded],
);

/// Attempts of such a run.
const ATTEMPTS: usize = 9;

/// In which time nothing is left of what a worker ran that was killed, or that was told to end it.
const GONE: Duration = Duration::from_secs(5);

/// The processes that these attempts have noted.
fn processes_of(stage: &Stage, run: &RunId, attempts: &BTreeSet<Attempt>) -> BTreeSet<u32> {
    let noted = attempts.iter().map(|(task, attempt)| stage.mesh.read(&format!("{run}.{task}.{attempt}")));
    let noted: Vec<String> = noted.collect();
    noted.iter().flat_map(|pids| pids.split_whitespace()).map(|pid| pid.parse().expect("a process")).collect()
}

/// Those of them that live.
fn alive(stage: &Stage, pids: &BTreeSet<u32>) -> Vec<Found> {
    stage.mesh.processes().into_iter().filter(|found| pids.contains(&found.pid)).collect()
}

/// Waits until none of them lives.
async fn are_gone(stage: &Stage, what: &str, pids: &BTreeSet<u32>) {
    eventually(what, GONE, async || {
        let left = alive(stage, pids);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// A worker that runs something of a run.
struct Victim {
    place: usize,
    name: &'static str,
    run: RunId,
    attempts: BTreeSet<Attempt>,
    pids: BTreeSet<u32>,
}

/// Waits until the history says that all of this is lost, and tells when the last of it was called so.
async fn lost_by(stage: &Stage, run: &RunId, attempts: &BTreeSet<Attempt>) -> Timestamp {
    eventually("loss of what a worker ran that is away", END, async || {
        let verdict = Verdict::read(&stage.handle, run, &BTreeSet::new()).await.map_err(|error| error.to_string())?;
        let mut lost = BTreeMap::new();
        for (stored, at) in verdict.decisions.iter().zip(&verdict.at) {
            for record in &stored.decision.events {
                if let Event::Ended { task, attempt, end, .. } = &record.event
                    && end.outcome == Outcome::Lost
                {
                    lost.insert((*task, *attempt), *at);
                }
            }
        }
        let by: Option<Vec<Timestamp>> = attempts.iter().map(|attempt| lost.get(attempt).copied()).collect();
        by.and_then(|by| by.into_iter().max()).ok_or_else(|| format!("of {attempts:?} of {run}: {lost:?}"))
    })
    .await
}

/// Starts a run on all hosts, and chooses one of those who run it.
async fn victim(stage: &mut Stage, cue: &mut Cue) -> Victim {
    const KIND: &Kind = &LASTS;
    let run = stage.publish(&format!("lasts{}", stage.report.faults), KIND).await;
    let place = *cue.dice.one_of(&stage.workers());
    let Role::Worker(name, _) = stage.part(place).role else { unreachable!("a worker") };
    let attempts = running_on(stage, &run, ATTEMPTS, name).await;
    stage.report.demand(!attempts.is_empty(), || format!("nothing of {run} runs on {name}"));
    let pids = eventually("processes of all attempts", END, async || {
        let pids = processes_of(stage, &run, &attempts);
        let n = alive(stage, &pids).len();
        if n == 2 * attempts.len() { Ok(pids) } else { Err(format!("{n} of {attempts:?} of {run} on {name}")) }
    })
    .await;
    Victim { place, name, run, attempts, pids }
}

async fn killed(mut cue: Cue, away: std::ops::Range<u64>) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let mut struck = Vec::new();
    while cue.again(2) {
        stage.has_asked(2).await;
        let victim = victim(&mut stage, &mut cue).await;
        sleep(cue.dice.pause(0..500)).await;
        let since = Timestamp::now();
        stage.kill(victim.place).await;
        let (killed, pause) = (Instant::now(), cue.dice.pause(away.clone()));
        // As long as it is away, nobody but its guard can see to that, and nobody but the coordinators that it is lost.
        if away.start > 0 {
            are_gone(&stage, "death of what a dead worker ran", &victim.pids).await;
            let lost = lost_by(&stage, &victim.run, &victim.attempts).await;
            let took = Duration::try_from(lost.duration_since(since)).unwrap_or_default();
            stage.took(took, format!("what {} ran of {} was lost {took:.1?} after its death", victim.name, victim.run));
        }
        sleep(pause.saturating_sub(killed.elapsed())).await;
        stage.revive(victim.place);
        are_gone(&stage, "death of what a worker ran that has come back", &victim.pids).await;
        stage.mesh.write(&format!("{}.enough", victim.run), "");
        struck.push(victim);
    }
    stage.has_asked(3).await;
    for Victim { name, run, attempts, .. } in struck {
        let _view = stage.mesh.ended(&run, END).await;
        let lost = lost_of(&stage, &run).await;
        let are_lost = attempts.is_subset(&lost);
        stage
            .report
            .demand(are_lost, || format!("{name} had {attempts:?} of {run} when it was killed; lost: {lost:?}"));
    }
    nothing_overlaps(&mut stage);
    stage.finish().await
}

/// Nothing ran beside what was run in its place.
fn nothing_overlaps(stage: &mut Stage) {
    let overlaps = stage.mesh.read("overlaps");
    stage.report.demand(overlaps.is_empty(), || format!("what was lost still ran when it was run again: {overlaps}"));
}

/// A worker sleeps until what it runs is lost, and a little longer. What it runs does not sleep.
async fn paused(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(3).await;
        let Victim { place, name, run, attempts, pids } = victim(&mut stage, &mut cue).await;
        sleep(cue.dice.pause(0..500)).await;
        let since = Timestamp::now();
        stage.part(place).process.pause();
        let lost = lost_by(&stage, &run, &attempts).await;
        let took = Duration::try_from(lost.duration_since(since)).unwrap_or_default();
        stage.took(took, format!("what {name} ran of {run} was lost {took:.1?} after it fell asleep"));
        sleep(cue.dice.pause(0..2_000)).await;
        let n = alive(&stage, &pids).len();
        stage.report.demand(n == pids.len(), || format!("{n} of {pids:?} live beside {name}, which sleeps"));
        stage.part(place).process.go_on();
        let awake = Instant::now();
        stage.struck_some(since);
        are_gone(&stage, "death of what was lost, and runs on a worker that has woken up", &pids).await;
        let took = awake.elapsed();
        stage.took(took, format!("what {name} ran of {run} was gone {took:.1?} after it woke up"));
        eventually("late word of what was lost", END, async || {
            let events = stage.events_of(&run).await;
            let is_late = |(task, attempt): &Attempt| {
                events.iter().any(|event| {
                    matches!(event, Event::Late { task: of, attempt: n, by, .. }
                        if (of, n) == (task, attempt) && by.worker.as_str() == name)
                })
            };
            if attempts.iter().all(is_late) { Ok(()) } else { Err(format!("of {attempts:?}: {events:#?}")) }
        })
        .await;
        stage.mesh.write(&format!("{run}.enough"), "");
        stage.has_asked(3).await;
    }
    stage.finish().await
}
