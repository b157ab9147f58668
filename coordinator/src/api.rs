//! `rr.api.*`: any NATS client starts, stops and tells runs.
//!
//! Nothing is decided here: a request becomes the same input that `rr` stores, and an answer is read from what is stored.
//! So it does not matter which coordinator answers, nor whether it is the one that works on the run.

mod cancel;
mod list;
mod publish;
mod signal;
mod status;
mod words;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use rr_nats::{ApiRequest, ApiServer, Endpoint};
use rr_schemas::api::{Code, Refusal};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::shell::Shell;

/// Requests that are answered at once; each has one request to the server under way most of the time.
const AT_ONCE: usize = 32;
/// Of these, such as read a lot: whole histories and lists. Each may hold some tens of megabytes.
const LARGE_AT_ONCE: usize = 2;
/// An answer comes within this time: shorter than clients wait, so that they hear why.
const WITHIN: Duration = Duration::from_secs(4);
/// Pause before requests are served again after an error.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a request at most that names a run and little else.
const SMALL_BYTES_MAX: usize = 16 * 1024;

/// What answers share.
#[derive(Debug)]
struct Desk {
    shell: Arc<Shell>,
    large: Semaphore,
}

/// Answers clients until it is told to stop, and then those who have asked already.
pub(crate) async fn serve(shell: Arc<Shell>, stop: CancellationToken) {
    let since = shell.clock();
    let desk = Desk { large: Semaphore::new(LARGE_AT_ONCE), shell };
    while !stop.is_cancelled() {
        let Shell { mesh, instance, .. } = desk.shell.as_ref();
        match mesh.serve_api(instance, env!("CARGO_PKG_VERSION"), since).await {
            Ok((server, monitor)) => tokio::select! {
                biased;
                () = answer_all(&desk, server, &stop) => {}
                () = monitor.serve() => {}
            },
            Err(error) => tracing::warn!(%error, "clients cannot ask"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = sleep(RETRY_PAUSE) => {}
        }
    }
}

async fn answer_all(desk: &Desk, server: ApiServer, stop: &CancellationToken) {
    let requests = stream::unfold(server, async |mut server| {
        let request = tokio::select! {
            biased;
            () = stop.cancelled() => {
                server.close().await;
                server.next().await
            }
            request = server.next() => request,
        };
        Some((request?, server))
    });
    requests.for_each_concurrent(AT_ONCE, |request| answer(desk, request)).await;
}

async fn answer(desk: &Desk, request: ApiRequest) {
    let deadline = Instant::now() + WITHIN;
    match request.endpoint {
        Some(Endpoint::Publish) => {
            let answer = publish::publish(&desk.shell, &request, deadline).await;
            request.answer(answer).await;
        }
        Some(Endpoint::Cancel) => within(deadline, request, async |request| cancel::cancel(desk, request).await).await,
        Some(Endpoint::Signal) => within(deadline, request, async |request| signal::signal(desk, request).await).await,
        Some(Endpoint::Status) => within(deadline, request, async |request| status::status(desk, request).await).await,
        Some(Endpoint::List) => within(deadline, request, async |request| list::list(desk, request).await).await,
        None => {
            let names: Vec<&str> = Endpoint::ALL.into_iter().map(Endpoint::name).collect();
            let text = format!("no such endpoint; rr.api has {}", names.join(", "));
            request.answer::<()>(Err(Refusal::new(Code::Unknown, text))).await;
        }
    }
}

/// Answers what may be asked again at no risk.
async fn within<T: Serialize>(
    deadline: Instant,
    request: ApiRequest,
    work: impl AsyncFnOnce(&ApiRequest) -> Result<T, Refusal>,
) {
    let answer = timeout_at(deadline, work(&request)).await.unwrap_or_else(|_| {
        Err(Refusal::new(Code::Unreachable, format_args!("the store gave no answer within {WITHIN:?}; ask again")))
    });
    request.answer(answer).await;
}
