//! A cluster of three servers, of which some die, sleep, or are cut off from the others.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{ConnectOptions, First, Mesh, PublishError, connect};
use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::id::{EntityId, RunId};
use rr_schemas::input::{Input, Signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::chaos::flows::{Kind, kind};
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{EVERYBODY, Losses, Part, Role, Stage};
use crate::cluster::{SERVERS, Servers};
use crate::mesh::{TestMesh, Timing};
use crate::wait::eventually;

/// What a server may lead, and what its death therefore may stop.
const LED: [(&str, Option<&str>); 5] = [
    ("RR_EVENTS", None),
    ("RR_EVENTS", Some("p0")),
    ("RR_WORK", None),
    ("RR_WORK", Some("w-w1")),
    ("KV_rr-runs", None),
];

/// How long anything may take that is not itself measured.
const END: Duration = Duration::from_mins(2);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "leader-killed",
        rows: &[7],
        what: "`kill -9` of the server that leads the log, a partition, the offers, a worker's offers, the states, one after the other; it comes back",
        bound: Duration::from_secs(15),
        why: "the servers' elections (4 to 9 s each, beside each other), and what was delivered and is not acknowledged comes again (4 s)",
        play: |cue| Box::pin(leader(cue, Way::Killed)),
    },
    Scenario {
        name: "leader-paused",
        rows: &[8],
        what: "the same server sleeps for 15 s, and wakes up",
        bound: Duration::from_secs(25),
        why: "whoever is connected to it notices its silence after 6 to 9 s; others wait 5 s for each answer, up to three in a row; and what they held comes again (4 s)",
        play: |cue| Box::pin(leader(cue, Way::Paused)),
    },
    Scenario {
        name: "majority-paused",
        rows: &[9],
        what: "two of three servers sleep for 15 s: `rr publish` says within 10 s that there is no majority, or that it does not know; only then may the run be there afterwards",
        bound: Duration::from_secs(20),
        why: "counted from their awakening: an election, and what was held comes again",
        play: |cue| Box::pin(no_majority(cue)),
    },
    Scenario {
        name: "cluster-killed",
        rows: &[10],
        what: "`kill -9` of all three servers at once, and a start of all of them",
        bound: Duration::from_secs(20),
        why: "counted from the start: the servers find each other, elect, and what was held comes again",
        play: |cue| Box::pin(all_killed(cue)),
    },
    Scenario {
        name: "minority-cut-off",
        rows: &[15],
        what: "one server and the coordinator that knows only that one are cut off from the other two, and the coordinator that knows only these, for 15 s; the first one decides nothing meanwhile",
        bound: Duration::from_secs(20),
        why: "as for a server that dies, and one of two coordinators with it",
        play: |cue| Box::pin(minority(cue)),
    },
    Scenario {
        name: "writers-storm",
        rows: &[40],
        what: "50 clients on three servers ask for one run at once, and then give it 50 signals, while the coordinator that has it is killed",
        bound: Duration::from_secs(20),
        why: "as for a coordinator that dies, with pins of 3 s and acknowledgements of 4 s",
        play: |cue| Box::pin(storm(cue)),
    },
];

/// How long the next fault waits until this one is over: longer than what was put off rests (2 s), and comes again (4 s).
const REST: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Killed,
    Paused,
}

async fn leader(mut cue: Cue, way: Way) -> Report {
    let mut stage = Stage::cluster(Timing::Default, EVERYBODY).await;
    stage.losses = Losses::Undelivered;
    stage.load(&mut cue);
    let mut led = LED.into_iter().cycle();
    let mut n_left = 0;
    // Each of them at least once: what stops differs.
    while cue.again(LED.len()) {
        stage.has_asked(4).await;
        let Some((stream, consumer)) = led.next() else { break };
        let victim = stage.mesh.leader(stream, consumer).await;
        n_left += stage.mesh.connections(victim).await.map_or(0, |names| names.len());
        let (since, begun) = (Timestamp::now(), Instant::now());
        let away = match way {
            Way::Killed => {
                stage.mesh.kill_server(victim).await;
                cue.dice.pause(8_000..12_000)
            }
            Way::Paused => {
                stage.mesh.server_process(victim).pause();
                Duration::from_secs(15)
            }
        };
        let _other = stage.mesh.successor(victim, stream, consumer).await;
        everybody_is_elsewhere(&stage, victim).await;
        sleep(away.saturating_sub(begun.elapsed())).await;
        match way {
            Way::Killed => stage.mesh.start_server(victim).await,
            Way::Paused => stage.mesh.server_process(victim).go_on(),
        }
        stage.mesh.is_healthy(victim).await;
        stage.struck_some(since);
        stage.comes_to_rest(REST).await;
    }
    stage.report.demand(n_left > 0, || "nobody was connected to a server that went away".to_owned());
    stage.has_asked(4).await;
    stage.finish().await
}

