//! One decision of a turn: its inputs are believed or not, answered, stored, and what follows is done.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
};

use jiff::Timestamp;
use rr_core::{Decided, Effect, Heard};
use rr_nats::{Answered, InputMsg, RawMessage};
use rr_schemas::{
    decision::{Event, Record},
    flow::check::Problem,
    id::Partition,
    input::Input,
    name::WorkerName,
    offer::Target,
    planted::{self, Bug},
};
use tokio::sync::OnceCell;

use super::Acks;
use crate::{
    append::append,
    around::look_around,
    entity::Entity,
    perform::{UNDER_WAY_MAX, perform},
    shell::Shell,
    token::is_borne,
    trouble::{Trouble, TurnError},
};

/// A decision with more effects than this may take seconds to perform, so people see it before: one round of effects.
const MANY_EFFECTS: usize = UNDER_WAY_MAX;

/// Inputs of a turn that are not answered yet.
pub(super) struct Queue<'a> {
    waiting: VecDeque<Heard>,
    /// The messages behind the inputs, by sequence, in order.
    messages: Vec<(u64, RawMessage)>,
    acks: &'a Acks,
    partition: Partition,
    answered: OnceCell<Answered>,
    /// When the entity's timer fired, if it did.
    pub(super) timer: Option<Timestamp>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(inputs: Vec<InputMsg>, cursor: u64, acks: &'a Acks, partition: Partition) -> Self {
        let messages = Vec::with_capacity(inputs.len());
        let (waiting, answered) = (VecDeque::new(), OnceCell::new());
        let mut queue = Self { waiting, messages, acks, partition, answered, timer: None };
        let mut sorted = inputs;
        sorted.sort_by_key(InputMsg::seq);
        sorted.dedup_by_key(|input| input.seq());
        for message in sorted {
            let (seq, at) = (message.seq(), message.at());
            // What cannot be read is dealt with where it is delivered.
            let Ok(input) = message.input else { continue };
            // A fired timer voids every arming before it, also where its input was answered long ago.
            if matches!(input, Input::Timer {}) {
                queue.timer = queue.timer.max(Some(at));
            }
            if seq > cursor {
                queue.waiting.push_back(Heard::new(seq, at, message.source, input));
                queue.messages.push((seq, message.raw));
            }
        }
        queue
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The inputs of the next decision. Until the run is submitted nothing of its tasks is known, so a submit is
    /// answered before anything else is judged.
    fn next(&mut self, exists: bool, inputs_max: usize) -> Vec<Heard> {
        let n = if exists {
            inputs_max
        } else {
            let submit = self.waiting.iter().position(|heard| matches!(heard.input, Input::Submit(_)));
            submit.map_or(inputs_max, |index| (index + 1).min(inputs_max))
        };
        self.waiting.drain(..n.min(self.waiting.len())).collect()
    }

    /// Keeps an input that is not believed for people. One that was read from the log may have been judged before: then it
    /// was acknowledged. Else whoever gets it finds it answered, and says nothing.
    async fn quarantine(&self, shell: &Shell, seq: u64, reason: &str) -> Result<(), TurnError> {
        let Ok(index) = self.messages.binary_search_by_key(&seq, |(seq, _)| *seq) else { return Ok(()) };
        let Some((_, message)) = self.messages.get(index) else { return Ok(()) };
        let is_held = self.acks.contains_key(&seq);
        if !is_held && (shell.has_quarantined(seq) || self.answered(shell).await?.covers(seq)) {
            return Ok(());
        }
        Ok(shell.quarantine_input(message, reason).await?)
    }

    /// What was answered when this turn asked first.
    async fn answered(&self, shell: &Shell) -> Result<Answered, TurnError> {
        Ok(*self.answered.get_or_try_init(|| shell.mesh.answered(self.partition)).await?)
    }
}

