//! CPU time of processes and threads, as the kernel counts it.

use std::fs;

use serde::Serialize;

/// CPU seconds of each role. The coordinator and the worker have a thread each, the server is a process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cpu {
    pub(crate) server: f64,
    pub(crate) coordinator: f64,
    pub(crate) worker: f64,
}

impl Cpu {
    /// What was used since another reading.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: self.server - before.server,
            coordinator: self.coordinator - before.coordinator,
            worker: self.worker - before.worker,
        }
    }
}

/// CPU seconds of a process and its threads; 0 where the system does not tell.
pub(crate) fn of_process(pid: u32) -> f64 {
    read(&format!("/proc/{pid}/stat"))
}

/// CPU seconds of a thread of this process; 0 where the system does not tell.
pub(crate) fn of_thread(tid: u32) -> f64 {
    read(&format!("/proc/self/task/{tid}/stat"))
}

/// The id of the calling thread; 0 where the system does not tell.
pub(crate) fn this_thread() -> u32 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    stat.split(' ').next().and_then(|id| id.parse().ok()).unwrap_or(0)
}

fn read(path: &str) -> f64 {
    let stat = fs::read_to_string(path).unwrap_or_default();
    // The name of the program may hold anything; the fields that follow its closing parenthesis do not.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |field: usize| fields.split_whitespace().nth(field).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    // Fields 14 and 15 of the whole line: user and system time.
    f64::from(ticks(11) + ticks(12)) / f64::from(per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_seen_to_be_busy() {
        let tid = this_thread();
        let before = of_thread(tid);
        let mut sum = 0_u64;
        while of_thread(tid) - before < 0.05 {
            for n in 0..1_000_000 {
                sum = sum.wrapping_add(std::hint::black_box(n));
            }
        }
        assert!(of_process(std::process::id()) >= 0.05, "{sum}");
    }
}
