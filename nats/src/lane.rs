//! Lanes: the consumers from which workers get offers.
//!
//! A host is served by one durable at most; JetStream itself refuses a second one. The durable's filters, not what a
//! worker says of itself, tell which hosts a worker serves.

mod open;
mod queues;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use rr_schemas::{flow::select::Labels, host::Host, name::WorkerName, presence::Hosts};
use serde::{Deserialize, Serialize};

pub use self::{open::Lane, queues::LostLane};
use crate::{
    consumer::{ConsumerConfig, ConsumerInfo, consumer_info, consumer_names, create_consumer, delete_consumer},
    error::{Error, code},
    link::{DEADLINE, Link},
    mesh::Mesh,
    subject,
};

/// Filters of one durable at most: consuming gets slow with hundreds.
pub const LANE_HOSTS_MAX: usize = 64;
/// Offers that workers hold at once, over all workers of a durable; they hold no more than they have slots.
const ACK_PENDING: i64 = 100_000;
/// Pull requests that may wait at once: one or two for each worker of a queue.
const WAITING: i64 = 20_000;

/// Key in the metadata of a worker's durable that holds its labels.
const META_LABELS: &str = "rr_labels";
/// A worker that has not pulled for this long is forgotten: nothing is for it any more that names workers by labels.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(30 * 24);

/// Why a lane cannot be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LaneError {
    /// Another worker serves it.
    #[error("{} is served by worker {by}", host.as_ref().map_or("every host", |host| host.as_str()))]
    Taken {
        /// The worker.
        by: String,
        /// The host; none where it serves all of them.
        host: Option<Host>,
    },
    /// Too many hosts for one worker.
    #[error("a worker serves up to {LANE_HOSTS_MAX} hosts by name, {found} were given")]
    TooMany {
        /// How many were given.
        found: u32,
    },
    /// The request failed.
    #[error(transparent)]
    Request(#[from] Error),
}

/// A worker as its durable remembers it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownWorker {
    /// Its name.
    pub worker: WorkerName,
    /// The hosts that it serves.
    pub hosts: HostFilter,
    /// The labels that it joined with last.
    pub labels: Labels,
}

impl KnownWorker {
    pub(crate) fn of(info: &ConsumerInfo) -> Option<Self> {
        let worker = subject::worker_of_durable(&info.name)?;
        let labels = info.config.metadata.get(META_LABELS).and_then(|labels| serde_json::from_str(labels).ok());
        Some(Self { worker, hosts: HostFilter::of(&info.config), labels: labels.unwrap_or_default() })
    }
}

/// The hosts that a durable really serves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostFilter {
    /// All.
    All,
    /// These.
    Only(BTreeSet<Host>),
}

impl HostFilter {
    /// Whether a host is among them.
    pub fn serves(&self, host: &Host) -> bool {
        match self {
            Self::All => true,
            Self::Only(hosts) => hosts.contains(host),
        }
    }

    fn of(config: &ConsumerConfig) -> Self {
        let filters = filters(config);
        if filters.iter().any(|filter| filter == subject::ALL_HOSTS) {
            return Self::All;
        }
        Self::Only(filters.iter().filter_map(|filter| subject::host_of_filter(filter)).collect())
    }

    /// What both serve.
    fn shared(&self, other: &Self) -> Overlap {
        let host = match (self, other) {
            (Self::All, Self::All) => return Overlap::Everything,
            (Self::All, Self::Only(hosts)) | (Self::Only(hosts), Self::All) => hosts.first(),
            (Self::Only(mine), Self::Only(theirs)) => mine.intersection(theirs).next(),
        };
        host.map_or(Overlap::Nothing, |host| Overlap::Host(host.clone()))
    }
}

/// What two durables both serve.
enum Overlap {
    Nothing,
    Everything,
    Host(Host),
}

