//! Coordinators that die, all of them too, and such that sleep and wake up with old plans.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::sleep;

use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{EVERYBODY, Losses, Stage};
use crate::mesh::Timing;
use crate::proxy::Proxy;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "coordinator-killed",
        rows: &[1],
        what: "`kill -9` of one of two coordinators: with a decision on its lips, as soon as one is said, an offer, an acknowledgement of an input, and at any moment",
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
        what: "a coordinator sleeps for 5 to 8 s, as soon as a decision is said or at any moment, longer than pins and acknowledgements last, and wakes up; it acknowledges what another one has answered and acknowledged meanwhile",
        bound: Duration::from_secs(15),
        why: "as for one that dies; then the sleeper's plans are refused, and it loads what it had anew",
        play: |cue| Box::pin(paused(cue)),
    },
];

/// How an acknowledgement of an input begins; its consumer follows, how often it was delivered, and its sequence.
const ACK: &str = "PUB $JS.ACK.RR_EVENTS.";

/// When a coordinator is killed, by what it has last said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Moment {
    /// It has decided, and nobody has heard it.
    Decided,
    /// Its decision is stored, or refused, and it has not heard so.
    Published,
    /// It has offered what it decided, or the first of it.
    Offered,
    /// It has said of an input that it is answered.
    Acknowledged,
    /// Whatever it does.
    Any,
}

const MOMENTS: [Moment; 5] = [Moment::Decided, Moment::Published, Moment::Offered, Moment::Acknowledged, Moment::Any];

impl Moment {
    /// Lets a process be unheard from this moment on, where it is one that can be seen.
    fn await_on(self, network: &Proxy) {
        match self {
            Self::Decided => network.silence_before("PUB rr.ev."),
            Self::Published => network.silence_after("PUB rr.ev."),
            Self::Offered => network.silence_after("PUB rr.work."),
            Self::Acknowledged => network.silence_after(ACK),
            Self::Any => {}
        }
    }
}

/// In which time coordinators under load do everything that they do.
const ACTS: Duration = Duration::from_secs(3);

/// The coordinator for which this moment has come first, by its place.
async fn first_at(stage: &Stage, moment: Moment) -> Option<usize> {
    let places = stage.coordinators();
    for place in &places {
        moment.await_on(stage.network(*place));
    }
    let mut silent: FuturesUnordered<_> =
        places.iter().map(async |place| stage.network(*place).falls_silent(ACTS).await.then_some(*place)).collect();
    let mut first = None;
    while let Some(place) = silent.next().await {
        first = place;
        if first.is_some() {
            break;
        }
    }
    // Nobody else is held up by it.
    for place in places.iter().filter(|place| Some(**place) != first) {
        stage.network(*place).heal();
    }
    first
}

async fn killed(mut cue: Cue) -> Report {
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Never;
    stage.load(&mut cue);
    stage.has_asked(2).await;
    let (mut moments, mut met) = (MOMENTS.into_iter().cycle(), BTreeMap::new());
    let mut n_stored = 0;
    while cue.again(MOMENTS.len()) {
        let Some(moment) = moments.next() else { break };
        sleep(cue.dice.pause(0..1_500)).await;
        let since = Timestamp::now();
        let victim = if moment == Moment::Any {
            Some(*cue.dice.one_of(&stage.coordinators()))
        } else {
            first_at(&stage, moment).await
        };
        // Who says nothing is not killed, and that is no fault.
        let Some(victim) = victim else { continue };
        stage.kill(victim).await;
        *met.entry(moment).or_insert(0) += 1;
        if moment == Moment::Published {
            n_stored += stage.decisions_of(&[(victim, since, Timestamp::now())]).await;
        }
        // What was kept back goes with it.
        stage.network(victim).cut();
        sleep(cue.dice.pause(0..3_000)).await;
        stage.network(victim).heal();
        stage.revive(victim);
        stage.has_asked(2).await;
    }
    for moment in MOMENTS {
        stage.report.demand(met.contains_key(&moment), || format!("nobody was killed at {moment:?}, but {met:?}"));
    }
    stage.report.demand(n_stored > 0, || format!("nothing was stored by who was killed as it had decided: {met:?}"));
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
    let mut stage = Stage::networked(Timing::ShortPatient, EVERYBODY).await;
    stage.losses = Losses::Never;
    stage.load(&mut cue);
    for place in stage.coordinators() {
        stage.network(place).note(ACK);
    }
    let (mut n, mut n_late) = (0, 0);
    while cue.again(1) {
        stage.has_asked(3).await;
        // With an input in its hands that it answers just now, then whatever it does.
        let victim = if n % 2 == 0 { first_at(&stage, Moment::Published).await } else { None };
        let victim = victim.unwrap_or_else(|| *cue.dice.one_of(&stage.coordinators()));
        n += 1;
        let since = Timestamp::now();
        stage.part(victim).process.pause();
        stage.network(victim).heal();
        sleep(cue.dice.pause(5_000..8_000)).await;
        let said = stage.network(victim).noted().len();
        stage.part(victim).process.go_on();
        stage.struck_some(since);
        stage.has_asked(3).await;
        n_late += late_acks(&stage, victim, said);
    }
    stage.report.demand(n_late > 0, || format!("in {n} pauses nobody has acknowledged what others had meanwhile"));
    stage.finish().await
}

/// How many inputs this coordinator has acknowledged, behind so many words, of an older delivery than another one has meanwhile.
fn late_acks(stage: &Stage, sleeper: usize, behind: usize) -> usize {
    // Its consumer and its sequence, and which delivery it was.
    let read = |said: &String| {
        let mut tokens = said.split('.');
        let (consumer, delivery) = (tokens.next()?.to_owned(), tokens.next()?.parse::<u64>().ok()?);
        Some(((consumer, tokens.next()?.parse::<u64>().ok()?), delivery))
    };
    let others = stage.coordinators().into_iter().filter(|place| *place != sleeper);
    let others: BTreeMap<_, _> =
        others.flat_map(|place| stage.network(place).noted()).filter_map(|said| read(&said)).collect();
    let late = stage.network(sleeper).noted();
    let late = late.iter().skip(behind).filter_map(read);
    late.filter(|(input, delivery)| others.get(input).is_some_and(|other| other > delivery)).count()
}
