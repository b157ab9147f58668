//! The entities of a partition that are in memory, and those that have their turn.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rr_nats::InputMsg;
use rr_schemas::id::EntityId;
use tokio::time::Instant;

use super::{continuity::Continuity, give_back};
use crate::{
    budget::{Account, Mark},
    entity::Entity,
    shell::Shell,
    turn::{Chain, Patience, Turn, Turned, turn},
};

/// Entities that may withhold an input each; beyond, the oldest pay their debts early. A fifth of what the server lets
/// be unacknowledged in a partition (20,000), so that withheld inputs never keep others from coming.
const WITHHELD_MAX: usize = 4_096;
/// Turns that are settled in one go before others get a look in.
const SETTLED_AT_ONCE: usize = 64;

/// Entities and their turns.
pub(super) struct Desk {
    shell: Arc<Shell>,
    slots: HashMap<EntityId, Slot>,
    /// Entities with inputs and without a turn.
    ready: VecDeque<EntityId>,
    under_way: FuturesUnordered<BoxFuture<'static, Option<Turned>>>,
    /// When debts must be paid, soonest first: all have the same time.
    debts: VecDeque<(Instant, EntityId)>,
    continuity: Continuity,
    waiting: usize,
    /// Entities that are in memory and have no turn.
    idle: Account,
    /// Turns to end before it is looked again for entities to drop.
    evict_pause: usize,
    clock: u64,
}

#[derive(Debug, Default)]
struct Slot {
    entity: Option<Box<Entity>>,
    inputs: Vec<InputMsg>,
    state: State,
    /// Whether what its turn brings back may not be trusted any more.
    stale: bool,
    /// Whether a delivery may have gone elsewhere since the first of `inputs` came.
    chain: Chain,
    due: Option<Instant>,
    /// When it had its last turn, by the desk's own clock.
    touched: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Idle,
    Ready,
    Busy,
}

impl Desk {
    pub(super) fn new(shell: Arc<Shell>) -> Self {
        Self {
            idle: Account::open(&shell.budget),
            shell,
            slots: HashMap::new(),
            ready: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            debts: VecDeque::new(),
            continuity: Continuity::default(),
            waiting: 0,
            evict_pause: 0,
            clock: 0,
        }
    }

    /// Inputs that wait for their entity's turn.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes delivered inputs.
    pub(super) fn take(&mut self, batch: Vec<InputMsg>) {
        for input in batch {
            if !input.delivery.as_ref().is_some_and(|delivery| self.continuity.holds(delivery)) {
                self.forget();
            }
            match &input.input {
                Ok(_) => self.queue(input),
                Err(_) => self.under_way.push(put_away(Arc::clone(&self.shell), input).boxed()),
            }
        }
    }

