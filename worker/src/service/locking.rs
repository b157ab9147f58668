//! Attempts that need a lock: they wait for it in a line, hold it while they run, and part with it when their end is written down.
//!
//! The lock comes before the slot and before the claim: who waits takes no slot, an attempt that was claimed never waits for anybody,
//! and whatever becomes of a holder, its lock runs out. Of all who need one lock here only the first asks the mesh for it.
//!
//! Invariant: a lock is held from before the claim until the attempt has ended, or as long as nobody knows whether it has.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use rr_nats::{Lock, LockError, LockWait, Mesh, Taking};
use rr_schemas::{
    input::Holder,
    lock::{HeldLock, LockHolder},
    name::{InstanceId, Name},
    offer::Offer,
    report::{Ended, Outcome},
};
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::attempts::key;
use super::engine::{Chore, Engine, Word};
use crate::attempt::{Grip, Parting, Phase};
use crate::executor::{Programs, ended_because};

/// Attempts that wait for locks here at most; more are given back. Each is an offer in memory, of 256 KiB at most and mostly of one, and
/// costs two messages with each sign of life.
const WAITING_MAX: usize = 256;

/// Whoever waits, and whoever holds.
#[derive(Debug, Default)]
pub(super) struct Locks {
    /// By the lock's name without regard to case. There is a line as long as somebody of ours asks for the lock or holds it.
    lines: HashMap<String, Line>,
    /// One for each line: it asks for the lock, or renews it.
    tasks: JoinSet<News>,
    /// The lock of each task.
    names: HashMap<Id, Name>,
}

#[derive(Debug)]
struct Line {
    /// Who asks for the lock, or holds it.
    first: u64,
    /// Cancelled when the first one does not want it any more.
    stop: CancellationToken,
    waiting: VecDeque<u64>,
}

/// What became of a lock.
#[derive(Debug)]
pub(super) enum News {
    /// It was asked for.
    Answered(Name, Result<Taking, LockError>),
    /// It was parted with.
    Parted(Name),
    /// Nobody renews it any more, though nobody has parted with it. A bug.
    Broken(Name),
}

impl Locks {
    /// The next news; none when there is none to come. Safe to drop.
    pub(super) async fn next(&mut self) -> Option<News> {
        match self.tasks.join_next_with_id().await? {
            Ok((task, news)) => {
                self.names.remove(&task);
                Some(news)
            }
            Err(error) => {
                tracing::error!(%error, "the keeper of a lock failed; the lock runs out");
                self.names.remove(&error.id()).map(News::Broken)
            }
        }
    }

    fn spawn(&mut self, lock: Name, keeper: impl Future<Output = News> + Send + 'static) {
        let task = self.tasks.spawn(keeper);
        self.names.insert(task.id(), lock);
    }

    /// Whether no lock is asked for or held.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether so many wait that no more may come.
    pub(super) fn are_full(&self) -> bool {
        self.lines.values().map(|line| line.waiting.len()).sum::<usize>() >= WAITING_MAX
    }

    /// Takes an attempt out of its line.
    fn leave(&mut self, lock: &Name, n: u64) {
        let Some(line) = self.lines.get_mut(&lock.folded()) else { return };
        if line.first == n {
            line.stop.cancel();
        }
        line.waiting.retain(|waiting| *waiting != n);
    }
}

impl Engine {
    /// Attempts that wait for a lock.
    fn locking(&self) -> Vec<u64> {
        let all = self.attempts.iter().filter(|(_, attempt)| attempt.phase == Phase::Locking);
        all.map(|(n, _)| *n).collect()
    }

    /// Makes an attempt that came just now wait for its lock.
    pub(super) fn line_up(&mut self, n: u64, lock: &Name, now: Instant) {
        let too_many = self.locking().len() >= WAITING_MAX;
        let Some(attempt) = self.attempts.get_mut(&n) else { return };
        attempt.phase = Phase::Locking;
        if too_many || self.is_closed() {
            return self.give_one_back(n, now);
        }
        self.keep(n, now);
        match self.locks.lines.get_mut(&lock.folded()) {
            Some(line) => line.waiting.push_back(n),
            None => self.ask_for(lock, n, VecDeque::new()),
        }
    }

    fn ask_for(&mut self, lock: &Name, n: u64, waiting: VecDeque<u64>) {
        let Some(offer) = self.attempts.get(&n).and_then(|attempt| attempt.offer.clone()) else { return };
        let stop = CancellationToken::new();
        let line = Line { first: n, stop: stop.clone(), waiting };
        self.locks.lines.insert(lock.folded(), line);
        let holder = LockHolder::Attempt {
            worker: self.options.name.clone(),
            instance: self.instance.clone(),
            run: offer.run.clone(),
            job: offer.job.clone(),
            task: offer.task,
            attempt: offer.attempt,
        };
        let taking = InstanceId::random(&mut fastrand::Rng::new());
        let wanted = HeldLock { lock: lock.clone(), holder, taking, since: self.now(), token: None };
        let asking = ask(self.mesh.clone(), wanted, self.options.times.lock_ttl.into(), stop);
        self.locks.spawn(lock.clone(), asking);
    }

