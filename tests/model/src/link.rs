//! The way of a message between a client and its server: in order, not at once, and not always to its end.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rr_nats::transport::{Message, Observer, Outgoing, Subject};
use tokio::sync::{mpsc, oneshot};

use crate::router::Sid;

/// Messages that wait for the client to read them, of one subscription: as many as the real client holds. More are dropped.
pub(crate) const UNREAD_MAX: usize = 65_536;
/// What waits for the connection to be made again: as much as the real client is told to hold.
pub(crate) const UNSENT_MAX: usize = 8_192;

/// What a client sends.
#[derive(Debug)]
pub(crate) enum Packet {
    Publish(Outgoing, Option<Subject>),
    Subscribe(Sid, String, Option<String>),
    Unsubscribe(Sid),
    /// The same, and tell when what was sent before has arrived.
    Drain(Sid),
    Flush(oneshot::Sender<()>),
}

/// What comes to a client.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    Message(Sid, Message),
    /// Nothing more comes for a subscription.
    End(Sid),
}

/// A subscription as its client knows it.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) subject: String,
    pub(crate) group: Option<String>,
    pub(crate) unread: mpsc::Sender<Message>,
}

/// How a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Connected,
    /// To be made again.
    Broken,
    /// For good.
    Closed,
}

/// A client's end of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) name: String,
    pub(crate) observer: Observer,
    pub(crate) state: State,
    /// How many times it was made.
    pub(crate) generation: u64,
    /// Whether it cannot be made.
    pub(crate) is_cut: bool,
    /// Whether everything is held.
    pub(crate) is_silent: bool,
    pub(crate) subscribed: BTreeMap<Sid, Subscribed>,
    pub(crate) next_sid: Sid,
    /// What waits for the connection.
    pub(crate) unsent: VecDeque<Packet>,
    /// What was on its way to the server when the connection fell silent.
    pub(crate) held_up: VecDeque<Packet>,
    /// The same to the client.
    pub(crate) held_down: VecDeque<Arrival>,
    /// When the last packet arrives that is on its way; what follows arrives no earlier.
    pub(crate) up: Duration,
    /// The same to the client.
    pub(crate) down: Duration,
}

impl Connection {
    pub(crate) fn new(name: &str, observer: Observer) -> Self {
        Self {
            name: name.to_owned(),
            observer,
            state: State::Connected,
            generation: 1,
            is_cut: false,
            is_silent: false,
            subscribed: BTreeMap::new(),
            next_sid: 1,
            unsent: VecDeque::new(),
            held_up: VecDeque::new(),
            held_down: VecDeque::new(),
            up: Duration::ZERO,
            down: Duration::ZERO,
        }
    }

    /// Hands over what has arrived. Says whether there was room.
    pub(crate) fn arrive(&mut self, arrival: Arrival) -> bool {
        match arrival {
            Arrival::Message(sid, message) => match self.subscribed.get(&sid) {
                Some(found) => !matches!(found.unread.try_send(message), Err(mpsc::error::TrySendError::Full(_))),
                // It was given up meanwhile.
                None => true,
            },
            Arrival::End(sid) => {
                self.subscribed.remove(&sid);
                true
            }
        }
    }

    /// Everything on its way is lost.
    pub(crate) fn lose_all(&mut self) {
        self.held_up.clear();
        self.held_down.clear();
        self.is_silent = false;
    }

    /// Ends for good; what has arrived can still be read.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.subscribed.clear();
        self.unsent.clear();
    }
}
