//! The handle to a model, and what drives it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rr_nats::{
    Error, Link,
    transport::{Observer, Outgoing},
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    client::ModelClient,
    config::ModelConfig,
    fault::{Chances, Counts, Fault},
    journal::{Journal, Noted},
    world::World,
};

/// A model of one server, or of a cluster. Cheap to clone; it ends with the last handle and the last client.
#[derive(Clone, Debug)]
pub struct Model {
    shared: Arc<Shared>,
}

/// What the handle, its clients and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    begun: Instant,
    start: Timestamp,
    /// Told when something is due earlier than the driver knows.
    news: Arc<Notify>,
    /// Dropped with the model, which ends its driver.
    driver: Mutex<JoinSet<()>>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        // No code panics while it holds the lock; what it left is whole even if one did.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the model was made.
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Lets everything happen that is due, then does something, and what is due from that.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let now = self.now();
        // The driver waits for this.
        let before = world.next_due();
        world.run(now);
        let done = act(&mut world);
        world.run(now);
        let after = world.next_due();
        drop(world);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.news.notify_one();
        }
        done
    }
}

/// Lets happen what is due, when it is due.
async fn drive(shared: Weak<Shared>, news: Arc<Notify>) {
    loop {
        // It must not be what keeps the model while it waits.
        let Some(strong) = shared.upgrade() else { return };
        let due = strong.act(|world| world.next_due()).map(|due| strong.begun + due);
        drop(strong);
        match due {
            Some(due) => {
                tokio::select! {
                    biased;
                    () = news.notified() => {}
                    () = sleep_until(due) => {}
                }
            }
            None => news.notified().await,
        }
    }
}

impl Model {
    /// Makes a model in which nothing is stored. To be called within a tokio runtime, whose clock becomes the model's.
    pub fn new(config: ModelConfig) -> Self {
        let start = config.start;
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(config)),
            begun: Instant::now(),
            start,
            news: Arc::default(),
            driver: Mutex::default(),
        });
        let driver = drive(Arc::downgrade(&shared), Arc::clone(&shared.news));
        shared.driver.lock().unwrap_or_else(PoisonError::into_inner).spawn(driver);
        Self { shared }
    }

    /// A connection of a client; faults name it by its name. A second client of the same name takes the place of the first one,
    /// which is killed.
    pub fn client(&self, name: &str, observer: Observer) -> ModelClient {
        ModelClient::new(&self.shared, name, observer)
    }

    /// The same as a link.
    ///
    /// # Errors
    /// Those of [`Link::over`].
    pub async fn link(&self, name: &str) -> Result<Link, Error> {
        Link::over(|observer| self.client(name, observer)).await
    }

    /// What the servers' clock says.
    pub fn now(&self) -> Timestamp {
        let since = SignedDuration::try_from(self.shared.now()).unwrap_or(SignedDuration::MAX);
        self.start_plus(since)
    }

    fn start_plus(&self, since: SignedDuration) -> Timestamp {
        self.shared.start.checked_add(since).unwrap_or(Timestamp::MAX)
    }

    /// Lets something go wrong now.
    pub fn inject(&self, fault: &Fault) {
        self.shared.act(|world| world.inject(fault));
    }

    /// What goes wrong by chance from now on, for one client, or for all that have no chances of their own.
    pub fn set_chances(&self, client: Option<&str>, chances: Chances) {
        self.shared.act(|world| world.set_chances(client, chances));
    }

    /// Lets the servers hear a message at once from somebody who has no connection here, and hears no answer.
    pub fn say(&self, message: Outgoing) {
        self.shared.act(|world| world.hear(message));
    }

    /// The streams whose copies have something to agree on now, in the order of their names.
    pub fn disagreeing(&self) -> Vec<String> {
        self.shared.act(|world| world.jet.disagreeing().map(str::to_owned).collect())
    }

    /// Keeps a journal of these streams from now on, in place of the one that was kept before.
    pub fn keep_journal(&self, streams: &[&str]) {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        self.shared.act(|world| world.journal = Journal { streams, ..Journal::default() });
    }

    /// Everything that was stored in the streams of which a journal is kept, in order.
    pub fn journal(&self) -> Vec<Noted> {
        self.shared.act(|world| world.journal.noted.clone())
    }

    /// How often each thing has gone wrong.
    pub fn counts(&self) -> Counts {
        self.shared.act(|world| world.counts.clone())
    }
}
