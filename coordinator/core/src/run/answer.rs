//! The answer to each kind of input.

use rr_schemas::{
    decision::Event,
    flow::OnLost,
    input::{Cancel, Holder, Input, Source, Submit},
    name::WorkerName,
    planted::{self, Bug},
    ranges::Ranges,
    report::{Claim, Ended, Outcome, Report, What},
};

use super::{
    HolderId, Phase, Run, TaskState, WITHDRAWN_BY, carry,
    decide::{Around, Draft, Heard},
    fold::later,
    retry::{jittered, next_attempt},
};
use crate::Plan;

/// Bytes of a worker's reason that a decision keeps: it is a sentence, and 512 of them must fit.
const REASON_BYTES_MAX: usize = 200;

/// Offers of one attempt that are handed out again at once when they are given back. A mesh whose workers are all busy
/// gives back as many as it has waiting pulls for the lane, once; what comes back more often than that goes round in
/// circles, and is then looked after like an offer that has vanished.
pub(super) const RETURNS_MAX: u32 = 100;

impl Run {
    pub(super) fn answer(&mut self, heard: &Heard, draft: &mut Draft) {
        match (&heard.input, &heard.source) {
            (Input::Submit(submit), _) => self.answer_submit(submit, heard.around.as_deref(), draft),
            // What comes before the run exists is of a run that was purged, or of none.
            (_, _) if !self.exists() => {}
            (Input::Cancel(cancel), _) => self.answer_cancel(cancel, draft),
            (Input::Signal(signal), _) => self.answer_signal(signal, draft),
            (Input::Report(report), Source::Worker(worker)) => self.answer_report(worker, report, draft),
            (Input::Claim(claim), _) => self.answer_claim(claim, draft),
            (Input::Seen(seen), _) => self.answer_seen(seen, draft),
            // A timer says only that time has passed; `advance` looks at the time whatever the input was.
            (Input::Timer {}, _) => {}
            (Input::Report(_), Source::Api | Source::Claim { .. } | Source::Timer | Source::Note) => {
                draft.disbelieve("a report that no worker made");
            }
        }
    }

    fn answer_submit(&mut self, submit: &Submit, around: Option<&Around>, draft: &mut Draft) {
        if self.exists() {
            return;
        }
        let nothing = Around::default();
        let around = around.unwrap_or(&nothing);
        let planned = if around.problems.is_empty() {
            Plan::with_found(&submit.flow, &submit.params, &around.found)
                .and_then(|plan| carry::checked(submit.retry_of.as_ref(), around.carried.as_deref(), &plan))
        } else {
            Err(around.problems.clone())
        };
        let event = match planned {
            Ok(carried) => Event::Submitted {
                flow: Box::new(submit.flow.clone()),
                params: submit.params.clone(),
                by: submit.by.clone(),
                found: around.found.clone(),
                retry_of: carried.cloned().map(Box::new),
            },
            Err(problems) => Event::Rejected { problems },
        };
        self.emit(draft, event);
    }

    fn answer_cancel(&mut self, cancel: &Cancel, draft: &mut Draft) {
        if self.is_final() || self.stopping.is_some() {
            return;
        }
        self.emit(draft, Event::CancelRequested { by: cancel.by.clone(), reason: cancel.reason.clone() });
    }

    fn answer_report(&mut self, worker: &WorkerName, report: &Report, draft: &mut Draft) {
        let Some(state) = self.tasks.get(report.task as usize).copied() else {
            draft.disbelieve("a report of a task that the run does not have");
            return;
        };
        if report.attempt == 0 || report.attempt > state.attempt {
            draft.disbelieve("a report of an attempt that was never offered");
            return;
        }
        let by = Holder { worker: worker.clone(), instance: report.instance.clone() };
        match &report.what {
            What::Started { .. } => self.answer_started(report, by, state, draft),
            What::Ended(end) if report.attempt < state.attempt && !planted::bites(Bug::LateReportCounts) => {
                self.note_late(report, by, end, draft);
            }
            What::Ended(end) => self.answer_ended(report, by, end, state, draft),
            What::Returned {} => self.answer_returned(report, by, state, draft),
        }
    }

    fn answer_started(&mut self, report: &Report, by: Holder, state: TaskState, draft: &mut Draft) {
        let is_holder = |id: HolderId| self.holders.get(id) == Some(&by);
        let goes_on_in_vain = report.attempt < state.attempt
            || match state.phase {
                Phase::Offered { .. } if self.is_claimed(report.task) => false,
                Phase::Offered { .. } => {
                    self.emit(draft, Event::Started { task: report.task, attempt: report.attempt, by });
                    return;
                }
                // It was given up, and lives; or it is over by nobody's word, or by a coordinator's.
                Phase::Over { outcome: Outcome::Lost | Outcome::Cancelled, .. }
                | Phase::Over { by: None, .. }
                | Phase::Delayed { .. } => true,
                // Of two workers that have it after a fault the first one goes on. A worker that speaks of what it has
                // started or ended itself says it twice.
                Phase::Running { by, .. } | Phase::Over { by: Some(by), .. } => !is_holder(by),
                Phase::Waiting | Phase::Held { .. } => false,
            };
        if goes_on_in_vain {
            self.emit(draft, Event::Late { task: report.task, attempt: report.attempt, by, outcome: None });
        }
    }

