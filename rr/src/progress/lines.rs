//! Progress where no terminal can be drawn on: one line for each event that matters, and few of them however large the
//! run is.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::Plan;
use rr_schemas::{
    decision::{Event, JobStatus, Record},
    input::Holder,
    name::Name,
    report::{Ended, Outcome},
};

use super::story::Story;
use crate::printer::{BAD, DIM, WARN};
use crate::text::{Line, between, duration_words, job_style, outcome_words, run_style};

/// Failures of a job that get a line each; its last line counts the others.
const FAILURES_MAX: usize = 20;

/// What was said already.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    started: BTreeSet<Name>,
    failures: BTreeMap<usize, usize>,
}

impl Lines {
    /// What is to be said of a record that the story has just folded in.
    pub(crate) fn tell(&mut self, record: &Record, story: &Story) -> Option<Line> {
        match &record.event {
            Event::Submitted { retry_of, .. } => {
                let flow = story.plan().map_or("?", |plan| plan.flow().as_str());
                let retry = retry_of.as_ref().map_or_else(String::new, |carried| {
                    let all = story.plan().map_or(0, Plan::n_tasks);
                    format!(", a retry of {}: {} of {all} tasks carried over", carried.run, carried.n_tasks())
                });
                Some(Line::new().plain(format!("run {} of {flow} started{retry}", story.history().run().id())))
            }
            Event::Rejected { problems } => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                Some(Line::new().styled(BAD, "rejected").plain(format!(": {first}")))
            }
            Event::Offered { job, .. } => self.started.insert(job.clone()).then(|| {
                let n = story.plan().and_then(|plan| plan.jobs().get(plan.job_named(job)?)).map_or(0, |job| job.n);
                Line::new().plain(format!("{job}: started, {n} {}", if n == 1 { "task" } else { "tasks" }))
            }),
            Event::Ended { end, .. } if end.outcome == Outcome::Ok => None,
            Event::Ended { task, attempt, end, .. } => self.failed(story, *task, *attempt, end),
            Event::Held { task, .. } => {
                let place = story.place(*task);
                Some(Line::new().styled(WARN, "held").plain(format!(": {place} waits for its worker or for a person")))
            }
            Event::JobEnded { job, status } => job_ended(story, job, *status),
            Event::Signalled { signal, by, reason } => {
                let reason = reason.as_ref().map(|reason| format!(": {}", crate::text::escape(reason.as_bytes())));
                let by = crate::text::escape(by.as_bytes());
                Some(Line::new().plain(format!("signal {signal} given by {by}{}", reason.unwrap_or_default())))
            }
            Event::CancelRequested { by, reason } => {
                let reason = reason.as_ref().map(|reason| format!(": {}", crate::text::escape(reason.as_bytes())));
                Some(
                    Line::new()
                        .styled(WARN, "cancel")
                        .plain(format!(" asked for by {by}{}", reason.unwrap_or_default())),
                )
            }
            Event::DeadlinePassed {} => Some(Line::new().styled(BAD, "the time limit of the run has passed")),
            Event::RunEnded { status } => {
                let view = story.outline();
                let took = view.started_at.map(|at| duration_words(between(at, record.at))).unwrap_or_default();
                let line = Line::new().plain(format!("run {} ", view.run)).styled(run_style(*status), status.word());
                Some(line.styled(DIM, format!(" after {took}")))
            }
            Event::Late { task, attempt, by, outcome } => Some(late(story, *task, *attempt, by, *outcome)),
            Event::PutAside { reason, .. } => Some(Line::new().styled(WARN, "put aside").plain(format!(": {reason}"))),
            Event::Started { .. } | Event::Extended { .. } | Event::Returned { .. } => None,
        }
    }

    fn failed(&mut self, story: &Story, task: u32, attempt: u32, end: &Ended) -> Option<Line> {
        let plan = story.plan()?;
        let index = plan.job_of(task)?;
        let planned = plan.jobs().get(index)?;
        let told = self.failures.entry(index).or_default();
        *told += 1;
        if *told > FAILURES_MAX {
            let more = || Line::new().plain(format!("{}: more failures, not listed one by one", planned.name));
            return (*told == FAILURES_MAX + 1).then(more);
        }
        let tries = planned.job.retry.attempts;
        let which = if tries > 1 { format!(", attempt {attempt} of {tries}") } else { String::new() };
        let words = outcome_words(end.outcome, end.exit_code, end.signal, end.reason.as_deref());
        let style = if end.outcome == Outcome::Cancelled { WARN } else { BAD };
        let line = Line::new().plain(format!("{}: {}: ", planned.name, story.place(task)));
        Some(line.styled(style, words).plain(which))
    }
}

/// Work that was done twice is never passed over in silence.
fn late(story: &Story, task: u32, attempt: u32, by: &Holder, outcome: Option<Outcome>) -> Line {
    let place = story.place(task);
    let what = match outcome {
        None => format!("started on {} as well, which is told to end it", by.worker),
        Some(outcome) => format!("ended on {} as well ({})", by.worker, outcome.word()),
    };
    Line::new().styled(WARN, "late").plain(format!(": {place}, attempt {attempt}: {what}; it does not count"))
}

fn job_ended(story: &Story, name: &Name, status: JobStatus) -> Option<Line> {
    let line = Line::new().plain(format!("{name}: ")).styled(job_style(status), status.word());
    if status == JobStatus::Skipped {
        return Some(line);
    }
    let tally = story.tally(story.plan()?.job_named(name)?)?;
    Some(line.plain(format!(", {tally}")))
}