    fn queue(&mut self, input: InputMsg) {
        let slot = match self.slots.entry(input.entity.clone()) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Slot::default()),
        };
        if slot.state == State::Idle {
            slot.state = State::Ready;
            self.ready.push_back(input.entity.clone());
        }
        // A redelivery of one that still waits brings the handle that counts.
        let redelivered = input.delivery.as_ref().is_some_and(|delivery| delivery.delivered > 1);
        let waiting = if redelivered { slot.inputs.iter_mut().find(|other| other.seq() == input.seq()) } else { None };
        if let Some(waiting) = waiting {
            *waiting = input;
        } else {
            slot.inputs.push(input);
            self.waiting += 1;
        }
    }

    /// Drops everything that is in memory: deliveries may have gone elsewhere, and what follows from them is unknown
    /// here; or what is here is unknown to a log that has lost its end.
    pub(super) fn forget(&mut self) {
        let shell = &self.shell;
        self.slots.retain(|_, slot| {
            if let Some(entity) = slot.entity.take() {
                shell.forget(&entity);
            }
            slot.due = None;
            slot.stale = slot.state == State::Busy;
            slot.chain = Chain::Broken;
            slot.state != State::Idle
        });
        self.debts.clear();
        self.idle.clear();
    }

    /// Begins turns as long as there is room for them.
    pub(super) fn begin_turns(&mut self) {
        while self.under_way.len() < self.shell.options.turns_max.max(1) {
            let Some(id) = self.ready.pop_front() else { return };
            self.begin(id, Patience::Some);
        }
    }

    fn begin(&mut self, id: EntityId, patience: Patience) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.state = State::Busy;
        slot.stale = false;
        self.clock += 1;
        slot.touched = self.clock;
        let inputs = std::mem::take(&mut slot.inputs);
        let chain = std::mem::take(&mut slot.chain);
        let entity = slot.entity.take();
        self.waiting -= inputs.len();
        if let Some(entity) = &entity {
            self.idle.remove(entity.n_tasks());
        }
        let begun = turn(Arc::clone(&self.shell), Turn { id, entity, inputs, chain, patience });
        self.under_way.push(begun.map(Some).boxed());
    }

    /// Waits until a turn ends; for ever where none is under way. Losing the future loses nothing.
    pub(super) async fn one_ends(&mut self) {
        match self.under_way.next().await {
            Some(Some(turned)) => self.end(turned),
            Some(None) => {}
            None => std::future::pending().await,
        }
    }

    /// Settles further turns that have ended already.
    pub(super) fn all_end_that_have(&mut self) {
        for _ in 0..SETTLED_AT_ONCE {
            match self.under_way.next().now_or_never() {
                Some(Some(Some(turned))) => self.end(turned),
                Some(Some(None)) => {}
                Some(None) | None => return,
            }
        }
    }

    fn end(&mut self, turned: Turned) {
        let Turned { id, entity, due } = turned;
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.stale {
            slot.due = None;
            if let Some(entity) = entity {
                self.shell.forget(&entity);
            }
        } else if let Some(entity) = entity {
            self.idle.add(entity.n_tasks());
            slot.entity = Some(entity);
            if slot.due != due {
                slot.due = due;
                self.debts.extend(due.map(|due| (due, id.clone())));
            }
        }
        if !slot.inputs.is_empty() {
            slot.state = State::Ready;
            self.ready.push_back(id);
        } else if slot.entity.is_some() {
            slot.state = State::Idle;
        } else {
            self.slots.remove(&id);
        }
        self.evict();
    }

    /// When the next debts must be paid.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (due, _) = self.debts.front()?;
        Some(if self.debts.len() > WITHHELD_MAX { Instant::now() } else { *due })
    }

    /// Lets entities whose debts are due pay them.
    pub(super) fn collect_debts(&mut self) {
        let now = Instant::now();
        while let Some((due, _)) = self.debts.front() {
            if *due > now && self.debts.len() <= WITHHELD_MAX {
                return;
            }
            let Some((due, id)) = self.debts.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.due == Some(due)) else { continue };
            if slot.state == State::Idle {
                self.begin(id, Patience::None);
            } else {
                // It has its turn, or will soon, and queues its debt anew if it does not pay then.
                slot.due = None;
            }
        }
    }

    /// Drops entities that were not heard of for the longest time, when too much is in memory.
    pub(super) fn evict(&mut self) {
        if self.evict_pause > 0 {
            self.evict_pause -= 1;
            return;
        }
        if !self.idle.is_above(Mark::High) {
            return;
        }
        let evictable = |slot: &Slot| slot.state == State::Idle && slot.due.is_none();
        let mut oldest: Vec<(u64, EntityId)> = self
            .slots
            .iter()
            .filter(|(_, slot)| evictable(slot))
            .map(|(id, slot)| (slot.touched, id.clone()))
            .collect();
        oldest.sort_unstable();
        for (_, id) in oldest {
            if !self.idle.is_above(Mark::Low) {
                break;
            }
            if let Some(entity) = self.slots.remove(&id).and_then(|slot| slot.entity) {
                self.idle.remove(entity.n_tasks());
                self.shell.forget(&entity);
            }
        }
        // Those that owe something stay. Where too many do, the next look is paid for by the turns until then.
        if self.idle.is_above(Mark::High) {
            self.evict_pause = self.slots.len() / 10;
        }
    }

    /// Gives back every input whose turn has not begun.
    pub(super) async fn give_back(&mut self) {
        self.ready.clear();
        let mut inputs: Vec<InputMsg> = self.slots.values_mut().flat_map(|slot| slot.inputs.drain(..)).collect();
        self.waiting -= inputs.len();
        // They come again in this order.
        inputs.sort_unstable_by_key(InputMsg::seq);
        give_back(inputs).await;
    }

    /// Ends every turn, pays every debt and forgets everything.
    pub(super) async fn close(&mut self) {
        loop {
            let owing: Vec<EntityId> = self.debts.drain(..).map(|(_, id)| id).collect();
            for id in owing {
                if self.slots.get(&id).is_some_and(|slot| slot.state == State::Idle && slot.due.is_some()) {
                    self.begin(id, Patience::None);
                }
            }
            match self.under_way.next().await {
                Some(Some(turned)) => self.end(turned),
                Some(None) => {}
                None => break,
            }
        }
        self.forget();
    }
}

/// Keeps a message that cannot be believed for people. Where that fails it comes again.
async fn put_away(shell: Arc<Shell>, input: InputMsg) -> Option<Turned> {
    let reason = input.input.as_ref().err()?;
    let kept = shell.quarantine_input(&input.raw, reason).await;
    match (kept, input.delivery) {
        (Ok(()), Some(delivery)) => delivery.ack.ack().await,
        (Ok(()), None) => {}
        (Err(error), _) => tracing::warn!(%error, "the quarantine does not take a message"),
    }
    None
}
