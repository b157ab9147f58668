//! One real server from the configuration for users, `nats/server.conf`: as in [`crate::mesh`], and its state can be asked for.

use std::time::Duration;

use serde_json::Value;

use crate::mesh::{TestMesh, Timing};
use crate::process::Running;
use crate::sandbox::Sandbox;
use crate::wait::eventually;
use crate::{http, ports, program};

/// How long a server may take until it serves.
const READY: Duration = Duration::from_secs(30);

/// A server, with where it tells its state.
#[derive(Debug)]
pub struct Single {
    monitor: u16,
    process: Running,
}

impl TestMesh<Single> {
    /// A server, and nobody on it.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn single(timing: Timing) -> Self {
        let sandbox = Sandbox::new().await;
        let (client, monitor) = (ports::free(), ports::free());
        let url = format!("nats://rr:secret@127.0.0.1:{client}");
        sandbox.configure(&timing.configured(&url));
        let binary = program::nats_server().await;
        let config = program::root().join("nats/server.conf");
        let process = sandbox
            .call(&binary.path, ["--config".into(), config.into_os_string()])
            .env("RR_NATS_LISTEN", format!("127.0.0.1:{client}"))
            .env("RR_NATS_MONITOR", format!("127.0.0.1:{monitor}"))
            .env("RR_NATS_STORE", sandbox.dir().join("nats").to_string_lossy())
            .env("RR_NATS_STORE_MAX", "16GB")
            .env("RR_NATS_PASSWORD", "secret")
            .env("RR_NATS_ADMIN_PASSWORD", "secret")
            .start();
        let mesh = Self { sandbox, server: Single { monitor, process }, url };
        eventually("server", READY, async || mesh.state("healthz").await).await;
        mesh
    }

    /// The process of the server.
    pub const fn process(&self) -> &Running {
        &self.server.process
    }

    /// What the server says of itself: `varz`, `jsz`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn state(&self, what: &str) -> Result<Value, String> {
        let body = http::get(&format!("http://127.0.0.1:{}/{what}", self.server.monitor)).await?;
        serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
    }
}
