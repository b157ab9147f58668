//! Chunks of one attempt in the order in which they were written.

use std::collections::BTreeMap;

use rr_nats::Chunk;

/// Chunks that wait for one before them; a longer gap is taken for a loss.
const WAITING_MAX: usize = 64;

/// Puts the chunks of one attempt in order: they are stored many at a time.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next: u32,
    waiting: BTreeMap<u32, Chunk>,
}

impl Sequence {
    /// The chunks whose turn has come. A chunk that came before is passed over.
    pub(super) fn push(&mut self, chunk: Chunk) -> Vec<Chunk> {
        if chunk.id.n >= self.next {
            self.waiting.entry(chunk.id.n).or_insert(chunk);
        }
        let mut ready = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() != self.next && self.waiting.len() <= WAITING_MAX {
                break;
            }
            ready.extend(self.pop());
        }
        ready
    }

    fn pop(&mut self) -> Option<Chunk> {
        let (n, chunk) = self.waiting.pop_first()?;
        self.next = n.saturating_add(1);
        Some(chunk)
    }

    /// Everything that still waits.
    pub(super) fn finish(&mut self) -> Vec<Chunk> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}
