//! `rr why`: what a run waits for, or why it ended as it did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_core::Wait;
use rr_nats::Mesh;
use rr_schemas::{
    decision::{JobStatus, RunStatus},
    id::RunId,
    lock::LockHolder,
    name::Name,
    ranges::Ranges,
    view::{JobView, RunView, TaskView},
};
use serde::Serialize;

use crate::archive::Kept;
use crate::cli::WhyArgs;
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow;
use crate::locks::held_words;
use crate::lookup::{self, Found};
use crate::progress::{Story, Tally, places, trouble};
use crate::submit::Served;
use crate::text::{between, duration_words};

/// Groups of failures of one job that are named.
const GROUPS_MAX: usize = 10;

/// The answer, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    run: &'a RunId,
    status: RunStatus,
    reasons: &'a [String],
}

/// Prints reasons.
pub(crate) async fn why(ctx: &Context, args: &WhyArgs) -> Result<Exit, CliError> {
    let (view, reasons) = match lookup::find(ctx, &args.run).await? {
        Found::Live { mesh, run } => {
            let story = follow::story(&mesh, &run).await?;
            let remains = follow::remains(&mesh, &run, &story).await?;
            let view = remains.unwrap_or_else(|| story.history().view());
            let cancelled = story.cancelled_by();
            let reasons = if view.status.is_final() { ended(&view, cancelled) } else { waiting(&mesh, &story).await };
            (view, reasons)
        }
        Found::Kept(kept) => {
            let view = kept.header.view.clone();
            let reasons = if view.status.is_final() {
                let cancelled = if view.status == RunStatus::Cancelled { canceller(ctx, &kept).await } else { None };
                ended(&kept.header.view, cancelled)
            } else {
                vec![
                    "the rr run that carried it was killed; nobody works on it any more; run the flow again".to_owned(),
                ]
            };
            (view, reasons)
        }
    };
    if ctx.printer.is_json() {
        ctx.printer.json_document(&Answer { run: &view.run, status: view.status, reasons: &reasons })?;
        return Ok(Exit::Succeeded);
    }
    ctx.printer.line(format_args!("run {} {}", view.run, view.status.word()))?;
    for reason in reasons {
        ctx.printer.line(reason)?;
    }
    Ok(Exit::Succeeded)
}

/// Who cancelled a kept run: only its history knows.
async fn canceller(ctx: &Context, kept: &Kept) -> Option<String> {
    let reopened = lookup::reopen(ctx, kept).await.ok()?;
    let story = follow::story(&reopened.mesh, &kept.header.view.run).await;
    reopened.close().await;
    story.ok()?.cancelled_by()
}

/// Why a run that is over ended so.
fn ended(view: &RunView, cancelled: Option<String>) -> Vec<String> {
    let mut reasons: Vec<String> = match view.status {
        RunStatus::Succeeded => vec!["every job succeeded".to_owned()],
        RunStatus::Cancelled => vec![cancelled.unwrap_or_else(|| "somebody asked to stop it".to_owned())],
        RunStatus::TimedOut => vec!["the time limit of the run has passed".to_owned()],
        RunStatus::Rejected => view.problems.clone(),
        RunStatus::Failed | RunStatus::Queued | RunStatus::Running => Vec::new(),
    };
    reasons.extend(view.jobs.iter().filter(|job| job.status == JobStatus::Failed).map(failed_job));
    let skipped: Vec<&str> =
        view.jobs.iter().filter(|job| job.status == JobStatus::Skipped).map(|job| job.job.as_str()).take(20).collect();
    if !skipped.is_empty() {
        reasons.push(format!("{}: skipped, because a job before did not succeed", skipped.join(", ")));
    }
    reasons
}

/// `pkg1: 7 ok of 10, needed 8; db3: exit 1; db[7,9]: timeout`.
fn failed_job(job: &JobView) -> String {
    let mut groups: BTreeMap<String, Vec<&TaskView>> = BTreeMap::new();
    for task in &job.tasks {
        if let Some(words) = trouble(task) {
            groups.entry(words).or_default().push(task);
        }
    }
    let named = groups.iter().take(GROUPS_MAX).map(|(words, tasks)| format!("{}: {words}", places(tasks)));
    let more = (groups.len() > GROUPS_MAX).then(|| "and more".to_owned());
    let parts = std::iter::once(format!("{}: {}", job.job, Tally::from(job))).chain(named).chain(more);
    parts.collect::<Vec<_>>().join("; ")
}

