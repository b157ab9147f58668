//! An export, judged.

use std::collections::BTreeSet;

use rr_schemas::decision::Decision;
use rr_schemas::id::RunId;
use rr_verify::output::{Age, Outputs};
use rr_verify::stream::{Beside, Content, Finding, Rules, Scope, Verifier};

use super::told::{Reading, Told};
use super::{hear, judge_output, kept_since, nothing_of, rules};
use crate::context::Context;
use crate::error::CliError;
use crate::histories::{Besides, Kind, Line, Reader, STDIN, chunk, message};

/// Runs that are read once more in one reading of a file, each held whole. A file with more of them is read several times.
const AGAIN_MAX: usize = 1_000;

/// Judges an export. What needs a second reading is read from the file once more; stdin is held instead.
///
/// # Errors
/// There is no such file, or something in it is not of an export.
pub(super) fn judge(ctx: &Context, name: &str, told: &mut Told) -> Result<(), CliError> {
    let again: Vec<RunId> = pass(ctx, name, None, told)?.into_iter().collect();
    for some in again.chunks(AGAIN_MAX) {
        let some = some.iter().cloned().collect();
        let _none = pass(ctx, name, Some(&some), told)?;
    }
    Ok(())
}

/// One reading of an export, of all runs in it or of those that need a second one; says which do.
fn pass(
    ctx: &Context,
    name: &str,
    only: Option<&BTreeSet<RunId>>,
    told: &mut Told,
) -> Result<BTreeSet<RunId>, CliError> {
    let mut reader = Reader::open(name)?;
    let first = reader.first().clone();
    let now = (!first.left).then_some(first.at);
    let scope = if first.run.is_some() || only.is_some() { Scope::Runs } else { Scope::Log };
    let rules = rules(ctx, now, scope == Scope::Runs || name == STDIN, scope);
    let mut held = Held::new(rules, only);
    while let Some(line) = reader.next()? {
        let is_nobodys = held.take(&line, first.partitions).map_err(|reason| reader.wrong(reason))?;
        if is_nobodys && only.is_none() {
            told.nobodys();
        }
        told.tell(held.found())?;
    }
    if !reader.is_whole() {
        held.cut_off();
        if only.is_none() {
            let reason = format!("{name} was cut off: its last line is missing");
            told.tell(vec![Finding::Incomplete { run: None, reason }])?;
        }
    }
    if let Some(run) = first.run.as_ref().filter(|_| held.last == 0) {
        told.tell(vec![nothing_of(run)])?;
        return Ok(BTreeSet::new());
    }
    if only.is_none() {
        told.unread(held.n_unread);
    }
    let Held { mut verifier, besides, outputs, decisions, rules, .. } = held;
    let end = verifier.take().unwrap_or_else(|| Verifier::new(rules, chosen(besides, only))).finish();
    told.add(&end.sum, if only.is_some() { Reading::Again } else { Reading::First });
    told.tell(end.findings)?;
    if let (Some(run), Some(outputs)) = (&first.run, outputs) {
        // How old the oldest output was, no export says.
        judge_output(
            run,
            &outputs,
            &decisions,
            Age { now: rules.now, oldest: None, kept_since: kept_since(ctx, rules.now) },
            told,
        )?;
    }
    Ok(end.again)
}

/// What is held of an export while it is read.
struct Held<'o> {
    rules: Rules,
    only: Option<&'o BTreeSet<RunId>>,
    /// What stands beside the log, until that begins.
    besides: Option<Besides>,
    /// Offers of which the export has only the subjects.
    n_unread: usize,
    verifier: Option<Verifier>,
    /// Sequence of the last message of the log.
    last: u64,
    /// None where the export has no output.
    outputs: Option<Outputs>,
    /// Decisions that output is compared with.
    decisions: Vec<Decision>,
}

impl<'o> Held<'o> {
    fn new(rules: Rules, only: Option<&'o BTreeSet<RunId>>) -> Self {
        let besides = Some(Besides::default());
        Self { rules, only, besides, n_unread: 0, verifier: None, last: 0, outputs: None, decisions: Vec::new() }
    }

    /// Takes a line in, and says whether it is a message of the log that is nobody's.
    fn take(&mut self, line: &Line, partitions: u16) -> Result<bool, String> {
        match line.kind {
            Kind::State | Kind::Bad | Kind::Offer => {
                let besides = self.besides.as_mut().ok_or("what stands beside the log comes before it")?;
                besides.take(line)?;
                self.n_unread = besides.n_unread;
            }
            Kind::Output => {
                let outputs = self.outputs.get_or_insert_default();
                if let Some((_, chunk)) = chunk(&line.copied)? {
                    hear(outputs, &chunk);
                }
            }
            Kind::Event => return self.take_event(line, partitions),
        }
        Ok(false)
    }

    fn take_event(&mut self, line: &Line, partitions: u16) -> Result<bool, String> {
        let seq = line.copied.seq;
        if seq <= self.last {
            return Err(format!("message {seq} comes behind message {}", self.last));
        }
        self.last = seq;
        let Some(message) = message(&line.copied, partitions)? else { return Ok(true) };
        let (besides, only, rules) = (self.besides.take(), self.only, self.rules);
        let verifier = self.verifier.get_or_insert_with(|| Verifier::new(rules, chosen(besides, only)));
        if only.is_none_or(|only| only.contains(&message.run)) {
            if let (Content::Decision { decision, .. }, Scope::Runs, None) = (&message.content, rules.scope, only) {
                self.decisions.push((**decision).clone());
            }
            verifier.hear(message);
        }
        Ok(false)
    }

    fn found(&mut self) -> Vec<Finding> {
        self.verifier.as_mut().map(Verifier::take).unwrap_or_default()
    }

    fn cut_off(&mut self) {
        self.rules.now = None;
        if let Some(verifier) = &mut self.verifier {
            verifier.cut_off();
        }
    }
}

/// What stands beside the runs that are read.
fn chosen(besides: Option<Besides>, only: Option<&BTreeSet<RunId>>) -> Beside {
    let mut beside = besides.unwrap_or_default().into_beside();
    if let Some(only) = only {
        beside.shown.retain(|run, _| only.contains(run));
        beside.offers.retain(|run, _| only.contains(run));
    }
    beside
}
