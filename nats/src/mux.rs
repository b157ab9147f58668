//! One reply inbox for all requests of a connection.
//!
//! The client's own multiplexer keeps a timer for each request and forgets none that was never answered; this one keeps
//! one sweep for all deadlines, tells a denied permission from silence, and gives up what was in flight when the
//! connection breaks. Invariant: each waiter is told exactly one outcome, at the latest a moment after its deadline.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    raw::is_stored,
    transport::{Message, Messages, Outgoing, StatusCode, Subject, Transport, TransportError},
};

/// How often deadlines are looked at; an answer is given up at most this much late.
const SWEEP: Duration = Duration::from_millis(100);
/// Denied subjects that are remembered; more than a configuration can name by mistake.
const DENIED_MAX: usize = 256;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The account may not publish the request, or not read the reply inbox.
    Denied,
    /// Nobody listens on the subject.
    NoResponders,
    /// No answer within the deadline.
    Timeout,
    /// The connection broke while the request was under way.
    Disconnected,
    /// The connection was closed on purpose.
    Closed,
    /// The message is larger than the server takes.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl Failure {
    /// Why a connection has not taken a message of so many bytes.
    pub(crate) const fn of(error: &TransportError, bytes: usize) -> Self {
        match error {
            TransportError::TooLarge { limit } => Self::TooLarge { bytes, limit: *limit },
            TransportError::Closed(_) => Self::Closed,
        }
    }
}

/// What the connection's event handler and the requests share.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pending: Mutex<BTreeMap<u64, Pending>>,
    next: AtomicU64,
    denied: Mutex<Vec<String>>,
    /// Tells whoever waits for it that a subject was refused.
    refusals: watch::Sender<()>,
    inbox_denied: AtomicBool,
    /// Cancelled when no answer will come any more.
    closed: CancellationToken,
}

#[derive(Debug)]
struct Pending {
    subject: Subject,
    deadline: Instant,
    waiter: Waiter,
}

#[derive(Debug)]
enum Waiter {
    One(oneshot::Sender<Result<Message, Failure>>),
    Many(mpsc::Sender<Result<Message, Failure>>),
}

impl Pending {
    fn fail(self, failure: Failure) {
        // Nobody waits any more where this fails.
        match self.waiter {
            Waiter::One(sender) => drop(sender.send(Err(failure))),
            Waiter::Many(sender) => drop(sender.try_send(Err(failure))),
        }
    }
}

impl Waiters {
    fn pending(&self) -> MutexGuard<'_, BTreeMap<u64, Pending>> {
        // No code panics while it holds the lock; the map is whole even if one did.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denied(&self) -> MutexGuard<'_, Vec<String>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, subject: Subject, deadline: Instant, waiter: Waiter) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.pending().insert(number, Pending { subject, deadline, waiter });
        number
    }

    fn fail_where(&self, failure: Failure, mut is_meant: impl FnMut(&Pending) -> bool) {
        let failed: Vec<Pending> = {
            let mut pending = self.pending();
            pending.extract_if(.., |_, waiting| is_meant(waiting)).map(|(_, waiting)| waiting).collect()
        };
        for waiting in failed {
            waiting.fail(failure);
        }
    }

    /// The connection was made, perhaps anew: what was refused on the one before may be allowed now.
    pub(crate) fn connected(&self) {
        self.denied().clear();
        self.inbox_denied.store(false, Ordering::Relaxed);
    }

    /// The connection broke: whatever was under way has no known outcome.
    pub(crate) fn disconnected(&self) {
        self.fail_where(Failure::Disconnected, |_| true);
    }

    /// The server refused a publish to this subject.
    pub(crate) fn deny(&self, subject: &str) {
        let mut denied = self.denied();
        if !denied.iter().any(|known| known == subject) {
            if denied.len() >= DENIED_MAX {
                denied.remove(0);
            }
            denied.push(subject.to_owned());
        }
        drop(denied);
        self.refusals.send_replace(());
        self.fail_where(Failure::Denied, |waiting| waiting.subject.as_str() == subject);
    }

    /// The server refused the reply inbox: no request of this connection will ever be answered.
    fn deny_inbox(&self) {
        self.inbox_denied.store(true, Ordering::Relaxed);
        self.fail_where(Failure::Denied, |_| true);
    }

    /// Whether the server refused the reply inbox.
    pub(crate) fn is_inbox_denied(&self) -> bool {
        self.inbox_denied.load(Ordering::Relaxed)
    }

    /// Waits until the server has refused something on this subject.
    pub(crate) async fn denied_on(&self, subject: &str) {
        let mut refusals = self.refusals.subscribe();
        while !self.is_denied(subject) {
            if refusals.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the server refused something on this subject before.
    pub(crate) fn is_denied(&self, subject: &str) -> bool {
        self.denied().iter().any(|known| known == subject)
    }

    /// Waits until the connection is closed for good.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    fn give_up(&self) {
        self.closed.cancel();
        self.fail_where(Failure::Closed, |_| true);
    }

    fn deliver(&self, number: u64, message: Message) {
        let mut pending = self.pending();
        let one = match pending.get(&number).map(|waiting| &waiting.waiter) {
            Some(Waiter::Many(sender)) => {
                // The channel holds as many answers as were asked for; a full one means a server that counts wrongly.
                drop(sender.try_send(Ok(message)));
                return;
            }
            Some(Waiter::One(_)) => pending.remove(&number),
            None => None,
        };
        drop(pending);
        if let Some(Pending { waiter: Waiter::One(sender), .. }) = one {
            drop(sender.send(Ok(message)));
        }
    }

    /// What a server error says about permissions: `Permissions Violation for Publish to "x"`.
    pub(crate) fn server_error(&self, text: &str, prefix: &str) {
        let Some(rest) = text.strip_prefix("Permissions Violation for ") else { return };
        let Some(subject) = rest.split('"').nth(1) else { return };
        tracing::warn!(subject, "permission denied by the server");
        if !prefix.is_empty() && subject.starts_with(prefix) {
            self.deny_inbox();
        } else {
            self.deny(subject);
        }
    }
}

