//! The quarantine, for people: what could not be read or believed, with the reason, and the way back.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    direct::{Which, read_leader},
    error::{Error, PublishError},
    input::{QUARANTINE_HEADERS_MAX, REASON_CHARS_MAX},
    link::{DEADLINE, typed},
    mesh::Mesh,
    ordered::{Content, From, Ordered, Plan, Step},
    purge,
    raw::{BadHeaders, RawMessage},
    subject::{self, PurgeFilter},
    transport::Outgoing,
};

/// Beginnings of the subjects to which a message may be put back: what anybody may say to runs, and offers. Decisions
/// and timers are written with conditions that a person cannot know.
const RESTORABLE: [&str; 2] = ["rr.in.", "rr.work."];

/// What is said of a message that nobody of ours has put into the quarantine.
const UNSAID: &str = "nobody has said what is wrong with it";

/// A message in the quarantine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quarantined {
    /// Its sequence in the quarantine.
    pub seq: u64,
    /// When it was put there.
    pub at: Timestamp,
    /// Who found it: `coordinator.<instance>` or `worker.<name>`.
    pub finder: String,
    /// The subject on which it was; empty where nobody has said so.
    pub subject: String,
    /// Its sequence there.
    pub was: u64,
    /// What is wrong with it.
    pub reason: String,
    /// The format that its header named.
    pub content_type: Option<String>,
    /// Its body; empty in a list.
    pub payload: Bytes,
}

/// Why a message cannot be put back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RestoreError {
    /// It is one that must not or cannot be put back.
    #[error("{0}")]
    Refused(String),
    /// It is not known to be back where it was; it stays in the quarantine.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Quarantined {
    /// What is there without a note of why was put there by somebody else, and is shown all the same.
    fn read(raw: RawMessage) -> Self {
        let unsaid = || BadHeaders { reason: raw.flaw().unwrap_or(UNSAID).to_owned(), ..BadHeaders::default() };
        let bad = raw.bad().filter(|_| raw.flaw().is_none()).cloned().unwrap_or_else(unsaid);
        let finder = raw.subject.strip_prefix("rr.bad.").unwrap_or(&raw.subject).to_owned();
        let content_type = raw.content_type().map(str::to_owned);
        let RawMessage { seq, at, payload, .. } = raw;
        Self { seq, at, finder, subject: bad.subject, was: bad.seq, reason: bad.reason, content_type, payload }
    }

    /// Why it cannot be put back, where that is so.
    fn obstacle(&self, max_payload: usize) -> Option<String> {
        let is_spelled = self.subject.chars().count() < REASON_CHARS_MAX
            && self.subject.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'*' | b'>'));
        if !is_spelled || !RESTORABLE.iter().any(|prefix| self.subject.starts_with(prefix)) {
            let text = "was on a subject to which nothing is put back; inputs (rr.in.>) and offers (rr.work.>) are";
            return Some(text.to_owned());
        }
        let room = max_payload.saturating_sub(QUARANTINE_HEADERS_MAX);
        (self.payload.len() >= room).then(|| format!("was cut to {room} bytes, and is not whole"))
    }
}

impl Mesh {
    /// The newest messages in the quarantine, `n` at most, the newest first and without their bodies; and how many there
    /// are.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn quarantined(&self, n: usize) -> Result<(Vec<Quarantined>, u64), Error> {
        let filters = subject::QUARANTINE_SUBJECTS.map(str::to_owned).to_vec();
        let plan = Plan { stream: subject::QUARANTINE, filters, from: From::Oldest, content: Content::HeadersOnly };
        let mut reader = Ordered::new(self.link(), plan);
        let (mut newest, mut all) = (VecDeque::new(), 0);
        loop {
            let pending = match reader.next_of_these().await? {
                None => 0,
                Some(Step::Begin { pending }) => pending,
                Some(Step::Message(pulled)) => {
                    all += 1;
                    newest.push_back(Quarantined::read(pulled.raw));
                    if newest.len() > n {
                        newest.pop_front();
                    }
                    pulled.pending
                }
            };
            if pending == 0 {
                reader.close().await;
                return Ok((newest.into_iter().rev().collect(), all));
            }
        }
    }

    /// The newest message in the quarantine; none where it is empty.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn newest_quarantined(&self) -> Result<Option<Quarantined>, Error> {
        let filter = subject::QUARANTINE_SUBJECTS.concat();
        let found = read_leader(self.link(), subject::QUARANTINE, Which::Last { last_by_subj: &filter }).await?;
        Ok(found.map(Quarantined::read))
    }

    /// Everything in the quarantine, the oldest first and without bodies, for readers of histories. Where consumers may not
    /// be made, each message costs a request.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn all_quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        match self.quarantined(usize::MAX).await {
            Ok((mut newest_first, _)) => {
                newest_first.reverse();
                return Ok(newest_first);
            }
            Err(Error::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
        let filter = subject::QUARANTINE_SUBJECTS.concat();
        let (mut found, mut seq) = (Vec::new(), 1);
        while let Some(raw) =
            read_leader(self.link(), subject::QUARANTINE, Which::Next { seq, next_by_subj: &filter }).await?
        {
            seq = raw.seq.saturating_add(1);
            found.push(Quarantined { payload: Bytes::new(), ..Quarantined::read(raw) });
        }
        Ok(found)
    }

    /// One message in the quarantine, whole; none where it is not there any more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn quarantined_one(&self, seq: u64) -> Result<Option<Quarantined>, Error> {
        let filter = subject::QUARANTINE_SUBJECTS.concat();
        let which = Which::Next { seq, next_by_subj: &filter };
        let found = read_leader(self.link(), subject::QUARANTINE, which).await?;
        Ok(found.filter(|raw| raw.seq == seq).map(Quarantined::read))
    }

    /// Whether a message can be put back where it was.
    ///
    /// # Errors
    /// [`RestoreError::Refused`].
    pub fn check_restorable(&self, message: &Quarantined) -> Result<(), RestoreError> {
        message.obstacle(self.link().max_payload()).map_or(Ok(()), |text| Err(RestoreError::Refused(text)))
    }

    /// Puts a message back where it was, as a new one with the same body and format. It stays in the quarantine.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn restore(&self, message: &Quarantined) -> Result<u64, RestoreError> {
        self.check_restorable(message)?;
        let headers = message.content_type.as_deref().map(typed);
        let (subject, payload) = (message.subject.as_str().into(), message.payload.clone());
        Ok(self.link().publish(Outgoing { subject, headers, payload }).await?.seq)
    }

    /// Removes a message from the quarantine; says whether it was there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drop_quarantined(&self, seq: u64) -> Result<bool, Error> {
        #[derive(Serialize)]
        struct Request {
            seq: u64,
            no_erase: bool,
        }
        #[derive(Deserialize)]
        struct Deleted {}
        let operation = format!("STREAM.MSG.DELETE.{}", subject::QUARANTINE);
        match self.link().api_once::<Deleted>(&operation, &Request { seq, no_erase: true }, DEADLINE).await {
            Ok(Deleted {}) => Ok(true),
            // The server has several words for a message that somebody else has removed meanwhile.
            Err(error) => {
                if self.quarantined_one(seq).await?.is_none() {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Removes everything from the quarantine and says how many messages that were.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drop_all_quarantined(&self) -> Result<u64, Error> {
        purge::matching(self.link(), subject::QUARANTINE, &PurgeFilter::quarantine()).await
    }
}
