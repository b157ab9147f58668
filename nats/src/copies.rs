//! Messages with everything that is stored of them, for whoever reads histories: judges them, or keeps them elsewhere.
//!
//! Invariants: what is read is in order and without holes up to the last message that the stream's leader had when the
//! reading began; a copy says all that the message said, but for the order of its headers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use jiff::Timestamp;
use rr_schemas::{
    flow::Priority,
    id::{EntityId, RunId},
    input::Source,
    offer::{Offer, Target},
    view::StatusEntry,
};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    direct::{AsStored, Begin, Which, read_batch_as, read_leader},
    error::Error,
    events::StoredDecision,
    input::{self, InputMsg},
    link::{DEADLINE, Link},
    mesh::Mesh,
    raw::{self, RawMessage},
    subject::{self, InputSubject, OfferSubject, PurgeFilter, header},
    work::{believe, subjects},
};

/// What the server adds to a message that it hands out, behind what its author has said.
const ADDED: [&str; 7] = [
    "Nats-Stream",
    header::SUBJECT,
    header::SEQUENCE,
    header::TIME_STAMP,
    header::NUM_PENDING,
    "Nats-Last-Sequence",
    "Nats-UpTo-Sequence",
];
/// The name under which a copy keeps what is wrong with a message's headers; no message has such a header.
const FLAW: &str = ":malformed";
/// Header of what is in the quarantine: the subject on which it was.
pub const BAD_SUBJECT: &str = header::BAD_SUBJECT;
/// Header of what is in the quarantine: its sequence there.
pub const BAD_SEQ: &str = header::BAD_SEQ;
/// Header of what is in the quarantine: what is wrong with it.
pub const BAD_REASON: &str = header::BAD_REASON;
/// How often a replica is asked again that does not have yet what the leader has.
const TRIES: u32 = 50;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// A stored message, whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Copied {
    /// Its subject.
    pub subject: String,
    /// Its sequence in its stream.
    pub seq: u64,
    /// When it was stored, as the server writes it: RFC 3339, to the nanosecond.
    pub time: String,
    /// What its author has put into its headers, by name.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub payload: Bytes,
}

impl Copied {
    fn new(stored: AsStored) -> Self {
        let AsStored { subject, seq, time, headers, payload, .. } = stored;
        let mut list: Vec<(String, String)> = Vec::new();
        for (name, values) in headers.iter() {
            let spelled: &str = name.as_ref();
            let added = ADDED.contains(&spelled);
            let own = values.len().saturating_sub(usize::from(added));
            list.extend(values.iter().take(own).map(|value| (name.to_string(), value.to_string())));
        }
        list.sort();
        Self { subject, seq, time, headers: list, payload }
    }

    /// One that is made of what we keep of a message.
    pub(crate) fn of_raw(raw: &RawMessage) -> Self {
        let content_type = raw.content_type().map(|value| (header::CONTENT_TYPE.to_owned(), value.to_owned()));
        Self {
            subject: raw.subject.clone(),
            seq: raw.seq,
            time: raw.at.to_string(),
            headers: content_type.into_iter().collect(),
            payload: raw.payload.clone(),
        }
    }

    /// The message as readers have it.
    ///
    /// # Errors
    /// What is wrong with its time or a header: nothing that was ever stored has that.
    pub fn raw(&self) -> Result<RawMessage, String> {
        let at = raw::parse_time(&self.time).ok_or_else(|| format!("{:?} is no time", self.time))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value: HeaderValue = value.parse().map_err(|_| format!("the value of header {name:?} has lines"))?;
            if name == FLAW {
                headers.append(HeaderName::from_static(FLAW), value);
                continue;
            }
            let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
            headers.append(name, value);
        }
        Ok(RawMessage::new(self.subject.clone(), self.seq, at, Some(&headers), self.payload.clone()))
    }
}

/// What a message of the event log is.
#[derive(Debug)]
pub enum LogMessage {
    /// A decision of an entity, or one that this build cannot read: [`StoredDecision::is_unreadable`].
    Decision(EntityId, Box<StoredDecision>),
    /// Something else among its decisions, which every fold passes over.
    Foreign(EntityId),
    /// Something among its inputs.
    Input(Box<InputMsg>),
    /// On a subject that nobody has.
    Nobodys,
}

