//! From the command line to the command and back to an exit code.

use std::ffi::OsString;
use std::future::Future;

use clap::Parser as _;
use tokio::runtime::Builder;

use crate::cli::{Cli, Verb, WorkerArgs};
use crate::commands;
use crate::completion;
use crate::config::Config;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::CliError;
use crate::exit::Exit;
use crate::logging::{self, Verbosity};
use crate::printer::{Printer, Unread};

/// Threads of a runtime that carries a whole mesh. More cost more than they give: the work is messages.
const MESH_THREADS: usize = 2;

/// Does what the command line says.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let environment = Environment::read();
    if let Some(question) = completion::asked(&args, &environment) {
        completion::answer(&question, environment);
        return Exit::Succeeded;
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(told) => {
            // Help goes to stdout and is a success, everything else to stderr; a reader that is gone changes nothing.
            drop(told.print());
            return if told.exit_code() == 0 { Exit::Succeeded } else { Exit::Usage };
        }
    };
    let printer = Printer::new(cli.global.color.unwrap_or_default(), false);
    let done = if matches!(cli.verb, Verb::Guard) {
        guard(printer)
    } else if let Verb::Completions(wanted) = &cli.verb {
        // Whatever is wrong with the configuration, a shell that starts need not hear of it.
        commands::completions(printer, wanted, args.first())
    } else {
        Context::new(environment, &cli.global).and_then(|mut ctx| {
            ctx.printer = ctx.printer.when_unread(unread(&cli.verb));
            perform(&ctx, cli.verb)
        })
    };
    let done = match done {
        Ok(exit) if Printer::has_lost_output() => Err(lost(exit)),
        done => done,
    };
    done.unwrap_or_else(|error| {
        error.show(printer);
        error.exit()
    })
}

/// What was asked for was done, but whoever reads stdout does not learn of it.
fn lost(exit: Exit) -> CliError {
    let meant = format_args!(
        "output was lost, since stdout could not be written; the exit code would have been {}",
        exit.code()
    )
    .to_string();
    CliError::new(Exit::Bug, meant).hint("make room where stdout goes")
}

/// Reads no configuration: what is wrong with that, or becomes wrong while a run goes on, must not leave it unguarded.
fn guard(printer: Printer) -> Result<Exit, CliError> {
    logging::start(&Config::default(), printer, Verbosity::User)?;
    on_one_thread(commands::guard())
}

/// Whether a verb is done when nobody reads what it prints.
const fn unread(verb: &Verb) -> Unread {
    match verb {
        // A run depends on the first two. What the next four print explains their exit code, which is the answer. Half of
        // what the last two do would be worse than nothing.
        Verb::Run(_)
        | Verb::Up(_)
        | Verb::Verify(_)
        | Verb::Doctor(_)
        | Verb::Check(_)
        | Verb::Sim(_)
        | Verb::Backup(_)
        | Verb::Restore(_) => Unread::GoesOn,
        Verb::Publish(args) if args.wait || args.follow => Unread::GoesOn,
        Verb::Retry(args) if args.wait || args.follow => Unread::GoesOn,
        Verb::Publish(_)
        | Verb::Watch(_)
        | Verb::Ls(_)
        | Verb::Show(_)
        | Verb::Logs(_)
        | Verb::Cancel(_)
        | Verb::Signal(_)
        | Verb::Retry(_)
        | Verb::Why(_)
        | Verb::Export(_)
        | Verb::Replay(_)
        | Verb::Plan(_)
        | Verb::Hosts(_)
        | Verb::Lock(_)
        | Verb::Quarantine(_)
        | Verb::Worker(_)
        | Verb::Coordinator(_)
        | Verb::Init(_)
        | Verb::Bench(_)
        | Verb::Completions(_)
        | Verb::Guard => Unread::Ends,
    }
}

