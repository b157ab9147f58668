//! `rr logs`: what the tasks of a run wrote.

use rr_core::Plan;
use rr_nats::{Follow, Mesh, OutputFilter};
use rr_schemas::{id::RunId, offer::Target, ranges::Ranges};

use super::hosts;
use crate::cli::LogsArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{self, Follower, Show};
use crate::lookup::{self, Found};
use crate::mesh;
use crate::output::{Form, Printed};
use crate::progress::Story;

/// Prints output.
pub(crate) async fn logs(ctx: &Context, args: &LogsArgs) -> Result<Exit, CliError> {
    match lookup::find(ctx, &args.run).await? {
        Found::Live { mesh, run } => {
            print(ctx, args, &mesh, &run).await?;
            mesh.drain().await;
        }
        Found::Kept(kept) => {
            let reopened = lookup::reopen(ctx, &kept).await?;
            let printed = print(ctx, args, &reopened.mesh, &kept.header.view.run).await;
            reopened.close().await;
            printed?;
        }
    }
    Ok(Exit::Succeeded)
}

async fn print(ctx: &Context, args: &LogsArgs, mesh: &Mesh, run: &RunId) -> Result<(), CliError> {
    let mut story = follow::story(mesh, run).await?;
    let is_over = story.history().run().is_final() || follow::remains(mesh, run, &story).await?.is_some();
    if args.follow && story.plan().is_none() && !is_over {
        // The run has not begun; which tasks it will have is known when it has.
        let mut follower = Follower::new(mesh, run, ctx.printer, Show::Quiet);
        follower.until_begun().await?;
        story = follower.into_story();
    }
    let tasks = wanted(args, &story)?;
    let filter = OutputFilter { tasks: tasks.clone() };
    let form = match (args.raw, ctx.printer.is_json()) {
        (true, _) => Form::Raw,
        (false, true) => Form::Json,
        (false, false) => Form::Lines,
    };
    let mut printed = Printed::new(ctx.printer, form, args.attempt);
    if args.follow && !is_over {
        let mut follower = Follower::new(mesh, run, ctx.printer, Show::Quiet).with_output(printed, filter);
        follower.until_over().await?;
        story = follower.into_story();
    } else {
        let mut reader = mesh.read_output(run, filter, Follow::No);
        while let Some(chunk) = reader.next().await.map_err(|error| mesh::told(&error))? {
            printed.push(&story, chunk)?;
        }
        reader.close().await;
        printed.finish(&story)?;
    }
    let is_meant = |task, attempt| {
        tasks.as_ref().is_none_or(|tasks| tasks.contains(task)) && args.attempt.is_none_or(|only| only == attempt)
    };
    for words in story.truncations(is_meant) {
        ctx.printer.warn(words);
    }
    Ok(())
}

/// The tasks whose output is wanted; none means all.
fn wanted(args: &LogsArgs, story: &Story) -> Result<Option<Ranges>, CliError> {
    if args.job.is_none() && args.host.is_none() {
        return Ok(None);
    }
    let Some(plan) = story.plan() else { return Ok(Some(Ranges::new())) };
    let hosts = args.host.as_ref().map(|host| hosts::expand(std::slice::from_ref(host))).transpose()?;
    let job = match &args.job {
        None => None,
        Some(name) => Some(job_named(plan, name).ok_or_else(|| {
            let known: Vec<&str> = plan.jobs().iter().take(20).map(|job| job.name.as_str()).collect();
            CliError::new(Exit::Unknown, format_args!("no job {name:?} in this run"))
                .hint(format_args!("its jobs: {}", known.join(", ")))
        })?),
    };
    let is_wanted = |task: &u32| {
        let of_job = job.is_none_or(|job| plan.job_of(*task) == Some(job));
        let on_host = || match (&hosts, plan.target(*task)) {
            (None, _) => true,
            (Some(hosts), Some(Target::Host(host))) => hosts.contains(&host),
            (Some(_), Some(Target::Queue(_) | Target::Worker(_)) | None) => false,
        };
        of_job && on_host()
    };
    let tasks: Ranges = (0..plan.n_tasks()).filter(is_wanted).collect();
    if tasks.is_empty() {
        return Err(
            CliError::new(Exit::Unknown, "no task of this run is meant").hint("rr show lists its jobs and hosts")
        );
    }
    Ok(Some(tasks))
}

fn job_named(plan: &Plan, name: &str) -> Option<usize> {
    plan.job_named(&name.parse().ok()?)
}
