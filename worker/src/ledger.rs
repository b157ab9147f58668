//! The worker's memory on disk: which attempts it started, how they ended, and which reports are stored in the mesh.
//!
//! Invariants: an attempt is written down before it starts, and an attempt that is written down is never started again; how
//! it ended is written down before it is reported; a report that is not confirmed is not forgotten, whatever happens to the
//! worker. So the outbox is nothing but the ended attempts that are not confirmed.
//!
//! The file is appended to in batches ([`Ledger::flush`], one write). The page cache survives the death of the worker;
//! what must survive the death of the machine too is synced by the caller ([`Ledger::file`]). When a file has grown to
//! [`SEGMENT_BYTES_MAX`] the next one begins with what is still open, and the one before the last is deleted: so at
//! least the last fifty thousand attempts are remembered, in bounded space.

mod files;
mod history;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_schemas::{id::RunId, name::InstanceId, report::Ended};

use self::files::{lock, path, segments};
use self::history::History;
use self::record::{MAGIC, RecordRef};

/// Size at which a file is ended. An attempt takes about 150 bytes of it.
const SEGMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What names an attempt.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key {
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
}

/// What the ledger knows of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    /// Its number in the ledger.
    pub(crate) n: u64,
    /// The offer that it came with.
    pub(crate) offer: u32,
    /// How far it is.
    pub(crate) state: State,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Taken in, but not written down: it may still be dropped.
    Reserved,
    /// Given back: it was not written down, and never starts here.
    Returned,
    /// Written down, not ended.
    Started,
    /// Ended, its report not confirmed.
    Ended,
    /// Its report is stored in the mesh.
    Confirmed,
}

impl State {
    /// Whether the mesh waits for a word of ours.
    const fn is_open(self) -> bool {
        match self {
            Self::Reserved | Self::Started | Self::Ended => true,
            Self::Returned | Self::Confirmed => false,
        }
    }
}

/// An attempt that is not over as far as the mesh knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Open {
    pub(crate) key: Key,
    pub(crate) offer: u32,
    /// The token of that offer.
    pub(crate) token: String,
    /// The instance that started it.
    pub(crate) instance: InstanceId,
    /// How it ended, once it did.
    pub(crate) ended: Option<Ended>,
}

/// What a ledger held when it was opened.
#[derive(Debug)]
pub(crate) struct Found {
    /// The instances that wrote it, the last one at the end. They are dead: we hold the lock.
    pub(crate) lives: Vec<InstanceId>,
    /// What it left open, by number.
    pub(crate) open: BTreeMap<u64, Open>,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process has it open.
    #[error("open the ledger in {dir:?}: it is in use since {since}")]
    Locked {
        /// The ledger's directory.
        dir: PathBuf,
        /// Since when, in the other process's words.
        since: String,
    },
    /// Written by another version of `rr`, or by something else.
    #[error("read the ledger {file:?}: its format is not known to this rr")]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The system refuses.
    #[error("{action} the ledger in {dir:?}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The ledger's directory.
        dir: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// The ledger, open and locked.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
    /// Held for the lock on it.
    _lock: File,
    instance: InstanceId,
    file: Arc<File>,
    /// Number of the file.
    segment: u64,
    segment_bytes_max: u64,
    /// Size at which the file is ended: what it began with does not count.
    rotate_at: u64,
    /// Good bytes in the file.
    len: u64,
    /// Whether a write stopped half-way, so that bytes after `len` must go first.
    is_torn: bool,
    /// Frames that wait for [`Ledger::flush`].
    buffer: Vec<u8>,
    next: u64,
    open: BTreeMap<u64, Open>,
    /// Attempts of this file and of the one before.
    known: [HashMap<Key, Known>; 2],
}

impl Ledger {
    /// Opens the ledger in `dir` (made if need be), takes its lock and reads it.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] when another process holds it; [`LedgerError::Io`].
    pub(crate) fn open(dir: &Path, instance: &InstanceId) -> Result<(Self, Found), LedgerError> {
        Self::open_with(dir, instance, SEGMENT_BYTES_MAX)
    }

