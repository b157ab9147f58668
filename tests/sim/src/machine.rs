//! Machines: a coordinator or a worker, its link, its clock, and whoever starts it again.

use std::{path::Path, sync::Arc, time::Duration};

use rr_coordinator::Coordinator;
use rr_core::Policy;
use rr_model::{Fault, Model};
use rr_nats::{Clock, Mesh, Topology, ensure};
use rr_schemas::span::Span;
use rr_worker::{
    Worker,
    config::{Disk, Times, Via},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    case::{Case, Manners, WorkerPlan},
    clock::{MachineClock, WorldTime},
    function::{Seen, handlers},
};

/// Pause before what could not be done is tried again, by whoever keeps processes running.
const AGAIN: Duration = Duration::from_millis(300);

/// A worker that drains has ended by then, as its own times have it.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What all machines share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) time: WorldTime,
    pub(crate) model: Model,
    pub(crate) topology: Topology,
    pub(crate) seed: u64,
    pub(crate) manners: Manners,
    pub(crate) seen: Seen,
}

/// What a machine is for.
#[derive(Clone, Debug)]
enum Role {
    Coordinator(Box<rr_coordinator::Options>),
    Worker(Box<rr_worker::Options>),
}

/// A machine. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its name, which is also that of its link.
    pub(crate) name: String,
    pub(crate) clock: MachineClock,
    /// Whether it was killed and is to be started again.
    pub(crate) is_down: bool,
    /// Whether its link is cut or silent.
    pub(crate) is_cut: bool,
    role: Role,
    stop: CancellationToken,
    life: JoinSet<()>,
}

fn millis(millis: u64) -> Span {
    Span::saturating_from_millis(millis)
}

/// Short waits: what is waited for is tested as well, and takes less of the machine's time.
pub(crate) fn topology(case: &Case) -> Topology {
    Topology {
        partitions: case.partitions,
        work_ack_wait: Duration::from_millis(1_800),
        partition_ack_wait: Duration::from_millis(1_500),
        pin_timeout: Duration::from_millis(1_200),
        // Longer than all tries of an unanswered offer, as on a real mesh.
        duplicate_window: Duration::from_secs(24),
        ..Topology::default()
    }
}

/// The coordinators' policy, which the judge needs, too.
pub(crate) fn policy() -> Policy {
    Policy {
        offer_expiry: millis(2_500),
        lease: millis(1_800),
        stop_wait: millis(600),
        look_max: millis(6_000),
        ..Policy::default()
    }
}

impl Machine {
    fn new(name: String, time: WorldTime, role: Role) -> Self {
        let (clock, stop, life) = (MachineClock::new(time), CancellationToken::new(), JoinSet::new());
        Self { name, clock, is_down: true, is_cut: false, role, stop, life }
    }

    /// One for a coordinator.
    pub(crate) fn coordinator(number: usize, time: WorldTime, seed: u64) -> Self {
        let name = format!("c{number}");
        let mut secret = [0; 32];
        for (byte, from) in secret.iter_mut().zip(seed.to_le_bytes().into_iter().chain(name.bytes())) {
            *byte = from;
        }
        let options = rr_coordinator::Options {
            policy: policy(),
            presence_ttl: millis(3_000),
            pull_expires: millis(400),
            hesitation: millis(200),
            stop_grace: millis(1_500),
            seed: Some(rr_coordinator::Seed::known(secret)),
            ..rr_coordinator::Options::default()
        };
        Self::new(name, time, Role::Coordinator(Box::new(options)))
    }

    /// One for a worker, whose ledger lies below `dir`. None where its name is none: a bug here.
    pub(crate) fn worker(number: usize, plan: &WorkerPlan, dir: &Path, time: WorldTime) -> Option<Self> {
        let name = format!("w{number}");
        let options = rr_worker::Options::new(name.parse().ok()?, dir.join(&name));
        let options = rr_worker::Options {
            serves: plan.serves.clone(),
            labels: plan.labels.clone(),
            capacity: plan.capacity.try_into().unwrap_or(options.capacity),
            via: Via::Functions,
            disk: Disk::InPlace,
            times: Times {
                grace: millis(300),
                presence_ttl: millis(3_000),
                presence_renew: millis(1_000),
                verify: millis(8_000),
                lock_ttl: millis(3_000),
                drain: millis(800),
                farewell: millis(1_500),
                ..Times::default()
            },
            ..options
        };
        Some(Self::new(name, time, Role::Worker(Box::new(options))))
    }

    pub(crate) const fn is_coordinator(&self) -> bool {
        match self.role {
            Role::Coordinator(_) => true,
            Role::Worker(_) => false,
        }
    }

