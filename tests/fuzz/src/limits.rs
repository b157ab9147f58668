//! How long an input may take, and how much memory.
//!
//! Memory is what the process had resident at most, by the system's own count, which is set back before each input.

use std::{
    fs,
    time::{Duration, Instant},
};

/// What an input may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Of an empty input.
    pub time: Duration,
    /// Beside that, for each KiB of it.
    pub time_per_kib: Duration,
    /// Of an empty input.
    pub bytes: u64,
    /// Beside that, for each of its bytes.
    pub bytes_per_byte: u64,
}

impl Limits {
    /// For builds with optimisations, on a machine that does other things as well. A flow of 512 KiB is read in five ways
    /// in about 1 s and takes 150 MiB, where it names a hundred thousand targets.
    pub const RELEASE: Self = Self {
        time: Duration::from_secs(1),
        time_per_kib: Duration::from_millis(20),
        bytes: 256 * 1024 * 1024,
        bytes_per_byte: 512,
    };

    /// For builds without.
    pub const DEBUG: Self =
        Self { time: Duration::from_secs(10), time_per_kib: Duration::from_millis(200), ..Self::RELEASE };

    /// Those of this build.
    pub const fn of_this_build() -> Self {
        if cfg!(debug_assertions) { Self::DEBUG } else { Self::RELEASE }
    }

    fn time_of(self, bytes: usize) -> Duration {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.time.saturating_add(self.time_per_kib.saturating_mul(kib))
    }

    fn bytes_of(self, bytes: usize) -> u64 {
        self.bytes.saturating_add(self.bytes_per_byte.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }
}

/// Does something with an input, and says what it cost too much.
///
/// # Errors
/// What the work itself says is wrong, or which limit was broken.
pub fn within<T>(limits: Limits, bytes: usize, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let before = reset();
    let start = Instant::now();
    let done = work()?;
    let took = start.elapsed();
    if took > limits.time_of(bytes) {
        return Err(format!("took {took:?} for {bytes} bytes, limit {:?}", limits.time_of(bytes)));
    }
    let peak = resident("VmHWM:").unwrap_or(0).saturating_sub(before);
    if peak > limits.bytes_of(bytes) {
        return Err(format!("took {peak} bytes of memory for {bytes} bytes, limit {}", limits.bytes_of(bytes)));
    }
    Ok(done)
}

/// Sets the peak back to what is resident now, and says how much that is. Where the system has no such count (it is
/// Linux's), only time is limited.
fn reset() -> u64 {
    fs::write("/proc/self/clear_refs", "5").ok().and_then(|()| resident("VmRSS:")).unwrap_or(u64::MAX)
}

fn resident(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_or_too_much_is_said() {
        let tight = Limits { time: Duration::from_millis(50), bytes: 32 * 1024 * 1024, ..Limits::RELEASE };
        let slow = within(tight, 0, || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            Ok(())
        });
        assert!(slow.unwrap_err().contains("limit 50ms"));
        let wide = Limits { time: Duration::from_mins(1), ..tight };
        let hungry = within(wide, 0, || Ok(vec![1_u8; 64 * 1024 * 1024].iter().rev().position(|byte| *byte == 0)));
        assert!(hungry.unwrap_err().contains("bytes of memory"));
        assert_eq!(within(wide, 0, || Ok(7)), Ok(7));
    }
}
