//! Whoever asks for runs: people and programs, with a link that is never at fault.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rr_draw::{Dice, SIGNALS};
use rr_nats::{First, Mesh, PublishError};
use rr_schemas::{
    id::{EntityId, RunId},
    input::{Cancel, Input, Signal, Submit},
    retry::RetryOf,
};
use tokio::time::sleep;

use crate::case::RunPlan;

/// Pause before something is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// The id of a run, by its place in the case.
pub(crate) fn run_id(index: usize) -> Option<RunId> {
    format!("r{index}").parse().ok()
}

/// The id of the run that retries it.
pub(crate) fn again_id(run: &RunId) -> Option<RunId> {
    format!("{run}again").parse().ok()
}

/// The runs that were asked for. Of others nothing is asked: what is said of a run before it is asked for takes its id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<RunId>>>);

impl Asked {
    fn runs(&self) -> MutexGuard<'_, Vec<RunId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<RunId> {
        self.runs().clone()
    }
}

/// Asks for a run, and gives it every signal that its gates wait for. To some it gives every signal that there is; of others
/// nobody speaks any more, and what is forgotten of them nothing wakes.
pub(crate) async fn wants(mesh: &Mesh, run: &RunId, plan: &RunPlan, mut dice: Dice, asked: &Asked) {
    let gives_all = dice.chance(50);
    let pause_max = if dice.chance(50) { 6_000 } else { 1_500 };
    sleep(plan.after).await;
    submit(mesh, run, plan, None).await;
    tracing::debug!(%run, "asked for");
    asked.runs().push(run.clone());
    give(mesh, run, plan, &mut dice, (gives_all, pause_max)).await;
    let Some((again, retry)) = plan.again.zip(again_id(run)) else { return };
    wait_for_end(mesh, run).await;
    submit(mesh, &retry, plan, Some(RetryOf { run: run.clone(), again })).await;
    asked.runs().push(retry.clone());
    give(mesh, &retry, plan, &mut dice, (true, pause_max)).await;
}

async fn give(mesh: &Mesh, run: &RunId, plan: &RunPlan, dice: &mut Dice, (gives_all, pause_max): (bool, u64)) {
    let wanted = plan.flow.signals();
    for name in SIGNALS {
        if gives_all || wanted.iter().any(|wanted| wanted.as_str() == name) {
            sleep(Duration::from_millis(dice.roll(pause_max))).await;
            signal(mesh, run, name).await;
        }
    }
}

/// Asks for a run until it is asked for.
pub(crate) async fn submit(mesh: &Mesh, run: &RunId, plan: &RunPlan, retry_of: Option<RetryOf>) {
    let (flow, params) = (plan.flow.clone(), plan.params.clone());
    let submit = Input::Submit(Box::new(Submit { flow, params, by: "user".to_owned(), retry_of }));
    loop {
        match mesh.submit(run, "user", &submit, First::New).await {
            // It is there: what was not answered was stored.
            Ok(_) | Err(PublishError::Conflict) => return,
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Asks something of a run until it is stored. What is stored twice says the same.
async fn ask(mesh: &Mesh, run: &RunId, input: &Input) {
    while mesh.request(&EntityId::from(run), "user", input).await.is_err() {
        sleep(AGAIN).await;
    }
}

/// Waits until a run is over.
pub(crate) async fn wait_for_end(mesh: &Mesh, run: &RunId) {
    let mut pause = Duration::from_millis(100);
    loop {
        if let Ok(Some(entry)) = mesh.status(run).await
            && entry.view.status.is_final()
        {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Cancels a run.
pub(crate) async fn cancel(mesh: &Mesh, run: &RunId) {
    ask(mesh, run, &Input::Cancel(Cancel { by: "user".to_owned(), reason: None })).await;
}

/// Gives a run a signal.
pub(crate) async fn signal(mesh: &Mesh, run: &RunId, signal: &str) {
    if let Ok(signal) = signal.parse() {
        ask(mesh, run, &Input::Signal(Signal { signal, by: "user".to_owned(), reason: None })).await;
    }
}
