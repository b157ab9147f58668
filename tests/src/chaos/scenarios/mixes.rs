//! Everything at once, in any order.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{EVERYBODY, Stage};
use crate::mesh::Timing;
use crate::proxy::{Proxy, Way};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "everything",
    rows: &[],
    what: "coordinators and workers are killed, stopped, paused and cut off, the server is killed, consumers are deleted: \
           all of it at random",
    bound: Duration::from_secs(25),
    why: "one fault falls into the time that another one takes to be over",
    play: |cue| Box::pin(everything(cue)),
}];

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Stop,
    Pause,
    Break(fn(&Proxy)),
    Server,
    Durable(&'static str, &'static str),
}

const FAULTS: [Fault; 12] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Stop,
    Fault::Pause,
    Fault::Break(Proxy::cut),
    Fault::Break(Proxy::silence_both),
    Fault::Break(|proxy| proxy.silence(Way::ToServer)),
    Fault::Break(|proxy| proxy.silence(Way::FromServer)),
    Fault::Server,
    Fault::Durable("RR_EVENTS", "p0"),
    Fault::Durable("RR_TIMERS", "timers"),
    Fault::Durable("RR_WORK", "w-w1"),
];

async fn everything(mut cue: Cue) -> Report {
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    for place in stage.coordinators() {
        stage.part(place).process.has_written("the mesh is looked after", Duration::from_secs(30)).await;
    }
    stage.load(&mut cue);
    while cue.again(6) {
        stage.has_asked(1).await;
        let fault = *cue.dice.one_of(&FAULTS);
        let victim = cue.dice.number(0..stage.parts.len());
        let pause = cue.dice.pause(0..6_000);
        let since = Timestamp::now();
        match fault {
            Fault::Kill => {
                stage.kill(victim).await;
                sleep(pause / 2).await;
                stage.revive(victim);
                continue;
            }
            Fault::Stop => stage.restart(victim).await,
            Fault::Pause => {
                stage.part(victim).process.pause();
                sleep(pause).await;
                stage.part(victim).process.go_on();
            }
            Fault::Break(way) => {
                way(stage.network(victim));
                sleep(pause).await;
                stage.network(victim).heal();
            }
            Fault::Server => {
                stage.mesh.server().kill().await.expect("the death of the server");
                sleep(pause / 4).await;
                stage.mesh.server().restart().await.expect("a server");
            }
            Fault::Durable(stream, name) => {
                let answer = stage.operator().try_call(&format!("CONSUMER.DELETE.{stream}.{name}"), &().into()).await;
                // It may be gone from the last time: then nothing was done.
                if answer.get("error").is_some() {
                    continue;
                }
            }
        }
        stage.struck(since);
    }
    stage.has_asked(3).await;
    stage.finish().await
}
