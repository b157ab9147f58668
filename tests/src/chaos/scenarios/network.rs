//! Networks that break: for a moment or for long, in one direction or both, with a word or without one, and slow ones.

use std::time::Duration;

use rr_schemas::decision::RunStatus;
use tokio::time::sleep;

use crate::chaos::flows::{Kind, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Role, Stage};
use crate::mesh::Timing;
use crate::procfs;
use crate::proxy::{Proxy, Way};
use crate::wait::eventually;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "link-cut",
        rows: &[13],
        what: "a worker or a coordinator is cut off for 4 to 8 s, with a reset or in silence",
        bound: Duration::from_secs(15),
        why: "as for one that dies; what ended meanwhile is reported when the link is back",
        play: |cue| Box::pin(broken(cue, &[Proxy::cut, Proxy::silence_both])),
    },
    Scenario {
        name: "link-one-way",
        rows: &[14],
        what: "nothing comes through in one direction, for 4 to 8 s, between a worker or a coordinator and the server",
        bound: Duration::from_secs(15),
        why: "as for one that is cut off in silence",
        play: |cue| {
            Box::pin(broken(cue, &[|proxy| proxy.silence(Way::ToServer), |proxy| proxy.silence(Way::FromServer)]))
        },
    },
    Scenario {
        name: "link-slow",
        rows: &[22],
        what: "every link is slow, each another time (up to 400 ms each way), so what ends together is told in any order",
        bound: Duration::from_secs(10),
        why: "a decision is some round trips of 800 ms each",
        play: |cue| Box::pin(slow(cue)),
    },
    Scenario {
        name: "acks-lost",
        rows: &[39],
        what: "coordinators store decisions and hear nothing of it: silence towards them for up to 800 ms, then a reset",
        bound: Duration::from_secs(15),
        why: "what is not confirmed is read back; the partition may go to the other one",
        play: |cue| Box::pin(acks_lost(cue)),
    },
    Scenario {
        name: "hint-lost",
        rows: &[41],
        what: "a worker does not hear that what it runs is cancelled",
        bound: Duration::from_secs(15),
        why: "its run ends without it; the worker is told again when its link is back",
        play: |cue| Box::pin(hint_lost(cue)),
    },
];

async fn broken(mut cue: Cue, ways: &[fn(&Proxy)]) -> Report {
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(ways.len()) {
        stage.has_asked(3).await;
        let victim = cue.dice.number(0..stage.parts.len());
        let way = ways.get(stage.report.faults % ways.len()).expect("a way");
        way(stage.network(victim));
        sleep(cue.dice.pause(4_000..8_000)).await;
        stage.network(victim).heal();
        stage.report.faults += 1;
    }
    stage.has_asked(3).await;
    stage.finish().await
}

async fn slow(mut cue: Cue) -> Report {
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(15) {
        for part in &stage.parts {
            if let Some(proxy) = &part.proxy {
                proxy.delay(cue.dice.pause(0..400));
            }
        }
        stage.report.faults += 1;
        sleep(Duration::from_millis(500)).await;
    }
    for part in &stage.parts {
        if let Some(proxy) = &part.proxy {
            proxy.heal();
        }
    }
    stage.finish().await
}

async fn acks_lost(mut cue: Cue) -> Report {
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(8) {
        stage.has_asked(1).await;
        let victim = *cue.dice.one_of(&stage.coordinators());
        stage.network(victim).silence(Way::FromServer);
        sleep(cue.dice.pause(50..800)).await;
        stage.network(victim).cut();
        stage.network(victim).heal();
        stage.report.faults += 1;
    }
    stage.has_asked(2).await;
    stage.finish().await
}

/// An attempt that notes its process and lasts.
const LASTS: Kind = kind(
    "lasts",
    "jobs: [{ name: a, shell: 'NOTE echo $$ > \"$RR_PARAM_DIR/$RR_RUN.pid\"; exec sleep 600', hosts: h1, grace: 1s }]",
    &[RunStatus::Cancelled],
);

async fn hint_lost(mut cue: Cue) -> Report {
    const KIND: &Kind = &LASTS;
    let roles = [Role::Coordinator, Role::Worker("w1", "h[1-3]"), Role::Worker("w2", "h[4-9]")];
    let mut stage = Stage::networked(Timing::ShortPatient, &roles).await;
    stage.load(&mut cue);
    while cue.again(2) {
        let id = format!("lasts{}", stage.report.faults);
        let run = stage.publish(&id, KIND).await;
        let file = format!("{id}.pid");
        let pid: u32 = eventually("a process", END, async || stage.mesh.read(&file).trim().parse()).await;
        stage.network(1).silence(Way::FromServer);
        let _cancelled = stage.mesh.rr(["cancel", &id]).run().await;
        let view = stage.mesh.ended(&run, END).await;
        assert_eq!(view.status, RunStatus::Cancelled, "{id}");
        stage.network(1).heal();
        let soon = Duration::from_secs(30);
        eventually(
            "end of what was cancelled",
            soon,
            async || if procfs::is_alive(pid) { Err("it runs") } else { Ok(()) },
        )
        .await;
        stage.report.faults += 1;
    }
    stage.finish().await
}
