//! What the loop does with attempts, from delivery to acknowledgement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use rr_nats::{ClaimError, Earlier, Finder, Mesh, OfferMsg, PublishError};
use rr_schemas::{
    id::RunId,
    name::{InstanceId, WorkerName},
    offer::{Command, Offer},
    planted::{self, Bug},
    report::{Claim, Ended, Outcome, Report, What},
};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::engine::{Chore, Engine, Word};
use crate::attempt::{Attempt, Phase, SECOND_TIME, Verdict, verdict};
use crate::executor::{Assignment, Executor as _, ended_because, panic_text};
use crate::ledger::Key;
use crate::outbox::Parcel;

/// First pause before a claim is tried again; it doubles up to [`CLAIM_PAUSE_MAX`].
const CLAIM_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause before a claim is tried again.
const CLAIM_PAUSE_MAX: Duration = Duration::from_secs(2);

/// What became of a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Claimed {
    /// Won, with this sequence.
    Won(u64),
    /// Somebody else holds it.
    Lost,
}

/// Why an attempt ends that nobody wants any more and that has not begun.
const UNSTARTED: &str = "cancelled before it started";

impl Engine {
    /// An offer came.
    pub(super) fn delivered(&mut self, message: OfferMsg) {
        let OfferMsg { offer, ack, delivered, raw, .. } = message;
        let offer = match offer {
            Ok(offer) => offer,
            Err(reason) => {
                tracing::warn!(subject = raw.subject, reason, "an offer that cannot be read is put aside");
                let (mesh, worker) = (self.mesh.clone(), self.options.name.clone());
                let put_aside = async move {
                    // Not acknowledged, it comes again.
                    match mesh.quarantine(Finder::Worker(&worker), &raw, &reason).await {
                        Ok(()) => ack.ack().await,
                        Err(error) => tracing::warn!(%error, "not put aside"),
                    }
                    Chore::PutAside
                };
                return self.chores.push(put_aside.boxed());
            }
        };
        let key = Key { run: offer.run.clone(), task: offer.task, attempt: offer.attempt };
        let known = self.ledger.known(&key).filter(|_| !planted::bites(Bug::LedgerIgnored));
        match (verdict(known, &offer, delivered), known) {
            (Verdict::Take, _) => {
                let n = self.ledger.reserve(&key, offer.offer);
                let (class, lock) = (offer.priority.class(), offer.lock.clone());
                self.attempts.insert(n, Attempt::new(offer, ack, raw.seq));
                match lock {
                    Some(lock) => self.line_up(n, &lock, Instant::now()),
                    None => drop(self.ready.insert((class, n))),
                }
            }
            (Verdict::Hold, Some(known)) => {
                self.words.push(Word::Alive(ack.clone()));
                let attempt = self.attempts.entry(known.n).or_insert_with(|| Attempt::ended(None));
                attempt.acks.push(ack);
                if !attempt.is_kept {
                    attempt.is_kept = true;
                    self.clocks.keep(known.n, Instant::now());
                }
            }
            (Verdict::Settled, known) => {
                if let Some(attempt) = known.and_then(|known| self.attempts.get_mut(&known.n)) {
                    attempt.acks.push(ack);
                } else {
                    // It comes although its end was stored: who offers it may have lost that.
                    self.repeat_end(&key);
                    self.words.push(Word::Done(ack));
                }
            }
            (Verdict::Lost | Verdict::Hold, _) => {
                tracing::info!(run.id = %key.run, task = key.task, attempt = key.attempt, delivered, SECOND_TIME);
                let n = self.ledger.reserve(&key, offer.offer);
                self.attempts.insert(n, Attempt::new(offer, ack, raw.seq));
                self.end_unstarted(n, ended_because(Outcome::Lost, SECOND_TIME, self.now()));
            }
        }
    }

