//! One partition: which of its entities have their turn.
//!
//! Invariants: an entity has one turn at a time, different entities have theirs in parallel; what is in memory is
//! trusted only as long as every delivery of the partition comes here, which a gap in the consumer's numbers or another
//! pin betrays, and on one connection: behind the next one the log may have lost its end.

mod continuity;
mod desk;

use std::{sync::Arc, time::Duration};

use rr_nats::{Connected, FeedConfig, InputMsg, PartitionFeed, PullError};
use rr_schemas::id::Partition;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use crate::shell::Shell;

/// Inputs taken from the feed at once.
const BATCH: usize = 512;
/// Inputs that wait in memory for their entity's turn; more stay in the feed, and behind it in the stream. Eight full
/// decisions: nothing is gained by more, and a fifth of what the server lets be unacknowledged (20,000).
const WAITING_MAX: usize = 4_096;
/// Pause before a feed is opened again that could not be opened or has ended.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// How often it is asked whether another coordinator would rather have the partition.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The longest time between two hand-overs that the other one does not take up.
const HAND_OVER_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Works on a partition until it is told to stop, and then hands it over.
pub(crate) async fn serve(shell: Arc<Shell>, partition: Partition, stop: CancellationToken) {
    if shell.presence.is_rather_anothers(partition) {
        let hesitation = shell.options.hesitation.as_duration();
        if timeout(hesitation, stop.cancelled()).await.is_ok() {
            return;
        }
    }
    while !stop.is_cancelled() {
        let expires = shell.options.pull_expires.as_duration();
        let config = FeedConfig { expires, ..FeedConfig::new(shell.instance.clone()) };
        match PartitionFeed::open(&shell.mesh, partition, config).await {
            Ok(feed) => Server::new(Arc::clone(&shell), feed).run(&stop).await,
            Err(error) => tracing::warn!(partition = partition.0, %error, "partition cannot be pulled"),
        }
        if !stop.is_cancelled() {
            sleep(REOPEN_PAUSE).await;
        }
    }
}

struct Server {
    shell: Arc<Shell>,
    feed: PartitionFeed,
    desk: Desk,
    connected: Connected,
    /// Whether inputs have come since the feed was opened or handed over last.
    holding: bool,
    /// Whether inputs could not be asked for since the last ones came.
    in_trouble: bool,
    /// No hand-over before this; each one that was in vain doubles the pause.
    hand_over_at: Instant,
    hand_over_pause: Duration,
}

enum Event {
    Turned,
    Delivered(Result<Vec<InputMsg>, PullError>),
    DebtsDue,
    Check,
    Stop,
}

impl Server {
    fn new(shell: Arc<Shell>, feed: PartitionFeed) -> Self {
        let (desk, connected) = (Desk::new(Arc::clone(&shell)), shell.mesh.connected());
        Self {
            shell,
            feed,
            desk,
            connected,
            holding: false,
            in_trouble: false,
            hand_over_at: Instant::now(),
            hand_over_pause: CHECK_EVERY,
        }
    }

    async fn run(mut self, stop: &CancellationToken) {
        let mut check = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.desk.next_due();
            // What has its time first, since the rest is always ready under load; then what is done before what is new.
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                _ = check.tick() => Event::Check,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::DebtsDue,
                () = self.desk.one_ends() => Event::Turned,
                batch = self.feed.next_batch(BATCH), if self.desk.waiting() < WAITING_MAX => Event::Delivered(batch),
            };
            if self.connected.has_news() {
                self.connected.look();
                self.desk.forget();
            }
            match event {
                Event::Stop => return self.hand_over().await,
                Event::Turned => self.desk.all_end_that_have(),
                Event::Delivered(Ok(batch)) => {
                    self.holding = true;
                    self.in_trouble = false;
                    self.desk.take(batch);
                }
                Event::Delivered(Err(PullError::Closed)) => return,
                Event::Delivered(Err(error)) => {
                    // It is tried several times a second; once said is enough.
                    if !std::mem::replace(&mut self.in_trouble, true) {
                        tracing::warn!(partition = self.feed.partition().0, %error, "inputs do not come");
                    }
                }
                Event::DebtsDue => self.desk.collect_debts(),
                Event::Check => self.check().await,
            }
            self.desk.begin_turns();
        }
    }

    /// Gives the partition to whom it rather belongs. Where that one does not take it, it stays here for longer and
    /// longer.
    async fn check(&mut self) {
        // Others may need the room while nothing happens here.
        self.desk.evict();
        let now = Instant::now();
        if !self.shell.presence.is_rather_anothers(self.feed.partition()) {
            self.hand_over_pause = CHECK_EVERY;
            return;
        }
        if !self.holding || now < self.hand_over_at {
            return;
        }
        tracing::debug!(partition = self.feed.partition().0, "handed over to whom it rather belongs");
        self.hand_over().await;
        sleep(self.shell.options.hesitation.as_duration()).await;
        self.hand_over_pause = (self.hand_over_pause * 2).min(HAND_OVER_PAUSE_MAX);
        self.hand_over_at = Instant::now() + self.hand_over_pause;
        self.feed.resume();
    }

    /// Stops pulling, gives back what has not begun, ends what has, and forgets everything.
    async fn hand_over(&mut self) {
        self.holding = false;
        let (left, unpinned) = self.feed.pause().await;
        if let Err(error) = unpinned {
            tracing::debug!(partition = self.feed.partition().0, %error, "the pin runs out by itself");
        }
        let grace = self.shell.options.stop_grace.as_duration();
        let ended = timeout(grace, async {
            give_back(left).await;
            self.desk.give_back().await;
            self.desk.close().await;
        });
        if ended.await.is_err() {
            tracing::warn!(partition = self.feed.partition().0, "handed over with turns under way");
        }
        self.desk = Desk::new(Arc::clone(&self.shell));
        if let Err(error) = self.shell.mesh.flush().await {
            tracing::debug!(%error, "acknowledgements may be lost");
        }
    }
}

/// Gives inputs back, so that whoever has the partition next gets them at once.
async fn give_back(inputs: Vec<InputMsg>) {
    for delivery in inputs.into_iter().filter_map(|input| input.delivery) {
        delivery.ack.nak(None).await;
    }
}
