//! What a retry takes over: read from the history of the run that it retries, never from what somebody asks for.

use rr_nats::StoredDecision;
use rr_schemas::{
    decision::Event,
    flow::{check::Problem, select::FoundTargets},
    id::EntityId,
    input::Submit,
    retry::{Carried, RetryOf},
};

use crate::{load, shell::Shell, trouble::TurnError};

/// What the first decision of the earlier run says.
struct Pinned {
    found: FoundTargets,
    /// Whether the retry asks for the same flow with the same parameters.
    is_same: bool,
}

/// What was found for the earlier run, and what is over of it; or why it cannot be retried.
pub(crate) async fn take_over(
    shell: &Shell,
    submit: &Submit,
    retry_of: &RetryOf,
) -> Result<Result<(FoundTargets, Carried), Problem>, TurnError> {
    let id = EntityId::from(&retry_of.run);
    let refused = |text: String, help: &str| Ok(Err(Problem::new("", text).with_help(Some(help.to_owned()))));
    let run = &retry_of.run;
    let history = shell.mesh.history(&id, 0).await?;
    let pinned = history.iter().find_map(|stored| pinned(stored, submit));
    let old = match load::fold(shell, &id, history) {
        Ok((entity, _)) => entity.run,
        Err(TurnError::Forgotten) => {
            return refused(format!("the history of run {run} is no longer kept"), "start the flow anew: rr publish");
        }
        Err(TurnError::Parked(why)) => return refused(format!("run {run} cannot be read: {why}"), "see rr why"),
        Err(error) => return Err(error),
    };
    let Some((pinned, plan)) = pinned.zip(old.plan()) else {
        return refused(format!("there is no run {run} that has begun"), "rr ls shows the runs that there are");
    };
    if !old.is_final() {
        return refused(format!("run {run} is not over"), "wait for its end, or end it with rr cancel");
    }
    if !pinned.is_same {
        return refused(
            format!("a retry has the flow and the parameters of run {run}, these are others"),
            "start the flow anew: rr publish",
        );
    }
    let carried = Carried { run: run.clone(), tasks: old.carried(retry_of.again), signals: old.carried_signals() };
    if carried.n_tasks() == u64::from(plan.n_tasks()) {
        return refused(format!("nothing of run {run} is to run again"), "rr show says how each task ended");
    }
    Ok(Ok((pinned.found, carried)))
}

fn pinned(stored: &StoredDecision, submit: &Submit) -> Option<Pinned> {
    stored.decision.as_ref().ok()?.events.iter().find_map(|record| match &record.event {
        Event::Submitted { flow, params, found, .. } => {
            Some(Pinned { found: found.clone(), is_same: **flow == submit.flow && *params == submit.params })
        }
        Event::Rejected { .. }
        | Event::Offered { .. }
        | Event::Started { .. }
        | Event::Extended { .. }
        | Event::Ended { .. }
        | Event::Held { .. }
        | Event::Returned { .. }
        | Event::Late { .. }
        | Event::Signalled { .. }
        | Event::CancelRequested { .. }
        | Event::DeadlinePassed {}
        | Event::JobEnded { .. }
        | Event::RunEnded { .. }
        | Event::PutAside { .. } => None,
    })
}
