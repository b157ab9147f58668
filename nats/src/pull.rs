//! Pull requests: how messages come from a consumer, never more than were asked for.
//!
//! Written by hand because the client hides what matters here: how many messages are still owed, that a pin was lost,
//! that a reconnect made the server forget.
//! Invariants: [`Puller::outstanding`] is never less than what the server may still send for a request that it knows,
//! but for requests that were under way while the connection broke; a silent consumer is noticed after three missed
//! heartbeats.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::{
    ack::Ack,
    connected::Connected,
    error::Error,
    link::Link,
    raw::{RawMessage, Receipt, flaw, last_text, number},
    subject::{self, header},
    transport::{HeaderMap, Message, Messages, Outgoing, StatusCode, Subject},
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
    requests: BTreeMap<u64, Asked>,
    asked: u64,
    outstanding: usize,
    pin: Option<String>,
    heard: Instant,
    /// Whether nothing is asked for any more.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    messages: usize,
    /// When it is over even if the server says nothing.
    until: Instant,
    /// Whether the server sends heartbeats for it.
    has_heartbeat: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_wait: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

enum Patience {
    Wait(Duration),
    Now,
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
            requests: BTreeMap::new(),
            asked: 0,
            outstanding: 0,
            pin: None,
            heard: Instant::now(),
            is_closing: false,
        })
    }

    /// Messages that were asked for, neither delivered nor given back yet.
    pub const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// When [`Puller::next`] has something to say though nothing comes. Whoever loses its future before must call it then.
    pub fn due(&self) -> Option<Instant> {
        (self.outstanding > 0).then(|| self.patience())
    }

    /// Asks for nothing any more. What the server has sent by the time it learns of this still comes; then
    /// [`Puller::outstanding`] is zero.
    pub async fn close(&mut self) {
        if std::mem::replace(&mut self.is_closing, true) {
            return;
        }
        if self.inbox.drain().await.is_err() {
            self.void();
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
        self.ask(messages, &Patience::Wait(self.config.expires)).await
    }

    /// Asks for `messages` more like [`Puller::request`], with an expiry of its own.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request_for(&mut self, messages: usize, expires: Duration) -> Result<(), PullError> {
        self.ask(messages, &Patience::Wait(expires)).await
    }

    /// Asks for up to `messages` more of those that are there; answered at once.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request_now(&mut self, messages: usize) -> Result<(), PullError> {
        self.ask(messages, &Patience::Now).await
    }

    async fn ask(&mut self, messages: usize, patience: &Patience) -> Result<(), PullError> {
        self.forget_if_reconnected();
        // While the connection is down nothing is asked: requests that pile up would all be filled at once later.
        if messages == 0 || self.is_closing || !self.link.is_connected() {
            return Ok(());
        }
        let Request { expires, idle_heartbeat, no_wait, .. } = self.terms(patience);
        let (group, id) = match self.config.pinned {
            Pinned::No => (None, None),
            Pinned::Group => (Some(subject::PIN_GROUP), self.pin.as_deref()),
        };
        let request = Request { batch: messages, expires, idle_heartbeat, no_wait, group, id };
        let body = serde_json::to_vec(&request).map_err(|error| PullError::Refused(error.to_string()))?;
        let number = self.asked;
        let reply = Subject::from(format!("{}{number}", self.prefix));
        let message = Outgoing::plain(self.next.clone(), body);
        let now = Instant::now();
        if self.outstanding == 0 {
            self.heard = now;
        }
        // Counted before it is sent: a future that is lost in between may have sent it.
        let until = now + expires.map_or(Duration::ZERO, Duration::from_nanos) + SLACK;
        self.requests.insert(number, Asked { messages, until, has_heartbeat: idle_heartbeat.is_some() });
        self.asked = number.wrapping_add(1);
        self.outstanding = self.outstanding.saturating_add(messages);
        match self.link.send_with_reply(message, reply).await {
            Ok(()) => Ok(()),
            // It breaks just now, and more than it holds waits for it. Nothing was asked.
            Err(Error::Timeout { .. }) => {
                if let Some(unasked) = self.requests.remove(&number) {
                    self.outstanding = self.outstanding.saturating_sub(unasked.messages);
                }
                Ok(())
            }
            Err(_) => Err(PullError::Closed),
        }
    }

    fn terms(&self, patience: &Patience) -> Request<'static> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (expires, no_wait) = match patience {
            Patience::Wait(expires) => (Some(*expires), false),
            Patience::Now => (None, true),
        };
        // The server refuses heartbeats that do not fit into the request.
        let heartbeat = self.config.heartbeat;
        let fits = !heartbeat.is_zero() && expires.is_some_and(|expires| heartbeat * 2 <= expires);
        let idle_heartbeat = fits.then(|| nanos(heartbeat));
        Request { batch: 0, expires: expires.map(nanos), idle_heartbeat, no_wait, group: None, id: None }
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
                message = self.inbox.next(), if !self.is_closing || self.outstanding > 0 => message,
                changed = self.connected.changed() => {
                    changed.map_err(|_| PullError::Closed)?;
                    continue;
                }
                () = sleep_until(patience), if self.outstanding > 0 => return self.silence(),
            };
            let Some(message) = message else {
                if self.is_closing {
                    self.void();
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
        let last = self.requests.values().map(|asked| asked.until).max().unwrap_or(self.heard);
        if self.requests.values().any(|asked| asked.has_heartbeat) {
            last.min(self.heard + self.config.heartbeat * 3)
        } else {
            last
        }
    }

    /// The server has said nothing for too long: it does not know our requests.
    fn silence(&mut self) -> Result<Option<Pulled>, PullError> {
        self.void();
        for subject in [self.next.as_str(), &format!("{}*", self.prefix)] {
            if self.link.is_denied(subject) {
                return Err(PullError::Denied { subject: subject.to_owned() });
            }
        }
        Ok(None)
    }

    fn void(&mut self) {
        self.requests.clear();
        self.outstanding = 0;
    }

    /// A server that was left has forgotten our requests. Says whether it was left.
    fn forget_if_reconnected(&mut self) -> bool {
        let generation = self.link.generation();
        let is_new = generation != self.generation;
        if is_new {
            self.generation = generation;
            self.void();
        }
        is_new
    }

    fn sort(&mut self, message: Message) -> Result<Sorted, PullError> {
        // The server's words come to our inbox; what is stored has its own subject, and may begin with a status, too.
        let words = message.status.zip(message.subject.strip_prefix(&self.prefix));
        match words {
            Some((status, number)) => {
                let number = number.parse().ok();
                self.status(number, status, message.headers.as_ref(), message.description.as_deref())
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
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 {
            self.requests.clear();
        }
        let headers = message.headers.as_ref();
        let pin = self.told_pin(headers);
        let raw = RawMessage::new(message.subject.into_string(), receipt.seq, receipt.at, headers, message.payload);
        Sorted::Message(Pulled {
            raw,
            consumer_seq: receipt.consumer_seq,
            delivered: receipt.delivered,
            pending: receipt.pending,
            pin,
            ack: Ack::new(self.link.clone(), reply),
        })
    }

    /// The pin under which a message has come, which is ours from now on.
    fn told_pin(&mut self, headers: Option<&HeaderMap>) -> Option<String> {
        let told = headers.and_then(|headers| last_text(headers, header::PIN_ID));
        let is_news = told.is_some() && told != self.pin.as_deref();
        let is_told = told.is_some() && !(is_news && headers.is_some_and(hides_pin));
        if is_told && is_news || self.pin.is_none() {
            self.pin = told.map(str::to_owned);
        }
        self.pin.clone()
    }

    /// What the server says about a request.
    fn status(
        &mut self,
        request: Option<u64>,
        status: StatusCode,
        headers: Option<&HeaderMap>,
        text: Option<&str>,
    ) -> Result<Sorted, PullError> {
        const BAD_REQUEST: u16 = 400;
        match (status.as_u16(), text.unwrap_or_default()) {
            (100, _) => Ok(Sorted::Nothing),
            (423, _) => {
                self.pin = None;
                Ok(self.give_back(request, headers))
            }
            (503, _) => {
                self.void();
                Err(PullError::NoResponders)
            }
            (409, "Consumer Deleted") => {
                self.void();
                Err(PullError::Gone)
            }
            (409, text) if text == "Leadership Change" || text == "Server Shutdown" => {
                self.void();
                Ok(Sorted::GivenBack)
            }
            (404 | 408 | 409, _) => Ok(self.give_back(request, headers)),
            (BAD_REQUEST, text) => {
                self.void();
                Err(PullError::Refused(text.to_owned()))
            }
            (code, text) => {
                tracing::warn!(code, text, "an unknown answer to a pull request");
                Ok(self.give_back(request, headers))
            }
        }
    }

    /// A request is over; what was not delivered for it is not owed any more.
    fn give_back(&mut self, request: Option<u64>, headers: Option<&HeaderMap>) -> Sorted {
        let Some(asked) = request.and_then(|number| self.requests.remove(&number)) else { return Sorted::Nothing };
        let unfilled = headers.and_then(|headers| number(headers, header::PENDING_MESSAGES));
        let unfilled = unfilled.and_then(|count| usize::try_from(count).ok()).unwrap_or(asked.messages);
        self.outstanding =
            if self.requests.is_empty() { 0 } else { self.outstanding.saturating_sub(unfilled.min(asked.messages)) };
        Sorted::GivenBack
    }
}

/// Whether the server's word on the pin may have gone into a line of the publisher's: it stands behind the last line, even
/// where that has no end, and what looks like a pin then is the publisher's.
fn hides_pin(headers: &HeaderMap) -> bool {
    let has_pin = |text: &str| text.contains(header::PIN_ID);
    flaw(headers).is_some()
        || headers.iter().any(|(name, values)| {
            let name: &str = name.as_ref();
            name != header::PIN_ID && has_pin(name) || values.iter().any(|value| has_pin(value.as_str()))
        })
}

enum Sorted {
    Message(Pulled),
    GivenBack,
    Nothing,
}
