//! `rr.api.publish`: stores a run as `rr publish` does.

use std::time::Duration;

use rr_core::Plan;
use rr_nats::{ApiRequest, First, Mesh, PublishError};
use rr_schemas::{
    api::{Asker, Code, Publish, Published, Refusal},
    decision::RunStatus,
    flow::{FILE_BYTES_MAX, check::Problem, object},
    id::RunId,
    input::{Input, Submit},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::words::{publish_told, told};
use crate::shell::Shell;

/// Bytes of a request at most: the largest flow, and parameters beside it. Below the megabyte that a server takes.
const BYTES_MAX: usize = FILE_BYTES_MAX + 256 * 1024;
/// Pause before a submit is tried again that is not stored.
const PAUSE: Duration = Duration::from_millis(500);

/// Checks a flow and stores its run. The same id with the same content is answered as before.
pub(super) async fn publish(shell: &Shell, request: &ApiRequest, deadline: Instant) -> Result<Published, Refusal> {
    let Publish { flow, params, id, by } = request.read(BYTES_MAX)?;
    let flow = object::read(flow.get()).map_err(bad_flow)?;
    Plan::new(&flow, &params).map_err(bad_flow)?;
    let run = id.unwrap_or_else(|| RunId::random(&mut fastrand::Rng::new()));
    let submit = Submit { flow, params, by: by.as_str().to_owned(), retry_of: None };
    let status = store(&shell.mesh, &run, &by, submit, deadline).await?;
    Ok(Published { run, status })
}

fn bad_flow(problems: Vec<Problem>) -> Refusal {
    let n = problems.len();
    let errors = if n == 1 { "1 error".to_owned() } else { format!("{n} errors") };
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let error = format!("{errors} in the flow; nothing was started: {first}");
    Refusal { code: Code::BadInput, error, problems }
}

async fn store(mesh: &Mesh, run: &RunId, by: &Asker, submit: Submit, deadline: Instant) -> Result<RunStatus, Refusal> {
    let known = timeout_at(deadline, mesh.status(run)).await.map_err(|_| not_stored(run, "no answer in time"))?;
    if let Some(entry) = known.map_err(|error| told(&error))? {
        // A state without a history is what is left of a run whose history was removed.
        return same(mesh, run, &submit, deadline).await.map(|()| entry.view.status);
    }
    let input = Input::Submit(Box::new(submit.clone()));
    let mut maybe_stored = false;
    loop {
        let late = || Err(PublishError::Unknown("no answer in time".to_owned()));
        let answer = timeout_at(deadline, mesh.submit(run, by.as_str(), &input, First::New)).await;
        let error = match answer.unwrap_or_else(|_| late()) {
            Ok(_) => {
                tracing::info!(run.id = %run, by = by.as_str(), "run published");
                return Ok(RunStatus::Queued);
            }
            Err(PublishError::Conflict) => match same(mesh, run, &submit, deadline).await {
                // It may be an earlier try of this call, whoever may see it.
                Err(refusal) if maybe_stored && refusal.code != Code::Taken => {
                    return Err(Refusal { code: refusal.code, ..in_doubt(run, &refusal.error) });
                }
                settled => return settled.map(|()| RunStatus::Queued),
            },
            Err(error) => error,
        };
        maybe_stored |= matches!(error, PublishError::Unknown(_));
        if !error.is_retryable() || Instant::now() + PAUSE >= deadline {
            let refusal = publish_told(&error);
            let error = if maybe_stored { in_doubt(run, &refusal.error) } else { not_stored(run, &refusal.error) };
            return Err(Refusal { code: refusal.code, ..error });
        }
        sleep(PAUSE).await;
    }
}

/// Whether what was first asked of the id is the same, whoever asked.
async fn same(mesh: &Mesh, run: &RunId, submit: &Submit, deadline: Instant) -> Result<(), Refusal> {
    let first = timeout_at(deadline, mesh.first_request(&run.into())).await;
    let first = first.map_err(|_| in_doubt(run, "no answer in time"))?.map_err(|error| told(&error))?;
    match first.map(|first| first.input) {
        Some(Ok(Input::Submit(stored))) if stored.flow == submit.flow && stored.params == submit.params => Ok(()),
        Some(_) => Err(Refusal::new(Code::Taken, format_args!("there is a run \"{run}\" already"))),
        // A refusal says that something is there; who asked for it is not to be seen for the moment.
        None => Err(not_stored(run, "who has this id cannot be read now")),
    }
}

fn not_stored(run: &RunId, why: &str) -> Refusal {
    Refusal::new(Code::Unreachable, format_args!("run {run} is not stored: {why}; ask again"))
}

/// Nobody knows whether the run is stored; whoever asked for it must be able to find out.
fn in_doubt(run: &RunId, why: &str) -> Refusal {
    let text = format!("run {run} is not known to be stored: {why}; ask again with this id, or for its status");
    Refusal::new(Code::Unreachable, text)
}
