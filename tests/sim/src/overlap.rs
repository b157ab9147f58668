//! What really ran at once, by the time of the simulated world, against the windows of jobs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_core::Plan;
use rr_schemas::{decision::Event, id::RunId};
use rr_verify::overlap::{AtOnce, may_run_on};

use crate::{clock::WorldTime, function::Start, judge::Complaint, stored::Kept};

/// No more attempts of a job run at once than may, but for those that were decided without their worker's own word: these may run
/// on from then on.
pub(crate) fn judge_overlap(starts: &[Start], kept: &[Kept<'_>], time: WorldTime) -> Vec<Complaint> {
    let mut by_run: BTreeMap<&RunId, Vec<&Start>> = BTreeMap::new();
    for start in starts {
        by_run.entry(&start.run).or_default().push(start);
    }
    let of_run = |kept: &Kept<'_>| by_run.get(kept.run).map(|starts| too_many(starts, kept, time)).unwrap_or_default();
    kept.iter().flat_map(of_run).collect()
}

fn too_many(starts: &[&Start], kept: &Kept<'_>, time: WorldTime) -> Vec<Complaint> {
    let submitted = kept.events().find_map(|event| {
        let Event::Submitted { flow, params, found, retry_of, .. } = event else { return None };
        Some((Plan::of_accepted(flow, params, found).ok()?, retry_of.as_deref()))
    });
    let Some((plan, carried)) = submitted else { return Vec::new() };
    let mut steps: Vec<(Timestamp, Step, usize)> = Vec::new();
    let decided = ends(kept);
    for (index, start) in starts.iter().enumerate() {
        let began = time.at(start.began);
        let ended = start.ended.map(|(at, _)| time.at(at));
        let left = decided.get(&(start.task, start.attempt)).filter(|(_, event)| {
            let Event::Ended { by, end, .. } = event else { return false };
            may_run_on(&start.worker, by.as_ref(), end)
        });
        let until = ended.into_iter().chain(left.map(|(at, _)| *at)).min();
        if until.is_none_or(|until| until > began) {
            steps.push((began, Step::Begins, index));
            steps.extend(until.map(|until| (until, Step::Ends, index)));
        }
    }
    // What ends in the moment in which another one begins may have made room for it.
    steps.sort_unstable();
    let mut at_once = AtOnce::new(&plan, carried);
    let mut complaints = Vec::new();
    for (_, step, index) in steps {
        let Some(start) = starts.get(index) else { continue };
        let key = (start.task, start.attempt);
        match step {
            Step::Ends => at_once.ends(&plan, key),
            Step::Begins => complaints.extend(at_once.begins(&plan, key).map(|text| Complaint {
                run: Some(kept.run.clone()),
                text: format!("{text}, with attempt {} of task {} on {}", start.attempt, start.task, start.worker),
            })),
        }
    }
    complaints
}

/// Ends before begins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Ends,
    Begins,
}

/// How each attempt was decided, and when that was stored.
fn ends<'k>(kept: &'k Kept<'_>) -> BTreeMap<(u32, u32), (Timestamp, &'k Event)> {
    let mut ends = BTreeMap::new();
    for (_, at, decision) in &kept.decisions {
        for record in &decision.events {
            if let Event::Ended { task, attempt, .. } = &record.event {
                ends.entry((*task, *attempt)).or_insert((*at, &record.event));
            }
        }
    }
    ends
}
