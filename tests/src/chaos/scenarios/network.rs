//! Networks that break: for a moment or for long, in one direction or both, with a word or without one, and slow ones.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::id::RunId;
use rr_schemas::input::Input;
use rr_schemas::report::{Outcome, What};
use tokio::time::sleep;

use super::{Attempt, running_on};
use crate::chaos::flows::{Kind, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Role, Stage};
use crate::mesh::Timing;
use crate::procfs;
use crate::proxy::{Proxy, Way};
use crate::verdict::Verdict;
use crate::wait::eventually;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "link-cut",
        rows: &[13],
        what: "a worker, then a coordinator, is cut off for 4 to 8 s, with a reset or in silence; what the worker runs ends meanwhile, and is told",
        bound: Duration::from_secs(15),
        why: "as for one that dies; what ended meanwhile is reported when the link is back",
        play: |cue| Box::pin(broken(cue, &CUTS)),
    },
    Scenario {
        name: "link-one-way",
        rows: &[14],
        what: "nothing comes through in one direction, for 4 to 8 s, between a worker, then a coordinator, and the server, and then on new connections only; what the worker runs ends meanwhile, and is told",
        bound: Duration::from_secs(15),
        why: "as for one that is cut off in silence",
        play: |cue| Box::pin(broken(cue, &ONE_WAY)),
    },
    Scenario {
        name: "link-slow",
        rows: &[22],
        what: "every link is slow, each another time (up to 400 ms each way), so what ends together is told in another order",
        bound: Duration::from_secs(10),
        why: "a decision is some round trips of 800 ms each",
        play: |cue| Box::pin(slow(cue)),
    },
    Scenario {
        name: "acks-lost",
        rows: &[39],
        what: "coordinators store decisions and hear nothing of it: silence towards them from the moment one is sent, for up to 800 ms, then a reset",
        bound: Duration::from_secs(15),
        why: "what is not confirmed is read back; the partition may go to the other one",
        play: |cue| Box::pin(acks_lost(cue)),
    },
    Scenario {
        name: "hint-lost",
        rows: &[],
        what: "a worker does not hear that what it runs is cancelled",
        bound: Duration::from_secs(15),
        why: "its run ends without it; the worker is told again when its link is back",
        play: |cue| Box::pin(hint_lost(cue)),
    },
];

/// Attempts that last until somebody says so, and note that they have ended.
const ENDS: Kind = kind(
    "ends",
    "jobs: [{ name: a, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.1; done; \
     echo \"$RR_TASK $RR_ATTEMPT\" >> \"$RR_PARAM_DIR/$RR_RUN.ended\"', hosts: 'h[1-9]' }]",
    &[RunStatus::Succeeded],
);

/// How a link breaks, and how it is mended.
#[derive(Clone, Copy)]
struct Break {
    begin: fn(&Proxy),
    end: fn(&Proxy),
    /// Whether connections from before stay as they are: whoever has one must find out by himself, and make another.
    is_for_ever: bool,
}

const CUTS: [Break; 2] = [
    Break { begin: Proxy::cut, end: Proxy::heal, is_for_ever: false },
    Break { begin: Proxy::silence_both, end: Proxy::heal, is_for_ever: false },
];

const ONE_WAY: [Break; 4] = [
    Break { begin: |proxy| proxy.silence(Way::ToServer), end: Proxy::heal, is_for_ever: false },
    Break { begin: |proxy| proxy.silence(Way::FromServer), end: Proxy::heal, is_for_ever: false },
    Break {
        begin: |proxy| proxy.silence(Way::ToServer),
        end: |proxy| half_open(proxy, Way::ToServer),
        is_for_ever: true,
    },
    Break {
        begin: |proxy| proxy.silence(Way::FromServer),
        end: |proxy| half_open(proxy, Way::FromServer),
        is_for_ever: true,
    },
];

/// In which time a process finds out that its connection is silent for ever, and makes another: two or three pings, 3 s apart, and a
/// try that falls into the silence.
const NOTICED: Duration = Duration::from_secs(30);

