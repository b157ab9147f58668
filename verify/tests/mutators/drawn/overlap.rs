//! Ways of running more at once than may.

use std::collections::BTreeSet;

use rr_core::Plan;
use rr_schemas::{
    decision::Event,
    input::{Holder, Input, Source},
    report::{Outcome, Report, What},
};
use rr_verify::{Rule, history::Said};

use super::Mutator;
use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 1] =
    [("what its worker has ended starts once more beside a full window", Rule::Overlap, |story, dice| {
        let all = beside_full_windows(story);
        if all.is_empty() {
            return false;
        }
        let (seq, task, attempt, by) = all[dice.roll(all.len() as u64) as usize].clone();
        let (offer, at) = (50, story.times[&seq]);
        let report =
            Report { task, attempt, offer, instance: by.instance, what: What::Started { at }, token: String::new() };
        story.inputs.push(Said { seq: seq + 1, source: Source::Worker(by.worker), input: Input::Report(report) });
        story.inputs.sort_by_key(|said| said.seq);
        story.times.insert(seq + 1, at);
        true
    })];

/// What a worker has ended, and an input behind which as much of its job runs as may: its sequence, task, attempt, worker.
fn beside_full_windows(story: &Story) -> Vec<(u64, u32, u32, Holder)> {
    let submitted = story.records().find_map(|(_, record)| record.event.submitted());
    let plan = submitted.and_then(|run| Plan::of_accepted(run.flow, run.params, run.found).ok());
    let Some(plan) = plan else { return Vec::new() };
    let (mut running, mut over, mut found) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (place, record) in story.records() {
        match &record.event {
            Event::Started { task, attempt, .. } => {
                let Some(index) = plan.job_of(*task) else { continue };
                let planned = &plan.jobs()[index];
                running.insert((*task, *attempt));
                let n = running.iter().filter(|(task, _)| plan.job_of(*task) == Some(index)).count();
                // What follows in the same decision may have ended by then.
                let is_last = story.decision(place.0).events.len() == place.1 + 1;
                if !is_last || planned.is_in_waves() || n < planned.window as usize || planned.job.is_claimed() {
                    continue;
                }
                let is_decided = |decided: usize| story.decisions[decided].seq < record.cause;
                let of_it =
                    over.iter().filter(|(other, _, _, at)| plan.job_of(*other) == Some(index) && is_decided(*at));
                found.extend(of_it.map(|(task, attempt, by, _): &(u32, u32, Holder, usize)| {
                    (record.cause, *task, *attempt, by.clone())
                }));
            }
            Event::Ended { task, attempt, by, end, .. } => {
                running.remove(&(*task, *attempt));
                if let Some(by) = by
                    && !matches!(end.outcome, Outcome::Lost | Outcome::Unreachable)
                {
                    over.push((*task, *attempt, by.clone(), place.0));
                }
            }
            _ => {}
        }
    }
    found.retain(|(seq, ..)| {
        story.said(seq + 1).is_none() && story.decisions.iter().all(|stored| stored.seq != seq + 1)
    });
    found
}
