//! Loading: an entity as the stream has it.
//!
//! Two reads: the decisions, and the inputs after their cursor. A load is complete only when it has itself read the
//! sequence that woke us; reads may be answered by a replica that lags behind.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use rr_nats::{InputMsg, StoredDecision};
use rr_schemas::{decision::Record, id::EntityId};

use crate::{debts::Debts, entity::Entity, shell::Shell, trouble::TurnError};

/// How often a read is repeated that does not show yet what must be there.
const TRIES: u32 = 5;
/// The pause between two tries; replicas lag by a few of these at most.
const PAUSE: Duration = Duration::from_millis(20);

/// An entity with what its last coordinator may have left undone.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) entity: Box<Entity>,
    /// Inputs that are not answered, in order.
    pub(crate) inputs: Vec<InputMsg>,
    /// What the last decision says: its effects may be missing, those of the earlier ones are done.
    pub(crate) last: Vec<Record>,
}

/// Loads an entity; `woken` is the largest sequence that must be seen, 0 for none.
pub(crate) async fn load(shell: &Shell, id: &EntityId, woken: u64) -> Result<Loaded, TurnError> {
    let history = shell.mesh.history(id, 0).await?;
    // Only what stands behind the last decision is new: no decision is stored before a load has seen such a message.
    let is_good = |stored: &StoredDecision| stored.decision.is_ok();
    let n_old = history.iter().rposition(is_good).map_or(0, |last| last + 1);
    for stored in history.iter().skip(n_old).filter(|stored| !stored.is_unreadable()) {
        if let Err(reason) = &stored.decision {
            shell.quarantine(&stored.raw, reason).await?;
        }
    }
    let (mut entity, last) = fold(shell, id, history)?;
    entity.debts = Debts::of_loaded();
    let inputs = unanswered(shell, id, entity.cursor, woken).await?;
    tracing::debug!(run.id = %id, decision.n = entity.tip.n, inputs = inputs.len(), "loaded");
    Ok(Loaded { entity, inputs, last })
}

async fn unanswered(shell: &Shell, id: &EntityId, cursor: u64, woken: u64) -> Result<Vec<InputMsg>, TurnError> {
    let mut tries = 0;
    loop {
        match shell.mesh.inputs_after(id, cursor, woken).await {
            Ok(inputs) => return Ok(inputs),
            Err(rr_nats::Error::Behind { .. }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE * tries).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Folds a history. What is no decision is passed over: the subject is guarded, but anything can be there.
pub(crate) fn fold(
    shell: &Shell,
    id: &EntityId,
    history: Vec<StoredDecision>,
) -> Result<(Box<Entity>, Vec<Record>), TurnError> {
    let mut entity = Box::new(Entity::new(id.clone(), shell.options.policy));
    let mut last = Vec::new();
    for stored in history {
        entity.tip.seq = stored.seq;
        if stored.is_unreadable() {
            let why = stored.decision.err().unwrap_or_default();
            return Err(TurnError::Parked(format!(
                "message {} is a decision that this rr cannot read: {why}",
                stored.seq
            )));
        }
        let decision = match stored.decision {
            Ok(decision) => decision,
            Err(reason) => {
                tracing::debug!(run.id = %id, stream.seq = stored.seq, %reason, "not a decision; passed over");
                continue;
            }
        };
        let (expected, tip) = (entity.tip.n + 1, &entity.tip);
        // The horizon of what is kept has passed over it, but not over all of it.
        if tip.n == 0 && decision.n > 1 {
            return Err(TurnError::Forgotten);
        }
        if decision.n != expected || decision.prev != tip.hash {
            return Err(TurnError::Parked(format!(
                "message {} is decision {} where decision {expected} belongs, or follows another history",
                stored.seq, decision.n
            )));
        }
        apply(&mut entity, &decision.events)
            .map_err(|why| TurnError::Parked(format!("decision {} (message {}): {why}", decision.n, stored.seq)))?;
        if decision.n == 1 {
            entity.secret = decision.secret;
        }
        entity.tip.n = decision.n;
        entity.tip.hash = stored.hash;
        entity.has_answered(decision.upto, stored.seq);
        last = decision.events;
    }
    Ok((entity, last))
}

/// A panic in the fold parks one run instead of stopping the partition.
fn apply(entity: &mut Entity, events: &[Record]) -> Result<(), String> {
    let run = &mut entity.run;
    let folded = catch_unwind(AssertUnwindSafe(|| events.iter().try_for_each(|record| run.apply(record))));
    match folded {
        Ok(Ok(())) => Ok(()),
        Ok(Err(illegal)) => Err(illegal.to_string()),
        Err(_) => Err("the fold panics".to_owned()),
    }
}