/// By when every process has left a server that is gone, or silent: 6 to 9 s until that is noticed, and some tries.
const LEFT: Duration = Duration::from_secs(20);

/// Waits until every process is connected to another server than this one.
async fn everybody_is_elsewhere(stage: &Stage<Servers>, gone: usize) {
    let name = |part: &Part| match part.role {
        Role::Coordinator => "rr coordinator".to_owned(),
        Role::Worker(name, _) => format!("rr worker {name}"),
    };
    let mut all: Vec<String> = stage.parts.iter().map(name).collect();
    all.sort();
    eventually("connections to other servers", LEFT, async || {
        let mut found = Vec::new();
        for n in (0..SERVERS).filter(|n| *n != gone) {
            found.extend(stage.mesh.connections(n).await?);
        }
        found.retain(|name| all.contains(name));
        found.sort();
        if found == all { Ok(()) } else { Err(format!("only {found:?} have left server {gone}")) }
    })
    .await;
}

/// By when `rr publish` says that there is no majority, or that it does not know what became of its run.
const REFUSED: Duration = Duration::from_secs(10);

/// After which time nothing is confirmed any more that was on its way when the majority fell asleep.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What it says in the second case.
const IN_DOUBT: &str = "it may be stored all the same";

/// What is asked for while nobody can promise it.
const ASKED: Kind = kind("asked", "jobs: [{ name: a, shell: 'NOTE true', hosts: h1 }]", &[RunStatus::Succeeded]);

async fn no_majority(mut cue: Cue) -> Report {
    const KIND: &Kind = &ASKED;
    let mut stage = Stage::cluster(Timing::Default, EVERYBODY).await;
    stage.losses = Losses::Undelivered;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(4).await;
        let since = Timestamp::now();
        let awake = cue.dice.number(0..SERVERS);
        let victims = [1, 2].map(|n| (awake + n) % SERVERS);
        let n_asked = stage.n_asked();
        for victim in victims {
            stage.mesh.server_process(victim).pause();
        }
        let asleep = Instant::now();
        sleep(LAST_WORDS).await;
        let n_confirmed = stage.n_confirmed();
        let id = format!("refused{}", stage.report.faults);
        let begun = Instant::now();
        let told = stage.ask(&id, KIND).await;
        let took = begun.elapsed();
        stage.report.demand(told.status.code() == Some(69), || format!("no exit code 69: {told}"));
        // Where the awake one has not noticed yet when it is asked, the run is sent, and nobody knows what became of it.
        let is_doubtful = told.stderr.contains(IN_DOUBT);
        let says_why = told.stderr.contains("majority") || is_doubtful;
        stage.report.demand(says_why, || format!("nothing is said of a majority, or of doubt: {told}"));
        stage.report.demand(took < REFUSED, || format!("rr publish took {took:?}: {told}"));
        sleep(Duration::from_secs(15).saturating_sub(asleep.elapsed())).await;
        let (n_asked, n_more) = (stage.n_asked() - n_asked, stage.n_confirmed() - n_confirmed);
        stage.report.demand(n_asked > 0, || "nothing was asked for without a majority".to_owned());
        stage.report.demand(n_more == 0, || format!("{n_more} requests were confirmed without a majority"));
        for victim in victims {
            stage.mesh.server_process(victim).go_on();
        }
        stage.was_out(since);
        stage.struck(since);
        for victim in victims {
            stage.mesh.is_healthy(victim).await;
        }
        // What was not promised may have come to be only where that was said; asked for again, it is there once.
        let again = Timestamp::now();
        let repeated = eventually("an answer to rr publish", END, async || {
            let told = stage.ask(&id, KIND).await;
            // Each server is well; together they may still be electing.
            if told.status.code() == Some(69) { Err(told) } else { Ok(told) }
        })
        .await;
        let came_to_be = repeated.status.code() == Some(73);
        let is_right = repeated.status.success() || came_to_be && is_doubtful;
        stage.report.demand(is_right, || format!("first: {told}\nthen: {repeated}"));
        stage.also(id.parse().expect("an id"), KIND, if came_to_be { since } else { again });
    }
    stage.has_asked(4).await;
    stage.finish().await
}

