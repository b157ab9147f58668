//! Which program is taken.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rr_nats::server::{PINNED, Search, Unusable, find};

use super::program;

fn says(version: &str) -> String {
    format!("echo 'nats-server: v{version}'")
}

fn search(dir: &Path, explicit: Option<PathBuf>, path: &[&str]) -> Search {
    let path: OsString = std::env::join_paths(path.iter().map(|entry| dir.join(entry))).unwrap_or_default();
    Search { explicit, path: Some(path), cache_dir: dir.join("cache") }
}

#[tokio::test]
async fn the_explicit_one_comes_before_path_and_path_before_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let explicit = program(&dir.join("mine/server"), &says("2.14.0"));
    let on_path = program(&dir.join("bin/nats-server"), &says("2.14.1"));
    let old = program(&dir.join("old/nats-server"), &says("2.13.9"));
    let cached = program(&dir.join(format!("cache/nats-server-{PINNED}/nats-server")), &says(PINNED));
    for (named, path, expected) in [
        (Some(&explicit), &["old", "bin"][..], &explicit),
        (None, &["bin"], &on_path),
        (None, &["missing", "old", "bin"], &on_path),
        (None, &["old"], &cached),
        (None, &[], &cached),
        (Some(&PathBuf::new()), &["bin"], &on_path),
    ] {
        let found = find(&search(dir, named.cloned(), path)).await.unwrap().unwrap();
        assert_eq!(&found.path, expected, "explicit {named:?}, PATH {path:?}, too old: {old:?}");
    }
    std::fs::remove_file(&cached).unwrap();
    assert_eq!(find(&search(dir, None, &["old"])).await.unwrap(), None);
}

#[tokio::test]
async fn an_explicit_one_that_cannot_be_used_is_an_error_although_there_are_others() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    program(&dir.join("bin/nats-server"), &says("2.15.1"));
    let named = |name: &str, script: &str| program(&dir.join(name), script);
    for (path, text) in [
        (named("old", &says("2.13.9")), "it is nats-server 2.13.9, and 2.14.0 or newer is needed"),
        (named("early", &says("2.14.0-RC.1")), "it is nats-server 2.14.0-RC.1, and 2.14.0 or newer is needed"),
        (named("other", "echo 'redis-server 7'"), "it said \"redis-server 7\""),
        (named("mute", "exit 0"), "it said \"\""),
        (named("loud", "while :; do echo nats-server; done 2>/dev/null"), "not what a nats-server says"),
        (dir.join("missing"), "run "),
    ] {
        let error = find(&search(dir, Some(path.clone()), &["bin"])).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(text) && said.contains(path.to_str().unwrap()), "{said}");
        let too_old = text.contains("newer is needed");
        assert_eq!(matches!(error, Unusable::TooOld { .. }), too_old, "{error:?}");
    }
}
