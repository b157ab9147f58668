//! What attempts wrote: the chunks that are stored against what their workers say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_schemas::{
    decision::{Decision, Event, Record},
    name::WorkerName,
    report::{Ended, Output},
};

use crate::{FINDINGS_MAX, Findings, Rule, Violation, history::GRACE};

/// What is stored of the output of one run.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// By worker, task and attempt.
    attempts: BTreeMap<(WorkerName, u32, u32), Stored>,
}

/// What is stored of one attempt: bytes by the number of their chunk, so that one that was stored twice counts once.
#[derive(Clone, Debug, Default)]
struct Stored {
    chunks: BTreeMap<u32, u64>,
}

impl Outputs {
    /// A chunk of so many bytes is stored.
    pub fn hear(&mut self, worker: &WorkerName, (task, attempt): (u32, u32), chunk: u32, bytes: u64) {
        self.attempts.entry((worker.clone(), task, attempt)).or_default().chunks.insert(chunk, bytes);
    }

    /// What does not add up, and what is not there. Of an attempt without an account nothing is said.
    pub fn judge<'d>(&self, decisions: impl Iterator<Item = &'d Decision>, age: Age) -> Judged {
        let mut findings = Findings::default();
        let mut judged = Judged::default();
        let mut began = Began::default();
        let mut over = None;
        for record in decisions.flat_map(|decision| &decision.events) {
            began.hear(record);
            if record.event.is_end() {
                over = Some(record.at);
            }
            let Event::Ended { task, attempt, by: Some(by), end, .. } = &record.event else { continue };
            if !has_account(end) {
                continue;
            }
            let stored = self.attempts.get(&(by.worker.clone(), *task, *attempt)).cloned().unwrap_or_default();
            let missing = match stored.wrong(&end.output) {
                Ok(None) => continue,
                Ok(Some(missing)) => missing,
                Err(wrong) => {
                    findings.demand(false, Rule::Output, record.cause, || {
                        format!("of task {task}, attempt {attempt}, which was {}: {wrong}", end.outcome.word())
                    });
                    continue;
                }
            };
            judged.n_short += 1;
            let may_be_old = missing.is_of_front && age.may_have_gone(began.of(*task, *attempt));
            if age.is_settled(record.at) && !may_be_old && judged.lost.len() < FINDINGS_MAX {
                let Missing { first, last, .. } = missing;
                let chunks = end.output.chunks;
                judged.lost.push(format!(
                    "of task {task}, attempt {attempt}, output is not stored: of {chunks} chunks those from {first} to {last}, and no \
                     age has removed them"
                ));
            }
        }
        // A run is removed with all of its output, and its decisions go last.
        if self.attempts.is_empty() && age.may_be_removed(over) {
            judged.lost.clear();
        }
        judged.violations = findings.0;
        judged
    }
}

/// Since when there may be output of attempts.
#[derive(Debug, Default)]
struct Began {
    started: BTreeMap<(u32, u32), Timestamp>,
    /// First offers of attempts: by attempt and the first of consecutive tasks, with the last of them. A few bytes can name four
    /// billion.
    offered: BTreeMap<(u32, u32), (u32, Timestamp)>,
}

impl Began {
    fn hear(&mut self, record: &Record) {
        if let Event::Started { task, attempt, .. } = &record.event {
            self.started.entry((*task, *attempt)).or_insert(record.at);
        }
        if let Event::Offered { tasks, attempt, offer: 1, .. } = &record.event {
            for range in tasks.iter_ranges() {
                let (first, last) = range.into_inner();
                self.offered.entry((*attempt, first)).or_insert((last, record.at));
            }
        }
    }

    /// Since its start was told, else since it was offered: what ends in a moment is not told to start.
    fn of(&self, task: u32, attempt: u32) -> Option<Timestamp> {
        let offered = || {
            let (key, (last, at)) = self.offered.range(..=(attempt, task)).next_back()?;
            (key.0 == attempt && task <= *last).then_some(*at)
        };
        self.started.get(&(task, attempt)).copied().or_else(offered)
    }
}

