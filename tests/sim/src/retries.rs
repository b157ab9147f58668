//! What flows add to a run at its begin: what it takes over from an earlier one, and its parameters.

use std::collections::{BTreeMap, BTreeSet};

use rr_draw::PARAM;
use rr_schemas::{decision::Event, id::RunId, report::Outcome, retry::Carried};

use crate::{function::Start, judge::Complaint, stored::Kept};

/// A retry has taken over what the earlier run has come to, and nothing of that starts again.
pub(crate) fn judge_retries(starts: &[Start], kept: &[Kept<'_>]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut complain = |run: &RunId, text: String| complaints.push(Complaint { run: Some(run.clone()), text });
    let all: BTreeMap<&RunId, BTreeMap<u32, Outcome>> = kept.iter().map(|kept| (kept.run, reached(kept))).collect();
    for kept in kept {
        let own = || starts.iter().filter(|start| start.run == *kept.run);
        with_parameters(own(), kept, &mut complain);
        let Some(carried) = carried(kept) else { continue };
        let Some(earlier) = all.get(&carried.run) else {
            complain(kept.run, format!("takes over from run {}, which nobody knows", carried.run));
            continue;
        };
        let mut over = BTreeSet::new();
        for (outcome, tasks) in &carried.tasks {
            for task in tasks.iter() {
                over.insert(task);
                if earlier.get(&task) != Some(outcome) {
                    let text = format!("takes over task {task} as {}, which it was not", outcome.word());
                    complain(kept.run, text);
                }
            }
        }
        let is_left = |(task, outcome): &(&u32, &Outcome)| **outcome == Outcome::Ok && !over.contains(task);
        if let Some((task, _)) = earlier.iter().find(is_left) {
            complain(kept.run, format!("does not take over task {task}, which was ok"));
        }
        if let Some(start) = own().find(|start| over.contains(&start.task)) {
            complain(kept.run, format!("task {} was taken over, and starts", start.task));
        }
    }
    complaints
}

/// How each task of a run that is over in it has ended, there or in the run that it retries.
fn reached(kept: &Kept<'_>) -> BTreeMap<u32, Outcome> {
    let mut reached = BTreeMap::new();
    for (outcome, tasks) in carried(kept).iter().flat_map(|carried| &carried.tasks) {
        reached.extend(tasks.iter().map(|task| (task, *outcome)));
    }
    for event in kept.events() {
        // Also where another attempt was to follow: a run that was stopped before that one began ends with this one.
        if let Event::Ended { task, end, .. } = event {
            reached.insert(*task, end.outcome);
        }
    }
    reached
}

fn carried<'k>(kept: &'k Kept<'_>) -> Option<&'k Carried> {
    kept.events().find_map(|event| {
        let Event::Submitted { retry_of, .. } = event else { return None };
        retry_of.as_deref()
    })
}

/// What starts sees the parameter of its run, and the text that a template has made of it.
fn with_parameters<'s>(
    starts: impl Iterator<Item = &'s Start>,
    kept: &Kept<'_>,
    complain: &mut impl FnMut(&RunId, String),
) {
    let Some(submitted) = kept.decisions.iter().find_map(|(.., decision)| decision.submitted()) else { return };
    let (name, default) = PARAM;
    let is_declared = submitted.flow.params.keys().any(|known| known.as_str() == name);
    let given = submitted.params.iter().find(|(known, _)| known.as_str() == name);
    let value = given.map_or_else(|| default.to_owned(), |(_, value)| value.to_string());
    let wanted = is_declared.then_some(value);
    let filled = wanted.as_ref().map(|value| format!("v{value}"));
    for start in starts.filter(|start| start.version != wanted || start.filled != filled) {
        let text = format!(
            "task {} sees {:?} as {name} and {:?} as its environment, not {wanted:?}",
            start.task, start.version, start.filled
        );
        complain(kept.run, text);
    }
}