fn filters(config: &ConsumerConfig) -> Vec<String> {
    let single = Some(&config.filter_subject).filter(|filter| !filter.is_empty());
    single.into_iter().chain(&config.filter_subjects).cloned().collect()
}

/// Whether what is there has everything that we set.
fn is_as_wanted(found: &ConsumerConfig, wanted: &ConsumerConfig) -> bool {
    let own = |config: &ConsumerConfig| {
        let filters: BTreeSet<String> = filters(config).into_iter().collect();
        (filters, config.metadata.get(META_LABELS).cloned(), config.inactive_threshold)
    };
    let common = |config: &ConsumerConfig| {
        let ConsumerConfig { ack_wait, max_deliver, max_ack_pending, max_waiting, .. } = *config;
        (ack_wait, max_deliver, max_ack_pending, max_waiting)
    };
    own(found) == own(wanted) && common(found) == common(wanted)
}

fn durable(name: String, filters: Vec<String>, ack_wait: Duration) -> ConsumerConfig {
    let mut config = ConsumerConfig {
        durable_name: Some(name),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        max_deliver: -1,
        max_ack_pending: ACK_PENDING,
        max_waiting: WAITING,
        replay_policy: ReplayPolicy::Instant,
        ..ConsumerConfig::default()
    };
    match <[String; 1]>::try_from(filters) {
        Ok([filter]) => config.filter_subject = filter,
        Err(filters) => config.filter_subjects = filters,
    }
    config
}

