//! What follows from a look: an attempt ends, or is offered again, as what was seen of it says, of where it stands by then.

use rr_schemas::{
    decision::Record,
    input::{Found, Holder, Input, Seen, SeenAttempts, Source},
    ranges::Ranges,
    report::{Ended, Outcome},
};

use super::{
    Said,
    heard::Heard,
    standing::{Runs, Standing, Standings},
};
use crate::{Findings, Rule, records::within};

impl Heard<'_> {
    /// An attempt that ends because of what was seen ends as that says.
    pub(super) fn check_seen(
        &self,
        record: &Record,
        (task, attempt, by, end): (u32, u32, Option<&Holder>, &Ended),
        (seen, standings): (&Seen, Option<&Standings<'_>>),
        findings: &mut Findings,
    ) {
        let found = found(seen, task, attempt);
        let fits = found.is_some_and(|found| match end.outcome {
            Outcome::Lost => is_absence(found, Outcome::Lost) && (found == Found::WorkerGone || by.is_none()),
            outcome @ Outcome::Unreachable => is_absence(found, outcome) && by.is_none(),
            Outcome::Cancelled => standings.is_none_or(|standings| {
                let open = standings.open(task, attempt);
                // That an attempt ends which is not open is told elsewhere.
                open.is_none_or(|open| standings.is_stopped && self.is_cancelled(seen, task, &open, by))
            }),
            Outcome::Ok | Outcome::Failed | Outcome::Timeout | Outcome::Refused => false,
        });
        findings.demand(fits, Rule::Presence, record.cause, || {
            let seen = found.map_or_else(|| "nothing".to_owned(), |found| format!("{found:?}"));
            format!("attempt {attempt} of task {task} ends {}, and what was seen of it is {seen}", end.outcome.word())
        });
    }

    /// Whether an attempt ends cancelled by this look, in a run that is being stopped: it was lost before, or waits for somebody, and
    /// nobody can have claimed it meanwhile. The rules are the core's (`coordinator/core/src/run/seen.rs`).
    fn is_cancelled(&self, seen: &Seen, task: u32, open: &Standing<'_>, by: Option<&Holder>) -> bool {
        let Some(seen) = found_of(seen, task, open.attempt, Some(open.offer)) else { return false };
        match open.runs {
            Runs::Held(held) => by == held,
            Runs::Nobody => by.is_none() && seen.found != Found::ClaimVoid && !self.may_be_claimed(task, seen),
            Runs::By(_) => false,
        }
    }

    /// An offer of an attempt that nobody has started is made once more when the one before was seen to be gone, or was given back;
    /// nothing else makes another one.
    pub(super) fn check_again(
        &self,
        (at, cause): (u64, &Said),
        (tasks, attempt, offer): (&Ranges, u32, u32),
        standings: Option<&Standings<'_>>,
        findings: &mut Findings,
    ) {
        let is_known = self.plan.as_ref().is_some_and(|plan| within(plan, tasks));
        let Some(standings) = standings.filter(|_| is_known && offer > 1) else { return };
        let is_wrong = |task: &u32| {
            let open = standings.open(*task, attempt).filter(|open| open.offer.checked_add(1) == Some(offer));
            // What is offered out of turn is told elsewhere.
            open.is_some_and(|open| !is_offered_again(at, cause, *task, &open))
        };
        let wrong = tasks.iter().find(is_wrong);
        findings.demand(wrong.is_none(), Rule::Presence, at, || {
            let task = wrong.unwrap_or_default();
            format!("task {task} is offered again, and nobody has seen the offer before gone or has given it back")
        });
    }

    /// Whether somebody may have claimed an attempt between the look and its answer: unless nobody can any more.
    fn may_be_claimed(&self, task: u32, seen: &SeenAttempts) -> bool {
        !seen.withdrawn && self.is_claimed(task)
    }
}

/// Whether another offer of an attempt follows from an input.
fn is_offered_again(at: u64, cause: &Said, task: u32, open: &Standing<'_>) -> bool {
    let look = seen(cause).and_then(|seen| found_of(seen, task, open.attempt, Some(open.offer)));
    let is_gone = look.is_some_and(|look| look.found == Found::OfferGone);
    matches!(open.runs, Runs::Nobody) && (is_gone || open.returned == Some(at))
}

pub(super) const fn seen(said: &Said) -> Option<&Seen> {
    match (&said.input, &said.source) {
        (Input::Seen(seen), Source::Note) => Some(seen),
        _ => None,
    }
}

/// Whether an attempt was seen to be lost.
pub(super) fn is_seen_lost(seen: &Seen, task: u32, attempt: u32) -> bool {
    found(seen, task, attempt).is_some_and(|found| is_absence(found, Outcome::Lost))
}

/// What was found of an attempt.
fn found(seen: &Seen, task: u32, attempt: u32) -> Option<Found> {
    found_of(seen, task, attempt, None).map(|seen| seen.found)
}

/// What was seen of an attempt, or of one offer of it.
pub(super) fn found_of(seen: &Seen, task: u32, attempt: u32, offer: Option<u32>) -> Option<&SeenAttempts> {
    let is_it = |seen: &SeenAttempts| {
        seen.attempt == attempt && offer.is_none_or(|offer| offer == seen.offer) && seen.tasks.contains(task)
    };
    seen.attempts.iter().find(|seen| is_it(seen))
}

/// Whether a finding is the absence that an outcome speaks of.
const fn is_absence(found: Found, outcome: Outcome) -> bool {
    match found {
        Found::WorkerGone | Found::OfferGone | Found::ClaimVoid => matches!(outcome, Outcome::Lost),
        Found::OfferUnserved => matches!(outcome, Outcome::Unreachable),
        Found::WorkerPresent | Found::OfferWaits => false,
    }
}
