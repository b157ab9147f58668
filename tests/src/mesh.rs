//! A mesh of real processes: a server that can be killed and brought back on its port, coordinators and workers.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use rr_core::Policy;
use rr_nats::server::{Config, Embedded};
use rr_nats::{ConnectOptions, Link, Mesh, connect};
use rr_schemas::id::RunId;
use rr_schemas::span::Span;
use rr_schemas::view::RunView;

use crate::process::Running;
use crate::program;
use crate::proxy::Proxy;
use crate::sandbox::{Call, Sandbox};
use crate::wait::eventually;

/// How long a mesh may take until it serves.
const READY: Duration = Duration::from_secs(30);

/// Losses that a task of a tortured mesh may have: as many as there are kills.
const LOSSES_MAX: u32 = 1_000;

/// How patient the parts of a mesh are with each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timing {
    /// As for users.
    Default,
    /// As short as the server allows: what was killed is missed after two or three seconds.
    Short,
    /// As short, but hosts that nobody serves are waited for: those who serve them are away for seconds.
    ShortPatient,
}

impl Timing {
    /// The part of it that decisions depend on.
    pub fn policy(self) -> Policy {
        match self {
            Self::Default => Policy::default(),
            Self::Short | Self::ShortPatient => Policy {
                lease: Span::saturating_from_secs(2),
                offer_expiry: Span::saturating_from_secs(if self == Self::Short { 3 } else { 20 }),
                losses_max: LOSSES_MAX,
                look_max: Span::saturating_from_secs(3),
                ..Policy::default()
            },
        }
    }

    /// A user's configuration: this server, and these times.
    pub(crate) fn configured(self, url: &str) -> String {
        format!("server: {url}\n{}", self.configuration())
    }

    fn configuration(self) -> String {
        if self == Self::Default {
            return String::new();
        }
        let Policy { lease, offer_expiry, losses_max, look_max, .. } = self.policy();
        format!(
            "mesh: {{ partitions: 2, ack-wait: 2s, partition-ack-wait: 1s, pin-timeout: 1s }}\n\
             coordinator:\n  presence-ttl: 3s\n  hesitation: 100ms\n  \
             policy: {{ lease: {lease}, offer-expiry: {offer_expiry}, losses-max: {losses_max}, look-max: {look_max} }}\n\
             worker: {{ times: {{ presence-ttl: 3s, presence-renew: 1s, verify: 3s, lock-ttl: 6s }} }}\n"
        )
    }
}

/// A server, or several, with the sandbox of the user whose configuration names it.
#[derive(Debug)]
pub struct TestMesh<S = Embedded> {
    pub(crate) sandbox: Sandbox,
    pub(crate) server: S,
    /// Where it is, with user and password.
    pub(crate) url: String,
}

impl TestMesh {
    /// A server, and nobody on it.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn bare(timing: Timing) -> Self {
        let sandbox = Sandbox::new().await;
        let (store, run) = (sandbox.dir().join("nats"), sandbox.dir().join("nats-run"));
        let server = Embedded::start(&program::nats_server().await, Config::new(store, run)).await;
        let server = server.expect("a nats-server");
        let (user, password, port) = (server.user(), server.password(), server.port());
        let url = format!("nats://{user}:{password}@127.0.0.1:{port}");
        sandbox.configure(&timing.configured(&url));
        Self { sandbox, server, url }
    }

    /// A server with a coordinator, and a worker that serves all hosts and the queue `default`.
    ///
    /// # Panics
    /// Something of it cannot be started.
    pub async fn start(timing: Timing) -> (Self, Running, Running) {
        let mesh = Self::bare(timing).await;
        let coordinator = mesh.coordinator();
        mesh.is_made().await;
        let worker = mesh.worker("w1", &["--all-hosts", "--queues", "default"]);
        mesh.has_workers(1).await;
        (mesh, coordinator, worker)
    }

    /// The server.
    pub const fn server(&mut self) -> &mut Embedded {
        &mut self.server
    }

    /// Its address and credentials.
    pub const fn address(&self) -> &Embedded {
        &self.server
    }
}

