//! The only crate that names `async_nats`: everything that Roadrunner asks of JetStream.
//!
//! Reading order: [`subject`] (names), [`transport`] (what carries messages), [`mod@connect`] (a [`Link`] to a server, a [`Mesh`] on it), [`topology`] (what is on
//! the server), [`events`] (the log), [`pull`] and [`partition`] (how inputs come), [`work`] and [`lane`] (offers),
//! [`mod@timer`], [`reports`], [`output`], [`status`], [`presence`], [`roster`] and [`locks`] (buckets), [`control`], [`service`] (what
//! any client may ask), [`watch`], [`retention`] (what is old, and its end), [`quarantine`], [`copies`] (messages whole, for readers of history), [`export`] (the same in a file), [`checkup`], [`upkeep`], [`snapshot`]; [`server`] (nats-server itself:
//! found, fetched, run as a child).
//!
//! Invariants: every wait for the network has a deadline; nothing read from the server is believed before its subject,
//! headers and envelope agree; an unanswered publish is unknown, not failed.

mod ack;
mod bucket;
pub mod checkup;
mod clock;
pub mod connect;
mod connected;
mod consumer;
pub mod control;
pub mod copies;
mod direct;
pub mod error;
pub mod events;
pub mod export;
mod extent;
pub mod input;
pub mod lane;
mod link;
pub mod locks;
mod mesh;
mod mux;
mod ordered;
pub mod output;
pub mod partition;
pub mod presence;
pub mod pull;
mod purge;
pub mod quarantine;
mod raw;
pub mod reports;
pub mod retention;
pub mod rights;
pub mod roster;
pub mod server;
pub mod service;
pub mod shortened;
pub mod snapshot;
pub mod status;
pub mod subject;
pub mod timer;
pub mod topology;
pub mod transport;
pub mod upkeep;
pub mod watch;
pub mod work;
pub mod yardstick;

pub use ack::{Ack, FreshAck};
pub use clock::Clock;
pub use connect::{ClientCertificate, ConnectError, ConnectOptions, TlsFirst, TlsOptions, UserJwt, connect};
pub use connected::{Connected, Ended};
pub use control::{ControlFeed, JoinReply, JoinRequest, JoinServer};
pub use copies::{Copied, Copies, LogMessage};
pub use error::{Error, PublishError};
pub use events::{EncodedDecision, First, StoredDecision, encode_decision, hash};
pub use input::{Delivery, EncodeError, Finder, InputMsg};
pub use lane::{HostFilter, KnownWorker, LANE_HOSTS_MAX, Lane, LaneError, LostLane};
pub use link::Link;
pub use locks::{LOCK_TTL_MIN, Lock, LockEntry, LockError, LockLost, LockRequest, LockWait, Taking};
pub use mesh::Mesh;
pub use output::{Chunk, ChunkId, Follow, OutStream, OutputFilter, OutputReader};
pub use partition::{FeedConfig, PartitionFeed};
pub use presence::{PresenceError, Present, Shown};
pub use pull::{Pinned, PullConfig, PullError, Pulled, Puller};
pub use quarantine::{Quarantined, RestoreError};
pub use raw::RawMessage;
pub use reports::{ClaimError, Earlier, StoredClaim};
pub use retention::{Answered, OldRequest, OldRequests, OldStatus};
pub use roster::PresenceWatch;
pub use service::{ApiRequest, ApiServer, Endpoint, Monitor};
pub use shortened::{Compared, Shortened};
pub use status::{Put, StatusWriter, Unfinished};
pub use timer::{Armed, Fired, Timers};
pub use topology::{Part, Topology, ensure, init};
pub use upkeep::{Finding, Store, Upkeep};
pub use watch::{EventTail, Start, TailItem};
pub use work::OfferMsg;
