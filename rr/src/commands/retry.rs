//! `rr retry`: a new run that takes over what an earlier one has reached.

mod fits;

use anstyle::Style;
use rr_core::{NotRetryable, Plan};
use rr_nats::Mesh;
use rr_schemas::{
    decision::JobStatus,
    flow::{Flow, params::ParamValues, select::FoundTargets},
    id::RunId,
    input::Submit,
    report::Outcome,
    retry::{Again, Carried, RetryOf},
};
use serde::Serialize;

use super::publish::{Waiting, wait};
use crate::cli::RetryArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow;
use crate::lookup::{self, Found};
use crate::mesh;
use crate::progress::Story;
use crate::signals::Signals;
use crate::submit;
use crate::text::{job_style, table};

#[derive(Debug, Serialize)]
struct Started<'a> {
    run: &'a RunId,
    flow: &'a str,
    retry_of: &'a RunId,
}

/// What a retry would do, as `--dry-run --json` prints it.
#[derive(Debug, Serialize)]
struct Preview<'a> {
    retry_of: &'a RunId,
    flow: &'a str,
    jobs: Vec<JobPreview>,
}

#[derive(Debug, Serialize)]
struct JobPreview {
    job: String,
    /// How it ended in the earlier run.
    was: JobStatus,
    /// Tasks that are carried over as ok.
    ok: u64,
    /// Tasks that are carried over as they ended otherwise.
    otherwise: u64,
    /// Tasks that run, where the run gets that far.
    again: u64,
    /// Where these are.
    targets: String,
}

/// Starts a retry of a run that is over, and waits for it if asked to.
pub(crate) async fn retry(ctx: &Context, args: &RetryArgs) -> Result<Exit, CliError> {
    let (mesh, old) = match lookup::find(ctx, &args.run).await? {
        Found::Live { mesh, run } => (mesh, run),
        Found::Kept(kept) => {
            let text = format!("run {} was private: there is no mesh that it could go on in", kept.header.view.run);
            return Err(CliError::new(Exit::BadInput, text).hint("start the flow anew: rr run FLOW"));
        }
    };
    let again = if args.failed { Again::Failed } else { Again::NotStarted };
    let story = follow::story(&mesh, &old).await?;
    let carried = carried(&mesh, &story, again).await?;
    let (flow, params, found) = pinned(&mesh, &old).await?;
    let Some(plan) = story.plan() else { return Err(unknown_history(&old)) };
    let preview = Preview { retry_of: &old, flow: flow.name.as_str(), jobs: jobs(&story, plan, &carried) };
    let run = submit::id_or_drawn(args.id.as_ref())?;
    let retry_of = Some(RetryOf { run: old.clone(), again });
    let asked = Submit { flow: flow.clone(), params, by: ctx.who(), retry_of };
    fits::refuse_too_large(&mesh, &run, &asked, &found, &carried)?;
    if args.dry_run {
        return print(ctx, &preview);
    }
    tell(ctx, &preview);
    // From here on Ctrl-C must not leave it open whether the run was stored.
    let signals = Signals::new()?;
    submit::send(ctx, &mesh, &run, asked, submit::answer_by()).await?;
    let is_carried = |task| carried.tasks.values().any(|tasks| tasks.contains(task));
    if args.wait || args.follow {
        ctx.printer.note(format_args!("published run {run}, a retry of {old}"));
        submit::warn_of_absent(ctx, &mesh, plan, |task| !is_carried(task)).await;
        let waiting = Waiting { follow: args.follow, timeout: args.timeout };
        return wait(ctx, &waiting, &mesh, &run, signals).await;
    }
    if ctx.printer.is_json() {
        ctx.printer.json_line(&Started { run: &run, flow: preview.flow, retry_of: &old })?;
    } else {
        ctx.printer.line(&run)?;
    }
    submit::warn_of_absent(ctx, &mesh, plan, |task| !is_carried(task)).await;
    mesh.drain().await;
    Ok(Exit::Succeeded)
}

