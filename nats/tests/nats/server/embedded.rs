//! A server as a child: serving, crashing, coming back, ending.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use rr_nats::server::{Config, Durability, Embedded, StartError};

use super::program;
use crate::support;

fn events() -> stream::Config {
    stream::Config { name: "EVENTS".to_owned(), subjects: vec!["ev.>".to_owned()], ..Default::default() }
}

/// Whether a process with this id runs; one that has ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    let ps = std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(ps.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_crash_loses_nothing_and_a_restart_comes_back_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = support::start(dir.path()).await;
    let url = server.url();
    let js = jetstream::new(support::client(&server).await);
    js.create_stream(events()).await.unwrap();
    for round in 1..=3_u64 {
        js.publish("ev.a", "stored".into()).await.unwrap().await.unwrap();
        let before = server.pid().unwrap();
        server.kill().await.unwrap();
        assert!(server.exited().unwrap().is_some() && server.pid().is_none());
        server.restart().await.unwrap();
        assert_eq!(server.url(), url);
        assert_ne!(server.pid(), Some(before));
        // A client of its own, as the first one may still be trying the dead connection.
        let fresh = jetstream::new(support::client(&server).await);
        let stored = fresh.get_stream("EVENTS").await.unwrap().cached_info().state.messages;
        assert_eq!(stored, round);
        until("the first client is back", || {
            js.client().connection_state() == async_nats::connection::State::Connected
        })
        .await;
    }
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    let pid = server.pid().unwrap();
    assert!(server.stop().await.unwrap().success(), "{log}");
    assert!(!runs(pid));
}

#[tokio::test]
async fn strangers_are_refused_and_the_password_is_in_the_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = support::start(dir.path()).await;
    let stranger = async_nats::ConnectOptions::new().connect(server.url()).await;
    assert!(stranger.is_err());
    let guess = async_nats::ConnectOptions::with_user_and_password(server.user().to_owned(), "guess".to_owned());
    assert!(guess.connect(server.url()).await.is_err());

    assert_eq!(server.password().len(), 32);
    assert!(server.password().bytes().all(|byte| byte.is_ascii_hexdigit()));
    let settings = dir.path().join("run/nats-server.conf");
    assert_eq!(settings.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(settings).unwrap().contains(server.password()));
    let pid = server.pid().unwrap().to_string();
    let ps = std::process::Command::new("ps").args(["-o", "args=", "-p", &pid]).output().unwrap();
    let args = String::from_utf8(ps.stdout).unwrap();
    assert!(args.contains("nats-server") && !args.contains(server.password()), "{args}");
    assert!(!format!("{server:?}").contains(server.password()));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn options_and_odd_paths_reach_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("mit Leerzeichen, \"Zitat\", ü und $HOME");
    let config = Config {
        name: Some("named".to_owned()),
        durability: Durability::EveryWrite,
        file_store_max: 10 << 20,
        ..support::config(&odd)
    };
    let server = Embedded::start(&support::binary().await, config).await.unwrap();
    assert!(odd.join("store/jetstream").is_dir());
    let client = support::client(&server).await;
    let info = client.server_info();
    assert_eq!((info.server_name.as_str(), info.max_payload), ("named", 1 << 20));
    let js = jetstream::new(client);
    let too_large = stream::Config { max_bytes: 11 << 20, ..events() };
    assert!(js.create_stream(too_large).await.is_err());
    js.create_stream(stream::Config { max_bytes: 9 << 20, ..events() }).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_store_has_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = support::start(dir.path()).await;
    let other = Config::new(dir.path().join("store"), dir.path().join("other"));
    let error = Embedded::start(&support::binary().await, other.clone()).await.unwrap_err();
    let StartError::StoreInUse { dir: named } = error else { panic!("{error:?}") };
    assert_eq!(named, dir.path().join("store"));
    server.stop().await.unwrap();
    Embedded::start(&support::binary().await, other).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_port_of_another_program_is_refused_and_never_taken_for_the_server() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = support::start(one.path()).await;
    let config = Config { port: Some(server.port()), ..support::config(two.path()) };
    let error = Embedded::start(&support::binary().await, config).await.unwrap_err();
    assert!(matches!(error, StartError::PortInUse { port } if port == server.port()), "{error:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { name: Some("has spaces".to_owned()), ..support::config(dir.path()) };
    let error = Embedded::start(&support::binary().await, config).await.unwrap_err();
    assert!(matches!(error, StartError::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("server name cannot contain spaces"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_serves_is_killed_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let script =
        r#"if [ "$1" = --version ]; then echo 'nats-server: v2.15.1'; exit; fi; echo "I am $$"; exec sleep 60"#;
    let search = rr_nats::server::Search {
        explicit: Some(program(&dir.path().join("slow"), script)),
        path: None,
        cache_dir: dir.path().join("cache"),
    };
    let binary = rr_nats::server::find(&search).await.unwrap().unwrap();
    let config = Config { ready_within: Duration::from_millis(300), ..support::config(dir.path()) };
    let error = Embedded::start(&binary, config).await.unwrap_err();
    let StartError::NotReady { tail, .. } = &error else { panic!("{error:?}") };
    let pid: u32 = tail.strip_prefix("I am ").unwrap().trim().parse().unwrap();
    until("it is gone", || !runs(pid)).await;
}

#[tokio::test]
async fn an_unexpected_death_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = support::start(dir.path()).await;
    assert!(server.exited().unwrap().is_none());
    signal("-KILL", server.pid().unwrap());
    let status = tokio::time::timeout(Duration::from_secs(10), server.wait()).await.unwrap().unwrap();
    assert!(!status.success());
    assert_eq!(server.exited().unwrap(), Some(status));
}

#[tokio::test]
async fn dropping_it_kills_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = support::start(dir.path()).await;
    let pid = server.pid().unwrap();
    drop(server);
    until("it is gone", || !runs(pid)).await;
}

/// Not a test of its own: the process that the next test kills, which owns a server and waits.
#[tokio::test]
async fn a_process_that_owns_a_server() {
    let Some(dir) = std::env::var_os(OWNER_DIR) else { return };
    let server = support::start(Path::new(&dir)).await;
    std::fs::write(Path::new(&dir).join("pid"), server.pid().unwrap().to_string()).unwrap();
    std::future::pending::<()>().await;
}

const OWNER_DIR: &str = "RR_TEST_OWNER_DIR";

#[tokio::test]
async fn the_server_does_not_outlive_a_process_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::embedded::a_process_that_owns_a_server"])
        .env(OWNER_DIR, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid_of_server = || std::fs::read_to_string(dir.path().join("pid")).ok()?.parse::<u32>().ok();
    until("it has a server", || pid_of_server().is_some()).await;
    let server = pid_of_server().unwrap();
    assert!(runs(server));
    // Even a paused one.
    signal("-STOP", server);
    owner.kill().unwrap();
    owner.wait().unwrap();
    // The store is free again as soon as the server is gone, and the start waits for it.
    let next = support::start(dir.path()).await;
    assert!(!runs(server));
    next.stop().await.unwrap();
}

fn signal(name: &str, pid: u32) {
    let status = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
