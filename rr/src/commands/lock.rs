//! `rr lock`: a command under a lock of the mesh, and `rr lock ls`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use anstyle::Style;
use futures::FutureExt as _;
use jiff::Timestamp;
use rr_nats::{LOCK_TTL_MIN, Lock, LockEntry, LockError, LockLost, LockRequest, LockWait, Mesh, Taking};
use rr_schemas::{
    lock::{HeldLock, LockHolder},
    name::{InstanceId, Name},
};
use rr_worker::process::{Attended, SpawnError, lock_variables};
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::LockArgs;
use crate::context::Context;
use crate::environment::now;
use crate::error::{CliError, chain};
use crate::exit::Exit;
use crate::locks::{held_words, holder_words};
use crate::mesh::{self, Place};
use crate::roles::GuardKeeper;
use crate::signals::PassedOn;
use crate::text::{ago, between, duration_words, escape, table};

/// What shells say of a command that was ended by a signal: this and the signal's number.
const SIGNAL_BASE: i32 = 128;
/// What shells say of a program that is not there.
const NO_PROGRAM: u8 = 127;
/// What shells say of a program that cannot be started.
const NO_START: u8 = 126;

/// Runs a command under a lock, or lists locks.
pub(crate) async fn lock(ctx: &Context, args: &LockArgs) -> Result<Exit, CliError> {
    if args.command.is_empty() {
        if args.name == "ls" {
            return ls(ctx).await;
        }
        return Err(CliError::new(Exit::Usage, format_args!("no command to run under lock {:?}", args.name))
            .hint("rr lock NAME -- COMMAND; rr lock ls lists the locks that are held"));
    }
    let name: Name = args.name.parse().map_err(|error| CliError::new(Exit::BadInput, format_args!("lock {error}")))?;
    if args.ttl.as_duration() < LOCK_TTL_MIN {
        return Err(CliError::new(Exit::BadInput, format_args!("--ttl is 2s at least, got {}", args.ttl))
            .hint("the server counts whole seconds, and a lock has to be renewed before it runs out"));
    }
    let mesh = Place::need(ctx)?.connect("lock").await?;
    let mut signals = PassedOn::new()?;
    let guard = GuardKeeper::start()?;
    let done = match take(ctx, args, &name, &mesh, &mut signals).await {
        Ok(Ok(lock)) => under(ctx, args, &name, lock, &guard, &mut signals).await,
        Ok(Err(exit)) => Ok(exit),
        Err(error) => Err(error),
    };
    guard.stop().await;
    mesh.drain().await;
    done
}

/// What is wanted, in our words.
fn wanted(ctx: &Context, args: &LockArgs, name: &Name) -> HeldLock {
    let program = args.command.first().map(|program| program.chars().take(100).collect()).unwrap_or_default();
    HeldLock {
        lock: name.clone(),
        holder: LockHolder::Command { by: ctx.who(), pid: std::process::id(), program },
        taking: InstanceId::random(&mut fastrand::Rng::new()),
        since: now(),
        token: None,
    }
}

/// Waits for the lock. Where waiting has ended before, the code to end with.
async fn take(
    ctx: &Context,
    args: &LockArgs,
    name: &Name,
    mesh: &Mesh,
    signals: &mut PassedOn,
) -> Result<Result<Lock, Exit>, CliError> {
    let mut request = mesh.lock(wanted(ctx, args, name), args.ttl.as_duration());
    if args.no_wait {
        let tried = tokio::select! {
            biased;
            passed = signals.next() => Err(passed),
            tried = request.try_take() => Ok(tried),
        };
        let tried = match tried {
            Ok(tried) => tried,
            Err(passed) => {
                request.withdraw().await;
                return Ok(Err(ended_by(passed.signal.as_raw())));
            }
        };
        return match tried {
            Ok(lock) => Ok(Ok(lock)),
            Err(LockError::Held(entry)) => {
                ctx.printer.note(format_args!("lock {name} is {}", held_words(&entry, now())));
                Ok(Err(Exit::GaveUpWaiting))
            }
            Err(error) => {
                request.withdraw().await;
                Err(not_taken(name, &error))
            }
        };
    }
    wait(ctx, args, name, request, signals).await
}

