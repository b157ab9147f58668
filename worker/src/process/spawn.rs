//! Starts processes: the only place of the worker where a command is made.
//!
//! The program is looked up here, not by the system: so what is wrong can be said exactly, and the standard
//! library takes its quick path (`posix_spawn`), which it leaves when it has to search a changed `PATH`.
#![expect(clippy::disallowed_methods, reason = "the one place where the worker makes a command")]

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use process_wrap::std::{CommandWrap, CommandWrapper as _, ProcessSession};
use rustix::process::Pid;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::{Child, Command};

use super::spec::{OwnEnvironment, Variables};

/// Where a program is looked for when there is no `PATH`, as `execvp` does.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// How often a program that is still open for writing is tried; somebody else's fork may hold it for a moment.
const BUSY_TRIES_MAX: u32 = 10;

/// What is read of what a helper says: some lines.
const HELPER_SAYS_MAX: usize = 4 * 1024;

/// How long a helper's last words are looked for.
const HELPER_LOOK_MAX: Duration = Duration::from_millis(50);

/// Pause between these tries.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Why an attempt was not started, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program where the attempt looks for it.
    #[error("start {0:?}: no such program")]
    NotFound(PathBuf),
    /// It is there and cannot be executed.
    #[error("start {program:?}: {reason}")]
    NotExecutable {
        /// What was found.
        program: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory that it should start in is missing, or closed to us.
    #[error("start in directory {0:?}")]
    BadCwd(PathBuf, #[source] io::Error),
    /// Arguments and environment together, or one of them alone, are more than the system takes.
    #[error("start {0:?}: arguments and environment are too long for this system")]
    TooBig(PathBuf),
    /// No system could run this.
    #[error("start it: {0}")]
    Invalid(&'static str),
    /// This machine has no room now (processes, memory, open files); later it may.
    #[error("start {0:?}: this machine is at a limit")]
    Exhausted(PathBuf, #[source] io::Error),
    /// The system says no for another reason.
    #[error("start {0:?}")]
    System(PathBuf, #[source] io::Error),
}

/// What keeps attempts away from the terminal at which the worker was started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Session {
    /// The session of the worker, which has no terminal: the quick way to start a process.
    #[default]
    Shared,
    /// A session for each attempt: it cannot take the terminal's input, and the terminal cannot stop it. The standard library knows
    /// no quick start for this; a worker of 20 MiB then starts half as many processes a second.
    Own,
}

impl Session {
    /// What this process needs: sessions of their own for attempts if it has a terminal.
    pub fn suited() -> Self {
        // Whoever has no controlling terminal cannot open its name.
        if std::fs::File::open("/dev/tty").is_ok() { Self::Own } else { Self::Shared }
    }
}

/// A process that runs, in a process group of its own.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) pid: Pid,
    /// Where it was asked for.
    pub(super) stdin: Option<Sender>,
    pub(super) stdout: Receiver,
    pub(super) stderr: Receiver,
}

/// Starts a program with nothing around it and waits for its end: what `rr bench` measures attempts against.
///
/// # Errors
/// It cannot be started, or ends otherwise than well.
pub async fn bare(program: &str) -> io::Result<()> {
    let status =
        Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {status}"))) }
}

/// What a process reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Input {
    /// Nothing.
    Empty,
    /// What is written to [`Spawned::stdin`].
    Pipe,
}

/// Runs a program that has little to say to its end, and returns whether it ended well, and what it wrote to standard error. What it
/// leaves in the background may hold that open.
pub(crate) async fn helper(
    program: &Path,
    args: &[String],
    env: &OwnEnvironment,
    session: Session,
    limit: Duration,
) -> io::Result<(bool, String)> {
    let (stderr, stderr_end) = io::pipe()?;
    let mut command = command(program, session)?;
    command.args(args).env_clear().envs(env).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(stderr_end).kill_on_drop(true).spawn()?;
    drop(command);
    let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
        child.kill().await?;
        return Ok((false, format!("no answer within {limit:?}")));
    };
    let stderr = Receiver::from_owned_fd(stderr.into())?;
    let mut said = Vec::with_capacity(HELPER_SAYS_MAX);
    // Whatever was said is there already; a runtime has to look before it knows.
    tokio::time::timeout(HELPER_LOOK_MAX, stderr.readable()).await.unwrap_or(Ok(()))?;
    match stderr.try_read_buf(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok((status?.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// Starts `argv` with exactly `env` and all that is ours: directory, standard streams, process group.
pub(super) fn foreground(argv: &[String], env: &OwnEnvironment) -> Result<Child, SpawnError> {
    let Some((name, rest)) = argv.split_first() else {
        return Err(SpawnError::Invalid("it names no program"));
    };
    let cwd = std::env::current_dir().map_err(|error| SpawnError::BadCwd(".".into(), error))?;
    let path = env.get(OsStr::new("PATH")).map_or_else(|| OsStr::new(PATH_DEFAULT), |path| path.as_os_str());
    let program = look_up(name, path, &cwd)?;
    let spawned = Command::new(&program).arg0(name).args(rest).env_clear().envs(env).spawn();
    spawned.map_err(|error| explain(program, cwd, error))
}

/// Where a program lies, as an attempt with this `PATH` would find it.
///
/// # Errors
/// [`SpawnError`].
pub fn find(name: &str, env: &OwnEnvironment) -> Result<PathBuf, SpawnError> {
    let path = env.get(OsStr::new("PATH")).map_or_else(|| OsStr::new(PATH_DEFAULT), |path| path.as_os_str());
    let found = look_up(name, path, Path::new("/"))?;
    if found.is_file() { Ok(found) } else { Err(SpawnError::NotFound(found)) }
}

/// Starts `argv` in `cwd` with exactly `env`.
pub(super) async fn spawn(
    argv: &[&str],
    env: &Variables<'_>,
    cwd: &Path,
    session: Session,
    input: Input,
) -> Result<Spawned, SpawnError> {
    let Some((name, rest)) = argv.split_first() else {
        return Err(SpawnError::Invalid("it names no program"));
    };
    if argv.iter().any(|arg| arg.contains('\0')) {
        return Err(SpawnError::Invalid("an argument holds a NUL"));
    }
    let cwd = std::path::absolute(cwd).map_err(|error| SpawnError::BadCwd(cwd.into(), error))?;
    let path = env.get(OsStr::new("PATH")).copied().unwrap_or_else(|| OsStr::new(PATH_DEFAULT));
    let program = look_up(name, path, &cwd)?;
    let mut tries = 0;
    loop {
        match start(command(&program, session), name, rest, env, &cwd, input) {
            Ok(spawned) => return Ok(spawned),
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) => return Err(explain(program, cwd, error)),
        }
    }
}

fn start(
    command: io::Result<Command>,
    name: &str,
    args: &[&str],
    env: &Variables<'_>,
    cwd: &Path,
    input: Input,
) -> io::Result<Spawned> {
    let mut command = command?;
    let (stdout, stdout_end) = io::pipe()?;
    let (stderr, stderr_end) = io::pipe()?;
    let stdin = match input {
        Input::Empty => {
            command.stdin(Stdio::null());
            None
        }
        Input::Pipe => {
            let (stdin_end, stdin) = io::pipe()?;
            command.stdin(stdin_end);
            Some(Sender::from_owned_fd(stdin.into())?)
        }
    };
    command
        .arg0(name)
        .args(args)
        .env_clear()
        .envs(env)
        .current_dir(cwd)
        .stdout(stdout_end)
        .stderr(stderr_end)
        .kill_on_drop(true);
    let child = command.spawn()?;
    // The command holds the writing ends; with them open, the pipes would never end.
    drop(command);
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    Ok(Spawned {
        pid: pid.ok_or_else(|| io::Error::other("the process has no id"))?,
        child,
        stdin,
        stdout: Receiver::from_owned_fd(stdout.into())?,
        stderr: Receiver::from_owned_fd(stderr.into())?,
    })
}

/// A command in a process group of its own, and in a session of its own where one is wanted.
pub(super) fn command(program: &Path, session: Session) -> io::Result<Command> {
    let mut command = Command::new(program);
    match session {
        Session::Shared => drop(command.process_group(0)),
        Session::Own => {
            // Only its part before the start is used, which makes the session; the rest is done here for both kinds.
            let nothing_else = CommandWrap::from(std::process::Command::new(program));
            ProcessSession.pre_spawn(command.as_std_mut(), &nothing_else)?;
        }
    }
    Ok(command)
}

/// The file that `name` means, as `execvp` would find it after a change to `cwd`.
fn look_up(name: &str, path: &OsStr, cwd: &Path) -> Result<PathBuf, SpawnError> {
    if name.is_empty() {
        return Err(SpawnError::Invalid("the name of the program is empty"));
    }
    if name.contains('/') {
        let program = cwd.join(name);
        return match fault(&program) {
            // Let the start say what else is wrong, the directory for example.
            Some(Fault::Absent) if cwd.is_dir() => Err(SpawnError::NotFound(program)),
            Some(Fault::Unfit(reason)) => Err(SpawnError::NotExecutable { program, reason }),
            Some(Fault::Absent) | None => Ok(program),
        };
    }
    let mut unfit = None;
    for dir in std::env::split_paths(path) {
        let program = cwd.join(dir).join(name);
        match fault(&program) {
            None => return Ok(program),
            Some(Fault::Absent) => {}
            Some(Fault::Unfit(reason)) => {
                unfit.get_or_insert(SpawnError::NotExecutable { program, reason });
            }
        }
    }
    Err(unfit.unwrap_or_else(|| SpawnError::NotFound(name.into())))
}

enum Fault {
    Absent,
    Unfit(&'static str),
}

fn fault(program: &Path) -> Option<Fault> {
    match program.metadata() {
        Ok(meta) if meta.is_dir() => Some(Fault::Unfit("it is a directory")),
        Ok(meta) if !meta.is_file() => Some(Fault::Unfit("it is not a file")),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some(Fault::Unfit("it is not executable")),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some(Fault::Unfit("its directory is closed to this user"))
        }
        Err(_) => Some(Fault::Absent),
    }
}

fn explain(program: PathBuf, cwd: PathBuf, error: io::Error) -> SpawnError {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::TOOBIG) => SpawnError::TooBig(program),
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY) => {
            SpawnError::Exhausted(program, error)
        }
        Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) if !can_enter(&cwd) => SpawnError::BadCwd(cwd, error),
        Some(Errno::NOENT | Errno::NOTDIR) if program.exists() => {
            SpawnError::NotExecutable { program, reason: "the interpreter that it asks for is missing" }
        }
        Some(Errno::NOENT | Errno::NOTDIR) => SpawnError::NotFound(program),
        Some(Errno::ACCESS | Errno::PERM) => {
            SpawnError::NotExecutable { program, reason: "this user may not execute it" }
        }
        Some(Errno::NOEXEC) => {
            SpawnError::NotExecutable { program, reason: "its format is not known (is the first line, #!, missing?)" }
        }
        _ => SpawnError::System(program, error),
    }
}

fn can_enter(dir: &Path) -> bool {
    dir.is_dir() && rustix::fs::access(dir, rustix::fs::Access::EXEC_OK).is_ok()
}
