//! What a shell asks while somebody types: `rr completions` tells it to call rr with [`VARIABLE`] set, and rr answers with
//! what fits there.
//!
//! Invariants: an answer comes within [`known::DEADLINE`] or is empty; nothing is said on stderr, nothing is started and
//! no file is written, whatever is wrong with the configuration, the mesh or what was typed. As for any verb, the address
//! that an `rr up` has left behind is removed where nobody is there any more.

mod bash;
mod known;
mod typed;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, CommandFactory as _, ValueEnum as _, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::{EnvCompleter, Fish, Zsh};

use self::known::Known;
use crate::cli::{Cli, Shell};
use crate::environment::Environment;
use crate::error::CliError;

/// The variable that names the shell that asks.
const VARIABLE: &str = "RR_COMPLETE";

/// What can be looked up where a value is typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Any run.
    Run,
    /// A run that is not over.
    LiveRun,
    /// A run that is over and of which something may be left to do.
    EndedRun,
    /// A job of the run that is typed.
    Job,
    /// A host of the run that is typed; several with commas.
    Host,
    /// A worker that is present.
    PresentWorker,
    /// A worker that the mesh knows and that is away.
    AbsentWorker,
    /// A context of the NATS CLI.
    Context,
    /// A parameter of the flow that is typed, then its value.
    Param,
}

/// Where something can be looked up: verbs from the outside in, and the argument.
const PLACES: [(&[&str], &str, Kind); 15] = [
    (&[], "context", Kind::Context),
    (&["watch"], "run", Kind::Run),
    (&["show"], "run", Kind::Run),
    (&["logs"], "run", Kind::Run),
    (&["logs"], "job", Kind::Job),
    (&["logs"], "host", Kind::Host),
    (&["cancel"], "run", Kind::LiveRun),
    (&["signal"], "run", Kind::LiveRun),
    (&["retry"], "run", Kind::EndedRun),
    (&["why"], "run", Kind::Run),
    (&["worker", "drain"], "worker", Kind::PresentWorker),
    (&["worker", "forget"], "worker", Kind::AbsentWorker),
    (&["run"], "set", Kind::Param),
    (&["publish"], "set", Kind::Param),
    (&["plan"], "set", Kind::Param),
];

/// The words of a command line that a shell asks about, with who asks.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    shell: Shell,
    words: &'a [OsString],
}

/// Whether this call of rr is a question of a shell.
pub(crate) fn asked<'a>(args: &'a [OsString], environment: &Environment) -> Option<Asked<'a>> {
    let shell = Shell::from_str(environment.get(VARIABLE)?.to_str()?, false).ok()?;
    match args {
        [_, escape, words @ ..] if escape == "--" && !words.is_empty() => Some(Asked { shell, words }),
        _ => None,
    }
}

/// Answers on stdout, with nothing where anything goes wrong.
pub(crate) fn answer(asked: &Asked<'_>, environment: Environment) {
    let mut out = Vec::new();
    let answered = match asked.shell {
        Shell::Bash => {
            let joined = bash::join(asked.words, &environment);
            let command = command(asked.shell, Known::new(&joined.words, environment));
            bash::write(command, joined, &mut out)
        }
        Shell::Zsh => write(&Zsh, asked, environment, &mut out),
        Shell::Fish => write(&Fish, asked, environment, &mut out),
    };
    if answered.is_ok() {
        // A shell that does not read any more needs no answer.
        drop(std::io::stdout().write_all(&out));
    }
}

fn write(
    shell: &dyn EnvCompleter,
    asked: &Asked<'_>,
    environment: Environment,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let mut command = command(asked.shell, Known::new(asked.words, environment));
    shell.write_complete(&mut command, asked.words.to_vec(), std::env::current_dir().ok().as_deref(), out)
}

/// The definition of the command line with what can be looked up at its places.
fn command(shell: Shell, known: Known) -> clap::Command {
    let known = Arc::new(known);
    let mut command = Cli::command();
    if shell == Shell::Bash {
        command = without_paths(command);
    }
    for (verbs, arg, kind) in PLACES {
        let known = Arc::clone(&known);
        let completer = ArgValueCompleter::new(move |current: &OsStr| known.candidates(kind, current));
        command = at(command, verbs, |command| command.mut_arg(arg, |arg| arg.add(completer)));
    }
    command
}

/// Bash completes paths itself when nothing else fits, and knows how to quote them.
fn without_paths(command: clap::Command) -> clap::Command {
    let is_path = |hint| matches!(hint, ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath);
    let without = |arg: Arg| if is_path(arg.get_value_hint()) { arg.value_hint(ValueHint::Other) } else { arg };
    command.mut_args(without).mut_subcommands(without_paths)
}

fn at(command: clap::Command, verbs: &[&str], change: impl FnOnce(clap::Command) -> clap::Command) -> clap::Command {
    match verbs {
        [] => change(command),
        [verb, rest @ ..] => command.mut_subcommand(verb, |command| at(command, rest, change)),
    }
}

/// What a shell has to read to ask rr. `called` is how rr was called; a path is made absolute, a name stays one.
///
/// # Errors
/// The script cannot be put together, which is a bug.
pub(crate) fn script(shell: Shell, called: Option<&OsString>) -> Result<Vec<u8>, CliError> {
    let called = PathBuf::from(called.map_or_else(|| OsStr::new("rr"), OsString::as_os_str));
    let is_path = called.components().count() > 1;
    let program = if is_path { std::path::absolute(&called).unwrap_or(called) } else { called };
    let program = program.to_string_lossy();
    let mut out = Vec::new();
    let written = match shell {
        Shell::Bash => bash::write_script(&program, &mut out),
        Shell::Zsh => Zsh.write_registration(VARIABLE, "rr", "rr", &program, &mut out),
        Shell::Fish => Fish.write_registration(VARIABLE, "rr", "rr", &program, &mut out),
    };
    written.map_err(|error| CliError::bug(format_args!("write the script: {error}")))?;
    Ok(out)
}

#[cfg(test)]
mod tests;