impl LogMessage {
    /// Reads a message of the log of a mesh with so many partitions.
    pub fn read(raw: RawMessage, partitions: u16) -> Self {
        if let Some((partition, entity)) = subject::parse_decisions(&raw.subject) {
            if subject::partition_of(&entity, partitions) != partition {
                return Self::Nobodys;
            }
            let stored = StoredDecision::read(raw, &entity);
            return if stored.decision.is_ok() || stored.is_unreadable() {
                Self::Decision(entity, Box::new(stored))
            } else {
                Self::Foreign(entity)
            };
        }
        input::read_among(raw, None, partitions).map_or(Self::Nobodys, |input| Self::Input(Box::new(input)))
    }
}

/// The run that a subject of the event log is of.
pub fn run_of(log_subject: &str) -> Option<RunId> {
    let entity = match subject::parse_decisions(log_subject) {
        Some((_, entity)) => entity,
        None => InputSubject::parse(log_subject)?.entity,
    };
    Some(entity.into())
}

/// The run that an input is said to, and who may have sent it, as its subject has them; none where it is no input's.
pub fn input_of(log_subject: &str) -> Option<(RunId, Source)> {
    let InputSubject { entity, source, .. } = InputSubject::parse(log_subject)?;
    Some((entity.into(), source))
}

/// The run that a subject of output is of.
pub fn run_of_output(output_subject: &str) -> Option<RunId> {
    let (_, run, _) = subject::parse_output(output_subject)?;
    Some(run)
}

/// An offer as the work queue has it.
#[derive(Clone, Debug)]
pub struct OfferNow {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: u32,
    /// The attempt.
    pub attempt: u32,
    /// Where it may run.
    pub target: Target,
    /// What goes before it.
    pub priority: Priority,
    /// What it asks for, or why it cannot be believed. None where only its subject is known.
    pub offer: Option<Result<Offer, String>>,
    /// Whether it is one that this build cannot read, a newer one most likely.
    pub is_unreadable: bool,
}

/// What a message of the work queue offers; none where its subject is no offer's. One without a body is known by its subject
/// alone.
pub fn offer_now(copied: &Copied) -> Option<OfferNow> {
    let OfferSubject { target, priority, run, task, attempt } = OfferSubject::parse(&copied.subject)?;
    let raw = copied.raw();
    let is_unreadable = raw.as_ref().is_ok_and(|raw| raw.flaw().is_none() && raw.is_unreadable::<Offer>());
    let offer = (!copied.payload.is_empty()).then(|| raw.and_then(|raw| believe(&raw)));
    Some(OfferNow { run, task, attempt, target, priority, offer, is_unreadable })
}

/// The run, the task and the attempt that a subject of an offer is of.
fn offer_of(work_subject: &str) -> Option<(RunId, u32, u32)> {
    let OfferSubject { run, task, attempt, .. } = OfferSubject::parse(work_subject)?;
    Some((run, task, attempt))
}

/// Copies of a stream, batch by batch.
#[derive(Debug)]
pub struct Copies {
    mesh: Mesh,
    stream: &'static str,
    filter: String,
    begin: Begin,
    /// The leader's last message when the reading began.
    until: u64,
    read: u64,
    waiting: VecDeque<Copied>,
}

impl Copies {
    async fn open(mesh: &Mesh, stream: &'static str, filter: String, begin: Begin) -> Result<Self, Error> {
        let last = read_leader(mesh.link(), stream, Which::Last { last_by_subj: &filter }).await?;
        let until = last.map_or(0, |last| last.seq);
        Ok(Self { mesh: mesh.clone(), stream, filter, begin, until, read: 0, waiting: VecDeque::new() })
    }

