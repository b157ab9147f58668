//! The inputs of one partition, pulled by a task of its own.
//!
//! Only pull requests keep a partition with its coordinator, so this task goes on asking however busy the coordinator
//! is; what it has read waits in a bounded channel. Invariant: every message that the server delivered comes out, or is
//! in the quarantine and acknowledged, or is delivered again.

use std::{sync::Arc, time::Duration};

use rr_schemas::{id::Partition, name::InstanceId};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    error::Error,
    input::{self, Delivery, Finder, InputMsg},
    link::DEADLINE,
    mesh::Mesh,
    pull::{Pinned, PullConfig, PullError, Pulled, Puller},
    subject,
};

/// Messages that are asked for at once: the knee of the measured throughput.
const BATCH: usize = 256;
/// Pause before a consumer that does not answer is asked again: a leader is elected meanwhile.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How long a feed may take to fall silent: an answer of the server.
const QUIET_DEADLINE: Duration = Duration::from_millis(500);

/// How to pull a partition.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Inputs that wait in the channel at most. Default: 1024, two full decisions.
    pub capacity: usize,
    /// After which time a pull request comes back; at most a third of the mesh's pin timeout. Default: 1 s.
    pub expires: Duration,
    /// Who quarantines what cannot be read.
    pub finder: InstanceId,
}

impl FeedConfig {
    /// The defaults, for this coordinator.
    pub const fn new(finder: InstanceId) -> Self {
        Self { capacity: 1_024, expires: Duration::from_secs(1), finder }
    }
}

/// The inputs of one partition. Dropping it ends its task; the pin then runs out by itself.
#[derive(Debug)]
pub struct PartitionFeed {
    mesh: Mesh,
    partition: Partition,
    inputs: mpsc::Receiver<Result<InputMsg, PullError>>,
    wanted: watch::Sender<Wanted>,
    /// How far the task has followed.
    state: watch::Receiver<State>,
    pin: watch::Receiver<Option<String>>,
    tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Pull,
    Pause,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Pulling,
    /// Nothing is asked for any more; what was delivered before still comes.
    Closing,
    /// Nothing comes.
    Quiet,
}

impl PartitionFeed {
    /// Opens the feed and begins to pull.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(mesh: &Mesh, partition: Partition, config: FeedConfig) -> Result<Self, Error> {
        let pull = PullConfig { expires: config.expires, heartbeat: config.expires / 3, pinned: Pinned::Group };
        let puller = open_puller(mesh, partition, pull).await?;
        let (sender, inputs) = mpsc::channel(config.capacity.max(1));
        let (wanted, wanted_receiver) = watch::channel(Wanted::Pull);
        let (state_sender, state) = watch::channel(State::Pulling);
        let (pin_sender, pin) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let task = Task {
            mesh: mesh.clone(),
            partition,
            pull,
            puller,
            wanted: wanted_receiver,
            state: state_sender,
            pin: pin_sender,
            out: sender,
            finder: Arc::new(config.finder),
        };
        tasks.spawn(task.run());
        Ok(Self { mesh: mesh.clone(), partition, inputs, wanted, state, pin, tasks })
    }

    /// The partition.
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// Waits for at least one input and takes what is there, up to `max`. Losing the future loses nothing.
    ///
    /// # Errors
    /// [`PullError::NoResponders`] and the like: the feed goes on trying by itself; [`PullError::Closed`] is final.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<InputMsg>, PullError> {
        let mut batch = match self.inputs.recv().await {
            Some(first) => vec![first?],
            None => return Err(PullError::Closed),
        };
        while batch.len() < max {
            match self.inputs.try_recv() {
                Ok(Ok(next)) => batch.push(next),
                // The trouble shows again by itself, if it lasts.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(batch)
    }

    /// The pin under which the last input came.
    pub fn pin(&self) -> Option<String> {
        self.pin.borrow().clone()
    }

    /// Stops pulling, gives the partition to whoever else asks for it, and returns what was delivered and not taken yet.
    ///
    /// # Errors
    /// The partition goes over all the same, when its pin has run out.
    pub async fn pause(&mut self) -> (Vec<InputMsg>, Result<(), Error>) {
        #[derive(Serialize)]
        struct Group {
            group: &'static str,
        }
        #[derive(Deserialize)]
        struct Unpinned {}
        self.wanted.send_replace(Wanted::Pause);
        // What still waits at the server would be pinned again, for the whole time that a pin lasts.
        let left = self.drain().await;
        if self.pin().is_none() {
            return (left, Ok(()));
        }
        let durable = subject::partition_durable(self.partition);
        let operation = format!("CONSUMER.UNPIN.{}.{durable}", subject::EVENTS);
        let request = Group { group: subject::PIN_GROUP };
        let unpinned = self.mesh.link().api_once::<Unpinned>(&operation, &request, DEADLINE).await;
        (left, unpinned.map(|Unpinned {}| ()))
    }

    /// What comes until nothing can come any more.
    async fn drain(&mut self) -> Vec<InputMsg> {
        let deadline = Instant::now() + QUIET_DEADLINE;
        let mut left = Vec::new();
        loop {
            tokio::select! {
                biased;
                input = self.inputs.recv() => match input {
                    Some(input) => left.extend(input),
                    None => return left,
                },
                _ = self.state.wait_for(|state| *state == State::Quiet) => break,
                () = sleep_until(deadline) => {
                    tracing::debug!(partition = self.partition.0, "the feed does not fall silent");
                    break;
                }
            }
        }
        left.extend(std::iter::from_fn(|| self.inputs.try_recv().ok()).flatten());
        left
    }

    /// Pulls again.
    pub fn resume(&self) {
        self.wanted.send_replace(Wanted::Pull);
    }

    /// Whether the feed's task still runs; it ends with the connection.
    pub fn is_open(&self) -> bool {
        !self.tasks.is_empty() && !self.inputs.is_closed()
    }
}

