//! The streams of a mesh as they are now.

use async_nats::jetstream::stream::{Config, DiscardPolicy, PersistenceMode, StorageType};
use jiff::Timestamp;
use serde::Deserialize;

use super::Cluster;
use crate::{
    error::Error,
    link::{DEADLINE, Link},
    raw::parse_time,
    topology::{Topology, drift},
};

/// Key in the metadata of what the server tells: the version of the server that tells it.
const META_VERSION: &str = "_nats.ver";

/// What a mesh is made of, with what our guarantees ask of it.
#[derive(Clone, Debug)]
pub struct Streams([Config; 8]);

/// A stream as its leader sees it.
#[derive(Clone, Debug)]
pub struct StreamState {
    /// Copies that it is to have.
    pub copies: usize,
    /// Whether it lies in files; else it is gone when its server stops.
    pub is_in_files: bool,
    /// Whether it is written behind the acknowledgement's back.
    pub is_written_later: bool,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold; none without a limit of its own.
    pub max_bytes: Option<u64>,
    /// Messages that it holds.
    pub messages: u64,
    /// Whether the oldest messages go at the limit; else new ones are refused.
    pub drops_old: bool,
    /// What is not as it must be: `allow_direct is false, must be true`.
    pub differences: Vec<String>,
    /// Who keeps it; none on a server of its own.
    pub cluster: Option<Cluster>,
    /// Version of the server that leads it, where it says so.
    pub version: Option<String>,
    /// What its leader's clock said, where it says so.
    pub clock: Option<ClockReading>,
}

/// What the clock of another machine said, between two looks at one's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockReading {
    /// Our own time before it was asked.
    pub asked: Timestamp,
    /// Its time when it answered, to the millisecond.
    pub said: Timestamp,
    /// Our own time when the answer had come.
    pub answered: Timestamp,
}

#[derive(Deserialize)]
struct Info {
    config: Config,
    #[serde(default)]
    state: State,
    #[serde(default)]
    cluster: Option<Cluster>,
    #[serde(default)]
    ts: Option<String>,
}

#[derive(Default, Deserialize)]
struct State {
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    bytes: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Topology::default().streams())
    }
}

impl Streams {
    /// The names of all streams of a mesh.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|config| config.name.as_str())
    }

    /// Asks for each of them, all at once; `now` tells our own time.
    pub async fn ask(&self, link: &Link, now: fn() -> Timestamp) -> Vec<(String, Result<StreamState, Error>)> {
        let asked = self.0.iter().map(|wanted| async move { (wanted.name.clone(), ask(link, wanted, now).await) });
        futures::future::join_all(asked).await
    }
}

async fn ask(link: &Link, wanted: &Config, now: fn() -> Timestamp) -> Result<StreamState, Error> {
    let asked = now();
    let info: Info = link.api(&format!("STREAM.INFO.{}", wanted.name), &(), DEADLINE).await?;
    let answered = now();
    let Info { config, state, cluster, ts } = info;
    Ok(StreamState {
        copies: config.num_replicas,
        is_in_files: config.storage == StorageType::File,
        is_written_later: config.persist_mode == Some(PersistenceMode::Async),
        bytes: state.bytes,
        max_bytes: u64::try_from(config.max_bytes).ok().filter(|limit| *limit > 0),
        messages: state.messages,
        drops_old: config.discard == DiscardPolicy::Old,
        differences: drift::of_stream(wanted, &config),
        cluster,
        version: config.metadata.get(META_VERSION).cloned(),
        clock: ts.as_deref().and_then(parse_time).map(|said| ClockReading { asked, said, answered }),
    })
}