async fn all_killed(mut cue: Cue) -> Report {
    let mut stage = Stage::cluster(Timing::Default, EVERYBODY).await;
    stage.losses = Losses::Undelivered;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(4).await;
        let since = Timestamp::now();
        for victim in 0..SERVERS {
            stage.mesh.kill_server(victim).await;
        }
        sleep(cue.dice.pause(0..2_000)).await;
        for victim in 0..SERVERS {
            stage.mesh.start_server(victim).await;
        }
        stage.was_out(since);
        stage.struck(since);
        for victim in 0..SERVERS {
            stage.mesh.is_healthy(victim).await;
        }
    }
    stage.has_asked(4).await;
    stage.finish().await
}

/// What was decided just before a server is cut off may be stored a moment later.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

async fn minority(mut cue: Cue) -> Report {
    let mesh = TestMesh::wired_cluster(Timing::Default).await;
    let mut stage = Stage::over(mesh, Timing::Default, EVERYBODY, None).await;
    // One knows the last server only, the other one the others: it might be connected to the last one, too, and then nobody decides.
    let (alone, others) =
        (stage.mesh.url_of(SERVERS - 1), format!("{},{}", stage.mesh.url_of(0), stage.mesh.url_of(1)));
    stage.move_to(0, &alone).await;
    stage.move_to(1, &others).await;
    // Whoever asks for runs is on the other side: who is connected to a server that is cut off waits with it.
    stage.handle = connected_to(&stage, 0).await;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(4).await;
        let there = stage.mesh.connections(SERVERS - 1).await.unwrap_or_default();
        let is_there = there.iter().any(|name| name == "rr coordinator");
        stage
            .report
            .demand(is_there, || format!("no coordinator is connected to the server that is cut off: {there:?}"));
        let (since, resets) = (Timestamp::now(), stage.mesh.resets());
        stage.mesh.cut_off(SERVERS - 1);
        sleep(Duration::from_secs(15)).await;
        let resets = stage.mesh.resets() - resets;
        stage.report.demand(resets > 0, || "no connection between servers was cut".to_owned());
        let cut_off = (0, since + ON_ITS_WAY, Timestamp::now());
        stage.mesh.rejoin();
        stage.struck_some(since);
        stage.mesh.is_healthy(SERVERS - 1).await;
        let decided = stage.decisions_of(&[cut_off]).await;
        stage.report.demand(decided == 0, || format!("who was cut off has stored {decided} decisions meanwhile"));
    }
    stage.has_asked(4).await;
    stage.finish().await
}

/// A connection of its own to one of the servers.
async fn connected_to(stage: &Stage<Servers>, n: usize) -> Mesh {
    let options =
        ConnectOptions { server: stage.mesh.url_of(n), name: "chaos".to_owned(), ..ConnectOptions::default() };
    let link = connect(&options).await.expect("a connection");
    link.mesh().await.expect("a mesh")
}

/// Clients that want the same at once.
const WRITERS: usize = 50;

/// A run that ends when each of its gates has been given its own signal: one that goes missing keeps it waiting for ever.
static STORM: LazyLock<Kind> = LazyLock::new(|| {
    let gates = (0..WRITERS).map(|n| format!("{{ name: g{n}, signal: s{n} }}")).collect::<Vec<_>>().join(", ");
    let needs = (0..WRITERS).map(|n| format!("g{n}")).collect::<Vec<_>>().join(", ");
    let yaml = format!("jobs: [{gates}, {{ name: a, needs: [{needs}], shell: 'NOTE true', hosts: h1 }}]");
    kind("storm", yaml.leak(), &[RunStatus::Succeeded])
});

