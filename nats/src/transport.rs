//! What carries messages. Everything else in this crate speaks to a server through [`Transport`], so that a mesh can run over
//! something else than a socket: a model of the server, with its own time and its own faults.
//!
//! It is core NATS and nothing more: subjects, replies, headers, queue groups. JetStream is what is said over it.

mod client;
pub(crate) mod observer;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

pub use async_nats::{HeaderMap, HeaderValue, Message, StatusCode, Subject};
use bytes::Bytes;
use futures::{Stream, future::BoxFuture};

pub use self::observer::Observer;

/// A connection to a server. It is made once, and makes itself anew when it breaks; its subscriptions come back then.
///
/// What happens to it is told through the [`Observer`] that it was made with.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends a message, with the subject where an answer is wanted. Waits for room, not for the server; while the connection is
    /// broken it may wait until it is made again.
    fn publish(&self, message: Outgoing, reply: Option<Subject>) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Reads what is published on a subject, which may have wildcards; as one of a group where one is named.
    fn subscribe(&self, subject: Subject, group: Option<String>) -> BoxFuture<'_, Result<Messages, TransportError>>;

    /// Waits until everything that was published is on its way.
    fn flush(&self) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Sends what is under way, takes what has arrived, and closes for good: every [`Messages`] ends.
    fn drain(&self) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Whether the connection stands.
    fn is_connected(&self) -> bool;

    /// How many times the connection has been made. A change means that the server has forgotten pull requests.
    fn generation(&self) -> u64;

    /// Bytes of a message at most, headers included.
    fn max_payload(&self) -> usize;

    /// What the server says of itself.
    fn server(&self) -> ServerInfo;
}

/// What a server says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerInfo {
    /// Its version: `2.15.1`.
    pub version: String,
    /// Whether it belongs to a cluster.
    pub is_clustered: bool,
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub subject: Subject,
    /// Its headers; a block without any is no block.
    pub headers: Option<HeaderMap>,
    /// Its body.
    pub payload: Bytes,
}

impl Outgoing {
    /// A message without headers.
    pub fn plain(subject: impl Into<Subject>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), headers: None, payload: payload.into() }
    }
}

/// Why a connection does not take what it was given.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransportError {
    /// The message is larger than the server takes.
    #[error("a message of more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection is closed for good, or takes no such subject.
    #[error("{0}")]
    Closed(String),
}

/// Where the messages of a subscription come from.
pub trait Source: Stream<Item = Message> + fmt::Debug + Send + Sync + Unpin {
    /// Ends the subscription at once; what has arrived still comes.
    fn unsubscribe(&mut self) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Ends the subscription when what the server has sent by then has arrived.
    fn drain(&mut self) -> BoxFuture<'_, Result<(), TransportError>>;
}

/// The messages of a subscription. They end when the connection is closed for good; dropping them unsubscribes.
#[derive(Debug)]
pub struct Messages {
    source: Box<dyn Source>,
}

impl Messages {
    /// Those of a source.
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source) }
    }

    /// See [`Source::unsubscribe`].
    ///
    /// # Errors
    /// [`TransportError::Closed`].
    pub async fn unsubscribe(&mut self) -> Result<(), TransportError> {
        self.source.unsubscribe().await
    }

    /// See [`Source::drain`].
    ///
    /// # Errors
    /// [`TransportError::Closed`].
    pub async fn drain(&mut self) -> Result<(), TransportError> {
        self.source.drain().await
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut *self.source).poll_next(context)
    }
}
