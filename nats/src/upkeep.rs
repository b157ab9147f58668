//! What a mesh has on the server stays there: streams and durables that somebody removes are made again as they were.
//!
//! Invariants: what is made again has the configuration that was there last, the operator's changes included; a durable
//! with which our guarantees would not hold is made as they need it. The event log itself is never made again: an empty
//! one would say that nothing has ever happened. The durable of a partition begins behind an input up to which every one
//! was acknowledged, which means answered; where no such input is known it begins with the oldest one. What comes twice
//! is skipped by the cursors of the runs.

mod anew;

mod seen;

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::anew::anew;
use crate::{
    connected::Connected,
    error::Error,
    link::{DEADLINE, DEADLINE_LONG, Link},
    mesh::Mesh,
    shortened::{Compared, Shortened},
    subject::{self, EVENTS, TIMERS},
    topology::make_usual,
};

use self::seen::{Seen, is_younger, seen};

/// Durables that are asked after at once.
const ASKED_AT_ONCE: usize = 16;
/// Sequences that a stream which is made again passes over: more than can have been stored since it was looked at last,
/// so that no number comes twice. Revisions, fencing numbers and what is expected of a last message rest on that.
const PASSED_OVER: u64 = 1_000_000;
/// Looks at which something of which nothing is remembered must be missing before it is made again: somebody who
/// remembers it makes it as it was.
const MISSED_MAX: u32 = 2;

/// Streams that are made again: all but the event log.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Store {
    /// Timers, armed and fired.
    Timers,
    /// Offers.
    Work,
    /// What attempts write.
    Output,
    /// What could not be read or believed.
    Quarantine,
    /// States of runs.
    Runs,
    /// Presence.
    Workers,
    /// Locks. Who holds one finds it gone with the next renewal, and ends what runs under it.
    Locks,
}

impl Store {
    const ALL: [Self; 7] =
        [Self::Timers, Self::Work, Self::Output, Self::Quarantine, Self::Runs, Self::Workers, Self::Locks];

    /// The stream's name on the server.
    pub const fn stream(self) -> &'static str {
        match self {
            Self::Timers => TIMERS,
            Self::Work => subject::WORK,
            Self::Output => subject::OUTPUT,
            Self::Quarantine => subject::QUARANTINE,
            Self::Runs => crate::bucket::RUNS.stream,
            Self::Workers => crate::bucket::WORKERS.stream,
            Self::Locks => crate::bucket::LOCKS.stream,
        }
    }
}

/// What a look has found, and done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// The event log is gone: nothing is left of the histories, and nothing was done.
    LogGone,
    /// The log has lost its end: what was acknowledged is not there any more, and nothing was done.
    Shortened {
        /// The last sequence that was seen, where it is gone or stands for something else now.
        was: Option<u64>,
        /// Runs whose states are ahead of their histories.
        runs: Vec<Shortened>,
        /// Whether all states were compared that may be ahead.
        is_all: bool,
    },
    /// A stream was gone, and is there again, without what was in it. Others may have made it.
    Anew(Store),
    /// A stream is younger than the log, as the first look shows: what it held when it was removed may still be missing.
    Younger(Store),
    /// A stream has lost its end, though it is the same one: what was put there last is missing.
    Behind(Store),
    /// A durable was gone, and is there again.
    Durable {
        /// Its name.
        name: String,
        /// Its stream.
        stream: &'static str,
        /// The sequence at which its deliveries begin; none for the oldest message.
        from: Option<u64>,
    },
    /// Something is gone and cannot be made again; the next look tries again.
    Missing {
        /// What.
        what: String,
        /// Why not.
        error: Error,
    },
}

/// A durable as it was seen last.
#[derive(Clone, Debug, Default)]
struct Remembered {
    config: Option<Value>,
    /// Every message up to it was acknowledged.
    floor: Option<u64>,
    missed: u32,
}

/// Looks after the streams and the durables of the coordinators.
#[derive(Debug)]
pub struct Upkeep {
    mesh: Mesh,
    log: Option<Seen>,
    connected: Connected,
    /// Whether the log may have lost its end since that was looked at.
    is_doubtful: bool,
    streams: BTreeMap<Store, Seen>,
    /// How often a stream of which nothing is remembered was missing.
    missed: BTreeMap<Store, u32>,
    /// By stream and name.
    durables: BTreeMap<(&'static str, String), Remembered>,
}

impl Upkeep {
    /// Remembers nothing yet: what is missing at the first look, and the second, is made with the usual numbers.
    pub fn new(mesh: &Mesh) -> Self {
        let partitions = mesh.all_partitions().map(|partition| (EVENTS, subject::partition_durable(partition)));
        let durables = partitions.chain([(TIMERS, subject::TIMERS_DURABLE.to_owned())]);
        let durables = durables.map(|durable| (durable, Remembered::default())).collect();
        Self {
            mesh: mesh.clone(),
            log: None,
            connected: mesh.connected(),
            is_doubtful: true,
            streams: BTreeMap::new(),
            missed: BTreeMap::new(),
            durables,
        }
    }

