//! Python with a NATS client that is not ours, fetched once with the machine's own pip and checked by its hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::program;

/// What Python may be called.
const PYTHONS: [&str; 2] = ["python3", "python"];
/// A hundred kilobytes over a thin link.
const FETCH_WITHIN: Duration = Duration::from_mins(2);
/// Only starts Python, on a slow machine.
const ASK_WITHIN: Duration = Duration::from_secs(30);

/// A Python that can import `nats`.
#[derive(Clone, Debug)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// What `PYTHONPATH` must be.
    pub path: PathBuf,
}

/// Python with nats-py.
///
/// # Panics
/// There is no Python with pip, or pip cannot get the pinned wheel.
pub async fn with_nats_py() -> Python {
    static PYTHON: OnceCell<Python> = OnceCell::const_new();
    PYTHON.get_or_init(prepare).await.clone()
}

async fn prepare() -> Python {
    let program = find().await;
    let list = program::root().join("tests/python/requirements.txt");
    let text = fs::read_to_string(&list).expect("the requirements");
    let hash = text.split_once("sha256:").map(|(_, hash)| hash.trim()).expect("a hash among the requirements");
    let cache = program::caches().join("rr-tests");
    // Another pin is another directory.
    let path = cache.join(format!("nats-py-{}", hash.get(..16).expect("a whole hash")));
    if !path.exists() {
        install(&program, &list, &cache, &path).await;
    }
    Python { program, path }
}

/// The first Python that says where it lies: what is on PATH may be a script that asks for the user's own home.
async fn find() -> PathBuf {
    for python in PYTHONS {
        let mut command = command(Path::new(python));
        command.args(["-c", "import sys; print(sys.executable)"]);
        if let Ok(output) = run(&mut command, ASK_WITHIN).await
            && output.status.success()
        {
            return PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    panic!("this test needs Python 3.7 or newer with pip, and there is neither python3 nor python on PATH");
}

/// Installs beside the place and renames, so that whoever looks sees all of it or nothing.
async fn install(python: &Path, list: &Path, cache: &Path, path: &Path) {
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
        "this test needs nats-py, and pip of {} could not get it; where pip itself is missing, install it; it said:\n{said}",
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
