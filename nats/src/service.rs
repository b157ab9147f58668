//! `rr.api.*` as a NATS service: requests with answers, and what `nats service ls|info|stats` asks of it.
//!
//! Spoken here and not by the client's own service module, whose tasks outlive whoever started them. Every coordinator
//! serves it; they are one queue group, so each request is answered once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::SelectAll};
use jiff::Timestamp;
use rr_schemas::{
    api::{Code, Refusal},
    codec::JSON,
    name::InstanceId,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    control::GROUP,
    error::Error,
    input::on_one_line,
    link::{Link, json_message, typed},
    mesh::Mesh,
    raw::flaw,
    subject::{self, header},
    transport::{HeaderMap, Message, Messages, Outgoing, Subject},
};

/// What the service says of itself.
const DESCRIPTION: &str = "Roadrunner: start, stop and tell runs";
/// Room for the headers of an answer.
const HEADERS_MAX: usize = 2 * 1024;

/// What can be asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Endpoint {
    /// Start a run.
    Publish,
    /// Stop a run.
    Cancel,
    /// Let the gates of a run pass.
    Signal,
    /// Tell a run.
    Status,
    /// List runs.
    List,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 5] = [Self::Publish, Self::Cancel, Self::Signal, Self::Status, Self::List];

    /// The last token of its subject.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Cancel => "cancel",
            Self::Signal => "signal",
            Self::Status => "status",
            Self::List => "list",
        }
    }
}

impl Mesh {
    /// Answers clients, in turn with the other coordinators. Both halves have to be driven; `since` is when the
    /// coordinator started.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn serve_api(
        &self,
        instance: &InstanceId,
        version: &str,
        since: Timestamp,
    ) -> Result<(ApiServer, Monitor), Error> {
        let link = self.link().clone();
        let requests = link.subscribe(subject::API.to_owned(), Some(GROUP)).await?;
        let mut asked = SelectAll::new();
        for subject in subject::discovery(instance) {
            asked.push(link.subscribe(subject, None).await?);
        }
        let tally = Arc::new(Mutex::new(BTreeMap::new()));
        let about = About { name: subject::SERVICE, id: instance.clone(), version: version.to_owned() };
        let monitor = Monitor { link: link.clone(), asked, about, since, tally: Arc::clone(&tally) };
        Ok((ApiServer { link, requests, tally }, monitor))
    }
}

type Tally = Arc<Mutex<BTreeMap<Endpoint, Counts>>>;

/// What was asked of an endpoint.
#[derive(Clone, Debug, Default)]
struct Counts {
    requests: u64,
    errors: u64,
    last_error: String,
    taken: Duration,
}

fn locked(tally: &Tally) -> MutexGuard<'_, BTreeMap<Endpoint, Counts>> {
    // Counts are whole whatever happened to whoever counted.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests of clients.
#[derive(Debug)]
pub struct ApiServer {
    link: Link,
    requests: Messages,
    tally: Tally,
}

impl ApiServer {
    /// The next request; none when the connection was closed, or when nothing is left after [`ApiServer::close`].
    pub async fn next(&mut self) -> Option<ApiRequest> {
        loop {
            let Message { subject, reply, payload, headers, .. } = self.requests.next().await?;
            // Nobody would hear the answer, and so would not know that anything was asked.
            let Some(reply) = reply.filter(|reply| subject::may_be_answered(reply)) else {
                tracing::debug!(%subject, "a request that wants no answer, or wants it where none belongs, is passed over");
                continue;
            };
            let name = subject::parse_endpoint(&subject).unwrap_or_default();
            let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name);
            let (link, tally) = (self.link.clone(), Arc::clone(&self.tally));
            let flaw = headers.as_ref().and_then(flaw);
            return Some(ApiRequest { endpoint, payload, flaw, link, reply, tally, since: Instant::now() });
        }
    }

    /// Takes no more requests; those that have arrived still come.
    pub async fn close(&mut self) {
        if let Err(error) = self.requests.unsubscribe().await {
            tracing::debug!(%error, "the connection was closed already");
        }
    }
}

/// A request of a client.
#[derive(Debug)]
pub struct ApiRequest {
    /// What is asked; none where nobody knows such a thing.
    pub endpoint: Option<Endpoint>,
    payload: Bytes,
    /// What is wrong with its headers.
    flaw: Option<String>,
    link: Link,
    reply: Subject,
    tally: Tally,
    since: Instant,
}

impl ApiRequest {
    /// What is said with it, in at most `bytes_max` bytes of JSON. No bytes at all are an empty object.
    ///
    /// # Errors
    /// It is too large or says something else.
    pub fn read<T: DeserializeOwned>(&self, bytes_max: usize) -> Result<T, Refusal> {
        if let Some(flaw) = &self.flaw {
            return Err(Refusal::new(Code::BadInput, flaw));
        }
        let n = self.payload.len();
        if n > bytes_max {
            return Err(Refusal::new(Code::BadInput, format_args!("a request of {n} bytes, limit {bytes_max}")));
        }
        let payload: &[u8] = if n == 0 { b"{}" } else { &self.payload };
        serde_json::from_slice(payload).map_err(|error| Refusal::new(Code::BadInput, format_args!("bad JSON: {error}")))
    }

