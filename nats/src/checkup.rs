//! What the server says of the parts of a mesh, for whoever wants to know whether it is well. Reads only.
//!
//! Invariant: each part is asked for by a request of its own, so that one that may not be seen, or does not answer, hides
//! no other.

mod account;
mod consumer;
mod lanes;
mod offers;
mod stream;

pub use account::Account;
pub use consumer::ConsumerState;
pub use lanes::Lanes;
pub use offers::{OldestOffer, OpenOffers};
pub use stream::{ClockReading, StreamState, Streams};

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A server that keeps a copy, as the leader sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Whether its copy is up to date.
    #[serde(default)]
    pub current: bool,
    /// Whether it is known to be away. The leader says so only minutes after a server was killed.
    #[serde(default)]
    pub offline: bool,
    /// How long it has not been heard of; a server that is there is heard of every second.
    #[serde(default, rename = "active", deserialize_with = "nanos")]
    pub silent: Duration,
    /// Changes that it has still to take over.
    #[serde(default)]
    pub lag: u64,
}

/// Who keeps a stream or a consumer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Cluster {
    /// The server that leads it; none while nobody does.
    #[serde(default)]
    pub leader: Option<String>,
    /// The others.
    #[serde(default, rename = "replicas")]
    pub peers: Vec<Peer>,
}

impl Cluster {
    /// Whether somebody leads.
    pub fn is_led(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| !leader.is_empty())
    }
}

/// Reads a length of time as the server writes it; one that is negative is none.
fn nanos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let nanos = i64::deserialize(deserializer)?;
    Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()))
}
