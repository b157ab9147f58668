//! Who is present, and this coordinator's own presence.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rr_nats::{Connected, Mesh, PresenceWatch};
use rr_schemas::{
    host::Host,
    id::Partition,
    name::{InstanceId, WorkerName},
    offer::Target,
    presence::{CoordinatorPresence, WorkerPresence},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{preference::Preference, shell::Shell};

/// Keys live whole seconds, and are renewed at a third of that.
const TTL_MIN: Duration = Duration::from_secs(3);
/// Pause before presence is shown again after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// A presence that cannot be withdrawn in this time runs out by itself.
const WITHDRAW_DEADLINE: Duration = Duration::from_secs(1);

/// Who is present, as far as is known here.
#[derive(Debug)]
pub(crate) struct Presence {
    seen: PresenceWatch,
    connected: Connected,
    /// When the connection came back last, or when this coordinator started.
    back_since: watch::Receiver<Option<Instant>>,
    /// When this coordinator's own presence could not be renewed last: then others could not renew theirs either, though
    /// every connection stood. Held for single look-ups only.
    gap: Mutex<Option<Instant>>,
    ttl: Duration,
    /// Held for single look-ups only.
    preference: Mutex<Preference>,
}

impl Presence {
    /// `back_since` is kept by [`watch_connection`].
    pub(crate) fn new(
        mesh: &Mesh,
        seen: PresenceWatch,
        instance: InstanceId,
        back_since: watch::Receiver<Option<Instant>>,
        ttl: Duration,
    ) -> Self {
        let connected = mesh.connected();
        Self {
            seen,
            connected,
            back_since,
            gap: Mutex::default(),
            ttl: ttl.max(TTL_MIN),
            preference: Mutex::new(Preference::new(mesh.partitions(), instance)),
        }
    }

    /// Whether somebody's absence means anything: after a break of the connection everybody first shows up again.
    pub(crate) fn is_steady(&self) -> bool {
        let is_long_ago = |since: Option<Instant>| since.is_none_or(|since| since.elapsed() >= self.ttl);
        self.connected.stands() && is_long_ago(*self.back_since.borrow()) && is_long_ago(*self.gap())
    }

    /// What is seen of others may be wrong: their absence means nothing until they had the time to show up again.
    pub(crate) fn doubt(&self) {
        *self.gap() = Some(Instant::now());
    }

    fn gap(&self) -> MutexGuard<'_, Option<Instant>> {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this very process of a worker is present.
    pub(crate) fn instance_present(&self, worker: &WorkerName, instance: &InstanceId) -> bool {
        self.seen.instance_present(worker, instance)
    }

    /// Every worker that is present.
    pub(crate) fn workers(&self) -> Vec<WorkerPresence> {
        self.seen.workers()
    }

    /// Whether a worker is present.
    pub(crate) fn is_here(&self, worker: &WorkerName) -> bool {
        self.seen.serves(&Target::Worker(worker.clone()))
    }

    /// Who is present and says that they serve a host.
    pub(crate) fn who_shows(&self, host: &Host) -> Vec<WorkerName> {
        self.seen.who_shows(host)
    }

    /// Whether somebody who is present says that they serve a target.
    pub(crate) fn serves(&self, target: &Target) -> bool {
        self.seen.serves(target)
    }

    /// Whether another coordinator is present that should rather work on a partition.
    pub(crate) fn is_rather_anothers(&self, partition: Partition) -> bool {
        // What a panic leaves behind is a spread all the same: it only says who rather works.
        let mut preference = self.preference.lock().unwrap_or_else(PoisonError::into_inner);
        preference.among(self.seen.coordinator_instances());
        preference.is_anothers(partition)
    }
}

/// Notes when the connection comes back, until the handle to the note is gone. A break too short to be seen here is
/// too short for anybody's presence to run out.
pub(crate) async fn watch_connection(mut connected: Connected, back: watch::Sender<Option<Instant>>) {
    let mut broken = false;
    while connected.changed().await.is_ok() {
        let stands = connected.look();
        if stands && broken {
            back.send_replace(Some(Instant::now()));
        }
        broken = !stands;
    }
}

/// Shows that this coordinator is present, until it stops.
pub(crate) async fn show(shell: Arc<Shell>, stop: CancellationToken) {
    let ttl = shell.options.presence_ttl.as_duration().max(TTL_MIN);
    let value = CoordinatorPresence {
        instance: shell.instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: shell.clock(),
    };
    let mut present = loop {
        match shell.mesh.present_coordinator(value.clone(), ttl).await {
            Ok(present) => break present.telling_time(),
            Err(error) => tracing::warn!(%error, "presence is not shown"),
        }
        if timeout(RETRY_PAUSE, stop.cancelled()).await.is_ok() {
            return;
        }
    };
    let mut tick = interval(ttl / 3);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        if let Err(error) = present.renew().await {
            tracing::warn!(%error, "presence is not renewed");
            shell.presence.doubt();
            sleep(RETRY_PAUSE).await;
            tick.reset_immediately();
        }
    }
    if let Ok(Err(error)) = timeout(WITHDRAW_DEADLINE, present.withdraw()).await {
        tracing::debug!(%error, "presence runs out by itself");
    }
}