    fn open_with(dir: &Path, instance: &InstanceId, segment_bytes_max: u64) -> Result<(Self, Found), LedgerError> {
        let io = |action| move |source| LedgerError::Io { action, dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io("make a directory for"))?;
        let lock = lock(dir)?;
        let segments = segments(dir).map_err(io("list"))?;
        let mut history = History::default();
        let mut last = None;
        for segment in &segments {
            let bytes = fs::read(path(dir, *segment)).map_err(io("read"))?;
            if record::is_foreign(&bytes) {
                return Err(LedgerError::Foreign { file: path(dir, *segment) });
            }
            let (records, good) = record::read(&bytes);
            if good < bytes.len() {
                tracing::warn!(segment, good, bytes = bytes.len(), "ledger ends in a torn record, which is dropped");
            }
            history.known.rotate_right(1);
            history.known[0] = HashMap::new();
            for record in records {
                history.add(record);
            }
            last = Some((*segment, good as u64));
        }
        let (segment, len) = last.unwrap_or((1, 0));
        let file = OpenOptions::new().create(true).append(true).open(path(dir, segment)).map_err(io("open"))?;
        let mut ledger = Self {
            dir: dir.to_owned(),
            _lock: lock,
            instance: instance.clone(),
            file: Arc::new(file),
            segment,
            segment_bytes_max,
            rotate_at: segment_bytes_max,
            len,
            is_torn: true,
            buffer: Vec::new(),
            next: history.next,
            open: history.open.clone(),
            known: history.known,
        };
        if len == 0 {
            ledger.buffer.extend_from_slice(MAGIC);
        }
        record::append(&mut ledger.buffer, &RecordRef::Life(instance));
        ledger.flush()?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync"))?;
        Ok((ledger, Found { lives: history.lives, open: history.open }))
    }

    /// What is known of an attempt.
    pub(crate) fn known(&self, key: &Key) -> Option<Known> {
        self.known.iter().find_map(|known| known.get(key)).copied()
    }

    /// Takes an attempt in, in memory only, and gives it a number.
    pub(crate) fn reserve(&mut self, key: &Key, offer: u32) -> u64 {
        let n = self.next;
        self.next += 1;
        self.set(key, Known { n, offer, state: State::Reserved });
        n
    }

    /// Drops an attempt that was taken in and not started.
    pub(crate) fn forget(&mut self, key: &Key) {
        for known in &mut self.known {
            if known.get(key).is_some_and(|known| known.state == State::Reserved) {
                known.remove(key);
            }
        }
    }

    /// Remembers, in memory only, that a reserved attempt was given back.
    pub(crate) fn give_back(&mut self, key: &Key) {
        for known in &mut self.known {
            if let Some(known) = known.get_mut(key).filter(|known| known.state == State::Reserved) {
                known.state = State::Returned;
            }
        }
    }

    /// Writes down that a reserved attempt starts. It may, once [`Ledger::flush`] succeeded.
    pub(crate) fn start(&mut self, n: u64, key: &Key, offer: u32, token: &str) {
        record::append(&mut self.buffer, &RecordRef::Start(n, &key.run, key.task, key.attempt, offer));
        if !token.is_empty() {
            record::append(&mut self.buffer, &RecordRef::Token(n, token));
        }
        self.set(key, Known { n, offer, state: State::Started });
        let (token, instance) = (token.to_owned(), self.instance.clone());
        let open = Open { key: key.clone(), offer, token, instance, ended: None };
        self.open.insert(n, open);
    }

    /// Writes down how an attempt ended. It may be reported, once [`Ledger::flush`] was called.
    pub(crate) fn end(&mut self, n: u64, ended: Ended) {
        let Some(open) = self.open.get_mut(&n) else { return };
        record::append(&mut self.buffer, &RecordRef::End(n, &ended));
        open.ended = Some(ended);
        let (key, offer) = (open.key.clone(), open.offer);
        self.set(&key, Known { n, offer, state: State::Ended });
    }

