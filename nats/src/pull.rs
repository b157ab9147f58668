//! Pull requests: how messages come from a consumer, never more than were asked for.
//!
//! Written by hand because the client hides what matters here: how many messages are still owed, that a pin was lost,
//! that a reconnect made the server forget.
//! Invariants: [`Puller::outstanding`] is never less than what the server may still send for a request that it knows,
//! but for requests that were under way while the connection broke or that were forgotten ([`Puller::forget`]); a silent
//! consumer is noticed after three missed heartbeats. Whatever comes for a request is delivered, forgotten or not.

mod owed;
mod request;
mod word;

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep_until};

use self::{
    owed::{Asked, Owed},
    request::{Patience, Request},
    word::{Word, told_pin},
};
use crate::{
    ack::Ack,
    connected::Connected,
    error::Error,
    link::Link,
    raw::{RawMessage, Receipt, number},
    subject::header,
    transport::{HeaderMap, Message, Messages, Outgoing, Subject},
};

/// What an expired request may be late on its way.
const SLACK: Duration = Duration::from_secs(1);

/// How to pull.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PullConfig {
    /// After which time an unfilled request comes back.
    pub expires: Duration,
    /// How often the server shows that it still knows the request; at most half of `expires`.
    pub heartbeat: Duration,
    /// Whether the consumer gives its messages to one puller at a time.
    pub pinned: Pinned,
}

/// Whether a consumer gives its messages to one puller at a time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pinned {
    /// To all pullers.
    #[default]
    No,
    /// To the one that holds the pin.
    Group,
}

impl Default for PullConfig {
    fn default() -> Self {
        Self { expires: Duration::from_secs(5), heartbeat: Duration::from_secs(1), pinned: Pinned::No }
    }
}

/// Why nothing can be pulled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PullError {
    /// The consumer was removed.
    #[error("the consumer is gone")]
    Gone,
    /// The consumer is not there, or has no leader for the moment. Wait a moment, then ask again.
    #[error("no consumer answers")]
    NoResponders,
    /// The account may not pull.
    #[error("permission denied: {subject}")]
    Denied {
        /// The subject.
        subject: String,
    },
    /// The server does not take the request.
    #[error("the server refuses the pull: {0}")]
    Refused(String),
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

/// A delivered message.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The message.
    pub raw: RawMessage,
    /// Its number among the consumer's deliveries.
    pub consumer_seq: u64,
    /// How many times it was delivered, from 1.
    pub delivered: u64,
    /// Messages that wait behind it.
    pub pending: u64,
    /// The pin under which it came.
    pub pin: Option<String>,
    /// Acknowledges it.
    pub ack: Ack,
}

/// Pulls from one consumer.
#[derive(Debug)]
pub struct Puller {
    link: Link,
    config: PullConfig,
    /// Where requests go.
    next: Subject,
    inbox: Messages,
    prefix: String,
    connected: Connected,
    /// The connection that the requests were made on.
    generation: u64,
    owed: Owed,
    /// Whether a request that was forgotten may still be filled.
    has_forgotten: bool,
    pin: Option<String>,
    heard: Instant,
    /// Whether nothing is asked for any more.
    is_closing: bool,
}

