//! The tasks of a job, counted as its events pass.

use rr_schemas::report::Outcome;

use super::task::Task;

/// How many tasks of a job are in which state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Of which anything was said.
    pub(super) known: u32,
    /// Open, or between two attempts.
    pub(super) busy: u32,
    /// Open.
    pub(super) open: u32,
    /// Over, and good.
    pub(super) ok: u32,
    /// Over, and not good, but for those that do not count.
    pub(super) bad: u32,
    /// Those of `bad` that nobody served.
    pub(super) unreachable: u32,
    /// That nobody served, where the flow says that such ones do not count.
    pub(super) skipped: u32,
}

impl Tally {
    /// One task is another one now. `skips`: whether those that nobody serves do not count.
    pub(super) fn change(&mut self, before: Option<Task>, after: Task, skips: bool) {
        let before = before.map(|task| Self::of(task, skips)).unwrap_or_default();
        let after = Self::of(after, skips);
        let swap = |all: &mut u32, before: u32, after: u32| *all = (*all + after).saturating_sub(before);
        swap(&mut self.known, before.known, after.known);
        swap(&mut self.busy, before.busy, after.busy);
        swap(&mut self.open, before.open, after.open);
        swap(&mut self.ok, before.ok, after.ok);
        swap(&mut self.bad, before.bad, after.bad);
        swap(&mut self.unreachable, before.unreachable, after.unreachable);
        swap(&mut self.skipped, before.skipped, after.skipped);
    }

    fn of(task: Task, skips: bool) -> Self {
        let is_bad = task.is_over() && task.last != Some(Outcome::Ok);
        let is_unreachable = is_bad && task.last == Some(Outcome::Unreachable);
        let is_skipped = is_unreachable && skips;
        Self {
            known: 1,
            busy: u32::from(task.is_busy()),
            open: u32::from(task.open),
            ok: u32::from(task.last == Some(Outcome::Ok) && !task.open),
            bad: u32::from(is_bad && !is_skipped),
            unreachable: u32::from(is_unreachable && !is_skipped),
            skipped: u32::from(is_skipped),
        }
    }
}
