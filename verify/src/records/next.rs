//! What follows the end of an attempt, computed anew from the flow: another one, how soon and how late, or none.

use rr_schemas::{
    flow::{Job, OnLost, Retry},
    quota::Quota,
    report::{Ended, Outcome},
    span::Span,
};

use super::task::{Task, TaskEnd, is_loss};

/// What must follow.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Another attempt, after no less and no more than these milliseconds.
    Attempt { least: i64, most: i64 },
    /// Nothing, and what is wrong where something does.
    Nothing(&'static str),
}

impl Next {
    /// What must follow the end of an attempt, in a run that goes on and a job that can still succeed. `task` has counted
    /// the end; `losses_max` are the losses after which a task is offered again.
    pub(super) fn after(task: &Task, end: &Ended, job: &Job, losses_max: u32) -> Self {
        if is_loss(end.outcome) {
            return match job.on_lost {
                OnLost::Fail | OnLost::Hold => Self::Nothing("a lost attempt is repeated against the flow's word"),
                OnLost::Retry if task.losses > losses_max => Self::Nothing("another attempt follows the last loss"),
                OnLost::Retry => Self::Attempt { least: 0, most: 0 },
            };
        }
        if !is_repeated(end, job) {
            return Self::Nothing("another attempt follows an end that none may follow");
        }
        if task.tries >= job.retry.attempts {
            return Self::Nothing("another attempt follows the last one");
        }
        let (least, most) = waits(&job.retry, task.tries);
        Self::Attempt { least, most }
    }

    /// What is wrong with what does follow.
    pub(super) fn wrong(self, TaskEnd { at, again, .. }: TaskEnd<'_>) -> Option<&'static str> {
        let waits = again.map(|due| due.as_millisecond().saturating_sub(at.as_millisecond()));
        match (self, waits) {
            (Self::Nothing(why), Some(_)) => Some(why),
            (Self::Attempt { .. }, None) => Some("another attempt must follow, and none does"),
            (Self::Attempt { least, .. }, Some(waits)) if waits < least => {
                Some("the wait before the next attempt is too short")
            }
            (Self::Attempt { most, .. }, Some(waits)) if waits > most => {
                Some("the wait before the next attempt is too long")
            }
            (Self::Nothing(_), None) | (Self::Attempt { .. }, Some(_)) => None,
        }
    }
}

/// Whether an end that is no loss is one that a retry is for.
fn is_repeated(end: &Ended, job: &Job) -> bool {
    let on = &job.retry.on;
    match end.outcome {
        Outcome::Timeout => true,
        Outcome::Failed => match end.exit_code {
            Some(code) => on.is_empty() || on.contains(&code),
            // Ended by a signal, or a function that failed; what is neither could not be started at all.
            None => on.is_empty() && (end.signal.is_some() || job.handler.is_some()),
        },
        Outcome::Ok | Outcome::Lost | Outcome::Unreachable | Outcome::Refused | Outcome::Cancelled => false,
    }
}

/// The least and the longest wait after so many tries, in milliseconds: the delay grows by its factor each time up to its
/// limit, and jitter takes away or adds its share.
fn waits(retry: &Retry, tries: u32) -> (i64, i64) {
    let limit = u128::from(retry.max.unwrap_or(Span::MAX).as_millis());
    let mut wait = u128::from(retry.delay.as_millis()).min(limit);
    for _ in 1..tries {
        let longer = (wait * u128::from(retry.factor.hundredths()) / 100).min(limit);
        if longer == wait {
            break;
        }
        wait = longer;
    }
    let hundredths = match retry.jitter {
        Some(Quota::Percent(percent)) => percent.hundredths(),
        Some(Quota::Count(_)) | None => 0,
    };
    let spread = wait * u128::from(hundredths) / 10_000;
    let millis = |wait: u128| i64::try_from(wait).unwrap_or(i64::MAX);
    (millis(wait.saturating_sub(spread)), millis(wait + spread))
}
