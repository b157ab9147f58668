//! What goes on: a deadline moves because somebody has looked, and no further than to the next look.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_schemas::{
    decision::{Event, Record},
    input::{Found, Holder},
    ranges::Ranges,
    report::Outcome,
    span::Span,
};

use super::{
    Said,
    causes::{found, seen},
    heard::{Heard, report_of},
};
use crate::{Findings, Rule, records::within};

/// The attempt of a task that was offered last.
#[derive(Clone, Copy)]
struct Last<'a> {
    attempt: u32,
    offer: u32,
    /// Who is said to have started it.
    by: Option<&'a Holder>,
}

impl Heard<'_> {
    /// An attempt goes on when its worker was seen, its offer was found, or somebody who does not run it has lost it: then it is looked
    /// after at once. What was seen to be gone does not go on.
    pub(super) fn check_extended(&self, findings: &mut Findings) {
        let Some(plan) = &self.plan else { return };
        let mut last: BTreeMap<u32, Last<'_>> = BTreeMap::new();
        for record in &self.log {
            if let Event::Offered { tasks, attempt, offer, .. } = &record.event
                && within(plan, tasks)
            {
                let offered = Last { attempt: *attempt, offer: *offer, by: None };
                last.extend(tasks.iter().map(|task| (task, offered)));
            } else if let Event::Started { task, by, .. } = &record.event {
                if let Some(last) = last.get_mut(task) {
                    last.by = Some(by);
                }
            } else if let Event::Extended { tasks, until } = &record.event {
                let fits = within(plan, tasks);
                findings.demand(fits, Rule::Presence, record.cause, || {
                    format!("tasks are said to go on, and there are only {}", plan.n_tasks())
                });
                if fits {
                    self.check_goes_on(record, (tasks, *until), &last, findings);
                }
            }
        }
    }

    fn check_goes_on(
        &self,
        record: &Record,
        (tasks, until): (&Ranges, Timestamp),
        last: &BTreeMap<u32, Last<'_>>,
        findings: &mut Findings,
    ) {
        // That there is no such input is told of every event.
        let Some(cause) = self.inputs.get(&record.cause) else { return };
        for task in tasks.iter() {
            let longest = last.get(&task).and_then(|last| self.goes_on(cause, task, last));
            let Some(longest) = longest else {
                return findings.demand(false, Rule::Presence, record.cause, || {
                    format!("task {task} is said to go on, and nobody has seen that")
                });
            };
            let latest = record.at.checked_add(longest.as_duration()).unwrap_or(Timestamp::MAX);
            findings.demand(until <= latest, Rule::Liveness, record.cause, || {
                format!("task {task} is not looked after before {until}, and should be by {latest}")
            });
        }
    }

    /// For how long an attempt goes on because of this, until it is looked after once more; none where it does not.
    fn goes_on(&self, cause: &Said, task: u32, last: &Last<'_>) -> Option<Span> {
        let Some(seen) = seen(cause) else {
            let (report, who, end) = report_of(cause)?;
            let is_lost_elsewhere = (report.task, report.attempt, end.outcome) == (task, last.attempt, Outcome::Lost)
                && last.by.is_some_and(|by| by.worker != who.worker);
            return is_lost_elsewhere.then_some(Span::ZERO);
        };
        let policy = self.whole.policy;
        let found = found(seen, task, last.attempt, Some(last.offer))?;
        match (last.by, found) {
            (Some(_), Found::WorkerPresent) => Some(policy.lease),
            (None, Found::OfferWaits | Found::OfferUnserved) => Some(policy.look_max.max(policy.offer_expiry)),
            // A worker may have claimed it meanwhile, unless nobody can any more.
            (None, Found::OfferGone) if self.is_claimed(task) => Some(Span::ZERO),
            (..) => None,
        }
    }
}
