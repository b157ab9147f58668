//! How a request for messages is written.

use std::time::Duration;

use serde::Serialize;

use super::{Pinned, PullConfig};
use crate::subject;

/// How long a request waits for messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// That long.
    Wait(Duration),
    /// Not at all: it is for those that are there.
    Now,
}

/// The body of a request.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    batch: usize,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_wait: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// For so many messages, under a pin where one is held.
    pub(super) fn new(config: &PullConfig, messages: usize, patience: Patience, pin: Option<&'a str>) -> Self {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (expires, no_wait) = match patience {
            Patience::Wait(expires) => (Some(expires), false),
            Patience::Now => (None, true),
        };
        // The server refuses heartbeats that do not fit into the request.
        let heartbeat = config.heartbeat;
        let fits = !heartbeat.is_zero() && expires.is_some_and(|expires| heartbeat * 2 <= expires);
        let (group, id) = match config.pinned {
            Pinned::No => (None, None),
            Pinned::Group => (Some(subject::PIN_GROUP), pin),
        };
        let idle_heartbeat = fits.then(|| nanos(heartbeat));
        Self { batch: messages, expires: expires.map(nanos), idle_heartbeat, no_wait, group, id }
    }

    /// How long it waits for messages.
    pub(super) fn lasts(&self) -> Duration {
        self.expires.map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// Whether the server sends heartbeats for it.
    pub(super) const fn has_heartbeat(&self) -> bool {
        self.idle_heartbeat.is_some()
    }
}
