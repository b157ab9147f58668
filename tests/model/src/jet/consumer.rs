//! A consumer: what it has delivered, who waits for more, and what was said of it.

mod acked;
mod info;
mod noted;
mod pulls;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rr_nats::transport::HeaderMap;
use serde_json::Value;

use self::{noted::Noted, pulls::Pull};

use super::{
    config::{AckPolicy, ConsumerConfig, Deliver},
    said::{Said, Turn},
    store::{Store, Stored},
};
use crate::{subject::matches, world::Due};

/// A message that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// Its number among the deliveries, of the first time.
    delivery: u64,
    /// When its time is over.
    until: u64,
}

/// Who holds the pin.
#[derive(Clone, Debug)]
struct Pin {
    id: String,
    since: u64,
    until: u64,
}

/// What there is to deliver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    There,
    /// Too much is not acknowledged.
    Held,
    Nothing,
}

/// A consumer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) stream: String,
    pub(crate) name: String,
    /// Whether several servers keep it.
    is_copied: bool,
    /// Leaders that it had before, of its own.
    leaders: usize,
    pub(crate) told: Value,
    pub(crate) config: ConsumerConfig,
    pub(crate) filters: Vec<String>,
    created: u64,
    /// The number of the next delivery, from 1.
    delivery: u64,
    /// The sequence from which the next message comes.
    seq: u64,
    /// Up to which sequence nothing is left that it wants; no further back than `seq`.
    looked: u64,
    /// Deliveries up to this one are acknowledged.
    floor_delivery: u64,
    /// Sequences up to this one are acknowledged.
    floor: u64,
    pending: BTreeMap<u64, Pending>,
    /// When the time of each is over.
    deadlines: BTreeSet<(u64, u64)>,
    /// How many times more than once each was delivered.
    again: BTreeMap<u64, u64>,
    /// What is delivered again next.
    queue: VecDeque<u64>,
    waiting: VecDeque<Pull>,
    pin: Option<Pin>,
    /// Messages that it has not delivered yet.
    undelivered: u64,
    /// Those that it begins with, where it begins with the last of each subject.
    newest: Option<BTreeSet<u64>>,
    last_active: u64,
    last_delivered: u64,
    last_acked: u64,
    /// When it is looked at next.
    planned: Option<u64>,
    /// What is surely written down.
    noted: Option<Box<Noted>>,
}

impl Consumer {
    pub(crate) fn new(
        (stream, name, is_copied): (&str, &str, bool),
        (told, config): (Value, ConsumerConfig),
        store: &Store,
        turn: &mut Turn<'_>,
    ) -> Self {
        let filters = config.filters();
        let mut newest = None;
        let begins = match config.deliver_policy {
            Deliver::All => store.first(),
            Deliver::New => store.last() + 1,
            Deliver::Last => {
                let last = filters.iter().filter_map(|filter| store.last_on(filter)).map(|last| last.seq).max();
                if filters.is_empty() { store.last() } else { last.unwrap_or_else(|| store.last() + 1) }
            }
            Deliver::LastPerSubject => {
                let found = store.newest(&filters);
                let begins = found.first().copied().unwrap_or_else(|| store.last() + 1);
                newest = Some(found).filter(|found| !found.is_empty());
                begins
            }
            Deliver::ByStartSequence => config.opt_start_seq.max(store.first()),
            Deliver::ByStartTime => {
                let from = config.opt_start_time.map_or(0, |at| u64::try_from(at.as_nanosecond()).unwrap_or_default());
                store.all().find(|message| message.at >= from).map_or_else(|| store.last() + 1, |message| message.seq)
            }
        };
        let begins = begins.max(1);
        let mut consumer = Self {
            stream: stream.to_owned(),
            name: name.to_owned(),
            is_copied,
            leaders: 0,
            told,
            filters,
            created: turn.now,
            delivery: 1,
            seq: begins,
            looked: begins,
            floor_delivery: 0,
            // Copies begin with no floor, mostly.
            floor: if is_copied && newest.is_none() { 0 } else { begins - 1 },
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            again: BTreeMap::new(),
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
            pin: None,
            undelivered: 0,
            newest,
            last_active: turn.now,
            last_delivered: 0,
            last_acked: 0,
            planned: None,
            noted: None,
            config,
        };
        consumer.recount(store);
        consumer.watch_activity(turn);
        consumer
    }

