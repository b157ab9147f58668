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

/// A decision as it is stored, or why it cannot be read.
#[derive(Clone, Debug)]
struct Stored {
    seq: u64,
    at: Timestamp,
    decision: Result<Decision, String>,
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
    let (run, stored) = match (whence(&args.what)?, args.run.as_deref()) {
        (Whence::File(name), wanted) => of_file(ctx, &name, wanted)?,
        (Whence::Run(typed), None) => of_run(ctx, &typed).await?,
        (Whence::Run(typed), Some(_)) => {
            let text = format_args!("--run names a run in a file, and \"{typed}\" is a run").to_string();
            return Err(CliError::new(Exit::Usage, text).hint(format_args!("a file of that name is ./{typed}")));
        }
    };
    if stored.is_empty() {
        return Err(CliError::new(Exit::Unknown, format_args!("nothing was decided of run {run}, or it is not kept")));
    }
    let decisions = chained(&run, stored, until)?;
    let mut story = Story::new(run);
    if args.step {
        return step(ctx, &mut story, &decisions);
    }
    for (_, decision) in &decisions {
        fold(&mut story, decision);
    }
    print_board(ctx, &story.history().view(), &Tails::new())?;
    Ok(Exit::Succeeded)
}

/// Where a decision stands in the log.
type Place = (u64, Timestamp);

/// The decisions up to a moment, where each can be read and follows the one before: what is folded over a hole never was.
fn chained(run: &RunId, stored: Vec<Stored>, until: Option<Until>) -> Result<Vec<(Place, Decision)>, CliError> {
    let mut decisions: Vec<(Place, Decision)> = Vec::with_capacity(stored.len());
    for stored in stored {
        let is_shown = until.is_none_or(|until| until.covers(&stored));
        let Stored { seq, at, decision } = stored;
        let last = decisions.last().map_or(0, |(_, last)| last.n);
        let wrong = match decision {
            // What was before it is not known at any moment.
            Ok(decision) if last == 0 && decision.n > 1 => {
                format!("the beginning of run {run} is not there: decision {} (seq={seq}) is its first", decision.n)
            }
            Ok(_) | Err(_) if !is_shown => break,
            Ok(decision) if decision.n == last + 1 => {
                decisions.push(((seq, at), decision));
                continue;
            }
            Ok(decision) => format!("decision {} (seq={seq}) of run {run} follows decision {last}", decision.n),
            Err(reason) => format!("decision seq={seq} of run {run} cannot be read: {reason}"),
        };
        return Err(CliError::new(Exit::BadInput, wrong).hint("rr verify says what is wrong with a history"));
    }
    Ok(decisions)
}

