//! Who is present, kept up to date: a view of the bucket `rr-workers` that costs nothing to ask.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rr_schemas::{
    name::{InstanceId, WorkerName},
    offer::Target,
    presence::{CoordinatorPresence, Hosts, WorkerPresence},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    bucket::{WORKERS, value},
    error::Error,
    mesh::Mesh,
    ordered::{Content, Ordered, Step},
    presence::Presentable as _,
    raw::RawMessage,
};

/// Pause before reading is tried again after an error that should not pass by itself.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
struct Roster {
    workers: BTreeMap<String, WorkerPresence>,
    coordinators: BTreeMap<String, CoordinatorPresence>,
}

impl Roster {
    fn apply(&mut self, message: &RawMessage) {
        let Some(key) = WORKERS.key_of(message) else { return };
        self.workers.remove(key);
        self.coordinators.remove(key);
        if message.is_removed() {
            return;
        }
        if let Some(worker) = value::<WorkerPresence>(message).ok().filter(|worker| worker.key() == key) {
            self.workers.insert(key.to_owned(), worker);
        } else if let Some(found) = value::<CoordinatorPresence>(message).ok().filter(|found| found.key() == key) {
            self.coordinators.insert(key.to_owned(), found);
        }
    }
}

/// Who is present. Kept up to date by a task that ends with it; while the connection is down it shows the last state.
#[derive(Debug)]
pub struct PresenceWatch {
    roster: watch::Receiver<Arc<Roster>>,
    _tasks: JoinSet<()>,
}

impl PresenceWatch {
    /// Opens the view; returns when it is complete.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(mesh: &Mesh) -> Result<Self, Error> {
        let mut keeper = Keeper::new(mesh);
        // The first view is read here, so that an error is told.
        let first = keeper.read().await?;
        let (sender, roster) = watch::channel(first);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                match keeper.read().await {
                    Ok(roster) => {
                        if sender.send(roster).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "presence cannot be read");
                        sleep(RETRY_PAUSE).await;
                    }
                }
            }
        });
        Ok(Self { roster, _tasks: tasks })
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// Every worker that is present.
    pub fn workers(&self) -> Vec<WorkerPresence> {
        self.roster().workers.values().cloned().collect()
    }

    /// Every coordinator that is present.
    pub fn coordinators(&self) -> Vec<CoordinatorPresence> {
        self.roster().coordinators.values().cloned().collect()
    }

    /// A worker, where it is present.
    pub fn worker(&self, name: &WorkerName) -> Option<WorkerPresence> {
        self.roster().workers.get(&crate::subject::worker_key(name)).cloned()
    }

    /// Whether this very process of a worker is present.
    pub fn instance_present(&self, name: &WorkerName, instance: &InstanceId) -> bool {
        let roster = self.roster();
        roster.workers.get(&crate::subject::worker_key(name)).is_some_and(|worker| worker.instance == *instance)
    }

    /// Whether somebody who is present serves a target.
    pub fn serves(&self, target: &Target) -> bool {
        self.roster().workers.values().any(|worker| match target {
            Target::Worker(name) => worker.worker == *name,
            Target::Queue(queue) => worker.serves.queues.contains(queue),
            Target::Host(host) => match &worker.serves.hosts {
                Hosts::None => false,
                Hosts::All => true,
                Hosts::Only(hosts) => hosts.contains(host),
            },
        })
    }

    /// Waits until somebody came, went or changed since this was last asked; renewals count too.
    pub async fn changed(&mut self) {
        if self.roster.changed().await.is_err() {
            // The task never ends before the view.
            std::future::pending::<()>().await;
        }
    }
}

struct Keeper {
    reader: Ordered,
    roster: Roster,
}

impl Keeper {
    fn new(mesh: &Mesh) -> Self {
        Self { reader: WORKERS.reader(mesh.link(), ">", Content::Whole), roster: Roster::default() }
    }

    /// Reads until the view is complete again.
    async fn read(&mut self) -> Result<Arc<Roster>, Error> {
        loop {
            let pending = match self.reader.next().await? {
                Step::Begin { pending } => {
                    self.roster = Roster::default();
                    pending
                }
                Step::Message(pulled) => {
                    self.roster.apply(&pulled.raw);
                    pulled.pending
                }
            };
            if pending == 0 {
                return Ok(Arc::new(self.roster.clone()));
            }
        }
    }
}
