//! What a mesh has on the server stays there: what somebody removes while coordinators work is made again.
//!
//! Every coordinator looks, and each that sees something made anew does what follows, for whoever made it may be gone:
//! all of that is harmless when it is done twice. The event log alone is not made again; see [`rr_nats::upkeep`].

mod in_vain;
mod left;
mod recoveries;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rr_nats::{
    Connected, Error, Finding, Shortened, Store, Upkeep,
    subject::{host_durable, queue_durable},
};
use rr_schemas::{
    flow::Priority,
    id::EntityId,
    name::{Name, WorkerName},
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::{
    in_vain::InVain,
    left::Left,
    recoveries::{Recoveries, Recovery},
};
use crate::{
    recover::{offer_again, wake},
    retention::DUTY,
    shell::Shell,
};

/// Pause between two looks. Whatever is missing is seen at the next one and made in moments, within 5 s in all.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause between two complaints about what a person must mend.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// How long the history of an ended run is surely kept, whatever else is configured elsewhere: until then its absence is a
/// loss.
const SURELY_KEPT: Duration = Duration::from_hours(1);
/// Runs that are named when the log has lost its end; more are counted.
const NAMED_MAX: usize = 10;

/// Looks after the mesh until it is told to stop.
pub(crate) async fn keep(shell: Arc<Shell>, stop: CancellationToken) {
    let mut keeper = Keeper {
        upkeep: Upkeep::new(&shell.mesh),
        connected: shell.mesh.connected(),
        recoveries: Recoveries::default(),
        in_vain: InVain::default(),
        left: Left::default(),
        has_looked: false,
        has_begun: false,
        is_denied: false,
        complained: None,
        shell,
    };
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shell = Arc::clone(&keeper.shell);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            () = shell.known_lanes.lost() => {
                keeper.recoveries.owe(Recovery::Offers);
            }
            () = keeper.recoveries.ended() => continue,
        }
        if shell.mesh.is_connected() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = keeper.look() => {}
            }
        }
    }
}

struct Keeper {
    shell: Arc<Shell>,
    upkeep: Upkeep,
    /// What is still to be made again, until it is.
    recoveries: Recoveries,
    in_vain: InVain,
    left: Left,
    has_looked: bool,
    connected: Connected,
    /// Whether it has been the one who looks after all runs since it is connected.
    has_begun: bool,
    /// Whether it was told that the rights do not suffice.
    is_denied: bool,
    /// When a person was told last that something is missing.
    complained: Option<Instant>,
}

impl Keeper {
    async fn look(&mut self) {
        let kept = self.shell.options.keep.as_duration().min(SURELY_KEPT);
        let kept_since = self.shell.clock().saturating_sub(kept).unwrap_or(Timestamp::MIN);
        let (findings, looked) = self.upkeep.look(kept_since).await;
        for finding in findings {
            self.take(finding);
        }
        match looked {
            Ok(()) => {
                if !std::mem::replace(&mut self.has_looked, true) {
                    tracing::info!("the mesh is looked after");
                }
            }
            Err(error @ Error::Denied { .. }) if !self.is_denied => {
                self.is_denied = true;
                tracing::warn!(%error, "what is removed from the mesh is not made again; rr init --auth writes the rights");
            }
            Err(error) => tracing::debug!(%error, "it cannot be looked whether the mesh is whole"),
        }
        // What is owed does not wait for what cannot be looked at.
        self.begin();
        self.recover();
        match self.shell.mesh.lane_names().await {
            Ok(names) => self.look_at_lanes(names).await,
            Err(error) => tracing::debug!(%error, "lanes cannot be looked at"),
        }
        self.look_at_what_is_left().await;
    }

    /// One coordinator does so for all, whenever it may have another server before it than it had.
    fn begin(&mut self) {
        if self.connected.has_news() {
            self.connected.look();
            self.has_begun = false;
        }
        if !self.has_begun && !self.shell.presence.is_rather_anothers(DUTY) {
            self.has_begun = true;
            self.recoveries.owe(Recovery::Begin);
        }
    }

    /// One coordinator does so for all.
    async fn look_at_what_is_left(&mut self) {
        let Shell { mesh, presence, .. } = &*self.shell;
        if !presence.is_rather_anothers(DUTY)
            && self.left.is_due(Instant::now())
            && let Err(error) = self.left.forget(mesh, self.shell.clock()).await
        {
            tracing::debug!(%error, "what is over may still be on offer");
        }
    }

