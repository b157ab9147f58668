//! What flows add to a run at its begin: what it takes over from an earlier one, and its parameters.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::Plan;
use rr_draw::PARAM;
use rr_schemas::{
    decision::{Event, JobStatus},
    id::RunId,
    input::{Input, Submit},
    ranges::Ranges,
    report::Outcome,
    retry::{Again, Carried},
};

use crate::{function::Start, judge::Complaint, stored::Kept};

/// A retry takes over what the earlier run has come to but for what was asked to run again, and nothing of it starts. It is rejected
/// only where nothing is left to run.
pub(crate) fn judge_retries(starts: &[Start], kept: &[Kept<'_>]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut complain = |run: &RunId, text: String| complaints.push(Complaint { run: Some(run.clone()), text });
    for kept_of in kept {
        let own = || starts.iter().filter(|start| start.run == *kept_of.run);
        with_parameters(own(), kept_of, &mut complain);
        let Some((asked_at, asked)) = asked(kept_of) else {
            if !kept_of.decisions.is_empty() {
                complain(kept_of.run, "is decided, and nobody has asked for it".to_owned());
            }
            continue;
        };
        let decided = kept_of.events().find_map(|event| {
            if let Event::Submitted { retry_of, .. } = event {
                return Some(Some(retry_of.as_deref()));
            }
            matches!(event, Event::Rejected { .. }).then_some(None)
        });
        let Some(decided) = decided else { continue };
        let Some(retry_of) = &asked.retry_of else {
            if let Some(Some(carried)) = decided {
                complain(kept_of.run, format!("takes over from run {}, and was to retry none", carried.run));
            }
            continue;
        };
        let earlier = kept.iter().find(|kept| *kept.run == retry_of.run);
        let Some(earlier) = earlier.filter(|earlier| earlier.end().is_some_and(|end| end < asked_at)) else {
            complain(kept_of.run, format!("was asked for before the end of run {}, by us", retry_of.run));
            continue;
        };
        let wanted = to_take_over(earlier, retry_of.again);
        match (decided, wanted) {
            (None, None) => {}
            (None, Some(_)) => complain(kept_of.run, "is rejected, and has something to run again".to_owned()),
            (Some(None), _) => {
                complain(kept_of.run, format!("was to retry run {}, and takes over nothing", retry_of.run));
            }
            (Some(Some(carried)), None) => {
                complain(kept_of.run, format!("retries run {}, of which nothing is to run again", carried.run));
            }
            (Some(Some(carried)), Some(wanted)) => {
                for text in differences(carried, &wanted) {
                    complain(kept_of.run, text);
                }
                let over: BTreeSet<u32> = carried.tasks.values().flat_map(Ranges::iter).collect();
                if let Some(start) = own().find(|start| over.contains(&start.task)) {
                    complain(kept_of.run, format!("task {} was taken over, and starts", start.task));
                }
            }
        }
    }
    complaints
}

/// What was asked for, and when.
fn asked<'k>(kept: &'k Kept<'_>) -> Option<(u64, &'k Submit)> {
    kept.inputs.iter().find_map(|(seq, input)| {
        let Input::Submit(submit) = input else { return None };
        Some((*seq, submit.as_ref()))
    })
}

/// What a retry has to begin with. None where nothing of the run is to run again, or where it never ran.
fn to_take_over(earlier: &Kept<'_>, again: Again) -> Option<Carried> {
    let submitted = earlier.decisions.iter().find_map(|(.., decision)| decision.submitted())?;
    let plan = Plan::of_accepted(submitted.flow, submitted.params, submitted.found).ok()?;
    let (mut reached, mut signals, mut good) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for event in earlier.events() {
        match event {
            Event::Submitted { retry_of: Some(carried), .. } => {
                signals.extend(carried.signals.iter().cloned());
                for (outcome, tasks) in &carried.tasks {
                    reached.extend(tasks.iter().map(|task| (task, *outcome)));
                }
            }
            // What has begun another attempt has come to nothing until that one ends.
            Event::Offered { tasks, .. } => {
                for task in tasks.iter() {
                    reached.remove(&task);
                }
            }
            // Also where another attempt was to follow: where its job ended before that one began it ends with this one, and the
            // first judge sees to it that no job ends so that could have gone on.
            Event::Ended { task, end, .. } => {
                reached.insert(*task, end.outcome);
            }
            Event::Signalled { signal, .. } => {
                signals.insert(signal.clone());
            }
            Event::JobEnded { job, status: JobStatus::Succeeded } => {
                good.insert(job.clone());
            }
            Event::Submitted { retry_of: None, .. }
            | Event::Rejected { .. }
            | Event::Started { .. }
            | Event::Extended { .. }
            | Event::Returned { .. }
            | Event::Held { .. }
            | Event::Late { .. }
            | Event::CancelRequested { .. }
            | Event::DeadlinePassed {}
            | Event::JobEnded { .. }
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => {}
        }
    }
    let stays = |task: u32, outcome: Outcome| match again {
        Again::NotStarted => true,
        Again::Failed => {
            let job = plan.job_of(task).and_then(|index| plan.jobs().get(index));
            outcome == Outcome::Ok || job.is_some_and(|planned| good.contains(&planned.name))
        }
    };
    let mut tasks: BTreeMap<Outcome, Ranges> = BTreeMap::new();
    for (task, outcome) in reached.into_iter().filter(|(task, outcome)| stays(*task, *outcome)) {
        tasks.entry(outcome).or_default().push_range(task..=task);
    }
    let carried = Carried { run: earlier.run.clone(), tasks, signals };
    let is_whole = carried.n_tasks() == u64::from(plan.n_tasks())
        && submitted.flow.signals().iter().all(|signal| carried.signals.contains(signal));
    (!is_whole).then_some(carried)
}

fn differences(is: &Carried, wanted: &Carried) -> Vec<String> {
    let by_task = |carried: &Carried| -> BTreeMap<u32, Outcome> {
        let of_outcome = |(outcome, tasks): (&Outcome, &Ranges)| -> Vec<(u32, Outcome)> {
            tasks.iter().map(|task| (task, *outcome)).collect()
        };
        carried.tasks.iter().flat_map(of_outcome).collect()
    };
    let (tasks, wanted_tasks) = (by_task(is), by_task(wanted));
    let word = |outcome: Option<&Outcome>| outcome.map_or("nothing", |outcome| outcome.word());
    let all: BTreeSet<u32> = tasks.keys().chain(wanted_tasks.keys()).copied().collect();
    let of_tasks = all.into_iter().filter_map(|task| {
        let (is, wanted) = (tasks.get(&task), wanted_tasks.get(&task));
        (is != wanted).then(|| format!("takes over task {task} as {}, which is {}", word(is), word(wanted)))
    });
    let mut texts: Vec<String> = of_tasks.collect();
    if is.run != wanted.run {
        texts.push(format!("takes over from run {}, and was to retry run {}", is.run, wanted.run));
    }
    if is.signals != wanted.signals {
        texts.push(format!("takes over signals {:?}, which were {:?}", is.signals, wanted.signals));
    }
    texts
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

#[cfg(test)]
mod tests;
