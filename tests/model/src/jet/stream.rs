//! A stream: what it takes, what it keeps, and its consumers.

mod expected;
mod publish;
mod schedule;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use self::{publish::Proposal, schedule::Armed};
use super::{
    config::{Discard, Retention, StreamConfig},
    consumer::Consumer,
    said::{Said, Turn, written},
    store::{Store, Stored},
};
use crate::{
    subject::{covers, matches},
    world::Due,
};

/// A stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) told: Value,
    pub(crate) config: StreamConfig,
    pub(crate) store: Store,
    pub(crate) consumers: BTreeMap<String, Consumer>,
    created: u64,
    /// Whether its copies agree on everything before it is stored.
    agrees: bool,
    /// What its copies have not agreed on yet, in the order in which it will be stored.
    proposed: VecDeque<Proposal>,
    /// When the last of them will be.
    agreed_at: u64,
    /// Ids of messages, with the sequence of each and the time until which it counts.
    ids: BTreeMap<String, (u64, u64)>,
    ids_until: VecDeque<(u64, String)>,
    last_id: String,
    /// When messages go by themselves.
    expiries: BTreeSet<(u64, u64)>,
    /// Timers, by their subject.
    armed: BTreeMap<String, Armed>,
    /// The last timer of a subject that has given way to another one: see [`Stream::bring_back`].
    gave_way: BTreeMap<String, Arc<Stored>>,
    /// When the server looks at them next.
    fires_at: Option<u64>,
    /// When it is looked at next for any of these.
    planned: Option<u64>,
    /// Whether nobody leads it.
    is_leaderless: bool,
    /// Leaders that it had before.
    leaders: usize,
    /// Whether it takes nothing, whatever its limits are.
    pub(crate) is_filled: bool,
}

impl Stream {
    pub(crate) fn new((told, config): (Value, StreamConfig), agrees: bool, turn: &Turn<'_>) -> Self {
        Self {
            store: Store::beginning(config.first_seq),
            told,
            config,
            consumers: BTreeMap::new(),
            created: turn.now,
            agrees,
            proposed: VecDeque::new(),
            agreed_at: 0,
            ids: BTreeMap::new(),
            ids_until: VecDeque::new(),
            last_id: String::new(),
            expiries: BTreeSet::new(),
            armed: BTreeMap::new(),
            gave_way: BTreeMap::new(),
            fires_at: None,
            planned: None,
            is_leaderless: false,
            leaders: 0,
            is_filled: false,
        }
    }

    /// Has another configuration from now on.
    pub(crate) fn update(&mut self, (told, config): (Value, StreamConfig), agrees: bool, turn: &Turn<'_>) {
        (self.told, self.config, self.agrees) = (told, config, agrees);
        let subjects: Vec<String> = self.store.subjects().keys().cloned().collect();
        if self.config.discard == Discard::Old {
            for subject in subjects {
                self.make_room(&subject, turn);
            }
        }
    }

    /// Whether what is published to a subject is stored here.
    pub(crate) fn takes(&self, subject: &str) -> bool {
        self.config.subjects.iter().any(|filter| matches(filter, subject))
    }

    /// Whether its copies agree on everything.
    pub(crate) const fn agrees(&self) -> bool {
        self.agrees
    }

    /// Whether its copies have something to agree on.
    pub(crate) fn is_disagreeing(&self) -> bool {
        !self.proposed.is_empty()
    }

    pub(crate) const fn is_led(&self) -> bool {
        !self.is_leaderless
    }

    /// How many led it before the one who does; none where nobody does.
    pub(crate) fn led_before(&self) -> Option<usize> {
        self.is_led().then_some(self.leaders)
    }

    /// Sees to it that it is looked at by then.
    fn wake(&mut self, at: u64, turn: &mut Turn<'_>) {
        if self.planned.is_none_or(|planned| at < planned) {
            self.planned = Some(at);
            turn.wake(at, Due::Stream(self.config.name.clone()));
        }
    }

    /// Something may be due: an earlier plan may have taken the place of this one.
    pub(crate) fn due(&mut self, turn: &mut Turn<'_>) {
        if !self.is_leaderless && self.planned.is_some_and(|planned| planned <= turn.now) {
            self.look(turn);
        }
    }

    /// Does what is due by now: what copies have agreed on, messages that have run out, timers.
    fn look(&mut self, turn: &mut Turn<'_>) {
        self.planned = None;
        self.agree(turn);
        while let Some((at, seq)) = self.expiries.first().copied().filter(|(at, _)| *at <= turn.now) {
            self.expiries.remove(&(at, seq));
            self.remove(seq, turn);
        }
        self.fire(turn);
        let proposed = self.proposed.front().map(|proposal| proposal.at);
        let expires = self.expiries.first().map(|(at, _)| *at);
        if let Some(next) = [proposed, expires, self.fires_at].into_iter().flatten().min() {
            self.wake(next, turn);
        }
    }

