//! Faults as they come: what breaks, and when it is mended.

mod servers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rr_draw::Dice;
use rr_model::{Chances, Fault, Servers};
use rr_nats::Mesh;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    branches::{self, Met, TAKEN_OVER},
    case::Case,
    forger::Forger,
    function::{Lives, Start},
    machine::{Machine, Site},
    swarm::{Kind, Swarm},
    user::{self, Asked},
};

/// How long coordinators wait for answers at most while somebody comes back.
const HELD_MAX_MS: u64 = 400;
/// Words of a forger at once, at most.
const WORDS_MAX: u64 = 4;
/// How far a clock may be wrong.
const SKEW_MAX_MS: u64 = 4_000;

/// Moments that are worth meeting, by what is logged at them: something was stored, and what follows from it was not done.
pub(crate) const MOMENTS: [&str; 15] = [
    "decided",
    "decided",
    "decided",
    "run started",
    "run is being cancelled",
    "loaded",
    "looked",
    "worker joined",
    "draining",
    "timers end",
    "append without an answer",
    "turn starts over",
    "claim not answered yet",
    ASKED,
    ASKED,
];
/// A moment that comes once for each run.
const ASKED: &str = "asked for";

/// What is mended at its time.
#[derive(Clone, Debug)]
enum Repair {
    Start(usize),
    Heal(usize),
    Empty(&'static str),
}

/// The machines, and what happens to them.
pub(crate) struct Chaos {
    pub(crate) machines: Vec<Machine>,
    pub(crate) site: Arc<Site>,
    mesh: Mesh,
    asked: Asked,
    swarm: Swarm,
    servers: Servers,
    partitions: u16,
    dice: Dice,
    /// Tells of the moment that the next fault is to meet, where it is aimed.
    aim: Option<Arc<Met>>,
    /// Whether that is the moment in which somebody has asked for a run.
    aims_at_asked: bool,
    repairs: BTreeMap<(Instant, u64), Repair>,
    n_repairs: u64,
    /// How often each kind came.
    pub(crate) counts: BTreeMap<Kind, u64>,
}

impl Chaos {
    /// `mesh` is that of the user.
    pub(crate) fn new(case: &Case, site: &Arc<Site>, machines: Vec<Machine>, mesh: Mesh, asked: Asked) -> Self {
        Self {
            machines,
            site: Arc::clone(site),
            mesh,
            asked,
            swarm: case.swarm.clone(),
            servers: case.servers,
            partitions: case.partitions,
            dice: case.dice.clone(),
            aim: None,
            aims_at_asked: false,
            repairs: BTreeMap::new(),
            n_repairs: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Lets things go wrong until then.
    pub(crate) async fn rage(&mut self, until: Instant) {
        self.site.model.set_chances(None, self.swarm.chances);
        let mut next = self.next_fault();
        loop {
            let repair = self.repairs.keys().next().copied();
            let at = repair.map_or(next, |(at, _)| at.min(next)).min(until);
            let aim = self.aim.clone();
            let met = async {
                match &aim {
                    Some(aim) => aim.rare().await,
                    None => std::future::pending().await,
                }
            };
            let met = tokio::select! {
                biased;
                rare = met => Some(rare),
                () = sleep_until(at) => None,
            };
            if let Some(rare) = met {
                // What is away comes back in this moment, or something else breaks in it.
                let away = if self.dice.chance(if rare.is_some() { 85 } else { 40 }) {
                    std::mem::take(&mut self.repairs)
                } else {
                    BTreeMap::new()
                };
                if away.is_empty() && !(rare.is_none() && self.fill_log()) {
                    self.strike_one().await;
                }
                let is_any_back = !away.is_empty();
                for repair in away.into_values() {
                    self.mend(&repair);
                }
                if rare == Some(TAKEN_OVER) && is_any_back && self.dice.chance(60) {
                    self.hold_coordinators();
                }
                next = self.next_fault();
                continue;
            }
            if at >= until {
                branches::aim_no_more();
                return;
            }
            if let Some(repair) = repair.filter(|(due, _)| *due <= at).and_then(|due| self.repairs.remove(&due)) {
                self.mend(&repair);
            } else {
                self.strike_one().await;
                next = self.next_fault();
            }
        }
    }

    /// Mends whatever is broken: nothing is at fault any more.
    pub(crate) fn mend_all(&mut self) {
        self.site.model.set_chances(None, Chances::default());
        self.mend_servers();
        for repair in std::mem::take(&mut self.repairs).into_values() {
            self.mend(&repair);
        }
        for machine in &self.machines {
            machine.clock.set(0);
        }
    }

    /// Starts whoever is down.
    pub(crate) fn start_all(&mut self) {
        for machine in self.machines.iter_mut().filter(|machine| machine.is_down) {
            machine.start(&self.site);
        }
    }

    /// Does nothing of these kinds from now on.
    pub(crate) fn spare(&mut self, kinds: &[Kind]) {
        self.swarm.kinds.retain(|kind| !kinds.contains(kind));
    }

    /// Mends what would keep everything from being read.
    pub(crate) fn mend_server(&mut self) {
        self.site.model.set_chances(None, Chances::default());
        for repair in std::mem::take(&mut self.repairs).into_values() {
            if let Repair::Empty(_) = repair {
                self.mend(&repair);
            }
        }
    }

    /// What coordinators ask takes longer than it takes somebody to come back.
    fn hold_coordinators(&mut self) {
        let until = Instant::now() + Duration::from_millis(self.dice.between(20, HELD_MAX_MS));
        for index in 0..self.machines.len() {
            let Some(machine) = self.machines.get_mut(index) else { continue };
            if machine.is_coordinator() && !machine.is_down && !machine.is_cut {
                machine.is_cut = true;
                self.site.model.inject(&Fault::Silence { client: machine.name.clone() });
                self.mend_at(until, Repair::Heal(index));
                *self.counts.entry(Kind::LinkSilent).or_default() += 1;
            }
        }
    }

    async fn strike_one(&mut self) {
        if let Some(kind) = self.dice.pick(&self.swarm.kinds).copied() {
            self.strike(kind).await;
        }
    }

    /// When the next fault comes at the latest; it may be aimed at a moment before.
    fn next_fault(&mut self) -> Instant {
        let words = self.dice.pick(&MOMENTS).filter(|_| self.swarm.aims);
        self.aims_at_asked = words.is_some_and(|words| *words == ASKED);
        self.aim = match words {
            Some(words) if *words == ASKED => Some(branches::aim(words, 1)),
            Some(words) => Some(branches::aim(words, self.dice.roll(5) + 1)),
            None => None,
        };
        let pause = u64::try_from(self.swarm.pause.as_millis()).unwrap_or(u64::MAX);
        Instant::now() + Duration::from_millis(self.dice.between(pause / 4, pause * 2))
    }

    fn outage(&mut self) -> Duration {
        let most = u64::try_from(self.swarm.outage_max.as_millis()).unwrap_or(u64::MAX);
        // Short ones more often: they meet what is under way.
        let most = if self.dice.chance(50) { most } else { most / 8 + 5 };
        Duration::from_millis(self.dice.between(1, most))
    }

    fn later(&mut self, repair: Repair) {
        let at = Instant::now() + self.outage();
        self.mend_at(at, repair);
    }

    fn mend_at(&mut self, at: Instant, repair: Repair) {
        self.repairs.insert((at, self.n_repairs), repair);
        self.n_repairs += 1;
    }

    fn mend(&mut self, repair: &Repair) {
        match repair {
            Repair::Start(index) => {
                if let Some(machine) = self.machines.get_mut(*index) {
                    machine.start(&self.site);
                }
            }
            Repair::Heal(index) => {
                if let Some(machine) = self.machines.get_mut(*index).filter(|machine| machine.is_cut) {
                    machine.is_cut = false;
                    self.site.model.inject(&Fault::Heal { client: machine.name.clone() });
                }
            }
            Repair::Empty(stream) => self.site.model.inject(&Fault::Drain { stream: (*stream).to_owned() }),
        }
    }

    /// A machine of those that are fit for something.
    fn one_of(&mut self, is_fit: impl Fn(&Machine) -> bool) -> Option<usize> {
        let fit: Vec<usize> =
            self.machines.iter().enumerate().filter(|(_, machine)| is_fit(machine)).map(|(index, _)| index).collect();
        self.dice.pick(&fit).copied()
    }

    async fn strike(&mut self, kind: Kind) {
        let struck = match kind {
            Kind::CoordinatorKilled => self.kill(Machine::is_coordinator),
            Kind::WorkerKilled => {
                // One that is at work, mostly.
                let (seen, any) = (self.site.seen.clone(), self.dice.chance(25));
                self.kill(|machine| !machine.is_coordinator() && (any || seen.is_busy(&machine.name)))
            }
            Kind::CoordinatorStopped => self.stop(Machine::is_coordinator),
            Kind::WorkerDrained => {
                let (seen, any) = (self.site.seen.clone(), self.dice.chance(25));
                self.stop(|machine| !machine.is_coordinator() && (any || seen.is_busy(&machine.name)))
            }
            Kind::LinkCut => self.cut(|client| Fault::Cut { client }),
            Kind::LinkSilent => self.cut(|client| Fault::Silence { client }),
            Kind::ClockSkewed => self.skew(),
            Kind::RunCancelled => self.cancel().await,
            Kind::LeaderMoved => self.move_leader().await,
            Kind::Forged => self.forge(),
            Kind::Garbage => self.litter(),
            Kind::LinkBroken
            | Kind::ServerRestarted
            | Kind::MajorityLost
            | Kind::ConsumerMoved
            | Kind::PinMoved
            | Kind::Redelivered
            | Kind::ConsumerRemoved
            | Kind::StreamRemoved
            | Kind::StreamFull => self.fault(kind).map(|fault| self.site.model.inject(&fault)),
        };
        if struck.is_some() {
            *self.counts.entry(kind).or_default() += 1;
        }
    }

    async fn cancel(&mut self) -> Option<()> {
        let run = self.dice.pick(&self.asked.all())?.clone();
        // What keeps it from being stored may be a fault that is to be mended in the meantime.
        let patience = self.outage();
        timeout(patience, user::cancel(&self.mesh, &run)).await.ok()
    }

    /// Somebody speaks of attempts without their tokens.
    fn forge(&mut self) -> Option<()> {
        let (starts, lives) = (self.site.seen.all(), self.site.seen.all_lives());
        for _ in 0..=self.dice.roll(WORDS_MAX) {
            let word = self.forger(&starts, &lives).word()?;
            self.site.model.say(word);
        }
        Some(())
    }

    /// Something turns up that is nothing.
    fn litter(&mut self) -> Option<()> {
        let run = self.dice.pick(&self.asked.all())?.clone();
        let worker = self.one_of(|machine| !machine.is_coordinator())?;
        let worker = self.machines.get(worker)?.name.parse().ok()?;
        let garbage = self.forger(&[], &Lives::new()).garbage(&run, &worker)?;
        self.site.model.say(garbage);
        Some(())
    }

    fn forger<'a>(&'a mut self, starts: &'a [Start], lives: &'a Lives) -> Forger<'a> {
        Forger { now: self.site.model.now(), dice: &mut self.dice, starts, lives, partitions: self.partitions }
    }

