//! Python with packages that are not ours, fetched once with the machine's own pip and checked by their hashes.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::program;

/// What Python may be called.
const PYTHONS: [&str; 2] = ["python3", "python"];
/// Five megabytes over a thin link.
const FETCH_WITHIN: Duration = Duration::from_mins(4);
/// Only starts Python, on a slow machine.
const ASK_WITHIN: Duration = Duration::from_secs(30);
/// Where Python lies, and whose wheels it takes.
const ASK: &str =
    "import sys, sysconfig; print(sys.executable); print(sys.implementation.cache_tag, sysconfig.get_platform())";

/// A Python that can import certain packages.
#[derive(Clone, Debug)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// What `PYTHONPATH` must be.
    pub path: PathBuf,
}

/// Python with nats-py, a NATS client.
///
/// # Panics
/// There is no Python with pip, or pip cannot get the pinned wheel.
pub async fn with_nats_py() -> Python {
    static PYTHON: OnceCell<Python> = OnceCell::const_new();
    PYTHON.get_or_init(|| prepare("nats-py", "requirements.txt")).await.clone()
}

/// Python with asyncssh, of which an ssh server is made.
///
/// # Panics
/// There is no Python with pip, or pip cannot get the pinned wheels.
pub async fn with_asyncssh() -> Python {
    static PYTHON: OnceCell<Python> = OnceCell::const_new();
    PYTHON.get_or_init(|| prepare("asyncssh", "requirements-sshd.txt")).await.clone()
}

async fn prepare(what: &str, list: &str) -> Python {
    let Found { program, kind } = find().await;
    let list = program::root().join("tests/python").join(list);
    let text = fs::read_to_string(&list).expect("the requirements");
    let cache = program::caches().join("rr-tests");
    // Another pin is another directory, and so is a Python that takes other wheels.
    let mut hasher = DefaultHasher::new();
    (text, kind).hash(&mut hasher);
    let path = cache.join(format!("{what}-{:016x}", hasher.finish()));
    if !path.exists() {
        install(&program, what, &list, &cache, &path).await;
    }
    Python { program, path }
}

struct Found {
    program: PathBuf,
    kind: String,
}

/// The first Python that says where it lies: what is on PATH may be a script that asks for the user's own home.
async fn find() -> Found {
    for python in PYTHONS {
        let mut command = command(Path::new(python));
        command.args(["-c", ASK]);
        if let Ok(output) = run(&mut command, ASK_WITHIN).await
            && output.status.success()
            && let Some((program, kind)) = String::from_utf8_lossy(&output.stdout).trim().split_once('\n')
        {
            return Found { program: PathBuf::from(program.trim()), kind: kind.to_owned() };
        }
    }
    panic!("this test needs Python 3.9 or newer with pip, and there is neither python3 nor python on PATH");
}

/// Installs beside the place and renames, so that whoever looks sees all of it or nothing.
async fn install(python: &Path, what: &str, list: &Path, cache: &Path, path: &Path) {
    fs::create_dir_all(cache).expect("a cache directory");
    let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(cache).expect("a directory in the cache");
    let target = work.path().join("packages");
    let mut command = command(python);
    command
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .args(["--progress-bar", "off", "--retries", "2", "--target"])
        .arg(&target)
        .arg("--requirement")
        .arg(list)
        // A user's own rules of where to install are not meant for a directory of ours.
        .envs([("PIP_USER", "0"), ("PIP_REQUIRE_VIRTUALENV", "0"), ("PIP_NO_INPUT", "1")])
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let output =
        run(&mut command, FETCH_WITHIN).await.unwrap_or_else(|error| panic!("pip of {}: {error}", python.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this test needs {what}, and pip of {} could not get it; where pip itself is missing, install it; it said:\n{said}",
        python.display()
    );
    // Another test may have been faster.
    let renamed = fs::rename(&target, path);
    assert!(renamed.is_ok() || path.exists(), "{renamed:?}");
}

#[expect(clippy::disallowed_methods, reason = "Python is a program")]
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(command: &mut Command, within: Duration) -> Result<Output, String> {
    let output = timeout(within, command.output()).await.map_err(|_| format!("had not ended after {within:?}"))?;
    output.map_err(|error| error.to_string())
}
