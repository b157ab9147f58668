//! Who is present, by what was read: entries with the time at which each runs out.
//!
//! Invariants: `served` and `instances` say what the entries say; an entry is never replaced by an older one.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
    time::Duration,
};

use rr_schemas::{
    host::Host,
    name::{InstanceId, WorkerName},
    offer::Target,
    presence::{CoordinatorPresence, WorkerPresence},
};
use tokio::time::Instant;

use super::served::Served;
use crate::{
    bucket::{WORKERS, value},
    presence::Presentable as _,
    raw::RawMessage,
    subject,
};

/// Who stands behind a key.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Worker(Arc<WorkerPresence>),
    Coordinator(Arc<CoordinatorPresence>),
}

/// A message of the bucket, read.
#[derive(Clone, Debug)]
pub(super) struct News {
    key: String,
    seq: u64,
    ttl: Option<Duration>,
    /// None when the key was removed, or says another name than its value.
    who: Option<Who>,
}

impl News {
    pub(super) fn read(message: &RawMessage) -> Option<Self> {
        let key = WORKERS.key_of(message)?.to_owned();
        let who = if message.is_removed() { None } else { who(message, &key) };
        Some(Self { key, seq: message.seq, ttl: message.ttl(), who })
    }
}

fn who(message: &RawMessage, key: &str) -> Option<Who> {
    if let Some(worker) = value::<WorkerPresence>(message).ok().filter(|worker| worker.key() == key) {
        return Some(Who::Worker(Arc::new(worker)));
    }
    let coordinator = value::<CoordinatorPresence>(message).ok().filter(|found| found.key() == key)?;
    Some(Who::Coordinator(Arc::new(coordinator)))
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    /// When it runs out; none where it never does, and while the server is asked.
    until: Option<Instant>,
    who: Who,
}

/// An entry whose time has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Overdue {
    pub(super) key: String,
    pub(super) seq: u64,
}

/// Everybody who is present.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<String, Entry>,
    deadlines: BTreeSet<(Instant, String)>,
    served: Served,
    /// Whether it is not complete yet.
    is_being_read: bool,
    /// Keys that were removed while it was read.
    removed: BTreeSet<String>,
    instances: Arc<[InstanceId]>,
}

impl Roster {
    /// The beginning of a view.
    pub(super) fn begun() -> Self {
        Self { is_being_read: true, ..Self::default() }
    }

