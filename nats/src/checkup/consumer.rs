//! The durables of a mesh as they are now: who asks for what they hold, and how long it has waited.

use jiff::Timestamp;
use rr_schemas::id::Partition;
use serde::Deserialize;

use super::Cluster;
use crate::{
    consumer::{ConsumerConfig, consumer_names},
    direct::{Which, read_leader},
    error::Error,
    link::{DEADLINE, Link},
    mesh::Mesh,
    subject,
    topology::{Topology, drift},
};

/// A consumer as its leader sees it.
#[derive(Clone, Debug, Default)]
pub struct ConsumerState {
    /// What is not as it must be.
    pub differences: Vec<String>,
    /// Who keeps it; none on a server of its own.
    pub cluster: Option<Cluster>,
    /// Whether somebody has it for themselves: a partition is a coordinator's.
    pub is_pinned: bool,
    /// Requests for messages that wait.
    pub asking: u64,
    /// Messages that were not delivered yet.
    pub undelivered: u64,
    /// Messages that were delivered and not acknowledged.
    pub unacknowledged: u64,
    /// Whether an operator has paused it.
    pub is_paused: bool,
    /// The sequence up to which everything is acknowledged.
    floor: u64,
}

#[derive(Deserialize)]
struct Info {
    config: ConsumerConfig,
    #[serde(default)]
    cluster: Option<Cluster>,
    #[serde(default)]
    num_waiting: u64,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    ack_floor: Floor,
    #[serde(default)]
    priority_groups: Option<Vec<Group>>,
    #[serde(default)]
    paused: bool,
}

#[derive(Default, Deserialize)]
struct Floor {
    #[serde(default)]
    stream_seq: u64,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    pinned_client_id: String,
}

impl ConsumerState {
    fn new(wanted: &ConsumerConfig, info: Info) -> Self {
        Self {
            differences: drift::of_consumer(wanted, &info.config),
            cluster: info.cluster,
            is_pinned: info.priority_groups.into_iter().flatten().any(|group| !group.pinned_client_id.is_empty()),
            asking: info.num_waiting,
            undelivered: info.num_pending,
            unacknowledged: info.num_ack_pending,
            is_paused: info.paused,
            floor: info.ack_floor.stream_seq,
        }
    }

    /// Whether anything waits to be acknowledged.
    pub const fn has_backlog(&self) -> bool {
        self.undelivered > 0 || self.unacknowledged > 0
    }
}

async fn ask(link: &Link, stream: &str, wanted: &ConsumerConfig) -> Result<ConsumerState, Error> {
    let durable = wanted.durable_name.as_deref().unwrap_or_default();
    let info: Info = link.api(&format!("CONSUMER.INFO.{stream}.{durable}"), &(), DEADLINE).await?;
    Ok(ConsumerState::new(wanted, info))
}

impl Link {
    /// The durable of the timers.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn timers_durable(&self) -> Result<ConsumerState, Error> {
        ask(self, subject::TIMERS, &Topology::default().fired()).await
    }
}

impl Mesh {
    /// The durable of a partition.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn partition_durable(&self, partition: Partition) -> Result<ConsumerState, Error> {
        ask(self.link(), subject::EVENTS, &Topology::default().partition(partition)).await
    }

    /// The partitions that have no durable: a smaller right is enough for that.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn partitions_without_durable(&self) -> Result<Vec<Partition>, Error> {
        let names = consumer_names(self.link(), subject::EVENTS).await?;
        let is_missing = |partition: &Partition| !names.contains(&subject::partition_durable(*partition));
        Ok(self.all_partitions().filter(is_missing).collect())
    }

    /// When the oldest input was stored that a partition has not answered; none where all are.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_input(&self, partition: Partition, state: &ConsumerState) -> Result<Option<Timestamp>, Error> {
        if !state.has_backlog() {
            return Ok(None);
        }
        let filter = subject::inputs_of_partition(partition);
        let which = Which::Next { seq: state.floor.saturating_add(1), next_by_subj: &filter };
        Ok(read_leader(self.link(), subject::EVENTS, which).await?.map(|raw| raw.at))
    }
}
