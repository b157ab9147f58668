//! Decisions by themselves: numbers, hashes, cursors; and what the run waits for after each.

use rr_core::{Plan, Run, run::wait::Wait};
use rr_schemas::{decision::Decision, flow::TASKS_MAX};

use super::Whole;
use crate::{Findings, Rule};

/// After how many decisions the waits of a run with more tasks than [`FEW_TASKS`] are looked at again: a look costs as much
/// as the run has tasks.
const EVERY: u64 = 64;
/// Tasks of a run whose waits are looked at after each decision.
const FEW_TASKS: u32 = 1_000;

/// Ends at the first broken link: of what stands behind it nothing can be said.
pub(super) fn check(whole: &Whole<'_>, findings: &mut Findings) {
    let (mut upto, mut hash) = (0, "");
    for (n, stored) in (1..).zip(whole.decisions) {
        let decision = &stored.decision;
        findings.demand(decision.n == n, Rule::Chain, stored.seq, || format!("decision {n} has number {}", decision.n));
        findings.demand(decision.prev == hash, Rule::Chain, stored.seq, || format!("decision {n} follows another one"));
        findings.demand(decision.upto >= upto, Rule::Chain, stored.seq, || "the cursor goes back".into());
        let causes = decision.events.iter().all(|record| record.cause <= decision.upto);
        findings.demand(causes, Rule::Time, stored.seq, || "an event is caused by what is not answered yet".into());
        let past = decision.upto < stored.seq;
        findings.demand(past, Rule::Time, stored.seq, || "the cursor is ahead of the decision".into());
        let n_tasks = n_tasks(decision);
        findings.demand(n_tasks <= TASKS_MAX, Rule::Chain, stored.seq, || {
            format!("the run has {n_tasks} tasks, and none may have more than {TASKS_MAX}")
        });
        if !findings.0.is_empty() {
            return;
        }
        (upto, hash) = (decision.upto, &stored.hash);
    }
}

/// Tasks of the run that a decision submits, 0 where it submits none. A few bytes can name more than there is memory for.
fn n_tasks(decision: &Decision) -> u32 {
    let submitted = decision.events.iter().filter_map(|record| record.event.submitted());
    let plans = submitted.filter_map(|run| Plan::of_accepted(run.flow, run.params, run.found).ok());
    plans.map(|plan| plan.n_tasks()).max().unwrap_or(0)
}

/// After each decision the run is over, or waits for something that can be named.
pub(super) fn check_waits(whole: &Whole<'_>, findings: &mut Findings) {
    let mut state = Run::new(whole.run.clone(), *whole.policy);
    let last = whole.decisions.len();
    for (n, stored) in (1..).zip(whole.decisions) {
        for record in &stored.decision.events {
            if let Err(error) = state.apply(record) {
                return findings.demand(false, Rule::Chain, stored.seq, || error.to_string());
            }
        }
        let is_small = state.plan().is_none_or(|plan| plan.n_tasks() <= FEW_TASKS);
        if !is_small && n % EVERY != 0 && usize::try_from(n).ok() != Some(last) {
            continue;
        }
        findings.demand(goes_on(&state), Rule::Waits, stored.seq, || "the run waits for nothing that can come".into());
    }
}

/// Whether a run is over, or waits for something that can come by itself or from somebody, or its coordinator goes on.
fn goes_on(state: &Run) -> bool {
    let can_come = |wait: &Wait| match wait {
        Wait::Coordinator
        | Wait::Worker { .. }
        | Wait::Report { .. }
        | Wait::Retry { .. }
        | Wait::Person { .. }
        | Wait::Signal { .. } => true,
        // Others must move first.
        Wait::Window { .. } | Wait::Needs { .. } => false,
    };
    state.is_final() || state.waits().iter().any(can_come) || !state.clone().decide(&[]).records.is_empty()
}
