//! Shares and counts of a job's targets, computed anew.

use rr_core::plan::PlannedJob;
use rr_schemas::quota::Quota;

use super::tally::Tally;

/// How many targets must succeed: rounded up, at least one, of those that count.
pub(super) fn needed(planned: &PlannedJob, tally: Tally) -> u32 {
    match planned.job.success {
        Quota::Count(count) => count.get(),
        Quota::Percent(percent) => share(planned.n.saturating_sub(tally.skipped), percent.hundredths(), 9_999).max(1),
    }
}

/// Number and size of the wave that a target belongs to, by its place in the job.
pub(super) fn wave(planned: &PlannedJob, offset: u32) -> (u32, u32) {
    let quotas = planned.job.parallelism.quotas();
    let mut first = 0;
    for number in 0_u32.. {
        let quota = quotas.get(number as usize).or_else(|| quotas.last());
        let size = size(planned, quota);
        if offset < first + size {
            return (number, size);
        }
        first += size;
    }
    (0, 0)
}

/// How many may be under way at once: rounded down, at least one.
pub(crate) fn size(planned: &PlannedJob, quota: Option<&Quota>) -> u32 {
    let wanted = match quota {
        Some(Quota::Count(count)) => count.get(),
        Some(Quota::Percent(percent)) => share(planned.n, percent.hundredths(), 0),
        None => 0,
    };
    wanted.clamp(1, planned.n.max(1))
}

fn share(n: u32, hundredths: u32, rounding: u64) -> u32 {
    let share = (u64::from(n) * u64::from(hundredths) + rounding) / 10_000;
    u32::try_from(share).unwrap_or(u32::MAX)
}
