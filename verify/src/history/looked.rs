//! What follows from a look: an attempt ends, or is offered again, as what was seen of it says, of where it stands by then.

use jiff::Timestamp;
use rr_schemas::{
    decision::Record,
    input::{Found, Holder, Input, Seen, SeenAttempts, Source},
    ranges::Ranges,
    report::{Ended, Outcome},
};

use super::{
    Said,
    heard::{Heard, report_of},
    standing::{Runs, Standing, Standings},
};
use crate::{Findings, Rule, records::within};

impl Heard<'_> {
    /// An attempt that ends because of what was seen ends as that says. The rules are the core's
    /// (`coordinator/core/src/run/seen.rs`).
    pub(super) fn check_seen(
        &self,
        record: &Record,
        (task, attempt, by, end): (u32, u32, Option<&Holder>, &Ended),
        (seen, standings): (&Seen, Option<&Standings<'_>>),
        findings: &mut Findings,
    ) {
        let Some(standings) = standings else { return };
        // That an attempt ends which is not open is told elsewhere.
        let Some(open) = standings.open(task, attempt) else { return };
        let look = found_of(seen, task, attempt, open.offer);
        let fits = look.is_some_and(|look| {
            let is_waiting = matches!(open.runs, Runs::Nobody) && by.is_none();
            match end.outcome {
                Outcome::Lost => match open.runs {
                    Runs::Nobody => by.is_none() && self.is_lost(task, look, &open),
                    Runs::By(holder) => by == Some(holder) && self.is_lost(task, look, &open),
                    Runs::Held(_) => false,
                },
                Outcome::Unreachable => is_waiting && self.is_unreachable(record.at, task, look, &open),
                Outcome::Cancelled if !standings.is_stopped => false,
                Outcome::Cancelled => match open.runs {
                    Runs::Nobody => is_waiting && look.found != Found::ClaimVoid && !self.may_be_claimed(task, look),
                    Runs::By(_) => false,
                    Runs::Held(holder) => by == holder,
                },
                Outcome::Ok | Outcome::Failed | Outcome::Timeout | Outcome::Refused => false,
            }
        });
        findings.demand(fits, Rule::Presence, record.cause, || {
            let seen = look.map_or_else(|| "nothing".to_owned(), |look| format!("{:?}", look.found));
            let (is, stands) = (end.outcome.word(), open.runs.text());
            format!("attempt {attempt} of task {task} ends {is}, and what was seen of it is {seen}, while {stands}")
        });
        // Whatever has become of an offer, in a run that is being stopped it is withdrawn.
        let is_withdrawn = look.is_some_and(|look| matches!(look.found, Found::OfferGone | Found::OfferUnserved));
        let fits = !(standings.is_stopped && is_withdrawn) || end.outcome == Outcome::Cancelled;
        findings.demand(fits, Rule::Stop, record.cause, || {
            format!("attempt {attempt} of task {task} ends {} in a run that is being stopped", end.outcome.word())
        });
    }

    /// Whether nobody has served the host of an attempt for as long as its flow waits for somebody, and nobody can claim it any more.
    /// What is for a queue waits as long as it takes. No policy has a say in this.
    fn is_unreachable(&self, at: Timestamp, task: u32, look: &SeenAttempts, open: &Standing<'_>) -> bool {
        let is_over = self.patient_until(task, open.since).is_some_and(|patient_until| patient_until <= at);
        look.found == Found::OfferUnserved && is_over && !self.may_be_claimed(task, look)
    }

    /// What is held as lost was lost by who runs it, or was seen to be.
    pub(super) fn check_held(
        &self,
        (at, cause): (u64, &Said),
        (task, attempt): (u32, u32),
        standings: Option<&Standings<'_>>,
        findings: &mut Findings,
    ) {
        // That an attempt is held which is not open is told elsewhere.
        let Some(open) = standings.and_then(|standings| standings.open(task, attempt)) else { return };
        let by_report = report_of(cause).is_some_and(|(report, who, end)| {
            (report.task, report.attempt, end.outcome) == (task, attempt, Outcome::Lost)
                && self.may_lose(task, &who, &open)
        });
        let look = seen(cause).and_then(|seen| found_of(seen, task, attempt, open.offer));
        let was_seen = look.is_some_and(|look| self.is_lost(task, look, &open));
        findings.demand(by_report || was_seen, Rule::Presence, at, || {
            let stands = open.runs.text();
            format!("task {task} is held as lost, and nobody has seen that, while {stands}")
        });
    }

    /// Whether an attempt is lost by this look: who runs it is gone; or nobody has started it, and its claim is void, or its offer is
    /// gone and nobody can claim it any more.
    fn is_lost(&self, task: u32, look: &SeenAttempts, open: &Standing<'_>) -> bool {
        match open.runs {
            Runs::By(_) => look.found == Found::WorkerGone,
            Runs::Nobody => match look.found {
                Found::ClaimVoid => true,
                Found::OfferGone => !self.may_be_claimed(task, look),
                Found::WorkerPresent | Found::WorkerGone | Found::OfferWaits | Found::OfferUnserved => false,
            },
            Runs::Held(_) => false,
        }
    }

    /// Whether an attempt is lost when this process says so: nobody else is said to run it. Of a claimed one only the very process
    /// counts that has claimed it.
    pub(super) fn may_lose(&self, task: u32, who: &Holder, open: &Standing<'_>) -> bool {
        match open.runs {
            Runs::Nobody => true,
            Runs::By(holder) if self.is_claimed(task) => holder == who,
            Runs::By(holder) => holder.worker == who.worker,
            Runs::Held(_) => false,
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
    let look = seen(cause).and_then(|seen| found_of(seen, task, open.attempt, open.offer));
    let is_gone = look.is_some_and(|look| look.found == Found::OfferGone);
    matches!(open.runs, Runs::Nobody) && (is_gone || open.returned == Some(at))
}

pub(super) const fn seen(said: &Said) -> Option<&Seen> {
    match (&said.input, &said.source) {
        (Input::Seen(seen), Source::Note) => Some(seen),
        _ => None,
    }
}

/// What was seen of an offer of an attempt.
pub(super) fn found_of(seen: &Seen, task: u32, attempt: u32, offer: u32) -> Option<&SeenAttempts> {
    let is_it = |seen: &SeenAttempts| (seen.attempt, seen.offer) == (attempt, offer) && seen.tasks.contains(task);
    seen.attempts.iter().find(|seen| is_it(seen))
}
