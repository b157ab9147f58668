//! `rr replay`: a run as it stood at any moment.

use std::io::{BufRead as _, IsTerminal as _};

use jiff::Timestamp;
use rr_nats::Copied;
use rr_schemas::decision::Decision;
use rr_schemas::id::RunId;
use rr_verify::stream::{Content, Message};

use super::show::print_board;
use crate::cli::ReplayArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::histories::{Kind, Reader, Whence, message, whence};
use crate::ids;
use crate::lookup::{self, Found};
use crate::mesh;
use crate::progress::{Story, Tails};

/// A decision as it is stored.
struct Stored {
    seq: u64,
    at: Timestamp,
    decision: Decision,
}

/// Up to where to fold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    Seq(u64),
    Time(Timestamp),
}

impl Until {
    fn parse(text: &str) -> Result<Self, CliError> {
        let seq = text.parse().map(Self::Seq).ok();
        let time = || text.parse().map(Self::Time).ok();
        seq.or_else(time).ok_or_else(|| {
            CliError::new(Exit::BadInput, format_args!("{text:?} is neither a sequence nor a time"))
                .hint("a time is written 2026-11-22T10:15:00Z; rr watch RUN --json shows both")
        })
    }

    fn covers(self, stored: &Stored) -> bool {
        match self {
            Self::Seq(seq) => stored.seq <= seq,
            Self::Time(time) => stored.at <= time,
        }
    }
}

/// Shows the run.
pub(crate) async fn replay(ctx: &Context, args: &ReplayArgs) -> Result<Exit, CliError> {
    let until = args.at.as_deref().map(Until::parse).transpose()?;
    let (run, mut decisions) = match whence(&args.what)? {
        Whence::File(name) => of_file(&name, args.run.as_deref())?,
        Whence::Run(typed) => of_run(ctx, &typed).await?,
    };
    if decisions.is_empty() {
        return Err(CliError::new(Exit::Unknown, format_args!("nothing was decided of run {run}, or it is not kept")));
    }
    if let Some(first) = decisions.first().filter(|first| first.decision.n > 1) {
        let text = format_args!("the beginning of run {run} is not there: decision {} is its first", first.decision.n);
        return Err(CliError::new(Exit::BadInput, text.to_string()));
    }
    if let Some(until) = until {
        decisions.retain(|stored| until.covers(stored));
    }
    let mut story = Story::new(run);
    if args.step {
        return step(ctx, &mut story, &decisions);
    }
    for stored in &decisions {
        fold(&mut story, &stored.decision);
    }
    print_board(ctx, &story.history().view(), &Tails::new())?;
    Ok(Exit::Succeeded)
}

fn step(ctx: &Context, story: &mut Story, decisions: &[Stored]) -> Result<Exit, CliError> {
    let waits = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !ctx.printer.is_json();
    let mut typed = std::io::stdin().lock();
    for (index, stored) in decisions.iter().enumerate() {
        fold(story, &stored.decision);
        let view = story.history().view();
        if ctx.printer.is_json() {
            ctx.printer.json_line(&view)?;
            continue;
        }
        let Stored { seq, at, decision } = stored;
        let Decision { n, by, events, .. } = decision;
        ctx.printer.line(format_args!("decision {n}  seq {seq}  {at}  by {by}, {} events", events.len()))?;
        print_board(ctx, &view, &Tails::new())?;
        ctx.printer.line("")?;
        let mut line = String::new();
        if waits && index + 1 < decisions.len() && (typed.read_line(&mut line).unwrap_or(0) == 0 || line.trim() == "q")
        {
            break;
        }
    }
    Ok(Exit::Succeeded)
}

fn fold(story: &mut Story, decision: &Decision) {
    for record in &decision.events {
        if let Err(reason) = story.apply(record) {
            tracing::warn!(reason, "event passed over");
        }
    }
}

/// What was decided; everything else is passed over.
fn decided(message: Message) -> Option<(RunId, Stored)> {
    let Message { run, seq, at, content } = message;
    match content {
        Content::Decision { decision, .. } => Some((run, Stored { seq, at, decision: *decision })),
        Content::Unreadable(_) | Content::Foreign | Content::Input { .. } | Content::Bad(_) => None,
    }
}

async fn of_run(ctx: &Context, typed: &str) -> Result<(RunId, Vec<Stored>), CliError> {
    let (run, log, partitions) = match lookup::find(ctx, typed).await? {
        Found::Live { mesh, run } => {
            let log = mesh.copy_run(&run).await.map_err(|error| mesh::told(&error))?;
            (run, log, mesh.partitions())
        }
        Found::Kept(kept) => {
            let reopened = lookup::reopen(ctx, &kept).await?;
            let run = kept.header.view.run;
            let log = reopened.mesh.copy_run(&run).await.map_err(|error| mesh::told(&error));
            let partitions = reopened.mesh.partitions();
            reopened.close().await;
            (run, log?, partitions)
        }
    };
    let read = |copied: &Copied| message(copied, partitions).ok().flatten().and_then(decided);
    let decisions = log.iter().filter_map(read).map(|(_, stored)| stored).collect();
    Ok((run, decisions))
}

/// The decisions of a run in a file: of the one that is asked for, or of the only one.
fn of_file(name: &str, wanted: Option<&str>) -> Result<(RunId, Vec<Stored>), CliError> {
    let mut reader = Reader::open(name)?;
    let partitions = reader.first().partitions;
    let wanted = wanted.map(ids::parse).transpose()?.or_else(|| reader.first().run.clone());
    let mut found: Option<RunId> = None;
    let mut decisions = Vec::new();
    while let Some(line) = reader.next()? {
        if line.kind != Kind::Event {
            continue;
        }
        let message = message(&line.copied, partitions).map_err(|reason| reader.wrong(reason))?;
        let Some((run, stored)) = message.and_then(decided) else { continue };
        if wanted.as_ref().is_some_and(|wanted| !run.as_str().starts_with(wanted.as_str())) {
            continue;
        }
        if found.get_or_insert_with(|| run.clone()) != &run {
            let text = format_args!("{name} holds several runs").to_string();
            return Err(CliError::new(Exit::BadInput, text).hint("name one with --run RUN"));
        }
        decisions.push(stored);
    }
    let run = found.or(wanted);
    let run = run.ok_or_else(|| CliError::new(Exit::Unknown, format_args!("{name} holds no decision of any run")))?;
    Ok((run, decisions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_sequence_or_a_time() {
        let time = "2026-11-22T10:15:00Z".parse().unwrap();
        for (typed, expected) in [
            ("12", Ok(Until::Seq(12))),
            ("2026-11-22T10:15:00Z", Ok(Until::Time(time))),
            ("yesterday", Err(65)),
            ("-1", Err(65)),
        ] {
            assert_eq!(Until::parse(typed).map_err(|error| error.exit().code()), expected, "{typed}");
        }
    }
}
