//! Who is present, kept up to date: a view of the bucket `rr-workers` that costs nothing to ask.
//!
//! A key that runs out goes without a message. So an entry counts as long as its time to live says, from when it was
//! read here, and then the server is asked whether it was renewed: a reader that has fallen behind must not take its own
//! silence for somebody's absence. What the server does not answer changes nothing.

mod entries;
mod served;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use rr_schemas::{
    host::Host,
    name::{InstanceId, WorkerName},
    offer::Target,
    presence::{CoordinatorPresence, WorkerPresence},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use self::entries::{Fate, News, Overdue, Roster};
use crate::{
    bucket::{Entry, WORKERS},
    error::Error,
    link::Link,
    mesh::Mesh,
    ordered::{Content, Ordered, Step},
};

/// Pause before reading or asking is tried again after an error.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Entries that the server is asked for at once.
const ASKED_AT_ONCE: usize = 64;

/// Who is present. Kept up to date by tasks that end with it; while the connection is down it shows the last state.
#[derive(Debug)]
pub struct PresenceWatch {
    roster: Shared,
    changes: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl PresenceWatch {
    /// Opens the view; returns when it is complete.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(mesh: &Mesh) -> Result<Self, Error> {
        let roster = Shared::default();
        let mut reader = Reader::new(mesh.link(), roster.clone());
        // The first view is read here, so that an error is told.
        reader.read_view().await?;
        let changes = roster.changes.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(reader.run());
        tasks.spawn(let_go(mesh.link().clone(), roster.clone()));
        Ok(Self { roster, changes, _tasks: tasks })
    }

    /// Every worker that is present.
    pub fn workers(&self) -> Vec<WorkerPresence> {
        let workers = self.roster.lock().workers();
        workers.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// Every coordinator that is present.
    pub fn coordinators(&self) -> Vec<CoordinatorPresence> {
        let coordinators = self.roster.lock().coordinators();
        coordinators.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// The instance of every coordinator that is present; costs nothing.
    pub fn coordinator_instances(&self) -> Arc<[InstanceId]> {
        self.roster.lock().instances()
    }

    /// A worker, where it is present.
    pub fn worker(&self, name: &WorkerName) -> Option<WorkerPresence> {
        let worker = self.roster.lock().worker(name).cloned();
        worker.map(Arc::unwrap_or_clone)
    }

    /// Whether this very process of a worker is present.
    pub fn instance_present(&self, name: &WorkerName, instance: &InstanceId) -> bool {
        self.roster.lock().worker(name).is_some_and(|worker| worker.instance == *instance)
    }

    /// Whoever is present and says that they serve a host; see [`Mesh::lane_hosts`] for what they really serve.
    pub fn who_shows(&self, host: &Host) -> Vec<WorkerName> {
        self.roster.lock().who_shows(host).cloned().collect()
    }

    /// Whether somebody who is present says that they serve a target. The same cost whatever the number of workers.
    pub fn serves(&self, target: &Target) -> bool {
        self.roster.lock().serves(target)
    }

    /// Waits until somebody came, went or changed since this was last asked; renewals count too.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The view itself holds the sender.
            std::future::pending::<()>().await;
        }
    }
}

/// The one roster of a view. Changed in place, locked for single look-ups and changes only.
#[derive(Clone, Debug)]
struct Shared {
    roster: Arc<Mutex<Roster>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { roster: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Roster> {
        // Whatever a change that failed has left is corrected by the next renewals.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the roster and tells those who wait for changes.
    fn change<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        let result = change(&mut self.lock());
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        result
    }
}

/// Reads the bucket into the roster.
struct Reader {
    messages: Ordered,
    roster: Shared,
    /// A view that is read anew takes the place of the old one when it is complete.
    fresh: Option<Roster>,
}

impl Reader {
    fn new(link: &Link, roster: Shared) -> Self {
        Self { messages: WORKERS.reader(link, ">", Content::Whole), roster, fresh: None }
    }

    async fn run(mut self) {
        loop {
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "presence cannot be read");
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Reads until the view is complete.
    async fn read_view(&mut self) -> Result<(), Error> {
        self.read().await?;
        while self.fresh.is_some() {
            self.read().await?;
        }
        Ok(())
    }

    /// Reads one step.
    async fn read(&mut self) -> Result<(), Error> {
        let step =
            if self.fresh.is_some() { self.messages.next_of_these().await? } else { Some(self.messages.next().await?) };
        let (news, pending) = match step {
            Some(Step::Begin { pending }) => {
                self.fresh = Some(Roster::begun());
                (None, pending)
            }
            Some(Step::Message(pulled)) => (News::read(&pulled.raw), pulled.pending),
            None => (None, 0),
        };
        let now = Instant::now();
        let Some(fresh) = &mut self.fresh else {
            if let Some(news) = news {
                self.roster.change(|roster| roster.apply(news, now));
            }
            return Ok(());
        };
        if let Some(news) = news {
            fresh.apply(news, now);
        }
        if pending == 0
            && let Some(mut fresh) = self.fresh.take()
        {
            // The old one is dropped when nobody waits for the lock any more.
            self.roster.change(|roster| {
                fresh.keep(roster, now);
                std::mem::swap(roster, &mut fresh);
            });
        }
        Ok(())
    }
}

/// Lets entries go that have run out, when the server says so too.
async fn let_go(link: Link, roster: Shared) {
    let mut changes = roster.changes.subscribe();
    loop {
        changes.mark_unchanged();
        let next = roster.lock().next_deadline();
        tokio::select! {
            biased;
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            // What has come may run out sooner. The sender lives as long as the roster.
            _ = changes.changed() => continue,
        }
        let overdue = roster.lock().overdue(Instant::now(), ASKED_AT_ONCE);
        let mut settled = stream::iter(overdue).map(|overdue| ask(&link, overdue)).buffer_unordered(ASKED_AT_ONCE);
        let mut failed = false;
        while let Some((overdue, fate)) = settled.next().await {
            failed |= matches!(fate, Fate::Unknown { .. });
            roster.change(|roster| roster.settle(&overdue, fate, Instant::now()));
        }
        if failed {
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// Asks the server what became of an entry.
async fn ask(link: &Link, overdue: Overdue) -> (Overdue, Fate) {
    let fate = match WORKERS.get(link, &overdue.key).await {
        // Its time has passed since it was stored: the server is about to remove it, or the next to write it is another.
        Ok(Some(Entry { seq, .. })) if seq <= overdue.seq => Fate::Gone,
        Ok(Some(Entry { value: Some(message), .. })) => News::read(&message).map_or(Fate::Gone, Fate::Renewed),
        Ok(Some(Entry { value: None, .. }) | None) => Fate::Gone,
        Err(error) => {
            tracing::debug!(%error, key = overdue.key, "the server does not say whether this was renewed");
            Fate::Unknown { again: Instant::now() + RETRY_PAUSE }
        }
    };
    (overdue, fate)
}
