//! Whether and when a task is tried again.

use rr_schemas::{
    flow::{Job, OnLost},
    planted::{self, Bug},
    quota::Quota,
    report::{Ended, Outcome},
    span::Span,
};

use super::{TaskState, fold::is_loss};

/// The wait before the next attempt, where one follows.
pub(super) fn next_attempt(job: &Job, state: &TaskState, end: &Ended, losses_max: u32) -> Option<Span> {
    if is_loss(end.outcome) {
        return (job.on_lost == OnLost::Retry && state.losses < losses_max).then_some(Span::ZERO);
    }
    let tries = state.attempt - state.losses;
    let retried = match end.outcome {
        Outcome::Timeout => true,
        // A program that could not be started has no exit code and will not be there the next time either.
        Outcome::Failed => match (end.exit_code, end.signal) {
            (Some(code), _) => job.retry.on.is_empty() || job.retry.on.contains(&code),
            (None, Some(_)) => job.retry.on.is_empty(),
            // A function has no exit code.
            (None, None) => job.handler.is_some() && job.retry.on.is_empty(),
        },
        Outcome::Ok | Outcome::Unreachable | Outcome::Refused | Outcome::Lost | Outcome::Cancelled => false,
    };
    let too_many = u32::from(planted::bites(Bug::OneTryTooMany));
    (retried && tries < job.retry.attempts + too_many).then(|| backoff(job, tries))
}

/// The wait after the given number of tries: the delay grows by its factor each time, up to its limit.
fn backoff(job: &Job, tries: u32) -> Span {
    let retry = &job.retry;
    let limit = retry.max.unwrap_or(Span::MAX).as_millis();
    let mut wait = u128::from(retry.delay.as_millis());
    for _ in 1..tries {
        if wait == 0 || wait >= u128::from(limit) || retry.factor.hundredths() == 100 {
            break;
        }
        wait = wait * u128::from(retry.factor.hundredths()) / 100;
    }
    Span::saturating_from_millis(u64::try_from(wait).unwrap_or(limit).min(limit))
}

/// Lengthens or shortens a wait by up to the job's jitter. The draw comes from the attempt itself, so that whoever
/// decides draws the same.
pub(super) fn jittered(wait: Span, job: &Job, run: &str, task: u32, attempt: u32) -> Span {
    let Some(Quota::Percent(jitter)) = job.retry.jitter else {
        return wait;
    };
    let share = u64::from(jitter.hundredths());
    let seed = run.bytes().fold(u64::from(task) << 32 | u64::from(attempt), |seed, byte| mix(seed ^ u64::from(byte)));
    let most = wait.as_millis() * share / 10_000;
    Span::saturating_from_millis(wait.as_millis() - most + mix(seed) % (2 * most + 1))
}

/// One step of the splitmix64 generator.
const fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
