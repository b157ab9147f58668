//! Workers that join: their consumers are made here, so that no worker needs the right to make any.

mod desk;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rr_core::run::WITHDRAWN_BY;
use rr_nats::{Error, JoinReply, JoinRequest, JoinServer, LaneError};
use rr_schemas::{
    name::WorkerName,
    presence::{Join, JoinAnswer, WorkerPresence},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::desk::Desk;
use crate::shell::Shell;

/// Workers whose consumers are made at once: enough to hide the way to the server, which makes one after the other.
const AT_ONCE: usize = 8;
/// Pause before joins are served again after an error.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Answers workers until it is told to stop.
pub(crate) async fn serve(shell: Arc<Shell>, stop: CancellationToken) {
    let served = async {
        loop {
            match shell.mesh.serve_joins().await {
                Ok(server) => {
                    Joins { shell: &shell, desk: Desk::default(), under_way: FuturesUnordered::new() }
                        .run(server)
                        .await;
                }
                Err(error) => tracing::warn!(%error, "workers cannot join"),
            }
            sleep(RETRY_PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = served => {}
    }
}

/// Requests that wait, and those that are being answered.
struct Joins<'a> {
    shell: &'a Shell,
    desk: Desk<JoinReply>,
    under_way: FuturesUnordered<BoxFuture<'a, (Join, Option<JoinAnswer>)>>,
}

impl Joins<'_> {
    /// Answers until the connection is closed. Requests are read as they come, however many are being answered.
    async fn run(mut self, mut server: JoinServer) {
        loop {
            while self.under_way.len() < AT_ONCE
                && let Some((join, reply)) = self.desk.next()
            {
                self.under_way.push(answer(self.shell, join, reply).boxed());
            }
            tokio::select! {
                biased;
                Some((join, answer)) = self.under_way.next() => {
                    if let Some(reply) = self.desk.done(&join, answer.is_some())
                        && let Some(answer) = answer
                    {
                        reply.answer(&answer).await;
                    }
                }
                request = server.next() => match request {
                    Some(JoinRequest { join: Ok(join), reply }) => self.desk.put(join, reply),
                    Some(JoinRequest { join: Err(reason), reply }) => {
                        reply.answer(&JoinAnswer::Refused { reason }).await;
                    }
                    None => return,
                },
            }
        }
    }
}

/// Answers a request, and says how; without an answer the worker asks again.
async fn answer(shell: &Shell, join: Join, reply: JoinReply) -> (Join, Option<JoinAnswer>) {
    match welcome(shell, &join).await {
        Ok(answer) => {
            tracing::debug!(?answer, "join answered");
            reply.answer(&answer).await;
            (join, Some(answer))
        }
        Err(error) => {
            tracing::warn!(worker.id = %join.worker, %error, "a worker's consumers cannot be made now");
            (join, None)
        }
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
        // A worker that is refused ends, so only what it asked for itself is a reason: the server's trouble passes.
        LaneError::Request(error) => Err(error),
        LaneError::Taken { .. } | LaneError::TooMany { .. } => Ok(JoinAnswer::Refused { reason: error.to_string() }),
    }
}
