//! Workers that join: their consumers are made here, so that no worker needs the right to make any.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use rr_core::run::WITHDRAWN_BY;
use rr_nats::{Error, JoinRequest, LaneError};
use rr_schemas::{
    name::WorkerName,
    presence::{Join, JoinAnswer, WorkerPresence},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::shell::Shell;

/// Requests that are answered at once; each makes a few files on the server.
const AT_ONCE: usize = 16;
/// Pause before joins are served again after an error.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Answers workers until it is told to stop.
pub(crate) async fn serve(shell: Arc<Shell>, stop: CancellationToken) {
    let served = async {
        loop {
            match shell.mesh.serve_joins().await {
                Ok(server) => {
                    let requests = stream::unfold(server, async |mut server| {
                        let request = server.next().await?;
                        Some((request, server))
                    });
                    requests.for_each_concurrent(AT_ONCE, |request| answer(&shell, request)).await;
                }
                Err(error) => tracing::warn!(%error, "workers cannot join"),
            }
            sleep(RETRY_PAUSE).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = served => {}
    }
}

async fn answer(shell: &Shell, request: JoinRequest) {
    let answer = match &request.join {
        Ok(join) => welcome(shell, join).await,
        Err(reason) => Ok(JoinAnswer::Refused { reason: reason.clone() }),
    };
    match answer {
        Ok(answer) => {
            tracing::debug!(?answer, "join answered");
            request.answer(&answer).await;
        }
        // Without an answer the worker asks again.
        Err(error) => tracing::warn!(%error, "a worker's consumers cannot be made now"),
    }
}

/// Makes the consumers of a worker; an error may pass.
async fn welcome(shell: &Shell, join: &Join) -> Result<JoinAnswer, Error> {
    if join.worker.as_str() == WITHDRAWN_BY {
        return Ok(JoinAnswer::Refused { reason: format!("the name {WITHDRAWN_BY} belongs to coordinators") });
    }
    // Whatever was known of its lane may be about to change.
    shell.lanes.forget(&join.worker);
    let own = match own_lane(shell, join).await {
        Ok(own) => own,
        Err(error) => return refused(error),
    };
    shell.lanes.forget(&join.worker);
    shell.known_lanes.are_there([own.clone()]);
    let mut queues = Vec::with_capacity(join.serves.queues.len());
    for queue in &join.serves.queues {
        match shell.known_lanes.ensure_queue(&shell.mesh, queue).await {
            Ok(lanes) => queues.push(lanes),
            Err(error) => return refused(error.into()),
        }
    }
    // A worker asks again from time to time.
    if shell.known_lanes.is_news(&join.worker, &join.instance) {
        tracing::info!(worker.id = %join.worker, instance = %join.instance, "worker joined");
    }
    Ok(JoinAnswer::Welcome { own, queues })
}

/// The worker's own lane. Hosts of a worker that is gone are free: a worker shows itself before it joins and as
/// long as it lives, so whoever is absent serves nobody. A lane with offers that were delivered and not acknowledged
/// stays: its worker may run them while its link is down, and report when it is back.
async fn own_lane(shell: &Shell, join: &Join) -> Result<String, LaneError> {
    loop {
        let error = match shell.mesh.ensure_lane(&join.worker, &join.serves.hosts, &join.labels).await {
            Err(error @ LaneError::Taken { .. }) => error,
            settled => return settled,
        };
        let LaneError::Taken { by, .. } = &error else { return Err(error) };
        let Ok(by) = by.parse::<WorkerName>() else { return Err(error) };
        let is_free = by != join.worker
            && shell.presence.is_steady()
            && !is_present(shell, &by).await?
            && shell.mesh.is_host_lane_idle(&by).await?;
        if !is_free {
            return Err(error);
        }
        tracing::info!(worker.id = %by, by = %join.worker, "hosts of a worker that is gone are taken over");
        shell.lanes.forget(&by);
        shell.mesh.give_up_hosts(&by).await?;
        shell.lanes.forget(&by);
        if let Some(back) = shell.mesh.worker(&by).await? {
            give_back(shell, &back).await?;
            return Err(error);
        }
    }
}

/// A worker that has come back while its hosts were given up gets them back: it shows itself before it joins, so
/// whoever is still absent after its hosts are given up joins after that, and whoever is present may have joined before,
/// and lost what it was just given.
async fn give_back(shell: &Shell, back: &WorkerPresence) -> Result<(), LaneError> {
    tracing::info!(worker.id = %back.worker, "a worker comes back and keeps its hosts");
    let again = shell.mesh.ensure_lane(&back.worker, &back.serves.hosts, &back.labels).await;
    shell.lanes.forget(&back.worker);
    match again {
        // What stands in its way its own join finds out as well.
        Ok(_) | Err(LaneError::Taken { .. } | LaneError::TooMany { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asks the server: what is watched here may be a moment old.
async fn is_present(shell: &Shell, worker: &WorkerName) -> Result<bool, Error> {
    Ok(shell.mesh.worker(worker).await?.is_some())
}

fn refused(error: LaneError) -> Result<JoinAnswer, Error> {
    match error {
        // A stream that is not there is made again: the worker asks once more.
        LaneError::Request(error) if error.is_retryable() || matches!(error, Error::NotFound { .. }) => Err(error),
        LaneError::Taken { .. } | LaneError::TooMany { .. } | LaneError::Request(_) => {
            Ok(JoinAnswer::Refused { reason: error.to_string() })
        }
    }
}
