//! States of runs in the bucket `rr-runs`: a projection for people, and the tombstones of ids.
//!
//! Invariant: a state never goes back to a smaller decision number, whoever writes it, unless the history itself has lost
//! the decisions that it showed.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rr_schemas::{
    decision::RunStatus,
    id::{EntityId, RunId},
    input::Input,
    view::{RunView, StatusEntry},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    bucket::{Entry, Notes, RUNS, value},
    direct::read_at_most,
    error::{Error, PublishError},
    extent::{Extent, extent},
    mesh::Mesh,
    ordered::{Content, Step},
    pull::Pulled,
    raw::RawMessage,
    subject::{self, InputSubject},
    work::subjects,
};

/// How often a write is tried against others; each of them has written a larger number or comes to an end.
const TRIES: usize = 8;
/// Pause before what is not settled is looked at again.
const PAUSE: Duration = Duration::from_millis(50);
/// Runs without a state that are read: each costs a request, and a list of more is about the missing coordinator.
const QUEUED_MAX: usize = 200;

/// States that are looked at for a list: some megabytes.
const LOOKED_AT_MAX: usize = 10_000;
/// Sequences that are looked at first.
const WINDOW_MIN: usize = 64;
/// How many times more are looked at next.
const WINDOW_GROWTH: u64 = 4;

/// States that are read to find the runs that are not over: some seconds.
const READ_MAX: usize = 250_000;

/// A run that is not over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// When its state was written last, by the server's clock.
    pub changed: Timestamp,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Put {
    /// It is stored.
    Written,
    /// What is stored is as new or newer.
    Older,
}

/// Writes states of runs, and remembers what it wrote so that a write costs one message.
#[derive(Debug)]
pub struct StatusWriter {
    mesh: Mesh,
    known: Mutex<HashMap<RunId, Known>>,
}

/// What is stored, as far as this writer knows.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    seq: u64,
    n: u64,
}

