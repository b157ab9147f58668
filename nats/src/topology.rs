//! What a mesh needs on the server: streams, buckets and the consumers of its partitions.
//!
//! Invariants: every option that matters is set, so that a server's defaults never decide. What exists already is left
//! as it is: its sizes, ages, replicas and waits are its operator's; only what our guarantees rest on must be as we
//! want it.

pub(crate) mod drift;

use std::{collections::HashSet, time::Duration};

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, PriorityPolicy, ReplayPolicy},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use rr_schemas::id::Partition;
use serde::{Deserialize, Serialize};

use crate::{
    consumer::{ConsumerConfig, consumer_names, create_consumer},
    copies::server_time,
    error::{Error, code},
    link::{DEADLINE, DEADLINE_LONG, Link},
    mesh::{Mesh, Settings},
    subject,
    upkeep::{Store, log_was_never_there},
};

const GIB: u64 = 1024 * 1024 * 1024;
/// A stream smaller than this is of no use; a server without room for it has too little.
const SMALLEST: i64 = 1024 * 1024;
/// What a stream gives up of its room where the server has not enough, so that the next ones find some.
const LESS_ROOM: i64 = 16;
/// Message ids are for offers alone. Elsewhere a foreign one must not swallow a message, and the window has no off.
const NO_WINDOW: Duration = Duration::from_millis(100);
/// Inputs that a partition may have under way: a thousand runs of twenty, and the limit of what a take-over redelivers.
const PARTITION_ACK_PENDING: i64 = 20_000;
/// Tails and readers on the event and output streams, besides the partitions.
const READERS_MAX: i32 = 10_000;
/// Fired timers that all coordinators together may have under way; each coordinator holds far fewer.
const TIMERS_ACK_PENDING: i64 = 20_000;
/// Copies of each stream in a cluster: any one server may be gone, and the others still agree.
const COPIES: usize = 3;
/// One durable for each worker, three for each queue.
const LANES_MAX: i32 = 20_000;

/// How a new mesh is made. Of an existing one only what is missing is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Topology {
    /// Partitions. Default: 8. Fixed for the life of a mesh.
    pub partitions: u16,
    /// Copies of each stream. Default: 3 on a server that belongs to a cluster, else 1.
    pub replicas: Option<usize>,
    /// How long a worker may hold an offer without a sign of life. Default: 30 s.
    pub work_ack_wait: Duration,
    /// How long a coordinator may hold an input, or a timer that has fired. Default: 4 s.
    pub partition_ack_wait: Duration,
    /// After which silence a partition goes to another coordinator. Default: 3 s.
    pub pin_timeout: Duration,
    /// How long the work queue remembers an offer's id. Default: 2 min.
    pub duplicate_window: Duration,
    /// Bytes of waiting offers at most; publishes are refused then. Default: 1 GiB.
    pub work_max_bytes: u64,
    /// Bytes of output at most; the oldest goes then. Default: 4 GiB.
    pub output_max_bytes: u64,
    /// Age of output at most. Default: 7 days.
    pub output_max_age: Duration,
    /// Bytes in the quarantine at most; the oldest goes then. Default: 256 MiB.
    pub quarantine_max_bytes: u64,
    /// Age of quarantined messages at most. Default: 30 days.
    pub quarantine_max_age: Duration,
}

impl Default for Topology {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            partitions: 8,
            replicas: None,
            work_ack_wait: Duration::from_secs(30),
            partition_ack_wait: Duration::from_secs(4),
            pin_timeout: Duration::from_secs(3),
            duplicate_window: Duration::from_mins(2),
            work_max_bytes: GIB,
            output_max_bytes: 4 * GIB,
            output_max_age: 7 * DAY,
            quarantine_max_bytes: GIB / 4,
            quarantine_max_age: 30 * DAY,
        }
    }
}

/// Makes what is missing of a mesh and returns a handle to it. Any number of processes may do so at once.
///
/// # Errors
/// [`Error::Drift`] where something exists and is not fit for us; [`Error::Replicas`] where the cluster has too few
/// servers, perhaps because it is just starting; those of the server otherwise.
pub async fn ensure(link: &Link, topology: &Topology) -> Result<Mesh, Error> {
    init(link, topology).await.map(|(mesh, _)| mesh)
}

/// A part of a mesh.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Part {
    /// What it is: `stream RR_EVENTS`.
    pub name: String,
    /// Whether it was made just now.
    pub made: bool,
}