impl Mesh {
    /// Makes or changes a worker's own durable, for its hosts and for what is for this worker alone, and returns its name.
    /// It remembers the worker's labels while the worker is away.
    ///
    /// # Errors
    /// [`LaneError::Taken`] when another worker serves one of the hosts.
    pub async fn ensure_lane(&self, worker: &WorkerName, hosts: &Hosts, labels: &Labels) -> Result<String, LaneError> {
        let (mut filters, wanted) = match hosts {
            Hosts::None => (Vec::new(), HostFilter::Only(BTreeSet::new())),
            Hosts::All => (vec![subject::ALL_HOSTS.to_owned()], HostFilter::All),
            Hosts::Only(set) => {
                let hosts: BTreeSet<Host> = set.iter().take(LANE_HOSTS_MAX + 1).collect();
                if hosts.len() > LANE_HOSTS_MAX {
                    return Err(LaneError::TooMany { found: set.len() });
                }
                (hosts.iter().map(subject::host_filter).collect(), HostFilter::Only(hosts))
            }
        };
        filters.push(subject::worker_filter(worker));
        let name = subject::host_durable(worker);
        let labels = serde_json::to_string(labels).map_err(|error| Error::Answer(error.to_string()))?;
        let config = ConsumerConfig {
            metadata: HashMap::from([(META_LABELS.to_owned(), labels)]),
            inactive_threshold: FORGOTTEN_AFTER,
            ..durable(name.clone(), filters, self.work_ack_wait())
        };
        match self.ensure_consumer(config).await {
            Ok(()) => Ok(name),
            Err(Error::Refused { code: code::FILTERS_OVERLAP, .. }) => Err(self.who_serves(&name, &wanted).await?),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up the hosts of a worker, so that others may serve them. The worker itself stays known.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn give_up_hosts(&self, worker: &WorkerName) -> Result<(), Error> {
        match consumer_info(self.link(), subject::WORK, &subject::host_durable(worker)).await {
            Ok(info) => {
                let config = ConsumerConfig {
                    filter_subject: subject::worker_filter(worker),
                    filter_subjects: Vec::new(),
                    ..info.config
                };
                create_consumer(self.link(), subject::WORK, config).await.map(|_| ())
            }
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Every worker that has ever joined and was not forgotten, present or not.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn known_workers(&self) -> Result<Vec<KnownWorker>, Error> {
        let all = all_consumers(self.link(), subject::WORK).await?.found;
        let mut known: Vec<KnownWorker> = all.iter().filter_map(KnownWorker::of).collect();
        known.sort_by(|one, other| one.worker.cmp(&other.worker));
        Ok(known)
    }

    /// The name of every durable that offers come from.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lane_names(&self) -> Result<Vec<String>, Error> {
        consumer_names(self.link(), subject::WORK).await
    }

    /// Makes a durable, unless it is there as it is wanted. Looking costs the server next to nothing; making one, even one
    /// that is there, makes it compare the filters with those of all others: some 20 ms where a thousand workers serve ten hosts
    /// each.
    async fn ensure_consumer(&self, wanted: ConsumerConfig) -> Result<(), Error> {
        let name = wanted.durable_name.clone().unwrap_or_default();
        match consumer_info(self.link(), subject::WORK, &name).await {
            Ok(found) if is_as_wanted(&found.config, &wanted) => return Ok(()),
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        create_consumer(self.link(), subject::WORK, wanted).await.map(|_| ())
    }

    /// The hosts that a worker's durable really serves: what its reports are believed for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lane_hosts(&self, worker: &WorkerName) -> Result<Option<HostFilter>, Error> {
        match consumer_info(self.link(), subject::WORK, &subject::host_durable(worker)).await {
            Ok(info) => Ok(Some(HostFilter::of(&info.config))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether no offer of the worker's hosts is delivered and not acknowledged: it holds no work.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn is_host_lane_idle(&self, worker: &WorkerName) -> Result<bool, Error> {
        match consumer_info(self.link(), subject::WORK, &subject::host_durable(worker)).await {
            Ok(info) => Ok(info.num_ack_pending == 0),
            Err(Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Forgets a worker: its durable goes, and what is offered to it waits until one of that name joins.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_worker(&self, worker: &WorkerName) -> Result<(), Error> {
        delete_consumer(self.link(), subject::WORK, &subject::host_durable(worker)).await
    }

    /// Finds the worker whose durable overlaps what is wanted.
    async fn who_serves(&self, own: &str, wanted: &HostFilter) -> Result<LaneError, Error> {
        for info in all_consumers(self.link(), subject::WORK).await?.found {
            let Some(by) = subject::worker_of_durable(&info.name) else { continue };
            if info.name == own {
                continue;
            }
            match HostFilter::of(&info.config).shared(wanted) {
                Overlap::Nothing => {}
                Overlap::Everything => return Ok(LaneError::Taken { by: by.into(), host: None }),
                Overlap::Host(host) => return Ok(LaneError::Taken { by: by.into(), host: Some(host) }),
            }
        }
        // It was given up in between.
        Ok(LaneError::Request(Error::Unreachable("the hosts were served by somebody a moment ago".to_owned())))
    }
}

/// The consumers of a stream.
#[derive(Debug, Default)]
pub(crate) struct AllConsumers {
    pub(crate) found: Vec<ConsumerInfo>,
    /// Names of those that nobody leads for the moment.
    pub(crate) missing: BTreeSet<String>,
}

pub(crate) async fn all_consumers(link: &Link, stream: &str) -> Result<AllConsumers, Error> {
    #[derive(Serialize)]
    struct Page {
        offset: usize,
    }
    #[derive(Deserialize)]
    struct List {
        total: usize,
        #[serde(default)]
        consumers: Option<Vec<ConsumerInfo>>,
        #[serde(default)]
        missing: Option<Vec<String>>,
    }
    let mut all = AllConsumers::default();
    let mut offset = 0;
    loop {
        let page: List = link.api(&format!("CONSUMER.LIST.{stream}"), &Page { offset }, DEADLINE).await?;
        let (consumers, missing) = (page.consumers.unwrap_or_default(), page.missing.unwrap_or_default());
        let n_new = consumers.len() + missing.len();
        offset += n_new;
        all.found.extend(consumers);
        all.missing.extend(missing);
        if n_new == 0 || offset >= page.total {
            return Ok(all);
        }
    }
}
