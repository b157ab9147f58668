//! Stops the server when this process dies without a chance to do so (SIGKILL, abort).
//!
//! A shell waits on a pipe whose other end only this process holds; the system closes it when the process ends,
//! however it ends, and the shell then asks the server to stop.
#![expect(clippy::disallowed_methods, reason = "the server needs a guard")]

use std::process::Stdio;

use tokio::process::{Child, ChildStdin, Command};

/// `$1` is the server. CONT, because a server that was paused would hear TERM only when it goes on.
const SCRIPT: &str = r#"read -r _; kill -TERM "$1"; kill -CONT "$1""#;

/// The waiting shell. Dropping it calls it off: it must go before the server's process id can be given to another.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
    /// Closed after [`Drop::drop`] has killed the shell, so that it does not take this for the end of the process.
    _pipe: Option<ChildStdin>,
}

impl Guard {
    /// Guards the server with this process id. Without a shell there is no guard, and that is only warned of.
    pub(super) fn over(server: u32) -> Option<Self> {
        let spawned = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "rr-guard", &server.to_string()])
            .stdin(Stdio::piped())
            // Not this process's own: whoever waits for their end would wait for the shell's.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Ok(mut shell) => {
                let pipe = shell.stdin.take();
                Some(Self { shell, _pipe: pipe })
            }
            Err(error) => {
                tracing::warn!(%error, "nats-server not guarded: it would outlive a kill of this process");
                None
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.shell.start_kill() {
            tracing::debug!(%error, "guard of nats-server was gone");
        }
    }
}
