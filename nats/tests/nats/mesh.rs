//! What this crate asks of JetStream, each rule against a server of the test's own.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

mod connecting;
mod custom;
mod domain;
mod events;
mod inputs;
mod locks;
mod login;
mod output;
mod partition;
mod presence;
mod purge;
mod reconnect;
mod status;
mod timer;
mod topology;
mod upkeep;
mod work;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rr_nats::{
    ConnectOptions, FeedConfig, InputMsg, Link, Mesh, PartitionFeed, Topology, connect, encode_decision, ensure,
    server::Embedded,
};
use rr_schemas::{
    decision::Decision,
    id::{EntityId, RunId},
    input::{Cancel, Input},
    name::{InstanceId, Name, WorkerName},
    offer::{Command, Offer, Target},
    report::{Report, What},
};
use tempfile::TempDir;

use crate::support;

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(20);

/// A server with a mesh on it.
struct World {
    server: Embedded,
    link: Link,
    mesh: Mesh,
    dir: TempDir,
}

async fn world() -> World {
    world_of(&quick()).await
}

async fn world_of(topology: &Topology) -> World {
    let dir = tempfile::tempdir().unwrap();
    let server = support::start(dir.path()).await;
    let link = connect(&options(&server)).await.unwrap();
    let mesh = ensure(&link, topology).await.unwrap();
    World { server, link, mesh, dir }
}

/// Short waits, few partitions.
fn quick() -> Topology {
    Topology {
        partitions: 2,
        work_ack_wait: Duration::from_secs(1),
        partition_ack_wait: Duration::from_secs(1),
        pin_timeout: Duration::from_secs(3),
        ..Topology::default()
    }
}

fn options(server: &Embedded) -> ConnectOptions {
    ConnectOptions {
        server: server.url(),
        user: Some(server.user().to_owned()),
        password: Some(server.password().to_owned()),
        ..ConnectOptions::default()
    }
}

impl World {
    /// A client that knows no rules.
    async fn stranger(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(support::client(&self.server).await)
    }

    async fn feed(&self, entity: &EntityId) -> PartitionFeed {
        feed(&self.mesh, entity, "c1").await
    }
}

async fn feed(mesh: &Mesh, entity: &EntityId, instance: &str) -> PartitionFeed {
    let config = FeedConfig::new(instance.parse().unwrap());
    PartitionFeed::open(mesh, mesh.partition_of(entity), config).await.unwrap()
}

/// Waits for something that has to come.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.unwrap()
}

/// The next inputs of a feed, until there are `count`.
async fn take(feed: &mut PartitionFeed, count: usize) -> Vec<InputMsg> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(soon(feed.next_batch(count)).await.unwrap());
    }
    taken
}

/// Asks again until the answer is yes.
async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let all = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, all).await.is_ok(), "waited in vain until {what}");
}

fn run(id: &str) -> RunId {
    id.parse().unwrap()
}

fn entity(id: &str) -> EntityId {
    id.parse().unwrap()
}

fn worker(name: &str) -> WorkerName {
    name.parse().unwrap()
}

fn instance(id: &str) -> InstanceId {
    id.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn cancel(by: &str) -> Input {
    Input::Cancel(Cancel { by: by.to_owned(), reason: None })
}

fn decision(n: u64, upto: u64) -> Decision {
    Decision { n, by: instance("c1"), upto, prev: String::new(), events: Vec::new(), secret: String::new() }
}

async fn append(mesh: &Mesh, entity: &EntityId, n: u64, expected: u64) -> Result<u64, rr_nats::PublishError> {
    mesh.append(entity, &encode_decision(entity, &decision(n, 0)).unwrap(), expected).await
}

fn host(text: &str) -> Target {
    Target::Host(text.parse().unwrap())
}

fn queue(text: &str) -> Target {
    Target::Queue(name(text))
}

fn offer(run: &RunId, task: u32, target: Target) -> Offer {
    Offer {
        run: run.clone(),
        flow: name("f"),
        job: name("j"),
        task,
        attempt: 1,
        offer: 1,
        priority: rr_schemas::flow::Priority::default(),
        target,
        command: Command::Argv(vec!["true".to_owned()]),
        env: BTreeMap::new(),
        inherit_env: Vec::new(),
        params: BTreeMap::new(),
        cwd: None,
        timeout: None,
        grace: None,
        claimed: false,
        lock: None,
        token: String::new(),
    }
}

fn report(task: u32) -> Report {
    let what = What::Started { at: Timestamp::UNIX_EPOCH };
    Report { task, attempt: 1, offer: 1, instance: instance("i1"), what, token: String::new() }
}
