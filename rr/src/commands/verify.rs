//! `rr verify`: stored histories, judged.

mod told;

use std::collections::BTreeSet;

use jiff::Timestamp;
use rr_nats::{Copied, Follow, Mesh, OutputFilter};
use rr_schemas::decision::Decision;
use rr_schemas::id::RunId;
use rr_schemas::span::Span;
use rr_verify::output::Outputs;
use rr_verify::stream::{Beside, Content, Finding, Rules, Verifier};

use self::told::Told;
use crate::cli::VerifyArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::histories::{Besides, Kind, Reader, Whence, chunk, gather, message, whence};
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
        Some(Whence::File(name)) => file(ctx, &name, &mut told)?,
        Some(Whence::Run(typed)) => match lookup::find(ctx, &typed).await? {
            Found::Live { mesh, run } => {
                let now = mesh.server_time().await.map_err(|error| mesh::told(&error))?;
                one(ctx, &mesh, &run, Some(now), &mut told).await?;
            }
            Found::Kept(kept) => {
                let reopened = lookup::reopen(ctx, &kept).await?;
                // Nobody works on it any more: that nothing follows breaks no rule.
                let done = one(ctx, &reopened.mesh, &kept.header.view.run, None, &mut told).await;
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

fn rules(ctx: &Context, now: Option<Timestamp>, keeps: bool) -> Rules {
    Rules { policy: ctx.config.coordinator.policy, now, keeps, begins_late: false }
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
    let beside = gather(mesh, None, false).await?.into_beside();
    let rules = Rules { begins_late: since.is_some(), ..rules(ctx, Some(now), false) };
    let mut verifier = Verifier::new(rules, beside);
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
    told.add(&end.sum);
    told.tell(end.findings)?;
    for run in end.again {
        one(ctx, mesh, &run, Some(now), told).await?;
    }
    Ok(())
}

/// One run, whole, with its output.
async fn one(ctx: &Context, mesh: &Mesh, run: &RunId, now: Option<Timestamp>, told: &mut Told) -> Result<(), CliError> {
    let failed = |error: rr_nats::Error| mesh::told(&error);
    let beside = gather(mesh, Some(run), false).await?.into_beside();
    let log = mesh.copy_run(run).await.map_err(failed)?;
    if log.is_empty() {
        let reason = "the log has nothing of it: it was removed, as old runs are, or lost".to_owned();
        return told.tell(vec![Finding::Incomplete { run: Some(run.clone()), reason }]);
    }
    let mut outputs = Outputs::default();
    let mut reader = mesh.read_output(run, OutputFilter::default(), Follow::No);
    while let Some(chunk) = reader.next().await.map_err(failed)? {
        hear(&mut outputs, &chunk);
    }
    reader.close().await;
    let mut verifier = Verifier::new(rules(ctx, now, true), beside);
    let mut decisions = Vec::new();
    for copied in &log {
        judge_message(copied, mesh.partitions(), &mut verifier, Some(&mut decisions), told);
    }
    let end = verifier.finish();
    told.add(&end.sum);
    told.tell(end.findings)?;
    let (violations, n_short) = outputs.judge(decisions.iter());
    told.short(n_short);
    told.tell(violations.into_iter().map(|violation| Finding::Violation { run: run.clone(), violation }).collect())
}

fn hear(outputs: &mut Outputs, chunk: &rr_nats::Chunk) {
    let bytes = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
    outputs.hear(&chunk.worker, (chunk.id.task, chunk.id.attempt), chunk.id.n, bytes);
}

fn judge_message(
    copied: &Copied,
    partitions: u16,
    verifier: &mut Verifier,
    decisions: Option<&mut Vec<Decision>>,
    told: &mut Told,
) {
    match message(copied, partitions) {
        Ok(Some(message)) => {
            if let (Content::Decision { decision, .. }, Some(decisions)) = (&message.content, decisions) {
                decisions.push((**decision).clone());
            }
            verifier.hear(message);
        }
        Ok(None) => told.nobodys(),
        Err(reason) => told.odd(copied.seq, &reason),
    }
}

/// An export. What needs a second reading is read from the file once more; stdin is held instead.
fn file(ctx: &Context, name: &str, told: &mut Told) -> Result<(), CliError> {
    let again = pass(ctx, name, None, told)?;
    if !again.is_empty() {
        pass(ctx, name, Some(&again), told)?;
    }
    Ok(())
}

/// One reading of an export, of all runs in it or of those that need a second one.
fn pass(
    ctx: &Context,
    name: &str,
    only: Option<&BTreeSet<RunId>>,
    told: &mut Told,
) -> Result<BTreeSet<RunId>, CliError> {
    let mut reader = Reader::open(name)?;
    let first = reader.first().clone();
    let is_one = first.run.is_some();
    let now = (!first.left).then_some(first.at);
    let rules = rules(ctx, now, is_one || only.is_some() || name == "-");
    let mut besides = Some(Besides::default());
    let mut verifier: Option<Verifier> = None;
    let (mut outputs, mut decisions, mut last) = (Outputs::default(), Vec::new(), 0);
    let mut has_output = false;
    while let Some(line) = reader.next()? {
        let wrong = |reason: String| reader.wrong(reason);
        match (line.kind, besides.as_mut()) {
            (Kind::State | Kind::Bad | Kind::Offer, Some(besides)) => besides.take(&line).map_err(wrong)?,
            (Kind::State | Kind::Bad | Kind::Offer, None) => {
                return Err(wrong("what stands beside the log comes before it".to_owned()));
            }
            (Kind::Output, _) => {
                has_output = true;
                if let Some((_, chunk)) = chunk(&line.copied).map_err(wrong)? {
                    hear(&mut outputs, &chunk);
                }
            }
            (Kind::Event, _) => {
                if line.copied.seq <= last {
                    return Err(wrong(format!("message {} comes behind message {last}", line.copied.seq)));
                }
                last = line.copied.seq;
                let beside = besides.take();
                let verifier = verifier.get_or_insert_with(|| Verifier::new(rules, chosen(beside, only)));
                let found = message(&line.copied, first.partitions).map_err(wrong)?;
                let Some(message) = found.filter(|message| only.is_none_or(|only| only.contains(&message.run))) else {
                    continue;
                };
                if let (Content::Decision { decision, .. }, true) = (&message.content, is_one) {
                    decisions.push((**decision).clone());
                }
                verifier.hear(message);
                told.tell(verifier.take())?;
            }
        }
    }
    if !reader.is_whole() {
        let reason = format!("{name} was cut off: its last line is missing");
        told.tell(vec![Finding::Incomplete { run: None, reason }])?;
    }
    let end = verifier.unwrap_or_else(|| Verifier::new(rules, chosen(besides, only))).finish();
    told.add(&end.sum);
    told.tell(end.findings)?;
    if let (Some(run), true) = (first.run, has_output) {
        let (violations, n_short) = outputs.judge(decisions.iter());
        told.short(n_short);
        told.tell(
            violations.into_iter().map(|violation| Finding::Violation { run: run.clone(), violation }).collect(),
        )?;
    }
    Ok(end.again)
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