/// What is known of the age of output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Age {
    /// The time by the server's clock, where it is asked whether everything should be stored by now.
    pub now: Option<Timestamp>,
    /// When the oldest output of all that is still there was stored, where that is known: what is older has gone.
    pub oldest: Option<Timestamp>,
    /// Runs that were over before this may be removed one by one, where that is known: behind one that holds the log back.
    pub kept_since: Option<Timestamp>,
}

impl Age {
    /// Whether the first output of an attempt that began then may have gone, as the oldest does.
    fn may_have_gone(self, began: Option<Timestamp>) -> bool {
        began.zip(self.oldest).is_none_or(|(began, oldest)| began <= oldest)
    }

    /// Whether a run that was over then may have been removed by itself.
    fn may_be_removed(self, over: Option<Timestamp>) -> bool {
        over.zip(self.kept_since).is_some_and(|(over, kept_since)| over < kept_since)
    }

    /// Whether what was written before this has been stored, or never will.
    fn is_settled(self, ended: Timestamp) -> bool {
        self.now.is_some_and(|now| ended.checked_add(GRACE.as_duration()).is_ok_and(|by| by < now))
    }
}

/// What is to be said of the output of one run.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// What does not add up.
    pub violations: Vec<Violation>,
    /// What should be stored, and is not. A worker that dies with output on its way, after it has reported the end, leaves that
    /// behind, so this breaks no rule.
    pub lost: Vec<String>,
    /// Attempts with chunks that are not there: not stored yet, not kept any more, or lost.
    pub n_short: usize,
}

/// Chunks that are not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Missing {
    /// The first one.
    first: u32,
    /// The last one of those that follow it without a gap.
    last: u32,
    /// Whether everything that is there comes behind all of them: so it is where the oldest has gone.
    is_of_front: bool,
}

/// Whether an end comes with an account of its output. Whoever has started an attempt and seen it end says when it started.
/// A coordinator that concludes the attempt of a dead worker does not, nor a worker that was restarted: what was written
/// before that, nobody counts.
fn has_account(end: &Ended) -> bool {
    end.started_at.is_some() || end.output != Output::default()
}

impl Stored {
    /// What is wrong with an account; else which chunks of it are not there, if any.
    fn wrong(&self, output: &Output) -> Result<Option<Missing>, String> {
        let Output { stdout_bytes, stderr_bytes, dropped_bytes, chunks } = *output;
        let written = stdout_bytes.saturating_add(stderr_bytes);
        let kept = written.checked_sub(dropped_bytes);
        let kept = kept.ok_or_else(|| format!("{dropped_bytes} of {written} bytes are said to be dropped"))?;
        if let Some((n, _)) = self.chunks.range(chunks..).next() {
            return Err(format!("chunk {n} is stored, and its worker speaks of {chunks}"));
        }
        let stored: u64 = self.chunks.values().sum();
        let missing = self.missing(chunks);
        if stored > kept || (missing.is_none() && stored != kept) {
            return Err(format!("{stored} bytes are stored, and {written} were written, less {dropped_bytes} dropped"));
        }
        // A chunk that the server refuses is dropped, and has had its number.
        Ok(missing.filter(|_| stored != kept))
    }

    /// The first chunks that are not there of so many, those that no age removes before others.
    fn missing(&self, chunks: u32) -> Option<Missing> {
        let first_stored = self.chunks.keys().next().copied().unwrap_or(chunks);
        let mut next = first_stored;
        for n in self.chunks.keys() {
            if *n != next {
                return Some(Missing { first: next, last: *n - 1, is_of_front: false });
            }
            next = *n + 1;
        }
        if next < chunks {
            return Some(Missing { first: next, last: chunks - 1, is_of_front: false });
        }
        (first_stored > 0).then(|| Missing { first: 0, last: first_stored - 1, is_of_front: true })
    }
}

#[cfg(test)]
mod tests {
    use rr_schemas::{input::Holder, report::Outcome};

    use super::*;

