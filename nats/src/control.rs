//! Core NATS: how workers join, and hints to workers. Nothing here is stored; whoever asks repeats.

use std::time::Duration;

use futures::StreamExt as _;
use rr_schemas::{
    name::WorkerName,
    presence::{Control, Join, JoinAnswer},
};
use serde::Serialize;

use crate::{
    error::Error,
    link::{DEADLINE_LONG, Link},
    mesh::Mesh,
    raw::flaw,
    subject,
    transport::{Message, Messages, Outgoing, Subject},
};

/// Coordinators answer as one.
pub(crate) const GROUP: &str = "rr";
/// How long a ping may take.
const PING_DEADLINE: Duration = Duration::from_secs(2);

fn encoded(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Answer(error.to_string()))
}

impl Mesh {
    /// Asks the coordinators for a worker's consumers.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no coordinator listens: ask again later.
    pub async fn join(&self, join: &Join) -> Result<JoinAnswer, Error> {
        let message = Outgoing::plain(subject::join(&join.worker), encoded(join)?);
        let answer = self.link().ask(message, DEADLINE_LONG).await?;
        serde_json::from_slice(&answer.payload).map_err(|error| Error::Answer(error.to_string()))
    }

    /// Answers workers that want to join, in turn with the other coordinators.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Denied`] when the account may not listen there.
    pub async fn serve_joins(&self) -> Result<JoinServer, Error> {
        let requests = self.link().subscribe(subject::JOINS.to_owned(), Some(GROUP)).await?;
        self.link().subscribed(subject::JOINS).await?;
        Ok(JoinServer { link: self.link().clone(), requests })
    }

    /// Tells a worker something, if it listens.
    ///
    /// # Errors
    /// [`Error`]; that it returns does not say that the worker has heard it.
    pub async fn control(&self, worker: &WorkerName, control: &Control) -> Result<(), Error> {
        self.link().send(Outgoing::plain(subject::control(worker), encoded(control)?)).await
    }

    /// Whether a worker answers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ping(&self, worker: &WorkerName) -> Result<bool, Error> {
        let message = Outgoing::plain(subject::control(worker), encoded(&Control::Ping {})?);
        match self.link().request(message, PING_DEADLINE).await {
            Ok(_) => Ok(true),
            Err(Error::Timeout { .. }) => Ok(false),
            Err(Error::Unreachable(_)) if self.is_connected() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Listens to what coordinators tell a worker.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn controls(&self, worker: &WorkerName) -> Result<ControlFeed, Error> {
        let subject = subject::control(worker);
        let messages = self.link().subscribe(subject.clone(), None).await?;
        // Whoever was told of the worker after this may talk to it. One that cannot be told to stop must not work.
        self.link().flush().await?;
        self.link().subscribed(&subject).await?;
        Ok(ControlFeed { link: self.link().clone(), messages })
    }
}

/// Requests to join.
#[derive(Debug)]
pub struct JoinServer {
    link: Link,
    requests: Messages,
}

/// A request to join.
#[derive(Debug)]
pub struct JoinRequest {
    /// What is asked, or why it must be refused.
    pub join: Result<Join, String>,
    /// Where it is answered.
    pub reply: JoinReply,
}

/// Where a request to join is answered.
#[derive(Debug)]
pub struct JoinReply {
    link: Link,
    subject: Subject,
}

impl JoinServer {
    /// The next request; none when the connection was closed.
    pub async fn next(&mut self) -> Option<JoinRequest> {
        loop {
            let message = self.requests.next().await?;
            let join = read_join(&message);
            match message.reply {
                Some(subject) if subject::may_be_answered(&subject) => {
                    return Some(JoinRequest { join, reply: JoinReply { link: self.link.clone(), subject } });
                }
                Some(reply) => tracing::warn!(reply = %reply, "a request to join wants its answer where none belongs"),
                None => {}
            }
        }
    }
}

fn read_control(message: &Message) -> Result<Control, String> {
    match message.headers.as_ref().and_then(flaw) {
        Some(flaw) => Err(flaw),
        None => serde_json::from_slice(&message.payload).map_err(|error| error.to_string()),
    }
}

fn read_join(message: &Message) -> Result<Join, String> {
    let name = subject::parse_join(&message.subject).ok_or("no worker has such a name")?;
    if let Some(flaw) = message.headers.as_ref().and_then(flaw) {
        return Err(flaw);
    }
    let join: Join = serde_json::from_slice(&message.payload).map_err(|error| format!("bad JSON: {error}"))?;
    if join.worker == name { Ok(join) } else { Err("the request names another worker than its subject".to_owned()) }
}

impl JoinReply {
    /// Answers.
    pub async fn answer(self, answer: &JoinAnswer) {
        let sent = match encoded(answer) {
            Ok(body) => self.link.send(Outgoing::plain(self.subject, body)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            // The worker asks again.
            tracing::warn!(%error, "a worker's request to join was not answered");
        }
    }
}

/// What coordinators tell a worker.
#[derive(Debug)]
pub struct ControlFeed {
    link: Link,
    messages: Messages,
}

impl ControlFeed {
    /// The next thing; none when the connection was closed. Pings are answered here and come out as well.
    pub async fn next(&mut self) -> Option<Control> {
        loop {
            let message = self.messages.next().await?;
            let control = match read_control(&message) {
                Ok(control) => control,
                Err(error) => {
                    tracing::warn!(error, "cannot read what was told");
                    continue;
                }
            };
            if let Some(reply) = message.reply
                && let Err(error) = self.link.send(Outgoing::plain(reply, Vec::new())).await
            {
                tracing::debug!(%error, "no answer could be sent");
            }
            return Some(control);
        }
    }
}
