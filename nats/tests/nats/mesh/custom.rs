//! Servers with a configuration of the test's own.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use rr_nats::ConnectOptions;
use tokio::net::TcpListener;

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
    /// Starts it and waits until it listens.
    pub(super) async fn start(dir: &Path, configuration: &str) -> Self {
        let binary = support::binary().await;
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let file = dir.join("nats.conf");
        std::fs::write(&file, format!("listen: \"127.0.0.1:{port}\"\n{configuration}")).unwrap();
        let log = dir.join("nats.log");
        let child = Command::new(&binary.path)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let custom = Self { child, url: format!("nats://127.0.0.1:{port}") };
        let is_up = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
        super::until("the server listens or has ended", || async { is_up().await || has_ended(&log) }).await;
        assert!(is_up().await, "{}", std::fs::read_to_string(&log).unwrap());
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

/// Whether a server has said that it cannot start.
fn has_ended(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains("nats-server: ") || log.contains("[FTL]"))
}
