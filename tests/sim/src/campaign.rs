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
    time::{Duration, Instant},
};

use crate::{
    branches::{self, Listener},
    case::{Case, Mode},
    judge::Complaint,
    swarm,
    world::{self, Report},
};

/// How often progress is told though no seed has ended.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// A seed that takes longer never ends: one takes milliseconds.
const STUCK_AFTER: Duration = Duration::from_mins(1);
/// Seeds that do not end, after which a campaign does: each keeps a thread busy.
const STUCK_MAX: usize = 8;
/// Seeds of which so many things are demanded as make a campaign.
pub const CAMPAIGN: u64 = 100_000;
/// How often a campaign has to show each kind of fault and each rare branch.
pub const LEAST: u64 = 100;
/// No seed.
const NONE: u64 = u64::MAX;
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

    /// What came up less often than `least` times, of every kind of fault and every rare branch: what never happened was not
    /// tested.
    pub fn rarer_than(&self, least: u64) -> Vec<(String, u64)> {
        let of_faults = swarm::names().map(|name| {
            let count = self.faults.get(&name).copied().unwrap_or_default();
            (name, count)
        });
        let of_branches = branches::named(&self.said).into_iter().map(|(name, count)| (name.to_owned(), count));
        let of_flows =
            world::FLOWS.into_iter().map(|name| (name.to_owned(), self.events.get(name).copied().unwrap_or_default()));
        of_faults.chain(of_branches).chain(of_flows).filter(|(_, count)| *count < least).collect()
    }

    /// The same of a whole campaign: nothing is demanded of a few seeds, and of [`CAMPAIGN`] of them that each came up
    /// [`LEAST`] times.
    pub fn too_rare(&self) -> Vec<(String, u64)> {
        if self.seeds < CAMPAIGN { Vec::new() } else { self.rarer_than(LEAST) }
    }

    /// Whether nothing is wrong.
    pub const fn is_well(&self) -> bool {
        self.failures.is_empty() && self.stuck.is_empty() && self.broken.is_empty()
    }
}

enum Told {
    Ended {
        seed: u64,
        mode: Mode,
        report: io::Result<Report>,
    },
    /// A thread has nothing left to do.
    Done,
}

/// What a thread is at.
struct Hand {
    seed: Arc<AtomicU64>,
    /// What it was at when it was last looked at, and since when.
    seen: (u64, Instant),
}

/// What all threads share.
#[derive(Clone)]
struct Work {
    campaign: Campaign,
    next: Arc<AtomicU64>,
    told: SyncSender<Told>,
    stop: Arc<AtomicBool>,
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
        let (sender, heard) = mpsc::sync_channel(REPORTS_MAX);
        let work = Work { campaign: self.clone(), next: Arc::default(), told: sender, stop: Arc::clone(stop) };
        let mut hands: Vec<Hand> = (0..self.jobs.get()).map(|_| work.hand()).collect();
        let mut at_work = hands.len();
        let mut tally = Tally::default();
        while at_work > 0 && tally.stuck.len() < STUCK_MAX {
            match heard.recv_timeout(TOLD_EVERY) {
                Ok(Told::Ended { seed, mode, report }) => tally.take((seed, mode, report), &mut told),
                Ok(Told::Done) => at_work -= 1,
                // This end holds a sender, too.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            for hand in &mut hands {
                if let Some(seed) = hand.stuck() {
                    tally.stuck.push(seed);
                    *hand = work.hand();
                }
            }
            told(Progress::On(&tally));
        }
        tally
    }
}

impl Hand {
    /// The seed that it has been at for too long. It is another's place from then on.
    fn stuck(&mut self) -> Option<u64> {
        let seed = self.seed.load(Ordering::Relaxed);
        if seed != self.seen.0 {
            self.seen = (seed, Instant::now());
        }
        let is_late = seed != NONE && self.seen.1.elapsed() >= STUCK_AFTER;
        // It may have ended in this moment.
        let is_left = is_late && self.seed.compare_exchange(seed, NONE, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_left.then_some(seed)
    }
}

impl Work {
    /// A thread. Nobody waits for it: one that is stuck would be waited for for ever.
    fn hand(&self) -> Hand {
        let seed = Arc::new(AtomicU64::new(NONE));
        let (work, current) = (self.clone(), Arc::clone(&seed));
        drop(thread::spawn(move || work.run(&current)));
        Hand { seed, seen: (NONE, Instant::now()) }
    }

    fn run(&self, current: &AtomicU64) {
        let Campaign { from, seeds, mode, ref dir, .. } = self.campaign;
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                break;
            }
            let seed = from.wrapping_add(number);
            current.store(seed, Ordering::Relaxed);
            let mode = mode.unwrap_or_else(|| mode_of(seed));
            let report = one(seed, mode, dir);
            if current.swap(NONE, Ordering::Relaxed) != seed {
                // It was given up, and its place is another's.
                return;
            }
            if self.told.send(Told::Ended { seed, mode, report }).is_err() {
                return;
            }
        }
        // Nobody listens any more where a campaign is given up.
        drop(self.told.send(Told::Done));
    }
}

impl Tally {
    fn take(&mut self, (seed, mode, report): (u64, Mode, io::Result<Report>), told: &mut impl FnMut(Progress<'_>)) {
        match report {
            Ok(report) => {
                self.add(&report);
                if !report.complaints.is_empty() {
                    let failure = Failure { seed, mode, complaints: report.complaints };
                    told(Progress::Failed(&failure));
                    self.failures.push(failure);
                }
            }
            Err(error) => self.broken.push(format!("seed {seed}: {error}")),
        }
    }
}
