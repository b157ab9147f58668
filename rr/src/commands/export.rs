//! `rr export`: everything that is stored of a run, or of all of them.

use rr_nats::{Follow, Mesh, OutputFilter};
use rr_schemas::id::RunId;

use crate::cli::ExportArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::histories::{First, Kind, Writer, gather};
use crate::lookup::{self, Found};
use crate::mesh::{self, Place};

/// Prints an export.
pub(crate) async fn export(ctx: &Context, args: &ExportArgs) -> Result<Exit, CliError> {
    let Some(typed) = &args.run else {
        let mesh = Place::need(ctx)?.connect("export").await?;
        all(ctx, &mesh).await?;
        return Ok(Exit::Succeeded);
    };
    match lookup::find(ctx, typed).await? {
        Found::Live { mesh, run } => one(ctx, &mesh, &run, args.output, false).await?,
        Found::Kept(kept) => {
            let reopened = lookup::reopen(ctx, &kept).await?;
            let done = one(ctx, &reopened.mesh, &kept.header.view.run, args.output, true).await;
            reopened.close().await;
            done?;
        }
    }
    Ok(Exit::Succeeded)
}

async fn one(ctx: &Context, mesh: &Mesh, run: &RunId, with_output: bool, left: bool) -> Result<(), CliError> {
    let told = |error: rr_nats::Error| mesh::told(&error);
    let at = mesh.server_time().await.map_err(told)?;
    let besides = gather(mesh, Some(run), true).await?;
    let mut writer = Writer::new(ctx.printer, &First::new(at, mesh.partitions(), Some(run.clone()), left))?;
    for line in &besides.lines {
        writer.write(line.kind, &line.copied)?;
    }
    for copied in mesh.copy_run(run).await.map_err(told)? {
        writer.write(Kind::Event, &copied)?;
    }
    if with_output {
        let mut output = mesh.read_output(run, OutputFilter::default(), Follow::No);
        while let Some(chunk) = output.next().await.map_err(told)? {
            writer.write(Kind::Output, &chunk.copied(run))?;
        }
        output.close().await;
    }
    said(ctx, writer.finish()?, besides.n_unread);
    Ok(())
}

async fn all(ctx: &Context, mesh: &Mesh) -> Result<(), CliError> {
    let told = |error: rr_nats::Error| mesh::told(&error);
    let at = mesh.server_time().await.map_err(told)?;
    let besides = gather(mesh, None, true).await?;
    let mut writer = Writer::new(ctx.printer, &First::new(at, mesh.partitions(), None, false))?;
    for line in &besides.lines {
        writer.write(line.kind, &line.copied)?;
    }
    let mut log = mesh.copy_log(None).await.map_err(told)?;
    while let Some(copied) = log.next().await.map_err(told)? {
        writer.write(Kind::Event, &copied)?;
    }
    said(ctx, writer.finish()?, besides.n_unread);
    Ok(())
}

fn said(ctx: &Context, n: u64, n_unread: usize) {
    ctx.printer.note(format_args!("{n} messages"));
    if n_unread > 0 {
        ctx.printer.note(format_args!("offers without their bodies, which may not be read: {n_unread}"));
    }
}
