//! How the tasks of a job stand, as the fold has counted them.

use super::Run;

/// Tasks of a job; each is counted once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Succeeded.
    pub ok: u32,
    /// Over otherwise.
    pub bad: u32,
    /// Served by nobody, and counting neither way.
    pub skipped: u32,
    /// Offered, running or held.
    pub open: u32,
    /// Between two attempts.
    pub delayed: u32,
    /// Never offered.
    pub waiting: u32,
}

impl Run {
    /// How the tasks of a job stand, by its place in the plan.
    pub fn counts(&self, job: usize) -> Option<Counts> {
        let (planned, job) = self.job(job)?;
        Some(Counts {
            ok: job.ok,
            bad: job.bad,
            skipped: job.skipped,
            open: job.open,
            delayed: job.delayed,
            waiting: planned.n.saturating_sub(job.begun_tasks),
        })
    }
}
