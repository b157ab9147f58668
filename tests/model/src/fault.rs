//! What can go wrong, by name. Faults are data, so that a plan of them can be printed, repeated and made smaller.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Something that goes wrong once, at the moment at which it is asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
#[non_exhaustive]
pub enum Fault {
    /// A client's connection breaks, and cannot be made again before [`Fault::Heal`]. What is under way is lost, both ways.
    Cut {
        /// The client's name.
        client: String,
    },
    /// A client's connection breaks, and is made again at once.
    Break {
        /// The client's name.
        client: String,
    },
    /// A connection that was cut or silent can be used again. What was held comes now.
    Heal {
        /// The client's name.
        client: String,
    },
    /// A client's connection falls silent without breaking: everything is held, both ways, until [`Fault::Heal`].
    Silence {
        /// The client's name.
        client: String,
    },
    /// A client is gone for good, with everything under way. Its subscriptions end; whatever it still asks fails.
    Kill {
        /// The client's name.
        client: String,
    },
    /// The server is killed and comes back (all servers, where there are three): connections, pulls and pins are lost, streams,
    /// acknowledgements and counts stay, but for what a consumer has noted in the last moment. That may be lost, which is
    /// counted as `forgotten_moment`.
    Restart {
        /// How long it is away.
        down: Duration,
        /// Whether what was stored since the last [`Fault::Sync`] is lost, as by a power cut. Nothing is where there was none.
        loses_unsynced: bool,
    },
    /// The servers are there again which were killed, before their time.
    Start {},
    /// Everything that is stored is safe from now on, whatever happens.
    Sync {},
    /// A stream and its consumers get another leader; for [`Servers::Three`](crate::Servers::Three) alone. Until there is one, nobody
    /// answers for the stream; what it has not agreed on is stored or not, and nobody hears of it.
    MoveLeader {
        /// The stream.
        stream: String,
        /// How long nobody leads.
        leaderless: Duration,
    },
    /// Most copies of a stream sleep; for [`Servers::Three`](crate::Servers::Three) alone. Whoever leads it does not know yet and
    /// goes on taking messages, but no publish is agreed on. Then it gives up, and what follows is as for [`Fault::MoveLeader`].
    LoseMajority {
        /// The stream.
        stream: String,
        /// How long its leader does not know.
        unaware: Duration,
        /// How long nobody leads afterwards.
        leaderless: Duration,
    },
    /// The copies of a stream are awake, and one of them leads it, whatever else was to come: what its leader has taken meanwhile is
    /// agreed on now. Not counted where nothing was amiss.
    Wake {
        /// The stream.
        stream: String,
    },
    /// A consumer alone gets another leader, at once: its pulls come back, its pin is free.
    MoveConsumer {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// The pin of a consumer is free, as if its holder had not asked for too long.
    MovePin {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// Everything that is delivered and not acknowledged is delivered again, before its time.
    RedeliverEarly {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// Somebody removes a consumer.
    RemoveConsumer {
        /// The stream.
        stream: String,
        /// The consumer.
        consumer: String,
    },
    /// Somebody removes a stream with its consumers.
    RemoveStream {
        /// The stream.
        stream: String,
    },
    /// A stream takes nothing new, as if its limit were reached.
    Fill {
        /// The stream.
        stream: String,
    },
    /// A stream that was full has room again.
    Drain {
        /// The stream.
        stream: String,
    },
}

impl Fault {
    /// Its name, under which [`Model::counts`](crate::Model::counts) counts it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Break { .. } => "break",
            Self::Heal { .. } => "heal",
            Self::Silence { .. } => "silence",
            Self::Kill { .. } => "kill",
            Self::Restart { .. } => "restart",
            Self::Start {} => "start",
            Self::Sync {} => "sync",
            Self::MoveLeader { .. } => "move_leader",
            Self::LoseMajority { .. } => "lose_majority",
            Self::Wake { .. } => "wake",
            Self::MoveConsumer { .. } => "move_consumer",
            Self::MovePin { .. } => "move_pin",
            Self::RedeliverEarly { .. } => "redeliver_early",
            Self::RemoveConsumer { .. } => "remove_consumer",
            Self::RemoveStream { .. } => "remove_stream",
            Self::Fill { .. } => "fill",
            Self::Drain { .. } => "drain",
        }
    }
}

/// What goes wrong by chance, in thousandths of the times at which it could. All are zero at first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Chances {
    /// A message to a stream never gets there; its publisher hears nothing. Counted as `lost_publish`.
    pub lost_publish: u32,
    /// A message is stored, and its publisher never hears of it. Counted as `lost_ack`.
    pub lost_ack: u32,
    /// The answer to a request or a publish takes up to `late_by`. Counted as `late_answer`.
    pub late_answer: u32,
    /// What a client says of a delivery, with or without asking for an answer, never gets there. Counted as `lost_said`.
    pub lost_said: u32,
    /// A request to the API, a pull among them, never gets there. Counted as `lost_request`.
    pub lost_request: u32,
    /// A message is delivered again before its time, at any moment of it. Counted as `early_redelivery`.
    pub early_redelivery: u32,
    /// A copy answers a direct read that does not have the last messages, those of up to `late_by`; for
    /// [`Servers::Three`](crate::Servers::Three) alone. Counted as `stale_read`.
    pub stale_read: u32,
    /// How late answers and copies are at most.
    pub late_by: Duration,
}

/// The names of what goes wrong by chance: by [`Chances`], and by what servers do when they are moved, restarted or hurried.
pub const BY_CHANCE: [&str; 10] = [
    "lost_publish",
    "lost_ack",
    "late_answer",
    "lost_said",
    "lost_request",
    "early_redelivery",
    "stale_read",
    "forgotten_moment",
    "overtaken_timer",
    "stored_unheard",
];

/// How often each thing has gone wrong, by its name.
pub type Counts = BTreeMap<&'static str, u64>;
