//! A run in memory: its state, its place in the log, and what it owes.

use rr_core::{Policy, Run};
use rr_nats::Ack;
use rr_schemas::id::{EntityId, RunId};

use crate::debts::{Debts, Standing};

/// One entity, up to date as long as no other coordinator works on its partition.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) id: EntityId,
    pub(crate) run_id: RunId,
    pub(crate) run: Run,
    pub(crate) tip: Tip,
    /// What the tokens of its offers are made with; empty where its history is of before there were tokens.
    pub(crate) secret: String,
    /// Every input up to this stream sequence is answered. See [`Entity::has_answered`].
    pub(crate) cursor: u64,
    pub(crate) debts: Debts,
    /// The input that stays unacknowledged while something is owed: its sequence and its handle.
    pub(crate) withheld: Option<(u64, Ack)>,
}

/// The end of an entity's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tip {
    /// Number of the last decision, 0 before the first.
    pub(crate) n: u64,
    /// Stream sequence of the last message on its subject: what the next append expects.
    pub(crate) seq: u64,
    /// Hash of the last decision.
    pub(crate) hash: String,
}

impl Entity {
    /// One that has no history. Whether that is true shows when its first decision is stored.
    pub(crate) fn new(id: EntityId, policy: Policy) -> Self {
        let run_id = RunId::from(id.clone());
        Self {
            run: Run::new(run_id.clone(), policy),
            id,
            run_id,
            tip: Tip::default(),
            secret: String::new(),
            cursor: 0,
            debts: Debts::of_new(),
            withheld: None,
        }
    }

    /// A decision that is stored at `seq` answers the inputs up to `upto`.
    ///
    /// One that answers what stands behind it was made of inputs which the log has lost since: their sequences are used again, by
    /// inputs that nobody has answered. It moves nothing; what it did answer is judged again, as whatever comes twice.
    pub(crate) fn has_answered(&mut self, upto: u64, seq: u64) {
        if upto < seq {
            self.cursor = self.cursor.max(upto);
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing { deadline: self.run.deadline(), n: self.tip.n, is_final: self.run.is_final() }
    }

    /// Whether it is worth its place in memory: something will happen to it, or is owed.
    pub(crate) fn is_live(&self) -> bool {
        self.withheld.is_some() || (self.run.exists() && !self.run.is_final())
    }

    /// Tasks that it holds in memory.
    pub(crate) fn n_tasks(&self) -> u64 {
        self.run.plan().map_or(0, |plan| u64::from(plan.n_tasks()))
    }
}
