//! Servers with a configuration of the test's own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use rr_nats::ConnectOptions;

use crate::support;

/// A server with a configuration of the test's own; killed with it.
pub(super) struct Custom {
    child: Child,
    pub(super) url: String,
}

impl Drop for Custom {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Custom {
    /// Starts it and waits until it listens, on a port that it has chosen itself: one that was free a moment ago may be taken.
    pub(super) async fn start(dir: &Path, configuration: &str) -> Self {
        let binary = support::binary().await;
        let file = dir.join("nats.conf");
        std::fs::write(&file, format!("listen: \"127.0.0.1:-1\"\n{configuration}")).unwrap();
        let log = dir.join("nats.log");
        let child = Command::new(&binary.path)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut custom = Self { child, url: String::new() };
        super::until("the server listens or has ended", || async { is_ready(&log) || has_ended(&log) }).await;
        let log = std::fs::read_to_string(&log).unwrap();
        let address = log.lines().find_map(|line| line.split_once(LISTENS)).map(|(_, address)| address.trim());
        assert!(address.is_some(), "{log}");
        custom.url = format!("nats://{}", address.unwrap());
        custom
    }

    /// With the password of everybody here.
    pub(super) fn as_user(&self, user: &str) -> ConnectOptions {
        ConnectOptions {
            server: self.url.clone(),
            user: Some(user.to_owned()),
            password: Some("p".to_owned()),
            ..ConnectOptions::default()
        }
    }
}

/// How a server says where it listens.
const LISTENS: &str = "Listening for client connections on ";

fn is_ready(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains(LISTENS) && log.contains("Server is ready"))
}

/// Whether a server has said that it cannot start.
fn has_ended(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains("nats-server: ") || log.contains("[FTL]"))
}