/// The same, and says what was made and what was there.
///
/// # Errors
/// Those of [`ensure`].
pub async fn init(link: &Link, topology: &Topology) -> Result<(Mesh, Vec<Part>), Error> {
    let topology =
        Topology { replicas: Some(topology.replicas.unwrap_or_else(|| fitting_copies(link))), ..topology.clone() };
    let wanted = Settings { partitions: topology.partitions.max(1), work_ack_wait: topology.work_ack_wait };
    // A mesh that another version has made is left alone as a whole.
    let log = find_stream(link, subject::EVENTS).await?;
    match &log {
        Some(found) => drift::refuse(&topology.events(&wanted), found)?,
        None => log_was_never_there(link).await?,
    }
    // What is missing beside a log was removed.
    let first = match log {
        Some(_) => Some(unused_sequence(link).await?),
        None => None,
    };
    let mut parts = Vec::new();
    // The small ones first, for the server reserves their room; the event stream last, for it says that there is a mesh.
    let small = [topology.workers(), topology.locks(), topology.quarantine(), topology.runs()];
    for config in small.into_iter().chain([topology.work(), topology.output()]) {
        parts.push(ensure_stream(link, Config { first_sequence: first, ..config }).await?.1);
    }
    parts.push(ensure_stream(link, Config { first_sequence: first, ..topology.timers() }).await?.1);
    let made = consumer_names(link, subject::TIMERS).await?.is_empty();
    if made {
        create_consumer(link, subject::TIMERS, topology.fired()).await?;
    }
    parts.push(Part { name: format!("consumer {} of {}", subject::TIMERS_DURABLE, subject::TIMERS), made });
    let (events, part) = ensure_stream(link, topology.events(&wanted)).await?;
    parts.push(part);
    let settings = Settings::from_metadata(&events.metadata)?;
    let present: HashSet<String> = consumer_names(link, subject::EVENTS).await?.into_iter().collect();
    for partition in (0..settings.partitions).map(Partition) {
        let config = topology.partition(partition);
        let durable = subject::partition_durable(partition);
        let made = !present.contains(&durable);
        if made {
            create_consumer(link, subject::EVENTS, config).await?;
        }
        parts.push(Part { name: format!("consumer {durable} of {}", subject::EVENTS), made });
    }
    Ok((Mesh::new(link.clone(), settings), parts))
}

/// Where the numbers of a stream go on which was removed, when nobody knows how far they had come. Fencing tokens rest on
/// them: microseconds pass faster than messages come.
async fn unused_sequence(link: &Link) -> Result<u64, Error> {
    Ok(u64::try_from(server_time(link).await?.as_microsecond()).unwrap_or_default())
}

/// Makes a stream again that was removed, and of which nothing but its purpose is known: as a mesh with the usual limits
/// has it.
pub(crate) async fn make_usual(link: &Link, store: Store, replicas: usize) -> Result<(), Error> {
    let topology = Topology { replicas: Some(replicas), ..Topology::default() };
    let usual = match store {
        Store::Timers => topology.timers(),
        Store::Work => topology.work(),
        Store::Output => topology.output(),
        Store::Quarantine => topology.quarantine(),
        Store::Runs => topology.runs(),
        Store::Workers => topology.workers(),
        Store::Locks => topology.locks(),
    };
    let first_sequence = Some(unused_sequence(link).await?);
    ensure_stream(link, Config { first_sequence, ..usual }).await.map(drop)
}

