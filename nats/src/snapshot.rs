//! Snapshots of streams: a stream as the server packs it, with its sequences, times and consumers, and the way back.
//!
//! What is packed is the server's own form; nothing here looks into it. Of a mesh only what cannot be made again is worth
//! keeping ([`KEPT`]): the log, what people see of runs, the quarantine, output. Offers, timers, presence and locks follow from
//! the log or from whoever is there, and coordinators make them anew when they find streams that are younger than the log.

mod hash;

use std::{io, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

pub use self::hash::PackHash;
use crate::{
    bucket::RUNS,
    checkup::Streams,
    error::{Error, code},
    link::{DEADLINE, DEADLINE_LONG, Link},
    subject,
    topology::is_short_of_room,
    transport::Outgoing,
};

/// Streams of a mesh that a backup keeps, in the order in which they are packed: states before the log, so that none shows
/// a decision that the log does not have.
pub const KEPT: [&str; 4] = [RUNS.stream, subject::EVENTS, subject::QUARANTINE, subject::OUTPUT];
/// The same in the order in which they are restored: the log last. Where there are states and no log, nobody makes a mesh, and
/// coordinators that are up do nothing.
pub const RESTORED: [&str; 4] = [RUNS.stream, subject::QUARANTINE, subject::OUTPUT, subject::EVENTS];

/// Bytes of one piece: small enough for any limit of a server.
pub const CHUNK_BYTES: usize = 128 * 1024;
/// How long the server may take for a piece.
const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// Bytes that a server surely walks through in a second, whatever disk it has: it checks a whole stream before it sends the
/// first piece, and unpacks a whole one before it says that it has.
const SURELY_A_SECOND: u64 = 8 * 1024 * 1024;
/// In the metadata of a stream that was unpacked: the hash of its pack, until the whole mesh is there.
const META_PACK: &str = "rr_pack";
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

/// What is there under the name of a packed stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unpacked {
    /// No stream, or none yet.
    Nothing,
    /// All that the pack has.
    Whole,
    /// A stream that never had a message. A cluster that gives a restore up (no piece has come for 5 s) makes its stream all the
    /// same, empty, and not on the server that was to unpack it: it is of no use, and in the way of the next try. What a
    /// cluster has made of a pack with nothing in it cannot be told from that.
    Shell,
    /// A stream of this pack that holds something else: a shell that somebody has written to, or in a cluster what was made of
    /// a pack with nothing in it.
    Used,
    /// Another stream.
    Another,
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
    /// There is a stream of this name, or one is just being restored.
    #[error("stream {0} is there by now, or is just being restored")]
    Taken(String),
    /// The server has less room than the stream needs; [`Packed::room`] says how much that is.
    #[error("the server has no room for stream {stream}: {text}")]
    NoRoom {
        /// Its name.
        stream: String,
        /// What the server says.
        text: String,
    },
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

    /// Bytes that a stream holds.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stream_bytes(&self, name: &str) -> Result<u64, Error> {
        Ok(self.stream_now(name).await?.state.bytes)
    }

    async fn stream_now(&self, name: &str) -> Result<Now, Error> {
        self.api(&format!("STREAM.INFO.{name}"), &(), DEADLINE).await
    }

    /// Packs a stream with its consumers; the pieces go to `sink` as they come. The first one comes when the server has checked
    /// all that is there: a stream of `held` bytes is waited for accordingly.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub async fn pack_stream(
        &self,
        name: &str,
        held: u64,
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
            self.api_once(&format!("STREAM.SNAPSHOT.{name}"), &request, walked_within(held)).await?;
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

    /// Makes a stream of a pack, as it was but for the number of its copies; `source` gives the bytes, piece by piece, and none at
    /// their end. Nothing may be there under its name. It is marked as unpacked until [`Link::forget_pack`].
    ///
    /// # Errors
    /// [`SnapshotError`]; [`Error::Replicas`] where there are not as many servers.
    pub async fn unpack_stream(
        &self,
        packed: &Packed,
        replicas: usize,
        mut source: impl FnMut() -> io::Result<Option<Vec<u8>>> + Send,
    ) -> Result<(), SnapshotError> {
        #[derive(Serialize)]
        struct Request {
            config: Value,
            state: Value,
        }
        #[derive(Deserialize)]
        struct Answer {
            /// None where whoever leads by now has made an empty stream instead.
            deliver_subject: Option<String>,
        }
        #[derive(Deserialize)]
        struct Made {}
        let operation = format!("STREAM.RESTORE.{}", packed.name);
        let refused = |error| refused(packed, replicas, error);
        let request = Request { config: as_asked(packed, replicas), state: packed.state.clone() };
        let asked = self.api_once(&operation, &request, DEADLINE_LONG).await;
        let Answer { deliver_subject } = asked.map_err(refused)?;
        let deliver_subject =
            deliver_subject.ok_or_else(|| Error::Timeout { what: format!("where to send {}", packed.name) })?;
        while let Some(piece) = source()? {
            let answer = self.request_soon_heard(Outgoing::plain(deliver_subject.clone(), piece), CHUNK_WITHIN).await?;
            if !answer.payload.is_empty() {
                Self::read_answer::<Made>(&operation, &answer).map_err(refused)?;
            }
        }
        let last = Outgoing::plain(deliver_subject, Bytes::new());
        let end = self.request_soon_heard(last, walked_within(packed.size())).await?;
        let Made {} = Self::read_answer(&operation, &end).map_err(refused)?;
        Ok(())
    }

    /// What is there of this very pack, made by a restore that has not come to its end.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unpacked(&self, packed: &Packed) -> Result<Unpacked, Error> {
        match self.stream_now(&packed.name).await {
            Ok(now) => Ok(unpacked(packed, &now, self.is_clustered())),
            Err(Error::NotFound { .. }) => Ok(Unpacked::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Removes the shell that a try to unpack a stream has left behind.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_shell(&self, packed: &Packed) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Removed {}
        match self.api_once(&format!("STREAM.DELETE.{}", packed.name), &(), DEADLINE_LONG).await {
            Ok(Removed {}) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes away the mark of a stream that was unpacked: the mesh is whole, and goes on from there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_pack(&self, name: &str) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Updated {}
        let Now { mut config, .. } = self.stream_now(name).await?;
        if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| key != META_PACK && !key.starts_with(SERVERS_OWN));
        }
        let Updated {} = self.api(&format!("STREAM.UPDATE.{name}"), &config, DEADLINE_LONG).await?;
        Ok(())
    }
}