fn step(ctx: &Context, story: &mut Story, decisions: &[(Place, Decision)]) -> Result<Exit, CliError> {
    let waits = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !ctx.printer.is_json();
    let mut typed = std::io::stdin().lock();
    for (index, ((seq, at), decision)) in decisions.iter().enumerate() {
        fold(story, decision);
        let view = story.history().view();
        if ctx.printer.is_json() {
            ctx.printer.json_line(&view)?;
            continue;
        }
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
    let decision = match content {
        Content::Decision { decision, .. } => Ok(*decision),
        Content::Unreadable(reason) => Err(reason),
        Content::Foreign | Content::Input { .. } | Content::Unread(_) | Content::Bad(_) => return None,
    };
    Some((run, Stored { seq, at, decision }))
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
fn of_file(ctx: &Context, name: &str, wanted: Option<&str>) -> Result<(RunId, Vec<Stored>), CliError> {
    let mut reader = Reader::open(name)?;
    let partitions = reader.first().partitions;
    let wanted = wanted.map(ids::parse).transpose()?.or_else(|| reader.first().run.clone());
    let mut chosen = Chosen::new(wanted);
    while let Some(line) = reader.next()? {
        if line.kind != Kind::Event {
            continue;
        }
        let message = message(&line.copied, partitions).map_err(|reason| reader.wrong(reason))?;
        if let Some((run, stored)) = message.and_then(decided) {
            chosen.take(run, stored);
        }
    }
    if !reader.is_whole() {
        ctx.printer
            .warn(format_args!("{name} was cut off: its last line is missing, and what was decided then is not shown"));
    }
    chosen.finish(name)
}

/// The one run of a file that is meant: the one that has the whole id, else the only one that begins with it, else the only
/// one.
#[derive(Debug)]
struct Chosen {
    wanted: Option<RunId>,
    /// The first run that fits, with its decisions: those of others are not kept.
    found: Option<RunId>,
    decisions: Vec<Stored>,
    /// Another one that fits.
    other: Option<RunId>,
}

impl Chosen {
    const fn new(wanted: Option<RunId>) -> Self {
        Self { wanted, found: None, decisions: Vec::new(), other: None }
    }

    fn take(&mut self, run: RunId, stored: Stored) {
        if self.wanted.as_ref().is_some_and(|wanted| !run.as_str().starts_with(wanted.as_str())) {
            return;
        }
        if self.found.as_ref() == Some(&run) {
            self.decisions.push(stored);
        } else if self.found.is_none() || self.wanted.as_ref() == Some(&run) {
            (self.found, self.decisions) = (Some(run), vec![stored]);
        } else {
            self.other = Some(run);
        }
    }

    fn finish(self, name: &str) -> Result<(RunId, Vec<Stored>), CliError> {
        let Self { wanted, found, decisions, other } = self;
        match (found, other) {
            (Some(found), Some(other)) if wanted.as_ref() != Some(&found) => {
                let text = format_args!("{name} holds several runs: {found}, {other}").to_string();
                Err(CliError::new(Exit::BadInput, text).hint("name one with --run RUN"))
            }
            (Some(found), _) => Ok((found, decisions)),
            (None, _) => Err(CliError::new(
                Exit::Unknown,
                match wanted {
                    Some(wanted) => format!("{name} holds no decision of run \"{wanted}\""),
                    None => format!("{name} holds no decision of any run"),
                },
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decisions of these runs, with these numbers: their sequences are their places; 0 cannot be read.
    fn stored(n: &[u64]) -> Vec<Stored> {
        let one = |(seq, n): (u64, &u64)| {
            let by = "c".parse().unwrap();
            let decision =
                Decision { n: *n, by, upto: seq, prev: String::new(), secret: String::new(), events: Vec::new() };
            let decision = if *n == 0 { Err("version 9".to_owned()) } else { Ok(decision) };
            Stored { seq, at: Timestamp::UNIX_EPOCH, decision }
        };
        (1..).zip(n).map(one).collect()
    }

    #[test]
    fn nothing_is_folded_over_a_hole() {
        let run = "r1".parse().unwrap();
        for (n, until, told) in [
            (&[1, 2, 3][..], None, Ok(3)),
            (&[1, 2, 3], Some(2), Ok(2)),
            (&[1, 2, 3], Some(0), Ok(0)),
            (&[], None, Ok(0)),
            (&[2, 3], None, Err("the beginning of run r1 is not there: decision 2 (seq=1)")),
            (&[2, 3], Some(0), Err("the beginning of run r1 is not there: decision 2 (seq=1)")),
            (&[1, 3], None, Err("decision 3 (seq=2) of run r1 follows decision 1")),
            (&[1, 3], Some(1), Ok(1)),
            (&[1, 2, 2], None, Err("decision 2 (seq=3) of run r1 follows decision 2")),
            (&[1, 0, 2], None, Err("decision seq=2 of run r1 cannot be read: version 9")),
            (&[1, 0, 2], Some(1), Ok(1)),
        ] {
            let found = chained(&run, stored(n), until.map(Until::Seq));
            match (found, told) {
                (Ok(found), Ok(n)) => assert_eq!(found.len(), n),
                (Err(found), Err(told)) => {
                    assert!(found.exit().code() == 65 && found.to_string().starts_with(told), "{n:?}: {found}");
                }
                (found, told) => panic!("{n:?}: {found:?}, {told:?}"),
            }
        }
    }

    #[test]
    fn a_whole_id_wins_over_the_beginning_of_another() {
        for (wanted, runs, expected) in [
            (Some("a1"), &["a1b", "a1", "a1b", "a1"][..], Ok(("a1", 2))),
            (Some("a1"), &["a1", "a1b", "a1"], Ok(("a1", 2))),
            (Some("a1"), &["b", "a1b", "a1b"], Ok(("a1b", 2))),
            (Some("a1"), &["a1b", "a1c"], Err(65)),
            (Some("a1"), &["b"], Err(66)),
            (None, &["b", "b"], Ok(("b", 2))),
            (None, &["b", "c"], Err(65)),
            (None, &[], Err(66)),
        ] {
            let mut chosen = Chosen::new(wanted.map(|wanted| wanted.parse().unwrap()));
            for (run, stored) in runs.iter().zip(stored(&vec![1; runs.len()])) {
                chosen.take(run.parse().unwrap(), stored);
            }
            let found = chosen.finish("x").map_err(|error| error.exit().code());
            let found = found.map(|(run, decisions)| (run.to_string(), decisions.len()));
            assert_eq!(found, expected.map(|(run, n)| (run.to_owned(), n)), "{wanted:?} {runs:?}");
        }
    }

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