async fn storm(mut cue: Cue) -> Report {
    let roles = [EVERYBODY, &[Role::Coordinator]].concat();
    let mut stage = Stage::cluster(Timing::Default, &roles).await;
    stage.losses = Losses::Never;
    let mut clients = Vec::new();
    for n in 0..WRITERS {
        clients.push(connected_to(&stage, n % SERVERS).await);
    }
    stage.load(&mut cue);
    let mut runs = Vec::new();
    while cue.again(6) {
        stage.has_asked(2).await;
        let id: RunId = format!("storm{}", stage.report.faults).parse().expect("an id");
        let (submit, wanted) = (STORM.submit(&stage.mesh.path("")), Timestamp::now());
        let mut writers = JoinSet::new();
        for mesh in &clients {
            let (mesh, id, submit) = (mesh.clone(), id.clone(), submit.clone());
            writers.spawn(async move { mesh.submit(&id, "storm", &submit, First::New).await });
        }
        let told = writers.join_all().await;
        let n_stored = told.iter().filter(|told| told.is_ok()).count();
        let is_refused = |error: &PublishError| matches!(error, PublishError::Conflict | PublishError::Unsettled);
        let n_refused = told.iter().filter(|told| told.as_ref().is_err_and(is_refused)).count();
        stage.report.demand(n_stored == 1 && n_refused == WRITERS - 1, || format!("{WRITERS} ask for {id}: {told:?}"));
        stage.also(id.clone(), &STORM, wanted);
        // Whoever has the run dies while it is given the first half of its signals; the other half comes behind that.
        let victim =
            eventually("the coordinator of the run", END, async || stage.decider(&id).await.ok_or("none")).await;
        let (first, rest) = clients.split_at(WRITERS / 2);
        let writers = signal_all(&id, 0, first);
        sleep(cue.dice.pause(0..15)).await;
        stage.kill(victim).await;
        let mut told = writers.join_all().await;
        told.extend(signal_all(&id, first.len(), rest).join_all().await);
        stage.report.demand(told.iter().all(Result::is_ok), || format!("signals to {id}: {told:?}"));
        stage.revive(victim);
        let ended = stage.mesh.ended(&id, END).await;
        stage.report.demand(ended.status == RunStatus::Succeeded, || format!("{ended:?}"));
        runs.push(id);
    }
    for id in runs {
        was_taken_over(&mut stage, &id).await;
    }
    stage.finish().await
}

/// Each of these clients gives a run its own signal, from this number on.
fn signal_all(run: &RunId, from: usize, clients: &[Mesh]) -> JoinSet<Result<u64, PublishError>> {
    let mut writers = JoinSet::new();
    for (n, mesh) in (from..).zip(clients) {
        let (mesh, entity) = (mesh.clone(), EntityId::from(run));
        let (signal, by) = (format!("s{n}").parse().expect("a name"), format!("storm{n}"));
        let signal = Input::Signal(Signal { signal, by, reason: None });
        writers.spawn(async move { mesh.request(&entity, "storm", &signal).await });
    }
    writers
}

/// One of the coordinators has begun a run and another one has ended it, and each signal counts once.
async fn was_taken_over(stage: &mut Stage<Servers>, run: &RunId) {
    let decisions = stage.handle.history(&run.into(), 0).await.unwrap_or_default();
    let decisions: Vec<_> = decisions.into_iter().filter_map(|stored| stored.decision.ok()).collect();
    let by: BTreeSet<_> = decisions.iter().map(|decision| &decision.by).collect();
    stage.report.demand(by.len() > 1, || format!("{run} was not taken over: {by:?}"));
    let events = decisions.iter().flat_map(|decision| &decision.events);
    let signals = events.filter(|record| matches!(record.event, Event::Signalled { .. })).count();
    stage.report.demand(signals == WRITERS, || format!("{run} was given {WRITERS} signals, and {signals} count"));
}