    /// Answers it.
    pub async fn answer<T: Serialize>(self, answer: Result<T, Refusal>) {
        let body = answer.and_then(|answer| {
            serde_json::to_vec(&answer).map_err(|error| Refusal::new(Code::Bug, format_args!("no answer: {error}")))
        });
        let room = self.link.max_payload().saturating_sub(HEADERS_MAX);
        let body = body.and_then(|body| match body.len() {
            n if n > room => {
                Err(Refusal::new(Code::BadInput, format_args!("the answer has {n} bytes, the server takes {room}")))
            }
            _ => Ok(body),
        });
        self.count(body.as_ref().err());
        let (headers, body) = match body {
            Ok(body) => (typed(JSON), body),
            Err(refusal) => refused(&refusal),
        };
        let message = json_message(self.reply.into_string(), headers, body);
        if let Err(error) = self.link.send(message).await {
            // Whoever asked asks again.
            tracing::warn!(%error, "a request was not answered");
        }
    }

    fn count(&self, refusal: Option<&Refusal>) {
        let Some(endpoint) = self.endpoint else { return };
        let mut tally = locked(&self.tally);
        let counts = tally.entry(endpoint).or_default();
        counts.requests += 1;
        counts.taken += self.since.elapsed();
        if let Some(refusal) = refusal {
            counts.errors += 1;
            counts.last_error = on_one_line(&refusal.error);
        }
    }
}

/// The headers and the body of a refusal.
fn refused(refusal: &Refusal) -> (HeaderMap, Vec<u8>) {
    let mut headers = typed(JSON);
    headers.insert(header::SERVICE_ERROR, on_one_line(&refusal.error));
    headers.insert(header::SERVICE_ERROR_CODE, u16::from(refusal.code).to_string());
    // Texts and numbers always have a form; the headers say the most important all the same.
    (headers, serde_json::to_vec(refusal).unwrap_or_default())
}

/// What every answer about a service says.
#[derive(Clone, Debug)]
struct About {
    name: &'static str,
    id: InstanceId,
    version: String,
}

/// Answers whoever looks for services.
#[derive(Debug)]
pub struct Monitor {
    link: Link,
    asked: SelectAll<Messages>,
    about: About,
    since: Timestamp,
    tally: Tally,
}

impl Monitor {
    /// Answers until the connection is closed.
    pub async fn serve(mut self) {
        while let Some(Message { subject, reply, .. }) = self.asked.next().await {
            let Some(reply) = reply.filter(|reply| subject::may_be_answered(reply)) else { continue };
            let Some(body) = subject::parse_discovery(&subject).and_then(|verb| self.tell(verb)) else { continue };
            if let Err(error) = self.link.send(Outgoing::plain(reply, body)).await {
                tracing::debug!(%error, "nobody heard of the service");
            }
        }
    }

    /// The answer to a verb, by the words of the micro protocol.
    fn tell(&self, verb: &str) -> Option<Vec<u8>> {
        let About { name, id, version } = &self.about;
        let told = |kind: &str, more: Value| {
            let kind = format!("io.nats.micro.v1.{kind}_response");
            let mut told = json!({"type": kind, "name": name, "id": id, "version": version, "metadata": {}});
            if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
                told.extend(more);
            }
            told.to_string().into_bytes()
        };
        match verb {
            "PING" => Some(told("ping", json!({}))),
            "INFO" => {
                let endpoints: Vec<Value> = Endpoint::ALL.into_iter().map(place).collect();
                Some(told("info", json!({"description": DESCRIPTION, "endpoints": endpoints})))
            }
            "STATS" => Some(told("stats", json!({"started": self.since, "endpoints": self.used()}))),
            _ => None,
        }
    }

    /// How the endpoints were used; times in nanoseconds.
    fn used(&self) -> Vec<Value> {
        let tally = locked(&self.tally);
        let used = Endpoint::ALL.into_iter().map(|endpoint| {
            let counts = tally.get(&endpoint).cloned().unwrap_or_default();
            let taken = u64::try_from(counts.taken.as_nanos()).unwrap_or(u64::MAX);
            let mut used = json!({"num_requests": counts.requests, "num_errors": counts.errors,
                "last_error": counts.last_error, "processing_time": taken,
                "average_processing_time": taken.checked_div(counts.requests).unwrap_or_default()});
            if let (Value::Object(used), Value::Object(place)) = (&mut used, place(endpoint)) {
                used.extend(place);
            }
            used
        });
        used.collect()
    }
}

/// Where an endpoint listens.
fn place(endpoint: Endpoint) -> Value {
    let name = endpoint.name();
    json!({"name": name, "subject": subject::endpoint(name), "queue_group": GROUP, "metadata": {}})
}