/// The sending side.
#[derive(Debug)]
pub(crate) struct Mux {
    transport: Arc<dyn Transport>,
    prefix: String,
    waiters: Arc<Waiters>,
}

impl Mux {
    /// Puts requests on a subscription of `<prefix>*`, which [`serve`] reads.
    pub(crate) const fn new(transport: Arc<dyn Transport>, prefix: String, waiters: Arc<Waiters>) -> Self {
        Self { transport, prefix, waiters }
    }

    /// Sends a request and waits for its one answer.
    pub(crate) async fn request(&self, message: Outgoing, deadline: Duration) -> Result<Message, Failure> {
        let (sender, mut answer) = oneshot::channel();
        let ticket = self.register(message.subject.clone(), deadline, Waiter::One(sender))?;
        let reply = self.reply(ticket.number);
        let sent = tokio::select! {
            biased;
            sent = self.send(message, reply) => sent,
            early = &mut answer => return early.unwrap_or(Err(Failure::Closed)).and_then(answered),
        };
        sent?;
        answer.await.unwrap_or(Err(Failure::Closed)).and_then(answered)
    }

    /// Sends a request that has up to `answers_max` answers.
    pub(crate) async fn request_many(
        &self,
        message: Outgoing,
        answers_max: usize,
        deadline: Duration,
    ) -> Result<Answers, Failure> {
        // One more for the failure that may follow the last answer.
        let (sender, receiver) = mpsc::channel(answers_max.saturating_add(1));
        let ticket = self.register(message.subject.clone(), deadline, Waiter::Many(sender))?;
        let reply = self.reply(ticket.number);
        tokio::time::timeout(deadline, self.send(message, reply)).await.map_err(|_| Failure::Timeout)??;
        Ok(Answers { receiver, _ticket: ticket })
    }

    async fn send(&self, message: Outgoing, reply: Subject) -> Result<(), Failure> {
        let bytes = message.payload.len();
        self.transport.publish(message, Some(reply)).await.map_err(|error| Failure::of(&error, bytes))
    }

    fn reply(&self, number: u64) -> Subject {
        Subject::from(format!("{}{number}", self.prefix))
    }

    fn register(&self, subject: Subject, deadline: Duration, waiter: Waiter) -> Result<Ticket, Failure> {
        if self.waiters.inbox_denied.load(Ordering::Relaxed) {
            return Err(Failure::Denied);
        }
        if self.waiters.closed.is_cancelled() {
            return Err(Failure::Closed);
        }
        let number = self.waiters.add(subject, Instant::now() + deadline, waiter);
        Ok(Ticket { number, waiters: Arc::clone(&self.waiters) })
    }
}

/// A place among the waiters; given back when the waiting ends, however it ends.
#[derive(Debug)]
struct Ticket {
    number: u64,
    waiters: Arc<Waiters>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiters.pending().remove(&self.number);
    }
}

/// The answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    receiver: mpsc::Receiver<Result<Message, Failure>>,
    _ticket: Ticket,
}

impl Answers {
    /// The next answer.
    pub(crate) async fn next(&mut self) -> Result<Message, Failure> {
        self.receiver.recv().await.unwrap_or(Err(Failure::Closed)).and_then(answered)
    }
}

fn answered(message: Message) -> Result<Message, Failure> {
    let is_word = !message.headers.as_ref().is_some_and(is_stored);
    if is_word && message.status == Some(StatusCode::NO_RESPONDERS) { Err(Failure::NoResponders) } else { Ok(message) }
}

/// Tells everybody, however its task ends, that no answer will come any more.
struct LastWord(Arc<Waiters>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Hands answers to their waiters and sweeps deadlines until the connection is closed.
pub(crate) async fn serve(mut inbox: Messages, prefix_len: usize, waiters: Arc<Waiters>) {
    let _last_word = LastWord(Arc::clone(&waiters));
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // The sweep first: a busy inbox is always ready.
            biased;
            now = sweep.tick() => {
                waiters.fail_where(Failure::Timeout, |waiting| waiting.deadline <= now);
            }
            message = inbox.next() => {
                let Some(message) = message else { break };
                let number = message.subject.get(prefix_len..).and_then(|token| token.parse().ok());
                if let Some(number) = number {
                    waiters.deliver(number, message);
                }
            }
        }
    }
}