/// In which time a coordinator that has anything under way decides something.
const DECIDES: Duration = Duration::from_secs(3);

fn half_open(proxy: &Proxy, way: Way) {
    proxy.forget_one(way);
    proxy.heal();
}

/// Each way meets a worker and a coordinator in turn; what a worker runs ends while nobody can hear of it.
async fn broken(mut cue: Cue, ways: &[Break]) -> Report {
    const KIND: &Kind = &ENDS;
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(2 * ways.len()) {
        stage.has_asked(3).await;
        let n = stage.report.faults;
        let Break { begin, end, is_for_ever } = *ways.get(n % ways.len()).expect("a way");
        let is_worker = (n / ways.len()).is_multiple_of(2);
        let places = if is_worker { stage.workers() } else { stage.coordinators() };
        let victim = *cue.dice.one_of(&places);
        let under_way = match stage.part(victim).role {
            Role::Coordinator => None,
            Role::Worker(name, _) => {
                let run = stage.publish(&format!("ends{n}"), KIND).await;
                let attempts = running_on(&stage, &run, 9, name).await;
                stage.report.demand(!attempts.is_empty(), || format!("nothing of {run} runs on {name}"));
                Some((run, name, attempts))
            }
        };
        let (since, held) = (Timestamp::now(), stage.network(victim).held());
        begin(stage.network(victim));
        if let Some((run, _, attempts)) = &under_way {
            end_all(&stage, run, attempts).await;
        }
        sleep(cue.dice.pause(4_000..8_000)).await;
        end(stage.network(victim));
        stage.struck_some(since);
        let held = stage.network(victim).held() - held;
        stage.report.demand(held > 0, || format!("fault {n} held nothing up"));
        if is_for_ever {
            connects_again(&stage, victim).await;
        }
        if let Some((run, name, attempts)) = &under_way {
            is_told(&stage, run, name, attempts).await;
        }
    }
    stage.has_asked(3).await;
    stage.finish().await
}

/// Waits until a process has made another connection.
async fn connects_again(stage: &Stage, place: usize) {
    let before = stage.network(place).connections();
    eventually("another connection in place of one that is silent for ever", NOTICED, async || {
        if stage.network(place).connections() > before { Ok(()) } else { Err(format!("process {place} has {before}")) }
    })
    .await;
}

/// Lets these attempts of a run end, and waits until they have.
async fn end_all(stage: &Stage, run: &RunId, attempts: &BTreeSet<Attempt>) {
    stage.mesh.write(&format!("{run}.enough"), "");
    eventually("end of what runs behind a broken link", END, async || {
        let ended = stage.mesh.read(&format!("{run}.ended"));
        let has_ended = |(task, attempt): &Attempt| ended.lines().any(|line| line == format!("{task} {attempt}"));
        if attempts.iter().all(has_ended) { Ok(()) } else { Err(format!("of {attempts:?}: {ended}")) }
    })
    .await;
}

/// The attempt that has ended well on this worker by this event, whether or not that counts.
fn ended_well_on(event: &Event, worker: &str) -> Option<Attempt> {
    let (task, attempt, by, outcome) = if let Event::Ended { task, attempt, by: Some(by), end, .. } = event {
        (task, attempt, by, end.outcome)
    } else if let Event::Late { task, attempt, by, outcome: Some(outcome) } = event {
        (task, attempt, by, *outcome)
    } else {
        return None;
    };
    (outcome == Outcome::Ok && by.worker.as_str() == worker).then_some((*task, *attempt))
}

