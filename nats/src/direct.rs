//! Reads from a stream: many messages at once from whichever replica answers, or one by one from the leader.
//!
//! Invariant: what [`read_from`] returns is in order and without holes up to its last message; whether the replica had
//! the newest ones is the caller's to check.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    link::{DEADLINE, Link},
    raw::{RawMessage, headers_of, is_stored, last_text, number, parse_time},
    subject::header,
    transport::{HeaderMap, Outgoing, StatusCode},
};

/// Messages in one answer at most.
const BATCH: usize = 1_000;
/// Bytes in one answer at most; well below what the server buffers for a connection.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The status that ends an answer.
const END: u16 = 204;

/// Everything on `filter` from sequence `from` on, from any replica.
pub(crate) async fn read_from(link: &Link, stream: &str, filter: &str, from: u64) -> Result<Vec<RawMessage>, Error> {
    let mut found = Vec::new();
    let mut from = from.max(1);
    loop {
        let pending = read_batch(link, stream, filter, from, &mut found).await?;
        match found.last() {
            Some(last) if pending > 0 && last.seq >= from => from = last.seq.saturating_add(1),
            Some(_) | None => return Ok(found),
        }
    }
}

/// The same, but nothing at all where there are more than about `n_max` messages.
pub(crate) async fn read_at_most(
    link: &Link,
    stream: &str,
    filter: &str,
    from: u64,
    n_max: usize,
) -> Result<Option<Vec<RawMessage>>, Error> {
    let mut found = Vec::new();
    let mut from = from.max(1);
    loop {
        let pending = read_batch(link, stream, filter, from, &mut found).await?;
        if found.len().saturating_add(usize::try_from(pending).unwrap_or(usize::MAX)) > n_max {
            return Ok(None);
        }
        match found.last() {
            Some(last) if pending > 0 && last.seq >= from => from = last.seq.saturating_add(1),
            Some(_) | None => return Ok(Some(found)),
        }
    }
}

/// Reads one batch and returns how many messages are left behind it.
async fn read_batch(
    link: &Link,
    stream: &str,
    filter: &str,
    seq: u64,
    found: &mut Vec<RawMessage>,
) -> Result<u64, Error> {
    read_batch_as(link, stream, filter, Begin::Seq(seq), |stored| found.push(stored.raw())).await
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Begin {
    /// With the first message from this sequence on.
    #[serde(rename = "seq")]
    Seq(u64),
    /// With the first message from this instant on.
    #[serde(rename = "start_time")]
    Time(jiff::Timestamp),
}

/// A message as it comes, with everything that is stored of it.
pub(crate) struct AsStored {
    pub(crate) subject: String,
    pub(crate) seq: u64,
    /// As the server writes it, finer than we keep it.
    pub(crate) time: String,
    at: jiff::Timestamp,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl AsStored {
    fn raw(self) -> RawMessage {
        RawMessage::new(self.subject, self.seq, self.at, Some(&self.headers), self.payload)
    }
}

/// The same, with each message handed over as it is stored.
pub(crate) async fn read_batch_as(
    link: &Link,
    stream: &str,
    filter: &str,
    begin: Begin,
    mut take: impl FnMut(AsStored) + Send,
) -> Result<u64, Error> {
    #[derive(Serialize)]
    struct Request<'a> {
        #[serde(flatten)]
        begin: Begin,
        next_by_subj: &'a str,
        batch: usize,
        max_bytes: usize,
    }
    let request = Request { begin, next_by_subj: filter, batch: BATCH, max_bytes: BATCH_BYTES };
    let body = serde_json::to_vec(&request).map_err(|error| Error::Answer(error.to_string()))?;
    let subject = link.api_subject(&format!("DIRECT.GET.{stream}"));
    let message = Outgoing::plain(subject.clone(), body);
    let mut answers = link.request_many(message, BATCH + 1, DEADLINE).await?;
    loop {
        let answer = answers.next().await.map_err(|failure| failure.into_error(&subject.as_str().into()))?;
        let headers = answer.headers.unwrap_or_default();
        match answer.status.filter(|_| !is_stored(&headers)) {
            None => {
                let bad = || Error::Answer(format!("{subject}: a message without its headers"));
                let time = last_text(&headers, header::TIME_STAMP).ok_or_else(bad)?.to_owned();
                let at = parse_time(&time).ok_or_else(bad)?;
                let seq = last_text(&headers, header::SEQUENCE).and_then(|seq| seq.parse().ok()).ok_or_else(bad)?;
                let subject = last_text(&headers, header::SUBJECT).ok_or_else(bad)?.to_owned();
                take(AsStored { subject, seq, time, at, headers, payload: answer.payload });
            }
            Some(status) if status.as_u16() == END => return Ok(number(&headers, header::NUM_PENDING).unwrap_or(0)),
            Some(StatusCode::NOT_FOUND) => return Ok(0),
            Some(status) => {
                let text = answer.description.unwrap_or_default();
                return Err(Error::Refused { code: u32::from(status.as_u16()), text });
            }
        }
    }
}

/// What to ask the leader for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Which<'a> {
    /// The last message on a subject.
    Last {
        /// The subject.
        last_by_subj: &'a str,
    },
    /// The first message on a subject from a sequence on.
    Next {
        /// The sequence.
        seq: u64,
        /// The subject.
        next_by_subj: &'a str,
    },
}

/// One message from the stream's leader, with the headers that a key of a bucket may have.
pub(crate) async fn read_leader(link: &Link, stream: &str, which: Which<'_>) -> Result<Option<RawMessage>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        subject: String,
        seq: u64,
        #[serde(default)]
        data: Option<String>,
        #[serde(default)]
        hdrs: Option<String>,
        time: String,
    }
    let operation = format!("STREAM.MSG.GET.{stream}");
    let message = match link.api::<Answer>(&operation, &which, DEADLINE).await {
        Ok(Answer { message }) => message,
        Err(Error::NotFound { what }) => return missing(link, stream, what).await,
        Err(error) => return Err(error),
    };
    let bad = |what: &str| Error::Answer(format!("{operation}: bad {what}"));
    let decode = |text: String, what| BASE64_STANDARD.decode(text).map_err(|_| bad(what));
    let headers = message.hdrs.map(|block| Ok(headers_of(&decode(block, "headers")?))).transpose()?;
    let at = parse_time(&message.time).ok_or_else(|| bad("time"))?;
    let payload = Bytes::from(decode(message.data.unwrap_or_default(), "data")?);
    Ok(Some(RawMessage::new(message.subject, message.seq, at, headers.as_ref(), payload)))
}

/// "No message" is an answer, "no stream" is an error; both have come as not found.
async fn missing(link: &Link, stream: &str, what: String) -> Result<Option<RawMessage>, Error> {
    #[derive(Deserialize)]
    struct Info {}
    match link.api::<Info>(&format!("STREAM.INFO.{stream}"), &(), DEADLINE).await {
        Err(Error::NotFound { .. }) => Err(Error::NotFound { what }),
        // Those who may not ask for the stream were told of a missing message all the same.
        Ok(Info {}) | Err(_) => Ok(None),
    }
}

/// Everything on `filter` from sequence `from` on, one by one from the leader.
pub(crate) async fn read_leader_from(
    link: &Link,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<Vec<RawMessage>, Error> {
    let mut found = Vec::new();
    let mut from = from.max(1);
    while let Some(message) = read_leader(link, stream, Which::Next { seq: from, next_by_subj: filter }).await? {
        from = message.seq.saturating_add(1);
        found.push(message);
    }
    Ok(found)
}
