//! Requests for messages, and the pin.

use rr_nats::transport::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Consumer, Pin, Said, Store, Turn, unfilled};

/// A request for messages, as it is sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    batch: u64,
    expires: u64,
    no_wait: bool,
    idle_heartbeat: u64,
    group: String,
    id: String,
}

impl Request {
    fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        if body.is_empty() {
            return Ok(Self { batch: 1, ..Self::default() });
        }
        match std::str::from_utf8(body).ok().and_then(|text| text.trim().parse().ok()) {
            Some(batch) => Ok(Self { batch, ..Self::default() }),
            None => serde_json::from_slice(body),
        }
    }
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) reply: String,
    /// Messages that it still wants.
    pub(super) left: u64,
    is_filled: bool,
    expires: Option<u64>,
    no_wait: bool,
    heartbeat: u64,
    /// When the next sign of life is due.
    beat: u64,
    id: String,
}

impl Pull {
    /// When something is to be said to it.
    fn next_due(&self) -> Option<u64> {
        let beat = (self.heartbeat > 0).then_some(self.beat);
        self.expires.into_iter().chain(beat).min()
    }
}

const REFUSED: u16 = 400;
const NO_MESSAGES: u16 = 404;
const TIMEOUT: u16 = 408;
const CONFLICT: u16 = 409;
const OTHER_PIN: u16 = 423;

fn status(to: &str, code: u16, text: &str, headers: HeaderMap, turn: &mut Turn<'_>) {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::NO_RESPONDERS);
    turn.say(Said::status(to, code, text, headers));
}

fn word(to: &str, code: u16, text: &str, turn: &mut Turn<'_>) {
    status(to, code, text, HeaderMap::new(), turn);
}

