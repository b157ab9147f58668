//! The one timer of an entity: a message schedule in a stream that only coordinators publish to.
//!
//! It fires into that stream too, for schedules do not cross streams; whoever pulls [`Timers`] then tells the entity.
//! Invariant: a timer is only ever put in place of one that is no earlier, and of the one that its author has seen. So
//! whoever has armed one knows that the entity is told by then, whatever others do.

use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::{
    codec::{Format, JSON},
    id::EntityId,
    input::Input,
    name::InstanceId,
    text::Echo,
};

use crate::{
    ack::FreshAck,
    direct::{Which, read_leader},
    error::{Error, PublishError},
    input,
    link::{expecting, json_message, typed},
    mesh::Mesh,
    pull::{Pinned, PullConfig, PullError, Pulled, Puller},
    raw::RawMessage,
    subject,
    subject::header,
};

/// How a schedule says that it fires once.
const AT: &str = "@at ";

/// A timer that is armed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Armed {
    /// When it fires.
    pub at: Timestamp,
    /// Its sequence: what the next one expects.
    pub seq: u64,
}

impl Armed {
    /// What is no timer of ours never fires as far as we know.
    fn read(raw: &RawMessage) -> Self {
        let at = raw.schedule().and_then(|schedule| schedule.strip_prefix(AT)?.parse().ok());
        Self { at: at.unwrap_or(Timestamp::MAX), seq: raw.seq }
    }
}

impl Mesh {
    /// The entity's timer, where one is armed. It may never fire: a server that was killed brings back one that an earlier
    /// one had replaced, where that one has fired, and does not know it as a timer.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn armed(&self, entity: &EntityId) -> Result<Option<Armed>, Error> {
        let subject = subject::armed(self.partition_of(entity), entity);
        let last = read_leader(self.link(), subject::TIMERS, Which::Last { last_by_subj: &subject }).await?;
        Ok(last.as_ref().map(Armed::read))
    }

    /// Arms the entity's timer for `at`, in place of the one that is there. Call it only with none there that is earlier.
    ///
    /// A timer fires up to 250 ms late. One that fires voids what took its place at that moment: ask what is armed
    /// before the fired one is answered.
    ///
    /// # Errors
    /// [`PublishError::Conflict`] when another one is there: somebody has armed it, or it has fired.
    pub async fn arm(&self, entity: &EntityId, at: Timestamp, there: Option<Armed>) -> Result<Armed, PublishError> {
        let partition = self.partition_of(entity);
        let mut headers = typed(JSON);
        headers.insert(header::SCHEDULE, format!("{AT}{at}"));
        headers.insert(header::SCHEDULE_TARGET, subject::fired(partition, entity));
        expecting(&mut headers, there.map_or(0, |there| there.seq), None);
        let body = input::wrap(Format::Json, "coordinator:timer", entity, &Input::Timer {})
            .map_err(|error| input::unencodable(&error))?;
        let message = json_message(subject::armed(partition, entity), headers, body);
        self.link().publish(message).await.map(|stored| Armed { at, seq: stored.seq })
    }

    /// Tells an entity that its timer has fired. Doing so again is harmless.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn tell_fired(&self, entity: &EntityId, instance: &InstanceId) -> Result<(), PublishError> {
        let subject = subject::timer(self.partition_of(entity), entity);
        self.put(subject, typed(JSON), &input::from_coordinator(instance), entity, &Input::Timer {}).await.map(|_| ())
    }
}

/// A timer that has fired.
#[derive(Clone, Debug)]
pub struct Fired {
    /// Whose it is, or why it is nobody's: such a one goes to the quarantine and is acknowledged.
    pub entity: Result<EntityId, String>,
    /// Acknowledges it, after its entity was told.
    pub ack: FreshAck,
    /// The message.
    pub raw: RawMessage,
}

impl Fired {
    fn read(pulled: Pulled, mesh: &Mesh, generation: u64) -> Self {
        let Pulled { raw, ack, .. } = pulled;
        Self { entity: whose(&raw, mesh), ack: FreshAck::new(ack, generation), raw }
    }
}

/// The subject says whose it is, and the server that it has fired.
fn whose(raw: &RawMessage, mesh: &Mesh) -> Result<EntityId, String> {
    let Some((partition, entity)) = subject::parse_fired(&raw.subject) else {
        return Err("no timer fires to such a subject".to_owned());
    };
    if mesh.partition_of(&entity) != partition {
        return Err("the entity lives in another partition".to_owned());
    }
    if let Some(flaw) = raw.flaw() {
        return Err(flaw.to_owned());
    }
    match raw.scheduler() {
        Some(scheduler) if scheduler == subject::armed(partition, &entity) => Ok(entity),
        Some(other) => Err(format!("fired by the schedule {}", Echo::new(other))),
        None => Err("not fired by the server".to_owned()),
    }
}

/// The timers that fire, of every entity. Any number of coordinators pull them; each comes to one of them, and again
/// where that one does not acknowledge it.
///
/// Armed timers are in the same stream, and nobody looks whether they are still there. So what came before the connection
/// broke is not acknowledged after that, but comes again: its sequence may be an armed timer's by then.
#[derive(Debug)]
pub struct Timers {
    mesh: Mesh,
    config: PullConfig,
    puller: Puller,
    /// The connection that the puller was made on.
    generation: u64,
}

impl Timers {
    /// Prepares to pull; asks for nothing yet. `expires` is after which time an unfilled request comes back.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(mesh: &Mesh, expires: Duration) -> Result<Self, Error> {
        let config = PullConfig { expires, heartbeat: expires / 3, pinned: Pinned::No };
        let generation = mesh.link().generation();
        let puller = open_puller(mesh, config).await?;
        Ok(Self { mesh: mesh.clone(), config, puller, generation })
    }

    /// Whatever still waits in the inbox of a connection that is gone stays there.
    async fn follow_connection(&mut self) -> Result<bool, PullError> {
        let generation = self.mesh.link().generation();
        if generation == self.generation {
            return Ok(false);
        }
        self.puller = open_puller(&self.mesh, self.config).await.map_err(|_| PullError::Closed)?;
        self.generation = generation;
        Ok(true)
    }

    /// Asks for `timers` more. See [`Puller::request`].
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request(&mut self, timers: usize) -> Result<(), PullError> {
        self.follow_connection().await?;
        self.puller.request(timers).await
    }

    /// Timers that were asked for, neither delivered nor given back yet.
    pub const fn outstanding(&self) -> usize {
        self.puller.outstanding()
    }

    /// Asks for nothing any more; what was sent already still comes. See [`Puller::close`].
    pub async fn close(&mut self) {
        self.puller.close().await;
    }

    /// The next one that has fired. See [`Puller::next`].
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn next(&mut self) -> Result<Option<Fired>, PullError> {
        if self.follow_connection().await? {
            return Ok(None);
        }
        let generation = self.generation;
        Ok(self.puller.next().await?.map(|pulled| Fired::read(pulled, &self.mesh, generation)))
    }
}

async fn open_puller(mesh: &Mesh, config: PullConfig) -> Result<Puller, Error> {
    Puller::open(mesh.link(), subject::TIMERS, subject::TIMERS_DURABLE, config).await
}