    /// The next message; none behind the last one that was there when the reading began.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Option<Copied>, Error> {
        if self.waiting.is_empty() && self.read < self.until {
            self.fill().await?;
        }
        Ok(self.waiting.pop_front())
    }

    async fn fill(&mut self) -> Result<(), Error> {
        for _ in 0..TRIES {
            let (waiting, until) = (&mut self.waiting, self.until);
            let mut last = 0;
            let take = |stored: AsStored| {
                last = stored.seq;
                if stored.seq <= until {
                    waiting.push_back(Copied::new(stored));
                }
            };
            read_batch_as(self.mesh.link(), self.stream, &self.filter, self.begin, take).await?;
            if last > 0 {
                self.read = last;
                self.begin = Begin::Seq(last.saturating_add(1));
                return Ok(());
            }
            // What the leader had may have been removed meanwhile, and a replica may still have to hear of it.
            let left = Which::Last { last_by_subj: &self.filter };
            let last = read_leader(self.mesh.link(), self.stream, left).await?.map_or(0, |last| last.seq);
            let is_behind_begin = match self.begin {
                Begin::Seq(seq) => last < seq,
                Begin::Time(time) => self.is_older(last, time).await?,
            };
            if is_behind_begin {
                self.read = self.until;
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Err(Error::Behind { entity: self.stream.to_owned(), seq: self.until })
    }

    async fn is_older(&self, seq: u64, time: Timestamp) -> Result<bool, Error> {
        let which = Which::Next { seq, next_by_subj: &self.filter };
        Ok(read_leader(self.mesh.link(), self.stream, which).await?.is_none_or(|message| message.at < time))
    }
}

impl Mesh {
    /// The whole event log, from its oldest message on or from the first one that was stored at `since` or later.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn copy_log(&self, since: Option<Timestamp>) -> Result<Copies, Error> {
        let begin = since.map_or(Begin::Seq(1), Begin::Time);
        Copies::open(self, subject::EVENTS, ">".to_owned(), begin).await
    }

    /// Everything that the event log has of a run, in order. Its inputs may go on behind its last decision.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn copy_run(&self, run: &RunId) -> Result<Vec<Copied>, Error> {
        let entity = EntityId::from(run);
        let partition = self.partition_of(&entity);
        let mut found = Vec::new();
        // Decisions last: of each input that they cite they were stored behind, so the inputs are read up to there.
        let inputs = subject::inputs(partition, &entity);
        let mut decisions =
            Copies::open(self, subject::EVENTS, subject::decisions(partition, &entity), Begin::Seq(1)).await?;
        let mut inputs = Copies::open(self, subject::EVENTS, inputs, Begin::Seq(1)).await?;
        while let Some(copied) = decisions.next().await? {
            found.push(copied);
        }
        while let Some(copied) = inputs.next().await? {
            found.push(copied);
        }
        found.sort_by_key(|copied| copied.seq);
        Ok(found)
    }

    /// The states of runs, copied.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn copy_statuses(&self, mut wanted: impl FnMut(&RunId) -> bool + Send) -> Result<Vec<Copied>, Error> {
        let mut found = BTreeMap::new();
        let take = |entry: StatusEntry, raw: RawMessage| {
            if wanted(&entry.view.run) {
                found.insert(raw.seq, Copied::of_raw(&raw));
            }
        };
        self.each_status(take).await?;
        Ok(found.into_values().collect())
    }

    /// Every offer that exists now, delivered or not, of one run or of all, as it is stored.
    ///
    /// # Errors
    /// [`Error`]; who may read subjects alone has [`Mesh::offer_subjects`].
    pub async fn each_offer(&self, run: Option<&RunId>, mut take: impl FnMut(Copied) + Send) -> Result<(), Error> {
        let filters = match run {
            Some(run) => PurgeFilter::offers(run).iter().map(|filter| filter.as_str().to_owned()).collect(),
            None => vec![">".to_owned()],
        };
        for filter in filters {
            let mut copies = Copies::open(self, subject::WORK, filter, Begin::Seq(1)).await?;
            while let Some(copied) = copies.next().await? {
                if offer_of(&copied.subject).is_some_and(|(of, ..)| run.is_none_or(|run| *run == of)) {
                    take(copied);
                }
            }
        }
        Ok(())
    }

    /// The subjects of these offers, of one run or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn offer_subjects(&self, run: Option<&RunId>) -> Result<BTreeSet<String>, Error> {
        let mut found = subjects(self.link(), subject::WORK, ">").await?;
        found.retain(|subject| offer_of(subject).is_some_and(|(of, ..)| run.is_none_or(|run| *run == of)));
        Ok(found)
    }

    /// What time it is by the clock of the server that leads the event log.
    ///
    /// # Errors
    /// [`Error`]; one that does not say so is told as an answer that is none.
    pub async fn server_time(&self) -> Result<Timestamp, Error> {
        server_time(self.link()).await
    }
}

/// See [`Mesh::server_time`].
pub(crate) async fn server_time(link: &Link) -> Result<Timestamp, Error> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        ts: Option<String>,
    }
    let info: Info = link.api(&format!("STREAM.INFO.{}", subject::EVENTS), &(), DEADLINE).await?;
    let time = info.ts.as_deref().and_then(raw::parse_time);
    time.ok_or_else(|| Error::Answer("the server does not say what time it is".to_owned()))
}
