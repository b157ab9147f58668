//! A cluster of three real servers, each started from its configuration in `nats/cluster`, to be killed one by one.

use std::time::Duration;

use serde_json::Value;

use crate::mesh::{TestMesh, Timing};
use crate::process::Running;
use crate::sandbox::Sandbox;
use crate::wait::eventually;
use crate::{http, ports, program};

/// Servers of a cluster.
pub const SERVERS: usize = 3;

/// How long servers may take until they have found each other, or are up to date again.
const READY: Duration = Duration::from_mins(1);

/// The servers of a cluster.
#[derive(Debug)]
pub struct Servers {
    nodes: [Node; SERVERS],
}

#[derive(Debug)]
struct Node {
    client: u16,
    monitor: u16,
    cluster: u16,
    /// None while it is dead.
    process: Option<Running>,
}

impl Node {
    fn new() -> Self {
        Self { client: ports::free(), monitor: ports::free(), cluster: ports::free(), process: None }
    }
}

impl TestMesh<Servers> {
    /// A cluster, and nobody on it.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn cluster(timing: Timing) -> Self {
        let sandbox = Sandbox::new().await;
        let nodes = std::array::from_fn(|_| Node::new());
        let urls: Vec<String> =
            nodes.iter().map(|node| format!("nats://rr:secret@127.0.0.1:{}", node.client)).collect();
        let url = urls.join(",");
        sandbox.configure(&timing.configured(&url));
        let mut mesh = Self { sandbox, server: Servers { nodes }, url };
        for n in 0..SERVERS {
            mesh.start_server(n).await;
        }
        for n in 0..SERVERS {
            mesh.is_healthy(n).await;
        }
        mesh
    }

    /// Starts a server, with what it has stored.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn start_server(&mut self, n: usize) {
        let binary = program::nats_server().await;
        let name = name(n);
        let config = program::root().join(format!("nats/cluster/{name}.conf"));
        let routes: Vec<String> =
            self.nodes().iter().map(|node| format!("nats://route:secret@127.0.0.1:{}", node.cluster)).collect();
        let store = self.sandbox.dir().join(&name);
        let node = self.node(n);
        let local = |port: u16| format!("127.0.0.1:{port}");
        let process = self
            .sandbox
            .call(&binary.path, ["--config".into(), config.into_os_string()])
            .env("RR_NATS_LISTEN", local(node.client))
            .env("RR_NATS_MONITOR", local(node.monitor))
            .env("RR_NATS_CLUSTER", local(node.cluster))
            .env("RR_NATS_ROUTES", format!("[{}]", routes.join(", ")))
            .env("RR_NATS_STORE", store.to_string_lossy())
            .env("RR_NATS_STORE_MAX", "16GB")
            .env("RR_NATS_PASSWORD", "secret")
            .env("RR_NATS_ADMIN_PASSWORD", "secret")
            .env("RR_NATS_ROUTE_PASSWORD", "secret")
            .start();
        self.node_mut(n).process = Some(process);
    }

    /// `kill -9` of a server.
    ///
    /// # Panics
    /// It does not run.
    pub async fn kill_server(&mut self, n: usize) {
        self.node_mut(n).process.take().expect("a server that runs").kill().await;
    }

    /// The process of a server that runs.
    ///
    /// # Panics
    /// It does not run.
    pub fn server_process(&self, n: usize) -> &Running {
        self.node(n).process.as_ref().expect("a server that runs")
    }

    /// Waits until a server says that it is up to date with the others.
    ///
    /// # Panics
    /// It does not.
    pub async fn is_healthy(&self, n: usize) {
        let what = format!("health of {}", name(n));
        eventually(&what, READY, async || match self.monitor(n, "/healthz").await?.get("status") {
            Some(Value::String(status)) if status == "ok" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// The server that leads a stream, or one of its consumers.
    ///
    /// # Panics
    /// None does.
    pub async fn leader(&self, stream: &str, consumer: Option<&str>) -> usize {
        let what = format!("leader of {stream} {consumer:?}");
        eventually(&what, READY, async || {
            let any = self.alive().next().ok_or("no server is alive")?;
            let streams = self.streams(any).await?;
            let stream = named(&streams, stream).ok_or("no such stream")?;
            let part = match consumer {
                None => stream,
                Some(consumer) => {
                    let all = stream.get("consumer_detail").and_then(Value::as_array).ok_or("no consumers")?;
                    named(all, consumer).ok_or("no such consumer")?
                }
            };
            let leader = part.pointer("/cluster/leader").and_then(Value::as_str).unwrap_or_default();
            (0..SERVERS).find(|n| name(*n) == leader).ok_or_else(|| format!("led by {leader:?}"))
        })
        .await
    }

    /// What a server knows of each stream, its consumers among it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn streams(&self, n: usize) -> Result<Vec<Value>, String> {
        let all = self.monitor(n, "/jsz?accounts=true&streams=true&consumers=true&config=true").await?;
        let accounts = all.get("account_details").and_then(Value::as_array).cloned().unwrap_or_default();
        let streams = accounts.iter().filter_map(|account| account.get("stream_detail")?.as_array());
        Ok(streams.flatten().cloned().collect())
    }

    /// Servers that run.
    pub fn alive(&self) -> impl Iterator<Item = usize> {
        self.nodes().iter().enumerate().filter_map(|(n, node)| node.process.as_ref().map(|_| n))
    }

    /// Asks a server for its state.
    async fn monitor(&self, n: usize, path: &str) -> Result<Value, String> {
        let body = http::get(&format!("http://127.0.0.1:{}{path}", self.node(n).monitor)).await?;
        serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
    }

    const fn nodes(&self) -> &[Node; SERVERS] {
        &self.server.nodes
    }

    fn node(&self, n: usize) -> &Node {
        self.server.nodes.get(n).expect("one of the servers")
    }

    fn node_mut(&mut self, n: usize) -> &mut Node {
        self.server.nodes.get_mut(n).expect("one of the servers")
    }
}

fn name(n: usize) -> String {
    format!("n{}", n + 1)
}

fn named<'v>(all: &'v [Value], name: &str) -> Option<&'v Value> {
    all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))
}