    /// The next one in a line asks for the lock, if there is one.
    fn next_in_line(&mut self, lock: &Name) {
        let Some(mut line) = self.locks.lines.remove(&lock.folded()) else { return };
        while let Some(n) = line.waiting.pop_front() {
            if self.is_in(n, Phase::Locking) {
                return self.ask_for(lock, n, line.waiting);
            }
        }
    }

    /// Takes in what became of a lock.
    pub(super) fn hear_of_lock(&mut self, news: News) {
        match news {
            News::Answered(lock, Ok(Taking::Taken(held))) => self.locked(lock, *held),
            News::Answered(lock, Ok(Taking::Stopped)) | News::Parted(lock) => self.next_in_line(&lock),
            News::Answered(lock, Err(error)) => {
                tracing::error!(%lock, %error, "cannot take a lock");
                self.refuse_first(&lock, &error.to_string());
                self.next_in_line(&lock);
            }
            News::Broken(lock) => {
                self.refuse_first(&lock, "whoever asked for it here failed; this is a bug in rr");
                self.alarm_first(&lock);
                self.next_in_line(&lock);
            }
        }
    }

    fn first_in_line(&self, lock: &Name) -> Option<u64> {
        self.locks.lines.get(&lock.folded()).map(|line| line.first)
    }

    /// Ends the attempt that waits for an answer, which will not come.
    fn refuse_first(&mut self, lock: &Name, reason: &str) {
        if let Some(n) = self.first_in_line(lock).filter(|n| self.is_in(*n, Phase::Locking)) {
            let reason = format!("cannot take lock {lock}: {reason}");
            self.end_unstarted(n, ended_because(Outcome::Refused, &reason, self.now()));
        }
    }

    /// Has the attempt that holds a lock ended at once: nobody knows how much of the lock's time is left.
    fn alarm_first(&self, lock: &Name) {
        let first = self.first_in_line(lock).and_then(|n| self.attempts.get(&n));
        if let Some(attempt) = first
            && let Some(grip) = &attempt.grip
        {
            grip.lost.cancel();
            attempt.cancel.cancel();
            grip.hurry.cancel();
        }
    }

    /// A lock is held: its attempt may have the next slot.
    fn locked(&mut self, name: Name, lock: Lock) {
        let Some(n) = self.locks.lines.get(&name.folded()).map(|line| line.first) else { return };
        let (lost, hurry) = (CancellationToken::new(), CancellationToken::new());
        let (parting, parted) = oneshot::channel();
        let mut alarm = Alarm { lost: lost.clone(), cancel: CancellationToken::new(), hurry: hurry.clone() };
        if let Some(attempt) = self.attempts.get_mut(&n).filter(|attempt| attempt.phase == Phase::Locking)
            && let Some(offer) = &attempt.offer
        {
            let grip = Grip { lock: name.clone(), token: lock.token(), lost, hurry, parting };
            alarm.cancel = attempt.cancel.clone();
            attempt.phase = Phase::Waiting;
            attempt.since = Instant::now();
            attempt.grip = Some(grip);
            self.ready.insert((offer.priority.class(), n));
        }
        // Where nobody wants it any more, it is given back at once.
        self.locks.spawn(name.clone(), hold(name, lock, alarm, parted));
    }

    /// An attempt that waits for its lock does not want it any more.
    pub(super) fn leave_line(&mut self, n: u64) {
        let offer = self.attempts.get(&n).filter(|attempt| attempt.phase == Phase::Locking);
        if let Some(lock) = offer.and_then(|attempt| attempt.offer.as_ref()?.lock.clone()) {
            self.locks.leave(&lock, n);
        }
    }

    /// Gives back whatever waits for a lock: nothing starts here any more.
    pub(super) fn clear_lines(&mut self, now: Instant) {
        for n in self.locking() {
            self.give_one_back(n, now);
        }
    }

    /// The end of an attempt is written down: parts with its lock.
    pub(super) fn unlock(&mut self, n: u64, ended: &Ended) {
        let Some(grip) = self.attempts.get_mut(&n).and_then(|attempt| attempt.grip.take()) else { return };
        let is_far = match &self.programs {
            Programs::Ssh(_) => true,
            Programs::Here(_) | Programs::None => false,
        };
        // Of what ran on another machine and has not ended by itself nobody knows for sure that it has ended.
        let is_doubtful = ended.started_at.is_some()
            && match ended.outcome {
                Outcome::Lost | Outcome::Cancelled | Outcome::Timeout => true,
                Outcome::Ok | Outcome::Failed | Outcome::Unreachable | Outcome::Refused => false,
            };
        grip.part(if is_far && is_doubtful { Parting::LetRunOut } else { Parting::GiveBack });
    }

