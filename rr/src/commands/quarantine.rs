//! `rr quarantine`: what could not be read or believed.

use std::io::{BufRead as _, IsTerminal as _, stdin};

use anstyle::Style;
use jiff::Timestamp;
use rr_nats::{Mesh, Quarantined, RestoreError};
use serde::Serialize;

use crate::cli::{QuarantineArgs, QuarantineVerb};
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};
use crate::text::{ago, escape, table};

/// A message, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    seq: u64,
    at: Timestamp,
    finder: &'a str,
    subject: &'a str,
    was: u64,
    reason: &'a str,
    content_type: Option<&'a str>,
    /// Its bytes, escaped where they are no text; none in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

#[derive(Debug, Serialize)]
struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<u64>,
    dropped: u64,
}

/// Lists, shows, puts back or removes what is in the quarantine.
pub(crate) async fn quarantine(ctx: &Context, args: &QuarantineArgs) -> Result<Exit, CliError> {
    let mesh = Place::need(ctx)?.connect("quarantine").await?;
    match &args.verb {
        QuarantineVerb::Ls { n } => ls(ctx, &mesh, *n).await,
        QuarantineVerb::Show { seq } => show(ctx, &one(&mesh, *seq).await?),
        QuarantineVerb::Restore { seq, yes } => restore(ctx, &mesh, *seq, *yes).await,
        QuarantineVerb::Drop { seq: Some(seq), yes, .. } => drop_one(ctx, &mesh, *seq, *yes).await,
        QuarantineVerb::Drop { seq: None, yes, .. } => drop_all(ctx, &mesh, *yes).await,
    }
}

impl<'a> Listed<'a> {
    fn new(found: &'a Quarantined, body: Option<String>) -> Self {
        Self {
            seq: found.seq,
            at: found.at,
            finder: &found.finder,
            subject: &found.subject,
            was: found.was,
            reason: &found.reason,
            content_type: found.content_type.as_deref(),
            body,
        }
    }
}

