//! Keeps what an attempt writes: a live head, a tail, and exact counts, in bounded memory.
//!
//! Bytes wait in one queue, in the order of arrival, until the sink takes them, as chunks of at most
//! `chunk_bytes`, at the latest [`FLUSH_AFTER`] after they came. So a small output is one chunk, and a line
//! shows at once. What is shipped while the attempt runs is limited to `bytes_max - tail_bytes`; from there
//! on the queue is a ring: it keeps the newest `tail_bytes`, drops what is older, and the rest is shipped at
//! the end. A chunk bears its offset in its stream, so that a gap is seen where it is.
//!
//! Invariants: the queue never holds more than [`QUEUE_BYTES_MAX`] and one read; bytes written = bytes shipped +
//! bytes dropped; chunks of one stream are shipped in order. A sink that is slow holds the attempt up for
//! [`STALL_MAX`] in all, then the oldest bytes that wait are dropped.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut, buf::Limit};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Longest time that bytes wait for others to share their chunk: short for an eye, long for a program.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// Bytes that may wait for the sink. A hundred attempts with a sink that is stuck hold 50 MiB.
const QUEUE_BYTES_MAX: usize = 512 * 1024;

/// How long, in all, an attempt is held up because its sink is slow, before output is dropped instead.
pub(super) const STALL_MAX: Duration = Duration::from_secs(5);

/// How long the end of an attempt waits for a sink that is stuck.
pub(super) const SHIP_MAX: Duration = Duration::from_secs(5);

/// First buffer for a stream: most attempts write less.
const BUFFER_BYTES_FIRST: usize = 4 * 1024;

/// How much of an attempt's output is kept, both streams together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CaptureLimits {
    /// Bytes kept in all. Default: 8 MiB.
    pub bytes_max: u64,
    /// Of these, bytes that are kept for the end of the output. Default and maximum: 256 KiB.
    pub tail_bytes: usize,
    /// Bytes of one chunk. Default and maximum: 64 KiB, so that a chunk with its headers fits any message limit.
    pub chunk_bytes: usize,
}

impl CaptureLimits {
    /// The tail that a queue can hold.
    const TAIL_BYTES_MAX: usize = 256 * 1024;
    /// The largest chunk.
    const CHUNK_BYTES_MAX: usize = 64 * 1024;

    fn clamped(self) -> Self {
        let whole = usize::try_from(self.bytes_max).unwrap_or(usize::MAX);
        Self {
            bytes_max: self.bytes_max,
            tail_bytes: self.tail_bytes.min(Self::TAIL_BYTES_MAX).min(whole),
            chunk_bytes: self.chunk_bytes.clamp(1, Self::CHUNK_BYTES_MAX),
        }
    }
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self { bytes_max: 8 * 1024 * 1024, tail_bytes: Self::TAIL_BYTES_MAX, chunk_bytes: Self::CHUNK_BYTES_MAX }
    }
}

/// Which output of a process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output, as the process wrote it: any bytes at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Counted from 0 over both streams of the attempt, without gaps.
    pub number: u64,
    /// Which output.
    pub stream: Stream,
    /// Where the first byte stands in its stream. When it is not where the chunk before ended, bytes were dropped.
    pub offset: u64,
    /// The bytes, at least one.
    pub bytes: Bytes,
}

/// Takes the chunks of one attempt.
pub trait Sink: Send {
    /// Takes one chunk; returns when there is room for the next. Troubles of the way onward are the sink's own. It may be
    /// dropped half-way when it is stuck at the end of the attempt; the chunk is then counted as dropped.
    fn chunk(&mut self, chunk: Chunk) -> impl Future<Output = ()> + Send;
}

/// What became of an attempt's output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OutputStats {
    /// Bytes written to standard output.
    pub stdout_bytes: u64,
    /// Bytes written to standard error.
    pub stderr_bytes: u64,
    /// Of these, bytes that were not kept.
    pub dropped_bytes: u64,
    /// Chunks that the sink took.
    pub chunks: u64,
}

/// The queue between the pipes and the sink. Both ends run in one task.
#[derive(Debug)]
pub(super) struct Feed {
    /// A std mutex, held for a few lines and one read that does not block, never across an await.
    queue: Mutex<Queue>,
    filled: Notify,
    freed: Notify,
    closed: CancellationToken,
}

