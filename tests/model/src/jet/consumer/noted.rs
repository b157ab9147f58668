//! What a server has written down of a consumer. It does so a moment after it has happened, so a server that is killed may have
//! forgotten deliveries and acknowledgements of its last moment: messages come again, even as if for the first time.

use std::collections::{BTreeMap, BTreeSet};

use super::{Consumer, Pending, Store, Turn};

/// At most so much later something is written down.
const MOMENT: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;

/// A consumer before something happened that may not be written down yet.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    at: u64,
    delivery: u64,
    seq: u64,
    floor_delivery: u64,
    floor: u64,
    pending: BTreeMap<u64, Pending>,
    again: BTreeMap<u64, u64>,
    newest: Option<BTreeSet<u64>>,
}

impl Consumer {
    /// Something is about to happen to it.
    pub(super) fn note(&mut self, turn: &Turn<'_>) {
        if self.noted.as_ref().is_some_and(|noted| turn.now < noted.at + MOMENT) {
            return;
        }
        self.noted = Some(Box::new(Noted {
            at: turn.now,
            delivery: self.delivery,
            seq: self.seq,
            floor_delivery: self.floor_delivery,
            floor: self.floor,
            pending: self.pending.clone(),
            again: self.again.clone(),
            newest: self.newest.clone(),
        }));
    }

    /// The server has read again what it had written down: of times it knows whole seconds.
    pub(crate) fn read_again(&mut self, died: u64, store: &Store, turn: &mut Turn<'_>) {
        let unwritten = self.noted.take().filter(|noted| died < noted.at + MOMENT);
        if let Some(noted) = unwritten.filter(|_| turn.rng.bool()) {
            (self.delivery, self.seq) = (noted.delivery, noted.seq);
            (self.floor_delivery, self.floor) = (noted.floor_delivery, noted.floor);
            (self.pending, self.again, self.newest) = (noted.pending, noted.again, noted.newest);
            self.looked = self.seq;
            self.recount(store);
            turn.count("forgotten_moment");
        }
        let wait = self.config.ack_wait;
        self.deadlines.clear();
        for (seq, pending) in &mut self.pending {
            let delivered = pending.until.saturating_sub(wait);
            pending.until = delivered - delivered % SECOND + wait;
            self.deadlines.insert((pending.until, *seq));
        }
        self.queue.clear();
    }
}
