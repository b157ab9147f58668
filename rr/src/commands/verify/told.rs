//! What `rr verify` says, and how it ends.

use rr_schemas::id::RunId;
use rr_verify::stream::{Finding, Sum};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::Printer;

/// The exit code of histories that are not whole. The number is the verb's own: no run was reverted.
const INCOMPLETE: Exit = Exit::OfVerb(3);

/// A finding, as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Printed<'a> {
    Violation { invariant: &'static str, run: &'a str, seq: u64, because: &'a str },
    Incomplete { run: Option<&'a str>, because: &'a str },
    Sum(Counted),
}

/// The sum, as `--json` prints it.
#[derive(Serialize)]
struct Counted {
    messages: u64,
    runs_over: u64,
    runs_open: u64,
    runs_forgotten: u64,
    runs_earlier: u64,
    unbelieved: u64,
    beside_lost: u64,
    nobodys: u64,
    outputs_short: u64,
    offers_unread: u64,
    violations: u64,
    incomplete: u64,
}

/// Whether messages were read before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// They were not.
    First,
    /// A run is read once more, whole.
    Again,
}

/// Prints what is found and counts it.
#[derive(Debug)]
pub(super) struct Told {
    printer: Printer,
    sum: Sum,
    violations: u64,
    incomplete: u64,
    nobodys: u64,
    short: u64,
    unread: u64,
}

impl Told {
    pub(super) const fn new(ctx: &Context) -> Self {
        let sum =
            Sum { messages: 0, over: 0, open: 0, forgotten: 0, earlier: 0, unbelieved: 0, beside: 0, held_most: 0 };
        Self { printer: ctx.printer, sum, violations: 0, incomplete: 0, nobodys: 0, short: 0, unread: 0 }
    }

    /// Prints findings.
    pub(super) fn tell(&mut self, findings: Vec<Finding>) -> Result<(), CliError> {
        for finding in findings {
            match &finding {
                Finding::Violation { .. } => self.violations += 1,
                Finding::Incomplete { .. } => self.incomplete += 1,
            }
            if !self.printer.is_json() {
                self.printer.line(crate::text::escape(finding.to_string().as_bytes()))?;
                continue;
            }
            self.printer.json_line(&match &finding {
                Finding::Violation { run, violation } => Printed::Violation {
                    invariant: violation.rule.id(),
                    run: run.as_str(),
                    seq: violation.at,
                    because: &violation.text,
                },
                Finding::Incomplete { run, reason } => {
                    Printed::Incomplete { run: run.as_ref().map(RunId::as_str), because: reason }
                }
            })?;
        }
        Ok(())
    }

    /// A message on a subject that nobody has.
    pub(super) const fn nobodys(&mut self) {
        self.nobodys += 1;
    }

    /// A message that the server should not have.
    pub(super) fn odd(&mut self, seq: u64, reason: &str) {
        tracing::warn!(stream.seq = seq, reason, "passed over");
        self.nobodys += 1;
    }

    /// Attempts with chunks of output that are not there.
    pub(super) fn short(&mut self, n: usize) {
        self.short += u64::try_from(n).unwrap_or(u64::MAX);
    }

    /// Offers of which only the subjects were looked at.
    pub(super) fn unread(&mut self, n: usize) {
        self.unread += u64::try_from(n).unwrap_or(u64::MAX);
    }

    /// Something more was looked at. Messages of a second reading have been counted.
    pub(super) const fn add(&mut self, sum: &Sum, reading: Reading) {
        self.sum.messages += match reading {
            Reading::First => sum.messages,
            Reading::Again => 0,
        };
        self.sum.over += sum.over;
        self.sum.open += sum.open;
        self.sum.forgotten += sum.forgotten;
        self.sum.earlier += sum.earlier;
        self.sum.unbelieved += sum.unbelieved;
        self.sum.beside += sum.beside;
    }

    /// Says what was looked at, and how it was.
    pub(super) fn finish(self) -> Result<Exit, CliError> {
        let Self { printer, sum, violations, incomplete, nobodys, short, unread } = self;
        if printer.is_json() {
            printer.json_line(&Printed::Sum(Counted {
                messages: sum.messages,
                runs_over: sum.over,
                runs_open: sum.open,
                runs_forgotten: sum.forgotten,
                runs_earlier: sum.earlier,
                unbelieved: sum.unbelieved,
                beside_lost: sum.beside,
                nobodys,
                outputs_short: short,
                offers_unread: unread,
                violations,
                incomplete,
            }))?;
        } else {
            printer.note(format_args!(
                "runs over: {}, open: {}; messages: {}; violations: {violations}, incomplete: {incomplete}",
                sum.over, sum.open, sum.messages
            ));
            for (n, what) in [
                (sum.forgotten, "forgotten, as old runs are: only their states are left"),
                (sum.earlier, "began earlier and were not judged"),
                (sum.unbelieved + nobodys, "messages that nobody believed, and that changed nothing"),
                (
                    sum.beside,
                    "attempts that began beside lost ones which may still have run, so that more ran than may",
                ),
                (short, "attempts with output that is not stored, or not any more"),
                (unread, "offers of which only the subjects were looked at, because their bodies may not be read"),
            ] {
                if n > 0 {
                    printer.note(format_args!("{what}: {n}"));
                }
            }
        }
        Ok(match (violations, incomplete) {
            (0, 0) => Exit::Succeeded,
            (0, _) => INCOMPLETE,
            (_, _) => Exit::Failed,
        })
    }
}