    /// Looks at everything once, and makes again what is missing. What is found counts also where the look then fails: what
    /// cannot be asked for keeps nothing else from being looked at. Runs that ended before `kept_since` may have been
    /// forgotten on purpose.
    ///
    /// # Errors
    /// [`Error`], the first one, where something cannot be looked at; what cannot be made again is a finding.
    pub async fn look(&mut self, kept_since: Timestamp) -> (Vec<Finding>, Result<(), Error>) {
        let mut findings = Vec::new();
        let looked = self.look_into(kept_since, &mut findings).await;
        (findings, looked)
    }

    async fn look_into(&mut self, kept_since: Timestamp, findings: &mut Vec<Finding>) -> Result<(), Error> {
        // A server that comes back may have an older log. Heard before the log is asked for: an answer of before a break says nothing
        // of what is there after it.
        self.is_doubtful |= self.connected.has_news();
        self.connected.look();
        let log = match seen(self.mesh.link(), EVENTS).await {
            Ok(Some(log)) => Ok(log),
            Ok(None) => {
                (self.log, self.is_doubtful) = (None, true);
                self.forget_floors();
                findings.push(Finding::LogGone);
                return Ok(());
            }
            Err(error) => Err(error),
        };
        let (known, answers) = (log.as_ref().ok().or(self.log.as_ref()), log.is_ok());
        let known = known.map(|log| (log.created.clone(), log.copies()));
        let mut looked = match log {
            Ok(log) => {
                let looked = self.look_at_log(log, kept_since, findings).await;
                if looked.is_err() {
                    // It may be another log, and then they stand for other inputs.
                    self.forget_floors();
                }
                looked
            }
            Err(error) => Err(error),
        };
        // Of a log that was never seen it is unknown whether it is there at all.
        let Some((created, copies)) = known else { return looked };
        for store in Store::ALL {
            match self.look_at_stream(store, &created, copies).await {
                Ok(finding) => findings.extend(finding),
                Err(error) => looked = looked.and(Err(error)),
            }
        }
        looked.and(self.look_at_durables(answers, findings).await)
    }

    async fn look_at_log(
        &mut self,
        log: Seen,
        kept_since: Timestamp,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let before = self.log.as_ref();
        // Sequences of another log, or of an older copy of this one, mean other inputs; and what somebody has purged may have
        // been the newest.
        let is_another = before.is_some_and(|before| before.created != log.created || before.last_seq > log.last_seq);
        self.is_doubtful |= is_another || before.is_some_and(|before| before.first_seq < log.first_seq);
        if self.is_doubtful {
            let was = match &self.log {
                Some(before) => before.lost_end(&log, &self.mesh).await?,
                None => None,
            };
            let seen_at = self.log.as_ref().and_then(|before| before.last_at);
            let Compared { shortened: runs, is_all } = match self.mesh.shortened(kept_since, seen_at).await {
                // Rights that somebody has narrowed are no reason to look after nothing, and states that are gone say
                // nothing: their bucket is made again below.
                Err(Error::Denied { .. } | Error::NotFound { .. }) => Compared { shortened: Vec::new(), is_all: false },
                looked => looked?,
            };
            self.is_doubtful = false;
            if was.is_some() || is_another {
                self.forget_floors();
            }
            if was.is_some() || !runs.is_empty() {
                findings.push(Finding::Shortened { was, runs, is_all });
            }
        }
        self.log = Some(log);
        Ok(())
    }

    fn forget_floors(&mut self) {
        for remembered in self.durables.values_mut() {
            remembered.floor = None;
        }
    }

    async fn look_at_stream(&mut self, store: Store, log: &str, copies: usize) -> Result<Option<Finding>, Error> {
        let (link, name) = (self.mesh.link(), store.stream());
        let mut found = seen(link, name).await?;
        let was_missing = found.is_none();
        if was_missing {
            let missed = self.missed.entry(store).or_default();
            *missed += 1;
            let made = match self.streams.get(&store) {
                Some(before) => make_stream(link, name, before).await,
                None if *missed < MISSED_MAX => return Ok(None),
                None => make_usual(link, store, copies).await,
            };
            if let Err(error) = made {
                return Ok(Some(Finding::Missing { what: format!("stream {name}"), error }));
            }
            found = seen(link, name).await?;
        }
        let Some(now) = found else { return Ok(None) };
        self.missed.remove(&store);
        let (created, last_seq) = (now.created.clone(), now.last_seq);
        Ok(match self.streams.insert(store, now) {
            Some(before) if before.created == created => (before.last_seq > last_seq).then_some(Finding::Behind(store)),
            Some(_) => Some(Finding::Anew(store)),
            None if was_missing => Some(Finding::Anew(store)),
            None => is_younger(&created, log).then_some(Finding::Younger(store)),
        })
    }