    /// Looks how its lives have ended: one that panics says so to nobody.
    pub(crate) fn look(&mut self) {
        while let Some(ended) = self.life.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                tracing::error!(machine = self.name, "a machine panics");
            }
        }
    }

    /// Starts it, or starts it again.
    pub(crate) fn start(&mut self, site: &Arc<Site>) {
        self.look();
        self.is_down = false;
        // The next life has a connection of its own.
        self.is_cut = false;
        self.stop = CancellationToken::new();
        let life = Life {
            site: Arc::clone(site),
            name: self.name.clone(),
            clock: self.clock.for_mesh(),
            stop: self.stop.clone(),
        };
        match &self.role {
            Role::Coordinator(options) => drop(self.life.spawn(life.coordinate(*options.clone()))),
            Role::Worker(options) => drop(self.life.spawn(life.work(*options.clone()))),
        }
    }

    /// Lets a coordinator forget runs that have ended for so long, from its next start on.
    pub(crate) fn forgets(&mut self, keep: Span, sweep_every: Span) {
        match &mut self.role {
            Role::Coordinator(options) => (options.keep, options.sweep_every) = (keep, sweep_every),
            Role::Worker(_) => {}
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self, site: &Site) {
        site.model.inject(&Fault::Kill { client: self.name.clone() });
        self.look();
        self.life = JoinSet::new();
        self.is_down = true;
    }

    /// Asks it to end cleanly.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether it runs and was not asked to end.
    pub(crate) fn is_working(&self) -> bool {
        !self.is_down && !self.stop.is_cancelled()
    }
}

/// One life of a machine, between its start and its end, and whoever starts what ends by itself.
struct Life {
    site: Arc<Site>,
    name: String,
    clock: Clock,
    stop: CancellationToken,
}

impl Life {
    /// The mesh, once it can be reached. None when there is no need any more.
    async fn mesh(&self) -> Option<Mesh> {
        let reached = async {
            loop {
                if let Ok(link) = self.site.model.link(&self.name).await {
                    // A client that has lost its first connection makes another one.
                    if let Ok(mesh) = ensure(&link, &self.site.topology).await {
                        return mesh.with_clock(self.clock.clone());
                    }
                }
                sleep(AGAIN).await;
            }
        };
        Box::pin(self.stop.run_until_cancelled(reached)).await
    }

    async fn coordinate(self, options: rr_coordinator::Options) {
        while let Some(mesh) = self.mesh().await {
            let mut handle = Coordinator::start(mesh, options.clone());
            if self.stop.run_until_cancelled(handle.ended()).await.is_none() {
                return handle.stop().await;
            }
            sleep(AGAIN).await;
        }
    }

    async fn work(self, options: rr_worker::Options) {
        while let Some(mesh) = self.mesh().await {
            let functions = handlers(self.site.seed, self.site.manners, &options.name, &self.site.seen);
            let Some(started) = self.stop.run_until_cancelled(Worker::start(mesh, options.clone(), functions)).await
            else {
                return;
            };
            if let Ok(handle) = &started {
                self.site.seen.lives(&self.name, handle.instance());
            }
            if let Ok(mut handle) = started
                && self.stop.run_until_cancelled(handle.join()).await.is_none()
            {
                handle.drain();
                if timeout(ENDS_WITHIN, handle.join()).await.is_err() {
                    tracing::error!(worker = self.name, "a worker does not end");
                }
                return;
            }
            sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branches;

    /// Whoever asks for a panic gets it where parts of machines live: in a task of its life.
    #[test]
    fn a_life_that_panics_is_an_alarm_however_the_machine_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let config = rr_model::ModelConfig::new(1, rr_model::Servers::One);
        tracing::subscriber::with_default(branches::Listener, || {
            runtime.block_on(async {
                let case = Case::draw(1, crate::Mode::Safety);
                let time = WorldTime::new(config.start);
                let (model, seen) = (Model::new(config), Seen::default());
                let (topology, manners) = (topology(&case), case.manners);
                let site = Arc::new(Site { time, model, topology, seed: 1, manners, seen });
                let goes_on: [fn(&mut Machine); 2] = [Machine::look, |machine| machine.stop()];
                for goes_on in goes_on {
                    drop(branches::take());
                    let mut machine = Machine::coordinator(1, time, 1);
                    machine.life.spawn(async { panic!("as asked for") });
                    tokio::task::yield_now().await;
                    goes_on(&mut machine);
                    machine.start(&site);
                    machine.kill(&site);
                    assert_eq!(branches::take().get("a machine panics"), Some(&1));
                }
            });
        });
    }
}
