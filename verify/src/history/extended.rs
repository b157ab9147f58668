//! What goes on: a deadline moves because somebody has looked, and no further than to the next look.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rr_schemas::{
    decision::{Event, Record},
    input::{Found, SeenAttempts},
    name::InstanceId,
    offer::Target,
    ranges::Ranges,
    report::Outcome,
    span::Span,
};

use super::{
    Said, Stored,
    heard::{Heard, report_of},
    looked::{found_of, seen},
    standing::{Runs, Standing, Standings},
};
use crate::{Findings, Rule, records::within};

/// A task that is said to go on.
#[derive(Clone, Copy)]
struct Look<'a> {
    task: u32,
    /// Whether the run is being stopped by then.
    is_stopped: bool,
    /// None where it was never offered.
    last: Option<Standing<'a>>,
}

impl Look<'_> {
    /// What is broken first where an offer goes on in a run that is being stopped.
    fn rule_of_stop(&self) -> Option<Rule> {
        let waits = self.last.is_some_and(|last| matches!(last.runs, Runs::Nobody));
        (self.is_stopped && waits).then_some(Rule::Stop)
    }
}

impl Heard<'_> {
    /// An attempt goes on when its worker was seen, its offer was found, or somebody who does not run it has lost it: then it is looked
    /// after at once. What was seen to be gone does not go on. In a run that is being stopped only that goes on, from look to look,
    /// which a worker may have claimed meanwhile.
    pub(super) fn check_extended(&self, findings: &mut Findings) {
        let Some(plan) = &self.plan else { return };
        let mut standings = Standings::new(plan);
        let mut leases = BTreeMap::new();
        for (by, record) in self.whole.decisions.iter().flat_map(of_process) {
            if let Event::Extended { tasks, until } = &record.event {
                let fits = within(plan, tasks);
                findings.demand(fits, Rule::Presence, record.cause, || {
                    format!("tasks are said to go on, and there are only {}", plan.n_tasks())
                });
                if fits {
                    let is_stopped = standings.is_stopped;
                    let looks = tasks.iter().map(|task| Look { task, is_stopped, last: standings.of(task) });
                    self.check_goes_on(record, *until, looks, findings);
                    self.check_lease(by, record, (tasks, *until), &mut leases, findings);
                }
            }
            standings.fold(record);
        }
    }

    fn check_goes_on<'l>(
        &self,
        record: &Record,
        until: Timestamp,
        looks: impl Iterator<Item = Look<'l>>,
        findings: &mut Findings,
    ) {
        // That there is no such input is told of every event.
        let Some(cause) = self.inputs.get(&record.cause) else { return };
        for look in looks {
            let (task, stop) = (look.task, look.rule_of_stop());
            let Some(latest) = self.goes_on(cause, record.at, &look) else {
                return findings.demand(false, stop.unwrap_or(Rule::Presence), record.cause, || {
                    format!("task {task} is said to go on, and nobody has seen that")
                });
            };
            findings.demand(until <= latest, stop.unwrap_or(Rule::Liveness), record.cause, || {
                format!("task {task} is not looked after before {until}, and should be by {latest}")
            });
        }
    }

    /// A process has one lease as long as it lives, whatever it is.
    fn check_lease<'l>(
        &self,
        by: &'l InstanceId,
        record: &Record,
        (tasks, until): (&Ranges, Timestamp),
        leases: &mut BTreeMap<&'l InstanceId, SignedDuration>,
        findings: &mut Findings,
    ) {
        let Some(seen) = self.inputs.get(&record.cause).and_then(|said| seen(said)) else { return };
        let is_there = |seen: &&SeenAttempts| seen.found == Found::WorkerPresent;
        let by_lease = tasks.iter().all(|task| seen.attempts.iter().filter(is_there).any(|it| it.tasks.contains(task)));
        let lease = until.duration_since(record.at);
        // What may be claimed in a run that is being stopped is looked after at once, whoever was seen.
        if !by_lease || lease.is_zero() || until == Timestamp::MAX {
            return;
        }
        let first = *leases.entry(by).or_insert(lease);
        findings.demand(first == lease, Rule::Liveness, record.cause, || {
            format!("{by} looks after attempts again in {first:#}, and here in {lease:#}")
        });
    }

    /// Until when an attempt goes on because of this, until it is looked after once more; none where it does not. The rules are the
    /// core's (`coordinator/core/src/run/seen.rs`).
    fn goes_on(&self, cause: &Said, at: Timestamp, look: &Look<'_>) -> Option<Timestamp> {
        let Look { task, is_stopped, last } = *look;
        let last = last?;
        let Some(seen) = seen(cause) else {
            let (report, who, end) = report_of(cause)?;
            let is_its = (report.task, report.attempt, end.outcome) == (task, last.attempt, Outcome::Lost);
            let is_lost_elsewhere = is_its && matches!(last.runs, Runs::By(by) if by.worker != who.worker);
            return is_lost_elsewhere.then_some(at);
        };
        let policy = self.whole.policy;
        let SeenAttempts { found, withdrawn, .. } = *found_of(seen, task, last.attempt, last.offer)?;
        match (last.runs, found) {
            (Runs::By(_), Found::WorkerPresent) => Some(later(at, policy.lease)),
            (Runs::By(_) | Runs::Held(_), _) | (Runs::Nobody, Found::ClaimVoid) => None,
            (Runs::Nobody, _) if is_stopped => self.once_more(at, task, withdrawn),
            (Runs::Nobody, Found::OfferWaits) => Some(self.next_look(at)),
            (Runs::Nobody, Found::OfferUnserved) => match self.patient_until(task, last.since) {
                None => Some(self.next_look(at)),
                Some(patient_until) if at < patient_until => Some(self.next_look(at).min(patient_until)),
                Some(_) => self.once_more(at, task, withdrawn),
            },
            (Runs::Nobody, Found::OfferGone) => self.once_more(at, task, withdrawn),
            (Runs::Nobody, Found::WorkerPresent | Found::WorkerGone) => None,
        }
    }

    /// A worker may have claimed it meanwhile, unless nobody can any more; then it is looked after at once.
    fn once_more(&self, at: Timestamp, task: u32, withdrawn: bool) -> Option<Timestamp> {
        (!withdrawn && self.is_claimed(task)).then_some(at)
    }

    /// When an offer that waits is looked after again at the latest.
    fn next_look(&self, at: Timestamp) -> Timestamp {
        later(at, self.whole.policy.look_max.max(self.whole.policy.offer_expiry))
    }

    /// Until when an offer made at `since` waits for somebody who serves its host; none where it waits for as long as it takes.
    pub(super) fn patient_until(&self, task: u32, since: Timestamp) -> Option<Timestamp> {
        let plan = self.plan.as_ref()?;
        match plan.target(task)? {
            Target::Queue(_) => None,
            Target::Host(_) | Target::Worker(_) => {
                let patience = plan.jobs().get(plan.job_of(task)?)?.patience();
                Some(patience.map_or(since, |patience| later(since, patience)))
            }
        }
    }
}

/// The events of a decision, with the process that has taken it.
fn of_process(stored: &Stored) -> impl Iterator<Item = (&InstanceId, &Record)> {
    stored.decision.events.iter().map(|record| (&stored.decision.by, record))
}

/// The instant a span later, or the last one there is.
fn later(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(span.as_duration()).unwrap_or(Timestamp::MAX)
}