    /// Writes down that an attempt's report is stored in the mesh. Costs a repeated report when it is lost, no more.
    pub(crate) fn confirm(&mut self, n: u64) {
        let Some(open) = self.open.remove(&n) else { return };
        record::append(&mut self.buffer, &RecordRef::Confirm(n));
        self.set(&open.key, Known { n, offer: open.offer, state: State::Confirmed });
    }

    /// An attempt that is not confirmed.
    pub(crate) fn get(&self, n: u64) -> Option<&Open> {
        self.open.get(&n)
    }

    /// Attempts that ended and are not confirmed, in the order in which they started.
    pub(crate) fn unreported(&self) -> Vec<(u64, Ended)> {
        self.open.iter().filter_map(|(n, open)| Some((*n, open.ended.clone()?))).collect()
    }

    /// The file, for syncing what was flushed.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Writes what was recorded since the last time, in one write. What cannot be written waits for the next time.
    ///
    /// # Errors
    /// [`LedgerError::Io`]: nothing that was recorded since the last success may start.
    pub(crate) fn flush(&mut self) -> Result<(), LedgerError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.write().map_err(|source| LedgerError::Io { action: "write", dir: self.dir.clone(), source })
    }

    fn write(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.len)?;
        }
        self.is_torn = true;
        (&*self.file).write_all(&self.buffer)?;
        self.is_torn = false;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        if self.len >= self.rotate_at {
            // It is written all the same: the file only grows until it can be ended.
            if let Err(error) = self.rotate() {
                tracing::warn!(%error, bytes = self.len, "ledger file not ended");
            }
            self.rotate_at = self.len + self.segment_bytes_max;
        }
        Ok(())
    }

    /// Begins the next file with what is open, then deletes the one before the last.
    fn rotate(&mut self) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        let mut life = None;
        for (n, open) in &self.open {
            if life.replace(&open.instance) != Some(&open.instance) {
                record::append(&mut bytes, &RecordRef::Life(&open.instance));
            }
            let Key { run, task, attempt } = &open.key;
            record::append(&mut bytes, &RecordRef::Start(*n, run, *task, *attempt, open.offer));
            if !open.token.is_empty() {
                record::append(&mut bytes, &RecordRef::Token(*n, &open.token));
            }
            if let Some(ended) = &open.ended {
                record::append(&mut bytes, &RecordRef::End(*n, ended));
            }
        }
        record::append(&mut bytes, &RecordRef::Life(&self.instance));
        let segment = self.segment + 1;
        // Under another name until it is whole: half of it, beside later records of this file, would bring the dead back.
        let draft = self.dir.join("draft");
        let file = OpenOptions::new().create(true).append(true).open(&draft)?;
        file.set_len(0)?;
        (&file).write_all(&bytes)?;
        file.sync_data()?;
        let directory = File::open(&self.dir)?;
        fs::rename(&draft, path(&self.dir, segment))?;
        // From here on it is the last one, and what the one before it gets would be forgotten: nothing that can fail stands
        // between the two.
        self.file = Arc::new(file);
        self.segment = segment;
        self.len = bytes.len() as u64;
        directory.sync_all()?;
        let [current, previous] = &mut self.known;
        *previous = std::mem::take(current);
        let unfinished = previous.iter().filter(|(_, known)| known.state.is_open());
        current.extend(unfinished.map(|(key, known)| (key.clone(), *known)));
        for number in segments(&self.dir)? {
            if number + 1 < segment {
                fs::remove_file(path(&self.dir, number))?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &Key, known: Known) {
        let [current, _] = &mut self.known;
        match current.get_mut(key) {
            Some(old) => *old = known,
            None => {
                current.insert(key.clone(), known);
            }
        }
    }
}

#[cfg(test)]
mod tests;