    fn kill(&mut self, is_fit: impl Fn(&Machine) -> bool) -> Option<()> {
        let index = self.one_of(|machine| is_fit(machine) && machine.is_working())?;
        self.machines.get_mut(index)?.kill(&self.site);
        self.later(Repair::Start(index));
        Some(())
    }

    fn stop(&mut self, is_fit: impl Fn(&Machine) -> bool) -> Option<()> {
        let index = self.one_of(|machine| is_fit(machine) && machine.is_working())?;
        self.machines.get(index)?.stop();
        // Whoever starts it again does not wait for its end, which takes what it takes.
        self.later(Repair::Start(index));
        Some(())
    }

    fn cut(&mut self, fault: impl FnOnce(String) -> Fault) -> Option<()> {
        let index = self.one_of(|machine| !machine.is_down && !machine.is_cut)?;
        let machine = self.machines.get_mut(index)?;
        machine.is_cut = true;
        let client = machine.name.clone();
        self.site.model.inject(&fault(client));
        self.later(Repair::Heal(index));
        Some(())
    }

    fn skew(&mut self) -> Option<()> {
        let index = self.one_of(|_| true)?;
        let skew = i64::try_from(self.dice.roll(2 * SKEW_MAX_MS)).ok()? - i64::try_from(SKEW_MAX_MS).ok()?;
        self.machines.get(index)?.clock.set(skew);
        Some(())
    }
}