/// What the coordinator will find too; it has the last word.
async fn carried(mesh: &Mesh, story: &Story, again: Again) -> Result<Carried, CliError> {
    let run = story.history().run();
    let id = run.id();
    if !run.exists() && follow::remains(mesh, id, story).await?.is_some() {
        return Err(unknown_history(id));
    }
    run.carry_over(again).map_err(|why| match why {
        NotRetryable::NotBegun | NotRetryable::NotOver => {
            CliError::new(Exit::BadInput, format_args!("run {id} is not over"))
                .hint(format_args!("wait for it with rr watch {id}, or end it with rr cancel {id}"))
        }
        NotRetryable::Rejected => {
            CliError::new(Exit::BadInput, format_args!("run {id} was rejected: nothing of it ever ran"))
                .hint("mend the flow and start it anew: rr publish FLOW")
        }
        NotRetryable::NothingLeft => CliError::new(Exit::BadInput, format_args!("nothing of run {id} is to run again"))
            .hint(format_args!("rr show {id} says how each task ended")),
    })
}

fn unknown_history(run: &RunId) -> CliError {
    CliError::new(Exit::Unknown, format_args!("the history of run {run} is no longer kept"))
        .hint("start the flow anew: rr publish FLOW")
}

/// What the earlier run was asked to do.
async fn pinned(mesh: &Mesh, run: &RunId) -> Result<(Flow, ParamValues, FoundTargets), CliError> {
    let history = mesh.history(&run.into(), 0).await.map_err(|error| mesh::told(&error))?;
    let submitted = history.iter().find_map(|stored| stored.decision.as_ref().ok()?.submitted());
    let pinned = submitted.ok_or_else(|| unknown_history(run))?;
    Ok((pinned.flow.clone(), pinned.params.clone(), pinned.found.clone()))
}

fn jobs(story: &Story, plan: &Plan, carried: &Carried) -> Vec<JobPreview> {
    let outline = story.outline();
    let mut jobs = Vec::new();
    for (planned, was) in plan.jobs().iter().zip(&outline.jobs) {
        let tasks = planned.first..planned.first + planned.n;
        let outcome_of =
            |task: u32| carried.tasks.iter().find(|(_, tasks)| tasks.contains(task)).map(|(outcome, _)| *outcome);
        let (mut ok, mut otherwise, mut again) = (0, 0, Vec::new());
        for task in tasks {
            match outcome_of(task) {
                Some(Outcome::Ok) => ok += 1,
                Some(_) => otherwise += 1,
                None => again.push(task),
            }
        }
        jobs.push(JobPreview {
            job: planned.name.to_string(),
            was: was.status,
            ok,
            otherwise,
            again: u64::try_from(again.len()).unwrap_or(u64::MAX),
            targets: story.places(again),
        });
    }
    jobs
}

fn lines(preview: &Preview<'_>) -> Vec<String> {
    let plain = |text: String| (Style::new(), text);
    let row = |job: &JobPreview| {
        let carried = match (job.ok, job.otherwise) {
            (0, 0) => "-".to_owned(),
            (ok, 0) => format!("{ok} ok"),
            (ok, otherwise) => format!("{ok} ok, {otherwise} as they ended"),
        };
        let again = if job.again == 0 { "-".to_owned() } else { format!("{}: {}", job.again, job.targets) };
        let was = (job_style(job.was), job.was.word().to_owned());
        vec![plain(job.job.clone()), was, plain(carried), plain(again)]
    };
    table(&["JOB", "WAS", "CARRIED OVER", "RUNS"], &preview.jobs.iter().map(row).collect::<Vec<_>>())
}

fn tell(ctx: &Context, preview: &Preview<'_>) {
    ctx.printer.note(format_args!("retry of run {} of {}", preview.retry_of, preview.flow));
    for line in lines(preview) {
        ctx.printer.note(line);
    }
}

fn print(ctx: &Context, preview: &Preview<'_>) -> Result<Exit, CliError> {
    if ctx.printer.is_json() {
        ctx.printer.json_document(preview)?;
        return Ok(Exit::Succeeded);
    }
    lines(preview).iter().try_for_each(|line| ctx.printer.line(line))?;
    ctx.printer.note("nothing was started; without --dry-run it is");
    Ok(Exit::Succeeded)
}