impl StatusWriter {
    /// A writer that knows nothing yet.
    pub fn new(mesh: &Mesh) -> Self {
        Self { mesh: mesh.clone(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RunId, Known>> {
        // A number in the map is only a guess at what to expect.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a state, unless a newer one is stored.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn put(&self, entry: &StatusEntry) -> Result<Put, PublishError> {
        let run = &entry.view.run;
        let link = self.mesh.link();
        let Known { seq: mut expected, n } = self.known().get(run).copied().unwrap_or_default();
        if n >= entry.n && expected > 0 && !entry.view.status.is_final() {
            return Ok(Put::Older);
        }
        for _ in 0..TRIES {
            match RUNS.put(link, run.as_str(), entry, expected, Notes::default()).await {
                Ok(stored) => {
                    self.remember(entry, Known { seq: stored.seq, n: entry.n });
                    return Ok(Put::Written);
                }
                Err(PublishError::Conflict) => {}
                Err(PublishError::Unsettled) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
            let found = RUNS.get(link, run.as_str()).await.map_err(|error| PublishError::Unknown(error.to_string()))?;
            let Some(Entry { seq, value: found }) = found else {
                expected = 0;
                continue;
            };
            // What cannot be read is no state; it is written over.
            let found = found.and_then(|message| value::<StatusEntry>(&message).ok());
            if let Some(newer) = found.filter(|found| found.n >= entry.n) {
                // Of one number and not the same, it shows a decision that the log has lost, in whose place there is another one.
                let is_another = newer.n == entry.n && newer.view != entry.view;
                if !is_another && (newer.n == entry.n || !self.is_lost(&newer).await?) {
                    self.remember(&newer, Known { seq, n: newer.n });
                    return Ok(Put::Older);
                }
                tracing::error!(
                    run.id = %run, shown = newer.n, decision.n = entry.n,
                    "the history of a run has lost its end; its state is that of what is left"
                );
            }
            expected = seq;
        }
        Err(PublishError::Unknown("others write the same state all the time".to_owned()))
    }

    /// Whether the decision that a state shows is not there any more.
    async fn is_lost(&self, shown: &StatusEntry) -> Result<bool, PublishError> {
        let last = self.mesh.last_number(&shown.view.run).await;
        let last = last.map_err(|error| PublishError::Unknown(error.to_string()))?;
        Ok(last.is_some_and(|last| last < shown.n))
    }

    /// Remembers the revision, as long as more is to come.
    fn remember(&self, entry: &StatusEntry, known: Known) {
        if entry.view.status.is_final() {
            self.known().remove(&entry.view.run);
        } else {
            self.known().insert(entry.view.run.clone(), known);
        }
    }

    /// Forgets all of them: the bucket was made anew.
    pub fn forget_all(&self) {
        self.known().clear();
    }

    /// Forgets a run that somebody else works on now.
    pub fn forget(&self, run: &RunId) {
        self.known().remove(run);
    }
}

impl Mesh {
    /// The state of a run.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn status(&self, run: &RunId) -> Result<Option<StatusEntry>, Error> {
        match RUNS.get(self.link(), run.as_str()).await? {
            Some(Entry { value: Some(message), .. }) => value(&message).map(Some),
            Some(Entry { value: None, .. }) | None => Ok(None),
        }
    }

    /// The state of every run, the newest run first. What cannot be read is left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn statuses(&self) -> Result<Vec<StatusEntry>, Error> {
        let messages = RUNS.snapshot(self.link(), ">", Content::Whole).await?;
        let mut entries: Vec<StatusEntry> = messages.iter().filter_map(|message| value(message).ok()).collect();
        entries.sort_by_key(|entry| Reverse(entry.view.started_at));
        Ok(entries)
    }

    /// Hands every state over, one by one, with the message that it stands in. What cannot be read is left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn each_status(&self, mut take: impl FnMut(StatusEntry, RawMessage) + Send) -> Result<(), Error> {
        let mut reader = RUNS.reader(self.link(), ">", Content::Whole);
        loop {
            let pending = match reader.next_of_these().await? {
                None => 0,
                Some(Step::Begin { pending }) => pending,
                Some(Step::Message(Pulled { raw, pending, .. })) => {
                    let entry = (!raw.is_removed()).then(|| value::<StatusEntry>(&raw).ok()).flatten();
                    if let Some(entry) = entry {
                        take(entry, raw);
                    }
                    pending
                }
            };
            if pending == 0 {
                reader.close().await;
                return Ok(());
            }
        }
    }

    /// Every entity with decisions or requests whose state does not say that it is over, whether or not there is a state, and
    /// those among `ahead` that have any. A request without a decision may be acknowledged all the same, where the decision was
    /// lost.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn living(&self, ahead: &BTreeSet<EntityId>) -> Result<BTreeSet<EntityId>, Error> {
        let decided = subjects(self.link(), subject::EVENTS, subject::ALL_DECISIONS).await?;
        let mut living: BTreeSet<EntityId> =
            decided.iter().filter_map(|text| subject::parse_decisions(text)).map(|(_, entity)| entity).collect();
        drop(decided);
        let asked = subjects(self.link(), subject::EVENTS, subject::ALL_REQUESTS).await?;
        living.extend(asked.iter().filter_map(|text| InputSubject::parse(text)).map(|input| input.entity));
        drop(asked);
        // States are kept for longer than what is in the log, and are many: they pass by.
        self.each_status(|StatusEntry { view: RunView { run, status, .. }, .. }, _| {
            let entity = EntityId::from(run);
            if status.is_final() && !ahead.contains(&entity) {
                living.remove(&entity);
            }
        })
        .await?;
        Ok(living)
    }