    /// Those of the log only where it answers: each of them would be waited for.
    async fn look_at_durables(&mut self, log_answers: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let mut asked = Vec::with_capacity(self.durables.len());
        for (key, remembered) in self.durables.clone() {
            if key.0 == EVENTS && !log_answers {
                continue;
            }
            let link = self.mesh.link().clone();
            asked.push(async move { (durable(&link, &key, remembered).await, key) });
        }
        let looked: Vec<_> = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await;
        let mut all = Ok(());
        for (found, key) in looked {
            match found {
                Ok((remembered, finding)) => {
                    self.durables.insert(key, remembered);
                    findings.extend(finding);
                }
                Err(error) => all = all.and(Err(error)),
            }
        }
        all
    }
}

/// Looks at one durable and makes it again where it is missing.
async fn durable(
    link: &Link,
    (stream, name): &(&'static str, String),
    before: Remembered,
) -> Result<(Remembered, Option<Finding>), Error> {
    if let Some(now) = look_at_durable(link, stream, name).await? {
        return Ok((now, None));
    }
    let missed = before.missed.saturating_add(1);
    let before = Remembered { missed, ..before };
    if before.config.is_none() && missed < MISSED_MAX {
        return Ok((before, None));
    }
    let (config, from) = anew(stream, name, before.config.as_ref(), before.floor);
    let made = make_durable(link, stream, name, config).await;
    match (made, look_at_durable(link, stream, name).await?) {
        (Ok(()), Some(now)) => Ok((now, Some(Finding::Durable { name: name.clone(), stream, from }))),
        // Somebody else was faster.
        (Err(_), Some(now)) => Ok((now, None)),
        (Ok(()), None) => Ok((before, None)),
        (Err(error), None) => {
            Ok((before, Some(Finding::Missing { what: format!("durable {name} of {stream}"), error })))
        }
    }
}

/// Refuses to make a log where runs have been: an empty one would say that nothing has ever happened.
pub(crate) async fn log_was_never_there(link: &Link) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        messages: u64,
    }
    match link.api::<Info>(&format!("STREAM.INFO.{}", Store::Runs.stream()), &(), DEADLINE).await {
        Ok(Info { state: State { messages: 0 } }) | Err(Error::NotFound { .. }) => Ok(()),
        Ok(Info { state: State { messages } }) => Err(Error::LogGone { runs: messages }),
        Err(error) => Err(error),
    }
}

async fn make_stream(link: &Link, name: &str, before: &Seen) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Made {}
    let mut config = before.config.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.insert("first_seq".to_owned(), before.last_seq.saturating_add(PASSED_OVER).into());
    }
    match link.api::<Made>(&format!("STREAM.CREATE.{name}"), &config, DEADLINE_LONG).await {
        // Somebody else was faster, and knew another last sequence.
        Ok(Made {}) | Err(Error::Refused { code: crate::error::code::STREAM_EXISTS, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn look_at_durable(link: &Link, stream: &str, name: &str) -> Result<Option<Remembered>, Error> {
    #[derive(Deserialize)]
    struct Info {
        config: Value,
        ack_floor: Floor,
    }
    #[derive(Deserialize)]
    struct Floor {
        #[serde(default)]
        stream_seq: u64,
    }
    match link.api::<Info>(&format!("CONSUMER.INFO.{stream}.{name}"), &(), DEADLINE).await {
        Ok(Info { config, ack_floor }) => {
            Ok(Some(Remembered { config: Some(config), floor: Some(ack_floor.stream_seq), missed: 0 }))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn make_durable(link: &Link, stream: &str, name: &str, config: Value) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Create<'a> {
        stream_name: &'a str,
        config: Value,
        /// Never changes one that is there.
        action: &'static str,
    }
    #[derive(Deserialize)]
    struct Made {}
    let request = Create { stream_name: stream, config, action: "create" };
    let operation = format!("CONSUMER.CREATE.{stream}.{name}");
    link.api::<Made>(&operation, &request, DEADLINE_LONG).await.map(|Made {}| ())
}
