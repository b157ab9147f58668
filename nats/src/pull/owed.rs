//! The requests that are outstanding, and how many messages the server still owes for them.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// Requests by their numbers.
#[derive(Debug, Default)]
pub(super) struct Owed {
    requests: BTreeMap<u64, Asked>,
    /// Number of the next request.
    next: u64,
    messages: usize,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) messages: usize,
    /// When it is over even if the server says nothing.
    pub(super) until: Instant,
    /// Whether the server sends heartbeats for it.
    pub(super) has_heartbeat: bool,
}

impl Owed {
    /// Messages that were asked for, neither delivered nor given back yet.
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    /// Notes a request and gives it its number.
    pub(super) fn add(&mut self, asked: Asked) -> u64 {
        let number = self.next;
        self.requests.insert(number, asked);
        self.next = number.wrapping_add(1);
        self.messages = self.messages.saturating_add(asked.messages);
        number
    }

    /// A request was not sent.
    pub(super) fn unasked(&mut self, number: u64) {
        if let Some(unasked) = self.requests.remove(&number) {
            self.messages = self.messages.saturating_sub(unasked.messages);
        }
    }

    /// A message has come.
    pub(super) fn delivered(&mut self) {
        self.messages = self.messages.saturating_sub(1);
        if self.messages == 0 {
            self.requests.clear();
        }
    }

    /// A request is over; what was not delivered for it, all of it where the server does not say, is not owed any more.
    /// Says whether the request was known.
    pub(super) fn give_back(&mut self, request: Option<u64>, unfilled: Option<u64>) -> bool {
        let Some(asked) = request.and_then(|number| self.requests.remove(&number)) else { return false };
        let unfilled = unfilled.and_then(|count| usize::try_from(count).ok()).unwrap_or(asked.messages);
        self.messages =
            if self.requests.is_empty() { 0 } else { self.messages.saturating_sub(unfilled.min(asked.messages)) };
        true
    }

    /// The server does not know any of them.
    pub(super) fn void(&mut self) {
        self.requests.clear();
        self.messages = 0;
    }

    /// Until when silence is no sign of trouble, from a server that was `heard` last then and shows itself every `heartbeat`.
    pub(super) fn patience(&self, heard: Instant, heartbeat: Duration) -> Instant {
        let last = self.requests.values().map(|asked| asked.until).max().unwrap_or(heard + heartbeat * 3);
        if self.requests.values().any(|asked| asked.has_heartbeat) { last.min(heard + heartbeat * 3) } else { last }
    }
}
