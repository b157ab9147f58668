//! The guard of a process that runs workers: what they run does not outlive it.

use std::path::PathBuf;

use rr_worker::process::{Guard, GuardCommand};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, chain};

/// The process that ends what this one was running, if this one is killed.
#[derive(Debug)]
pub(crate) struct GuardKeeper {
    guard: Guard,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl GuardKeeper {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started (70).
    pub(crate) fn start() -> Result<Self, CliError> {
        let command = GuardCommand { exe: own_program()?, args: vec!["__guard".into()] };
        let (guard, keeper) = Guard::start(command).map_err(|error| CliError::bug(chain(&error)))?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        tasks.spawn(async move {
            if let Err(error) = keeper.run(stopped).await {
                tracing::error!(error = chain(&error), "attempts are not guarded any more");
            }
        });
        Ok(Self { guard, stop, tasks })
    }

    /// A handle for a worker.
    pub(crate) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Lets the guard end what is still registered and go.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the keeper of the guard failed");
            }
        }
    }
}

/// This program; on Linux also when its file was replaced meanwhile.
fn own_program() -> Result<PathBuf, CliError> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() {
        return Ok(own);
    }
    std::env::current_exe().map_err(|error| CliError::bug(format_args!("find the program rr: {error}")))
}
