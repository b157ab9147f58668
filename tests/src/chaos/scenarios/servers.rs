//! The one server dies, and comes back as it was.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{EVERYBODY, Losses, Stage};
use crate::mesh::Timing;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "server-restarted",
    rows: &[11],
    what: "`kill -9` of the one server, which comes back within 2 s",
    bound: Duration::from_secs(5),
    why: "counted through: the server is away for up to 2 s, everybody connects again, and what was held comes again (1 s)",
    play: |cue| Box::pin(restarted(cue)),
}];

async fn restarted(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Undelivered;
    stage.load(&mut cue);
    while cue.again(3) {
        stage.has_asked(3).await;
        sleep(cue.dice.pause(0..500)).await;
        let since = Timestamp::now();
        stage.mesh.server().kill().await.expect("the death of the server");
        sleep(cue.dice.pause(0..1_500)).await;
        stage.mesh.server().restart().await.expect("a server");
        stage.struck(since);
    }
    stage.has_asked(3).await;
    stage.finish().await
}
