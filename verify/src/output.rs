//! What attempts wrote: the chunks that are stored against what their workers say.

use std::collections::BTreeMap;

use rr_schemas::{
    decision::{Decision, Event},
    name::WorkerName,
    report::{Ended, Output},
};

use crate::{Findings, Rule, Violation};

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

    /// What does not add up, and how many attempts of the run have chunks that are not there: not stored yet, not kept any
    /// more, or lost on their way. Of an attempt without an account nothing is said.
    pub fn judge<'d>(&self, decisions: impl Iterator<Item = &'d Decision>) -> (Vec<Violation>, usize) {
        let mut findings = Findings::default();
        let mut n_short = 0;
        for record in decisions.flat_map(|decision| &decision.events) {
            let Event::Ended { task, attempt, by: Some(by), end, .. } = &record.event else { continue };
            if !has_account(end) {
                continue;
            }
            let stored = self.attempts.get(&(by.worker.clone(), *task, *attempt)).cloned().unwrap_or_default();
            match stored.wrong(&end.output) {
                Ok(is_whole) => n_short += usize::from(!is_whole),
                Err(wrong) => findings.demand(false, Rule::Output, record.cause, || {
                    format!("of task {task}, attempt {attempt}, which was {}: {wrong}", end.outcome.word())
                }),
            }
        }
        (findings.0, n_short)
    }
}

/// Whether an end comes with an account of its output. Whoever has started an attempt and seen it end says when it started.
/// A coordinator that concludes the attempt of a dead worker does not, nor a worker that was restarted: what was written
/// before that, nobody counts.
fn has_account(end: &Ended) -> bool {
    end.started_at.is_some() || end.output != Output::default()
}

impl Stored {
    /// What is wrong with an account; else whether every chunk of it is there.
    fn wrong(&self, output: &Output) -> Result<bool, String> {
        let Output { stdout_bytes, stderr_bytes, dropped_bytes, chunks } = *output;
        let written = stdout_bytes.saturating_add(stderr_bytes);
        let kept = written.checked_sub(dropped_bytes);
        let kept = kept.ok_or_else(|| format!("{dropped_bytes} of {written} bytes are said to be dropped"))?;
        if let Some((n, _)) = self.chunks.range(chunks..).next() {
            return Err(format!("chunk {n} is stored, and its worker speaks of {chunks}"));
        }
        let stored: u64 = self.chunks.values().sum();
        let is_whole = u32::try_from(self.chunks.len()).is_ok_and(|n| n == chunks);
        if stored > kept || (is_whole && stored != kept) {
            return Err(format!("{stored} bytes are stored, and {written} were written, less {dropped_bytes} dropped"));
        }
        Ok(is_whole)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rr_schemas::{decision::Record, input::Holder, report::Outcome};

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
        let (violations, n_short) = outputs.judge([&decision].into_iter());
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
            (&[][..], output(0, 0, 0, 0), Ok(true)),
            (&[(0, 7), (1, 3)], output(7, 3, 0, 2), Ok(true)),
            (&[(0, 7), (0, 7)], output(7, 0, 0, 1), Ok(true)),
            (&[(0, 7)], output(9, 0, 2, 1), Ok(true)),
            (&[(1, 3)], output(7, 3, 0, 2), Ok(false)),
            (&[], output(7, 0, 0, 1), Ok(false)),
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
            assert_eq!(stored.wrong(&account).map_err(|_| ()), expected, "{chunks:?} {account:?}");
        }
    }
}
