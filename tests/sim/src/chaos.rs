//! Faults as they come: what breaks, and when it is mended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rr_draw::Dice;
use rr_model::{Chances, Fault, Servers};
use rr_nats::{Mesh, subject};
use rr_schemas::flow::Priority;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    branches::{self, Met},
    case::Case,
    machine::{Machine, Site},
    swarm::{Kind, Swarm},
    user::{self, Asked},
};

/// Streams that coordinators make again when somebody removes them. The bucket of locks is not among them: whoever removes it
/// takes the locks away.
const REMOVABLE: [&str; 5] = [subject::WORK, subject::TIMERS, subject::OUTPUT, "KV_rr-runs", "KV_rr-workers"];
/// Streams that may be full for a while. That of the locks matters to few flows, and is full more often.
const FILLABLE: [&str; 7] =
    [subject::EVENTS, subject::WORK, "KV_rr-runs", "KV_rr-workers", "KV_rr-locks", "KV_rr-locks", "KV_rr-locks"];
/// Streams that have a leader.
const LED: [&str; 6] = [subject::EVENTS, subject::WORK, subject::TIMERS, "KV_rr-runs", "KV_rr-workers", "KV_rr-locks"];
/// How far a clock may be wrong.
const SKEW_MAX_MS: u64 = 4_000;

/// Moments that are worth meeting, by what is logged at them: something was stored, and what follows from it was not done.
pub(crate) const MOMENTS: [&str; 14] = [
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
    site: Arc<Site>,
    mesh: Mesh,
    asked: Asked,
    swarm: Swarm,
    servers: Servers,
    partitions: u16,
    dice: Dice,
    /// Tells of the moment that the next fault is to meet, where it is aimed.
    aim: Option<Arc<Met>>,
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
                    Some(aim) => aim.is_rare().await,
                    None => std::future::pending().await,
                }
            };
            let met = tokio::select! {
                biased;
                is_rare = met => Some(is_rare),
                () = sleep_until(at) => None,
            };
            if let Some(is_rare) = met {
                // What is away comes back in this moment, or something else breaks in it.
                let away = if self.dice.chance(if is_rare { 85 } else { 40 }) {
                    std::mem::take(&mut self.repairs)
                } else {
                    BTreeMap::new()
                };
                if away.is_empty() {
                    self.strike_one().await;
                }
                for repair in away.into_values() {
                    self.mend(&repair);
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

    /// Mends whatever is broken.
    pub(crate) fn mend_all(&mut self) {
        self.site.model.set_chances(None, Chances::default());
        for repair in std::mem::take(&mut self.repairs).into_values() {
            self.mend(&repair);
        }
        for machine in &self.machines {
            machine.clock.set(0);
        }
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

    async fn strike_one(&mut self) {
        if let Some(kind) = self.dice.pick(&self.swarm.kinds).copied() {
            self.strike(kind).await;
        }
    }

    /// When the next fault comes at the latest; it may be aimed at a moment before.
    fn next_fault(&mut self) -> Instant {
        self.aim = match self.dice.pick(&MOMENTS).filter(|_| self.swarm.aims) {
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
            Kind::LinkBroken
            | Kind::ServerRestarted
            | Kind::LeaderMoved
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

    /// A fault of a link, or of the servers.
    fn fault(&mut self, kind: Kind) -> Option<Fault> {
        match kind {
            Kind::LinkBroken => {
                let index = self.one_of(|machine| machine.is_working() && !machine.is_cut)?;
                Some(Fault::Break { client: self.machines.get(index)?.name.clone() })
            }
            Kind::ServerRestarted => {
                Some(Fault::Restart { down: self.outage().min(Duration::from_secs(3)), loses_unsynced: false })
            }
            Kind::LeaderMoved if self.servers == Servers::Three => {
                let stream = (*self.dice.pick(&LED)?).to_owned();
                Some(Fault::MoveLeader { stream, leaderless: self.outage().min(Duration::from_secs(3)) })
            }
            Kind::MajorityLost if self.servers == Servers::Three => {
                let stream = (*self.dice.pick(&LED)?).to_owned();
                let leaderless = self.outage().min(Duration::from_secs(1));
                Some(Fault::LoseMajority { stream, unaware: self.outage(), leaderless })
            }
            Kind::ConsumerMoved if self.servers == Servers::Three => {
                let (stream, consumer) = self.consumer();
                Some(Fault::MoveConsumer { stream, consumer })
            }
            Kind::PinMoved => {
                let (stream, consumer) = self.partition();
                Some(Fault::MovePin { stream, consumer })
            }
            Kind::Redelivered => {
                let (stream, consumer) = self.consumer();
                Some(Fault::RedeliverEarly { stream, consumer })
            }
            Kind::ConsumerRemoved => {
                let (stream, consumer) = self.consumer();
                Some(Fault::RemoveConsumer { stream, consumer })
            }
            Kind::StreamRemoved => {
                let stream = (*self.dice.pick(&REMOVABLE)?).to_owned();
                Some(Fault::RemoveStream { stream })
            }
            Kind::StreamFull => {
                let stream = *self.dice.pick(&FILLABLE)?;
                self.later(Repair::Empty(stream));
                Some(Fault::Fill { stream: stream.to_owned() })
            }
            // A single server has no leaders, and the others are no faults of servers.
            Kind::LeaderMoved
            | Kind::MajorityLost
            | Kind::ConsumerMoved
            | Kind::CoordinatorKilled
            | Kind::CoordinatorStopped
            | Kind::WorkerKilled
            | Kind::WorkerDrained
            | Kind::LinkCut
            | Kind::LinkSilent
            | Kind::ClockSkewed
            | Kind::RunCancelled => None,
        }
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

    fn partition(&mut self) -> (String, String) {
        let partition = self.dice.roll(u64::from(self.partitions));
        let partition = rr_schemas::id::Partition(u16::try_from(partition).unwrap_or_default());
        (subject::EVENTS.to_owned(), subject::partition_durable(partition))
    }

    /// A consumer that lasts.
    fn consumer(&mut self) -> (String, String) {
        match self.dice.roll(4) {
            0 => self.partition(),
            1 => (subject::TIMERS.to_owned(), subject::TIMERS_DURABLE.to_owned()),
            2 => {
                let worker = self.one_of(|machine| !machine.is_coordinator());
                let name = worker.and_then(|index| self.machines.get(index)?.name.parse().ok());
                let durable = name.map_or_else(String::new, |name| subject::host_durable(&name));
                (subject::WORK.to_owned(), durable)
            }
            _ => {
                let queue = self.dice.pick(&["default", "q1", "q2"]).and_then(|queue| queue.parse().ok());
                let priority = self.dice.pick(&Priority::ALL).copied().unwrap_or_default();
                let durable = queue.map_or_else(String::new, |queue| subject::queue_durable(&queue, priority));
                (subject::WORK.to_owned(), durable)
            }
        }
    }
}
