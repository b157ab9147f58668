//! Effects: what a stored decision asks of the world. Every one is harmless when done twice.

use std::{collections::HashSet, future::Future, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use rr_core::Effect;
use rr_nats::{InputMsg, PublishError};
use rr_schemas::{
    input::Input,
    offer::Offer,
    presence::Control,
    report::{Report, What},
};
use tokio::time::Instant;

use crate::{
    entity::Entity,
    shell::Shell,
    token::{is_borne, token},
    trouble::TurnError,
};

/// Effects of one entity under way at once: enough to fill the connection, few enough that others get their turn.
pub(crate) const UNDER_WAY_MAX: usize = 512;
/// How often one effect is tried; what still fails is done again after the next load.
const TRIES: u32 = 4;
/// The first pause between two tries; it doubles each time.
const PAUSE: Duration = Duration::from_millis(50);

/// After this time nothing is published again: half of what the work queue remembers an offer for. Later its attempt may have
/// been offered, run and acknowledged meanwhile, and what is loaded anew knows that. No life of the simulator waits so long
/// (four tries without an answer take 20 s): the tests below do.
const PERSIST_MAX: Duration = Duration::from_mins(1);

/// Performs effects and returns when the server has acknowledged each.
pub(crate) async fn perform(shell: &Shell, entity: &Entity, effects: Vec<Effect>) -> Result<(), TurnError> {
    // Most decisions of small runs ask for one thing or for nothing.
    if let [] | [_] = effects.as_slice() {
        for effect in &effects {
            perform_one(shell, entity, effect).await?;
        }
        return Ok(());
    }
    stream::iter(effects.into_iter().map(|effect| async move { perform_one(shell, entity, &effect).await }))
        .buffer_unordered(UNDER_WAY_MAX)
        .try_collect()
        .await
}

async fn perform_one(shell: &Shell, entity: &Entity, effect: &Effect) -> Result<(), TurnError> {
    let Entity { run_id: id, run, secret, .. } = entity;
    tracing::trace!(run.id = %id, ?effect, "effect");
    match effect {
        Effect::Offer { task, attempt, offer } => {
            let Some(planned) = run.plan().and_then(|plan| plan.offer(id, *task, *attempt, *offer)) else {
                tracing::error!(run.id = %id, task, "the plan has no such task");
                return Ok(());
            };
            let offer = Offer { token: token(secret, id, *task, *attempt), ..planned };
            match persist(|| shell.mesh.offer(&offer)).await {
                // Nothing will change that. When the attempt's deadline comes, the core hears that its offer is gone.
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Refused { .. })) => {
                    tracing::error!(run.id = %id, task, attempt, %error, "an offer cannot be made");
                }
                settled => settled?,
            }
        }
        Effect::Withdraw { task, attempt } => {
            if let Some(target) = run.plan().and_then(|plan| plan.target(*task)) {
                shell.mesh.withdraw(id, *task, *attempt, &target).await?;
            }
        }
        Effect::WithdrawRun => {
            shell.mesh.withdraw_run(id).await?;
        }
        Effect::Kill { task, attempt, holder } => {
            // A hint: it is said again with each sign of life of the attempt.
            let kill = Control::Kill { run: id.clone(), task: *task, attempt: *attempt };
            if let Err(error) = shell.mesh.control(&holder.worker, &kill).await {
                tracing::debug!(run.id = %id, worker.id = %holder.worker, %error, "the worker was not told");
            }
        }
    }
    Ok(())
}

/// Publishes again what may pass the next time.
async fn persist<F: Future<Output = Result<(), PublishError>>>(publish: impl Fn() -> F) -> Result<(), PublishError> {
    let mut pause = PAUSE;
    let begun = Instant::now();
    for _ in 1..TRIES {
        match publish().await {
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "an effect is tried again");
                tokio::time::sleep(pause).await;
                pause *= 2;
                // Whoever has slept in between knows it only now.
                if begun.elapsed() > PERSIST_MAX {
                    return Err(error);
                }
            }
            settled => return settled,
        }
    }
    publish().await
}

/// Effects of the last decision before a load, without the offers that unanswered inputs make useless: the guard of an
/// offer against a second copy lasts only minutes, and its attempt may have been over for hours. What will not be believed
/// says nothing of an offer.
pub(crate) fn still_wanted(entity: &Entity, effects: Vec<Effect>, unanswered: &[InputMsg]) -> Vec<Effect> {
    let mut spoken_of = HashSet::new();
    let readable = unanswered.iter().filter_map(|message| Some((&message.source, message.input.as_ref().ok()?)));
    for (_, input) in readable.filter(|(source, input)| is_borne(&entity.secret, &entity.run_id, source, input)) {
        match input {
            // What is given back says nothing of later offers of its attempt.
            Input::Report(Report { task, attempt, offer, what: What::Returned {}, .. }) => {
                spoken_of.insert((*task, *attempt, Some(*offer)))
            }
            Input::Report(report) => spoken_of.insert((report.task, report.attempt, None)),
            Input::Claim(claim) => spoken_of.insert((claim.task, claim.attempt, None)),
            // The run is about to be stopped.
            Input::Cancel(_) => return effects.into_iter().filter(|effect| !is_offer(effect)).collect(),
            Input::Submit(_) | Input::Signal(_) | Input::Timer {} | Input::Seen(_) => continue,
        };
    }
    let is_useless = |effect: &Effect| match effect {
        Effect::Offer { task, attempt, offer } => {
            spoken_of.contains(&(*task, *attempt, None)) || spoken_of.contains(&(*task, *attempt, Some(*offer)))
        }
        Effect::Withdraw { .. } | Effect::WithdrawRun | Effect::Kill { .. } => false,
    };
    effects.into_iter().filter(|effect| !is_useless(effect)).collect()
}

const fn is_offer(effect: &Effect) -> bool {
    match effect {
        Effect::Offer { .. } => true,
        Effect::Withdraw { .. } | Effect::WithdrawRun | Effect::Kill { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rr_nats::Topology;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_published_again_while_the_work_queue_remembers_it_for_sure() {
        for (sleeps, tries) in [(0, TRIES), (5, TRIES), (30, 2), (61, 1), (600, 1)] {
            let tried = Cell::new(0);
            let outcome = persist(async || {
                tried.set(tried.get() + 1);
                tokio::time::sleep(Duration::from_secs(sleeps)).await;
                Err(PublishError::Unknown("no answer".to_owned()))
            })
            .await;
            assert!(outcome.is_err());
            assert_eq!(tried.get(), tries, "after {sleeps} s each");
        }
        assert!(PERSIST_MAX * 2 <= Topology::default().duplicate_window);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_slept_between_two_tries_does_not_publish_again() {
        let tried = Cell::new(0);
        let persisting = persist(async || {
            tried.set(tried.get() + 1);
            Err(PublishError::Unknown("no answer".to_owned()))
        });
        tokio::pin!(persisting);
        assert!(futures::poll!(persisting.as_mut()).is_pending());
        tokio::time::advance(PERSIST_MAX + PAUSE).await;
        assert!(persisting.await.is_err());
        assert_eq!(tried.get(), 1);
    }
}