/// Waits until the history says of all these attempts that they ended well there: they count, or came too late for that.
async fn is_told(stage: &Stage, run: &RunId, worker: &str, attempts: &BTreeSet<Attempt>) {
    eventually("end of what ended behind a broken link", END, async || {
        let events = stage.events_of(run).await;
        let told: BTreeSet<Attempt> = events.iter().filter_map(|event| ended_well_on(event, worker)).collect();
        let missing: Vec<_> = attempts.difference(&told).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of {run} on {worker}: {events:#?}")) }
    })
    .await;
}

async fn slow(mut cue: Cue) -> Report {
    const KIND: &Kind = &ENDS;
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let run = stage.publish("ends", KIND).await;
    let _running = running_on(&stage, &run, 9, "").await;
    let mut n = 0;
    while cue.again(15) {
        // All of it ends at nearly the same time, behind links that are slow already.
        if n == 3 {
            stage.mesh.write(&format!("{run}.enough"), "");
        }
        n += 1;
        let since = Timestamp::now();
        for part in &stage.parts {
            if let Some(proxy) = &part.proxy {
                proxy.delay(cue.dice.pause(0..400));
            }
        }
        sleep(Duration::from_millis(500)).await;
        stage.struck(since);
    }
    for part in &stage.parts {
        if let Some(proxy) = &part.proxy {
            proxy.heal();
        }
    }
    let _view = stage.mesh.ended(&run, END).await;
    let (ended, told) = (ends_of(&stage, &run), told_of(&stage, &run).await);
    let is_all = ended.iter().collect::<BTreeSet<_>>() == told.iter().collect();
    stage.report.demand(is_all && ended != told, || {
        format!("of {run} ended {ended:?}, and was told {told:?}: the same in another order was expected")
    });
    stage.finish().await
}

/// What has ended of a run, in order, by its own word.
fn ends_of(stage: &Stage, run: &RunId) -> Vec<Attempt> {
    let ended = stage.mesh.read(&format!("{run}.ended"));
    let read = |line: &str| {
        let (task, attempt) = line.split_once(' ')?;
        task.parse().ok().zip(attempt.parse().ok())
    };
    ended.lines().filter_map(read).collect()
}

/// What is told to have ended of a run, in the order in which that was stored.
async fn told_of(stage: &Stage, run: &RunId) -> Vec<Attempt> {
    let verdict = Verdict::read(&stage.handle, run, &BTreeSet::new()).await.expect("a history");
    let mut told = Vec::new();
    for said in &verdict.inputs {
        if let Input::Report(report) = &said.input
            && matches!(report.what, What::Ended(_))
            && !told.contains(&(report.task, report.attempt))
        {
            told.push((report.task, report.attempt));
        }
    }
    told
}

async fn acks_lost(mut cue: Cue) -> Report {
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let mut silent = Vec::new();
    while cue.again(8) {
        stage.has_asked(1).await;
        let victim = *cue.dice.one_of(&stage.coordinators());
        let since = Timestamp::now();
        // One that is refused would do as well, and is not stored; nor is what a cut meets on its way.
        stage.network(victim).silence_after("PUB rr.ev.");
        // The other one may have all that is under way.
        if stage.network(victim).falls_silent(DECIDES).await {
            sleep(cue.dice.pause(50..800)).await;
            stage.network(victim).cut();
            silent.push((victim, since, Timestamp::now()));
            stage.struck(since);
        }
        stage.network(victim).heal();
    }
    stage.has_asked(2).await;
    let unheard = stage.decisions_of(&silent).await;
    let n = silent.len();
    stage.report.demand(n > 0 && unheard * 2 >= n, || format!("{unheard} decisions were stored in {n} silences"));
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
        let (since, held) = (Timestamp::now(), stage.network(1).held());
        stage.network(1).silence(Way::FromServer);
        let _cancelled = stage.mesh.rr(["cancel", &id]).run().await;
        let view = stage.mesh.ended(&run, END).await;
        assert_eq!(view.status, RunStatus::Cancelled, "{id}");
        stage.report.demand(procfs::is_alive(pid), || format!("what {id} runs has ended before its worker was told"));
        stage.network(1).heal();
        stage.struck_some(since);
        let held = stage.network(1).held() - held;
        stage.report.demand(held > 0, || format!("nothing was held up while {id} was cancelled"));
        let soon = Duration::from_secs(30);
        eventually(
            "end of what was cancelled",
            soon,
            async || if procfs::is_alive(pid) { Err("it runs") } else { Ok(()) },
        )
        .await;
    }
    stage.finish().await
}
