//! Many seeds, on a few threads.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use crate::{
    branches::Listener,
    case::{Case, Mode},
    judge::Complaint,
    world::{self, Report},
};

/// How often progress is told though no seed has ended.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Progress without a seed that ended for this long means that one never ends: a simulated minute takes milliseconds.
const STUCK_AFTER: Duration = Duration::from_mins(2);
/// Reports that wait; whoever counts them takes a moment for each.
const REPORTS_MAX: usize = 64;
/// Where files are in memory, on the systems that have it.
const IN_MEMORY: &str = "/dev/shm";

/// Seeds to be lived through.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first one.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// What is asked of each; by turns, where none is given.
    pub mode: Option<Mode>,
    /// Threads.
    pub jobs: NonZeroUsize,
    /// Where files lie meanwhile.
    pub dir: PathBuf,
}

/// A seed of which something is wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was asked of it.
    pub mode: Mode,
    /// What is wrong.
    pub complaints: Vec<Complaint>,
}

/// What all seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds that have ended.
    pub seeds: u64,
    /// Those of which something is wrong.
    pub failures: Vec<Failure>,
    /// Faults by their names.
    pub faults: BTreeMap<String, u64>,
    /// Log lines by their words.
    pub said: BTreeMap<String, u64>,
    /// Events by their kinds.
    pub events: BTreeMap<&'static str, u64>,
    /// Functions that were started.
    pub starts: u64,
    /// Time that has passed in all worlds.
    pub simulated: Duration,
    /// Seeds that do not end.
    pub stuck: Vec<u64>,
    /// Seeds that could not be lived through, because their files could not be made.
    pub broken: Vec<String>,
}

/// How far a campaign is.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A seed has ended well, or a second has passed.
    On(&'a Tally),
    /// A seed has failed.
    Failed(&'a Failure),
}

impl Tally {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.starts += report.starts as u64;
        self.simulated += report.simulated;
        for (name, count) in &report.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
        for (words, count) in &report.said {
            *self.said.entry(words.clone()).or_default() += count;
        }
        for (word, count) in &report.events {
            *self.events.entry(word).or_default() += count;
        }
    }

    /// Whether nothing is wrong.
    pub const fn is_well(&self) -> bool {
        self.failures.is_empty() && self.stuck.is_empty() && self.broken.is_empty()
    }
}

struct Ended {
    seed: u64,
    mode: Mode,
    report: io::Result<Report>,
}

/// What a seed is asked where nobody says.
pub const fn mode_of(seed: u64) -> Mode {
    if seed.is_multiple_of(2) { Mode::Liveness } else { Mode::Safety }
}

/// Where files are best kept: in memory, where the system has a place for that.
pub fn default_dir() -> PathBuf {
    if Path::new(IN_MEMORY).is_dir() { IN_MEMORY.into() } else { std::env::temp_dir() }
}

/// Lives through one seed on this thread.
///
/// # Errors
/// Its files cannot be made.
pub fn one(seed: u64, mode: Mode, dir: &Path) -> io::Result<Report> {
    tracing::subscriber::with_default(Listener, || world::run(&Case::draw(seed, mode), dir))
}

impl Campaign {
    /// Lives through all of them, or until `stop` is set. A seed that does not end is named and left behind.
    pub fn run(&self, stop: &Arc<AtomicBool>, mut told: impl FnMut(Progress<'_>)) -> Tally {
        let next = Arc::new(AtomicU64::new(0));
        let (sender, ended) = mpsc::sync_channel(REPORTS_MAX);
        let current: Vec<Arc<AtomicU64>> = (0..self.jobs.get()).map(|_| Arc::new(AtomicU64::new(u64::MAX))).collect();
        for current in &current {
            let (campaign, next, sender) = (self.clone(), Arc::clone(&next), sender.clone());
            let (current, stop) = (Arc::clone(current), Arc::clone(stop));
            // Not waited for: one that is stuck would be waited for for ever.
            drop(thread::spawn(move || campaign.work(&next, &sender, &current, &stop)));
        }
        drop(sender);
        let mut tally = Tally::default();
        let mut silence = Duration::ZERO;
        loop {
            match ended.recv_timeout(TOLD_EVERY) {
                Ok(ended) => {
                    silence = Duration::ZERO;
                    take(&mut tally, ended, &mut told);
                }
                Err(RecvTimeoutError::Timeout) => silence += TOLD_EVERY,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            told(Progress::On(&tally));
            if silence >= STUCK_AFTER {
                let seeds = current.iter().map(|seed| seed.load(Ordering::Relaxed));
                tally.stuck = seeds.filter(|seed| *seed != u64::MAX).collect();
                break;
            }
        }
        tally
    }

    fn work(&self, next: &AtomicU64, ended: &SyncSender<Ended>, current: &AtomicU64, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.seeds {
                break;
            }
            let seed = self.from.wrapping_add(number);
            current.store(seed, Ordering::Relaxed);
            let mode = self.mode.unwrap_or_else(|| mode_of(seed));
            let report = one(seed, mode, &self.dir);
            if ended.send(Ended { seed, mode, report }).is_err() {
                break;
            }
        }
        current.store(u64::MAX, Ordering::Relaxed);
    }
}

fn take(tally: &mut Tally, ended: Ended, told: &mut impl FnMut(Progress<'_>)) {
    let Ended { seed, mode, report } = ended;
    match report {
        Ok(report) => {
            tally.add(&report);
            if !report.complaints.is_empty() {
                let failure = Failure { seed, mode, complaints: report.complaints };
                told(Progress::Failed(&failure));
                tally.failures.push(failure);
            }
        }
        Err(error) => tally.broken.push(format!("seed {seed}: {error}")),
    }
}
