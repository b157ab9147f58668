//! A connection to a server: requests to JetStream's API, publishes with an acknowledgement.

mod answer;
mod heard;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use self::answer::{Refusal, api_answer};
use crate::{
    connected::Connected,
    error::{Error, PublishError},
    mux::{self, Answers, Failure, Mux, Waiters},
    subject::header,
    transport::{
        HeaderMap, Message, Messages, Observer, Outgoing, Subject, Transport, TransportError, observer::inbox_under,
    },
};

/// How long an acknowledgement or an answer is waited for. A fail-over of a replicated stream answers `no responders`
/// meanwhile, so a longer wait gains nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// The same for requests that make the server create files or walk through a stream.
pub(crate) const DEADLINE_LONG: Duration = Duration::from_secs(15);
/// How long the client may take to tell us of a refusal that it has read.
const REFUSAL_DELAY: Duration = Duration::from_millis(20);

/// Where `JetStream`'s API is, unless somebody says otherwise.
pub(crate) const API_PREFIX: &str = "$JS.API";
/// The same for where answers come.
pub(crate) const INBOX_PREFIX: &str = "_INBOX";

/// After which time a request that may be repeated is repeated. A server of a cluster that dies takes requests with it, and
/// one of two requests to make the same consumer at the same time is never answered.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A sequence that no message will ever have, and that the server reads as a number.
const NEVER: u64 = 1 << 53;

/// A connection to a server. Cheap to clone; the connection closes when the last clone is gone. It reconnects for ever.
#[derive(Clone, Debug)]
pub struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Arc<dyn Transport>,
    mux: Mux,
    waiters: Arc<Waiters>,
    connected: Connected,
    places: Places,
    /// Dropped with the last handle, which ends the task that reads the inbox.
    _tasks: JoinSet<()>,
}

/// Where things are, if not at their usual places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// `JetStream`'s API.
    pub(crate) api: Option<String>,
    /// Answers.
    pub(crate) inbox: Option<String>,
}

impl Link {
    /// A connection over a transport, which `open` makes and which tells the observer what happens to it.
    ///
    /// # Errors
    /// [`Error`] when it does not take the subscription on which answers come.
    pub async fn over<T: Transport>(open: impl FnOnce(Observer) -> T) -> Result<Self, Error> {
        let observer = Observer::new(INBOX_PREFIX);
        let transport = open(observer.clone());
        Self::new(Arc::new(transport), observer, Places::default()).await
    }

    pub(crate) async fn new(transport: Arc<dyn Transport>, observer: Observer, places: Places) -> Result<Self, Error> {
        let (waiters, connected) = (Arc::clone(observer.waiters()), observer.watch());
        let prefix = observer.inbox().to_owned();
        drop(observer);
        let subject = format!("{prefix}*");
        let inbox = transport.subscribe(subject.clone().into(), None).await;
        let inbox = inbox.map_err(|error| Failure::of(&error, 0).into_error(&subject.into()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(mux::serve(inbox, prefix.len(), Arc::clone(&waiters)));
        let mux = Mux::new(Arc::clone(&transport), prefix, Arc::clone(&waiters));
        let places = Places { api: places.api.filter(|prefix| prefix != API_PREFIX), ..places };
        Ok(Self { inner: Arc::new(Inner { transport, mux, waiters, connected, places, _tasks: tasks }) })
    }

    /// The subject of an operation of `JetStream`'s API.
    pub(crate) fn api_subject(&self, operation: &str) -> String {
        format!("{}.{operation}", self.inner.places.api.as_deref().unwrap_or(API_PREFIX))
    }

    /// Whether the mesh is behind another domain than that of the server we talk to.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.inner.places.api.is_some()
    }

    /// Where a key of a bucket is written: behind a leaf node only what the API's prefix covers reaches the mesh.
    pub(crate) fn key_subject(&self, subject: String) -> String {
        match &self.inner.places.api {
            Some(prefix) => format!("{prefix}.{subject}"),
            None => subject,
        }
    }

    /// A place of its own for answers: `<prefix>.<random>.`.
    pub(crate) fn new_inbox(&self) -> String {
        inbox_under(self.inner.places.inbox.as_deref().unwrap_or(INBOX_PREFIX))
    }

    /// Whether the connection stands, as a value that can be watched.
    pub fn connected(&self) -> Connected {
        self.inner.connected.clone()
    }

    /// Waits until the connection is closed for good: by [`Link::drain`], or because the client itself has failed. It is not
    /// made again then, and whoever needs it must end.
    pub async fn closed(&self) {
        let mut connected = self.connected();
        tokio::select! {
            biased;
            () = self.inner.waiters.closed() => {}
            // Told by a task of the client's, which may fail alone.
            () = async { while connected.changed().await.is_ok() {} } => {}
        }
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.inner.transport.is_connected()
    }

    /// How many times the connection has been made; a change means that the server forgot our pull requests.
    pub(crate) fn generation(&self) -> u64 {
        self.inner.transport.generation()
    }

    /// Whether the server refuses to let us read our answers.
    pub(crate) fn is_inbox_denied(&self) -> bool {
        self.inner.waiters.is_inbox_denied()
    }

    /// Makes sure that the server has not refused a subscription that was just made: it says so only on the side.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub(crate) async fn subscribed(&self, subject: &str) -> Result<(), Error> {
        let settled = async {
            // The server answers in order, so that any answer comes after its refusal. One that does not come says nothing.
            drop(self.api::<IgnoredAny>("INFO", &(), DEADLINE).await);
            // The refusal comes through a task of the client's.
            tokio::time::sleep(REFUSAL_DELAY).await;
        };
        tokio::select! {
            biased;
            () = self.inner.waiters.denied_on(subject) => Err(Error::Denied { subject: subject.to_owned() }),
            () = settled => Ok(()),
        }
    }

