//! A cluster of three real servers, each started from its configuration in `nats/cluster`, to be killed one by one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::mesh::{TestMesh, Timing};
use crate::process::Running;
use crate::proxy::Proxy;
use crate::sandbox::Sandbox;
use crate::wait::eventually;
use crate::{http, ports, program};

/// Servers of a cluster.
pub const SERVERS: usize = 3;

/// How long servers may take until they have found each other, or are up to date again.
const READY: Duration = Duration::from_mins(1);

/// A port where nobody listens.
const NOBODY: u16 = 9;

/// The servers of a cluster.
#[derive(Debug)]
pub struct Servers {
    nodes: [Node; SERVERS],
    /// Where servers can be cut off from each other: the network from each to each, row by row.
    wires: Vec<Proxy>,
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
        let nodes = std::array::from_fn(|_| Node::new());
        Self::of(Servers { nodes, wires: Vec::new() }, timing).await
    }

    /// The same, and servers can be cut off from each other.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn wired_cluster(timing: Timing) -> Self {
        let nodes: [Node; SERVERS] = std::array::from_fn(|_| Node::new());
        let mut wires = Vec::new();
        for _from in &nodes {
            for to in &nodes {
                wires.push(Proxy::to(to.cluster).await);
            }
        }
        Self::of(Servers { nodes, wires }, timing).await
    }

    async fn of(server: Servers, timing: Timing) -> Self {
        let sandbox = Sandbox::new().await;
        let Servers { nodes, .. } = &server;
        let urls: Vec<String> =
            nodes.iter().map(|node| format!("nats://rr:secret@127.0.0.1:{}", node.client)).collect();
        let url = urls.join(",");
        sandbox.configure(&timing.configured(&url));
        let mut mesh = Self { sandbox, server, url };
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
        let config = self.config(&name);
        let routes = self.routes(n);
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

    /// The configuration for users; where there are wires, with nothing that leads past them.
    fn config(&self, name: &str) -> PathBuf {
        let given = program::root().join("nats/cluster");
        if self.server.wires.is_empty() {
            return given.join(format!("{name}.conf"));
        }
        let common = fs::read_to_string(given.join("common.conf")).expect("the configuration of a cluster");
        // Servers tell each other where they are: here, where nobody is.
        let common = common.replacen("cluster {", &format!("cluster {{\n  advertise: \"127.0.0.1:{NOBODY}\""), 1);
        // A file of its own for each: another server may be reading its own just now.
        self.sandbox.write(&format!("{name}.conf"), format!("server_name: {name}\n{common}"))
    }

    fn routes(&self, n: usize) -> Vec<String> {
        let wires = self.server.wires.chunks(SERVERS).nth(n);
        let to = self.nodes().iter().enumerate().filter(|(to, _)| wires.is_none() || *to != n);
        let port = |to: usize, node: &Node| wires.and_then(|wires| wires.get(to)).map_or(node.cluster, Proxy::port);
        to.map(|(to, node)| format!("nats://route:secret@127.0.0.1:{}", port(to, node))).collect()
    }

    /// Cuts a server off from the others; its clients still reach it.
    pub fn cut_off(&self, n: usize) {
        for (place, wire) in self.server.wires.iter().enumerate() {
            if place / SERVERS == n || place % SERVERS == n {
                wire.cut();
            }
        }
    }

    /// Connections between servers that were reset so far.
    pub fn resets(&self) -> usize {
        self.server.wires.iter().map(Proxy::held).sum()
    }

    /// Every server reaches every other one again.
    pub fn rejoin(&self) {
        for wire in &self.server.wires {
            wire.heal();
        }
    }

    /// Where one server is, with user and password.
    pub fn url_of(&self, n: usize) -> String {
        format!("nats://rr:secret@127.0.0.1:{}", self.node(n).client)
    }

    /// A network between a client and one server.
    ///
    /// # Panics
    /// There is no port for it.
    pub async fn proxy_to(&self, n: usize) -> Proxy {
        Proxy::to(self.node(n).client).await
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
            self.leader_says(any, stream, consumer).await
        })
        .await
    }

    /// The server that leads a stream, or one of its consumers, once that is another one than the one that is gone.
    ///
    /// # Panics
    /// None does.
    pub async fn successor(&self, gone: usize, stream: &str, consumer: Option<&str>) -> usize {
        let what = format!("successor of {} as leader of {stream} {consumer:?}", name(gone));
        eventually(&what, READY, async || {
            let other = self.alive().find(|n| *n != gone).ok_or("no other server is alive")?;
            let leader = self.leader_says(other, stream, consumer).await?;
            if leader == gone { Err(format!("still led by {}", name(gone))) } else { Ok(leader) }
        })
        .await
    }

    /// The leader as one of the servers knows it.
    async fn leader_says(&self, n: usize, stream: &str, consumer: Option<&str>) -> Result<usize, String> {
        let streams = self.streams(n).await?;
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
    }

    /// The names of the connections that one of the servers has, sorted.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connections(&self, n: usize) -> Result<Vec<String>, String> {
        let all = self.monitor(n, "/connz").await?;
        let all = all.get("connections").and_then(Value::as_array).cloned().unwrap_or_default();
        let names = all.iter().filter_map(|one| one.get("name").and_then(Value::as_str).map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
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
