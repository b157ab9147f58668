//! What is said when a run is over: a line for each job, failures with the last lines of their output, equal ones
//! folded.

use std::collections::BTreeMap;

use anstyle::Style;
use rr_schemas::{
    host,
    view::{JobView, RunView, TaskStatus, TaskView},
};

use super::story::Tally;
use crate::printer::{BAD, DIM};
use crate::text::{Line, between, duration_words, escape, first_few, job_style, outcome_words, run_style, table};

/// Groups of failures that are shown; `rr show --json` has them all.
const GROUPS_MAX: usize = 20;

/// The last lines of output of tasks, harmless and by the task's index in the plan.
pub(crate) type Tails = BTreeMap<u32, Vec<String>>;

/// A line for each job, the failures, and a line for the run.
pub(crate) fn summary(view: &RunView, tails: &Tails) -> Vec<String> {
    let row = |job: &JobView| {
        vec![
            (Style::new(), job.job.to_string()),
            (job_style(job.status), job.status.word().to_owned()),
            (Style::new(), Tally::from(job).to_string()),
            (DIM, took(job)),
        ]
    };
    let rows: Vec<_> = view.jobs.iter().map(row).collect();
    let mut lines = if rows.is_empty() { Vec::new() } else { table(&["JOB", "STATUS", "TASKS", "TIME"], &rows) };
    lines.extend(failures(view, tails));
    for problem in &view.problems {
        lines.push(Line::new().styled(BAD, "rejected").plain(format!(": {}", escape(problem.as_bytes()))).whole());
    }
    lines.push(last_line(view).whole());
    lines
}

/// From the first start to the last end of the job's attempts.
fn took(job: &JobView) -> String {
    let attempts = || job.tasks.iter().flat_map(|task| &task.attempts);
    let from = attempts().filter_map(|attempt| attempt.started_at).min();
    let to = attempts().filter_map(|attempt| attempt.ended_at).max();
    from.zip(to).map_or_else(|| "-".to_owned(), |(from, to)| duration_words(between(from, to)))
}

/// How a task ended badly, in words; none when it did not.
pub(crate) fn trouble(task: &TaskView) -> Option<String> {
    match task.status {
        TaskStatus::Failed
        | TaskStatus::Timeout
        | TaskStatus::Lost
        | TaskStatus::Unreachable
        | TaskStatus::Refused
        | TaskStatus::Cancelled => {}
        TaskStatus::Waiting
        | TaskStatus::Offered
        | TaskStatus::Running
        | TaskStatus::Ok
        | TaskStatus::Skipped
        | TaskStatus::NotStarted => return None,
    }
    let last = task.attempts.last().and_then(|attempt| Some((attempt, attempt.outcome?)));
    Some(last.map_or_else(
        || task.status.word().to_owned(),
        |(attempt, outcome)| outcome_words(outcome, attempt.exit_code, attempt.signal, attempt.reason.as_deref()),
    ))
}

/// Where tasks run: their hosts folded, their queue, or their workers.
pub(crate) fn places(tasks: &[&TaskView]) -> String {
    let hosts: Vec<_> = tasks.iter().filter_map(|task| task.host.clone()).collect();
    if !hosts.is_empty() {
        return host::fold(&hosts);
    }
    let queue = tasks.iter().find_map(|task| task.queue.as_ref()).map(|queue| format!("queue {queue}"));
    let workers = tasks.iter().filter_map(|task| task.worker.as_ref()).map(|worker| format!("worker {worker}"));
    first_few(queue.into_iter().chain(workers).collect())
}

/// Failures of every job: those with the same end and the same last lines stand together.
fn failures(view: &RunView, tails: &Tails) -> Vec<String> {
    let mut lines = Vec::new();
    let mut n_groups = 0;
    let mut first = 0;
    for job in &view.jobs {
        let mut groups: BTreeMap<(String, &[String]), Vec<&TaskView>> = BTreeMap::new();
        for (index, task) in (first..).zip(&job.tasks) {
            if let Some(words) = trouble(task) {
                let tail = tails.get(&index).map_or(&[][..], Vec::as_slice);
                groups.entry((words, tail)).or_default().push(task);
            }
        }
        first += job.targets;
        for ((words, tail), tasks) in groups {
            n_groups += 1;
            if n_groups > GROUPS_MAX {
                continue;
            }
            let line = Line::new().plain(format!("{} ", job.job)).styled(BAD, places(&tasks));
            lines.push(line.plain(format!(": {words}")).whole());
            lines.extend(tail.iter().map(|line| format!("    {line}")));
        }
    }
    if n_groups > GROUPS_MAX {
        lines.push(format!("and {} more; all of them: rr show {} --json", n_groups - GROUPS_MAX, view.run));
    }
    lines
}

fn last_line(view: &RunView) -> Line {
    let line = Line::new().plain(format!("run {} ", view.run)).styled(run_style(view.status), view.status.word());
    let ok: u64 = view.jobs.iter().map(|job| u64::from(job.ok)).sum();
    let total: u64 = view.jobs.iter().map(|job| u64::from(job.targets)).sum();
    let time = view.started_at.zip(view.ended_at);
    let time = time.map_or_else(String::new, |(from, to)| format!(" in {}", duration_words(between(from, to))));
    line.plain(format!("{time}: {ok} of {total} tasks ok"))
}
