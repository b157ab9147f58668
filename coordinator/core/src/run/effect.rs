//! What the world must do after a decision.

use rr_schemas::{
    decision::{Event, Record},
    input::Holder,
    report::Outcome,
};

use super::{Phase, Run};

/// Something to be done. Every one is harmless when done twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Hand an attempt out.
    Offer {
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
        /// Which offer of it.
        offer: u32,
    },
    /// Take an offer away that nobody needs to see any more.
    Withdraw {
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
    },
    /// Take every offer of the run away.
    WithdrawRun,
    /// Ask a worker to end an attempt.
    Kill {
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
        /// Who runs it.
        holder: Holder,
    },
}

impl Run {
    /// The one-shot effects of a decision that is stored, given the state after it. Timer and status are not among
    /// them: they follow from the state at any time ([`Run::deadline`], [`Run::view`]).
    pub fn effects(&self, records: &[Record]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for record in records {
            match &record.event {
                // A stop that came with the offer takes it back before it is made.
                Event::Offered { .. } if self.stopping.is_some() => {}
                Event::Offered { tasks, attempt, offer, .. } => {
                    let still = tasks.iter().filter(|task| self.is_offered(*task, *attempt, *offer));
                    effects.extend(still.map(|task| Effect::Offer { task, attempt: *attempt, offer: *offer }));
                }
                Event::Ended { task, attempt, end, by, .. } => {
                    if matches!(end.outcome, Outcome::Lost | Outcome::Unreachable) {
                        effects.push(Effect::Withdraw { task: *task, attempt: *attempt });
                    }
                    // Who was only cut off may hear it, and would go on for nothing.
                    if let (Outcome::Lost, Some(holder)) = (end.outcome, by) {
                        effects.push(Effect::Kill { task: *task, attempt: *attempt, holder: holder.clone() });
                    }
                }
                Event::Held { task, attempt } => effects.push(Effect::Withdraw { task: *task, attempt: *attempt }),
                Event::CancelRequested { .. } | Event::DeadlinePassed {} => {
                    effects.push(Effect::WithdrawRun);
                    let tasks = 0..u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
                    effects.extend(tasks.filter_map(|task| self.kill(task)));
                }
                Event::Started { task, .. } if self.is_stopping() => effects.extend(self.kill(*task)),
                Event::Extended { tasks, .. } if self.is_stopping() => {
                    effects.extend(tasks.iter().filter_map(|task| self.kill(task)));
                }
                Event::Late { task, attempt, by, outcome: None } => {
                    effects.push(Effect::Kill { task: *task, attempt: *attempt, holder: by.clone() });
                }
                Event::Submitted { .. }
                | Event::Rejected { .. }
                | Event::Started { .. }
                | Event::Returned { .. }
                | Event::Extended { .. }
                | Event::Late { .. }
                | Event::Signalled { .. }
                | Event::JobEnded { .. }
                | Event::PutAside { .. } => {}
                // An offer that was on its way while the run was stopped may have come after the first withdrawal.
                Event::RunEnded { .. } => effects.extend(self.stopping.map(|_| Effect::WithdrawRun)),
            }
        }
        effects
    }

    fn is_offered(&self, task: u32, attempt: u32, offer: u32) -> bool {
        self.tasks.get(task as usize).is_some_and(|state| {
            matches!(state.phase, Phase::Offered { .. }) && state.attempt == attempt && state.offer == offer
        })
    }

    fn kill(&self, task: u32) -> Option<Effect> {
        let state = self.tasks.get(task as usize)?;
        let by = match state.phase {
            Phase::Running { by, .. } => by,
            Phase::Held { by, .. } => by?,
            Phase::Waiting | Phase::Delayed { .. } | Phase::Offered { .. } | Phase::Over { .. } => return None,
        };
        Some(Effect::Kill { task, attempt: state.attempt, holder: self.holders.get(by)?.clone() })
    }
}
