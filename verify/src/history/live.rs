//! What should have been answered by now.

use jiff::Timestamp;
use rr_core::{Plan, Run, run::decide::Heard};
use rr_schemas::{
    input::{Input, Source},
    span::Span,
};

use super::{Said, Whole, heard};
use crate::{Findings, Rule, records::within, token};

/// How late an answer may be: a minute, and half of one for coordinators that take over from each other.
pub const GRACE: Span = Span::saturating_from_secs(90);

pub(super) fn check(whole: &Whole<'_>, findings: &mut Findings) {
    let Some(late) = whole.now.and_then(|now| now.checked_sub(GRACE.as_duration()).ok()) else { return };
    let mut state = Run::new(whole.run.clone(), *whole.policy);
    for record in whole.decisions.iter().flat_map(|stored| &stored.decision.events) {
        if state.apply(record).is_err() {
            return;
        }
    }
    let due = state.deadline().filter(|due| *due < late && !state.is_final());
    findings.demand(due.is_none(), Rule::Liveness, 0, || {
        format!("it waits until {}, which is over, and nothing was decided", due.unwrap_or_default())
    });
    if due.is_some() {
        return;
    }
    let waiting: Vec<Heard> = unanswered(whole, late).filter(|heard| is_of_it(&heard.input, state.plan())).collect();
    let first = waiting.first().map_or(0, |heard| heard.seq);
    // What surrounds a submit is unknown here, and does not matter: even a rejection is a decision.
    let decided = state.decide(&waiting);
    findings.demand(decided.records.is_empty(), Rule::Liveness, first, || "an input has no answer".into());
}

/// Whether an input speaks of tasks that the run has, if of any at once: one that does not has no answer.
fn is_of_it(input: &Input, plan: Option<&Plan>) -> bool {
    if let Input::Seen(seen) = input {
        plan.is_some_and(|plan| seen.attempts.iter().all(|seen| within(plan, &seen.tasks)))
    } else {
        true
    }
}

/// Inputs behind the cursor that can be believed and have waited for long.
fn unanswered<'a>(whole: &'a Whole<'_>, late: Timestamp) -> impl Iterator<Item = Heard> + 'a {
    let upto = whole.decisions.last().map_or(0, |stored| stored.decision.upto);
    let secret = whole.decisions.first().map_or("", |stored| stored.decision.secret.as_str());
    let heard = heard::Heard::new(whole);
    let winners = heard.winners();
    let is_late = move |said: &&Said| {
        said.seq > upto
            && !(heard.is_aside(said.seq) && heard.may_be_disbelieved(said, &winners))
            && whole.times.get(&said.seq).is_some_and(|at| *at < late)
            && token::is_borne(secret, whole.run, &said.source, &said.input)
    };
    whole.inputs.iter().filter(is_late).filter_map(|said| {
        // Whether a worker serves what it speaks of is known elsewhere, and a timer says nothing by itself.
        let is_known = !matches!(said.source, Source::Timer) && !matches!(said.input, Input::Timer {});
        let at = *whole.times.get(&said.seq)?;
        is_known.then(|| Heard::new(said.seq, at, said.source.clone(), said.input.clone()))
    })
}
