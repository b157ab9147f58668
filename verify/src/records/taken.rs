//! What a run takes over, by itself.

use rr_core::{Plan, plan::PlannedJob};
use rr_schemas::retry::{Again, Carried};

use super::{shares::needed, skips, tally::Tally, task::Task, within};

/// The first job of which a retry takes over tasks that it was to run again: what did not succeed stays so only in a job that
/// succeeded all the same, and such a job was over as a whole.
pub(crate) fn taken_over_in_vain<'p>(plan: &'p Plan, carried: &Carried, again: Again) -> Option<&'p str> {
    match again {
        Again::NotStarted => return None,
        Again::Failed => {}
    }
    let mut tallies = vec![Tally::default(); plan.jobs().len()];
    // What names tasks that there are not is told elsewhere.
    for (outcome, tasks) in carried.tasks.iter().filter(|(_, tasks)| within(plan, tasks)) {
        for index in tasks.iter().filter_map(|task| plan.job_of(task)) {
            if let Some(tally) = tallies.get_mut(index) {
                tally.change(None, Task::carried(*outcome), skips(plan, index));
            }
        }
    }
    let is_in_vain = |(planned, tally): &(&PlannedJob, Tally)| {
        let is_good = tally.known == planned.n && tally.ok >= needed(planned, *tally);
        tally.ok < tally.known && !is_good
    };
    plan.jobs().iter().zip(tallies).find(is_in_vain).map(|(planned, _)| planned.name.as_str())
}