impl Puller {
    /// Prepares to pull; asks for nothing yet.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the connection is closed.
    pub async fn open(link: &Link, stream: &str, consumer: &str, config: PullConfig) -> Result<Self, Error> {
        let prefix = link.new_inbox();
        let inbox = link.subscribe(format!("{prefix}*"), None).await?;
        Ok(Self {
            config,
            next: Subject::from(link.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"))),
            inbox,
            prefix,
            connected: link.connected(),
            generation: link.generation(),
            link: link.clone(),
            owed: Owed::default(),
            has_forgotten: false,
            pin: None,
            heard: Instant::now(),
            is_closing: false,
        })
    }

    /// Messages that were asked for, neither delivered nor given back yet. Of one that closes it is one at least as long as
    /// forgotten requests may have been filled.
    pub const fn outstanding(&self) -> usize {
        match self.owed.messages() {
            0 if self.is_closing && self.has_forgotten => 1,
            messages => messages,
        }
    }

    /// When [`Puller::next`] has something to say though nothing comes. Whoever loses its future before must call it then.
    pub fn due(&self) -> Option<Instant> {
        (self.outstanding() > 0).then(|| self.patience())
    }

    /// Takes what was asked for as forgotten by the server. Where it was not, it still comes, beyond what is
    /// [`Puller::outstanding`].
    pub fn forget(&mut self) {
        self.has_forgotten |= self.outstanding() > 0;
        self.owed.void();
    }

    /// Asks for nothing any more. What the server has sent by the time it learns of this still comes; then
    /// [`Puller::outstanding`] is zero.
    pub async fn close(&mut self) {
        if std::mem::replace(&mut self.is_closing, true) {
            return;
        }
        self.heard = Instant::now();
        if self.inbox.drain().await.is_err() {
            self.nothing_is_owed();
        }
    }

    /// The pin, where this puller holds it.
    pub fn pin(&self) -> Option<&str> {
        self.pin.as_deref()
    }

    /// Asks for `messages` more. Asks for nothing while the connection is down.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request(&mut self, messages: usize) -> Result<(), PullError> {
        self.ask(messages, Patience::Wait(self.config.expires)).await
    }