    /// Takes note of what was read at `now`. Its time to live counts from then: the server let it begin earlier.
    pub(super) fn apply(&mut self, news: News, now: Instant) {
        let News { key, seq, ttl, who } = news;
        if self.entries.get(&key).is_some_and(|entry| entry.seq >= seq) {
            return;
        }
        let Some(who) = who else {
            self.remove(&key);
            if self.is_being_read {
                self.removed.insert(key);
            }
            return;
        };
        self.removed.remove(&key);
        let until = ttl.and_then(|ttl| now.checked_add(ttl));
        let entry = Entry { seq, until, who: who.clone() };
        // The deadline of before goes first: what is read in the same moment has the same one.
        if let Some(before) = self.entries.get(&key).and_then(|entry| entry.until) {
            self.deadlines.remove(&(before, key.clone()));
        }
        self.deadlines.extend(until.map(|until| (until, key.clone())));
        match self.entries.entry(key) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                self.came(&who);
            }
            btree_map::Entry::Occupied(mut occupied) => {
                let before = occupied.insert(entry);
                self.changed(&before.who, &who);
            }
        }
    }

    fn remove(&mut self, key: &str) {
        let Some(Entry { until, who, .. }) = self.entries.remove(key) else { return };
        if let Some(until) = until {
            self.deadlines.remove(&(until, key.to_owned()));
        }
        match who {
            Who::Worker(worker) => self.served.remove(&worker.worker, &worker.serves),
            Who::Coordinator(_) => self.count_coordinators(),
        }
    }

    fn came(&mut self, who: &Who) {
        match who {
            Who::Worker(worker) => self.served.add(&worker.worker, &worker.serves),
            Who::Coordinator(_) => self.count_coordinators(),
        }
    }

    /// Most of what is read renews what was there.
    fn changed(&mut self, before: &Who, now: &Who) {
        match (before, now) {
            (Who::Worker(before), Who::Worker(now)) if before.serves == now.serves => {}
            (Who::Worker(before), Who::Worker(now)) => {
                self.served.remove(&before.worker, &before.serves);
                self.served.add(&now.worker, &now.serves);
            }
            // The key of a coordinator is its instance, and no key is that of a worker and of a coordinator.
            (Who::Coordinator(_) | Who::Worker(_), _) => {}
        }
    }

    fn count_coordinators(&mut self) {
        self.instances = self.coordinators().iter().map(|found| found.instance.clone()).collect();
    }

    /// When the next entry runs out.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Entries that have run out, `max` at most. They stay until [`Roster::settle`] is told what the server says.
    pub(super) fn overdue(&mut self, now: Instant, max: usize) -> Vec<Overdue> {
        let mut found = Vec::new();
        while found.len() < max && self.next_deadline().is_some_and(|until| until <= now) {
            let Some((_, key)) = self.deadlines.pop_first() else { break };
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.until = None;
                found.push(Overdue { seq: entry.seq, key });
            }
        }
        found
    }

    /// Takes note of what became of an entry that had run out.
    pub(super) fn settle(&mut self, overdue: &Overdue, fate: Fate, now: Instant) {
        match fate {
            Fate::Renewed(news) => self.apply(news, now),
            Fate::Gone => {
                if self.entries.get(&overdue.key).is_some_and(|entry| entry.seq == overdue.seq) {
                    self.remove(&overdue.key);
                }
            }
            Fate::Unknown { again } => {
                // It has a deadline where it was read once more meanwhile.
                if let Some(entry) = self.entries.get_mut(&overdue.key).filter(|entry| entry.until.is_none()) {
                    entry.until = Some(again);
                    self.deadlines.insert((again, overdue.key.clone()));
                }
            }
        }
    }

    pub(super) fn workers(&self) -> Vec<Arc<WorkerPresence>> {
        let worker = |entry: &Entry| match &entry.who {
            Who::Worker(worker) => Some(Arc::clone(worker)),
            Who::Coordinator(_) => None,
        };
        self.entries.values().filter_map(worker).collect()
    }

    pub(super) fn coordinators(&self) -> Vec<Arc<CoordinatorPresence>> {
        let coordinator = |entry: &Entry| match &entry.who {
            Who::Coordinator(coordinator) => Some(Arc::clone(coordinator)),
            Who::Worker(_) => None,
        };
        self.entries.values().filter_map(coordinator).collect()
    }

    /// The instances of all coordinators.
    pub(super) fn instances(&self) -> Arc<[InstanceId]> {
        Arc::clone(&self.instances)
    }

    pub(super) fn worker(&self, name: &WorkerName) -> Option<&Arc<WorkerPresence>> {
        match &self.entries.get(&subject::worker_key(name))?.who {
            Who::Worker(worker) => Some(worker),
            Who::Coordinator(_) => None,
        }
    }

    /// Who says that they serve a host.
    pub(super) fn who_shows(&self, host: &Host) -> impl Iterator<Item = &WorkerName> {
        self.served.who(host)
    }

    /// Takes over from the view before this one whoever is in neither way mentioned here: a bucket that was removed and
    /// made again says nothing of them yet. They run out unless they show up again.
    pub(super) fn keep(&mut self, before: &mut Self, now: Instant) {
        let removed = std::mem::take(&mut self.removed);
        self.is_being_read = false;
        for (key, entry) in std::mem::take(&mut before.entries) {
            if removed.contains(&key) || self.entries.contains_key(&key) {
                continue;
            }
            let until = entry.until.unwrap_or(now);
            self.deadlines.insert((until, key.clone()));
            self.came_with(key, Entry { until: Some(until), ..entry });
        }
    }

    fn came_with(&mut self, key: String, entry: Entry) {
        let who = entry.who.clone();
        self.entries.insert(key, entry);
        self.came(&who);
    }

    /// Whether somebody who is present says that they serve a target.
    pub(super) fn serves(&self, target: &Target) -> bool {
        match target {
            Target::Worker(worker) => self.worker(worker).is_some(),
            Target::Queue(queue) => self.served.holds_queue(queue),
            Target::Host(host) => self.served.holds_host(host),
        }
    }
}

/// What the server says of an entry that has run out.
#[derive(Debug)]
pub(super) enum Fate {
    /// It was not renewed.
    Gone,
    /// It was renewed, and the news of it is on its way.
    Renewed(News),
    /// The server has not answered.
    Unknown {
        /// When it is asked again.
        again: Instant,
    },
}

#[cfg(test)]
mod tests;
