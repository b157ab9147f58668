//! What was delivered: when it comes again, and what is said of it.

use serde::Deserialize;

use super::{Consumer, Pending, Store, Turn};

/// How a delivery is to be followed up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    Done,
    Again(Option<u64>),
    Progress,
    Never,
    /// Nothing that the server knows.
    Nonsense,
}

impl Word {
    /// Reads what a client says of a delivery.
    fn read(payload: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Delay {
            #[serde(default)]
            delay: u64,
        }
        match payload {
            b"" | b"+ACK" | b"+NXT" => Self::Done,
            b"+WPI" => Self::Progress,
            _ if payload.starts_with(b"+TERM") => Self::Never,
            _ => match payload.strip_prefix(b"-NAK") {
                Some(rest) => {
                    let delay = serde_json::from_slice::<Delay>(rest).ok().map(|delay| delay.delay);
                    Self::Again(delay.filter(|delay| *delay > 0))
                }
                None => Self::Nonsense,
            },
        }
    }
}

impl Consumer {
    /// Notes a delivery.
    pub(super) fn track(&mut self, seq: u64, delivery: u64, turn: &mut Turn<'_>) {
        let until = turn.now + self.config.ack_wait;
        let first = self.pending.get(&seq).map_or(delivery, |before| before.delivery);
        self.wait_until(seq, Pending { delivery: first, until }, turn);
        if turn.early > 0 && turn.rng.u32(..1_000) < turn.early {
            let early = turn.now + turn.rng.u64(..self.config.ack_wait.max(1));
            self.wait_until(seq, Pending { delivery: first, until: early }, turn);
            turn.count("early_redelivery");
        }
    }

    fn wait_until(&mut self, seq: u64, pending: Pending, turn: &mut Turn<'_>) {
        if let Some(before) = self.pending.insert(seq, pending) {
            self.deadlines.remove(&(before.until, seq));
        }
        self.deadlines.insert((pending.until, seq));
        self.wake(pending.until, turn);
    }

    /// The time to acknowledge has changed: looks again when the first one is due.
    pub(super) fn watch_pending(&mut self, turn: &mut Turn<'_>) {
        if let Some((until, _)) = self.deadlines.first().copied() {
            self.wake(until, turn);
        }
    }

    /// What was not acknowledged in time comes again, the oldest first.
    pub(super) fn look_at_pending(&mut self, store: &Store, turn: &mut Turn<'_>) {
        let first = store.first();
        let gone: Vec<u64> = self.pending.keys().copied().filter(|seq| *seq < first || *seq <= self.floor).collect();
        for seq in gone {
            let delivery = self.pending.get(&seq).map_or(0, |pending| pending.delivery);
            self.forget(seq);
            self.floor = self.floor.max(seq);
            self.floor_delivery = self.floor_delivery.max(delivery);
        }
        let mut over: Vec<u64> = Vec::new();
        while let Some((until, seq)) = self.deadlines.first().copied().filter(|(until, _)| *until <= turn.now) {
            self.deadlines.remove(&(until, seq));
            over.push(seq);
        }
        over.sort_unstable();
        self.queue_again(over);
        self.watch_pending(turn);
    }