    /// Gives free slots to attempts that wait for one.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        while self.busy < self.capacity()
            && self.mode.is_working()
            && !self.unwritten.is_stuck()
            && let Some((_, n)) = self.ready.pop_first()
        {
            let Some(attempt) = self.attempts.get_mut(&n) else { continue };
            let Some(offer) = attempt.offer.clone() else { continue };
            self.busy += 1;
            if offer.claimed {
                self.claim(n, offer, now);
            } else {
                attempt.phase = Phase::Syncing;
                self.record_start(n, &offer);
                self.unwritten.to_start.push(n);
            }
        }
        self.give_back(now);
    }

    /// From now on an attempt's offer gets signs of life.
    pub(super) fn keep(&mut self, n: u64, now: Instant) {
        if let Some(attempt) = self.attempts.get_mut(&n)
            && !attempt.is_kept
        {
            attempt.is_kept = true;
            self.clocks.keep(n, now);
        }
    }

    fn claim(&mut self, n: u64, offer: Arc<Offer>, now: Instant) {
        let Some(attempt) = self.attempts.get_mut(&n) else { return };
        attempt.phase = Phase::Claiming;
        self.clocks.begin(n, now);
        let claim = claim(self.mesh.clone(), offer, self.options.name.clone(), self.instance.clone());
        self.chores.push(claim.map(move |claimed| Chore::Claimed(n, claimed)).boxed());
    }

    /// A claim was answered.
    pub(super) fn claimed(&mut self, n: u64, claimed: Claimed) {
        if !self.is_in(n, Phase::Claiming) {
            return;
        }
        let Some(offer) = self.attempts.get(&n).and_then(|attempt| attempt.offer.clone()) else { return };
        match claimed {
            Claimed::Won(claim) => {
                self.record_start(n, &offer);
                let now = self.now();
                let Some(attempt) = self.attempts.get_mut(&n) else { return };
                // Each alone grows from attempt to attempt, but a restore sets the log back to where it was packed. The
                // stream of offers is made anew then, with numbers that are larger by more than the log can have lost.
                attempt.fence = attempt.fence.saturating_add(claim);
                let cancelled =
                    || attempt.cancel.is_cancelled().then(|| ended_because(Outcome::Cancelled, UNSTARTED, now));
                if let Some(ended) = attempt.unstarted.take().or_else(cancelled) {
                    return self.ended(n, ended);
                }
                attempt.phase = Phase::Syncing;
                self.unwritten.to_sync.push(n);
            }
            Claimed::Lost => {
                tracing::debug!(run.id = %offer.run, task = offer.task, attempt = offer.attempt, "claim lost");
                self.ledger.forget(&key(&offer));
                self.busy -= 1;
                if let Some(attempt) = self.attempts.remove(&n) {
                    self.words.extend(attempt.acks.into_iter().map(Word::Done));
                }
            }
        }
    }

    pub(super) fn record_start(&mut self, n: u64, offer: &Offer) {
        self.ledger.start(n, &key(offer), offer.offer, &offer.token);
    }

    pub(super) fn start(&mut self, n: u64, now: Instant) {
        let Some(attempt) = self.attempts.get_mut(&n).filter(|attempt| attempt.phase == Phase::Syncing) else { return };
        let Some(offer) = attempt.offer.clone() else { return };
        attempt.phase = Phase::Running;
        self.clocks.begin(n, now);
        let task = Assignment {
            fence: attempt.fence,
            marker: marker(&key(&offer), &self.instance),
            grace: offer.grace.unwrap_or(self.options.times.grace).into(),
            lock_token: attempt.grip.as_ref().map(|grip| grip.token),
            cancel: attempt.cancel.clone(),
            clock: self.mesh.clock().clone(),
            hurry: attempt.grip.as_ref().map(|grip| grip.hurry.clone()).unwrap_or_default(),
            output: self.spool.attempt(&offer),
            offer,
        };
        let offer = &*task.offer;
        let span = tracing::debug_span!("attempt", run.id = %offer.run, job.id = %offer.job, offer.task, offer.attempt);
        let clock = task.clock.clone();
        let work = match &offer.command {
            Command::Handler(_) => self.handlers.execute(task),
            Command::Argv(_) | Command::Shell { .. } => self.programs.execute(task),
        };
        let work = async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            (n, ended.unwrap_or_else(|panic| failed_by_a_bug(panic_text(&*panic), clock.now())))
        };
        self.running.spawn(work.instrument(span));
    }

    /// An attempt ended. It is reported once the ledger is written.
    pub(super) fn ended(&mut self, n: u64, ended: Ended) {
        let Some(attempt) = self.attempts.get_mut(&n).filter(|attempt| attempt.phase.is_busy()) else { return };
        attempt.phase = Phase::Ended;
        self.busy -= 1;
        let ended = match &attempt.grip {
            Some(grip) => grip.judged(ended),
            None => ended,
        };
        self.report_end(n, ended);
    }

    /// Writes down how an attempt ended. It is reported once that is written.
    pub(super) fn report_end(&mut self, n: u64, ended: Ended) {
        self.ledger.end(n, ended.clone());
        self.unwritten.to_report.push((n, ended));
    }

    /// Reports on an attempt that is written down.
    pub(super) fn report(&mut self, n: u64, what: What) {
        let Some(open) = self.ledger.get(n) else { return };
        let Key { run, task, attempt } = open.key.clone();
        let (instance, token) = (open.instance.clone(), open.token.clone());
        let report = Report { task, attempt, offer: open.offer, instance, what, token };
        self.outbox.put(Parcel { n, run, report });
    }

    /// A report is stored: only now are the deliveries acknowledged.
    pub(super) fn reported(&mut self, parcel: &Parcel) {
        match parcel.report.what {
            What::Started { .. } => {
                if let Some(attempt) = self.attempts.get_mut(&parcel.n) {
                    attempt.is_saying = false;
                }
            }
            What::Ended(_) | What::Returned {} => {
                // Of what was given back it knows nothing.
                self.ledger.confirm(parcel.n);
                if matches!(parcel.report.what, What::Ended(_)) {
                    self.told.remember(parcel.clone());
                }
                if let Some(attempt) = self.attempts.remove(&parcel.n) {
                    self.words.extend(attempt.acks.into_iter().map(Word::Done));
                }
            }
        }
    }

    /// An attempt is no longer short: it says that it runs, and its offer gets signs of life from now on.
    pub(super) fn aged(&mut self, n: u64, now: Instant) {
        self.keep(n, now);
        let Some(attempt) = self.attempts.get(&n) else { return };
        // A claim has said it already.
        let is_claimed = attempt.offer.as_ref().is_some_and(|offer| offer.claimed);
        if !is_claimed {
            self.say_running(n);
        }
    }

    /// The link is back: says once more what runs. What was given up or cancelled meanwhile is told to end in answer,
    /// for whoever said so before was not heard; of everything else it is known.
    pub(super) fn say_what_runs(&mut self) {
        let is_old = |attempt: &Attempt| attempt.phase == Phase::Running && attempt.is_kept;
        let running: Vec<u64> = self.attempts.iter().filter(|(_, attempt)| is_old(attempt)).map(|(n, _)| *n).collect();
        for n in running {
            self.say_running(n);
        }
    }

    /// Reports that an attempt runs, unless that is being said.
    fn say_running(&mut self, n: u64) {
        let Some(attempt) = self.attempts.get_mut(&n) else { return };
        if attempt.phase == Phase::Running && !std::mem::replace(&mut attempt.is_saying, true) {
            self.report(n, What::Started { at: self.now() });
        }
    }

    /// An attempt's offer needs a sign of life.
    pub(super) fn sign(&mut self, n: u64, now: Instant) {
        let Some(attempt) = self.attempts.get(&n) else { return };
        self.words.extend(attempt.acks.iter().cloned().map(Word::Alive));
        self.clocks.keep(n, now);
        self.ask_whether_wanted(n);
    }

    /// A coordinator wants an attempt to end. What is not in hand is not touched: it is a hint.
    pub(super) fn cancel(&mut self, run: &RunId, task: u32, attempt: u32) {
        let key = Key { run: run.clone(), task, attempt };
        let Some(known) = self.ledger.known(&key) else { return };
        let Some(held) = self.attempts.get_mut(&known.n) else { return };
        held.cancel.cancel();
        match held.phase {
            Phase::Locking | Phase::Waiting => {
                self.end_unstarted(known.n, ended_because(Outcome::Cancelled, UNSTARTED, self.now()));
            }
            Phase::Returned | Phase::Claiming | Phase::Syncing | Phase::Running | Phase::Ended => {}
        }
    }

    /// Ends an attempt that is not to be run, or waits for a lock or a slot. How one ends that has to be claimed, only its
    /// holder may say, who may be an earlier life of this worker: it is claimed first, and without a slot, for there is
    /// nothing to run.
    pub(super) fn end_unstarted(&mut self, n: u64, ended: Ended) {
        self.leave_line(n);
        let Some(held) = self.attempts.get_mut(&n) else { return };
        let Some(offer) = held.offer.clone() else { return };
        self.ready.retain(|(_, ready)| *ready != n);
        if offer.claimed {
            tracing::debug!(run.id = %offer.run, task = offer.task, attempt = offer.attempt, "is claimed to be ended");
            held.unstarted = Some(ended);
            self.busy += 1;
            return self.claim(n, offer, Instant::now());
        }
        held.phase = Phase::Ended;
        self.record_start(n, &offer);
        self.report_end(n, ended);
    }
}

