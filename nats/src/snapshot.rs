//! Snapshots of streams: a stream as the server packs it, with its sequences, times and consumers, and the way back.
//!
//! What is packed is the server's own form; nothing here looks into it. Of a mesh only what cannot be made again is worth
//! keeping ([`KEPT`]): the log, what people see of runs, the quarantine, output. Offers, timers, presence and locks follow from
//! the log or from whoever is there, and coordinators make them anew when they find streams that are younger than the log.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::{
    bucket::RUNS,
    checkup::Streams,
    error::Error,
    link::{DEADLINE, DEADLINE_LONG, Link},
    subject,
    transport::{Outgoing, StatusCode},
};

/// Streams of a mesh that a backup keeps, in the order in which they are packed: states before the log, so that none shows
/// a decision that the log does not have.
pub const KEPT: [&str; 4] = [RUNS.stream, subject::EVENTS, subject::QUARANTINE, subject::OUTPUT];

/// Bytes of one piece: small enough for any limit of a server.
pub const CHUNK_BYTES: usize = 128 * 1024;
/// How long the server may take for a piece.
const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// What the server adds to the metadata of a stream.
const SERVERS_OWN: &str = "_nats.";
/// The status of the message behind the last piece.
const END: u16 = 204;

/// What is known of a packed stream beside its bytes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Packed {
    /// Its name.
    pub name: String,
    /// Its configuration, as the server has it.
    pub config: Value,
    /// Its state when it was packed: sequences, times, counts.
    pub state: Value,
    /// Bytes of the pack.
    pub bytes: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
}

/// Why a stream was not packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The server does not do it.
    #[error(transparent)]
    Mesh(#[from] Error),
    /// The pack cannot be written or read.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// A running hash of a pack.
#[derive(Clone, Default)]
pub struct PackHash(Sha256);

impl fmt::Debug for PackHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackHash")
    }
}

impl PackHash {
    /// Takes bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash in hex.
    pub fn finish(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut text, byte| {
            for nibble in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            text
        })
    }
}

impl Link {
    /// Which streams of a mesh are there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn streams_there(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Info {}
        let mut there = Vec::new();
        for name in Streams::default().names() {
            match self.api::<Info>(&format!("STREAM.INFO.{name}"), &(), DEADLINE).await {
                Ok(Info {}) => there.push(name.to_owned()),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(there)
    }

    /// Packs a stream with its consumers; the bytes go to `sink` as they come.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub async fn pack_stream(
        &self,
        name: &str,
        mut sink: impl FnMut(&[u8]) -> io::Result<()> + Send,
    ) -> Result<Packed, SnapshotError> {
        #[derive(Serialize)]
        struct Request<'a> {
            deliver_subject: &'a str,
            no_consumers: bool,
            chunk_size: usize,
            /// The server checks what it packs.
            jsck: bool,
        }
        #[derive(Deserialize)]
        struct Answer {
            config: Value,
            state: Value,
        }
        let inbox = format!("{}pieces", self.new_inbox());
        let mut pieces = self.subscribe(inbox.clone(), None).await?;
        let request = Request { deliver_subject: &inbox, no_consumers: false, chunk_size: CHUNK_BYTES, jsck: true };
        let Answer { config, state } =
            self.api_once(&format!("STREAM.SNAPSHOT.{name}"), &request, DEADLINE_LONG).await?;
        let (mut hash, mut bytes) = (PackHash::default(), 0_u64);
        loop {
            let piece = timeout(CHUNK_WITHIN, pieces.next()).await;
            let piece = piece.map_err(|_| Error::Timeout { what: format!("a piece of {name}") })?;
            let piece = piece.ok_or_else(|| Error::Unreachable("the connection is closed".to_owned()))?;
            if piece.payload.is_empty() {
                let status = piece.status.map_or(END, |status| status.as_u16());
                if status != END {
                    let text = piece.description.unwrap_or_default();
                    return Err(Error::Refused { code: u32::from(status), text }.into());
                }
                break;
            }
            hash.update(&piece.payload);
            bytes = bytes.saturating_add(u64::try_from(piece.payload.len()).unwrap_or(u64::MAX));
            sink(&piece.payload)?;
            // The server waits for this before it sends much more.
            if let Some(reply) = piece.reply {
                self.send(Outgoing::plain(reply, Bytes::new())).await?;
            }
        }
        drop(pieces.unsubscribe().await);
        Ok(Packed { name: name.to_owned(), config, state, bytes, sha256: hash.finish() })
    }

    /// Makes a stream of a pack, as it was; `source` gives the bytes, piece by piece, and none at their end. Nothing may be
    /// there under its name.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub async fn unpack_stream(
        &self,
        packed: &Packed,
        replicas: Option<usize>,
        mut source: impl FnMut() -> io::Result<Option<Vec<u8>>> + Send,
    ) -> Result<(), SnapshotError> {
        #[derive(Serialize)]
        struct Request {
            config: Value,
            state: Value,
        }
        #[derive(Deserialize)]
        struct Answer {
            deliver_subject: String,
        }
        #[derive(Deserialize)]
        struct Made {}
        let operation = format!("STREAM.RESTORE.{}", packed.name);
        let request = Request { config: as_asked(&packed.config, replicas), state: packed.state.clone() };
        let Answer { deliver_subject } = self.api_once(&operation, &request, DEADLINE_LONG).await?;
        while let Some(piece) = source()? {
            let answer = self.request(Outgoing::plain(deliver_subject.clone(), piece), CHUNK_WITHIN).await?;
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                return Err(Error::Answer(format!("{operation}: the server listens no more")).into());
            }
            if !answer.payload.is_empty() {
                Self::read_answer::<Made>(&operation, &answer)?;
            }
        }
        let end = self.request(Outgoing::plain(deliver_subject, Bytes::new()), CHUNK_WITHIN).await?;
        let Made {} = Self::read_answer(&operation, &end)?;
        Ok(())
    }
}

/// A configuration without what its server had added, and with as many copies as are wanted.
fn as_asked(config: &Value, replicas: Option<usize>) -> Value {
    let mut config = config.clone();
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !key.starts_with(SERVERS_OWN));
    }
    if let (Some(fields), Some(replicas)) = (config.as_object_mut(), replicas) {
        fields.insert("num_replicas".to_owned(), replicas.into());
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_made_as_it_was_asked_for() {
        let config = serde_json::json!({
            "name": "RR_EVENTS", "num_replicas": 3,
            "metadata": { "rr_partitions": "8", "_nats.ver": "2.15.1" }
        });
        let asked = serde_json::json!({ "name": "RR_EVENTS", "num_replicas": 1, "metadata": { "rr_partitions": "8" } });
        assert_eq!(as_asked(&config, Some(1)), asked);
        assert_eq!(as_asked(&asked, None), asked);
    }

    #[test]
    fn the_hash_of_a_pack_does_not_depend_on_its_pieces() {
        let (mut one, mut two) = (PackHash::default(), PackHash::default());
        one.update(b"abc");
        two.update(b"a");
        two.update(b"bc");
        let hash = one.finish();
        assert!(hash.starts_with("ba7816bf") && hash.len() == 64);
        assert_eq!(hash, two.finish());
    }
}