    /// Asks for `messages` more like [`Puller::request`], with an expiry of its own.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request_for(&mut self, messages: usize, expires: Duration) -> Result<(), PullError> {
        self.ask(messages, Patience::Wait(expires)).await
    }

    /// Asks for up to `messages` more of those that are there; answered at once.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request_now(&mut self, messages: usize) -> Result<(), PullError> {
        self.ask(messages, Patience::Now).await
    }

    async fn ask(&mut self, messages: usize, patience: Patience) -> Result<(), PullError> {
        self.forget_if_reconnected();
        // While the connection is down nothing is asked: requests that pile up would all be filled at once later.
        if messages == 0 || self.is_closing || !self.link.is_connected() {
            return Ok(());
        }
        let request = Request::new(&self.config, messages, patience, self.pin.as_deref());
        let body = serde_json::to_vec(&request).map_err(|error| PullError::Refused(error.to_string()))?;
        let now = Instant::now();
        let asked = Asked { messages, until: now + request.lasts() + SLACK, has_heartbeat: request.has_heartbeat() };
        if self.outstanding() == 0 {
            self.heard = now;
        }
        // Counted before it is sent: a future that is lost in between may have sent it.
        let number = self.owed.add(asked);
        let reply = Subject::from(format!("{}{number}", self.prefix));
        match self.link.send_with_reply(Outgoing::plain(self.next.clone(), body), reply).await {
            Ok(()) => Ok(()),
            // It breaks just now, and more than it holds waits for it. Nothing was asked.
            Err(Error::Timeout { .. }) => {
                self.owed.unasked(number);
                Ok(())
            }
            Err(_) => Err(PullError::Closed),
        }
    }

    /// The next message. None says that something that was asked for came back unfilled, or that the connection was made
    /// again: see [`Puller::outstanding`] and ask again. Waits for ever while nothing was asked for. Losing the future loses nothing.
    ///
    /// # Errors
    /// [`PullError`]; what was asked for is void then.
    pub async fn next(&mut self) -> Result<Option<Pulled>, PullError> {
        loop {
            if self.forget_if_reconnected() {
                return Ok(None);
            }
            let patience = self.patience();
            let message = tokio::select! {
                biased;
                message = self.inbox.next(), if !self.is_closing || self.outstanding() > 0 => message,
                changed = self.connected.changed() => {
                    changed.map_err(|_| PullError::Closed)?;
                    continue;
                }
                () = sleep_until(patience), if self.outstanding() > 0 => return self.silence(),
            };
            let Some(message) = message else {
                if self.is_closing {
                    self.nothing_is_owed();
                    return Ok(None);
                }
                return Err(PullError::Closed);
            };
            self.heard = Instant::now();
            match self.sort(message)? {
                Sorted::Message(pulled) => return Ok(Some(pulled)),
                Sorted::GivenBack => return Ok(None),
                Sorted::Nothing => {}
            }
        }
    }

    /// Until when silence is no sign of trouble.
    fn patience(&self) -> Instant {
        self.owed.patience(self.heard, self.config.heartbeat)
    }

    /// The server has said nothing for too long: it does not know our requests.
    fn silence(&mut self) -> Result<Option<Pulled>, PullError> {
        self.nothing_is_owed();
        for subject in [self.next.as_str(), &format!("{}*", self.prefix)] {
            if self.link.is_denied(subject) {
                return Err(PullError::Denied { subject: subject.to_owned() });
            }
        }
        Ok(None)
    }

    fn nothing_is_owed(&mut self) {
        self.has_forgotten = false;
        self.owed.void();
    }

    /// A server that was left has forgotten our requests, unless another one keeps the consumer. Says whether it was left.
    fn forget_if_reconnected(&mut self) -> bool {
        let generation = self.link.generation();
        let is_new = generation != self.generation;
        if is_new {
            self.generation = generation;
            self.forget();
        }
        is_new
    }

    fn sort(&mut self, message: Message) -> Result<Sorted, PullError> {
        // The server's words come to our inbox; what is stored has its own subject, and may begin with a status, too.
        let words = message.status.zip(message.subject.strip_prefix(&self.prefix));
        match words {
            Some((status, number)) => {
                let word = Word::read(status, message.description.as_deref());
                self.heed(word, number.parse().ok(), message.headers.as_ref())
            }
            None => Ok(self.delivered(message)),
        }
    }

    fn delivered(&mut self, message: Message) -> Sorted {
        let Some((reply, receipt)) =
            message.reply.and_then(|reply| Receipt::parse(&reply).map(|receipt| (reply, receipt)))
        else {
            tracing::warn!(subject = %message.subject, "a message that no consumer has sent");
            return Sorted::Nothing;
        };
        self.owed.delivered();
        let headers = message.headers.as_ref();
        self.pin = told_pin(headers, self.pin.take());
        let raw = RawMessage::new(message.subject.into_string(), receipt.seq, receipt.at, headers, message.payload);
        Sorted::Message(Pulled {
            raw,
            consumer_seq: receipt.consumer_seq,
            delivered: receipt.delivered,
            pending: receipt.pending,
            pin: self.pin.clone(),
            ack: Ack::new(self.link.clone(), reply),
        })
    }

    /// Does what the server's word about a request asks for.
    fn heed(&mut self, word: Word, request: Option<u64>, headers: Option<&HeaderMap>) -> Result<Sorted, PullError> {
        match word {
            Word::Alive => Ok(Sorted::Nothing),
            Word::Over => Ok(self.give_back(request, headers)),
            Word::PinLost => {
                self.pin = None;
                Ok(self.give_back(request, headers))
            }
            Word::Forgotten => {
                self.owed.void();
                Ok(Sorted::GivenBack)
            }
            Word::Failed(error) => {
                self.owed.void();
                Err(error)
            }
        }
    }

    /// A request is over.
    fn give_back(&mut self, request: Option<u64>, headers: Option<&HeaderMap>) -> Sorted {
        let unfilled = headers.and_then(|headers| number(headers, header::PENDING_MESSAGES));
        if self.owed.give_back(request, unfilled) { Sorted::GivenBack } else { Sorted::Nothing }
    }
}

/// What has come.
enum Sorted {
    Message(Pulled),
    GivenBack,
    Nothing,
}
