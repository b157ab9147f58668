//! What happens to attempts when their worker is killed.
//!
//! The worker and its guard are this test program again, told by a variable to play a role instead of testing.

use std::os::fd::AsFd as _;
use std::process::Stdio;

use rr_worker::process::{Guard, GuardCommand, GuardError, guard_main};
use rustix::process::{Signal, kill_process};
use tokio::process::{Child, Command};

use super::*;

/// Says that this process plays a role, and which number its processes are told by.
const ROLE_VARIABLE: &str = "RR_TEST_ROLE";

/// What the worker of the role runs: a stubborn leader, a child, an orphan in its own session.
const SCRIPT: &str = "trap '' TERM; (setsid sleep 60 &); sleep 60 & exec sleep 60";

fn role() -> Option<String> {
    std::env::var_os(ROLE_VARIABLE).map(|number| number.into_string().unwrap())
}

fn guard_command(number: &str) -> GuardCommand {
    let own = std::env::current_exe().unwrap();
    let variable = format!("{ROLE_VARIABLE}={number}");
    let args = ["--exact", "process::guard::role_of_the_guard", "--nocapture"];
    GuardCommand {
        exe: "/usr/bin/env".into(),
        args: [variable.into(), own.into()].into_iter().chain(args.map(Into::into)).collect(),
    }
}

#[tokio::test]
async fn role_of_the_guard() {
    if role().is_some() {
        guard_main(std::io::stdin().as_fd().try_clone_to_owned().unwrap()).await.unwrap();
    }
}

/// A worker with a daemon of an attempt that has ended, two open attempts, one of them without environment, and a child that is no attempt.
#[tokio::test]
async fn role_of_the_worker() {
    let Some(number) = role() else { return };
    let (guard, keeper) = Guard::start(guard_command(&number)).unwrap();
    let launcher = Launcher { guard: Some(guard.clone()), ..launcher() };
    let cancel = CancellationToken::new();
    let script = |script: &str, end: &str| Spec { marker: format!("{number}-{end}"), ..shell(script) };
    launcher.run(&script(DAEMON, "daemon"), &cancel, &mut Kept::default()).await;
    let mut server = Command::new("sleep");
    let mut server = server.arg("60").env(ATTEMPT_VARIABLE, format!("{number}-server")).spawn().unwrap();
    guard.adopt("server", server.id().unwrap());
    let open = script(SCRIPT, "open");
    let bare = script(&format!("exec env -i sleep {number}"), "bare");
    let (mut sink, mut other) = (Kept::default(), Kept::default());
    tokio::select! {
        _ = launcher.run(&open, &cancel, &mut sink) => {}
        _ = launcher.run(&bare, &cancel, &mut other) => {}
        _ = keeper.run(CancellationToken::new()) => {}
        _ = server.wait() => {}
    }
}

/// A daemon that is left on purpose.
const DAEMON: &str = "setsid sleep 60 >/dev/null 2>&1 & sleep 0.1";

/// Plays the worker, and waits until everything that it starts is there.
async fn start_worker(number: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "process::guard::role_of_the_worker", "--nocapture"])
        .env(ROLE_VARIABLE, number)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let worker = command.spawn().unwrap();
    until("the worker's processes", || census(number) == [1, 1, 3, 1]).await;
    worker
}

/// How many processes there are: daemon, server, open attempt, attempt without environment.
fn census(number: &str) -> [usize; 4] {
    let count = |end: &str| marked(&format!("{number}-{end}")).len();
    [count("daemon"), count("server"), count("open"), told_by(&format!("sleep\0{number}\0")).len()]
}

/// The guards of a worker.
fn guards(number: &str) -> Vec<Pid> {
    let guards = told_by("\0process::guard::role_of_the_guard\0");
    let variable = format!("{ROLE_VARIABLE}={number}\0");
    let is_ours = |pid: &Pid| {
        let environ = std::fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).unwrap_or_default();
        String::from_utf8_lossy(&environ).contains(&variable)
    };
    guards.into_iter().filter(is_ours).collect()
}

/// Kills the worker; then everything must go but the daemon.
async fn kill_and_look(number: &str, mut worker: Child) {
    worker.kill().await.unwrap();
    until("the end of what it ran", || census(number)[1..] == [0, 0, 0]).await;
    until("the end of its guard", || guards(number).is_empty()).await;
    assert_eq!(census(number), [1, 0, 0, 0]);
    end_marked(&format!("{number}-daemon")).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_no_attempt_running() {
    let number = number();
    let worker = start_worker(&number).await;
    kill_and_look(&number, worker).await;
}

#[tokio::test]
async fn a_guard_does_not_listen_to_signals() {
    let number = number();
    let worker = start_worker(&number).await;
    let guard = guards(&number)[0];
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(guard, signal).unwrap();
    }
    // The worker has no time to replace it.
    kill_and_look(&number, worker).await;
}

#[tokio::test]
async fn a_guard_that_dies_is_replaced_and_knows_all_again() {
    let number = number();
    let worker = start_worker(&number).await;
    for _ in 0..2 {
        let guard = guards(&number)[0];
        kill_process(guard, Signal::KILL).unwrap();
        until("another guard", || matches!(guards(&number)[..], [other] if other != guard)).await;
    }
    assert_eq!(census(&number), [1, 1, 3, 1]);
    kill_and_look(&number, worker).await;
}

#[tokio::test]
async fn a_clean_end_ends_the_guard_and_spares_daemons() {
    let number = number();
    let (guard, keeper) = Guard::start(guard_command(&number)).unwrap();
    let stop = CancellationToken::new();
    // A guard that is slow to read would not hear of the end in time.
    for _ in 0..5000 {
        guard.adopt("burst", i32::MAX.unsigned_abs());
        guard.release("burst");
    }
    let launcher = Launcher { guard: Some(guard), ..launcher() };
    let spec = Spec { marker: format!("{number}-daemon"), ..shell(DAEMON) };
    launcher.run(&spec, &CancellationToken::new(), &mut Kept::default()).await;
    stop.cancel();
    keeper.run(stop).await.unwrap();
    assert_eq!(guards(&number), []);
    assert_eq!(census(&number), [1, 0, 0, 0]);
    end_marked(&spec.marker).await;
}

#[tokio::test]
async fn a_guard_that_cannot_be_kept_is_told() {
    let absent = GuardCommand { exe: "/no/such/program".into(), args: Vec::new() };
    assert!(matches!(Guard::start(absent), Err(GuardError::Start(..))));
    let dies = GuardCommand { exe: "/bin/true".into(), args: Vec::new() };
    let (guard, keeper) = Guard::start(dies).unwrap();
    let launcher = Launcher { guard: Some(guard), ..launcher() };
    let lost = keeper.run(CancellationToken::new()).await;
    assert!(matches!(lost, Err(GuardError::Dies)), "{lost:?}");
    // Attempts go on without.
    let ended = launcher.run(&argv(&["true"]), &CancellationToken::new(), &mut Kept::default()).await;
    assert_eq!(ended.exit_code, Some(0));
}