impl Topology {
    fn base(&self, name: &str, subjects: &[&str], max_bytes: Option<u64>) -> Config {
        Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
            max_bytes: max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            max_messages: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: READERS_MAX,
            max_age: Duration::ZERO,
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            num_replicas: self.replicas.unwrap_or(1),
            duplicate_window: NO_WINDOW,
            allow_direct: true,
            ..Config::default()
        }
    }

    /// Many publish here, so whatever a header could do to what others have published is off: schedules, roll-ups,
    /// batches, times to live. By default its only limit is the server's `max_file_store`; publishes are refused at a
    /// limit, and old messages never go by themselves.
    fn events(&self, settings: &Settings) -> Config {
        Config {
            description: Some("inputs and decisions".to_owned()),
            metadata: settings.to_metadata(),
            ..self.base(subject::EVENTS, &subject::EVENTS_SUBJECTS, None)
        }
    }

    /// One armed timer an entity, and one that has fired. Only coordinators publish here: where there are schedules the
    /// server insists on roll-ups, with which whoever publishes one message can remove all others, and on discarding
    /// old messages at a limit, so there is none.
    fn timers(&self) -> Config {
        Config {
            description: Some("timers".to_owned()),
            retention: RetentionPolicy::WorkQueue,
            max_messages_per_subject: 1,
            allow_message_schedules: true,
            allow_rollup: true,
            discard: DiscardPolicy::Old,
            ..self.base(subject::TIMERS, &subject::TIMERS_SUBJECTS, None)
        }
    }

    /// Every coordinator pulls from it.
    pub(crate) fn fired(&self) -> ConsumerConfig {
        ConsumerConfig {
            durable_name: Some(subject::TIMERS_DURABLE.to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.partition_ack_wait,
            max_deliver: -1,
            max_ack_pending: TIMERS_ACK_PENDING,
            replay_policy: ReplayPolicy::Instant,
            filter_subject: subject::ALL_FIRED.to_owned(),
            ..ConsumerConfig::default()
        }
    }

    fn work(&self) -> Config {
        Config {
            description: Some("offers".to_owned()),
            retention: RetentionPolicy::WorkQueue,
            duplicate_window: self.duplicate_window,
            max_consumers: LANES_MAX,
            ..self.base(subject::WORK, &subject::WORK_SUBJECTS, Some(self.work_max_bytes))
        }
    }

    fn output(&self) -> Config {
        Config {
            description: Some("what attempts write".to_owned()),
            discard: DiscardPolicy::Old,
            max_age: self.output_max_age,
            ..self.base(subject::OUTPUT, &subject::OUTPUT_SUBJECTS, Some(self.output_max_bytes))
        }
    }

    fn quarantine(&self) -> Config {
        Config {
            description: Some("what could not be read or believed".to_owned()),
            discard: DiscardPolicy::Old,
            max_age: self.quarantine_max_age,
            ..self.base(subject::QUARANTINE, &subject::QUARANTINE_SUBJECTS, Some(self.quarantine_max_bytes))
        }
    }

    /// A bucket is a stream with these settings; the server and other clients know it by them. Rollup headers are off:
    /// with one of them whoever may write a single key could erase all others.
    fn bucket(&self, bucket: &str, max_bytes: u64) -> Config {
        let keys = subject::bucket_key(bucket, ">");
        Config {
            max_messages_per_subject: 1,
            deny_delete: true,
            ..self.base(&subject::bucket_stream(bucket), &[keys.as_str()], Some(max_bytes))
        }
    }

    fn runs(&self) -> Config {
        Config { description: Some("states of runs".to_owned()), ..self.bucket(subject::BUCKET_RUNS, GIB) }
    }

    /// Keys run out without a marker: the server turns rollup headers on where it is to write any.
    fn workers(&self) -> Config {
        Config {
            description: Some("workers and coordinators".to_owned()),
            allow_message_ttl: true,
            ..self.bucket(subject::BUCKET_WORKERS, GIB / 16)
        }
    }

    /// One key a lock. They run out without a marker, as presence does.
    fn locks(&self) -> Config {
        Config {
            description: Some("locks".to_owned()),
            allow_message_ttl: true,
            ..self.bucket(subject::BUCKET_LOCKS, GIB / 64)
        }
    }

    pub(crate) fn partition(&self, partition: Partition) -> ConsumerConfig {
        ConsumerConfig {
            durable_name: Some(subject::partition_durable(partition)),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.partition_ack_wait,
            max_deliver: -1,
            max_ack_pending: PARTITION_ACK_PENDING,
            replay_policy: ReplayPolicy::Instant,
            filter_subject: subject::inputs_of_partition(partition),
            priority_policy: PriorityPolicy::PinnedClient,
            priority_groups: vec![subject::PIN_GROUP.to_owned()],
            priority_timeout: self.pin_timeout,
            ..ConsumerConfig::default()
        }
    }
}

#[derive(Deserialize)]
struct StreamInfo {
    config: Config,
}

async fn find_stream(link: &Link, name: &str) -> Result<Option<Config>, Error> {
    match link.api::<StreamInfo>(&format!("STREAM.INFO.{name}"), &(), DEADLINE).await {
        Ok(found) => Ok(Some(found.config)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a stream, with less room where the server has less, or checks the one that is there.
async fn ensure_stream(link: &Link, wanted: Config) -> Result<(Config, Part), Error> {
    let part = |made| Part { name: format!("stream {}", wanted.name), made };
    let create = format!("STREAM.CREATE.{}", wanted.name);
    let mut config = wanted.clone();
    loop {
        if let Some(found) = find_stream(link, &wanted.name).await? {
            return drift::refuse(&wanted, &found).map(|()| (found, part(false)));
        }
        match link.api::<StreamInfo>(&create, &config, DEADLINE_LONG).await {
            Ok(made) => return Ok((made.config, part(true))),
            // Somebody else was faster; look at what they made.
            Err(Error::Refused { code: code::STREAM_EXISTS, .. }) => {}
            Err(Error::Refused { code, text }) if is_short_of_room(code, &text) && config.max_bytes > SMALLEST => {
                config.max_bytes /= LESS_ROOM;
            }
            Err(Error::Refused { code: code::NO_PEERS | code::NOT_CLUSTERED, text }) => {
                return Err(Error::Replicas { wanted: config.num_replicas, stream: config.name, text });
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the server has too little room for a stream. A cluster has one code for that and for too few servers; only its
/// text tells them apart, and where the text is another one day, the error says too few servers.
pub(crate) fn is_short_of_room(code: u32, text: &str) -> bool {
    code::RESOURCES.contains(&code) || (code == code::NO_PEERS && text.contains("insufficient storage"))
}

/// Copies of each stream that fit where we are: three where the server belongs to a cluster, else one.
pub fn fitting_copies(link: &Link) -> usize {
    if link.is_clustered() { COPIES } else { 1 }
}

/// Copies of the event stream that there is: the other streams were made with as many.
///
/// # Errors
/// [`Error::NotFound`] as long as nobody has made the mesh.
pub async fn copies(link: &Link) -> Result<usize, Error> {
    let info: StreamInfo = link.api(&format!("STREAM.INFO.{}", subject::EVENTS), &(), DEADLINE).await?;
    Ok(info.config.num_replicas)
}