fn perform(ctx: &Context, verb: Verb) -> Result<Exit, CliError> {
    let verbosity = match &verb {
        Verb::Worker(WorkerArgs { verb: None, .. }) | Verb::Coordinator(_) => Verbosity::Role,
        // `rr up` prints a line of its own for each run.
        Verb::Run(_)
        | Verb::Up(_)
        | Verb::Publish(_)
        | Verb::Watch(_)
        | Verb::Ls(_)
        | Verb::Show(_)
        | Verb::Logs(_)
        | Verb::Cancel(_)
        | Verb::Signal(_)
        | Verb::Retry(_)
        | Verb::Why(_)
        | Verb::Verify(_)
        | Verb::Export(_)
        | Verb::Replay(_)
        | Verb::Doctor(_)
        | Verb::Check(_)
        | Verb::Plan(_)
        | Verb::Hosts(_)
        | Verb::Lock(_)
        | Verb::Quarantine(_)
        | Verb::Worker(WorkerArgs { verb: Some(_), .. })
        | Verb::Init(_)
        | Verb::Backup(_)
        | Verb::Restore(_)
        | Verb::Bench(_)
        | Verb::Sim(_)
        | Verb::Completions(_)
        | Verb::Guard => Verbosity::User,
    };
    logging::start(&ctx.config, ctx.printer, verbosity)?;
    match verb {
        Verb::Run(args) => on_threads(commands::run(ctx, &args)),
        Verb::Up(args) => on_threads(commands::up(ctx, &args)),
        Verb::Publish(args) => on_one_thread(commands::publish(ctx, &args)),
        Verb::Watch(args) => on_one_thread(commands::watch(ctx, &args)),
        Verb::Ls(args) => on_one_thread(commands::ls(ctx, &args)),
        Verb::Show(args) => on_one_thread(commands::show(ctx, &args)),
        Verb::Logs(args) => on_one_thread(commands::logs(ctx, &args)),
        Verb::Cancel(args) => on_one_thread(commands::cancel(ctx, &args)),
        Verb::Signal(args) => on_one_thread(commands::signal(ctx, &args)),
        Verb::Retry(args) => on_one_thread(commands::retry(ctx, &args)),
        Verb::Why(args) => on_one_thread(commands::why(ctx, &args)),
        Verb::Verify(args) => on_one_thread(commands::verify(ctx, &args)),
        Verb::Export(args) => on_one_thread(commands::export(ctx, &args)),
        Verb::Replay(args) => on_one_thread(commands::replay(ctx, &args)),
        Verb::Doctor(args) => on_one_thread(commands::doctor(ctx, &args)),
        Verb::Check(args) => commands::check(ctx, &args),
        Verb::Plan(args) => commands::plan(ctx, &args),
        Verb::Quarantine(args) => on_one_thread(commands::quarantine(ctx, &args)),
        Verb::Hosts(args) => commands::hosts(ctx, args),
        Verb::Lock(args) => on_threads(commands::lock(ctx, &args)),
        Verb::Worker(WorkerArgs { verb: Some(verb), .. }) => on_one_thread(commands::workers(ctx, &verb)),
        Verb::Worker(args) => on_threads(commands::worker(ctx, &args)),
        Verb::Coordinator(args) => on_threads(commands::coordinator(ctx, &args)),
        Verb::Init(args) => on_one_thread(commands::init(ctx, &args)),
        Verb::Backup(args) => on_one_thread(commands::backup(ctx, &args)),
        Verb::Restore(args) => on_one_thread(commands::restore(ctx, &args)),
        Verb::Bench(args) => commands::bench(ctx, &args),
        Verb::Sim(args) => commands::sim(ctx, &args),
        Verb::Completions(args) => commands::completions(ctx.printer, &args, None),
        Verb::Guard => on_one_thread(commands::guard()),
    }
}

fn on_threads(work: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    run_on(Builder::new_multi_thread().worker_threads(MESH_THREADS), work)
}

fn on_one_thread(work: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    run_on(&mut Builder::new_current_thread(), work)
}

fn run_on(builder: &mut Builder, work: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime =
        builder.enable_all().build().map_err(|error| CliError::bug(format_args!("start the runtime: {error}")))?;
    let done = runtime.block_on(Box::pin(work));
    // Nothing that still blocks (a read of a name server, say) may hold up the end.
    runtime.shutdown_background();
    done
}
