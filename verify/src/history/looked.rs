//! What follows from a look: an attempt ends as what was seen of it says, of where it stands by then.

use rr_schemas::{
    decision::Record,
    input::{Found, Holder, Input, Seen, SeenAttempts, Source},
    report::{Ended, Outcome},
};

use super::{
    Said,
    heard::Heard,
    standing::{Runs, Standing, Standings},
};
use crate::{Findings, Rule};

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

    /// Whether somebody may have claimed an attempt between the look and its answer: unless nobody can any more.
    fn may_be_claimed(&self, task: u32, seen: &SeenAttempts) -> bool {
        !seen.withdrawn && self.is_claimed(task)
    }
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
