//! Locks as people read of them.

use jiff::Timestamp;
use rr_nats::LockEntry;
use rr_schemas::lock::LockHolder;

use crate::text::{ago, escape};

/// Who holds a lock: `worker w1 (run r1, job pkg, task 3)`, `ada@laptop (make, process 4711)`. What others say of themselves is
/// escaped.
pub(crate) fn holder_words(entry: &LockEntry) -> String {
    let Some(held) = &entry.held else { return "somebody whose entry cannot be read".to_owned() };
    match &held.holder {
        LockHolder::Attempt { worker, run, job, task, .. } => {
            format!("worker {worker} (run {run}, job {job}, task {task})")
        }
        LockHolder::Command { by, pid, program } => {
            format!("{} ({}, process {pid})", escape(by.as_bytes()), escape(program.as_bytes()))
        }
    }
}

/// The same and since when: `held by … since 2026-11-22T01:02:03Z (5m ago)`.
pub(crate) fn held_words(entry: &LockEntry, now: Timestamp) -> String {
    let since = entry.held.as_ref().map_or(entry.renewed, |held| held.since);
    let since_words = since.strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("held by {} since {since_words} ({})", holder_words(entry), ago(since, now))
}
