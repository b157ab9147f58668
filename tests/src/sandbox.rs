//! A user of their own: home, state, configuration and working directory below one temporary directory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{Output, Running, pid};
use crate::procfs::{self, Found};
use crate::program;
use crate::wait::eventually;

/// How long a call may take unless it says otherwise; everything here takes a second or two.
const CALL_LIMIT: Duration = Duration::from_mins(1);

/// Lines of each call that are shown when a test fails.
const TOLD_LINES_MAX: usize = 30;

/// The variable that marks what a sandbox started.
const MARK: &str = "SANDBOX";

/// A user of their own. Whatever they started is killed when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    calls: AtomicU32,
}

impl Sandbox {
    /// A user who has never used `rr`.
    ///
    /// # Panics
    /// There is no nats-server, or no room for files.
    pub async fn new() -> Self {
        // Fetched by the first test that needs it; the programs under test find it where `rr` finds it.
        let _server = program::nats_server().await;
        let dir = tempfile::Builder::new().prefix("rr-test-").tempdir().expect("a temporary directory");
        for name in ["home", "state", "config/rr", "work", "calls"] {
            fs::create_dir_all(dir.path().join(name)).expect("a directory");
        }
        Self { dir, calls: AtomicU32::new(0) }
    }

    /// A path in the user's working directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    /// The directory of everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where `rr` keeps its state.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state").join("rr")
    }

    /// Writes a file into the working directory and returns its path.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file in the sandbox");
        path
    }

    /// What stands in a file of the working directory; nothing where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes the user's configuration.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn configure(&self, yaml: &str) {
        fs::write(self.dir.path().join("config/rr/config.yaml"), yaml).expect("a configuration");
    }

    /// A call of `rr`, to be made.
    pub fn rr<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Call<'_> {
        self.call(program::rr(), args)
    }

    /// A call of any program as this user.
    pub fn call<A: Into<OsString>>(&self, program: &Path, args: impl IntoIterator<Item = A>) -> Call<'_> {
        let args = args.into_iter().map(Into::into).collect();
        let program = program.to_owned();
        Call {
            sandbox: self,
            program,
            args,
            env: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
            limit: CALL_LIMIT,
        }
    }

    /// Every living process that stems from this user.
    pub fn processes(&self) -> Vec<Found> {
        procfs::stemming_from(self.dir.path())
    }

    /// Waits until nothing lives any more that this user started.
    ///
    /// # Panics
    /// Something does, `limit` later.
    pub async fn is_quiet(&self, limit: Duration) {
        eventually("end of every process", limit, async || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        })
        .await;
    }

    /// Shows what every call wrote to stderr, for whoever looks why a test failed.
    fn tell(&self) {
        for number in 0..self.calls.load(Ordering::Relaxed) {
            let text = fs::read(self.dir().join("calls").join(format!("{number}.stderr"))).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let end = lines.get(lines.len().saturating_sub(TOLD_LINES_MAX)..).unwrap_or_default().join("\n");
            drop(writeln!(std::io::stderr(), "--- stderr of call {number}\n{end}"));
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let dir = self.dir.path();
        let kept = ["PATH", "RR_NATS_SERVER", "TMPDIR"].into_iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((name.into(), value))
        });
        let own = [
            ("HOME", dir.join("home")),
            ("XDG_STATE_HOME", dir.join("state")),
            ("XDG_CONFIG_HOME", dir.join("config")),
            // The server that was fetched once is everybody's.
            ("XDG_CACHE_HOME", program::caches()),
            ("USER", "tester".into()),
            ("LANG", "C.UTF-8".into()),
            (MARK, dir.to_owned()),
        ];
        kept.chain(own.into_iter().map(|(name, value)| (name.into(), value.into_os_string()))).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        for found in self.processes() {
            let _ = kill_process(pid(found.pid), Signal::KILL);
        }
    }
}

/// A call that is to be made.
#[derive(Debug)]
#[must_use]
pub struct Call<'s> {
    sandbox: &'s Sandbox,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    stdin: Option<PathBuf>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    limit: Duration,
}

impl Call<'_> {
    /// With one more variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// With this on stdin.
    pub fn stdin(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.stdin = Some(self.sandbox.write(name, content));
        self
    }

    /// With its stdin from there.
    pub fn stdin_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Some(path.into());
        self
    }

    /// With its stdout there instead of in a file.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// With its stderr there instead of in a file.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// With another limit of time.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Makes the call and waits for its end.
    ///
    /// # Panics
    /// It does not end in time.
    pub async fn run(self) -> Output {
        let limit = self.limit;
        self.start().ended(limit).await
    }

    /// Makes the call and leaves it running.
    ///
    /// # Panics
    /// The program cannot be started.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts what is tested")]
    pub fn start(self) -> Running {
        let sandbox = self.sandbox;
        let number = sandbox.calls.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| sandbox.dir().join("calls").join(format!("{number}.{kind}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let stdin = self.stdin.map_or_else(Stdio::null, |path| File::open(path).expect("stdin").into());
        let own_stderr = File::create(&stderr).expect("a file for stderr");
        let own_stdout = File::create(&stdout).expect("a file for stdout");
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(sandbox.environment())
            .envs(self.env)
            .current_dir(sandbox.path(""))
            .stdin(stdin)
            .stdout(self.stdout.unwrap_or_else(|| own_stdout.into()))
            .stderr(self.stderr.unwrap_or_else(|| own_stderr.into()))
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().expect("a program to start");
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let args = self.args.iter().map(|arg| arg.to_string_lossy().chars().take(200).collect::<String>());
        let call = std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ");
        let pid = child.id().expect("the id of a child");
        Running { call, child, pid, stdout, stderr }
    }
}
