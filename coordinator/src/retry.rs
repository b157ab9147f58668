//! What a retry takes over: read from the history of the run that it retries, never from what somebody asks for.

use rr_core::NotRetryable;
use rr_schemas::{
    flow::{check::Problem, select::FoundTargets},
    id::EntityId,
    input::Submit,
    retry::{Carried, RetryOf},
};

use crate::{load, shell::Shell, trouble::TurnError};

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
    let pinned = history.iter().find_map(|stored| stored.decision.as_ref().ok()?.submitted()).map(|pinned| {
        let is_same = *pinned.flow == submit.flow && *pinned.params == submit.params;
        (pinned.found.clone(), is_same)
    });
    let old = match load::fold(shell, &id, history) {
        Ok((entity, _)) => entity.run,
        Err(TurnError::Forgotten) => {
            return refused(format!("the history of run {run} is no longer kept"), "start the flow anew: rr publish");
        }
        Err(TurnError::Parked(why)) => return refused(format!("run {run} cannot be read: {why}"), "see rr why"),
        Err(error) => return Err(error),
    };
    let taken_over = match (old.carry_over(retry_of.again), pinned) {
        (Err(NotRetryable::NotBegun | NotRetryable::Rejected), _) | (_, None) => {
            return refused(format!("there is no run {run} that has begun"), "rr ls shows the runs that there are");
        }
        (Err(NotRetryable::NotOver), _) => {
            return refused(format!("run {run} is not over"), "wait for its end, or end it with rr cancel");
        }
        (_, Some((_, false))) => {
            return refused(
                format!("a retry has the flow and the parameters of run {run}, these are others"),
                "start the flow anew: rr publish",
            );
        }
        (Err(NotRetryable::NothingLeft), _) => {
            return refused(format!("nothing of run {run} is to run again"), "rr show says how each task ended");
        }
        (Ok(carried), Some((found, true))) => (found, carried),
    };
    Ok(Ok(taken_over))
}