    /// What is said of an attempt of which ten bytes are stored.
    fn of_ten_bytes(started_at: Option<Timestamp>, output: Output) -> (usize, usize) {
        let holder = Holder { worker: "w".parse().unwrap(), instance: "i".parse().unwrap() };
        let outcome = Outcome::Lost;
        let end = Ended { outcome, exit_code: None, signal: None, reason: None, started_at, ended_at: None, output };
        let event = Event::Ended { task: 0, attempt: 1, by: Some(holder.clone()), end, again: None };
        let decision = Decision {
            n: 1,
            prev: String::new(),
            upto: 1,
            by: "c".parse().unwrap(),
            events: vec![Record { at: Timestamp::UNIX_EPOCH, cause: 1, event }],
            secret: String::new(),
        };
        let mut outputs = Outputs::default();
        outputs.hear(&holder.worker, (0, 1), 0, 10);
        let Judged { violations, lost, n_short } = outputs.judge([&decision].into_iter(), Age::default());
        assert!(lost.is_empty(), "nobody asks for it");
        (violations.len(), n_short)
    }

    #[test]
    fn what_a_dead_worker_has_written_is_held_against_nobody() {
        let output = |stdout_bytes, chunks| Output { stdout_bytes, stderr_bytes: 0, dropped_bytes: 0, chunks };
        let started = Some(Timestamp::UNIX_EPOCH);
        for (what, started_at, output, found) in [
            ("concluded, or told by a later life", None, Output::default(), (0, 0)),
            ("its own word that nothing was written", started, Output::default(), (1, 0)),
            ("its own word", started, output(10, 1), (0, 0)),
            ("its own word, with a chunk that is not there", started, output(12, 2), (0, 1)),
            ("an account without a start", None, output(9, 1), (1, 0)),
        ] {
            assert_eq!(of_ten_bytes(started_at, output), found, "{what}");
        }
    }

    #[test]
    fn what_is_stored_and_what_is_dropped_adds_up() {
        let output = |stdout_bytes, stderr_bytes, dropped_bytes, chunks| Output {
            stdout_bytes,
            stderr_bytes,
            dropped_bytes,
            chunks,
        };
        for (chunks, account, expected) in [
            (&[][..], output(0, 0, 0, 0), Ok(None)),
            (&[(0, 7), (1, 3)], output(7, 3, 0, 2), Ok(None)),
            (&[(0, 7), (0, 7)], output(7, 0, 0, 1), Ok(None)),
            (&[(0, 7)], output(9, 0, 2, 1), Ok(None)),
            (&[(1, 3)], output(7, 3, 0, 2), Ok(Some((0, 0, true)))),
            (&[], output(7, 0, 0, 1), Ok(Some((0, 0, true)))),
            (&[(2, 3), (3, 3)], output(12, 0, 0, 4), Ok(Some((0, 1, true)))),
            (&[(0, 3), (3, 3)], output(12, 0, 0, 4), Ok(Some((1, 2, false)))),
            (&[(1, 3), (3, 3)], output(12, 0, 0, 4), Ok(Some((2, 2, false)))),
            (&[(0, 3), (1, 3)], output(12, 0, 0, 4), Ok(Some((2, 3, false)))),
            (&[(1, 3)], output(12, 0, 0, u32::MAX), Ok(Some((2, u32::MAX - 1, false)))),
            (&[(0, 3), (2, 3)], output(9, 0, 3, 3), Ok(None)),
            (&[(0, 7)], output(8, 0, 0, 1), Err(())),
            (&[(0, 9)], output(8, 0, 0, 1), Err(())),
            (&[(0, 9)], output(8, 0, 0, 2), Err(())),
            (&[(0, 8), (1, 0)], output(8, 0, 0, 1), Err(())),
            (&[], output(8, 0, 9, 0), Err(())),
            (&[], output(8, 0, 0, 0), Err(())),
        ] {
            let mut outputs = Outputs::default();
            let worker: WorkerName = "w".parse().unwrap();
            for (n, bytes) in chunks {
                outputs.hear(&worker, (0, 1), *n, *bytes);
            }
            let stored = outputs.attempts.get(&(worker, 0, 1)).cloned().unwrap_or_default();
            let found = stored.wrong(&account).map_err(|_| ());
            let found = found.map(|missing| missing.map(|it| (it.first, it.last, it.is_of_front)));
            assert_eq!(found, expected, "{chunks:?} {account:?}");
        }
    }
}
