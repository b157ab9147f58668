//! What is modelled.

use std::{ops::RangeInclusive, time::Duration};

use jiff::Timestamp;

/// Which servers are modelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Servers {
    /// One, which keeps one copy of each stream.
    One,
    /// A cluster of three. A stream or consumer with more than one copy is led by one of them.
    Three,
}

/// How the model behaves. The same configuration, the same faults and the same clients lead to the same history.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Everything that happens by chance is drawn from it.
    pub seed: u64,
    /// Which servers are modelled.
    pub servers: Servers,
    /// What the servers' clock says when the model is made; it goes on with tokio's.
    pub start: Timestamp,
    /// How long a message is on its way from a client to its server, and back. One connection keeps its order. Tokio's timers
    /// know whole milliseconds: shorter delays than that change nothing.
    pub delay: RangeInclusive<Duration>,
    /// How long copies of a stream need to agree; for [`Servers::Three`] alone.
    pub agreement: RangeInclusive<Duration>,
    /// How long a client that has lost its connection waits until it is made again, once it can be.
    pub reconnect: RangeInclusive<Duration>,
    /// Bytes of a message at most.
    pub max_payload: usize,
}

impl ModelConfig {
    /// Links and servers that are quick, though not so quick that everything happens in the order in which it was asked for.
    pub fn new(seed: u64, servers: Servers) -> Self {
        const MILLISECOND: Duration = Duration::from_millis(1);
        Self {
            seed,
            servers,
            // The first second of 2026, so that histories can be compared.
            start: Timestamp::from_second(1_767_225_600).unwrap_or_default(),
            delay: Duration::ZERO..=4 * MILLISECOND,
            agreement: MILLISECOND..=5 * MILLISECOND,
            reconnect: Duration::ZERO..=100 * MILLISECOND,
            max_payload: 1024 * 1024,
        }
    }
}
