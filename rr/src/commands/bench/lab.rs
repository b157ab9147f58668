//! A throw-away mesh whose roles can be told apart by their CPU time: the server is a process, coordinator and worker
//! have a thread with a runtime of its own each.

use std::{future::Future, num::NonZeroU32, path::PathBuf, pin::Pin, thread};

use rr_coordinator::Coordinator;
use rr_nats::{
    ConnectOptions, Mesh, PresenceWatch, Topology, connect, ensure,
    server::{Config, Embedded},
};
use rr_schemas::name::{Name, WorkerName};
use rr_worker::{
    Handlers, Options, Worker,
    config::{Hosts, Serves},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    cpu::{self, Cpu},
    flows::NOOP,
};
use crate::{context::Context, error::CliError, mesh::told, server::obtain};

/// The mesh.
#[derive(Debug)]
pub(crate) struct Lab {
    server: Embedded,
    coordinator: Role,
    worker: Role,
    mesh: Mesh,
    /// Removed with everything in it when the lab is.
    _dir: tempfile::TempDir,
}

impl Lab {
    /// Starts server, coordinator and worker, and waits until the worker is present.
    pub(crate) async fn start(ctx: &Context, capacity: u32) -> Result<Self, CliError> {
        let binary = obtain(ctx).await?;
        let dir = tempfile::tempdir().map_err(|error| CliError::bug(format_args!("no directory: {error}")))?;
        let config = Config::new(dir.path().join("store"), dir.path().join("server"));
        let server = Embedded::start(&binary, config).await.map_err(CliError::bug)?;
        let options = ConnectOptions {
            server: server.url(),
            user: Some(server.user().to_owned()),
            password: Some(server.password().to_owned()),
            name: "rr bench".to_owned(),
            ..ConnectOptions::default()
        };
        let link = connect(&options).await.map_err(CliError::bug)?;
        let mesh = ensure(&link, &Topology::default()).await.map_err(|error| told(&error))?;
        let coordinator = Role::start("coordinator", options.clone(), |mesh, stop| {
            Box::pin(async move {
                let handle = Coordinator::start(mesh, rr_coordinator::Options::default());
                stop.cancelled().await;
                handle.stop().await;
                Ok(())
            })
        })
        .await?;
        let state_dir = dir.path().join("worker");
        let worker =
            Role::start("worker", options, move |mesh, stop| Box::pin(work(mesh, stop, state_dir, capacity))).await?;
        let lab = Self { server, coordinator, worker, mesh, _dir: dir };
        lab.wait_for_worker().await?;
        Ok(lab)
    }

    async fn wait_for_worker(&self) -> Result<(), CliError> {
        let mut seen = PresenceWatch::open(&self.mesh).await.map_err(|error| told(&error))?;
        while seen.workers().is_empty() {
            seen.changed().await;
        }
        Ok(())
    }

    /// A connection to it.
    pub(crate) const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// What each role has used until now.
    pub(crate) fn cpu(&self) -> Cpu {
        Cpu {
            server: self.server.pid().map_or(0.0, cpu::of_process),
            coordinator: cpu::of_thread(self.coordinator.tid),
            worker: cpu::of_thread(self.worker.tid),
        }
    }

    /// Ends it all.
    pub(crate) async fn stop(self) -> Result<(), CliError> {
        self.worker.stop()?;
        self.coordinator.stop()?;
        self.mesh.drain().await;
        self.server.stop().await.map_err(CliError::bug)?;
        Ok(())
    }
}

async fn work(mesh: Mesh, stop: CancellationToken, state_dir: PathBuf, capacity: u32) -> Result<(), String> {
    let name: WorkerName = "bench".parse().map_err(|error| format!("{error}"))?;
    let noop: Name = NOOP.parse().map_err(|error| format!("{error}"))?;
    let queue: Name = rr_core::plan::DEFAULT_QUEUE.parse().map_err(|error| format!("{error}"))?;
    let options = Options {
        serves: Serves { hosts: Hosts::All, queues: vec![queue] },
        capacity: NonZeroU32::new(capacity).unwrap_or(NonZeroU32::MIN),
        ..Options::new(name, state_dir)
    };
    let handlers = Handlers::new().register(noop, |_| async { Ok::<(), String>(()) });
    let mut handle = Worker::start(mesh, options, handlers).await.map_err(|error| error.to_string())?;
    stop.cancelled().await;
    handle.drain();
    handle.join().await.map_err(|error| error.to_string())
}

type Working = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// A role on a thread of its own.
#[derive(Debug)]
struct Role {
    thread: thread::JoinHandle<Result<(), String>>,
    stop: CancellationToken,
    tid: u32,
}

impl Role {
    async fn start(
        name: &str,
        options: ConnectOptions,
        work: impl FnOnce(Mesh, CancellationToken) -> Working + Send + 'static,
    ) -> Result<Self, CliError> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (told, hear) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // A receiver that is gone has given up on the whole lab.
                let _ = told.send(cpu::this_thread());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(|error| error.to_string())?.block_on(async {
                    let link = connect(&options).await.map_err(|error| error.to_string())?;
                    let mesh = link.mesh().await.map_err(|error| error.to_string())?;
                    work(mesh, stopped).await
                })
            })
            .map_err(|error| CliError::bug(format_args!("no thread: {error}")))?;
        let tid = hear.await.unwrap_or(0);
        Ok(Self { thread, stop, tid })
    }

    fn stop(self) -> Result<(), CliError> {
        self.stop.cancel();
        match self.thread.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CliError::bug(error)),
            Err(_) => Err(CliError::bug("a thread of the measurement panicked")),
        }
    }
}