async fn open_puller(mesh: &Mesh, partition: Partition, pull: PullConfig) -> Result<Puller, Error> {
    Puller::open(mesh.link(), subject::EVENTS, &subject::partition_durable(partition), pull).await
}

struct Task {
    mesh: Mesh,
    partition: Partition,
    pull: PullConfig,
    puller: Puller,
    wanted: watch::Receiver<Wanted>,
    state: watch::Sender<State>,
    pin: watch::Sender<Option<String>>,
    out: mpsc::Sender<Result<InputMsg, PullError>>,
    finder: Arc<InstanceId>,
}

impl Task {
    async fn run(mut self) {
        while !self.out.is_closed() {
            let step = self.step().await;
            let Err(error) = step else { continue };
            let is_final = error == PullError::Closed;
            // A full channel means that the coordinator knows of trouble or has enough to do.
            if self.out.try_send(Err(error)).is_err() {
                tracing::debug!("a partition cannot be pulled");
            }
            if is_final {
                return;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Asks for more where more is wanted, and hands over the next message.
    async fn step(&mut self) -> Result<(), PullError> {
        let wanted = self.follow().await?;
        if wanted == Wanted::Pull {
            self.ask().await?;
        }
        // Somebody else has the pin now, and must keep it.
        if self.puller.pin().is_none() && self.pin.borrow().is_some() {
            self.pin.send_replace(None);
        }
        let idle = self.puller.outstanding() == 0;
        let pulled = tokio::select! {
            biased;
            pulled = self.puller.next() => pulled?,
            changed = self.wanted.changed() => return changed.map_err(|_| PullError::Closed),
            () = self.out.closed() => return Ok(()),
            // The connection is down or the channel is full: look again soon.
            () = sleep(RETRY_PAUSE), if idle && wanted == Wanted::Pull => return Ok(()),
        };
        if let Some(pulled) = pulled {
            self.hand_over(pulled).await?;
        }
        Ok(())
    }

    /// Does what is wanted: a pause takes back what was asked for, so that nothing of it waits at the server.
    async fn follow(&mut self) -> Result<Wanted, PullError> {
        let wanted = *self.wanted.borrow_and_update();
        let state = *self.state.borrow();
        match (wanted, state) {
            (Wanted::Pull, State::Pulling) | (Wanted::Pause, State::Quiet) => {}
            (Wanted::Pause, State::Pulling) => {
                self.puller.close().await;
                let is_quiet = self.puller.outstanding() == 0;
                self.state.send_replace(if is_quiet { State::Quiet } else { State::Closing });
            }
            (Wanted::Pause, State::Closing) => {
                if self.puller.outstanding() == 0 {
                    self.state.send_replace(State::Quiet);
                }
            }
            (Wanted::Pull, State::Closing | State::Quiet) => {
                let opened = open_puller(&self.mesh, self.partition, self.pull).await;
                self.puller = opened.map_err(|_| PullError::Closed)?;
                self.state.send_replace(State::Pulling);
            }
        }
        Ok(wanted)
    }

    /// Keeps a batch asked for, but no more than fits; one message is asked for even then, because an unasked partition
    /// goes to somebody else.
    async fn ask(&mut self) -> Result<(), PullError> {
        let room = self.out.capacity().saturating_sub(self.puller.outstanding());
        let missing = BATCH.saturating_sub(self.puller.outstanding()).min(room);
        if self.puller.outstanding() == 0 {
            self.puller.request(missing.max(1)).await
        } else if missing >= BATCH / 2 {
            self.puller.request(missing).await
        } else {
            Ok(())
        }
    }

    async fn hand_over(&mut self, pulled: Pulled) -> Result<(), PullError> {
        if *self.pin.borrow() != pulled.pin {
            self.pin.send_replace(pulled.pin.clone());
        }
        let (raw, delivery) = Delivery::split(pulled);
        match input::read(raw, Some(delivery), &self.mesh) {
            Ok(message) => self.send(message).await,
            Err(unreadable) => {
                self.put_away(&unreadable).await;
                Ok(())
            }
        }
    }

    /// Hands a message over; while the channel is full the partition is kept by asking for one more now and then, which
    /// waits in the connection's buffer.
    async fn send(&mut self, message: InputMsg) -> Result<(), PullError> {
        loop {
            let wanted = self.follow().await?;
            let keep = self.puller.outstanding() == 0 && wanted == Wanted::Pull;
            tokio::select! {
                biased;
                permit = self.out.reserve() => {
                    permit.map_err(|_| PullError::Closed)?.send(Ok(message));
                    return Ok(());
                }
                () = sleep(RETRY_PAUSE), if keep => {}
                changed = self.wanted.changed() => {
                    changed.map_err(|_| PullError::Closed)?;
                    continue;
                }
            }
            if keep {
                self.puller.request(1).await?;
            }
        }
    }

    async fn put_away(&self, unreadable: &input::Unreadable) {
        let input::Unreadable { raw, delivery, reason } = unreadable;
        tracing::warn!(subject = raw.subject, seq = raw.seq, reason, "quarantined");
        match (self.mesh.quarantine(Finder::Coordinator(&self.finder), raw, reason).await, delivery) {
            (Ok(()), Some(delivery)) => delivery.ack.ack().await,
            (Ok(()), None) => {}
            // It is delivered again.
            (Err(error), _) => tracing::warn!(%error, "the quarantine did not take a message"),
        }
    }
}
