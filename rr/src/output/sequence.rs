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

#[cfg(test)]
mod tests {
    use super::*;
    use rr_nats::{ChunkId, OutStream};

    fn chunk(n: u32) -> Chunk {
        let id = ChunkId { task: 0, attempt: 1, stream: OutStream::Stdout, n };
        Chunk { worker: "w".parse().unwrap(), id, at: jiff::Timestamp::UNIX_EPOCH, bytes: n.to_string().into() }
    }

    fn numbers(chunks: &[Chunk]) -> Vec<u32> {
        chunks.iter().map(|chunk| chunk.id.n).collect()
    }

    #[test]
    fn chunks_come_out_in_the_order_of_their_numbers_and_once() {
        let mut sequence = Sequence::default();
        let mut out = Vec::new();
        for n in [2, 0, 0, 1, 1, 3, 2, 5] {
            out.extend(sequence.push(chunk(n)));
        }
        assert_eq!(numbers(&out), [0, 1, 2, 3]);
        assert_eq!(numbers(&sequence.finish()), [5]);
    }

    #[test]
    fn a_lost_chunk_does_not_hold_up_the_rest() {
        let mut sequence = Sequence::default();
        let out: Vec<Chunk> = (1..).take(2 * WAITING_MAX).flat_map(|n| sequence.push(chunk(n))).collect();
        assert!(out.len() >= WAITING_MAX && numbers(&out).is_sorted());
    }
}
