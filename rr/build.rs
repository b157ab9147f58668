//! Tells the program what it is built from: its version and, in a release build, the commit. A debug build has none, so that a commit
//! alone makes nobody build anything again.
#![expect(clippy::disallowed_methods, reason = "a build script asks git, and spawns nothing else")]

use std::{env, process::Command};

/// What is in the program: a change of it that is not committed is told.
const SOURCES: [&str; 11] = [
    "../Cargo.lock",
    "../Cargo.toml",
    "../coordinator",
    "../nats",
    "../rr",
    "../schemas",
    "../tests/draw",
    "../tests/model",
    "../tests/sim",
    "../verify",
    "../worker",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let source = if is_release { commit() } else { Some("debug build".to_owned()) };
    let source = source.map_or_else(String::new, |source| format!(" ({source})"));
    println!("cargo::rustc-env=RR_BUILD={}{source}", env!("CARGO_PKG_VERSION"));
}

/// The commit; none where this is no checkout.
fn commit() -> Option<String> {
    // Another commit is another HEAD, or another line in its log.
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--path-format=absolute", "--git-path", file])?);
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let status: Vec<&str> = ["status", "--porcelain", "--"].into_iter().chain(SOURCES).collect();
    let is_changed = git(&status).is_none_or(|changes| !changes.is_empty());
    Some(if is_changed { format!("{commit} and changes") } else { commit })
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
