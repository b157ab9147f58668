//! A reader of a stream that neither misses nor repeats a message, whatever happens to the connection or the server.
//!
//! It reads through a consumer that nobody else knows and that needs no acknowledgements. When a message is missing in
//! the consumer's numbering, or the consumer is gone, a new one is made behind the last message that was read.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::{
    consumer::{ConsumerConfig, delete_consumer},
    error::Error,
    link::{DEADLINE, DEADLINE_LONG, Link},
    pull::{PullConfig, PullError, Pulled, Puller},
    subject::READER_PREFIX,
};

/// Messages that are asked for at once.
const BATCH: usize = 256;
/// The server removes a reader's consumer after this silence.
const INACTIVE: Duration = Duration::from_secs(30);
/// Pause before a new consumer is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// After so much silence it is asked whether anything is left: messages that are there come in milliseconds.
const QUIET: Duration = Duration::from_millis(500);

/// Where to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum From {
    /// With the oldest message.
    Oldest,
    /// With what comes from now on.
    Now,
    /// With the newest message of each subject; a new consumer does so again.
    Newest,
}

/// Whether payloads are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    Whole,
    HeadersOnly,
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) stream: &'static str,
    pub(crate) filters: Vec<String>,
    pub(crate) from: From,
    pub(crate) content: Content,
}

/// One thing that was read.
#[derive(Debug)]
pub(crate) enum Step {
    /// A consumer begins, with this many messages in front of it. For [`From::Newest`] all that was known is to be
    /// replaced by what follows.
    Begin { pending: u64 },
    /// A message.
    Message(Pulled),
}

/// Reads a stream in order.
#[derive(Debug)]
pub(crate) struct Ordered {
    link: Link,
    plan: Plan,
    reading: Option<Reading>,
    /// The last sequence that was read or passed over.
    position: Option<u64>,
}

#[derive(Debug)]
struct Reading {
    name: String,
    puller: Puller,
    consumer_seq: u64,
}

impl Ordered {
    pub(crate) fn new(link: &Link, plan: Plan) -> Self {
        Self { link: link.clone(), plan, reading: None, position: None }
    }

    /// The same, behind this sequence, where what is read has an order.
    pub(crate) fn behind(link: &Link, plan: Plan, position: u64) -> Self {
        Self { position: Some(position), ..Self::new(link, plan) }
    }

    /// Makes the first consumer now, so that [`From::Now`] means now.
    pub(crate) async fn open(&mut self) -> Result<u64, Error> {
        self.begin().await
    }

    /// The next step. Goes on over broken connections; an error is one that trying again does not cure. Losing the
    /// future loses no message.
    pub(crate) async fn next(&mut self) -> Result<Step, Error> {
        loop {
            let Some(reading) = &mut self.reading else {
                match self.begin().await {
                    Ok(pending) => return Ok(Step::Begin { pending }),
                    Err(error) if error.is_retryable() => {
                        tracing::debug!(%error, stream = self.plan.stream, "reading again soon");
                        sleep(RETRY_PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            match reading.step().await {
                Ok(Some(pulled)) => {
                    self.position = Some(pulled.raw.seq);
                    return Ok(Step::Message(pulled));
                }
                Ok(None) => {}
                Err(PullError::Denied { subject }) => return Err(Error::Denied { subject }),
                Err(PullError::Refused(text)) => return Err(Error::Refused { code: 0, text }),
                Err(PullError::Closed) => return Err(Error::Unreachable("the connection is closed".to_owned())),
                Err(PullError::Gone | PullError::NoResponders) => self.reading = None,
            }
        }
    }

    /// The next step of what there is; none where nothing is left. What was counted as pending may run out or be removed
    /// before it is read, and then nothing comes any more that would say so.
    pub(crate) async fn next_of_these(&mut self) -> Result<Option<Step>, Error> {
        loop {
            // The begin of a reading takes what it takes.
            if self.reading.is_none() {
                return self.next().await.map(Some);
            }
            match timeout(QUIET, self.next()).await {
                Ok(step) => return step.map(Some),
                Err(_) if self.is_at_end().await? => return Ok(None),
                Err(_) => {}
            }
        }
    }

    /// Whether the server has nothing left for this reading. Where it does not say so, there may be something.
    async fn is_at_end(&mut self) -> Result<bool, Error> {
        let Some(reading) = &self.reading else { return Ok(false) };
        let operation = format!("CONSUMER.INFO.{}.{}", self.plan.stream, reading.name);
        match self.link.api::<Made>(&operation, &(), DEADLINE).await {
            Ok(info) => Ok(info.num_pending == 0 && info.delivered.consumer_seq == reading.consumer_seq),
            Err(Error::NotFound { .. }) => {
                self.reading = None;
                Ok(false)
            }
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn begin(&mut self) -> Result<u64, Error> {
        let name = format!("{READER_PREFIX}{:016x}", fastrand::u64(..));
        let deliver_policy = match (self.plan.from, self.position) {
            (From::Newest, _) => DeliverPolicy::LastPerSubject,
            (From::Oldest, None) => DeliverPolicy::All,
            (From::Now, None) => DeliverPolicy::New,
            (From::Oldest | From::Now, Some(position)) => {
                DeliverPolicy::ByStartSequence { start_sequence: position.saturating_add(1) }
            }
        };
        let config = ConsumerConfig {
            name: Some(name.clone()),
            deliver_policy,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            filter_subjects: self.plan.filters.clone(),
            headers_only: self.plan.content == Content::HeadersOnly,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..ConsumerConfig::default()
        };
        let puller = Puller::open(&self.link, self.plan.stream, &name, PullConfig::default()).await?;
        let made = create(&self.link, self.plan.stream, config).await?;
        if self.position.is_none() && self.plan.from == From::Now {
            self.position = Some(made.delivered.stream_seq);
        }
        self.reading = Some(Reading { name, puller, consumer_seq: 0 });
        Ok(made.num_pending)
    }

    /// Removes the consumer at once instead of leaving it to the server.
    pub(crate) async fn close(mut self) {
        if let Some(reading) = self.reading.take()
            && delete_consumer(&self.link, self.plan.stream, &reading.name).await.is_err()
        {
            tracing::debug!("a reader's consumer is left to the server");
        }
    }
}

impl Reading {
    /// The next message of this consumer; a hole in its numbering ends it.
    async fn step(&mut self) -> Result<Option<Pulled>, PullError> {
        if self.puller.outstanding() < BATCH / 2 {
            let missing = BATCH - self.puller.outstanding();
            self.puller.request(missing).await?;
            if self.puller.outstanding() == 0 {
                // The connection is down.
                sleep(RETRY_PAUSE).await;
                return Ok(None);
            }
        }
        let Some(pulled) = self.puller.next().await? else { return Ok(None) };
        if pulled.consumer_seq != self.consumer_seq + 1 {
            return Err(PullError::Gone);
        }
        self.consumer_seq = pulled.consumer_seq;
        Ok(Some(pulled))
    }
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    delivered: Delivered,
}

#[derive(Default, Deserialize)]
struct Delivered {
    #[serde(default)]
    stream_seq: u64,
    #[serde(default)]
    consumer_seq: u64,
}

async fn create(link: &Link, stream: &str, config: ConsumerConfig) -> Result<Made, Error> {
    #[derive(serde::Serialize)]
    struct Create<'a> {
        stream_name: &'a str,
        config: &'a ConsumerConfig,
    }
    let name = config.name.as_deref().unwrap_or_default();
    let operation = format!("CONSUMER.CREATE.{stream}.{name}");
    link.api(&operation, &Create { stream_name: stream, config: &config }, DEADLINE_LONG).await
}
