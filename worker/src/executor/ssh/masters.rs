//! One connection for each host, which all attempts on it share: `ssh`'s own multiplexing.
//!
//! A master is made before the first attempt on a host and apart from it: so it is known whether the host can be reached before
//! anything is sent there, and the end of an attempt does not end it. It lives on in the background for a while after
//! its last attempt, and ends when the host is silent for [`SILENCE_MAX`] seconds.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_schemas::host::Host;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use twox_hash::XxHash3_64;

use crate::config::SshOptions;
use crate::process::{OwnEnvironment, Session, helper};

/// Longest path of a directory of sockets: a socket's path has at most 104 bytes on some systems, the name takes 17 of them, and
/// ssh another 17 while it makes one.
const DIR_BYTES_MAX: usize = 68;

/// How long a master that was there is believed to be there.
const BELIEVED: Duration = Duration::from_millis(500);

/// How long a question to a master on this machine may take.
const ASK_MAX: Duration = Duration::from_secs(5);

/// Seconds between two signs of life that are asked for over a connection, and how many may be missing.
const SIGN_EVERY: u32 = 5;
const SIGNS_MISSING_MAX: u32 = 3;

/// The connections of one worker.
#[derive(Debug)]
pub(super) struct Masters {
    pub(super) program: PathBuf,
    pub(super) options: SshOptions,
    environment: OwnEnvironment,
    session: Session,
    dir: Directory,
    /// A std mutex, held for one look.
    hosts: Mutex<HashMap<Host, Arc<Seen>>>,
}

/// What is known of the connection to a host.
#[derive(Debug)]
struct Seen {
    /// One attempt at a time looks for the connection.
    turn: Semaphore,
    /// When it was last there. A std mutex, held for one look.
    at: Mutex<Option<Instant>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), at: Mutex::default() }
    }
}

impl Seen {
    fn at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self) -> bool {
        self.at().is_some_and(|at| at.elapsed() < BELIEVED)
    }
}

impl Masters {
    /// Prepares a directory for the sockets, below `state_dir` where its path is short enough.
    pub(super) fn new(
        program: PathBuf,
        options: SshOptions,
        environment: OwnEnvironment,
        state_dir: &Path,
    ) -> io::Result<Self> {
        let dir = Directory::make(state_dir)?;
        let session = Session::suited();
        Ok(Self { program, options, environment, session, dir, hosts: Mutex::default() })
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// Why there is none, in the words of ssh.
    pub(super) async fn ready(&self, host: &Host) -> Result<(), NoConnection> {
        let seen = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(host.clone()).or_default())
        };
        // Attempts that come at once wait for one connection. A semaphore that nobody closes never fails.
        let _turn = seen.turn.acquire().await;
        if seen.is_fresh() {
            return Ok(());
        }
        if !self.ask(host, "check").await {
            *seen.at() = None;
            self.connect(host).await?;
        }
        *seen.at() = Some(Instant::now());
        Ok(())
    }

    /// Forgets that a connection was seen: it has failed.
    pub(super) fn doubt(&self, host: &Host) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        let hosts: Vec<Host> =
            self.hosts.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|it| it.0).collect();
        futures::future::join_all(hosts.iter().map(|host| self.ask(host, "exit"))).await;
    }

    async fn ask(&self, host: &Host, what: &str) -> bool {
        let mut args = self.base(host);
        args.extend(["-O".to_owned(), what.to_owned(), "--".to_owned(), host.to_string()]);
        matches!(helper(&self.program, &args, &self.environment, self.session, ASK_MAX).await, Ok((true, _)))
    }

    async fn connect(&self, host: &Host) -> Result<(), NoConnection> {
        // One that was killed leaves its socket; with it there, ssh would make a connection that nobody can share and that never
        // ends by itself.
        fs::remove_file(self.dir.socket(host)).unwrap_or_default();
        let persist = self.options.persist.as_duration().as_secs().max(1);
        let mut args = self.base(host);
        args.extend(["-M", "-N", "-f", "-o"].map(str::to_owned));
        args.extend([format!("ControlPersist={persist}"), "--".to_owned(), host.to_string()]);
        // Twice: for the connection, and for what is said over it until the user is known.
        let limit = self.options.connect_timeout.as_duration() * 2;
        match helper(&self.program, &args, &self.environment, self.session, limit).await {
            Ok((true, _)) => Ok(()),
            Ok((false, said)) => Err(NoConnection::of(&reason(&said))),
            Err(error) => Err(NoConnection::Unwelcome(format!("start {}: {error}", self.program.display()))),
        }
    }

    /// The options of every call. The first value of an option counts: what would break the executor comes before what
    /// the user gives, the rest after it.
    pub(super) fn base(&self, host: &Host) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(config) = &self.options.config {
            args.extend(["-F".to_owned(), config.display().to_string()]);
        }
        let fixed = [
            "BatchMode=yes".to_owned(),
            format!("ControlPath={}", self.dir.socket(host).display()),
            "RequestTTY=no".to_owned(),
            "RemoteCommand=none".to_owned(),
            "PermitLocalCommand=no".to_owned(),
            "EscapeChar=none".to_owned(),
        ];
        let seconds = self.options.connect_timeout.as_duration().as_secs().max(1);
        let defaults = [
            "ClearAllForwardings=yes".to_owned(),
            format!("ConnectTimeout={seconds}"),
            format!("ServerAliveInterval={SIGN_EVERY}"),
            format!("ServerAliveCountMax={SIGNS_MISSING_MAX}"),
        ];
        for option in fixed.iter().chain(&self.options.options).chain(&defaults) {
            args.extend(["-o".to_owned(), option.clone()]);
        }
        args
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum NoConnection {
    /// The machine does not answer, as far as the network can tell: it may be down.
    Away(String),
    /// It answers and does not let us in, or we cannot even ask: a person must change something.
    Unwelcome(String),
}