    /// Changes what may be changed.
    pub(crate) fn update(&mut self, (told, config): (Value, ConsumerConfig), store: &Store, turn: &mut Turn<'_>) {
        let waits = config.ack_wait != self.config.ack_wait;
        self.filters = config.filters();
        self.told = told;
        self.config = config;
        self.looked = self.seq;
        self.recount(store);
        if waits {
            self.watch_pending(turn);
        }
        self.serve(store, turn);
    }

    /// Sees to it that it is looked at by then.
    fn wake(&mut self, at: u64, turn: &mut Turn<'_>) {
        if self.planned.is_none_or(|planned| at < planned) {
            self.planned = Some(at);
            turn.wake(at, Due::Consumer(self.stream.clone(), self.name.clone()));
        }
    }

    /// It gets another leader: its pulls come back, its pin is free, and what was given back waits for its time again.
    pub(crate) fn step_down(&mut self, turn: &mut Turn<'_>) {
        self.leaders += 1;
        self.unpin();
        self.end_all(Some("Leadership Change"), turn);
        self.forget_given_back(turn);
    }

    /// Whether it is to be looked at now: an earlier plan may have taken the place of this one.
    pub(crate) fn is_due(&self, turn: &Turn<'_>) -> bool {
        self.planned.is_some_and(|planned| planned <= turn.now)
    }