async fn wait(
    ctx: &Context,
    args: &LockArgs,
    name: &Name,
    request: LockRequest,
    signals: &mut PassedOn,
) -> Result<Result<Lock, Exit>, CliError> {
    let mut why = Exit::GaveUpWaiting;
    let mut told_of: Option<LockEntry> = None;
    let mut trouble = None;
    let taking = {
        let stop = async {
            tokio::select! {
                () = sleep(args.wait.as_duration()) => {}
                passed = signals.next() => why = ended_by(passed.signal.as_raw()),
            }
        };
        let told = |wait: LockWait<'_>| match wait {
            LockWait::Holder(entry) => {
                trouble = None;
                if told_of.as_ref().is_none_or(|before| before.token != entry.token) {
                    ctx.printer.note(format_args!("waiting for lock {name}, {}", held_words(entry, now())));
                    told_of = Some(entry.clone());
                }
            }
            LockWait::Trouble(error) => {
                if trouble.is_none() {
                    ctx.printer.warn(format_args!("lock {name} cannot be taken now: {error}"));
                }
                trouble = Some(error.clone());
            }
        };
        request.take(stop, told).await.map_err(|error| not_taken(name, &error))?
    };
    match taking {
        Taking::Taken(lock) => Ok(Ok(*lock)),
        Taking::Stopped => {
            if why == Exit::GaveUpWaiting {
                if let Some(error) = trouble {
                    return Err(not_taken(name, &error));
                }
                ctx.printer.note(format_args!("gave up waiting for lock {name} after {}", args.wait));
            }
            Ok(Err(why))
        }
    }
}

/// A lock that the mesh does not give.
fn not_taken(name: &Name, error: &LockError) -> CliError {
    let text = format!("cannot take lock {name}: {error}");
    match error {
        LockError::Held(_) => CliError::new(Exit::GaveUpWaiting, text),
        LockError::Publish(rr_nats::PublishError::NotFound { .. }) => CliError::new(Exit::Unreachable, text)
            .hint("a mesh of an earlier rr has no locks; its admin adds them with: rr init"),
        LockError::Publish(error) => CliError::new(mesh::publish_told(error).exit(), text),
        LockError::Read(error) => CliError::new(mesh::told(error).exit(), text),
    }
}

/// Runs the command while the lock is held.
async fn under(
    ctx: &Context,
    args: &LockArgs,
    name: &Name,
    mut lock: Lock,
    guard: &GuardKeeper,
    signals: &mut PassedOn,
) -> Result<Exit, CliError> {
    // What came while the mesh gave the lock is for us: there is no command yet that could hear it.
    if let Some(passed) = signals.next().now_or_never() {
        give_back(ctx, name, lock, signals).await;
        return Ok(ended_by(passed.signal.as_raw()));
    }
    let mut env = ctx.environment.all().clone();
    env.extend(lock_variables(name, lock.token()).map(|(name, value)| (name.into(), value.into())));
    let marker = format!("lock.{name}.{}", InstanceId::random(&mut fastrand::Rng::new()));
    let mut command = match Attended::start(&args.command, &env, marker, &guard.guard()) {
        Ok(command) => command,
        Err(error) => {
            give_back(ctx, name, lock, signals).await;
            return Err(not_started(&error));
        }
    };
    let ended = loop {
        tokio::select! {
            biased;
            status = command.wait() => break Ok(status),
            passed = signals.next() => {
                if !passed.by_terminal {
                    command.pass_on(passed.signal);
                }
            }
            lost = lock.keep() => break Err(lost),
        }
    };
    match ended {
        Ok(status) => {
            give_back(ctx, name, lock, signals).await;
            let status = status.map_err(|error| CliError::bug(format_args!("learn how the command ended: {error}")))?;
            Ok(exit_of(status))
        }
        Err(lost) => {
            ctx.printer.warn(format_args!("lock {name} is lost, the command is ended"));
            // Half of the time that is left is the command's, the other half is for ending it.
            let survivors = command.end(lock.margin() / 2).await;
            if survivors == 0 {
                give_back(ctx, name, lock, signals).await;
            }
            Err(lost_told(name, lost, survivors))
        }
    }
}

