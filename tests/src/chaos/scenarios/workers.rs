//! Workers that die in the middle, come back at once or later, and sleep.

use std::time::Duration;

use tokio::time::sleep;

use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{EVERYBODY, Stage};
use crate::mesh::Timing;

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
        play: |cue| Box::pin(paused(cue)),
    },
];

async fn killed(mut cue: Cue, away: std::ops::Range<u64>) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(2) {
        stage.has_asked(3).await;
        let victim = *cue.dice.one_of(&stage.workers());
        sleep(cue.dice.pause(0..500)).await;
        stage.kill(victim).await;
        sleep(cue.dice.pause(away.clone())).await;
        stage.revive(victim);
    }
    stage.has_asked(3).await;
    stage.finish().await
}

async fn paused(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(3).await;
        let victim = *cue.dice.one_of(&stage.workers());
        sleep(cue.dice.pause(0..500)).await;
        stage.part(victim).process.pause();
        sleep(cue.dice.pause(5_000..8_000)).await;
        stage.part(victim).process.go_on();
        stage.report.faults += 1;
    }
    stage.has_asked(3).await;
    stage.finish().await
}
