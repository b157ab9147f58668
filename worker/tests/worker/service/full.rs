//! A worker whose disk is full.
//!
//! The worker is this test program again, told by a variable to play a role instead of testing, so that it alone can be
//! forbidden to write.

use std::process::Stdio;

use rr_nats::{ConnectOptions, connect};
use rr_schemas::report::Outcome;
use rr_worker::{Handlers, Options, Worker};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::process::{Child, Command};

use super::{Stage, offer, sh, until};

/// Says that this process plays the worker: server, user, password and state directory, by line.
const ROLE_VARIABLE: &str = "RR_TEST_FULL_WORKER";

#[tokio::test]
async fn role_of_the_worker() {
    let Some(role) = std::env::var_os(ROLE_VARIABLE) else { return };
    let role = role.into_string().unwrap();
    let [server, user, password, state_dir] = role.lines().collect::<Vec<_>>().try_into().unwrap();
    let access = ConnectOptions {
        server: server.parse().unwrap(),
        user: Some(user.to_owned()),
        password: Some(password.to_owned()),
        name: "full".to_owned(),
        ..ConnectOptions::default()
    };
    let mesh = connect(&access).await.unwrap().mesh().await.unwrap();
    let mut options = Options::new("full".parse().unwrap(), state_dir.into());
    options.serves.queues = vec!["q".parse().unwrap()];
    options.capacity = 2.try_into().unwrap();
    options.environment = std::env::vars_os().collect();
    Worker::start(mesh, options, Handlers::new()).await.unwrap().join().await.unwrap();
}

fn start_worker(stage: &Stage) -> Child {
    let server = &stage.server;
    let state_dir = stage.state_dir("full");
    let role = format!("{}\n{}\n{}\n{}", server.url(), server.user(), server.password(), state_dir.display());
    // Who writes too much is killed, unless it does not listen.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "service::full::role_of_the_worker", "--nocapture"])
        .env(ROLE_VARIABLE, role)
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap()
}

/// No file may be longer than this.
fn limit(worker: &Child, bytes: Option<u64>) {
    let pid = Pid::from_raw(worker.id().unwrap().try_into().unwrap());
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_disk_is_full_holds_what_was_to_start_and_leaves_the_rest_to_others() {
    let stage = Stage::new().await;
    let worker = start_worker(&stage);
    stage.offer(&offer(0, sh("true"))).await;
    stage.all_ends(1).await;
    limit(&worker, Some(0));
    for task in 1..=20 {
        stage.offer(&offer(task, sh("true"))).await;
    }
    let _other = stage.start(stage.options("w2", &["q"], 4), Handlers::new()).await.unwrap();
    // What it could not write down it keeps, in the hope that it can; no more than it has slots.
    until("the others are done", async || {
        let held = stage.mesh.offers(&super::run()).await.unwrap().len();
        ((1..=2).contains(&held) && stage.ends().await.len() == 21 - held).then_some(())
    })
    .await;
    limit(&worker, None);
    let ends = stage.all_ends(21).await;
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
}
