//! Buckets: the newest value of each key. Written by hand where the client drops a key's time to live.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    direct::{Which, read_leader},
    error::{Error, PublishError},
    link::{Link, Stored, expecting, json_message},
    ordered::{Content, From, Ordered, Plan, Step},
    raw::RawMessage,
    subject::{self, header},
    transport::HeaderMap,
};

/// A bucket, by its name and the name of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) name: &'static str,
    pub(crate) stream: &'static str,
}

/// States of runs.
pub(crate) const RUNS: Bucket = Bucket { name: subject::BUCKET_RUNS, stream: "KV_rr-runs" };
/// Presence.
pub(crate) const WORKERS: Bucket = Bucket { name: subject::BUCKET_WORKERS, stream: "KV_rr-workers" };

/// Locks.
pub(crate) const LOCKS: Bucket = Bucket { name: subject::BUCKET_LOCKS, stream: "KV_rr-locks" };

/// What is noted beside a value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// How long the value lives; for good where nothing is said.
    pub(crate) ttl: Option<Duration>,
    /// What the author's clock says, for people.
    pub(crate) clock: Option<Timestamp>,
}

/// The newest message of a key.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its sequence: what a change must expect, also when the key was removed.
    pub(crate) seq: u64,
    /// Its value; none when the key was removed or ran out.
    pub(crate) value: Option<RawMessage>,
}

impl Bucket {
    /// The newest message of a key, from the leader.
    pub(crate) async fn get(self, link: &Link, key: &str) -> Result<Option<Entry>, Error> {
        let subject = subject::bucket_key(self.name, key);
        let found = read_leader(link, self.stream, Which::Last { last_by_subj: &subject }).await?;
        Ok(found.map(|raw| Entry { seq: raw.seq, value: (!raw.is_removed()).then_some(raw) }))
    }

    /// Puts a value if the newest message of the key is `expected`, 0 for none.
    pub(crate) async fn put(
        self,
        link: &Link,
        key: &str,
        value: &impl Serialize,
        expected: u64,
        notes: Notes,
    ) -> Result<Stored, PublishError> {
        let body =
            serde_json::to_vec(value).map_err(|error| PublishError::Refused { code: 0, text: error.to_string() })?;
        let mut headers = HeaderMap::new();
        expecting(&mut headers, expected, None);
        set_ttl(&mut headers, notes.ttl);
        if let Some(clock) = notes.clock {
            headers.insert(header::CLOCK, clock.to_string());
        }
        link.publish(json_message(self.written(link, key), headers, body)).await
    }

    /// Removes a key if its newest message is `expected`. The note of it stays for `ttl`, or for good.
    pub(crate) async fn remove(
        self,
        link: &Link,
        key: &str,
        expected: u64,
        ttl: Option<Duration>,
    ) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        set_ttl(&mut headers, ttl);
        headers.insert(header::KV_OPERATION, "DEL");
        expecting(&mut headers, expected, None);
        let message = json_message(self.written(link, key), headers, Vec::new());
        link.publish(message).await.map(|_| ())
    }

    fn written(self, link: &Link, key: &str) -> String {
        link.key_subject(subject::bucket_key(self.name, key))
    }

    /// A reader of every key under `filter`, newest values first of all.
    pub(crate) fn reader(self, link: &Link, filter: &str, content: Content) -> Ordered {
        let filters = vec![subject::bucket_key(self.name, filter)];
        Ordered::new(link, Plan { stream: self.stream, filters, from: From::Newest, content })
    }

    /// The newest message of every key under `filter` that was not removed.
    pub(crate) async fn snapshot(self, link: &Link, filter: &str, content: Content) -> Result<Vec<RawMessage>, Error> {
        let mut reader = self.reader(link, filter, content);
        let mut found = Vec::new();
        loop {
            let pending = match reader.next_of_these().await? {
                None => 0,
                Some(Step::Begin { pending }) => {
                    found.clear();
                    pending
                }
                Some(Step::Message(pulled)) => {
                    if !pulled.raw.is_removed() {
                        found.push(pulled.raw);
                    }
                    pulled.pending
                }
            };
            if pending == 0 {
                reader.close().await;
                return Ok(found);
            }
        }
    }

    /// The key of a message.
    pub(crate) fn key_of(self, message: &RawMessage) -> Option<&str> {
        message.subject.strip_prefix("$KV.")?.strip_prefix(self.name)?.strip_prefix('.')
    }
}

fn set_ttl(headers: &mut HeaderMap, ttl: Option<Duration>) {
    if let Some(ttl) = ttl {
        // The server knows whole seconds, one at least.
        headers.insert(header::TTL, format!("{}s", ttl.as_millis().div_ceil(1_000).max(1)));
    }
}

/// Reads the value of a key.
pub(crate) fn value<T: DeserializeOwned>(message: &RawMessage) -> Result<T, Error> {
    let bad = |what: &str| Error::Answer(format!("{}: {what}", message.subject));
    match message.flaw() {
        Some(flaw) => Err(bad(flaw)),
        None => serde_json::from_slice(&message.payload).map_err(|error| bad(&error.to_string())),
    }
}
