//! Presence: what workers and coordinators say of themselves in the bucket `rr-workers`, and how a worker joins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    flow::select::Labels,
    host::HostSet,
    name::{InstanceId, Name, WorkerName},
};

/// A worker, renewed while it lives; gone when its time to live has passed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkerPresence {
    /// Its name.
    pub worker: WorkerName,
    /// Its process; a restart is another instance.
    pub instance: InstanceId,
    /// What it serves.
    pub serves: Serves,
    /// Attempts that it runs at once.
    pub capacity: u32,
    /// Labels, for people and `select`.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Version of its `rr`.
    pub version: String,
    /// When this instance started, by its own clock.
    pub since: Timestamp,
    /// Whether it takes no new work and goes when the last attempt ends.
    #[serde(default)]
    pub draining: bool,
}

/// What a worker serves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Serves {
    /// Hosts.
    pub hosts: Hosts,
    /// Queues.
    pub queues: Vec<Name>,
}

/// Hosts that a worker serves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hosts {
    /// None.
    #[default]
    None,
    /// Whatever a flow names: `rr run` and `rr up --all-hosts`.
    All,
    /// These.
    Only(HostSet),
}

/// A coordinator, renewed while it lives.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CoordinatorPresence {
    /// Its process.
    pub instance: InstanceId,
    /// Version of its `rr`.
    pub version: String,
    /// When it started, by its own clock.
    pub since: Timestamp,
}

/// A worker's request to join: coordinators make its consumers and answer [`JoinAnswer`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Join {
    /// Its name; the subject says the same.
    pub worker: WorkerName,
    /// Its process.
    pub instance: InstanceId,
    /// What it wants to serve.
    pub serves: Serves,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// The answer to a [`Join`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinAnswer {
    /// The consumers to pull from.
    Welcome {
        /// The durable of its own: its hosts, and what is for this worker alone.
        own: String,
        /// The durables of each of its queues, in the order asked for: of high, normal and low priority.
        queues: Vec<[String; 3]>,
    },
    /// It may not join.
    Refused {
        /// Why, in a sentence: `db7 is served by worker edge-2`.
        reason: String,
    },
}

/// An attempt that a coordinator asks after.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Asked {
    /// The run.
    pub run: crate::id::RunId,
    /// The task.
    pub task: u32,
    /// Which try.
    pub attempt: u32,
    /// Which offer of that try.
    pub offer: u32,
    /// The worker process that has said that it runs it; another one does not answer.
    pub instance: InstanceId,
    /// The token of the offer, for whoever has forgotten it; empty where the run has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
}

/// What a coordinator asks of a worker over core NATS: a hint, repeated until a report or a deadline comes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// End this attempt.
    Kill {
        /// The run.
        run: crate::id::RunId,
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
    },
    /// Say how this attempt ended, unless it runs or is about to be reported: nobody has heard of it for long.
    Tell(Asked),
    /// Take no new work, finish what runs, go.
    Drain {},
    /// Answer.
    Ping {},
}
