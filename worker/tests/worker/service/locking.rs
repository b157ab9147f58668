//! Attempts under a lock: one at a time, who waits takes no slot, and what becomes of a lock that is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rr_nats::Lock;
use rr_schemas::{
    lock::{HeldLock, LockHolder},
    offer::{Offer, Target},
    presence::Control,
    report::{Ended, Outcome},
};
use rr_worker::Handlers;

use super::{Stage, ended, handler, offer, run, sh, until};

fn locked(offer: Offer) -> Offer {
    Offer { lock: Some("deploy".parse().unwrap()), claimed: true, ..offer }
}

impl Stage {
    /// The lock, in the hands of this test, which does not renew it.
    async fn take_lock(&self) -> Lock {
        let holder = LockHolder::Command { by: "test".to_owned(), pid: 1, program: "test".to_owned() };
        let (lock, taking) = ("deploy".parse().unwrap(), "test".parse().unwrap());
        let wanted = HeldLock { lock, holder, taking, since: Timestamp::UNIX_EPOCH, token: None };
        self.mesh.lock(wanted, Duration::from_mins(5)).try_take().await.unwrap()
    }

    async fn is_locked(&self) -> bool {
        self.mesh.lock_holder(&"deploy".parse().unwrap()).await.unwrap().is_some()
    }

    /// Waits until this many attempts have ended, whatever else is on offer.
    async fn some_ends(&self, count: usize) -> Vec<(u32, Ended)> {
        until("ends", async || Some(self.ends().await).filter(|ends| ends.len() >= count)).await
    }