async fn ls(ctx: &Context, mesh: &Mesh, n: usize) -> Result<Exit, CliError> {
    let (found, all) = mesh.quarantined(n).await.map_err(|error| mesh::told(&error))?;
    if ctx.printer.is_json() {
        ctx.printer.json_document(&found.iter().map(|found| Listed::new(found, None)).collect::<Vec<_>>())?;
        return Ok(Exit::Succeeded);
    }
    if all == 0 {
        ctx.printer.note("nothing is in the quarantine");
        return Ok(Exit::Succeeded);
    }
    let now = now();
    let plain = |text: &str| (Style::new(), escape(text.as_bytes()));
    let row = |found: &Quarantined| {
        let (seq, when) = (found.seq.to_string(), ago(found.at, now));
        vec![plain(&seq), plain(&when), plain(&found.finder), plain(&found.subject), plain(&found.reason)]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    for line in table(&["SEQ", "WHEN", "FOUND BY", "SUBJECT", "REASON"], &rows) {
        ctx.printer.line(line)?;
    }
    if u64::try_from(found.len()).is_ok_and(|shown| shown < all) {
        ctx.printer.note(format_args!("{} of {all} messages; more with -n", found.len()));
    }
    Ok(Exit::Succeeded)
}

async fn one(mesh: &Mesh, seq: u64) -> Result<Quarantined, CliError> {
    mesh.quarantined_one(seq).await.map_err(|error| mesh::told(&error))?.ok_or_else(|| {
        CliError::new(Exit::Unknown, format_args!("no message {seq} in the quarantine"))
            .hint("rr quarantine ls shows those that there are")
    })
}

fn show(ctx: &Context, found: &Quarantined) -> Result<Exit, CliError> {
    // Line by line, because an end of line is a control character too.
    let lines: Vec<String> = found.payload.split(|byte| *byte == b'\n').map(escape).collect();
    if ctx.printer.is_json() {
        ctx.printer.json_document(&Listed::new(found, Some(lines.join("\n"))))?;
        return Ok(Exit::Succeeded);
    }
    let was = format!("{}, message {}", found.subject, found.was);
    let format = found.content_type.as_deref().unwrap_or("not said");
    let at = format!("{:.0}", found.at);
    for (label, text) in
        [("was", was.as_str()), ("reason", &found.reason), ("found by", &found.finder), ("at", &at), ("format", format)]
    {
        ctx.printer.line(format_args!("{label:<9}{}", escape(text.as_bytes())))?;
    }
    lines.iter().try_for_each(|line| ctx.printer.line(line))?;
    Ok(Exit::Succeeded)
}

async fn restore(ctx: &Context, mesh: &Mesh, seq: u64, yes: bool) -> Result<Exit, CliError> {
    let found = one(mesh, seq).await?;
    let told = |error: RestoreError| match error {
        RestoreError::Refused(text) => CliError::new(Exit::BadInput, format_args!("message {seq} {text}"))
            .hint(format_args!("look at it with: rr quarantine show {seq}")),
        RestoreError::Publish(error) => mesh::publish_told(&error),
    };
    mesh.check_restorable(&found).map_err(told)?;
    let subject = escape(found.subject.as_bytes());
    if !confirmed(
        ctx,
        yes,
        &format!("message {seq} is published on {subject} again, and whoever reads that acts on it"),
    )? {
        return Ok(Exit::Succeeded);
    }
    let restored = mesh.restore(&found).await.map_err(told)?;
    let dropped = mesh.drop_quarantined(seq).await.map_err(|error| {
        mesh::told(&error)
            .hint(format_args!("it is put back as message {restored}; only its copy is still in the quarantine"))
    })?;
    ctx.printer.note(format_args!("put back as message {restored} on {subject}"));
    done(ctx, &Done { restored: Some(restored), dropped: dropped.into() })
}

async fn drop_one(ctx: &Context, mesh: &Mesh, seq: u64, yes: bool) -> Result<Exit, CliError> {
    let found = one(mesh, seq).await?;
    let reason = escape(found.reason.as_bytes());
    if !confirmed(ctx, yes, &format!("message {seq} ({reason}) is removed for good"))? {
        return Ok(Exit::Succeeded);
    }
    let dropped = mesh.drop_quarantined(seq).await.map_err(|error| mesh::told(&error))?;
    ctx.printer.note(format_args!("message {seq} is removed"));
    done(ctx, &Done { restored: None, dropped: dropped.into() })
}

async fn drop_all(ctx: &Context, mesh: &Mesh, yes: bool) -> Result<Exit, CliError> {
    let (_, all) = mesh.quarantined(0).await.map_err(|error| mesh::told(&error))?;
    if all > 0 && !confirmed(ctx, yes, &format!("{all} messages are removed for good"))? {
        return Ok(Exit::Succeeded);
    }
    let dropped = mesh.drop_all_quarantined().await.map_err(|error| mesh::told(&error))?;
    ctx.printer.note(format_args!("removed {dropped} messages"));
    done(ctx, &Done { restored: None, dropped })
}

fn done(ctx: &Context, done: &Done) -> Result<Exit, CliError> {
    if ctx.printer.is_json() {
        ctx.printer.json_line(done)?;
    }
    Ok(Exit::Succeeded)
}

/// Says what will happen and asks whether it shall. Where nobody can be asked, `--yes` must have been said.
fn confirmed(ctx: &Context, yes: bool, what: &str) -> Result<bool, CliError> {
    if yes {
        return Ok(true);
    }
    if !stdin().is_terminal() {
        return Err(CliError::new(Exit::Usage, format_args!("{what}, and nobody is there to be asked"))
            .hint("say --yes to do it without asking"));
    }
    ctx.printer.note(format_args!("{what}. Go on? [y/N]"));
    let mut answer = String::new();
    let read = stdin().lock().read_line(&mut answer);
    read.map_err(|error| CliError::new(Exit::Usage, format_args!("no answer could be read: {error}")))?;
    let is_yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !is_yes {
        ctx.printer.note("nothing was done");
    }
    Ok(is_yes)
}