    /// Finds out whether an attempt that waits for its lock is still wanted: a run that was stopped has claimed it for nobody.
    pub(super) fn ask_whether_wanted(&mut self, n: u64) {
        let waiting = self.attempts.get(&n).filter(|attempt| attempt.phase == Phase::Locking);
        let Some(offer) = waiting.and_then(|attempt| attempt.offer.clone()) else { return };
        let asker = Holder { worker: self.options.name.clone(), instance: self.instance.clone() };
        self.chores.push(is_over(self.mesh.clone(), offer, n, asker).boxed());
    }

    /// An attempt that waits for its lock is somebody else's, or nobody's.
    pub(super) fn not_wanted(&mut self, n: u64) {
        if !self.is_in(n, Phase::Locking) {
            return;
        }
        self.leave_line(n);
        let Some(attempt) = self.attempts.remove(&n) else { return };
        if let Some(offer) = &attempt.offer {
            tracing::debug!(run.id = %offer.run, task = offer.task, attempt = offer.attempt, "not wanted any more");
            self.ledger.forget(&key(offer));
        }
        self.words.extend(attempt.acks.into_iter().map(Word::Done));
    }
}

/// Asks for a lock until it is held, or not wanted any more.
async fn ask(mesh: Mesh, wanted: HeldLock, ttl: Duration, stop: CancellationToken) -> News {
    let lock = wanted.lock.clone();
    let mut has_said = false;
    let told = |wait: LockWait<'_>| match wait {
        LockWait::Trouble(error) if !has_said => {
            tracing::warn!(%lock, %error, "the mesh does not say who holds a lock");
            has_said = true;
        }
        LockWait::Trouble(_) | LockWait::Holder(_) => {}
    };
    let taking = mesh.lock(wanted.clone(), ttl).take(stop.cancelled(), told).await;
    News::Answered(wanted.lock, taking)
}

/// Who is told that a lock was lost.
#[derive(Debug)]
struct Alarm {
    lost: CancellationToken,
    cancel: CancellationToken,
    hurry: CancellationToken,
}

/// Renews a lock until it is parted with. When it is lost, it has the attempt ended before somebody else may have the lock.
async fn hold(name: Name, mut lock: Lock, alarm: Alarm, mut parted: oneshot::Receiver<Parting>) -> News {
    let lost = tokio::select! {
        biased;
        parting = &mut parted => return part(name, lock, parting.unwrap_or_default()).await,
        lost = lock.keep() => lost,
    };
    tracing::error!(lock = %name, reason = %lost, "a lock was lost, what runs under it is ended");
    alarm.lost.cancel();
    alarm.cancel.cancel();
    // Half of what is left is the attempt's to end by itself, the other half is for ending it.
    let parting = tokio::select! {
        biased;
        parting = &mut parted => parting,
        () = sleep(lock.margin() / 2) => {
            alarm.hurry.cancel();
            parted.await
        }
    };
    part(name, lock, parting.unwrap_or_default()).await
}

async fn part(name: Name, lock: Lock, parting: Parting) -> News {
    match parting {
        Parting::GiveBack => {
            if let Err(error) = lock.release().await {
                tracing::warn!(lock = %name, %error, "a lock is not given back, it runs out by itself");
            }
        }
        Parting::LetRunOut => tracing::warn!(lock = %name, "a lock runs out by itself: its attempt may not have ended"),
    }
    News::Parted(name)
}

async fn is_over(mesh: Mesh, offer: Arc<Offer>, n: u64, asker: Holder) -> Chore {
    let claimed = mesh.is_claimed(&offer.run, offer.task, offer.attempt, &asker).await;
    // Asked again with the next sign of life.
    Chore::Wanted(n, !claimed.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_keeper_that_fails_says_whose_lock_it_was() {
        let mut locks = Locks::default();
        let [whole, broken]: [Name; 2] = ["whole", "broken"].map(|name| name.parse().unwrap());
        locks.spawn(broken.clone(), async { panic!("a bug") });
        assert!(matches!(locks.next().await, Some(News::Broken(lock)) if lock == broken));
        let told = News::Parted(whole.clone());
        locks.spawn(whole.clone(), async { told });
        assert!(matches!(locks.next().await, Some(News::Parted(lock)) if lock == whole));
        assert!(locks.next().await.is_none() && locks.names.is_empty());
    }
}