    async fn is_free(&self) {
        until("the lock is free", async || (!self.is_locked().await).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_lock_one_runs_at_a_time_whoever_runs_it() {
    let stage = Stage::new().await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tokens = Arc::new(std::sync::Mutex::new(Vec::new()));
    let handlers = || {
        let (inside, most, tokens) = (Arc::clone(&inside), Arc::clone(&most), Arc::clone(&tokens));
        Handlers::new().register("solo".parse().unwrap(), move |context| {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            tokens.lock().unwrap().push(context.lock_token().unwrap());
            async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, String>(())
            }
        })
    };
    let _one = stage.start(stage.options("w1", &["q1"], 4), handlers()).await.unwrap();
    let _two = stage.start(stage.options("w2", &["q2"], 4), handlers()).await.unwrap();
    for task in 0..10 {
        let target = Target::Queue(["q1", "q2"][task as usize % 2].parse().unwrap());
        stage.offer(&locked(Offer { target, ..offer(task, handler("solo")) })).await;
    }
    let ends = stage.all_ends(10).await;
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert!(tokens.lock().unwrap().is_sorted_by(|one, next| one < next), "each holder has a larger token");
    stage.is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_takes_no_slot_and_runs_when_it_is_free() {
    let stage = Stage::new().await;
    let lock = stage.take_lock().await;
    let _worker = stage.worker("w1", 1, Handlers::new()).await;
    stage.offer(&locked(offer(0, sh("test \"$RR_LOCK\" = deploy && test \"$RR_LOCK_TOKEN\" -gt 0")))).await;
    stage.offer(&offer(1, sh("test -z \"$RR_LOCK$RR_LOCK_TOKEN\""))).await;
    assert_eq!(stage.some_ends(1).await.iter().map(|(task, _)| *task).collect::<Vec<_>>(), [1]);
    assert_eq!(stage.mesh.claim_of(&run(), 0, 1).await.unwrap(), None, "who waits has claimed nothing");
    lock.release().await.unwrap();
    let ends = stage.all_ends(2).await;
    assert_eq!((ends[1].0, ends[1].1.outcome), (0, Outcome::Ok), "{ends:?}");
    stage.is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_under_a_lost_lock_is_ended_and_lost_whatever_it_ignores() {
    let mut stage = Stage::new().await;
    let mut options = stage.options("w1", &["q"], 1);
    options.times.lock_ttl = "3s".parse().unwrap();
    options.times.grace = "5m".parse().unwrap();
    let _worker = stage.start(options, Handlers::new()).await.unwrap();
    let pid = stage.dir.path().join("pid");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.1; done", pid.display());
    stage.offer(&locked(offer(0, sh(&script)))).await;
    let process = until("it runs", async || {
        let pid = std::fs::read_to_string(&pid).ok().filter(|pid| pid.ends_with('\n'))?;
        Some(std::path::Path::new("/proc").join(pid.trim()))
    })
    .await;
    let found = stage.mesh.lock_holder(&"deploy".parse().unwrap()).await.unwrap().unwrap();
    let Some(HeldLock { holder: LockHolder::Attempt { worker, task, .. }, .. }) = found.held else { panic!() };
    assert_eq!((worker.as_str(), task), ("w1", 0));
    // It cannot be renewed any more.
    stage.server.kill().await.unwrap();
    until("the process is gone", async || (!process.exists()).then_some(())).await;
    stage.server.restart().await.unwrap();
    let ends = stage.all_ends(1).await;
    let reason = ends[0].1.reason.as_deref();
    assert_eq!((ends[0].1.outcome, reason), (Outcome::Lost, Some("lock deploy was lost")));
    stage.is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_gives_back_what_waits_for_a_lock() {
    let stage = Stage::new().await;
    let _lock = stage.take_lock().await;
    let mut one = stage.start(stage.options("w1", &["q"], 1), Handlers::new()).await.unwrap();
    let target = Target::Queue("q".parse().unwrap());
    for task in 0..3 {
        stage.offer(&locked(Offer { target: target.clone(), ..offer(task, sh("true")) })).await;
    }
    stage.offer(&Offer { target, ..offer(3, sh("true")) }).await;
    assert_eq!(stage.some_ends(1).await[0].0, 3);
    one.drain();
    ended(&mut one).await;
    let mut returned: Vec<u32> = stage.returns().await.into_iter().map(|(task, ..)| task).collect();
    returned.sort_unstable();
    assert_eq!(returned, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_learns_that_it_is_not_wanted_any_more() {
    let stage = Stage::with_ack_wait(Duration::from_secs(1)).await;
    let lock = stage.take_lock().await;
    let mut worker = stage.worker("w1", 1, Handlers::new()).await;
    stage.offer(&locked(offer(0, sh("true")))).await;
    let deployment = "deploy".parse().unwrap();
    let mesh = &stage.mesh;
    // A coordinator claims it for nobody, because its run was stopped.
    stage.claims("_rr", "c1").await;
    until("its offer is acknowledged", async || mesh.offers(&run()).await.unwrap().is_empty().then_some(())).await;
    assert!(mesh.lock_holder(&deployment).await.unwrap().is_some());
    lock.release().await.unwrap();
    worker.drain();
    ended(&mut worker).await;
    assert_eq!(stage.reports().await.len(), 0);
}

/// Words go by a worker's name, and it may wait with what its earlier life has claimed: how that ends is not its to say.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_claimed_an_attempt_does_not_say_that_it_was_cancelled() {
    let stage = Stage::new().await;
    let lock = stage.take_lock().await;
    stage.claims("w1", "earlier").await;
    let _worker = stage.worker("w1", 1, Handlers::new()).await;
    for task in 0..2 {
        stage.offer(&locked(offer(task, sh("true")))).await;
    }
    until("they wait for the lock, are told to end and do", async || {
        for task in 0..2 {
            let kill = Control::Kill { run: run(), task, attempt: 1 };
            stage.mesh.control(&"w1".parse().unwrap(), &kill).await.unwrap();
        }
        stage.mesh.offers(&run()).await.unwrap().is_empty().then_some(())
    })
    .await;
    let ends = stage.all_ends(1).await;
    assert_eq!(ends.iter().map(|(task, ended)| (*task, ended.outcome)).collect::<Vec<_>>(), [(1, Outcome::Cancelled)]);
    assert!(stage.mesh.claim_of(&run(), 1, 1).await.unwrap().is_some(), "who says how it ended has claimed it");
    drop(lock);
}