    fn answer_ended(&mut self, report: &Report, by: Holder, end: &Ended, state: TaskState, draft: &mut Draft) {
        let claimed = self.is_claimed(report.task);
        let holder = match state.phase {
            Phase::Running { by, .. } => self.holders.get(by),
            Phase::Held { by, .. } => by.and_then(|by| self.holders.get(by)),
            Phase::Waiting | Phase::Delayed { .. } | Phase::Offered { .. } | Phase::Over { .. } => None,
        };
        // Of a claimed one only the very process counts that has claimed it.
        let was_holder = holder.is_some_and(|holder| if claimed { *holder == by } else { holder.worker == by.worker });
        match state.phase {
            Phase::Offered { .. } if claimed && !matches!(end.outcome, Outcome::Lost | Outcome::Refused) => {
                draft.disbelieve("a report of an attempt that its worker has not claimed");
            }
            Phase::Running { .. } | Phase::Held { .. } if claimed && holder.is_some() && !was_holder => {
                draft.disbelieve("a report of an attempt that another worker has claimed");
            }
            // Another worker got the offer a second time. Whoever runs it may only be slow: look before concluding.
            Phase::Running { .. } if end.outcome == Outcome::Lost && !was_holder => {
                let tasks = Ranges::from(report.task..=report.task);
                self.emit(draft, Event::Extended { tasks, until: draft.at });
            }
            // It was told to end because another one had started before, who may still succeed.
            Phase::Running { .. } if end.outcome != Outcome::Ok && !was_holder => {
                self.note_late(report, by, end, draft);
            }
            // The worker has begun a new life and knows no more than that the attempt had started.
            Phase::Held { .. } if end.outcome == Outcome::Lost => {}
            Phase::Offered { .. } | Phase::Running { .. } | Phase::Held { .. } => {
                self.conclude(report.task, Some(by), end.clone(), draft);
            }
            // The same worker said it twice, because it could not know that it was heard.
            Phase::Over { by: Some(over), outcome }
                if self.holders.get(over) == Some(&by) && outcome == end.outcome => {}
            Phase::Waiting | Phase::Delayed { .. } | Phase::Over { .. } => self.note_late(report, by, end, draft),
        }
    }

    /// What a worker has not started goes to another one at once: no try and no loss. What is said of an offer that is
    /// not the last one changes nothing, and a run that is being stopped hands nothing out.
    fn answer_returned(&mut self, report: &Report, by: Holder, state: TaskState, draft: &mut Draft) {
        let Report { task, attempt, offer, .. } = *report;
        let is_it = matches!(state.phase, Phase::Offered { .. }) && (state.attempt, state.offer) == (attempt, offer);
        if !is_it || self.stopping.is_some() {
            return;
        }
        self.emit(draft, Event::Returned { task, attempt, offer, by });
        if state.returns < RETURNS_MAX
            && let Some(job) = self.plan.as_ref().and_then(|plan| plan.job_of(task))
        {
            self.offer_tasks(job, Ranges::from(task..=task), attempt, offer.saturating_add(1), draft);
        }
    }

    fn note_late(&mut self, report: &Report, by: Holder, end: &Ended, draft: &mut Draft) {
        let outcome = Some(end.outcome);
        self.emit(draft, Event::Late { task: report.task, attempt: report.attempt, by, outcome });
    }

    fn answer_claim(&mut self, claim: &Claim, draft: &mut Draft) {
        let Some(state) = self.tasks.get(claim.task as usize) else {
            draft.disbelieve("a claim of a task that the run does not have");
            return;
        };
        if claim.attempt == 0 || claim.attempt > state.attempt {
            draft.disbelieve("a claim of an attempt that was never offered");
            return;
        }
        let offered = matches!(state.phase, Phase::Offered { .. }) && claim.attempt == state.attempt;
        let withdrawn = claim.worker.as_str() == WITHDRAWN_BY;
        if offered && !withdrawn && self.is_claimed(claim.task) {
            self.emit(draft, Event::Started { task: claim.task, attempt: claim.attempt, by: claim.holder() });
        }
    }

    /// An attempt is over: ends it, and says whether another follows.
    pub(super) fn conclude(&mut self, task: u32, by: Option<Holder>, mut end: Ended, draft: &mut Draft) {
        let Some(state) = self.tasks.get(task as usize).copied() else {
            return;
        };
        let Some(index) = self.plan.as_ref().and_then(|plan| plan.job_of(task)) else {
            return;
        };
        let Some((planned, job)) = self.job(index) else {
            return;
        };
        end.reason = end.reason.map(|reason| cut_to_fit(&reason));
        let stopping = self.stopping.is_some();
        if end.outcome == Outcome::Lost && planned.job.on_lost == OnLost::Hold && !stopping {
            if !matches!(state.phase, Phase::Held { .. }) {
                self.emit(draft, Event::Held { task, attempt: state.attempt });
            }
            return;
        }
        let again = if stopping || job.halted {
            None
        } else {
            next_attempt(&planned.job, &state, &end, self.policy.losses_max)
                .map(|wait| later(draft.at, jittered(wait, &planned.job, self.id.as_str(), task, state.attempt)))
        };
        self.emit(draft, Event::Ended { task, attempt: state.attempt, by, end, again });
    }

    pub(super) fn is_claimed(&self, task: u32) -> bool {
        let index = self.plan.as_ref().and_then(|plan| plan.job_of(task));
        index.and_then(|index| self.job(index)).is_some_and(|(planned, _)| planned.job.is_claimed())
    }
}

fn cut_to_fit(reason: &str) -> String {
    let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    reason.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
