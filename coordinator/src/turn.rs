//! One turn of one entity: be up to date, decide, store, perform, acknowledge.
//!
//! Invariants: nothing follows from a decision before it is stored, and what follows from it is done and acknowledged
//! before the next one is stored; so after a load only effects of the last decision can be missing. An input is
//! acknowledged only when it is answered and everything that its answer asks for is done, or owed with another input
//! withheld for it; all but the first, too, where the entity rests until a person helps, for the load after that reads them.

mod step;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rr_nats::{Ack, InputMsg};
use rr_schemas::{
    id::EntityId,
    input::Input,
    planted::{self, Bug},
};
use tokio::time::Instant;

use self::step::{Queue, left_behind, step};
use crate::{
    debts::Due,
    entity::Entity,
    load::{Loaded, load},
    look::{Looked, look},
    perform::{perform, still_wanted},
    shell::Shell,
    timer,
    trouble::{Next, Trouble, TurnError},
};

/// When attempts are looked after again that could not be looked after.
const PUT_OFF: Duration = Duration::from_secs(2);

/// What a turn begins with.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) id: EntityId,
    /// The entity, where it is in memory.
    pub(crate) entity: Option<Box<Entity>>,
    /// Delivered inputs in the order of their delivery; none when only debts are to be paid.
    pub(crate) inputs: Vec<InputMsg>,
    /// Whether another input may belong between them.
    pub(crate) chain: Chain,
    /// Whether debts may wait.
    pub(crate) patience: Patience,
}

/// Whether the delivered inputs of a turn are all that the entity has since the first of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Chain {
    /// They are.
    #[default]
    Whole,
    /// A delivery may have gone elsewhere meanwhile: only the stream knows.
    Broken,
}

/// Whether debts may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// For a moment.
    Some,
    /// The partition is handed over, or too many inputs are withheld.
    None,
}

/// What a turn ends with.
#[derive(Debug)]
pub(crate) struct Turned {
    pub(crate) id: EntityId,
    /// The entity, where it is worth keeping.
    pub(crate) entity: Option<Box<Entity>>,
    /// When its debts must be paid.
    pub(crate) due: Option<Instant>,
}

/// Ack handles of a turn's deliveries by sequence. A redelivery replaces the handle of the delivery before.
type Acks = BTreeMap<u64, Ack>;

/// What an attempt at a turn goes on from.
enum Start {
    /// In memory, with the delivered inputs that follow.
    Here(Box<Entity>, Vec<InputMsg>),
    /// From the stream.
    Load,
}

/// Runs a turn to its end, whatever goes wrong.
pub(crate) async fn turn(shell: Arc<Shell>, turn: Turn) -> Turned {
    let Turn { id, entity, inputs, chain, patience } = turn;
    let acks: Acks =
        inputs.iter().filter_map(|input| Some((input.seq(), input.delivery.as_ref()?.ack.clone()))).collect();
    if planted::bites(Bug::AcknowledgedFirst) {
        for ack in acks.values() {
            ack.ack().await;
        }
    }
    let mut start = begin(&shell, &id, entity, inputs, chain);
    let mut trouble = Trouble::default();
    loop {
        let error = match attempt(&shell, &id, start, &acks, &mut trouble, patience).await {
            Ok(entity) => return settle(entity, acks).await,
            Err(error) => error,
        };
        report(&id, &error);
        match trouble.after(&error) {
            Next::Again(pause) => tokio::time::sleep(pause).await,
            Next::Drop => {
                for ack in acks.values() {
                    ack.ack().await;
                }
                return Turned { id, entity: None, due: None };
            }
            Next::Later(pause) => {
                tracing::warn!(run.id = %id, inputs = acks.len(), "inputs are given back, they come again");
                for ack in acks.values() {
                    ack.nak(Some(pause)).await;
                }
                return Turned { id, entity: None, due: None };
            }
            Next::Rest(pause) => {
                leave_one(&acks, pause).await;
                return Turned { id, entity: None, due: None };
            }
        }
        start = Start::Load;
    }
}

/// Leaves the first input to wake the next load and acknowledges the others, which that load finds in the stream: the inputs
/// of an entity that rests come one by one, and must not use up what the partition may have unacknowledged. The first,
/// because what stands before the oldest unacknowledged input counts as answered.
async fn leave_one(acks: &Acks, pause: Duration) {
    let mut acks = acks.values();
    if let Some(first) = acks.next() {
        first.nak(Some(pause)).await;
    }
    for ack in acks {
        ack.ack().await;
    }
}

