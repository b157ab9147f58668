//! What the parts of the mesh use, taken at two moments.

use std::time::Duration;

use rr_tests::{Running, TestMesh, procfs, single::Single};

/// Reads what every part uses.
pub(crate) struct Gauge<'m> {
    mesh: &'m TestMesh<Single>,
    coordinators: Vec<u32>,
    workers: Vec<u32>,
}

/// Processor time in hundredths of a second, memory in mebibytes, messages since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    server: Used,
    coordinators: Used,
    workers: Used,
    messages: f64,
}

/// Of one part.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    ticks: u32,
    /// Resident now, all processes of it together.
    now: f64,
    /// The most that any one process of it has ever had.
    peak: f64,
}

impl<'m> Gauge<'m> {
    /// A gauge without workers.
    pub(crate) fn new(mesh: &'m TestMesh<Single>, coordinators: &[Running]) -> Self {
        Self { mesh, coordinators: coordinators.iter().map(Running::pid).collect(), workers: Vec::new() }
    }

    /// Counts these processes as workers.
    pub(crate) fn watch(&mut self, workers: &[Running]) {
        self.workers = workers.iter().map(Running::pid).collect();
    }

    /// What is used until now.
    pub(crate) async fn read(&self) -> Reading {
        let state = self.mesh.state("varz").await.expect("the state of the server");
        let count = |name: &str| state.get(name).and_then(serde_json::Value::as_f64).unwrap_or_default();
        Reading {
            server: Used::of(&[self.mesh.process().pid()]),
            coordinators: Used::of(&self.coordinators),
            workers: Used::of(&self.workers),
            messages: count("in_msgs") + count("out_msgs"),
        }
    }
}

impl Used {
    fn of(processes: &[u32]) -> Self {
        processes.iter().fold(Self::default(), |all, pid| {
            let ticks = procfs::processor_ticks(*pid).and_then(|ticks| u32::try_from(ticks).ok());
            Self {
                ticks: all.ticks + ticks.expect("a process that lives"),
                now: all.now + mebibytes(procfs::resident(*pid)),
                peak: all.peak.max(mebibytes(procfs::peak_resident(*pid))),
            }
        })
    }

    /// Processor time since then, as a share of one core, and memory.
    fn since(self, before: Self, took: Duration) -> String {
        let seconds = f64::from(self.ticks - before.ticks) / 100.0;
        let percent = seconds * 100.0 / took.as_secs_f64();
        format!("{seconds:.2} s ({percent:.1} %), {:.0} MiB, peak {:.0}", self.now, self.peak)
    }
}

impl Reading {
    /// The head of the table.
    pub(crate) const HEAD: &'static str = "\
        | what | took | server: core time, resident | both coordinators | all workers | messages a second |\n\
        | --- | --- | --- | --- | --- | --- |";

    /// A row of the table: what was used since an earlier reading.
    pub(crate) fn since(&self, before: &Self, what: &str, took: Duration) -> String {
        let rate = (self.messages - before.messages) / took.as_secs_f64();
        format!(
            "| {what} | {:.1} s | {} | {} | {} | {rate:.0} |",
            took.as_secs_f64(),
            self.server.since(before.server, took),
            self.coordinators.since(before.coordinators, took),
            self.workers.since(before.workers, took),
        )
    }
}

fn mebibytes(bytes: Option<u64>) -> f64 {
    let kibibytes = u32::try_from(bytes.expect("a process that lives") / 1024).expect("less than four tebibytes");
    f64::from(kibibytes) / 1024.0
}
