//! What holds whatever the coordinators' policy was: it is in their configuration, and nothing that is stored says what it was.

use std::collections::BTreeMap;

use rr_core::Policy;
use rr_schemas::{decision::Event, report::Outcome, span::Span};

use super::{Judgement, Whole, judge_under};
use crate::Rule;

/// Limits of losses that are tried at most: each costs a reading of the run.
const LOSSES_MAX: u32 = 100;

/// Longer than anybody lets a run rest unseen. The defaults are 10 min and less.
const LONGEST: Span = Span::saturating_from_secs(24 * 60 * 60);

/// What is broken under each policy that the coordinators may have had: the one of them under which the least is.
pub(super) fn judge_under_any(whole: &Whole<'_>) -> Judgement {
    let under = |losses_max: u32| {
        let (offer_expiry, lease, stop_wait, look_max) = (LONGEST, LONGEST, LONGEST, LONGEST);
        let policy = Policy { offer_expiry, lease, losses_max, stop_wait, look_max };
        judge_under(&Whole { policy: &policy, ..*whole })
    };
    let mut least = under(whole.policy.losses_max);
    let is_of_losses = |judged: &Judgement| judged.violations.iter().any(|found| found.rule == Rule::Retry);
    let mut losses = 0..=most_losses(whole).min(LOSSES_MAX);
    while is_of_losses(&least)
        && let Some(losses_max) = losses.next()
    {
        let judged = under(losses_max);
        if judged.violations.len() < least.violations.len() {
            least = judged;
        }
    }
    least
}

/// How often that task was lost which was lost most.
fn most_losses(whole: &Whole<'_>) -> u32 {
    let mut losses: BTreeMap<u32, u32> = BTreeMap::new();
    for record in whole.decisions.iter().flat_map(|stored| &stored.decision.events) {
        if let Event::Ended { task, end, .. } = &record.event
            && matches!(end.outcome, Outcome::Lost | Outcome::Cancelled)
        {
            *losses.entry(*task).or_default() += 1;
        }
    }
    losses.into_values().max().unwrap_or(0)
}
