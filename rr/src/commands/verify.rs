//! `rr verify`: stored histories, judged.

mod file;
mod told;

use jiff::Timestamp;
use rr_nats::{Copied, Follow, Mesh, OutputFilter};
use rr_schemas::decision::Decision;
use rr_schemas::id::RunId;
use rr_schemas::span::Span;
use rr_verify::output::{Age, Judged, Outputs};
use rr_verify::stream::{Content, Finding, PolicyOf, Rules, Scope, Verifier};

use self::told::{Reading, Told};
use crate::cli::VerifyArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::histories::{Whence, gather, message, whence};
use crate::lookup::{self, Found};
use crate::mesh::{self, Place};

/// Judges what is asked for.
pub(crate) async fn verify(ctx: &Context, args: &VerifyArgs) -> Result<Exit, CliError> {
    let mut told = Told::new(ctx);
    match args.what.as_deref().map(whence).transpose()? {
        None => {
            let mesh = Place::need(ctx)?.connect("verify").await?;
            all(ctx, &mesh, args.since, None, &mut told).await?;
        }
        Some(Whence::File(name)) => file::judge(ctx, &name, &mut told)?,
        Some(Whence::Run(typed)) => match lookup::find(ctx, &typed).await? {
            Found::Live { mesh, run } => {
                let now = mesh.server_time().await.map_err(|error| mesh::told(&error))?;
                one(ctx, &mesh, &run, Some(now), Reading::First, &mut told).await?;
            }
            Found::Kept(kept) => {
                let reopened = lookup::reopen(ctx, &kept).await?;
                // Nobody works on it any more: that nothing follows breaks no rule.
                let done = one(ctx, &reopened.mesh, &kept.header.view.run, None, Reading::First, &mut told).await;
                reopened.close().await;
                done?;
            }
        },
    }
    told.finish()
}

/// Judges a whole mesh as it stood at an instant.
///
/// # Errors
/// It cannot be read.
pub(super) async fn all_of(ctx: &Context, mesh: &Mesh, at: Timestamp) -> Result<Exit, CliError> {
    let mut told = Told::new(ctx);
    all(ctx, mesh, None, Some(at), &mut told).await?;
    told.finish()
}

fn rules(ctx: &Context, now: Option<Timestamp>, keeps: bool, scope: Scope) -> Rules {
    // What the coordinators of a mesh or of an export had is written nowhere.
    let policy_of = PolicyOf::Reader;
    Rules { policy: ctx.config.coordinator.policy, policy_of, now, keeps, scope }
}

/// The whole log, or what began not long ago.
async fn all(
    ctx: &Context,
    mesh: &Mesh,
    since: Option<Span>,
    at: Option<Timestamp>,
    told: &mut Told,
) -> Result<(), CliError> {
    let failed = |error: rr_nats::Error| mesh::told(&error);
    let now = match at {
        Some(at) => at,
        None => mesh.server_time().await.map_err(failed)?,
    };
    let since = since.map(|span| now.checked_sub(span.as_duration()).unwrap_or(Timestamp::UNIX_EPOCH));
    let besides = gather(mesh, None, false).await?;
    told.unread(besides.n_unread);
    let rules = rules(ctx, Some(now), false, since.map_or(Scope::Log, Scope::Since));
    let mut verifier = Verifier::new(rules, besides.into_beside());
    let mut log = mesh.copy_log(since).await.map_err(failed)?;
    while let Some(copied) = log.next().await.map_err(failed)? {
        match message(&copied, mesh.partitions()) {
            Ok(Some(message)) => verifier.hear(message),
            Ok(None) => told.nobodys(),
            Err(reason) => told.odd(copied.seq, &reason),
        }
        told.tell(verifier.take())?;
    }
    let end = verifier.finish();
    told.add(&end.sum, Reading::First);
    told.tell(end.findings)?;
    for run in end.again {
        one(ctx, mesh, &run, Some(now), Reading::Again, told).await?;
    }
    Ok(())
}

/// One run, whole, with its output.
async fn one(
    ctx: &Context,
    mesh: &Mesh,
    run: &RunId,
    now: Option<Timestamp>,
    reading: Reading,
    told: &mut Told,
) -> Result<(), CliError> {
    let failed = |error: rr_nats::Error| mesh::told(&error);
    let besides = gather(mesh, Some(run), false).await?;
    if reading == Reading::First {
        told.unread(besides.n_unread);
    }
    let log = mesh.copy_run(run).await.map_err(failed)?;
    if log.is_empty() {
        return told.tell(vec![nothing_of(run)]);
    }
    let mut outputs = Outputs::default();
    let mut reader = mesh.read_output(run, OutputFilter::default(), Follow::No);
    while let Some(chunk) = reader.next().await.map_err(failed)? {
        hear(&mut outputs, &chunk);
    }
    reader.close().await;
    // What goes while output is read is older than what there is now.
    let oldest = mesh.oldest_output().await.map_err(failed)?;
    let mut verifier = Verifier::new(rules(ctx, now, true, Scope::Runs), besides.into_beside());
    let mut decisions = Vec::new();
    for copied in &log {
        judge_message(copied, mesh.partitions(), &mut verifier, &mut decisions, told);
    }
    let end = verifier.finish();
    told.add(&end.sum, reading);
    told.tell(end.findings)?;
    judge_output(run, &outputs, &decisions, Age { now, oldest, kept_since: kept_since(ctx, now) }, told)
}

/// Runs that were over before then may be removed.
fn kept_since(ctx: &Context, now: Option<Timestamp>) -> Option<Timestamp> {
    now?.checked_sub(ctx.config.coordinator.keep.as_duration()).ok()
}

/// What is asked for by its name, and is not there.
fn nothing_of(run: &RunId) -> Finding {
    let reason = "the log has nothing of it: it was removed, as old runs are, or lost".to_owned();
    Finding::Incomplete { run: Some(run.clone()), reason }
}

fn judge_output(
    run: &RunId,
    outputs: &Outputs,
    decisions: &[Decision],
    age: Age,
    told: &mut Told,
) -> Result<(), CliError> {
    let Judged { violations, lost, n_short } = outputs.judge(decisions.iter(), age);
    told.short(n_short);
    let violations = violations.into_iter().map(|violation| Finding::Violation { run: run.clone(), violation });
    let lost = lost.into_iter().map(|reason| Finding::Incomplete { run: Some(run.clone()), reason });
    told.tell(violations.chain(lost).collect())
}

fn hear(outputs: &mut Outputs, chunk: &rr_nats::Chunk) {
    let bytes = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
    outputs.hear(&chunk.worker, (chunk.id.task, chunk.id.attempt), chunk.id.n, bytes);
}

fn judge_message(
    copied: &Copied,
    partitions: u16,
    verifier: &mut Verifier,
    decisions: &mut Vec<Decision>,
    told: &mut Told,
) {
    match message(copied, partitions) {
        Ok(Some(message)) => {
            if let Content::Decision { decision, .. } = &message.content {
                decisions.push((**decision).clone());
            }
            verifier.hear(message);
        }
        Ok(None) => told.nobodys(),
        Err(reason) => told.odd(copied.seq, &reason),
    }
}