/// What ssh says when nobody answers.
const AWAY: [&str; 12] = [
    "Connection refused",
    "Connection timed out",
    "Operation timed out",
    "Connection reset",
    "Connection closed by",
    "No route to host",
    "Host is down",
    "Network is unreachable",
    "Could not resolve hostname",
    "banner exchange",
    "kex_exchange_identification",
    "no answer within",
];

impl NoConnection {
    fn of(reason: &str) -> Self {
        if AWAY.iter().any(|words| reason.contains(words)) {
            Self::Away(reason.to_owned())
        } else {
            Self::Unwelcome(reason.to_owned())
        }
    }
}

/// The last line in which ssh says something.
pub(super) fn reason(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map_or_else(|| "ssh gives no reason".to_owned(), |line| format!("ssh: {}", line.trim_start_matches("ssh: ")))
}

/// A directory for sockets that only this user can enter.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    is_ours: bool,
}

impl Directory {
    fn make(state_dir: &Path) -> io::Result<Self> {
        let near = std::path::absolute(state_dir)?.join("ssh");
        if near.as_os_str().len() <= DIR_BYTES_MAX {
            DirBuilder::new().recursive(true).mode(0o700).create(&near)?;
            // It may be of an earlier life; whoever can enter it can use the connections.
            fs::set_permissions(&near, fs::Permissions::from_mode(0o700))?;
            return Ok(Self { path: near, is_ours: false });
        }
        let path = std::env::temp_dir().join(format!("rr-ssh-{:016x}", fastrand::u64(..)));
        if path.as_os_str().len() > DIR_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the paths of {} and {} are too long for sockets in them",
                near.display(),
                path.display()
            )));
        }
        // Not recursive: what is there already is somebody else's.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, is_ours: true })
    }

    fn socket(&self, host: &Host) -> PathBuf {
        self.path.join(format!("{:016x}", XxHash3_64::oneshot(host.to_string().as_bytes())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_ours {
            // What cannot be removed is an empty directory, or sockets of connections that end by themselves.
            fs::remove_dir_all(&self.path).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_private_and_their_paths_short() {
        let state = tempfile::tempdir().unwrap();
        let mode = |dir: &Directory| fs::metadata(&dir.path).unwrap().permissions().mode() & 0o777;
        let near = Directory::make(state.path()).unwrap();
        assert_eq!((near.path.clone(), mode(&near)), (state.path().join("ssh"), 0o700));
        let far = Directory::make(&state.path().join("x".repeat(90))).unwrap();
        assert_eq!(mode(&far), 0o700);
        assert!(far.socket(&"db1".parse().unwrap()).as_os_str().len() + 17 < 104);
        let path = far.path.clone();
        drop(far);
        assert!(!path.exists());
    }

    /// A key that was rotated on every host must not read as "nobody was there".
    #[test]
    fn who_does_not_answer_is_away_and_who_refuses_is_not() {
        for (reason, is_away) in [
            ("ssh: connect to host db1 port 22: Connection refused", true),
            ("ssh: connect to host db1 port 22: No route to host", true),
            ("ssh: Could not resolve hostname db1: Name or service not known", true),
            ("ssh: no answer within 20s", true),
            ("ssh: Host key verification failed.", false),
            ("ssh: deploy@db1: Permission denied (publickey).", false),
            ("ssh: /home/u/.ssh/config: line 3: Bad configuration option: foo", false),
            ("ssh gives no reason", false),
        ] {
            assert_eq!(matches!(NoConnection::of(reason), NoConnection::Away(_)), is_away, "{reason}");
        }
    }

    #[test]
    fn the_last_line_of_ssh_is_the_reason() {
        for (said, expected) in [
            ("", "ssh gives no reason"),
            (
                "Warning: x\r\nssh: connect to host h port 1: Connection refused\r\n",
                "ssh: connect to host h port 1: Connection refused",
            ),
            ("a\nHost key verification failed.\n\n", "ssh: Host key verification failed."),
        ] {
            assert_eq!(reason(said), expected);
        }
    }
}