impl Consumer {
    /// Somebody asks for messages.
    pub(crate) fn asked(&mut self, body: &[u8], reply: &str, store: &Store, turn: &mut Turn<'_>) {
        self.last_active = turn.now;
        self.watch_activity(turn);
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(error) => return word(reply, REFUSED, &format!("Bad Request - {error}"), turn),
        };
        if request.idle_heartbeat.saturating_mul(2) > request.expires {
            return word(reply, REFUSED, "Bad Request - heartbeat value too large", turn);
        }
        if !self.config.priority_groups.is_empty() {
            if request.group.is_empty() {
                return word(reply, REFUSED, "Bad Request - Priority Group missing", turn);
            }
            if !self.config.priority_groups.contains(&request.group) {
                return word(reply, REFUSED, "Bad Request - Invalid Priority Group", turn);
            }
        }
        self.look_at_pin(turn);
        if let Some(pin) = &mut self.pin {
            if pin.id == request.id {
                pin.until = turn.now + self.config.priority_timeout;
            } else if !request.id.is_empty() {
                return word(reply, OTHER_PIN, "Nats-Pin-Id mismatch", turn);
            }
        }
        let has_nothing = self.undelivered == 0 && self.queue.is_empty();
        if request.no_wait && has_nothing && request.expires == 0 {
            return word(reply, NO_MESSAGES, "No Messages", turn);
        }
        if self.waiting.len() >= self.config.max_waiting {
            self.waiting.retain(|pull| turn.router.has_listener(&pull.reply));
        }
        if self.waiting.len() >= self.config.max_waiting {
            return word(reply, CONFLICT, "Exceeded MaxWaiting", turn);
        }
        let pull = Pull {
            reply: reply.to_owned(),
            left: request.batch.max(1),
            is_filled: false,
            expires: (request.expires > 0).then(|| turn.now + request.expires),
            no_wait: request.no_wait,
            heartbeat: request.idle_heartbeat,
            beat: turn.now + request.idle_heartbeat,
            id: request.id,
        };
        if let Some(next) = pull.next_due() {
            self.wake(next, turn);
        }
        self.waiting.push_back(pull);
        self.serve(store, turn);
    }

    /// Requests that have waited too long come back; others hear a sign of life.
    pub(super) fn look_at_waiting(&mut self, turn: &mut Turn<'_>) {
        let (delivery, seq) = (self.delivery - 1, self.seq - 1);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|pull| {
            if pull.expires.is_some_and(|expires| expires <= turn.now) {
                status(&pull.reply, TIMEOUT, "Request Timeout", unfilled(pull), turn);
                return false;
            }
            if !turn.router.has_listener(&pull.reply) {
                return false;
            }
            if pull.heartbeat > 0 && pull.beat <= turn.now {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Last-Consumer", delivery.to_string());
                headers.insert("Nats-Last-Stream", seq.to_string());
                status(&pull.reply, 100, "Idle Heartbeat", headers, turn);
                pull.beat = turn.now + pull.heartbeat;
            }
            true
        });
        self.waiting = waiting;
        if let Some(next) = self.waiting.iter().filter_map(Pull::next_due).min() {
            self.wake(next, turn);
        }
    }

    /// There is nothing more: whoever does not want to wait is told so.
    pub(super) fn end_impatient(&mut self, turn: &mut Turn<'_>) {
        self.waiting.retain(|pull| {
            let is_over = pull.no_wait && (pull.is_filled || pull.expires.is_none());
            if is_over && self.is_copied && pull.is_filled {
                status(&pull.reply, TIMEOUT, "Request Timeout", unfilled(pull), turn);
            } else if is_over {
                word(&pull.reply, NO_MESSAGES, "No Messages", turn);
            }
            !is_over
        });
    }

    /// Whoever gets the next message: each request in turn, of a pinned consumer those of the one who has the pin.
    pub(super) fn next_waiting(&mut self, turn: &mut Turn<'_>) -> Option<Pull> {
        let mut others = 0;
        while others < self.waiting.len() {
            let mut pull = self.waiting.pop_front()?;
            if self.config.is_pinned() {
                match &self.pin {
                    Some(pin) if pin.id == pull.id => {}
                    Some(_) if pull.id.is_empty() => {
                        self.waiting.push_back(pull);
                        others += 1;
                        continue;
                    }
                    None if pull.id.is_empty() => {}
                    Some(_) | None => {
                        status(&pull.reply, OTHER_PIN, "Nats-Wrong-Pin-Id", unfilled(&pull), turn);
                        continue;
                    }
                }
            }
            if pull.expires.is_some_and(|expires| expires <= turn.now) {
                status(&pull.reply, TIMEOUT, "Request Timeout", unfilled(&pull), turn);
                continue;
            }
            if !turn.router.has_listener(&pull.reply) {
                continue;
            }
            if self.config.is_pinned() && self.pin.is_none() {
                pull.id = turn.unique();
                let until = turn.now + self.config.priority_timeout;
                self.pin = Some(Pin { id: pull.id.clone(), since: turn.now, until });
                self.wake(until, turn);
            }
            return Some(pull);
        }
        None
    }

    /// A request has got a message; it waits for the next one at the end of the queue.
    pub(super) fn go_on(&mut self, mut pull: Pull, turn: &Turn<'_>) {
        pull.left -= 1;
        pull.is_filled = true;
        pull.beat = turn.now + pull.heartbeat;
        if pull.left > 0 {
            self.waiting.push_back(pull);
        }
    }

    /// The pin is free when its holder has not asked for too long.
    pub(super) fn look_at_pin(&mut self, turn: &mut Turn<'_>) {
        match self.pin.as_ref().map(|pin| pin.until) {
            Some(until) if until <= turn.now => self.unpin(),
            Some(until) => self.wake(until, turn),
            None => {}
        }
    }

    /// Frees the pin.
    pub(crate) fn unpin(&mut self) {
        self.pin = None;
    }

    /// Whether somebody has the pin.
    pub(crate) const fn has_pin(&self) -> bool {
        self.pin.is_some()
    }

    /// Every request comes back with these words, or goes without any.
    pub(crate) fn end_all(&mut self, words: Option<&str>, turn: &mut Turn<'_>) {
        for pull in std::mem::take(&mut self.waiting) {
            if let Some(words) = words {
                word(&pull.reply, CONFLICT, words, turn);
            }
        }
    }
}