/// What a run waits for, and what can be done about it.
async fn waiting(mesh: &Mesh, story: &Story) -> Vec<String> {
    let run = story.history().run();
    let no_coordinator = mesh.coordinators().await.is_ok_and(|present| present.is_empty());
    let mut reasons = Vec::new();
    if no_coordinator {
        reasons.push("no coordinator is up, so nothing is decided; start one with: rr coordinator".to_owned());
    }
    if run.is_stopping() {
        let cancelled = story.cancelled_by().map_or_else(String::new, |by| format!("; {by}"));
        reasons.push(format!("it is being stopped, what runs is killed{cancelled}"));
    }
    for wait in run.waits() {
        match &wait {
            Wait::Coordinator if no_coordinator => {}
            Wait::Coordinator => reasons.push("a coordinator has still to see it; that takes a moment".to_owned()),
            Wait::Worker { job, tasks, until } => {
                let wait = on(story, tasks, "waits", "wait");
                if let Some(lock) = waits_for_lock(mesh, story, job, tasks).await {
                    reasons.push(format!("{job}: {wait} for {lock}"));
                    continue;
                }
                let advice = unserved(mesh, story, tasks).await;
                reasons.push(format!("{job}: {wait} for a worker, looked after {}{advice}", moment(*until)));
            }
            Wait::Report { job, tasks, holder, .. } => {
                let run_on = on(story, tasks, "runs", "run");
                let worker = &holder.worker;
                reasons.push(format!("{job}: {run_on} on worker {worker}; its output: rr logs {} -f", run.id()));
            }
            Wait::Retry { job, tasks, until } => {
                let wait = on(story, tasks, "waits", "wait");
                reasons.push(format!("{job}: {wait} for the next attempt, due {}", moment(*until)));
            }
            Wait::Person { job, tasks } => {
                let held = on(story, tasks, "is held", "are held");
                let advice = format!("it goes on when that worker reports; to end it: rr cancel {}", run.id());
                reasons.push(format!("{job}: {held}, the worker was lost; {advice}"));
            }
            Wait::Window { job, n, window } => {
                let tasks = if *n == 1 { "1 more task waits".to_owned() } else { format!("{n} more tasks wait") };
                reasons.push(format!("{job}: {tasks} for room, {window} run at once"));
            }
            Wait::Signal { job, signal, until } => {
                let limit = until.map(|until| format!(", and fails without it {}", moment(until))).unwrap_or_default();
                let advice = format!("to let it pass: rr signal {} {signal}", run.id());
                reasons.push(format!("{job}: waits for signal {signal}{limit}; {advice}"));
            }
            Wait::Needs { job, unmet } => {
                let jobs = if *unmet == 1 { "a job".to_owned() } else { format!("{unmet} jobs") };
                reasons.push(format!("{job}: waits for {jobs} before it to succeed"));
            }
        }
    }
    reasons
}

/// `3 tasks on db[1-3] wait`.
fn on(story: &Story, tasks: &Ranges, one: &str, many: &str) -> String {
    let n = tasks.len();
    let (tasks_word, verb) = if n == 1 { ("task", one) } else { ("tasks", many) };
    format!("{n} {tasks_word} on {} {verb}", story.places(tasks.iter()))
}

fn moment(until: Timestamp) -> String {
    let now = now();
    if until <= now { "now".to_owned() } else { format!("in {}", duration_words(between(now, until))) }
}

/// The lock that keeps the tasks of a job from starting, with who holds it.
async fn waits_for_lock(mesh: &Mesh, story: &Story, job: &Name, tasks: &Ranges) -> Option<String> {
    let plan = story.plan()?;
    let lock = plan.jobs().get(plan.job_named(job)?)?.job.lock.as_ref()?;
    let entry = mesh.lock_holder(lock).await.ok().flatten()?;
    let is_about_to_start = match entry.held.as_ref().map(|held| &held.holder) {
        Some(LockHolder::Attempt { run, task, .. }) => {
            run == story.history().run().id() && tasks.len() == 1 && tasks.iter().any(|one| one == *task)
        }
        Some(LockHolder::Command { .. }) | None => false,
    };
    (!is_about_to_start).then(|| format!("lock {lock}, {}", held_words(&entry, now())))
}

/// Which of the tasks nobody who is present serves.
async fn unserved(mesh: &Mesh, story: &Story, tasks: &Ranges) -> String {
    let (Ok(workers), Some(plan)) = (mesh.workers().await, story.plan()) else { return String::new() };
    let served = Served::by(&workers);
    let absent: Vec<u32> =
        tasks.iter().filter(|task| plan.target(*task).is_some_and(|target| !served.has(&target))).collect();
    if absent.is_empty() {
        return String::new();
    }
    format!("; nobody serves {} now; start one with: rr worker", story.places(absent))
}
