//! Acknowledgements. They prove nothing: a stale holder's counts as well. So nothing that must be true rests on them.
//!
//! They name a message by its sequence alone. On a server whose store was put back meanwhile, as an old copy or by a loss of
//! power, that may be another message by now, and a work queue removes what it is told is done, whatever it is.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::Error,
    link::{DEADLINE, Link},
    transport::{Outgoing, Subject},
};

/// What can be said of a delivered message. Except for [`Ack::confirm`] it is said without waiting for an answer.
#[derive(Clone, Debug)]
pub struct Ack {
    link: Link,
    reply: Subject,
}

impl Ack {
    pub(crate) const fn new(link: Link, reply: Subject) -> Self {
        Self { link, reply }
    }

    /// It is done.
    pub async fn ack(&self) {
        self.say(Bytes::from_static(b"+ACK")).await;
    }

    /// It is being worked on: its time starts anew.
    pub async fn progress(&self) {
        self.say(Bytes::from_static(b"+WPI")).await;
    }

    /// Deliver it again, after a pause where one is given.
    pub async fn nak(&self, pause: Option<Duration>) {
        let body = match pause {
            Some(pause) => Bytes::from(format!("-NAK {{\"delay\": {}}}", pause.as_nanos())),
            None => Bytes::from_static(b"-NAK"),
        };
        self.say(body).await;
    }

    /// Never deliver it again.
    pub async fn term(&self) {
        self.say(Bytes::from_static(b"+TERM")).await;
    }

    /// It is done, and the server has said that it knows.
    ///
    /// # Errors
    /// The acknowledgement may or may not have arrived.
    pub async fn confirm(&self) -> Result<(), Error> {
        let message = Outgoing::plain(self.reply.clone(), Bytes::from_static(b"+ACK"));
        self.link.request(message, DEADLINE).await.map(|_| ())
    }

    async fn say(&self, body: Bytes) {
        if let Err(error) = self.link.send(Outgoing::plain(self.reply.clone(), body)).await {
            // The message comes again after its time; every receiver must bear that anyway.
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }
}

/// An acknowledgement that is said only as long as the connection stands on which its message came: nobody knows what the
/// sequence means on the next one. Left out, the message comes again.
#[derive(Clone, Debug)]
pub struct FreshAck {
    ack: Ack,
    generation: u64,
}

impl FreshAck {
    pub(crate) const fn new(ack: Ack, generation: u64) -> Self {
        Self { ack, generation }
    }

    /// See [`Ack::ack`].
    pub async fn ack(&self) {
        if self.counts() {
            self.ack.ack().await;
        }
    }

    /// See [`Ack::nak`].
    pub async fn nak(&self, pause: Option<Duration>) {
        if self.counts() {
            self.ack.nak(pause).await;
        }
    }

    /// See [`Ack::confirm`].
    ///
    /// # Errors
    /// As there; nothing is said where the connection is another one.
    pub async fn confirm(&self) -> Result<(), Error> {
        if self.counts() {
            self.ack.confirm().await
        } else {
            Err(Error::Unreachable("the connection on which it was delivered".to_owned()))
        }
    }

    fn counts(&self) -> bool {
        let counts = self.ack.link.is_connected() && self.ack.link.generation() == self.generation;
        if !counts {
            tracing::debug!("an acknowledgement is not sent: what it is for came on another connection");
        }
        counts
    }
}
