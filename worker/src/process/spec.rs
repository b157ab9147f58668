//! What an attempt is to run: program, environment, directory, limits.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::capture::CaptureLimits;
use super::spawn::SpawnError;

/// The variable by which every process of an attempt is found again, whatever session it moved to.
pub const ATTEMPT_VARIABLE: &str = "RR_ATTEMPT_ID";

/// The variable that names the worker instance that started a process. It is for people who look
/// at a process; nothing is killed by it, because daemons that an attempt left on purpose bear it too.
pub const INSTANCE_VARIABLE: &str = "RR_WORKER_INSTANCE";

/// `PATH` of a clean environment: where distributions put programs, administrators' own first.
const CLEAN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest marker, in bytes: a line to the guard stays below the 4096 bytes that a pipe takes whole.
const MARKER_BYTES_MAX: usize = 512;

/// The environment variables of the worker itself, read once when it started.
pub type OwnEnvironment = BTreeMap<OsString, OsString>;

/// The variables of one attempt.
pub(super) type Variables<'a> = BTreeMap<&'a OsStr, &'a OsStr>;

/// One attempt, as the executor needs to know it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What is executed.
    pub program: Program,
    /// The variables that it sees.
    pub env: Environment,
    /// The directory that it starts in.
    pub cwd: Cwd,
    /// Time from the start until the whole tree is ended; none means no limit.
    pub timeout: Option<Duration>,
    /// Time between TERM and KILL on timeout and cancel.
    pub grace: Duration,
    /// Cancelled when the rest of the grace is not to be waited for.
    pub hurry: CancellationToken,
    /// Text that no other attempt has; it becomes [`ATTEMPT_VARIABLE`]. Printable ASCII without spaces, at most 512 bytes.
    pub marker: String,
    /// How much of the output is kept.
    pub capture: CaptureLimits,
}

/// What is executed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Program {
    /// A program and its arguments; no shell is near.
    Argv(Vec<String>),
    /// A script whose text was fixed when the flow was written, handed to a shell as its last argument.
    Shell {
        /// The shell and its options, for example `/bin/sh -c`.
        shell: Vec<String>,
        /// The text of the script.
        script: String,
    },
}

impl Program {
    /// The argument vector.
    pub(super) fn argv(&self) -> Vec<&str> {
        match self {
            Self::Argv(argv) => argv.iter().map(String::as_str).collect(),
            Self::Shell { shell, script } => shell.iter().map(String::as_str).chain([script.as_str()]).collect(),
        }
    }
}

/// The variables of an attempt: what is inherited, and what is set on top of it.
#[derive(Clone, Debug)]
pub struct Environment {
    /// How much of the worker's own environment the attempt sees.
    pub inherit: Inherit,
    /// Variables of this attempt; they win over inherited ones.
    pub set: BTreeMap<String, String>,
}

/// How much of the worker's own environment an attempt sees.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inherit {
    /// All of it.
    All,
    /// Nothing but a fixed `PATH` and the worker's `HOME` and `LANG`.
    Clean,
    /// As `Clean`, and these.
    Some(Vec<String>),
}

impl Environment {
    /// The complete environment, without the worker's own two marks.
    pub(super) fn resolve<'a>(&'a self, own: &'a OwnEnvironment) -> Result<Variables<'a>, SpawnError> {
        let pair = |(name, value): (&'a OsString, &'a OsString)| (name.as_os_str(), value.as_os_str());
        let mut all = match &self.inherit {
            Inherit::All => own.iter().map(pair).collect(),
            Inherit::Clean => clean(own),
            Inherit::Some(names) => {
                let mut some = clean(own);
                some.extend(names.iter().filter_map(|name| own.get_key_value(OsStr::new(name))).map(pair));
                some
            }
        };
        for (name, value) in &self.set {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(SpawnError::Invalid("an environment variable that no process can have"));
            }
            all.insert(OsStr::new(name), OsStr::new(value));
        }
        Ok(all)
    }
}

fn clean(own: &OwnEnvironment) -> Variables<'_> {
    let or = |name, default| {
        let value = own.get(OsStr::new(name)).map(OsString::as_os_str);
        (OsStr::new(name), value.unwrap_or_else(|| OsStr::new(default)))
    };
    [(OsStr::new("PATH"), OsStr::new(CLEAN_PATH)), or("HOME", "/"), or("LANG", "C.UTF-8")].into()
}

/// The directory that an attempt starts in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cwd {
    /// This one; it must exist.
    Given(PathBuf),
    /// A new directory under this parent, for this attempt alone (mode 0700), removed afterwards. A worker
    /// that dies leaves it; so the parent belongs to one worker, which empties it when it starts.
    Fresh(PathBuf),
}

/// Whether a text can be a marker: in an environment, and in a line to the guard.
pub(super) fn is_marker(text: &str) -> bool {
    (1..=MARKER_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnEnvironment {
        [("PATH", "/mine"), ("HOME", "/home/me"), ("SECRET", "x"), ("TZ", "UTC")]
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn names(inherit: Inherit) -> Vec<String> {
        let env = Environment { inherit, set: [("MINE".into(), "1".into())].into() };
        let own = own();
        let all = env.resolve(&own).unwrap();
        all.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
    }

    #[test]
    fn an_environment_holds_what_is_inherited_and_what_is_set() {
        let path = format!("PATH={CLEAN_PATH}");
        assert_eq!(names(Inherit::All), ["HOME=/home/me", "MINE=1", "PATH=/mine", "SECRET=x", "TZ=UTC"]);
        assert_eq!(names(Inherit::Clean), ["HOME=/home/me", "LANG=C.UTF-8", "MINE=1", &path]);
        assert_eq!(
            names(Inherit::Some(vec!["TZ".into(), "ABSENT".into()])),
            ["HOME=/home/me", "LANG=C.UTF-8", "MINE=1", &path, "TZ=UTC"]
        );
    }

    #[test]
    fn variables_that_no_process_can_have_are_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            let env = Environment { inherit: Inherit::Clean, set: [(name.into(), value.into())].into() };
            assert!(env.resolve(&own()).is_err(), "{name:?}={value:?}");
        }
    }

    #[test]
    fn a_marker_fits_into_an_environment_and_a_line() {
        for (text, fits) in [("r1.0.1", true), ("", false), ("a b", false), ("a\n", false), ("ä", false)] {
            assert_eq!(is_marker(text), fits, "{text:?}");
        }
        assert!(!is_marker(&"x".repeat(MARKER_BYTES_MAX + 1)));
    }
}