/// What the server says of a stream.
#[derive(Deserialize)]
struct Now {
    config: Value,
    state: State,
}

#[derive(Deserialize)]
struct State {
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    /// When its first message was stored.
    first_ts: Timestamp,
}

impl Packed {
    /// Messages that it had when it was packed.
    pub fn messages(&self) -> u64 {
        number(&self.state, "messages")
    }

    /// Whether it never had a message.
    pub fn is_empty(&self) -> bool {
        is_unused(&self.config, number(&self.state, "last_seq"))
    }

    /// Copies that were kept of it.
    pub fn copies(&self) -> u64 {
        number(&self.config, "num_replicas")
    }

    /// Bytes that a server must have free for each copy of it: as many as it may ever hold, which the server sets aside at
    /// once, or where it has no such limit what it holds.
    pub fn room(&self) -> u64 {
        let limit = self.config.get("max_bytes").and_then(Value::as_u64).unwrap_or_default();
        limit.max(number(&self.state, "bytes"))
    }

    /// Bytes that it has unpacked, or packed where that is more.
    fn size(&self) -> u64 {
        number(&self.state, "bytes").max(self.bytes)
    }
}

fn number(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Whether a stream never had a message. One that coordinators have made anew begins behind the numbers of the one before.
fn is_unused(config: &Value, last_seq: u64) -> bool {
    last_seq < number(config, "first_seq").max(1)
}

/// What a stream is to the pack of its name.
fn unpacked(packed: &Packed, now: &Now, is_clustered: bool) -> Unpacked {
    let mark = now.config.get("metadata").and_then(|metadata| metadata.get(META_PACK)).and_then(Value::as_str);
    if mark != Some(packed.sha256.as_str()) {
        return Unpacked::Another;
    }
    let last = now.state.last_seq;
    match (is_unused(&now.config, last), packed.is_empty()) {
        // A single server makes a stream when it has unpacked all of it.
        (true, true) if !is_clustered => Unpacked::Whole,
        (true, _) => Unpacked::Shell,
        (false, true) if is_clustered => Unpacked::Used,
        (false, _) if last < number(&packed.state, "last_seq") || is_younger(packed, &now.state) => Unpacked::Used,
        (false, _) => Unpacked::Whole,
    }
}

/// Whether the first message of a stream was stored behind the last one of the pack, and yet has a number of the pack: then
/// somebody else has written there.
fn is_younger(packed: &Packed, state: &State) -> bool {
    let packed_last =
        packed.state.get("last_ts").and_then(Value::as_str).and_then(|time| time.parse::<Timestamp>().ok());
    state.first_seq <= number(&packed.state, "last_seq") && packed_last.is_none_or(|last| state.first_ts > last)
}

/// How long the server may take to walk through so many bytes.
fn walked_within(bytes: u64) -> Duration {
    CHUNK_WITHIN.saturating_add(Duration::from_secs(bytes / SURELY_A_SECOND))
}

/// Why the server does not restore a stream.
fn refused(packed: &Packed, replicas: usize, error: Error) -> SnapshotError {
    let Error::Refused { code, text } = error else { return error.into() };
    match cause(code, &text) {
        code::STREAM_EXISTS | code::STREAM_IN_THE_WAY => SnapshotError::Taken(packed.name.clone()),
        cause @ (code::NO_PEERS | code::NOT_CLUSTERED) if !is_short_of_room(cause, &text) => {
            Error::Replicas { wanted: replicas, stream: packed.name.clone(), text }.into()
        }
        cause if is_short_of_room(cause, &text) => SnapshotError::NoRoom { stream: packed.name.clone(), text },
        _ => Error::Refused { code, text }.into(),
    }
}

/// The code of what kept a stream from being restored: `restore failed: …: stream name already in use (10058)`.
fn cause(code: u32, text: &str) -> u32 {
    let inner = text.strip_suffix(')').and_then(|text| text.rsplit_once('(')).and_then(|(_, inner)| inner.parse().ok());
    inner.filter(|_| code == code::NOT_RESTORED).unwrap_or(code)
}

/// The configuration to restore: without what its server had added, with as many copies as are wanted, and marked with the
/// pack.
fn as_asked(packed: &Packed, replicas: usize) -> Value {
    let mut config = packed.config.clone();
    let Some(fields) = config.as_object_mut() else { return config };
    let mut metadata = fields.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.retain(|key, _| !key.starts_with(SERVERS_OWN));
    metadata.insert(META_PACK.to_owned(), packed.sha256.clone().into());
    fields.insert("metadata".to_owned(), metadata.into());
    fields.insert("num_replicas".to_owned(), replicas.into());
    config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pack(config: Value) -> Packed {
        Packed { name: "RR_EVENTS".to_owned(), config, state: json!({}), bytes: 0, sha256: "ab".to_owned() }
    }

    #[test]
    fn a_stream_is_made_as_it_was_asked_for() {
        for (had, wanted) in [
            (
                json!({ "name": "RR_EVENTS", "num_replicas": 3, "metadata": { "rr_partitions": "8", "_nats.ver": "2.15.1" } }),
                json!({ "name": "RR_EVENTS", "num_replicas": 1, "metadata": { "rr_partitions": "8", "rr_pack": "ab" } }),
            ),
            (json!({ "num_replicas": 1 }), json!({ "num_replicas": 1, "metadata": { "rr_pack": "ab" } })),
        ] {
            assert_eq!(as_asked(&pack(had), 1), wanted);
        }
    }

    #[test]
    fn a_shell_is_told_from_what_holds_something() {
        const MARKED: &str = "ab";
        let (of_then, packed_at, of_now): (Timestamp, &str, Timestamp) = (
            "2026-01-01T00:00:00Z".parse().unwrap(),
            "2026-01-02T00:00:00.5Z",
            "2026-01-03T00:00:00Z".parse().unwrap(),
        );
        // The mark, where the stream began, its first and last message and when the first was stored; the last one of the pack.
        for (mark, began, first, last, first_ts, packed_last, one, three) in [
            (MARKED, 0, 1, 5, of_then, 5, Unpacked::Whole, Unpacked::Whole),
            (MARKED, 0, 4, 7, of_then, 5, Unpacked::Whole, Unpacked::Whole),
            (MARKED, 0, 6, 5, of_now, 5, Unpacked::Whole, Unpacked::Whole),
            (MARKED, 0, 6, 9, of_now, 5, Unpacked::Whole, Unpacked::Whole),
            (MARKED, 0, 0, 0, of_then, 5, Unpacked::Shell, Unpacked::Shell),
            (MARKED, 0, 0, 0, of_then, 0, Unpacked::Whole, Unpacked::Shell),
            // Begun behind earlier numbers, and never written to; then with something.
            (MARKED, 100, 100, 99, of_then, 120, Unpacked::Shell, Unpacked::Shell),
            (MARKED, 100, 100, 99, of_then, 99, Unpacked::Whole, Unpacked::Shell),
            (MARKED, 100, 100, 120, of_then, 120, Unpacked::Whole, Unpacked::Whole),
            // Somebody has written to what a try has left, or to a stream that was restored with nothing in it.
            (MARKED, 0, 1, 3, of_now, 5, Unpacked::Used, Unpacked::Used),
            (MARKED, 0, 1, 5, of_now, 5, Unpacked::Used, Unpacked::Used),
            (MARKED, 0, 1, 3, of_now, 0, Unpacked::Whole, Unpacked::Used),
            ("other", 0, 1, 5, of_then, 5, Unpacked::Another, Unpacked::Another),
            ("other", 0, 0, 0, of_then, 5, Unpacked::Another, Unpacked::Another),
        ] {
            let state = json!({ "last_seq": packed_last, "last_ts": packed_at });
            let packed = Packed { state, ..pack(json!({ "first_seq": began })) };
            let config = json!({ "first_seq": began, "metadata": { META_PACK: mark } });
            let now = Now { config, state: State { bytes: 0, first_seq: first, last_seq: last, first_ts } };
            for (is_clustered, meant) in [(false, one), (true, three)] {
                let found = unpacked(&packed, &now, is_clustered);
                assert_eq!(found, meant, "{mark} {began} {first} {last} {packed_last}, in a cluster: {is_clustered}");
            }
        }
    }

    #[test]
    fn what_a_person_can_mend_is_told_apart() {
        let pack = pack(json!({}));
        let told = |code, text: &str| refused(&pack, 3, Error::Refused { code, text: text.to_owned() });
        for code in [10074, 10005] {
            let SnapshotError::Mesh(Error::Replicas { wanted: 3, stream, .. }) = told(code, "no suitable peers") else {
                panic!("{code}");
            };
            assert_eq!(stream, "RR_EVENTS");
        }
        for code in [10058, 10130] {
            assert!(matches!(told(code, "name in use"), SnapshotError::Taken(name) if name == "RR_EVENTS"), "{code}");
        }
        let wrapped = told(10062, "restore failed: error adding stream: no suitable peers (10074)");
        assert!(matches!(wrapped, SnapshotError::Mesh(Error::Replicas { .. })), "{wrapped}");
        let wrapped = told(10062, "restore failed: stream name already in use (10058)");
        assert!(matches!(wrapped, SnapshotError::Taken(_)), "{wrapped}");
        let other = told(10062, "restore failed: unexpected EOF");
        assert!(matches!(other, SnapshotError::Mesh(Error::Refused { code: 10062, .. })), "{other}");
        for (code, text) in [
            (10005, "insufficient storage"),
            (10047, "insufficient storage resources available"),
            (10062, "restore failed: insufficient storage resources available (10047)"),
        ] {
            let room = told(code, text);
            assert!(matches!(&room, SnapshotError::NoRoom { stream, .. } if stream == "RR_EVENTS"), "{room}");
        }
    }

    #[test]
    fn a_stream_needs_what_the_server_sets_aside_for_it() {
        for (max_bytes, held, room) in [(4_096, 10, 4_096), (-1, 10, 10), (0, 10, 10)] {
            let config = json!({ "max_bytes": max_bytes });
            assert_eq!(Packed { state: json!({ "bytes": held }), ..pack(config) }.room(), room);
        }
    }

    #[test]
    fn a_large_stream_is_waited_for() {
        assert_eq!(walked_within(0), CHUNK_WITHIN);
        assert_eq!(walked_within(100 << 30), CHUNK_WITHIN + Duration::from_secs(12_800));
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
