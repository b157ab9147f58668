//! Locks: one holder, tokens that grow, and what becomes of a holder that falls silent.

use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{Lock, LockEntry, LockError, LockLost, LockRequest, Mesh, PublishError, Taking};
use rr_schemas::lock::{HeldLock, LockHolder};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::{World, instance, name, soon, until, world};

const TTL: Duration = Duration::from_secs(2);

fn wanted(lock: &str, taking: &str) -> HeldLock {
    let holder = LockHolder::Command { by: "ada@here".to_owned(), pid: 7, program: "make".to_owned() };
    HeldLock { lock: name(lock), holder, taking: instance(taking), since: Timestamp::UNIX_EPOCH, token: None }
}

fn request(mesh: &Mesh, taking: &str) -> LockRequest {
    mesh.lock(wanted("deploy", taking), TTL)
}

async fn take(mesh: &Mesh, taking: &str) -> Lock {
    soon(request(mesh, taking).try_take()).await.unwrap()
}

async fn holder(mesh: &Mesh) -> Option<LockEntry> {
    mesh.lock_holder(&name("deploy")).await.unwrap()
}

/// Waits for the lock, for as long as it takes.
async fn wait(mesh: &Mesh, taking: &str) -> Lock {
    match soon(request(mesh, taking).take(std::future::pending(), |_| ())).await.unwrap() {
        Taking::Taken(lock) => *lock,
        Taking::Stopped => unreachable!(),
    }
}

fn signal(world: &World, signal: Signal) {
    let pid = world.server.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, signal).unwrap();
    if signal == Signal::STOP {
        // It goes on for a moment on a busy machine.
        let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_lock_has_one_holder_and_its_token_grows_with_each() {
    let world = world().await;
    let mesh = &world.mesh;
    assert_eq!(holder(mesh).await, None);
    let mut last = 0;
    for taking in ["t1", "t2", "t3"] {
        let lock = take(mesh, taking).await;
        assert!(lock.token() > last);
        last = lock.token();
        let entry = holder(mesh).await.unwrap();
        let held = entry.held.as_ref().unwrap();
        assert_eq!((held.taking.as_str(), entry.token, entry.key.as_str()), (taking, last, "deploy"));
        assert!(entry.expires.unwrap() > entry.renewed);
        // Names that differ by case are one lock, and another name is another lock.
        let other = mesh.lock(wanted("Deploy", "other"), TTL).try_take().await;
        assert!(matches!(other, Err(LockError::Held(found)) if *found == entry));
        let elsewhere = mesh.lock(wanted("elsewhere", taking), TTL).try_take().await.unwrap();
        assert_eq!(
            mesh.locks().await.unwrap().iter().map(|lock| lock.key.as_str()).collect::<Vec<_>>(),
            ["deploy", "elsewhere"]
        );
        elsewhere.release().await.unwrap();
        lock.release().await.unwrap();
        assert_eq!(holder(mesh).await, None);
    }
}

#[tokio::test]
async fn of_many_who_try_at_once_one_wins() {
    let world = world().await;
    for round in 0..5 {
        let mut requests: Vec<LockRequest> = (0..16).map(|n| request(&world.mesh, &format!("t{round}-{n}"))).collect();
        let tries = futures::future::join_all(requests.iter_mut().map(LockRequest::try_take)).await;
        let (won, lost): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 15));
        assert!(lost.iter().all(|lost| matches!(lost, Err(LockError::Held(_)))), "{lost:?}");
        for lock in won {
            lock.unwrap().release().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_lock_is_kept_as_long_as_it_is_renewed_and_its_token_stays() {
    let world = world().await;
    let mut lock = take(&world.mesh, "t1").await;
    let first = holder(&world.mesh).await.unwrap();
    assert!(timeout(TTL + TTL / 2, lock.keep()).await.is_err(), "it is not lost");
    let now = holder(&world.mesh).await.unwrap();
    assert!(now.renewed > first.renewed);
    assert_eq!((now.token, lock.token()), (first.token, first.token));
    lock.release().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_not_renewed_runs_out_and_its_holder_takes_nothing_away() {
    let world = world().await;
    let mut first = take(&world.mesh, "t1").await;
    let second = wait(&world.mesh, "t2").await;
    assert!(second.token() > first.token());
    // Whatever the first one does now, the second one has the lock.
    assert_eq!(soon(first.keep()).await, LockLost::Silent);
    first.release().await.unwrap();
    assert_eq!(holder(&world.mesh).await.unwrap().token, second.token());
}

#[tokio::test]
async fn a_lock_that_somebody_removes_is_lost_at_the_next_renewal() {
    let world = world().await;
    let mut lock = take(&world.mesh, "t1").await;
    let kv = world.stranger().await.get_key_value("rr-locks").await.unwrap();
    kv.delete("deploy").await.unwrap();
    assert_eq!(soon(lock.keep()).await, LockLost::Gone);
    // What no version of ours can read is somebody's all the same.
    kv.put("deploy", "?".into()).await.unwrap();
    let refused = request(&world.mesh, "t2").try_take().await;
    assert!(matches!(refused, Err(LockError::Held(entry)) if entry.held.is_none() && entry.expires.is_none()));
}

#[tokio::test]
async fn without_a_server_a_lock_is_given_up_before_it_runs_out() {
    let mut world = world().await;
    let mut lock = take(&world.mesh, "t1").await;
    let taken = std::time::Instant::now();
    world.server.kill().await.unwrap();
    assert_eq!(soon(lock.keep()).await, LockLost::Silent);
    assert!(taken.elapsed() < TTL, "there is time left to end what runs");
}

#[tokio::test]
async fn a_taking_whose_answer_is_lost_is_found_again_with_its_token() {
    let world = world().await;
    let mut request = world.mesh.lock(wanted("deploy", "t1"), Duration::from_mins(1));
    signal(&world, Signal::STOP);
    let unknown = soon(request.try_take()).await;
    signal(&world, Signal::CONT);
    assert!(matches!(unknown, Err(LockError::Publish(PublishError::Unknown(_)))), "{unknown:?}");
    // It was stored all the same.
    until("the server has it", || async { holder(&world.mesh).await.is_some() }).await;
    let stored = holder(&world.mesh).await.unwrap();
    let lock = soon(request.try_take()).await.unwrap();
    assert_eq!(lock.token(), stored.token);
    lock.release().await.unwrap();
    assert_eq!(holder(&world.mesh).await, None);
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing_behind() {
    let world = world().await;
    let lock = take(&world.mesh, "t1").await;
    let mut tries = 0;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut stop = Some(stop);
    let waiting = request(&world.mesh, "t2").take(async { drop(stopped.await) }, |_| {
        tries += 1;
        drop(stop.take());
    });
    assert!(matches!(soon(waiting).await, Ok(Taking::Stopped)));
    assert_eq!(tries, 1);
    lock.release().await.unwrap();
    assert_eq!(holder(&world.mesh).await, None);
    // One whose try was not answered takes it back.
    let mut unknown = request(&world.mesh, "t3");
    drop(unknown.try_take().await.unwrap());
    unknown.withdraw().await;
    assert_eq!(holder(&world.mesh).await, None);
}