/// One decision: its inputs are believed or not, answered, stored, and what follows is done.
pub(super) async fn step(
    shell: &Shell,
    entity: &mut Entity,
    queue: &mut Queue<'_>,
    trouble: &Trouble,
) -> Result<(), TurnError> {
    let taken = queue.next(entity.run.exists(), trouble.inputs_max);
    if let Some((heard, reason)) = taken.first().and_then(|heard| Some((heard, trouble.aside(heard.seq)?))) {
        return put_aside(shell, entity, queue, heard, reason).await;
    }
    let taken = with_surroundings(shell, entity, taken).await?;
    let upto_all = taken.last().map_or(entity.cursor, |heard| heard.seq);
    let (mut heard, mut odd) = (Vec::with_capacity(taken.len()), Vec::new());
    for input in taken {
        if !is_borne(&entity.secret, &entity.run_id, &input.source, &input.input) {
            odd.push((input.seq, "does not bear the token of its offer"));
            continue;
        }
        let has_tokens = !entity.secret.is_empty();
        match shell.lanes.believe(&shell.mesh, &entity.run, &input, has_tokens).await? {
            Ok(()) => heard.push(input),
            Err(reason) => odd.push((input.seq, reason)),
        }
    }
    let Decided { answered, records, unbelieved } = decide(entity, &heard)?;
    odd.extend(unbelieved);
    // What changes nothing is not compared with what is stored.
    if !odd.is_empty() || records.is_empty() && upto_all > entity.cursor {
        must_be_newest(shell, entity).await?;
    }
    for (seq, reason) in odd {
        queue.quarantine(shell, seq, reason).await?;
    }
    let first = heard.first().map_or(0, |heard| heard.seq);
    // Having looked again and found nothing to say is an answer; wanting to look again for ever is not.
    if answered == 0 && records.is_empty() && upto_all == entity.cursor && entity.run.more() {
        return Err(TurnError::Parked("the core does not go on".to_owned()));
    }
    let upto = if answered == heard.len() {
        upto_all
    } else {
        answered.checked_sub(1).and_then(|last| heard.get(last)).map_or(entity.cursor, |heard| heard.seq)
    };
    for rest in heard.drain(answered..).rev() {
        queue.waiting.push_front(rest);
    }
    if records.is_empty() {
        entity.cursor = entity.cursor.max(upto);
        return Ok(());
    }
    let upto = upto.max(entity.cursor);
    let stored = match append(shell, entity, upto, records).await {
        Err(error @ TurnError::TooLarge) if trouble.inputs_max == 1 => {
            return Err(TurnError::Broken { seq: first, reason: error.to_string() });
        }
        stored => stored?,
    };
    log(entity, &stored);
    let mut effects = entity.run.effects(&stored);
    effects.extend(left_behind(shell, entity, &stored).await);
    if effects.len() > MANY_EFFECTS {
        show_early(shell, entity).await;
    }
    perform(shell, entity, effects).await
}

/// Fails where somebody has decided beyond what this coordinator knows: what it does not believe, or has nothing to say to, may
/// speak of that. All inputs here were read before this is asked, so they speak of nothing that is decided later.
async fn must_be_newest(shell: &Shell, entity: &Entity) -> Result<(), TurnError> {
    if planted::bites(Bug::OvertakenUnasked) {
        return Ok(());
    }
    let last = shell.mesh.last_decision(&entity.id).await?;
    if last.map_or(0, |last| last.seq) == entity.tip.seq { Ok(()) } else { Err(TurnError::Stale) }
}

/// Offers that nobody takes away. Whoever has ended an attempt acknowledges its offer, but in vain where its consumer was
/// removed meanwhile, and whoever serves the host next would get what is over.
pub(super) async fn left_behind(shell: &Shell, entity: &Entity, stored: &[Record]) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut there: HashMap<&WorkerName, bool> = HashMap::new();
    for record in stored {
        let (Event::Ended { task, attempt, by: Some(by), .. } | Event::Late { task, attempt, by, .. }) = &record.event
        else {
            continue;
        };
        let is_of_host = matches!(entity.run.plan().and_then(|plan| plan.target(*task)), Some(Target::Host(_)));
        if !is_of_host {
            continue;
        }
        let is_there = match there.get(&by.worker) {
            Some(is_there) => *is_there,
            None => match shell.lanes.has_lane(&shell.mesh, &by.worker).await {
                Ok(is_there) => *there.entry(&by.worker).or_insert(is_there),
                // Who cannot be asked for is taken to be there, as nearly everybody is.
                Err(_) => break,
            },
        };
        if !is_there {
            effects.push(Effect::Withdraw { task: *task, attempt: *attempt });
        }
    }
    effects
}