impl<S> TestMesh<S> {
    /// Starts a coordinator.
    pub fn coordinator(&self) -> Running {
        self.rr(["coordinator"]).start()
    }

    /// Starts a worker; its state is kept under its name, so that the next one of this name takes it over.
    pub fn worker(&self, name: &str, args: &[&str]) -> Running {
        self.rr(["worker", "--name", name, "--capacity", "8"].iter().chain(args).copied()).start()
    }

    /// A worker that reaches the server through a proxy.
    pub fn worker_via(&self, proxy: &Proxy, name: &str, args: &[&str]) -> Running {
        let url = self.url_via(proxy);
        let first = ["worker", "--server", &url, "--name", name, "--capacity", "8"];
        self.rr(first.iter().chain(args).copied()).start()
    }

    /// A coordinator that reaches the server through a proxy.
    pub fn coordinator_via(&self, proxy: &Proxy) -> Running {
        self.rr(["coordinator", "--server", &self.url_via(proxy)]).start()
    }

    /// `rr` with these arguments, which reaches the server through a proxy.
    pub fn rr_via<'a>(&self, proxy: &Proxy, args: impl IntoIterator<Item = &'a str>) -> Call<'_> {
        self.rr(args).env("RR_SERVER", self.url_via(proxy))
    }

    pub(crate) fn url_via(&self, proxy: &Proxy) -> String {
        let (login, _) = self.url.rsplit_once('@').expect("a user in the URL");
        format!("{login}@127.0.0.1:{}", proxy.port())
    }

    /// Waits until a coordinator has made the mesh.
    ///
    /// # Panics
    /// None does.
    pub async fn is_made(&self) {
        eventually("mesh", READY, async || self.mesh().await).await;
    }

    /// Waits until so many workers are present.
    ///
    /// # Panics
    /// They do not come.
    pub async fn has_workers(&self, n: usize) {
        eventually("workers", READY, async || {
            let mesh = self.mesh().await?;
            let workers = mesh.workers().await.map_err(|error| error.to_string())?;
            if workers.len() == n { Ok(()) } else { Err(format!("{} workers", workers.len())) }
        })
        .await;
    }

    /// Waits until so many coordinators are present.
    ///
    /// # Panics
    /// They do not come.
    pub async fn has_coordinators(&self, n: usize) {
        eventually("coordinators", READY, async || {
            let mesh = self.mesh().await?;
            let coordinators = mesh.coordinators().await.map_err(|error| error.to_string())?;
            if coordinators.len() == n { Ok(()) } else { Err(format!("{} coordinators", coordinators.len())) }
        })
        .await;
    }

    /// A connection to the server.
    ///
    /// # Errors
    /// There is none now.
    pub async fn link(&self) -> Result<Link, String> {
        let options = ConnectOptions { server: self.url.clone(), name: "test".to_owned(), ..ConnectOptions::default() };
        connect(&options).await.map_err(|error| error.to_string())
    }

    /// The mesh, made by its first coordinator.
    ///
    /// # Errors
    /// There is none yet.
    pub async fn mesh(&self) -> Result<Mesh, String> {
        self.link().await?.mesh().await.map_err(|error| error.to_string())
    }

    /// Waits until the run has ended and the bucket says so.
    ///
    /// # Panics
    /// It does not end.
    pub async fn ended(&self, run: &RunId, limit: Duration) -> RunView {
        eventually("end of the run", limit, async || {
            let status = self.mesh().await?.status(run).await.map_err(|error| error.to_string())?;
            match status {
                Some(entry) if entry.view.status.is_final() => Ok(entry.view),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Where the server is, with user and password.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl<S> Deref for TestMesh<S> {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl<S> DerefMut for TestMesh<S> {
    fn deref_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}
