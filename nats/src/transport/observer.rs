//! Whoever is told what happens to a connection.

use std::sync::Arc;

use crate::{
    connected::{Connected, Teller},
    link::INBOX_PREFIX,
    mux::Waiters,
};

/// Whoever is told what happens to a connection: those who wait for answers, and those who watch whether it stands. Made by
/// [`Link::over`](crate::Link::over). A connection that ends for ever drops it.
#[derive(Clone, Debug)]
pub struct Observer {
    waiters: Arc<Waiters>,
    connected: Teller,
    /// Where answers come: `<prefix>.<random>.`.
    inbox: Arc<str>,
}

impl Observer {
    pub(crate) fn new(inbox_prefix: &str) -> Self {
        let inbox = inbox_under(inbox_prefix).into();
        Self { waiters: Arc::default(), connected: Teller::new(true), inbox }
    }

    /// The connection was made, perhaps anew.
    pub fn connected(&self) {
        self.waiters.connected();
        self.connected.say(true);
    }

    /// The connection broke: whatever was under way has no known outcome.
    pub fn disconnected(&self) {
        self.connected.say(false);
        self.waiters.disconnected();
    }

    /// The server complains, in its own words: `Permissions Violation for Publish to "x"`.
    pub fn server_error(&self, text: &str) {
        self.waiters.server_error(text, &self.inbox);
    }

    pub(crate) fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    pub(crate) fn watch(&self) -> Connected {
        self.connected.watch()
    }

    pub(crate) fn inbox(&self) -> &str {
        &self.inbox
    }
}

/// One that nobody asks: for whoever speaks over a transport without a link.
impl Default for Observer {
    fn default() -> Self {
        Self::new(INBOX_PREFIX)
    }
}

/// A reply inbox of our own: `<prefix>.<random>.`.
pub(crate) fn inbox_under(prefix: &str) -> String {
    let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(22).collect();
    format!("{prefix}.{token}.")
}