    /// Makes the lanes again that workers have lost who are present. Such a worker notices by itself when it asks for
    /// offers, but it may be busy, and nobody else serves what is offered to it meanwhile.
    async fn look_at_lanes(&mut self, names: Vec<String>) {
        let Shell { mesh, known_lanes, presence, lanes, .. } = &*self.shell;
        let there: HashSet<&String> = names.iter().collect();
        lanes.forget_unlisted(&there);
        let mut in_vain: BTreeSet<WorkerName> = BTreeSet::new();
        for worker in presence.workers() {
            let name = host_durable(&worker.worker);
            if worker.draining || there.contains(&name) || !known_lanes.knows(&name) {
                continue;
            }
            match mesh.ensure_lane(&worker.worker, &worker.serves.hosts, &worker.labels).await {
                Ok(_) => tracing::warn!(consumer = name, "the consumer of a worker was removed; it is made again"),
                Err(error) => {
                    in_vain.insert(worker.worker.clone());
                    if self.in_vain.is_due(&worker.worker, Instant::now()) {
                        tracing::warn!(consumer = name, %error, "the consumer of a worker was removed");
                        let over = async {
                            let runs = mesh.offering(&worker.serves.hosts).await?;
                            left::take_away(mesh, runs, self.shell.clock()).await
                        };
                        if let Err(error) = over.await {
                            tracing::debug!(%error, "what is over may still be on offer");
                        }
                    }
                }
            }
            lanes.forget(&worker.worker);
        }
        self.in_vain.keep_only(&in_vain);
        for queue in presence.workers().into_iter().flat_map(|worker| worker.serves.queues).collect::<BTreeSet<Name>>()
        {
            let lost = Priority::ALL.map(|priority| queue_durable(&queue, priority));
            if lost.iter().any(|name| !there.contains(name) && known_lanes.knows(name))
                && let Err(error) = known_lanes.ensure_queue(mesh, &queue).await
            {
                tracing::warn!(%queue, %error, "the consumers of a queue were removed");
            }
        }
        known_lanes.are_there(names);
    }

    fn take(&mut self, finding: Finding) {
        match finding {
            Finding::LogGone => self.complain(log_gone),
            Finding::Shortened { was, runs, is_all } => {
                lost_end(was, &runs, is_all);
                // Timers that were armed in the time that is lost, and such that have fired in it, stand for nothing that is left;
                // and what is left may be a request that counts as answered.
                self.recoveries.owe_waking(runs.into_iter().map(|Shortened { run, .. }| EntityId::from(run)));
            }
            Finding::Missing { what, error } => self.complain(|| {
                tracing::error!(what, %error, "a part of the mesh is missing and cannot be made again; rr init makes it");
            }),
            Finding::Durable { name, stream, from } => {
                tracing::warn!(consumer = name, stream, from, "a consumer was removed; it is made again");
            }
            Finding::Anew(store) => {
                tracing::warn!(stream = store.stream(), "a stream was removed, with what was in it; it is made again");
                self.replace(store);
                // Everybody must first show up again.
                if store == Store::Workers {
                    self.shell.presence.doubt();
                }
            }
            Finding::Younger(store) => self.replace(store),
            Finding::Behind(store) => {
                tracing::warn!(stream = store.stream(), "a stream has lost its end, as after a loss of power");
                self.replace(store);
            }
        }
    }

    /// What a stream held when it was removed follows from the histories.
    fn replace(&mut self, store: Store) {
        match store {
            Store::Timers => self.recoveries.owe(Recovery::Wake),
            Store::Runs => {
                self.shell.forget_statuses();
                self.recoveries.owe(Recovery::Wake);
            }
            Store::Work => self.recoveries.owe(Recovery::Offers),
            Store::Workers | Store::Output | Store::Quarantine | Store::Locks => {}
        }
    }

    fn complain(&mut self, complain: impl FnOnce()) {
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            complain();
        }
    }

    /// Begins what is owed, if nothing is under way.
    fn recover(&mut self) {
        let shell = Arc::clone(&self.shell);
        self.recoveries.begin(|recovery, ahead| async move {
            let recovered: Result<usize, Error> = match recovery {
                Recovery::Begin | Recovery::Wake => wake(&shell, &ahead).await,
                Recovery::Offers => offer_again(&shell).await,
            };
            match recovered {
                Ok(runs) if recovery == Recovery::Begin => tracing::debug!(runs, "open runs look at their timers"),
                Ok(runs) => tracing::info!(?recovery, runs, "what was lost with a part of the mesh is made again"),
                Err(ref error) => {
                    tracing::warn!(?recovery, %error, "what was lost with a part of the mesh is not made again yet");
                }
            }
            recovered.is_ok()
        });
    }
}

/// Says that nothing is left of any run.
pub(crate) fn log_gone() {
    tracing::error!(
        "the event log, stream RR_EVENTS, is gone, and with it the history of every run: nothing goes on. It is not made \
         again, for an empty one would say that nothing has ever happened. Stop the coordinators, delete the other streams \
         RR_* and KV_rr-*, restore a backup with rr restore DIR, and start the coordinators again"
    );
}

/// Says that what was acknowledged is gone. What is left goes on; that it is not all is for people to know.
fn lost_end(was: Option<u64>, runs: &[Shortened], is_all: bool) {
    let named: Vec<String> = runs
        .iter()
        .take(NAMED_MAX)
        .map(|Shortened { run, shown, left }| format!("{run} (decision {left} of {shown})"))
        .collect();
    tracing::error!(
        was,
        runs = runs.len(),
        named = named.join(", "),
        more_are_possible = !is_all,
        "the event log has lost its end, as after a loss of power, a restore of an old copy, or a purge: what was decided \
         and asked for last is forgotten, claims of attempts with on_lost fail or hold or a lock among it, which may \
         start a second time; rr doctor names runs whose states are ahead, docs/servers.md says what to do"
    );
}