    /// Something of a consumer is due.
    pub(crate) fn consumer_due(&mut self, name: &str, turn: &mut Turn<'_>) {
        let Some(consumer) = self.consumers.get_mut(name).filter(|consumer| consumer.is_due(turn)) else { return };
        if consumer.is_forgotten(turn) {
            consumer.end_all(Some("Consumer Deleted"), turn);
            self.consumers.remove(name);
        } else {
            consumer.look(&self.store, turn);
        }
    }

    /// Somebody says something of a delivery.
    pub(crate) fn told(&mut self, name: &str, place: (u64, u64), said: &Said, turn: &mut Turn<'_>) {
        let Some(consumer) = self.consumers.get_mut(name) else { return };
        let (heard, done) = consumer.told(place, &said.payload, &self.store, turn);
        if let Some(seq) = done.filter(|_| self.config.retention == Retention::WorkQueue) {
            self.remove(seq, turn);
        }
        if heard {
            turn.answer(said.reply.as_ref(), bytes::Bytes::new());
        }
        // There may be room for more.
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.serve(&self.store, turn);
        }
    }

    /// Removes a message. Says whether it was there.
    pub(crate) fn remove(&mut self, seq: u64, turn: &Turn<'_>) -> bool {
        let Some(removed) = self.store.remove(seq) else { return false };
        for consumer in self.consumers.values_mut() {
            consumer.removed(seq, &removed.subject, turn);
        }
        if self.armed.get(&removed.subject).is_some_and(|armed| armed.seq == seq) {
            self.armed.remove(&removed.subject);
        }
        true
    }

    /// Removes what a filter matches (everything, where there is none) below a sequence, all but the newest `keep`. Says how
    /// many that were.
    pub(crate) fn purge(
        &mut self,
        filter: Option<&str>,
        below: Option<u64>,
        keep: usize,
        turn: &mut Turn<'_>,
    ) -> usize {
        let is_meant = |message: &Stored| {
            filter.is_none_or(|filter| matches(filter, &message.subject)) && below.is_none_or(|seq| message.seq < seq)
        };
        let mut gone: Vec<(u64, String)> =
            self.store.all().filter(|message| is_meant(message)).map(|m| (m.seq, m.subject.clone())).collect();
        gone.truncate(gone.len().saturating_sub(keep));
        for (seq, subject) in &gone {
            self.store.remove(*seq);
            if self.armed.get(subject).is_some_and(|armed| armed.seq == *seq) {
                self.armed.remove(subject);
            }
        }
        // Of a single message those consumers hear whose filter matches that of the purge; of more all of them find out.
        let one = gone.first().map(|(seq, _)| *seq).zip(filter).filter(|_| gone.len() == 1);
        for consumer in self.consumers.values_mut().filter(|_| !gone.is_empty()) {
            match one {
                Some((seq, filter)) => consumer.uncount(seq, filter),
                None => consumer.recount(&self.store),
            }
        }
        self.tell_purged(filter, turn);
        if let Some((seq, filter)) = one {
            for consumer in self.consumers.values_mut() {
                consumer.heard_gone(seq, filter, turn);
            }
        }
        gone.len()
    }

    /// Consumers go on behind what was purged, by the server's rules.
    fn tell_purged(&mut self, filter: Option<&str>, turn: &mut Turn<'_>) {
        let (first, last) = (self.store.first(), self.store.last());
        for consumer in self.consumers.values_mut() {
            let wants_no_more = |filter: &str| {
                !consumer.filters.is_empty() && consumer.filters.iter().all(|wanted| covers(filter, wanted))
            };
            let wants_more = |filter: &str| {
                let mut filters = consumer.filters.iter();
                consumer.filters.is_empty() || filters.any(|wanted| covers(wanted, filter) || covers(filter, wanted))
            };
            match filter {
                None => consumer.purged(first, false, &self.store, turn),
                Some(filter) if wants_no_more(filter) => {
                    let left = self.store.next(0, &consumer.filters);
                    let from = left.map_or_else(|| last + 1, |message| message.seq);
                    consumer.purged(from, false, &self.store, turn);
                }
                Some(filter) if wants_more(filter) => consumer.purged(first, true, &self.store, turn),
                Some(_) => {}
            }
            consumer.serve(&self.store, turn);
        }
    }

    /// What the server tells of it.
    pub(crate) fn info(&self, cluster: &Value, turn: &Turn<'_>) -> Value {
        let store = &self.store;
        let first_at = store.oldest().map_or(0, |message| message.at);
        let is_new = store.last() == 0;
        let mut state = json!({
            "messages": store.len(),
            "bytes": store.bytes(),
            "first_seq": if is_new { 0 } else { store.first() },
            "first_ts": written(first_at),
            "last_seq": store.last(),
            "last_ts": written(store.last_at),
            "consumer_count": self.consumers.len(),
        });
        if let Some(fields) = state.as_object_mut() {
            if store.len() > 0 {
                fields.insert("num_subjects".to_owned(), store.subjects().len().into());
            }
            let span = (store.last() + 1).saturating_sub(store.first());
            let holes = span.saturating_sub(u64::try_from(store.len()).unwrap_or_default());
            if holes > 0 {
                fields.insert("num_deleted".to_owned(), holes.into());
            }
        }
        json!({
            "config": self.told,
            "created": written(self.created),
            "state": state,
            "cluster": cluster,
            "ts": written(turn.now),
        })
    }

    /// Whether a message of these bytes finds room, or why not.
    fn has_room(&self, size: u64, subject: &str) -> Result<(), &'static str> {
        if self.is_filled {
            return Err("maximum bytes exceeded");
        }
        if self.config.discard == Discard::Old {
            return Ok(());
        }
        // Where the subject is full its oldest message makes room.
        let replaces = u64::try_from(self.config.max_msgs_per_subject)
            .is_ok_and(|most| most > 0 && u64::try_from(self.store.count_on(subject)).unwrap_or(u64::MAX) >= most);
        let freed = self.store.first_on(subject).and_then(|seq| self.store.get(seq)).filter(|_| replaces);
        let (n_freed, freed) = freed.map_or((0, 0), |message| (1, message.size()));
        let n = u64::try_from(self.store.len()).unwrap_or(u64::MAX) - n_freed;
        if u64::try_from(self.config.max_msgs).is_ok_and(|most| most > 0 && n >= most) {
            return Err("maximum messages exceeded");
        }
        let bytes = self.store.bytes() - freed + size;
        if u64::try_from(self.config.max_bytes).is_ok_and(|most| most > 0 && bytes > most) {
            return Err("maximum bytes exceeded");
        }
        Ok(())
    }

    /// Removes what is too much.
    fn make_room(&mut self, subject: &str, turn: &Turn<'_>) {
        let over = |most: i64, n: u64| u64::try_from(most).is_ok_and(|most| most > 0 && n > most);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        while over(self.config.max_msgs_per_subject, count(self.store.count_on(subject))) {
            let Some(seq) = self.store.first_on(subject) else { break };
            self.remove(seq, turn);
        }
        while over(self.config.max_msgs, count(self.store.len())) || over(self.config.max_bytes, self.store.bytes()) {
            let Some(seq) = self.store.oldest().map(|message| message.seq) else { break };
            self.remove(seq, turn);
        }
    }

    // What happens to its servers.

    /// The server was away: what was only in its memory is gone.
    pub(crate) fn restarted(&mut self, died: u64, turn: &mut Turn<'_>) {
        self.is_leaderless = false;
        self.bring_back();
        self.proposed.clear();
        self.agreed_at = turn.now;
        self.read_ids(turn);
        self.consumers.retain(|_, consumer| !consumer.config.mem_storage);
        for consumer in self.consumers.values_mut() {
            consumer.unpin();
            consumer.end_all(None, turn);
            consumer.read_again(died, &self.store, turn);
            consumer.look(&self.store, turn);
        }
        self.fires_at = None;
        self.look(turn);
        self.watch_timers(turn);
    }

    /// Its copies agree on nothing until this time, in nanoseconds since 1970.
    pub(crate) fn lose_majority(&mut self, until: u64) {
        self.agreed_at = self.agreed_at.max(until);
        for proposal in &mut self.proposed {
            proposal.at = self.agreed_at;
        }
    }

    /// Its copies agree on what they were asked, from now on.
    pub(crate) fn find_majority(&mut self, turn: &mut Turn<'_>) {
        let mut at = turn.now;
        for proposal in &mut self.proposed {
            at += turn.agreement();
            proposal.at = proposal.at.min(at);
        }
        self.agreed_at = self.agreed_at.min(at);
        if let Some(first) = self.proposed.front().map(|proposal| proposal.at) {
            self.wake(first, turn);
        }
    }

    /// Nobody leads it for a while, nor its consumers.
    pub(crate) fn lose_leader(&mut self, turn: &mut Turn<'_>) {
        self.hand_over(turn);
        self.is_leaderless = true;
        for consumer in self.consumers.values_mut() {
            consumer.unpin();
            consumer.end_all(None, turn);
            consumer.forget_given_back(turn);
        }
    }

    /// Another one leads it at once. Its consumers have leaders of their own, and know nothing of it.
    pub(crate) fn step_down(&mut self, turn: &mut Turn<'_>) {
        self.hand_over(turn);
        self.look(turn);
        self.watch_timers(turn);
    }

    /// Of what its copies have not agreed on a first part is stored, and nobody hears of it.
    fn hand_over(&mut self, turn: &mut Turn<'_>) {
        let kept = turn.rng.usize(..=self.proposed.len());
        self.proposed.truncate(kept);
        for proposal in std::mem::take(&mut self.proposed) {
            self.settle(Proposal { reply: None, ..proposal }, turn);
            turn.count("stored_unheard");
        }
        self.agreed_at = turn.now;
        self.leaders += 1;
    }

    /// Somebody leads it again.
    pub(crate) fn led(&mut self, turn: &mut Turn<'_>) {
        self.is_leaderless = false;
        for consumer in self.consumers.values_mut() {
            consumer.look(&self.store, turn);
        }
        self.look(turn);
        self.watch_timers(turn);
    }
}