    fn queue_again(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            if !self.queue.contains(&seq) {
                self.queue.push_back(seq);
            }
        }
    }

    /// Everything that is not acknowledged comes again now.
    pub(crate) fn redeliver_all(&mut self) {
        let all: Vec<u64> = self.pending.keys().copied().collect();
        self.queue_again(all);
    }

    pub(super) fn forget(&mut self, seq: u64) {
        if let Some(pending) = self.pending.remove(&seq) {
            self.deadlines.remove(&(pending.until, seq));
        }
        self.again.remove(&seq);
        self.queue.retain(|queued| *queued != seq);
    }

    /// It was delivered as often as may be. How often that was is remembered.
    pub(super) fn give_up(&mut self, seq: u64) {
        if let Some(pending) = self.pending.remove(&seq) {
            self.deadlines.remove(&(pending.until, seq));
        }
    }

    /// Somebody says something of a delivery. Says whether it was heard, and the sequence that is done with.
    pub(crate) fn told(
        &mut self,
        (seq, delivery): (u64, u64),
        payload: &[u8],
        store: &Store,
        turn: &mut Turn<'_>,
    ) -> (bool, Option<u64>) {
        self.last_active = turn.now;
        self.note(turn);
        match Word::read(payload) {
            Word::Done | Word::Never => {
                // Of what it has not delivered nobody can say anything.
                if seq >= self.seq {
                    return (false, None);
                }
                self.settle(seq, delivery, turn);
                (true, Some(seq))
            }
            Word::Progress => {
                if let Some(pending) = self.pending.get(&seq).copied() {
                    self.wait_until(seq, Pending { until: turn.now + self.config.ack_wait, ..pending }, turn);
                }
                (true, None)
            }
            Word::Again(delay) => {
                self.again_after(seq, delivery, delay, turn);
                self.serve(store, turn);
                (true, None)
            }
            Word::Nonsense => (true, None),
        }
    }

    fn again_after(&mut self, seq: u64, delivery: u64, delay: Option<u64>, turn: &mut Turn<'_>) {
        if delivery <= self.floor_delivery || delivery >= self.delivery {
            return;
        }
        let Some(pending) = self.pending.get(&seq).copied() else { return };
        match delay {
            Some(delay) => self.wait_until(seq, Pending { until: turn.now + delay, ..pending }, turn),
            None => self.queue_again([seq]),
        }
    }

    /// Another leader does not know what was given back to come again at once: that waits until its time is over.
    pub(crate) fn forget_given_back(&mut self, turn: &mut Turn<'_>) {
        self.queue.clear();
        self.deadlines = self.pending.iter().map(|(seq, pending)| (pending.until, *seq)).collect();
        self.watch_pending(turn);
    }

    /// A delivery is done with. The floor moves as the server moves it.
    pub(super) fn settle(&mut self, seq: u64, delivery: u64, turn: &Turn<'_>) {
        self.last_acked = turn.now;
        let delivery = self.pending.get(&seq).map_or(delivery, |pending| pending.delivery);
        self.forget(seq);
        if self.pending.is_empty() {
            (self.floor_delivery, self.floor) = (self.delivery - 1, self.seq - 1);
        } else if delivery == self.floor_delivery + 1 {
            (self.floor_delivery, self.floor) = (delivery, seq);
            // Up to before the next one that is not done with.
            if let Some((next, pending)) = self.pending.range(seq + 1..self.seq).next()
                && pending.delivery > 0
            {
                (self.floor_delivery, self.floor) = (pending.delivery - 1, next - 1);
            }
        }
    }

    /// Messages were purged: those that it wanted alone, or (`is_wider`) some of those that it wants. `from` is where it goes
    /// on; what was purged is gone from the store.
    ///
    /// The server's flaw is here: where only some were purged, the number of the last one becomes the floor of deliveries, as
    /// if everything before had been acknowledged.
    pub(crate) fn purged(&mut self, from: u64, is_wider: bool, store: &Store, turn: &mut Turn<'_>) {
        self.seq = self.seq.max(from);
        if self.floor < from {
            self.floor = from.saturating_sub(1);
            let gone: Vec<(u64, u64)> = self
                .pending
                .iter()
                .filter(|(seq, _)| **seq <= self.floor || is_wider && store.get(**seq).is_none())
                .map(|(seq, pending)| (*seq, pending.delivery))
                .collect();
            for (seq, delivery) in gone {
                self.floor_delivery = self.floor_delivery.max(delivery);
                self.delivery = self.delivery.max(self.floor_delivery);
                self.forget(seq);
            }
        }
        if self.pending.is_empty() {
            self.again.clear();
            (self.floor_delivery, self.floor) = (self.delivery - 1, self.seq - 1);
        }
        let next = self.seq;
        self.queue.retain(|seq| *seq >= next);
        // What was taken out of the queue is due all the same.
        for (seq, pending) in &self.pending {
            self.deadlines.insert((pending.until, *seq));
        }
        self.watch_pending(turn);
    }
}