    /// Whether the server refused something on this subject before.
    pub(crate) fn is_denied(&self, subject: &str) -> bool {
        self.inner.waiters.is_denied(subject)
    }

    /// The version of the server.
    pub fn server_version(&self) -> String {
        self.inner.transport.server().version
    }

    /// Whether the server belongs to a cluster.
    pub fn is_clustered(&self) -> bool {
        self.inner.transport.server().is_clustered
    }

    /// Bytes of a message at most, headers included.
    pub fn max_payload(&self) -> usize {
        self.inner.transport.max_payload()
    }

    /// Waits until everything published before is on its way.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::Unreachable`].
    pub async fn flush(&self) -> Result<(), Error> {
        match timeout(DEADLINE, self.inner.transport.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Unreachable(error.to_string())),
            Err(_) => Err(Error::Timeout { what: "flush".to_owned() }),
        }
    }

    /// Sends what is under way, takes what has arrived, closes. Waits at most a moment.
    pub async fn drain(&self) {
        if self.flush().await.is_err() {
            tracing::debug!("closing a connection that does not answer");
        }
        if self.inner.transport.drain().await.is_err() {
            tracing::debug!("the connection was closed already");
        }
    }

    /// Publishes without an answer.
    pub(crate) async fn send(&self, message: Outgoing) -> Result<(), Error> {
        self.send_as(message, None).await
    }

    /// Publishes with a reply subject whose answers come elsewhere.
    pub(crate) async fn send_with_reply(&self, message: Outgoing, reply: Subject) -> Result<(), Error> {
        self.send_as(message, Some(reply)).await
    }

    async fn send_as(&self, message: Outgoing, reply: Option<Subject>) -> Result<(), Error> {
        let (subject, bytes) = (message.subject.clone(), message.payload.len());
        match timeout(DEADLINE, self.inner.transport.publish(message, reply)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::of(&error, bytes).into_error(&subject)),
            Err(_) => Err(Error::Timeout { what: subject.into_string() }),
        }
    }

    /// Subscribes, alone or as one of a group.
    pub(crate) async fn subscribe(&self, subject: String, group: Option<&str>) -> Result<Messages, Error> {
        let subscribe = self.inner.transport.subscribe(subject.clone().into(), group.map(str::to_owned));
        match timeout(DEADLINE, subscribe).await {
            Ok(Ok(messages)) => Ok(messages),
            Ok(Err(TransportError::TooLarge { .. })) => Err(Error::Unreachable(subject)),
            Ok(Err(TransportError::Closed(why))) => Err(Error::Unreachable(why)),
            Err(_) => Err(Error::Timeout { what: subject }),
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&self, message: Outgoing, deadline: Duration) -> Result<Message, Error> {
        let subject = message.subject.clone();
        self.inner.mux.request(message, deadline).await.map_err(|failure| failure.into_error(&subject))
    }

    /// Sends a request that does no harm when it is repeated, again and again until one of them is answered. An answer that
    /// takes long is still waited for.
    pub(crate) async fn ask(&self, message: Outgoing, deadline: Duration) -> Result<Message, Error> {
        let until = Instant::now() + deadline;
        let mut first = Box::pin(self.request(message.clone(), deadline));
        if let Ok(answer) = timeout(ASK_AGAIN.min(deadline), &mut first).await {
            return answer;
        }
        let mut asked = FuturesUnordered::from_iter([first]);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                asked.push(Box::pin(self.request(message.clone(), left)));
            }
            // Those that are left all end at their common deadline, a moment later at most.
            match timeout(ASK_AGAIN, asked.next()).await {
                Ok(Some(Err(Error::Timeout { .. }))) if !asked.is_empty() => {}
                Ok(Some(answer)) => return answer,
                Ok(None) => return Err(Error::Timeout { what: message.subject.into_string() }),
                Err(_) => {}
            }
        }
    }

    /// Sends a request that has many answers.
    pub(crate) async fn request_many(
        &self,
        message: Outgoing,
        answers_max: usize,
        deadline: Duration,
    ) -> Result<Answers, Error> {
        let subject = message.subject.clone();
        let answers = self.inner.mux.request_many(message, answers_max, deadline).await;
        answers.map_err(|failure| failure.into_error(&subject))
    }

    /// Asks `JetStream`'s API. For what may be done twice: reading, and making what may be there.
    pub(crate) async fn api<A: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl Serialize,
        deadline: Duration,
    ) -> Result<A, Error> {
        let answer = self.ask(self.api_request(operation, request)?, deadline).await?;
        api_answer(operation, &answer)
    }

    /// The same for what must not be done once more when its answer has come: removing.
    pub(crate) async fn api_once<A: DeserializeOwned>(
        &self,
        operation: &str,
        request: &impl Serialize,
        deadline: Duration,
    ) -> Result<A, Error> {
        let answer = self.request(self.api_request(operation, request)?, deadline).await?;
        api_answer(operation, &answer)
    }

    /// What an answer of the API says that came to a request of another kind.
    pub(crate) fn read_answer<A: DeserializeOwned>(operation: &str, answer: &Message) -> Result<A, Error> {
        api_answer(operation, answer)
    }

    fn api_request(&self, operation: &str, request: &impl Serialize) -> Result<Outgoing, Error> {
        let body = match serde_json::to_vec(request).map_err(|error| Error::Answer(error.to_string()))? {
            // `()`: a request without a body.
            body if body == b"null" => Vec::new(),
            body => body,
        };
        Ok(Outgoing::plain(self.api_subject(operation), body))
    }

    /// The sequence of the last message on a subject, or on a filter of its stream, as the stream's leader knows it, 0 for none. Asked by a publish whose
    /// expectation cannot be met, so the right to publish there is enough.
    pub(crate) async fn last_on(&self, subject: String, filter: Option<&str>) -> Result<u64, PublishError> {
        let mut headers = HeaderMap::new();
        expecting(&mut headers, NEVER, filter);
        let message = Outgoing { subject: subject.into(), headers: Some(headers), payload: Bytes::new() };
        let subject = message.subject.clone();
        let answer = self.inner.mux.request(message, DEADLINE).await;
        let answer = answer.map_err(|failure| failure.into_publish_error(&subject))?;
        let ack: Acknowledgement = serde_json::from_slice(&answer.payload)
            .map_err(|error| PublishError::Unknown(format!("unreadable acknowledgement: {error}")))?;
        let untold = || PublishError::Unknown("the server does not say what it has".to_owned());
        let Some(refusal) = ack.error else { return Err(untold()) };
        let error = PublishError::classify(refusal.code(), &refusal.description, &subject);
        if error != PublishError::Conflict {
            return Err(error);
        }
        // `wrong last sequence: 17`.
        refusal.description.rsplit(' ').next().and_then(|number| number.parse().ok()).ok_or_else(untold)
    }

    /// Publishes to a stream and waits for the acknowledgement.
    pub(crate) async fn publish(&self, message: Outgoing) -> Result<Stored, PublishError> {
        let subject = message.subject.clone();
        let answer = self.inner.mux.request(message, DEADLINE).await;
        let answer = answer.map_err(|failure| failure.into_publish_error(&subject))?;
        let ack: Acknowledgement = serde_json::from_slice(&answer.payload)
            .map_err(|error| PublishError::Unknown(format!("unreadable acknowledgement: {error}")))?;
        match ack {
            Acknowledgement { error: Some(refusal), .. } => {
                let error = PublishError::classify(refusal.code(), &refusal.description, &subject);
                if error == PublishError::Unsettled {
                    tracing::debug!(%subject, "what was published there before is not settled");
                }
                Err(error)
            }
            Acknowledgement { seq: Some(seq), .. } => Ok(Stored { seq }),
            Acknowledgement { .. } => Err(PublishError::Unknown("an acknowledgement without a sequence".to_owned())),
        }
    }
}

/// What the acknowledgement of a publish says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
}

#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    error: Option<Refusal>,
    #[serde(default)]
    seq: Option<u64>,
}

/// Headers for a message that is one of a chain: stored only if the last message on the subject (or on the filter) is
/// the expected one, 0 for none.
pub(crate) fn expecting(headers: &mut HeaderMap, seq: u64, filter: Option<&str>) {
    headers.insert(header::EXPECTED, seq.to_string());
    if let Some(filter) = filter {
        headers.insert(header::EXPECTED_SUBJECT, filter);
    }
}

/// Headers of a message with an encoded body.
pub(crate) fn typed(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers
}

/// A message of ours in JSON.
pub(crate) fn json_message(subject: String, headers: HeaderMap, payload: impl Into<Bytes>) -> Outgoing {
    Outgoing { subject: Subject::from(subject), headers: Some(headers), payload: payload.into() }
}