/// One word that no other attempt of any life of any worker has.
pub(super) fn marker(key: &Key, instance: &InstanceId) -> String {
    let Key { run, task, attempt } = key;
    format!("{run}.{task}.{attempt}.{instance}")
}

pub(super) fn key(offer: &Offer) -> Key {
    Key { run: offer.run.clone(), task: offer.task, attempt: offer.attempt }
}

fn failed_by_a_bug(text: &str, now: Timestamp) -> Ended {
    tracing::error!(text, "the worker panicked while it carried out an attempt");
    ended_because(Outcome::Failed, &format!("the worker panicked: {text}"), now)
}

/// Claims an attempt, until it is known who holds it.
async fn claim(mesh: Mesh, offer: Arc<Offer>, worker: WorkerName, instance: InstanceId) -> Claimed {
    let token = offer.token.clone();
    let claim = Claim { task: offer.task, attempt: offer.attempt, worker, instance, token };
    let mut pause = CLAIM_PAUSE_MIN;
    let mut earlier = Earlier::None;
    let mut has_warned = false;
    loop {
        // Never given up: it may be won, and then it is ours to report; where it is lost, it is not.
        match mesh.claim(&offer.run, &claim, earlier).await {
            Ok(seq) => return Claimed::Won(seq),
            Err(ClaimError::Lost) if planted::bites(Bug::ClaimIgnored) => return Claimed::Won(0),
            Err(ClaimError::Lost) => return Claimed::Lost,
            Err(ClaimError::Publish(error)) => {
                // Only what was not answered may be ours.
                if matches!(error, PublishError::Unknown(_)) {
                    earlier = Earlier::Perhaps;
                }
                if !error.is_retryable() && !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(run.id = %offer.run, task = offer.task, %error, "a claim is refused; it is said again and again");
                }
                tracing::debug!(run.id = %offer.run, task = offer.task, %error, "claim not answered yet");
            }
        }
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(CLAIM_PAUSE_MAX);
    }
}
