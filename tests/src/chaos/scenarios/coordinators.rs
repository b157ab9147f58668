//! Coordinators that die, all of them too, and such that sleep and wake up with old plans.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{EVERYBODY, Losses, Stage};
use crate::mesh::Timing;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "coordinator-killed",
        rows: &[1],
        what: "`kill -9` of one of two coordinators, at any moment",
        bound: Duration::from_secs(15),
        why: "its pins run out (1 s), what it held comes again (1 s), and each deals with what has come together",
        play: |cue| Box::pin(killed(cue)),
    },
    Scenario {
        name: "coordinators-gone",
        rows: &[2],
        what: "`kill -9` of every coordinator; none for 10 s",
        bound: Duration::from_secs(5),
        why: "counted from the start of the first new one: it comes up, takes the partitions and what has come together",
        play: |cue| Box::pin(all_gone(cue)),
    },
    Scenario {
        name: "coordinator-paused",
        rows: &[3, 23],
        what: "a coordinator sleeps for 5 to 8 s, longer than pins and acknowledgements last, and wakes up",
        bound: Duration::from_secs(15),
        why: "as for one that dies; then the sleeper's plans are refused, and it loads what it had anew",
        play: |cue| Box::pin(paused(cue)),
    },
];

async fn killed(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Never;
    stage.load(&mut cue);
    stage.has_asked(2).await;
    while cue.again(3) {
        let victim = *cue.dice.one_of(&stage.coordinators());
        sleep(cue.dice.pause(0..1_500)).await;
        stage.kill(victim).await;
        sleep(cue.dice.pause(0..3_000)).await;
        stage.revive(victim);
        stage.has_asked(2).await;
    }
    stage.finish().await
}

async fn all_gone(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Never;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(6).await;
        let since = Timestamp::now();
        for victim in stage.coordinators() {
            stage.kill(victim).await;
        }
        sleep(Duration::from_secs(10)).await;
        for victim in stage.coordinators() {
            stage.revive(victim);
        }
        stage.was_out(since);
        stage.has_asked(6).await;
    }
    stage.finish().await
}

async fn paused(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Never;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(3).await;
        let victim = *cue.dice.one_of(&stage.coordinators());
        sleep(cue.dice.pause(0..500)).await;
        let since = Timestamp::now();
        stage.part(victim).process.pause();
        sleep(cue.dice.pause(5_000..8_000)).await;
        stage.part(victim).process.go_on();
        stage.struck_some(since);
        stage.has_asked(3).await;
    }
    stage.finish().await
}
