//! The way of output from attempts to the mesh.
//!
//! All attempts of a worker share one spool in memory, of [`SPOOL_BYTES`]. While the link is up, whoever finds it full waits;
//! while it is down, what does not fit is dropped and counted: no attempt stands still because a network does. An
//! attempt's report waits a moment for its output, so that whoever sees the end can see what led to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rr_nats::{ChunkId, Connected, Mesh, OutStream, PublishError};
use rr_schemas::{name::WorkerName, offer::Offer, report::Output};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::process::{Chunk, Sink, Stream};

/// Bytes of all attempts that wait to be stored: two full attempts, or 256 chunks.
const SPOOL_BYTES: usize = 16 * 1024 * 1024;

/// Chunks that wait: with less than 4 KiB each, their number is the limit and not their size.
const SPOOL_CHUNKS: usize = 4096;

/// Chunks that are on their way at once. At a round trip of 50 ms and full chunks that is 80 MiB/s.
const WINDOW: usize = 64;

/// How long an attempt waits for room in the spool while the link is up.
const STALL_MAX: Duration = Duration::from_secs(5);

/// How long an attempt's report waits for its output.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Pause before a chunk is tried again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest pause before a chunk is tried again.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Bytes of one chunk, so that it fits any message limit with its headers.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The spool, as attempts see it.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    pieces: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
    connected: Connected,
    /// Bytes that are kept of an attempt that is no process.
    bytes_max: u64,
}

/// The spool, as its task sees it.
#[derive(Debug)]
pub(crate) struct Shipper {
    mesh: Mesh,
    worker: WorkerName,
    pieces: mpsc::Receiver<Piece>,
}

/// One chunk on its way.
#[derive(Debug)]
struct Piece {
    offer: Arc<Offer>,
    stream: Stream,
    n: u32,
    bytes: Bytes,
    tally: Arc<Tally>,
    _room: OwnedSemaphorePermit,
}

/// The account of one attempt.
#[derive(Debug, Default)]
struct Tally {
    stdout_bytes: AtomicU64,
    stderr_bytes: AtomicU64,
    dropped_bytes: AtomicU64,
    chunks: AtomicU32,
    pending: AtomicU32,
    stored: Notify,
}

impl Spool {
    /// A spool and its other end.
    pub(crate) fn new(mesh: &Mesh, worker: &WorkerName, bytes_max: u64) -> (Self, Shipper) {
        let (sender, receiver) = mpsc::channel(SPOOL_CHUNKS);
        let room = Arc::new(Semaphore::new(SPOOL_BYTES));
        let spool = Self { pieces: sender, room, connected: mesh.connected(), bytes_max };
        (spool, Shipper { mesh: mesh.clone(), worker: worker.clone(), pieces: receiver })
    }

    /// The way for one attempt.
    pub(crate) fn attempt(&self, offer: &Arc<Offer>) -> AttemptOutput {
        AttemptOutput { spool: self.clone(), offer: Arc::clone(offer), tally: Arc::default() }
    }

    fn is_connected(&self) -> bool {
        self.connected.stands()
    }

    /// Room for so many bytes; waits for it while the link is up.
    async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.clamp(1, SPOOL_BYTES)).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(permits) {
            return Some(permit);
        }
        if !self.is_connected() {
            return None;
        }
        timeout(STALL_MAX, Arc::clone(&self.room).acquire_many_owned(permits)).await.ok()?.ok()
    }
}

/// The way of one attempt's output, and its account.
#[derive(Debug)]
pub(crate) struct AttemptOutput {
    spool: Spool,
    offer: Arc<Offer>,
    tally: Arc<Tally>,
}

impl Sink for AttemptOutput {
    async fn chunk(&mut self, chunk: Chunk) {
        self.send(chunk.stream, chunk.bytes).await;
    }
}

impl AttemptOutput {
    async fn send(&self, stream: Stream, bytes: Bytes) {
        let len = bytes.len() as u64;
        let is_taken = match self.spool.room(bytes.len()).await {
            Some(room) => self.hand_over(stream, bytes, room).await,
            None => false,
        };
        if !is_taken {
            self.tally.dropped_bytes.fetch_add(len, Ordering::Relaxed);
        }
    }