impl Feed {
    pub(super) fn new(limits: CaptureLimits) -> Self {
        let limits = limits.clamped();
        Self {
            queue: Mutex::new(Queue {
                limits,
                live_left: limits.bytes_max.saturating_sub(limits.tail_bytes as u64),
                segments: VecDeque::new(),
                bytes: 0,
                in_flight: 0,
                closed: false,
                stats: OutputStats::default(),
            }),
            filled: Notify::new(),
            freed: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads once into the queue; `read` must not block.
    pub(super) fn fill(
        &self,
        stream: Stream,
        read: impl FnOnce(&mut Limit<BytesMut>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut queue = self.queue();
        let n = queue.fill(stream, read)?;
        if n > 0 && queue.is_live() {
            self.filled.notify_one();
        }
        Ok(n)
    }

    /// Whether a reader should wait for the sink.
    pub(super) fn is_full(&self) -> bool {
        let queue = self.queue();
        queue.is_live() && queue.bytes >= QUEUE_BYTES_MAX
    }

    /// Waits until the sink has taken something. Safe to drop.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Says that nothing more will come.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.filled.notify_one();
        self.closed.cancel();
    }

    /// Hands everything to the sink, until the feed is closed and empty, or `late_max` after it was closed.
    pub(super) async fn ship(&self, sink: &mut impl Sink, late_max: Duration) {
        let overdue = async {
            self.closed.cancelled().await;
            sleep(late_max).await;
        };
        tokio::select! {
            biased;
            () = self.ship_all(sink) => {}
            () = overdue => tracing::warn!("output dropped: its sink is stuck"),
        }
    }

    async fn ship_all(&self, sink: &mut impl Sink) {
        loop {
            let next = self.queue().take(Instant::now());
            match next {
                Next::Chunk(chunk) => {
                    sink.chunk(chunk).await;
                    self.queue().taken();
                    self.freed.notify_one();
                }
                Next::At(instant) => tokio::select! {
                    () = self.filled.notified() => {}
                    () = sleep_until(instant) => {}
                },
                Next::Later => self.filled.notified().await,
                Next::Never => return,
            }
        }
    }

    /// The counts; what still waits counts as dropped.
    pub(super) fn into_stats(self) -> OutputStats {
        let mut queue = self.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        queue.stats.dropped_bytes += (queue.bytes + queue.in_flight) as u64;
        queue.stats
    }
}

/// What the sink may have next.
#[derive(Debug)]
enum Next {
    /// This, now.
    Chunk(Chunk),
    /// Something, when it has waited until then for more to come.
    At(Instant),
    /// Nothing before a change.
    Later,
    /// Nothing any more.
    Never,
}

#[derive(Debug)]
struct Segment {
    stream: Stream,
    offset: u64,
    data: BytesMut,
    since: Instant,
}

#[derive(Debug)]
struct Queue {
    limits: CaptureLimits,
    /// Bytes that may still be shipped before the end.
    live_left: u64,
    /// Each holds at least one byte and at most `chunk_bytes`.
    segments: VecDeque<Segment>,
    /// Sum over the segments.
    bytes: usize,
    /// Bytes of the chunk that the sink has in hand.
    in_flight: usize,
    closed: bool,
    stats: OutputStats,
}

impl Queue {
    fn is_live(&self) -> bool {
        self.live_left > 0
    }

    fn written(&mut self, stream: Stream) -> &mut u64 {
        match stream {
            Stream::Stdout => &mut self.stats.stdout_bytes,
            Stream::Stderr => &mut self.stats.stderr_bytes,
        }
    }

    fn fill(
        &mut self,
        stream: Stream,
        read: impl FnOnce(&mut Limit<BytesMut>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let chunk_bytes = self.limits.chunk_bytes;
        // Streams share the queue: the open segment of one is the last or the last but one.
        let open = self.segments.iter_mut().rev().take(2).find(|segment| segment.stream == stream);
        if let Some(segment) = open.filter(|segment| segment.data.len() < chunk_bytes) {
            let mut data = std::mem::take(&mut segment.data);
            let room = chunk_bytes - data.len();
            if data.len() == data.capacity() {
                data.reserve(room.min(data.len()));
            }
            let mut data = data.limit(room);
            let result = read(&mut data);
            segment.data = data.into_inner();
            return result.map(|n| self.filled(stream, n));
        }
        let busy = self.segments.back().is_some_and(|last| last.data.len() == chunk_bytes);
        let capacity = if busy { chunk_bytes } else { BUFFER_BYTES_FIRST.min(chunk_bytes) };
        let mut data = BytesMut::with_capacity(capacity).limit(chunk_bytes);
        let n = read(&mut data)?;
        if n > 0 {
            let offset = *self.written(stream);
            let data = data.into_inner();
            self.segments.push_back(Segment { stream, offset, data, since: Instant::now() });
        }
        Ok(self.filled(stream, n))
    }

    fn filled(&mut self, stream: Stream, n: usize) -> usize {
        *self.written(stream) += n as u64;
        self.bytes += n;
        // One read beyond the limit is let in, because a reader looks before it reads.
        self.trim(if self.is_live() { QUEUE_BYTES_MAX + self.limits.chunk_bytes } else { self.limits.tail_bytes });
        n
    }

    /// Drops the oldest bytes beyond `limit`.
    fn trim(&mut self, limit: usize) {
        while self.bytes > limit
            && let Some(oldest) = self.segments.front_mut()
        {
            let n = oldest.data.len().min(self.bytes - limit);
            oldest.data.advance(n);
            oldest.offset += n as u64;
            if oldest.data.is_empty() {
                self.segments.pop_front();
            }
            self.bytes -= n;
            self.stats.dropped_bytes += n as u64;
        }
    }

    fn take(&mut self, now: Instant) -> Next {
        let Some(oldest) = self.segments.front_mut() else {
            return if self.closed { Next::Never } else { Next::Later };
        };
        if !self.closed {
            if self.live_left == 0 {
                return Next::Later;
            }
            let due = oldest.since + FLUSH_AFTER;
            if oldest.data.len() < self.limits.chunk_bytes && now < due {
                return Next::At(due);
            }
        }
        let live = usize::try_from(self.live_left).unwrap_or(usize::MAX);
        let n = if live > 0 { oldest.data.len().min(live) } else { oldest.data.len() };
        let chunk = Chunk {
            number: self.stats.chunks,
            stream: oldest.stream,
            offset: oldest.offset,
            bytes: oldest.data.split_to(n).freeze(),
        };
        oldest.offset += n as u64;
        if oldest.data.is_empty() {
            self.segments.pop_front();
        }
        self.bytes -= n;
        self.in_flight = n;
        if live > 0 {
            self.live_left -= n as u64;
            if self.live_left == 0 {
                self.trim(self.limits.tail_bytes);
            }
        }
        Next::Chunk(chunk)
    }

    fn taken(&mut self) {
        self.in_flight = 0;
        self.stats.chunks += 1;
    }
}

#[cfg(test)]
mod tests;
