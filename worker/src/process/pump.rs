//! Moves bytes from the two pipes of a process into its [`Feed`].

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::BufMut as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, timeout};

use super::capture::{Feed, STALL_MAX, Stream};
use super::framing::Framing;

/// After the process has ended: how long a pipe that others hold open must be silent to be closed.
const QUIET: Duration = Duration::from_millis(100);

/// After the process has ended: how long others may go on writing.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// What is read at once where a wrapper's lines are taken out.
const FRAMED_BYTES: usize = 16 * 1024;

/// The reading ends of both pipes.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    feed: &'a Feed,
    /// Takes a wrapper's lines out, where there is one.
    framing: Option<Framing>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    /// How long this attempt may still be held up by its sink.
    patience: Duration,
}

impl<'a> Pump<'a> {
    pub(super) fn new(feed: &'a Feed, framing: Option<Framing>, stdout: Receiver, stderr: Receiver) -> Self {
        Self { feed, framing, stdout: Some(stdout), stderr: Some(stderr), patience: STALL_MAX }
    }

    /// Whether nobody can write any more.
    pub(super) fn is_done(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Reads until nobody can write any more.
    async fn run(&mut self) {
        while !self.is_done() {
            self.make_room().await;
            let stream = self.ready().await;
            self.read(stream);
            // A writer that is always ahead must not keep the clock and the cancel from being seen.
            tokio::task::consume_budget().await;
        }
    }

    /// Reads as [`Pump::run`] does, and then lets others in a `select!` go on. Safe to drop and to call again.
    pub(super) async fn forever(&mut self) -> Infallible {
        self.run().await;
        std::future::pending().await
    }

    /// Reads what is there once the process has ended. Whoever holds a pipe open beyond that is cut off
    /// after a silence of [`QUIET`], or after [`LINGER_MAX`].
    pub(super) async fn rest(&mut self) {
        let start = Instant::now();
        let patience = self.patience;
        while !self.is_done() {
            self.make_room().await;
            let held_up = patience.saturating_sub(self.patience);
            if start.elapsed() > LINGER_MAX + held_up {
                return;
            }
            let Ok(stream) = timeout(QUIET, self.ready()).await else {
                return;
            };
            self.read(stream);
            tokio::task::consume_budget().await;
        }
    }

    /// Lets the sink catch up while there is patience left.
    async fn make_room(&mut self) {
        while self.feed.is_full() && !self.patience.is_zero() {
            let mut wait = Stall { left: &mut self.patience, since: Instant::now() };
            // A timeout is no news here: the time is taken off when `wait` is dropped.
            timeout(wait.left(), self.feed.freed()).await.unwrap_or_default();
        }
    }

    /// The stream that can be read. Pends for ever when there is none.
    async fn ready(&self) -> Stream {
        tokio::select! {
            () = readable(self.stdout.as_ref()) => Stream::Stdout,
            () = readable(self.stderr.as_ref()) => Stream::Stderr,
        }
    }

    fn read(&mut self, stream: Stream) {
        let slot = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(pipe) = slot else { return };
        let result = match &mut self.framing {
            None => self.feed.fill(stream, |buffer| pipe.try_read_buf(buffer)),
            Some(framing) => read_framed(self.feed, framing, stream, pipe),
        };
        match result {
            Ok(0) => *slot = None,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(%error, "output pipe failed");
                *slot = None;
            }
        }
    }
}

/// Reads once, and feeds what the command wrote.
fn read_framed(feed: &Feed, framing: &mut Framing, stream: Stream, pipe: &Receiver) -> io::Result<usize> {
    let mut buffer = Vec::with_capacity(FRAMED_BYTES);
    let n = pipe.try_read_buf(&mut buffer)?;
    let passed = if n == 0 { framing.rest(stream) } else { framing.pass(stream, &buffer) };
    let mut left = passed.as_slice();
    while !left.is_empty() {
        let taken = feed.fill(stream, |room| {
            let (now, later) = left.split_at(left.len().min(room.remaining_mut()));
            room.put_slice(now);
            left = later;
            Ok(now.len())
        })?;
        if taken == 0 {
            return Err(io::Error::other("no room for output"));
        }
    }
    Ok(n)
}

async fn readable(pipe: Option<&Receiver>) {
    match pipe {
        // An error shows again in the read that follows.
        Some(pipe) => pipe.readable().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Takes the time of a wait off the patience, also when the wait is dropped half-way.
#[derive(Debug)]
struct Stall<'a> {
    left: &'a mut Duration,
    since: Instant,
}

impl Stall<'_> {
    fn left(&mut self) -> Duration {
        *self.left
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        *self.left = self.left.saturating_sub(self.since.elapsed());
    }
}
