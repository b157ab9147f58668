//! A mesh: the streams of one installation, reached over a [`Link`], with the settings that all its parts share.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rr_schemas::{
    codec::Format,
    id::{EntityId, Partition},
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    bucket::WORKERS,
    clock::Clock,
    connected::Connected,
    error::Error,
    link::{DEADLINE, Link},
    subject,
    upkeep::log_was_never_there,
};

/// The streams of one installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mesh {
    link: Link,
    settings: Arc<Settings>,
    wire: Format,
    clock: Clock,
}

/// What was fixed when the mesh was made; kept in the metadata of the event stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    pub(crate) partitions: u16,
    pub(crate) work_ack_wait: Duration,
}

const META_WORK_ACK_WAIT: &str = "rr_work_ack_wait_ms";

impl Settings {
    pub(crate) fn to_metadata(&self) -> HashMap<String, String> {
        HashMap::from([
            (subject::META_PARTITIONS.to_owned(), self.partitions.to_string()),
            (META_WORK_ACK_WAIT.to_owned(), self.work_ack_wait.as_millis().to_string()),
        ])
    }

    pub(crate) fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, Error> {
        let number = |key: &str| metadata.get(key).and_then(|value| value.parse::<u64>().ok()).filter(|&n| n > 0);
        let missing =
            |key| Error::Drift { what: format!("stream {}: no usable {key} in its metadata", subject::EVENTS) };
        let partitions = number(subject::META_PARTITIONS).and_then(|count| u16::try_from(count).ok());
        Ok(Self {
            partitions: partitions.ok_or_else(|| missing(subject::META_PARTITIONS))?,
            work_ack_wait: Duration::from_millis(
                number(META_WORK_ACK_WAIT).ok_or_else(|| missing(META_WORK_ACK_WAIT))?,
            ),
        })
    }
}

impl Link {
    /// The mesh on this server.
    ///
    /// # Errors
    /// [`Error::NotFound`] as long as nobody has made it.
    pub async fn mesh(&self) -> Result<Mesh, Error> {
        #[derive(Deserialize)]
        struct Info {
            config: Config,
        }
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            metadata: HashMap<String, String>,
        }
        let info: Info = self.api(&format!("STREAM.INFO.{}", subject::EVENTS), &(), DEADLINE).await?;
        Ok(Mesh::new(self.clone(), Settings::from_metadata(&info.config.metadata)?))
    }

    /// The same for whoever may look at the states of runs: they say whether a mesh has been there.
    ///
    /// # Errors
    /// As [`Link::mesh`]; [`Error::LogGone`] where runs have been, and their log is not there.
    pub async fn mesh_or_loss(&self) -> Result<Mesh, Error> {
        match self.mesh().await {
            // Whoever may not look, or cannot now, is told no more than that there is no mesh.
            Err(missing @ Error::NotFound { .. }) => match log_was_never_there(self).await {
                Err(gone @ Error::LogGone { .. }) => Err(gone),
                Ok(()) | Err(_) => Err(missing),
            },
            answered => answered,
        }
    }
}

impl Mesh {
    pub(crate) fn new(link: Link, settings: Settings) -> Self {
        Self { link, settings: Arc::new(settings), wire: Format::Json, clock: Clock::system() }
    }

    /// The same mesh, to which inputs go out in this format; each message says which it is in, and everybody reads both.
    #[must_use]
    pub fn with_wire(self, wire: Format) -> Self {
        Self { wire, ..self }
    }

    /// The same mesh, for whoever lives by this clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The clock by which whoever works on it lives.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The format in which inputs go out.
    pub(crate) const fn wire(&self) -> Format {
        self.wire
    }

    /// The connection.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Makes sure that every part of it has been made: the bucket of presence is the last.
    ///
    /// # Errors
    /// [`Error::NotFound`] as long as it has not.
    pub async fn is_whole(&self) -> Result<(), Error> {
        let operation = format!("STREAM.INFO.{}", WORKERS.stream);
        self.link.api::<IgnoredAny>(&operation, &(), DEADLINE).await.map(|_| ())
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u16 {
        self.settings.partitions
    }

    /// Every partition.
    pub fn all_partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.settings.partitions).map(Partition)
    }

    /// The partition that an entity lives in.
    pub fn partition_of(&self, entity: &EntityId) -> Partition {
        subject::partition_of(entity, self.settings.partitions)
    }

    /// How long a worker may hold an offer without a sign of life; a third of it is a good pause between two signs.
    pub fn work_ack_wait(&self) -> Duration {
        self.settings.work_ack_wait
    }

    /// See [`Link::connected`].
    pub fn connected(&self) -> Connected {
        self.link.connected()
    }

    /// See [`Link::closed`].
    pub async fn closed(&self) {
        self.link.closed().await;
    }

    /// See [`Link::is_connected`].
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// See [`Link::flush`].
    ///
    /// # Errors
    /// Those of [`Link::flush`].
    pub async fn flush(&self) -> Result<(), Error> {
        self.link.flush().await
    }

    /// See [`Link::drain`].
    pub async fn drain(&self) {
        self.link.drain().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Settings;

    #[test]
    fn settings_survive_the_metadata() {
        let settings = Settings { partitions: 16, work_ack_wait: Duration::from_millis(2_500) };
        assert_eq!(Settings::from_metadata(&settings.to_metadata()), Ok(settings.clone()));
        for key in ["rr_partitions", "rr_work_ack_wait_ms"] {
            for value in ["", "0", "-1", "x"] {
                let mut metadata = settings.to_metadata();
                metadata.insert(key.to_owned(), value.to_owned());
                assert!(Settings::from_metadata(&metadata).is_err(), "{key}={value}");
            }
        }
    }
}