    /// Runs that were asked for and have no state yet, as queued ones: a state is written when a run has lived for a
    /// moment, and no coordinator may be up. Two hundred of them at most.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn queued(&self, known: &[StatusEntry]) -> Result<Vec<StatusEntry>, Error> {
        let known: BTreeSet<&RunId> = known.iter().map(|entry| &entry.view.run).collect();
        let asked = subjects(self.link(), subject::EVENTS, subject::ALL_REQUESTS).await?;
        let entities = asked.iter().filter_map(|text| InputSubject::parse(text)).map(|input| input.entity);
        let mut queued = Vec::new();
        for entity in entities.filter(|entity| !known.contains(&RunId::from(entity.clone()))).take(QUEUED_MAX) {
            // What is left of a run that was removed, a cancel that came late, is no run.
            let Some(said) = self.first_request(&entity).await? else { continue };
            let at = said.at();
            if let Ok(Input::Submit(submit)) = said.input {
                let view = RunView {
                    run: entity.into(),
                    flow: Some(submit.flow.name),
                    status: RunStatus::Queued,
                    started_at: Some(at),
                    ended_at: None,
                    jobs: Vec::new(),
                    retry_of: submit.retry_of.map(|retry| retry.run),
                    problems: Vec::new(),
                };
                queued.push(StatusEntry::new(0, view));
            }
        }
        Ok(queued)
    }

    /// States of runs that changed last and are `wanted`, at least `n` where there are so many among the last
    /// ten thousand that changed, and whether all there are were looked at. Unlike [`Mesh::statuses`] its cost does
    /// not grow with the runs that the mesh remembers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn recent_statuses(
        &self,
        n: usize,
        wanted: impl Fn(&StatusEntry) -> bool + Send,
    ) -> Result<(Vec<StatusEntry>, bool), Error> {
        let link = self.link();
        let Extent { first_seq, last_seq, .. } = extent(link, RUNS.stream).await?;
        let filter = subject::bucket_key(RUNS.name, ">");
        let mut entries = Vec::new();
        // A window of sequences, since what stands before a key's newest state is gone and leaves holes.
        let mut window = u64::try_from(n.max(WINDOW_MIN)).unwrap_or(u64::MAX);
        loop {
            let from = last_seq.saturating_sub(window).saturating_add(1);
            let Some(messages) = read_at_most(link, RUNS.stream, &filter, from, LOOKED_AT_MAX).await? else {
                return Ok((entries, false));
            };
            let read =
                messages.iter().filter(|message| !message.is_removed()).filter_map(|message| value(message).ok());
            entries = read.filter(&wanted).collect();
            if from <= first_seq.max(1) || entries.len() >= n {
                return Ok((entries, from <= first_seq.max(1)));
            }
            window = window.saturating_mul(WINDOW_GROWTH);
        }
    }

    /// The runs that are not over by their states, those first whose states are the oldest, and whether all states were
    /// read: a quarter of a million of them are, and for no longer than `limit`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Timeout`] only when nothing came within the limit.
    pub async fn unfinished(&self, limit: Duration) -> Result<(Vec<Unfinished>, bool), Error> {
        let until = Instant::now() + limit;
        let mut reader = RUNS.reader(self.link(), ">", Content::Whole);
        let (mut found, mut n_read) = (Vec::new(), 0_usize);
        loop {
            let step = match timeout_at(until, reader.next()).await {
                Ok(step) => step?,
                Err(_) if n_read > 0 => return Ok((found, false)),
                Err(_) => return Err(Error::Timeout { what: "the states of runs".to_owned() }),
            };
            let pending = match step {
                Step::Begin { pending } => {
                    (found, n_read) = (Vec::new(), 0);
                    pending
                }
                Step::Message(Pulled { raw, pending, .. }) => {
                    n_read += 1;
                    let entry = (!raw.is_removed()).then(|| value::<StatusEntry>(&raw).ok()).flatten();
                    if let Some(StatusEntry { view: RunView { run, status, .. }, .. }) = entry
                        && !status.is_final()
                    {
                        found.push(Unfinished { run, changed: raw.at });
                    }
                    pending
                }
            };
            // Messages that are there already come though the time is over.
            if pending == 0 || n_read >= READ_MAX || (n_read > 0 && Instant::now() >= until) {
                reader.close().await;
                return Ok((found, pending == 0));
            }
        }
    }

    /// Whether there is a run with exactly this id: it has a state or anything in the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn has_run(&self, run: &RunId) -> Result<bool, Error> {
        // A state that cannot be read is one all the same.
        if RUNS.get(self.link(), run.as_str()).await?.is_some_and(|entry| entry.value.is_some()) {
            return Ok(true);
        }
        Ok(self.first_of(&EntityId::from(run)).await?.is_some())
    }

    /// Every run whose id begins with `prefix`, in order: those that have a state, and those that were asked for, since
    /// a state is written only when a run has lived for a moment.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find_runs(&self, prefix: &str) -> Result<Vec<RunId>, Error> {
        let messages = RUNS.snapshot(self.link(), ">", Content::HeadersOnly).await?;
        let with_state = messages.iter().filter_map(|message| RUNS.key_of(message)?.parse::<RunId>().ok());
        let asked = subjects(self.link(), subject::EVENTS, subject::ALL_REQUESTS).await?;
        let asked_for = asked.iter().filter_map(|text| InputSubject::parse(text)).map(|input| input.entity.into());
        let runs: BTreeSet<RunId> =
            with_state.chain(asked_for).filter(|run| run.as_str().starts_with(prefix)).collect();
        Ok(runs.into_iter().collect())
    }

    /// Removes the state of a run if it is the one that stands at `seq`; its id may be chosen again then.
    ///
    /// # Errors
    /// [`PublishError::Conflict`] where another state is there by now, or none; else [`PublishError`].
    pub async fn remove_status(&self, run: &RunId, seq: u64) -> Result<(), PublishError> {
        RUNS.remove(self.link(), run.as_str(), seq, None).await
    }
}