/// A first delivery of a submit is taken for what it nearly always is: the begin of a run. Where that is wrong, its
/// first decision is refused, and the entity loaded.
fn begin(shell: &Shell, id: &EntityId, entity: Option<Box<Entity>>, inputs: Vec<InputMsg>, chain: Chain) -> Start {
    if let Some(entity) = entity {
        return Start::Here(entity, inputs);
    }
    let begins = inputs.first().is_some_and(|input| {
        matches!(input.input, Ok(Input::Submit(_))) && input.delivery.as_ref().is_some_and(|how| how.delivered == 1)
    });
    if begins && chain == Chain::Whole {
        Start::Here(Box::new(Entity::new(id.clone(), shell.options.policy)), inputs)
    } else {
        Start::Load
    }
}

fn report(id: &EntityId, error: &TurnError) {
    match error {
        TurnError::Stale | TurnError::TooLarge | TurnError::Forgotten => {
            tracing::debug!(run.id = %id, %error, "turn interrupted");
        }
        TurnError::Unavailable(_) => tracing::warn!(run.id = %id, %error, "turn starts over"),
        TurnError::Broken { seq, .. } => {
            tracing::error!(run.id = %id, stream.seq = seq, %error, "an input makes the coordinator fail");
        }
        TurnError::Parked(_) => tracing::error!(run.id = %id, %error, "the run is parked"),
        TurnError::Forbidden(_) => tracing::error!(run.id = %id, %error, "the run cannot go on"),
    }
}

/// Acknowledges what is answered; withholds one input while something is owed.
async fn settle(mut entity: Box<Entity>, mut acks: Acks) -> Turned {
    let due = entity.debts.owed();
    if due.is_some() {
        let kept = entity.withheld.as_ref().map(|(seq, _)| *seq).or_else(|| acks.keys().next().copied());
        // A redelivery of the withheld one brings a new handle for it.
        if let Some(fresh) = kept.and_then(|seq| acks.remove_entry(&seq)) {
            entity.withheld = Some(fresh);
        }
    } else if let Some((seq, ack)) = entity.withheld.take() {
        acks.entry(seq).or_insert(ack);
    }
    for ack in acks.into_values() {
        ack.ack().await;
    }
    let id = entity.id.clone();
    Turned { id, due, entity: entity.is_live().then_some(entity) }
}

async fn attempt(
    shell: &Shell,
    id: &EntityId,
    start: Start,
    acks: &Acks,
    trouble: &mut Trouble,
    patience: Patience,
) -> Result<Box<Entity>, TurnError> {
    let (mut entity, inputs) = match start {
        Start::Here(entity, inputs) => (entity, inputs),
        Start::Load => {
            let woken = acks.keys().next_back().copied().unwrap_or(0);
            let Loaded { entity, inputs, last } = load(shell, id, woken).await?;
            // Before the next decision is stored, those of the last one must be done.
            let mut effects = still_wanted(&entity, entity.run.effects(&last), &inputs);
            effects.extend(left_behind(shell, &entity, &last).await);
            if !planted::bites(Bug::EffectsNotRedone) {
                perform(shell, &entity, effects).await?;
            }
            (entity, inputs)
        }
    };
    let mut queue = Queue::new(inputs, entity.cursor, acks, shell.mesh.partition_of(id));
    while !queue.is_empty() || entity.run.more() {
        step(shell, &mut entity, &mut queue, trouble).await?;
    }
    if let Some(now) = queue.timer {
        entity.debts.fired();
        match look(shell, &entity, now).await? {
            Looked::Nothing => {}
            Looked::Noted => entity.debts.awaits_note(),
            Looked::PutOff => entity.debts.put_off(shell.clock().saturating_add(PUT_OFF).unwrap_or(now)),
        }
    }
    if queue.timer.is_some() && planted::bites(Bug::TimerNotRearmed) {
        return Ok(entity);
    }
    let may_wait = patience == Patience::Some && !(acks.is_empty() && entity.withheld.is_none());
    pay(shell, &mut entity, may_wait).await?;
    Ok(entity)
}

/// Arms the timer and writes the status, where that is owed and cannot wait.
async fn pay(shell: &Shell, entity: &mut Entity, may_wait: bool) -> Result<(), TurnError> {
    let standing = entity.standing();
    let wait = shell.options.settle_after.as_duration();
    match entity.debts.due(&standing, wait, Instant::now(), shell.clock()) {
        Due::Nothing => return Ok(()),
        Due::Later(_) if may_wait => return Ok(()),
        Due::Later(_) | Due::Now => {}
    }
    if let Some(at) = entity.debts.timer(&standing, shell.clock()) {
        let armed = timer::arm(shell, &entity.id, entity.debts.known(shell.clock()), at).await?;
        entity.debts.armed(armed);
    }
    if entity.debts.status(&standing) {
        match shell.show(entity).await {
            Err(error) if error.is_retryable() => return Err(error.into()),
            // A projection that cannot be written must not keep the run from going on.
            Err(error) => tracing::error!(run.id = %entity.run_id, %error, "the status cannot be written"),
            Ok(()) => {}
        }
        entity.debts.shown(standing.n);
    }
    entity.debts.paid();
    Ok(())
}
