//! The answer to what a coordinator saw of open attempts.

use jiff::Timestamp;
use rr_schemas::{
    decision::Event,
    input::{Found, Seen, SeenAttempts},
    offer::Target,
    ranges::Ranges,
    report::{Ended, Outcome, Output},
    span::Span,
};

use super::{Phase, Run, TaskState, decide::Draft, fold::later};
use crate::plan::PlannedJob;

/// Offers of one attempt that vanish without a report, before the attempt counts as lost.
const OFFERS_MAX: u32 = 4;

impl Run {
    pub(super) fn answer_seen(&mut self, seen: &Seen, draft: &mut Draft) {
        for seen in &seen.attempts {
            let mut live_on = LiveOn::default();
            for task in seen.tasks.iter() {
                self.answer_seen_task(task, seen, &mut live_on, draft);
            }
            for (until, tasks) in live_on.0 {
                self.emit(draft, Event::Extended { tasks, until });
            }
        }
    }

    fn answer_seen_task(&mut self, task: u32, seen: &SeenAttempts, live_on: &mut LiveOn, draft: &mut Draft) {
        let Some(state) = self.tasks.get(task as usize).copied() else {
            return;
        };
        if state.attempt != seen.attempt || state.offer != seen.offer {
            return;
        }
        // Between the look and its answer a worker may have claimed it, unless the claim was won for nobody.
        let is_startable = !seen.withdrawn && self.is_claimed(task);
        match (state.phase, seen.found) {
            (Phase::Running { .. }, Found::WorkerPresent) => live_on.add(later(draft.at, self.policy.lease), task),
            (Phase::Running { by, .. }, Found::WorkerGone) => {
                let by = self.holders.get(by).cloned();
                self.conclude(task, by, ended(Outcome::Lost, "its worker is gone"), draft);
            }
            (Phase::Held { by, .. }, _) if self.stopping.is_some() => {
                let by = by.and_then(|by| self.holders.get(by).cloned());
                self.conclude(task, by, ended(Outcome::Cancelled, "its worker was lost before"), draft);
            }
            (Phase::Offered { .. }, Found::ClaimVoid) => {
                self.conclude(task, None, ended(Outcome::Lost, "somebody claimed it who may not run it"), draft);
            }
            (Phase::Offered { .. }, _) if self.stopping.is_some() && is_startable => live_on.add(draft.at, task),
            (Phase::Offered { .. }, _) if self.stopping.is_some() => {
                self.conclude(task, None, ended(Outcome::Cancelled, "withdrawn before it started"), draft);
            }
            (Phase::Offered { since, .. }, Found::OfferWaits) => live_on.add(self.next_look(draft.at, since), task),
            (Phase::Offered { since, .. }, Found::OfferUnserved) => {
                let target = self.plan.as_ref().and_then(|plan| plan.target(task));
                let is_host = matches!(target, Some(Target::Host(_) | Target::Worker(_)));
                let patient_until = self.patient_until(task, since);
                if is_host && draft.at < patient_until {
                    live_on.add(self.next_look(draft.at, since).min(patient_until), task);
                } else if is_host && is_startable {
                    live_on.add(draft.at, task);
                } else if is_host {
                    self.conclude(task, None, ended(Outcome::Unreachable, "no worker serves it"), draft);
                } else {
                    live_on.add(self.next_look(draft.at, since), task);
                }
            }
            (Phase::Offered { .. }, Found::OfferGone) if !is_last_offer(&state) => {
                if let Some(job) = self.plan.as_ref().and_then(|plan| plan.job_of(task)) {
                    self.offer_tasks(job, Ranges::from(task..=task), state.attempt, state.offer + 1, draft);
                }
            }
            (Phase::Offered { .. }, Found::OfferGone) if is_startable => live_on.add(draft.at, task),
            (Phase::Offered { .. }, Found::OfferGone) => {
                self.conclude(task, None, ended(Outcome::Lost, "its offers vanish without a report"), draft);
            }
            // It has moved on since the shell looked.
            (
                Phase::Waiting
                | Phase::Delayed { .. }
                | Phase::Offered { .. }
                | Phase::Running { .. }
                | Phase::Held { .. }
                | Phase::Over { .. },
                _,
            ) => {}
        }
    }

    /// Until when an offer made at `since` waits for somebody who serves its host.
    pub(super) fn patient_until(&self, task: u32, since: Timestamp) -> Timestamp {
        let job = self.plan.as_ref().and_then(|plan| plan.jobs().get(plan.job_of(task)?));
        job.and_then(PlannedJob::patience).map_or(since, |patience| later(since, patience))
    }

    /// The longer an offer has waited, the more seldom it is looked after.
    fn next_look(&self, at: Timestamp, since: Timestamp) -> Timestamp {
        let waited = u64::try_from(at.as_millisecond() - since.as_millisecond()).unwrap_or(0);
        let longest = self.policy.look_max.as_millis().max(self.policy.offer_expiry.as_millis());
        later(at, Span::saturating_from_millis(waited.clamp(self.policy.offer_expiry.as_millis(), longest)))
    }
}

/// Whether no other offer of its attempt follows when this one vanishes. Those that were given back did not vanish,
/// however many they were: a worker may give back for hours what waits for a lock.
pub(super) const fn is_last_offer(state: &TaskState) -> bool {
    state.offer.saturating_sub(state.returns) >= OFFERS_MAX
}

/// Tasks that live on, by their new deadline: one event for many.
#[derive(Default)]
struct LiveOn(std::collections::BTreeMap<Timestamp, Ranges>);

impl LiveOn {
    fn add(&mut self, until: Timestamp, task: u32) {
        self.0.entry(until).or_default().insert(task);
    }
}

fn ended(outcome: Outcome, reason: &str) -> Ended {
    Ended {
        outcome,
        exit_code: None,
        signal: None,
        reason: Some(reason.to_owned()),
        started_at: None,
        ended_at: None,
        output: Output::default(),
    }
}