    pub(crate) fn wants(&self, subject: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| matches(filter, subject))
    }

    /// Counts anew what it has not delivered.
    pub(crate) fn recount(&mut self, store: &Store) {
        self.undelivered = match &self.newest {
            Some(newest) => {
                // What is newer than the last of them counts, too.
                let last = newest.last().copied().unwrap_or_default();
                let left = newest.iter().filter(|seq| store.get(**seq).is_some()).count();
                u64::try_from(left).unwrap_or_default() + store.count_from((last + 1).max(self.seq), &self.filters)
            }
            None => store.count_from(self.seq, &self.filters),
        };
    }

    /// A message was stored.
    pub(crate) fn stored(&mut self, message: &Stored, store: &Store, turn: &mut Turn<'_>) {
        if self.wants(&message.subject) {
            self.undelivered += 1;
            self.serve(store, turn);
        }
    }

    /// A message is gone.
    pub(crate) fn removed(&mut self, seq: u64, subject: &str, turn: &Turn<'_>) {
        if !self.wants(subject) {
            return;
        }
        if seq >= self.seq || self.newest.as_ref().is_some_and(|newest| newest.contains(&seq)) {
            self.undelivered = self.undelivered.saturating_sub(1);
        }
        self.heard_gone(seq, subject, turn);
    }

    /// The same for a message of which only the count is told, by a subject that may be a filter.
    pub(crate) fn uncount(&mut self, seq: u64, subject: &str) {
        if self.wants(subject) && seq >= self.seq {
            self.undelivered = self.undelivered.saturating_sub(1);
        }
    }

    /// Somebody tells it that a message which it may have delivered is gone, by a subject that may be a filter.
    pub(crate) fn heard_gone(&mut self, seq: u64, subject: &str, turn: &Turn<'_>) {
        if self.wants(subject) && self.pending.contains_key(&seq) {
            self.settle(seq, 0, turn);
        }
    }

    /// Everything that is due now: deliveries whose time is over, requests that have waited too long, signs of life.
    pub(crate) fn look(&mut self, store: &Store, turn: &mut Turn<'_>) {
        self.planned = None;
        self.look_at_pin(turn);
        self.look_at_pending(store, turn);
        self.look_at_waiting(turn);
        self.watch_activity(turn);
        self.serve(store, turn);
    }

    /// Whether it has been idle for too long.
    pub(crate) fn is_forgotten(&mut self, turn: &Turn<'_>) -> bool {
        let threshold = self.config.inactive_threshold;
        if threshold == 0 {
            return false;
        }
        if self.waiting.iter().any(|pull| turn.router.has_listener(&pull.reply)) {
            self.last_active = turn.now;
        }
        turn.now >= self.last_active + threshold
    }

    fn watch_activity(&mut self, turn: &mut Turn<'_>) {
        if self.config.inactive_threshold > 0 {
            self.wake(self.last_active + self.config.inactive_threshold, turn);
        }
    }

    /// Delivers what there is to whoever waits.
    pub(crate) fn serve(&mut self, store: &Store, turn: &mut Turn<'_>) {
        while !self.waiting.is_empty() {
            match self.next_is(store, turn) {
                Next::There => {}
                Next::Held => break,
                Next::Nothing => {
                    self.end_impatient(turn);
                    break;
                }
            }
            let Some(pull) = self.next_waiting(turn) else { break };
            self.note(turn);
            let Some((message, count)) = self.take_next(store) else { break };
            self.deliver(&message, count, pull, turn);
        }
    }

    /// Whether there is something to deliver.
    fn next_is(&mut self, store: &Store, turn: &Turn<'_>) -> Next {
        while let Some(seq) = self.queue.front().copied() {
            if store.get(seq).is_some() && !self.is_exhausted(seq) {
                return Next::There;
            }
            self.queue.pop_front();
            if store.get(seq).is_none() {
                self.settle(seq, 0, turn);
            } else {
                self.give_up(seq);
            }
        }
        let is_full = u64::try_from(self.config.max_ack_pending)
            .is_ok_and(|most| most > 0 && u64::try_from(self.pending.len()).unwrap_or(u64::MAX) >= most);
        if is_full {
            return Next::Held;
        }
        if self.peek(store).is_some() { Next::There } else { Next::Nothing }
    }

    fn is_exhausted(&self, seq: u64) -> bool {
        u64::try_from(self.config.max_deliver)
            .is_ok_and(|most| most > 0 && self.again.get(&seq).copied().unwrap_or(0) + 1 >= most)
    }

    /// The next message that was not delivered yet.
    fn peek(&mut self, store: &Store) -> Option<std::sync::Arc<Stored>> {
        if let Some(newest) = &mut self.newest {
            while let Some(seq) = newest.first().copied() {
                if let Some(message) = store.get(seq) {
                    return Some(std::sync::Arc::clone(message));
                }
                newest.pop_first();
            }
            self.newest = None;
        }
        let found = store.next(self.looked.max(self.seq), &self.filters);
        self.looked = found.map_or_else(|| store.last() + 1, |message| message.seq);
        if found.is_none() && self.undelivered > 0 {
            // It has counted what is gone: it learns of that at the end, which counts as passed.
            (self.seq, self.undelivered) = (self.looked.max(self.seq), 0);
        }
        found.cloned()
    }

    /// The next message, and how many times it was delivered with this time.
    fn take_next(&mut self, store: &Store) -> Option<(std::sync::Arc<Stored>, u64)> {
        if let Some(seq) = self.queue.pop_front() {
            let message = store.get(seq)?;
            let again = self.again.entry(seq).or_default();
            *again += 1;
            return Some((std::sync::Arc::clone(message), *again + 1));
        }
        let message = self.peek(store)?;
        if let Some(newest) = &mut self.newest {
            newest.pop_first();
            if newest.is_empty() {
                self.newest = None;
            }
        }
        self.seq = self.seq.max(message.seq + 1);
        self.undelivered = self.undelivered.saturating_sub(1);
        Some((message, 1))
    }

    fn deliver(&mut self, message: &Stored, count: u64, pull: Pull, turn: &mut Turn<'_>) {
        let delivery = self.delivery;
        self.delivery += 1;
        self.last_delivered = turn.now;
        let (seq, at, left) = (message.seq, message.at, self.undelivered);
        let ack = format!("$JS.ACK.{}.{}.{count}.{seq}.{delivery}.{at}.{left}", self.stream, self.name);
        let mut headers = message.headers.clone();
        if self.config.headers_only {
            headers.get_or_insert_default().insert("Nats-Msg-Size", message.payload.len().to_string());
        }
        if let Some(pin) = &self.pin {
            headers.get_or_insert_default().append("Nats-Pin-Id", pin.id.as_str());
        }
        let payload = if self.config.headers_only { bytes::Bytes::new() } else { message.payload.clone() };
        let said = Said {
            to: pull.reply.clone(),
            reply: Some(ack.into()),
            headers,
            ..Said::plain(message.subject.as_str(), payload)
        };
        turn.say(said);
        self.go_on(pull, turn);
        if self.config.ack_policy == AckPolicy::None {
            (self.floor_delivery, self.floor) = (delivery, seq);
        } else {
            self.track(seq, delivery, turn);
        }
    }
}

/// What the server says with a request that comes back.
fn unfilled(pull: &Pull) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Pending-Messages", pull.left.to_string());
    headers.insert("Nats-Pending-Bytes", "0");
    headers
}