    async fn hand_over(&self, stream: Stream, bytes: Bytes, room: OwnedSemaphorePermit) -> bool {
        let slot = match self.spool.pieces.try_reserve() {
            Ok(slot) => slot,
            Err(_) if !self.spool.is_connected() => return false,
            Err(_) => match timeout(STALL_MAX, self.spool.pieces.reserve()).await {
                Ok(Ok(slot)) => slot,
                Ok(Err(_)) | Err(_) => return false,
            },
        };
        let n = self.tally.chunks.fetch_add(1, Ordering::Relaxed);
        self.tally.pending.fetch_add(1, Ordering::Relaxed);
        let tally = Arc::clone(&self.tally);
        slot.send(Piece { offer: Arc::clone(&self.offer), stream, n, bytes, tally, _room: room });
        true
    }

    /// Waits a moment until everything is stored, if the link is up; then the account.
    pub(crate) async fn settle(&self) -> Output {
        let tally = &*self.tally;
        let stored = async {
            while tally.pending.load(Ordering::Acquire) > 0 && self.spool.is_connected() {
                tally.stored.notified().await;
            }
        };
        if tally.pending.load(Ordering::Acquire) > 0 && timeout(SETTLE_MAX, stored).await.is_err() {
            tracing::debug!(run.id = %self.offer.run, task = self.offer.task, "output is slower than its attempt");
        }
        Output {
            stdout_bytes: tally.stdout_bytes.load(Ordering::Relaxed),
            stderr_bytes: tally.stderr_bytes.load(Ordering::Relaxed),
            dropped_bytes: tally.dropped_bytes.load(Ordering::Relaxed),
            chunks: tally.chunks.load(Ordering::Relaxed),
        }
    }

    /// The same for an attempt that writes by itself, and its account.
    pub(crate) fn into_writer(self) -> (Writer, Self) {
        let account =
            Self { spool: self.spool.clone(), offer: Arc::clone(&self.offer), tally: Arc::clone(&self.tally) };
        (Writer { output: self, kept_bytes: 0 }, account)
    }
}

/// Takes what a handler writes; what is more than the worker keeps of an attempt is dropped and counted.
#[derive(Debug)]
pub(crate) struct Writer {
    output: AttemptOutput,
    kept_bytes: u64,
}

impl Writer {
    /// Takes bytes of any length.
    pub(crate) async fn write(&mut self, stream: Stream, mut bytes: Bytes) {
        let tally = &self.output.tally;
        let written = match stream {
            Stream::Stdout => &tally.stdout_bytes,
            Stream::Stderr => &tally.stderr_bytes,
        };
        written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            let len = chunk.len() as u64;
            if self.kept_bytes + len > self.output.spool.bytes_max {
                self.output.tally.dropped_bytes.fetch_add(len, Ordering::Relaxed);
            } else {
                self.kept_bytes += len;
                self.output.send(stream, chunk).await;
            }
        }
    }
}

impl Shipper {
    /// Stores what comes, in the order in which it comes, until `stop` or until no attempt can write any more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut sending = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(()) = sending.next(), if !sending.is_empty() => {}
                piece = self.pieces.recv(), if sending.len() < WINDOW => match piece {
                    Some(piece) => sending.push(store(self.mesh.clone(), self.worker.clone(), piece)),
                    None if sending.is_empty() => return,
                    None => {
                        while let Some(()) = sending.next().await {}
                        return;
                    }
                },
            }
        }
    }
}

/// Stores one chunk, however long it takes.
async fn store(mesh: Mesh, worker: WorkerName, piece: Piece) {
    let id = ChunkId {
        task: piece.offer.task,
        attempt: piece.offer.attempt,
        stream: match piece.stream {
            Stream::Stdout => OutStream::Stdout,
            Stream::Stderr => OutStream::Stderr,
        },
        n: piece.n,
    };
    let mut pause = RETRY_MIN;
    loop {
        match mesh.publish_chunk(&worker, &piece.offer.run, id, piece.bytes.clone()).await {
            Ok(()) => break,
            Err(error @ (PublishError::Unknown(_) | PublishError::NotFound { .. } | PublishError::Full(_))) => {
                tracing::debug!(%error, "output waits");
                wait(&mesh, pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            Err(error) => {
                tracing::warn!(run.id = %piece.offer.run, %error, "output dropped");
                piece.tally.dropped_bytes.fetch_add(piece.bytes.len() as u64, Ordering::Relaxed);
                break;
            }
        }
    }
    if piece.tally.pending.fetch_sub(1, Ordering::Release) == 1 {
        piece.tally.stored.notify_one();
    }
}

/// Waits for the pause, and then for the link.
async fn wait(mesh: &Mesh, pause: Duration) {
    sleep(pause).await;
    // An error means that the connection is closed for good; the next try will say so.
    let mut connected = mesh.connected();
    if connected.until(true).await.is_err() {
        sleep(RETRY_MAX).await;
    }
}