/// Shows what is decided before the world is told of it, which may take long. A debt that is not paid here stays owed.
async fn show_early(shell: &Shell, entity: &mut Entity) {
    match shell.show(entity).await {
        Ok(()) => entity.debts.shown(entity.tip.n),
        Err(error) => tracing::debug!(run.id = %entity.run_id, %error, "the status is written later"),
    }
}

/// Looks around for a submit that begins a run.
async fn with_surroundings(shell: &Shell, entity: &Entity, mut taken: Vec<Heard>) -> Result<Vec<Heard>, TurnError> {
    if entity.run.exists() {
        return Ok(taken);
    }
    for heard in &mut taken {
        if let Input::Submit(submit) = &heard.input {
            heard.around = look_around(shell, submit).await?;
        }
    }
    Ok(taken)
}

/// A panic in the core is one input's failure, not the partition's.
fn decide(entity: &mut Entity, heard: &[Heard]) -> Result<Decided, TurnError> {
    let run = &mut entity.run;
    catch_unwind(AssertUnwindSafe(|| run.decide(heard))).map_err(|_| TurnError::Broken {
        seq: heard.first().map_or(0, |heard| heard.seq),
        reason: "the core panics".to_owned(),
    })
}

/// Leaves an input behind that cannot be answered, so that the cursor moves. A run that cannot even be submitted is
/// rejected: nothing else would ever end it.
async fn put_aside(
    shell: &Shell,
    entity: &mut Entity,
    queue: &Queue<'_>,
    heard: &Heard,
    reason: &str,
) -> Result<(), TurnError> {
    must_be_newest(shell, entity).await?;
    queue.quarantine(shell, heard.seq, reason).await?;
    let mut events = vec![Event::PutAside { input: heard.seq, reason: reason.to_owned() }];
    if !entity.run.exists() && matches!(heard.input, Input::Submit(_)) {
        let problem = Problem::new("", format!("this coordinator cannot run it: {reason}"));
        events.push(Event::Rejected { problems: vec![problem] });
    }
    let record = |event| Record { cause: heard.seq, at: heard.at, event };
    let records: Vec<Record> = events.into_iter().map(record).collect();
    for record in &records {
        entity.run.apply(record).map_err(|illegal| TurnError::Parked(illegal.to_string()))?;
    }
    let stored = append(shell, entity, heard.seq, records).await?;
    log(entity, &stored);
    Ok(())
}

/// The log reads like the event log: one line for each change of the run's state, details at debug.
fn log(entity: &Entity, records: &[Record]) {
    let flow = || entity.run.plan().map_or("", |plan| plan.flow().as_str());
    for record in records {
        match &record.event {
            Event::Submitted { by, .. } => {
                tracing::info!(run.id = %entity.run_id, flow.name = flow(), by, "run started");
            }
            Event::Rejected { problems } => {
                tracing::info!(run.id = %entity.run_id, problems = problems.len(), "run rejected");
            }
            Event::Signalled { signal, by, .. } => {
                tracing::info!(run.id = %entity.run_id, %signal, by, "signal given");
            }
            Event::CancelRequested { by, .. } => tracing::info!(run.id = %entity.run_id, by, "run is being cancelled"),
            Event::DeadlinePassed {} => tracing::info!(run.id = %entity.run_id, "run is out of time"),
            Event::RunEnded { status } => {
                tracing::info!(run.id = %entity.run_id, flow.name = flow(), status = status.word(), "run ended");
            }
            Event::PutAside { input, reason } => {
                tracing::error!(run.id = %entity.run_id, stream.seq = input, reason, "input put aside");
            }
            Event::Offered { .. }
            | Event::Started { .. }
            | Event::Extended { .. }
            | Event::Ended { .. }
            | Event::Held { .. }
            | Event::Returned { .. }
            | Event::Late { .. }
            | Event::JobEnded { .. } => {
                tracing::debug!(run.id = %entity.run_id, cause = record.cause, event = ?record.event, "decided");
            }
        }
    }
}
