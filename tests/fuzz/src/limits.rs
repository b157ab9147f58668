//! What an input may cost: time and memory.
//!
//! Both are counted where nothing else disturbs them, so that the limits may be a few times what was measured. Time is that of the
//! processor for the thread that reads: a busy machine makes nothing slower. Memory is what was allocated at most, by the
//! allocator's own count: exact, on every system, and never silently missing.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::target::Target;

/// Counts what whoever links this crate allocates. It counts all threads: a process that measures does nothing else meanwhile.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Up to this length an input costs what a short one costs, from there on it is seen what each byte costs.
pub const SHORT_BYTES: usize = 4 * 1024;

/// What an input may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Of a short input, however much its few words ask for.
    pub time: Duration,
    /// Beside that, for each KiB of it.
    pub time_per_kib: Duration,
    /// Of a short input.
    pub bytes: usize,
    /// Beside that, for each of its bytes.
    pub bytes_per_byte: usize,
}

impl Limits {
    const fn new(time_ms: u64, micros_per_kib: u64, kib: usize, bytes_per_byte: usize) -> Self {
        let (time, time_per_kib) = (Duration::from_millis(time_ms), Duration::from_micros(micros_per_kib));
        Self { time, time_per_kib, bytes: kib * 1024, bytes_per_byte }
    }

    /// Those of a target: three to five times what the dearest input has cost in a build without optimisations, of the corpus (which has
    /// some that ask for as many hosts and jobs as may be) and of the search from there; the search prints it. In a build with
    /// optimisations the same counts, which is several times as fast.
    pub const fn of(target: Target) -> Self {
        match target {
            Target::Flow => Self::new(1_300, 8_000, 32 * 1024, 320),
            Target::Hosts => Self::new(1_000, 200, 40 * 1024, 16),
            Target::Wire => Self::new(10, 1_000, 256, 32),
            Target::Api => Self::new(10, 500, 256, 32),
            Target::Export => Self::new(10, 1_200, 256, 32),
            Target::Template => Self::new(10, 400, 1_536, 320),
            Target::Words => Self::new(10, 100, 32, 16),
        }
    }

    fn time_of(self, bytes: usize) -> Duration {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.time.saturating_add(self.time_per_kib.saturating_mul(kib))
    }

    const fn bytes_of(self, bytes: usize) -> usize {
        self.bytes.saturating_add(self.bytes_per_byte.saturating_mul(bytes))
    }
}

/// What inputs have cost at most.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cost {
    /// A short one.
    pub time: Duration,
    /// A long one, for each KiB.
    pub time_per_kib: Duration,
    /// A short one.
    pub bytes: usize,
    /// A long one, for each byte.
    pub bytes_per_byte: usize,
}

impl Cost {
    fn of(len: usize, time: Duration, bytes: usize) -> Self {
        if len <= SHORT_BYTES {
            return Self { time, bytes, ..Self::default() };
        }
        let kib = u32::try_from(len / 1024).unwrap_or(u32::MAX);
        Self { time_per_kib: time / kib.max(1), bytes_per_byte: bytes / len, ..Self::default() }
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            time: self.time.max(other.time),
            time_per_kib: self.time_per_kib.max(other.time_per_kib),
            bytes: self.bytes.max(other.bytes),
            bytes_per_byte: self.bytes_per_byte.max(other.bytes_per_byte),
        }
    }
}

/// Does something with an input of a length, and says what that cost.
///
/// # Errors
/// What the work itself says is wrong, or which limit was broken.
pub fn within<T>(limits: Limits, len: usize, work: impl FnOnce() -> Result<T, String>) -> Result<(T, Cost), String> {
    ALLOCATED.reset_peak_usage();
    let (before, start) = (ALLOCATED.current_usage(), worked());
    let done = work();
    let time = worked().saturating_sub(start);
    let bytes = ALLOCATED.peak_usage().saturating_sub(before);
    let done = done?;
    if time > limits.time_of(len) {
        return Err(format!("worked {time:?} on {len} bytes, limit {:?}", limits.time_of(len)));
    }
    if bytes > limits.bytes_of(len) {
        return Err(format!("took {bytes} bytes of memory for {len} bytes, limit {}", limits.bytes_of(len)));
    }
    Ok((done, Cost::of(len, time, bytes)))
}

/// How long the processor has worked for this thread.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}
