//! What is measured: from the first submit until the end of the last run is decided.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream::FuturesUnordered};
use rr_nats::{First, Mesh, Start};
use rr_schemas::{
    decision::{Decision, Event, RunStatus},
    flow::{Flow, params::ParamValues},
    id::RunId,
    input::{Input, Submit},
};

use super::flows;
use crate::{
    error::CliError,
    exit::Exit,
    mesh::{publish_told, told},
};

/// Submits under way at once.
const SUBMITS: usize = 256;
/// How often the end of a run is looked for: short against the whole, long against what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Many runs of one task.
pub(crate) async fn single(mesh: &Mesh, n: u32) -> Result<Duration, CliError> {
    let submit = submit(flows::single()?);
    let mut tail = mesh.tail(None, Start::New).await.map_err(|error| told(&error))?;
    let begun = Instant::now();
    let submitting = async {
        let mut under_way = FuturesUnordered::new();
        let mut rng = fastrand::Rng::new();
        for _ in 0..n {
            if under_way.len() >= SUBMITS {
                answered(under_way.next().await)?;
            }
            let run = RunId::random(&mut rng);
            let submit = &submit;
            under_way.push(async move { mesh.submit(&run, "bench", submit, First::New).await });
        }
        while let Some(answer) = under_way.next().await {
            answered(Some(answer))?;
        }
        Ok::<(), CliError>(())
    };
    let watching = async {
        let mut ended = 0;
        while ended < n {
            let item = tail.next().await.map_err(|error| told(&error))?;
            let decision = item.decision.map_err(CliError::bug)?;
            ended += u32::from(has_ended(&decision)?);
        }
        Ok::<(), CliError>(())
    };
    futures::try_join!(submitting, watching)?;
    Ok(begun.elapsed())
}

/// One run, whatever is in it.
pub(crate) async fn one_run(mesh: &Mesh, flow: Flow) -> Result<Duration, CliError> {
    let run = RunId::random(&mut fastrand::Rng::new());
    let begun = Instant::now();
    mesh.submit(&run, "bench", &submit(flow), First::New).await.map_err(|error| publish_told(&error))?;
    loop {
        let status = mesh.status(&run).await.map_err(|error| told(&error))?;
        if let Some(entry) = status.filter(|entry| entry.view.status.is_final()) {
            let took = begun.elapsed();
            return good(entry.view.status).map(|()| took);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Processes a second that this runtime starts and waits for, with nothing around them.
pub(crate) async fn bare_spawns(n: u32, at_once: u32) -> Result<f64, CliError> {
    let begun = Instant::now();
    let mut under_way = FuturesUnordered::new();
    for started in 0..n {
        if started >= at_once {
            under_way.next().await.unwrap_or(Ok(())).map_err(CliError::bug)?;
        }
        under_way.push(rr_worker::process::bare("/bin/true"));
    }
    while let Some(ended) = under_way.next().await {
        ended.map_err(CliError::bug)?;
    }
    Ok(f64::from(n) / begun.elapsed().as_secs_f64())
}

fn submit(flow: Flow) -> Input {
    Input::Submit(Box::new(Submit { flow, params: ParamValues::default(), by: "bench".to_owned(), retry_of: None }))
}

fn answered(answer: Option<Result<u64, rr_nats::PublishError>>) -> Result<(), CliError> {
    match answer {
        Some(Err(error)) => Err(publish_told(&error)),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn has_ended(decision: &Decision) -> Result<bool, CliError> {
    for record in &decision.events {
        if let Event::RunEnded { status } = &record.event {
            return good(*status).map(|()| true);
        }
    }
    Ok(false)
}

/// A measurement of runs that fail would measure something else.
fn good(status: RunStatus) -> Result<(), CliError> {
    if status == RunStatus::Succeeded {
        return Ok(());
    }
    Err(CliError::new(Exit::Failed, format_args!("a run of the measurement has ended {}", status.word())))
}
