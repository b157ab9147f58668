//! Presence: the worker shows itself in the mesh for as long as it lives.

use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{Connected, Mesh, PresenceError, Present};
use rr_schemas::{name::InstanceId, presence::WorkerPresence};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Options;

/// What a worker shows of itself.
pub(crate) fn card(options: &Options, instance: &InstanceId, since: Timestamp) -> WorkerPresence {
    WorkerPresence {
        worker: options.name.clone(),
        instance: instance.clone(),
        serves: options.serves.to_wire(),
        capacity: options.capacity.get(),
        labels: options.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since,
        draining: false,
    }
}

/// The mark by which a worker shows itself.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) mesh: Mesh,
    /// What it shows.
    pub(crate) card: WorkerPresence,
    pub(crate) ttl: Duration,
    /// Earlier lives of this worker, which are over.
    pub(crate) dead: Vec<InstanceId>,
}

impl Mark {
    /// Shows the worker. The mark of any earlier life is taken over: one that was killed before it could show itself leaves
    /// the mark of the one before it. That of anybody else is an error.
    pub(crate) async fn show(&self) -> Result<Present<WorkerPresence>, PresenceError> {
        let Self { mesh, card, ttl, dead } = self;
        match mesh.present_worker(card.clone(), *ttl).await {
            Err(PresenceError::Taken { instance, .. }) if dead.contains(&instance) => {
                let mut present = mesh.present_worker(WorkerPresence { instance, ..card.clone() }, *ttl).await?;
                present.update(card.clone()).await?;
                Ok(present)
            }
            shown => shown,
        }
    }
}

/// Renews until `stop`, and at once when the link is back; then takes the mark away. When another worker has taken the name meanwhile, this one must not go
/// on: `yielded` is cancelled.
pub(crate) async fn keep(
    mut mark: Mark,
    present: Present<WorkerPresence>,
    renew: Duration,
    (mut draining, mut connected): (watch::Receiver<bool>, Connected),
    stop: CancellationToken,
    yielded: CancellationToken,
) {
    let mut present = present.telling_time();
    let mut beat = interval(renew.max(Duration::from_millis(10)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.reset();
    let (mut is_open, mut is_linked) = (true, true);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = draining.changed(), if is_open => {
                is_open = changed.is_ok();
                mark.card.draining = *draining.borrow_and_update();
            }
            changed = connected.changed(), if is_linked => is_linked = changed.is_ok(),
            _ = beat.tick() => {}
        }
        // Without a link it would only take time.
        let is_connected = connected.look();
        let result = if is_connected { present.update(mark.card.clone()).await } else { Ok(()) };
        match result {
            Ok(()) => {}
            // A server that has lost its end, or was restored, has what it had before.
            Err(PresenceError::Taken { instance, .. }) if mark.dead.contains(&instance) => {
                tracing::warn!(worker = %mark.card.worker, %instance, "the mark of an earlier life is there again; it is taken over");
                match mark.show().await {
                    Ok(again) => present = again.telling_time(),
                    Err(error) => tracing::warn!(%error, "presence not renewed"),
                }
            }
            Err(PresenceError::Taken { instance, since }) => {
                tracing::error!(worker = %mark.card.worker, %instance, %since, "another worker has taken this name");
                yielded.cancel();
                return;
            }
            Err(error @ (PresenceError::Publish(_) | PresenceError::Read(_))) => {
                tracing::warn!(%error, "presence not renewed");
            }
        }
    }
    // Without a link the mark runs out by itself; nobody waits for that.
    let is_connected = connected.stands();
    if is_connected && let Err(error) = present.withdraw().await {
        tracing::debug!(%error, "presence runs out by itself");
    }
}