/// Gives the lock back. Nobody has to wait for a server that does not answer: a signal ends that.
async fn give_back(ctx: &Context, name: &Name, lock: Lock, signals: &mut PassedOn) {
    let given = tokio::select! {
        given = lock.release() => given.map_err(|error| error.to_string()),
        passed = signals.next() => Err(format!("signal {}", passed.signal.as_raw())),
    };
    if let Err(reason) = given {
        ctx.printer.warn(format_args!("lock {name} is not given back, it runs out by itself: {reason}"));
    }
}

fn lost_told(name: &Name, lost: LockLost, survivors: usize) -> CliError {
    let survive = if survivors == 0 { String::new() } else { format!("; {survivors} processes survive KILL") };
    CliError::new(Exit::Failed, format_args!("lock {name} was lost, and the command was ended: {lost}{survive}"))
        .hint("a longer --ttl bears longer breaks of the link or the server")
}

fn not_started(error: &SpawnError) -> CliError {
    let code = match error {
        SpawnError::NotFound(_) => NO_PROGRAM,
        SpawnError::NotExecutable { .. }
        | SpawnError::BadCwd(..)
        | SpawnError::TooBig(_)
        | SpawnError::Invalid(_)
        | SpawnError::Exhausted(..)
        | SpawnError::System(..) => NO_START,
    };
    CliError::new(Exit::OfCommand(code), chain(error))
}

/// The code of a command that has ended.
fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::OfCommand(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => ended_by(signal.unwrap_or_default()),
    }
}

fn ended_by(signal: i32) -> Exit {
    Exit::OfCommand(u8::try_from(SIGNAL_BASE + signal).unwrap_or(u8::MAX))
}

/// A lock, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    lock: &'a str,
    token: u64,
    /// Null where its entry cannot be read.
    holder: Option<&'a LockHolder>,
    since: Option<Timestamp>,
    renewed: Timestamp,
    /// Null where it never runs out, which is nobody of ours.
    expires: Option<Timestamp>,
}

impl<'a> From<&'a LockEntry> for Listed<'a> {
    fn from(entry: &'a LockEntry) -> Self {
        let held = entry.held.as_ref();
        Self {
            lock: held.map_or(entry.key.as_str(), |held| held.lock.as_str()),
            token: entry.token,
            holder: held.map(|held| &held.holder),
            since: held.map(|held| held.since),
            renewed: entry.renewed,
            expires: entry.expires,
        }
    }
}

async fn ls(ctx: &Context) -> Result<Exit, CliError> {
    let mesh = Place::need(ctx)?.connect("lock").await?;
    let entries = mesh.locks().await.map_err(|error| mesh::told(&error))?;
    let listed: Vec<Listed<'_>> = entries.iter().map(Listed::from).collect();
    if ctx.printer.is_json() {
        ctx.printer.json_document(&listed)?;
        return Ok(Exit::Succeeded);
    }
    if listed.is_empty() {
        ctx.printer.note("no lock is held");
        return Ok(Exit::Succeeded);
    }
    let now = now();
    let rows: Vec<Vec<(Style, String)>> =
        entries.iter().zip(&listed).map(|(entry, listed)| row(entry, listed, now)).collect();
    for line in table(&["LOCK", "HOLDER", "SINCE", "TOKEN", "EXPIRES"], &rows) {
        ctx.printer.line(line)?;
    }
    Ok(Exit::Succeeded)
}

fn row(entry: &LockEntry, listed: &Listed<'_>, now: Timestamp) -> Vec<(Style, String)> {
    let expires = match listed.expires {
        None => "never".to_owned(),
        Some(expires) if between(now, expires) == Duration::ZERO => "now".to_owned(),
        Some(expires) => format!("in {}", duration_words(between(now, expires))),
    };
    let since = listed.since.map_or_else(|| "-".to_owned(), |since| ago(since, now));
    let cells = [escape(listed.lock.as_bytes()), holder_words(entry), since, listed.token.to_string(), expires];
    cells.map(|cell| (Style::new(), cell)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_a_shell() {
        for (raw, code) in [(0, 0), (0x0100, 1), (0xff00, 255), (15, 143), (9, 137)] {
            assert_eq!(exit_of(ExitStatus::from_raw(raw)).code(), code);
        }
        assert_eq!(not_started(&SpawnError::NotFound("x".into())).exit().code(), 127);
        assert_eq!(not_started(&SpawnError::TooBig("x".into())).exit().code(), 126);
    }
}
