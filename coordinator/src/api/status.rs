//! `rr.api.status`: the document of `rr show --json`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rr_core::History;
use rr_nats::{ApiRequest, StoredDecision};
use rr_schemas::{
    api::{Code, Refusal, Status},
    id::RunId,
    view::RunView,
};

use super::{
    Desk, SMALL_BYTES_MAX,
    words::{told, unknown},
};

/// Tells a run: from the bucket where that says all that is asked, else from its history.
pub(super) async fn status(desk: &Desk, request: &ApiRequest) -> Result<RunView, Refusal> {
    let Status { run, tasks } = request.read(SMALL_BYTES_MAX)?;
    let mesh = &desk.shell.mesh;
    let entry = mesh.status(&run).await.map_err(|error| told(&error))?;
    let entry = match entry {
        Some(entry) if !tasks && entry.jobs_left_out == 0 => return Ok(entry.view),
        entry => entry,
    };
    // Closed only with the coordinator.
    let _turn = desk.large.acquire().await;
    let history = mesh.history(&(&run).into(), 0).await.map_err(|error| told(&error))?;
    if let Some(view) = fold(&run, history, tasks)? {
        return Ok(view);
    }
    match entry {
        // What is left of a run whose history was removed.
        Some(entry) => Ok(entry.view),
        None if mesh.first_request(&(&run).into()).await.map_err(|error| told(&error))?.is_some() => {
            Ok(History::new(run).view())
        }
        None => Err(unknown(&run)),
    }
}

/// The run as its history tells it; none without one. What is no event of it is passed over, as by every reader.
fn fold(run: &RunId, stored: Vec<StoredDecision>, with_tasks: bool) -> Result<Option<RunView>, Refusal> {
    let folded = catch_unwind(AssertUnwindSafe(|| {
        let mut history = History::new(run.clone());
        for decision in stored.into_iter().filter_map(|stored| stored.decision.ok()) {
            for record in &decision.events {
                if let Err(error) = history.apply(record) {
                    tracing::debug!(run.id = %run, %error, "event passed over");
                }
            }
        }
        let view = || if with_tasks { history.view() } else { history.run().view() };
        history.run().exists().then(view)
    }));
    folded.map_err(|_| Refusal::new(Code::Bug, format_args!("the history of run {run} cannot be told")))
}
