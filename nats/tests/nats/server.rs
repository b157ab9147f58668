//! nats-server as a program: finding, fetching, running, crashing.

mod embedded;
mod fetch;
mod find;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Puts a program that runs `script` at `path`. Written by a process of its own: a file that this process holds
/// open for writing could be inherited by another test's child, and could then not be run.
#[expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]
pub(crate) fn program(path: &Path, script: &str) -> PathBuf {
    let write = r#"mkdir -p "${1%/*}" && printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let status = Command::new("/bin/sh").args(["-c", write, "sh"]).arg(path).arg(script).status().unwrap();
    assert!(status.success());
    path.to_owned()
}
