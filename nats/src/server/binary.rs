//! A nats-server program and its version, as the program itself says it.
#![expect(clippy::disallowed_methods, reason = "only the binary itself knows its version")]

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// The oldest version that will do: message schedules and the pinned client as rr uses them came with it.
pub const OLDEST: Version = Version { major: 2, minor: 14, patch: 0, pre: None };

/// A program answers `--version` in milliseconds; this is for a cold disk on a busy machine.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// What is read of a program's answer; the true one has 25 bytes.
const ANSWER_BYTES_MAX: u64 = 4096;

/// A nats-server program that said its version and is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// What it said.
    pub version: Version,
}

impl Binary {
    /// Asks the program at `path` for its version.
    pub(super) async fn probe(path: &Path) -> Result<Self, Unusable> {
        let said = tokio::time::timeout(VERSION_WITHIN, ask(path))
            .await
            .map_err(|_elapsed| Unusable::Silent { path: path.to_owned(), within: VERSION_WITHIN })?
            .map_err(|source| Unusable::Start { path: path.to_owned(), source })?;
        let version = said
            .trim()
            .strip_prefix("nats-server: ")
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| Unusable::NotNats { path: path.to_owned(), said: said.trim().to_owned() })?;
        if version < OLDEST {
            return Err(Unusable::TooOld { path: path.to_owned(), found: version, needed: OLDEST });
        }
        Ok(Self { path: path.to_owned(), version })
    }
}

async fn ask(path: &Path) -> io::Result<String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut said).await?;
    }
    child.wait().await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Why a program cannot be used as the nats-server.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no program there, or it cannot be started.
    #[error("run {path:?}")]
    Start {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It did not answer.
    #[error("learn the version of {path:?}: no answer within {within:?}")]
    Silent {
        /// The program.
        path: PathBuf,
        /// How long it had.
        within: Duration,
    },
    /// It is some other program.
    #[error("learn the version of {path:?}: it said {said:?}, which is not what a nats-server says")]
    NotNats {
        /// The program.
        path: PathBuf,
        /// The start of what it said.
        said: String,
    },
    /// It lacks what rr needs.
    #[error("use {path:?}: it is nats-server {found}, and {needed} or newer is needed")]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The oldest version that will do.
        needed: Version,
    },
}

/// A version of nats-server, ordered as semantic versions are: `2.14.0-RC.1` comes before `2.14.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    pre: Option<String>,
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&self.pre, &other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(mine), Some(others)) => mine.cmp(others),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, pre } = self;
        write!(f, "{major}.{minor}.{patch}")?;
        pre.iter().try_for_each(|pre| write!(f, "-{pre}"))
    }
}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `2.15.1`, `v2.15.1` and `v2.15.0-RC.2`; build metadata after a `+` is dropped, as it orders nothing.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bad = || VersionError(text.to_owned());
        let plain = text.strip_prefix('v').unwrap_or(text);
        let plain = plain.split_once('+').map_or(plain, |(version, _build)| version);
        let (numbers, pre) = match plain.split_once('-') {
            Some((_, "")) => return Err(bad()),
            Some((numbers, pre)) => (numbers, Some(pre.to_owned())),
            None => (plain, None),
        };
        let numbers: Vec<u32> = numbers.split('.').map(number).collect::<Option<_>>().ok_or_else(bad)?;
        match *numbers.as_slice() {
            [major, minor, patch] => Ok(Self { major, minor, patch, pre }),
            _ => Err(bad()),
        }
    }
}

/// Only digits: `u32::from_str` alone would read `+2` as well.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read a version like 2.14.0 in {0:?}")]
pub struct VersionError(String);

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_read_and_written_the_same() {
        for (text, written) in [
            ("2.15.1", Some("2.15.1")),
            ("v2.15.1", Some("2.15.1")),
            ("v2.14.0-RC.1", Some("2.14.0-RC.1")),
            ("2.14.0-dev-3", Some("2.14.0-dev-3")),
            ("2.14.0+build.7", Some("2.14.0")),
            ("", None),
            ("2", None),
            ("2.14", None),
            ("2.14.0.1", None),
            ("2.+14.0", None),
            ("2..0", None),
            ("2.14.x", None),
            ("2.14.0-", None),
            ("99999999999.0.0", None),
            ("vv2.14.0", None),
        ] {
            let read = text.parse::<Version>().ok().map(|version| version.to_string());
            assert_eq!(read.as_deref(), written, "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_and_a_pre_release_comes_first() {
        let ascending =
            ["1.9.9", "2.2.0", "2.13.9", "2.14.0-RC.1", "2.14.0-RC.2", "2.14.0", "2.14.1-dev", "2.15.1", "2.100.0"];
        let read: Vec<Version> = ascending.iter().map(|text| text.parse().unwrap()).collect();
        assert!(read.is_sorted_by(|a, b| a < b), "{read:?}");
        assert_eq!(super::OLDEST, "2.14.0".parse().unwrap());
    }
}
