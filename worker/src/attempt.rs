//! One attempt, as the worker holds it, and the rules by which a delivered offer becomes one.

use std::sync::Arc;

use rr_nats::Ack;
use rr_schemas::{
    name::Name,
    offer::Offer,
    planted::{self, Bug},
    report::{Ended, Outcome},
};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Known, State};

/// Why an attempt that came a second time is not run: nobody knows whether the first one ran.
pub(crate) const SECOND_TIME: &str = "offer came a second time";
/// Why an attempt of an earlier instance is lost.
pub(crate) const RESTARTED: &str = "worker restarted";
/// Why an attempt that was killed with its worker is lost.
pub(crate) const STOPPED: &str = "worker stopped";

/// What a delivered offer leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Take it in; run it when there is a free slot, and when the claim is won where it needs one.
    Take,
    /// It is in hand already: only its acknowledgement is kept with the others.
    Hold,
    /// Its report is stored, or on its way: acknowledge it then.
    Settled,
    /// Whether it ran nobody knows: report it as lost.
    Lost,
}

/// The rule. `delivered` counts from 1; a delivery count can be reset by the server, the ledger cannot.
pub(crate) fn verdict(known: Option<Known>, offer: &Offer, delivered: u64) -> Verdict {
    let most = if planted::bites(Bug::RedeliveryIgnored) { u64::MAX } else { 1 };
    match known {
        Some(Known { state: State::Reserved | State::Started | State::Ended, .. }) => Verdict::Hold,
        Some(Known { state: State::Confirmed | State::Returned, offer: before, .. }) if offer.offer <= before => {
            Verdict::Settled
        }
        // The claim decides, however often it was delivered.
        None | Some(Known { state: State::Returned, .. }) if offer.claimed || delivered <= most => Verdict::Take,
        // Somebody may have run it; or a report of ours was stored, and yet it was offered again: it did not count.
        None | Some(Known { state: State::Confirmed | State::Returned, .. }) => Verdict::Lost,
    }
}

/// How far an attempt is in this worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Waits for its lock.
    Locking,
    /// Waits for a free slot.
    Waiting,
    /// Given back; that is not stored yet.
    Returned,
    /// Its claim is on its way.
    Claiming,
    /// Won, and its entry in the ledger is being synced.
    Syncing,
    /// Runs.
    Running,
    /// Ended; its report is not stored yet.
    Ended,
}

impl Phase {
    /// Whether it takes a slot.
    pub(crate) const fn is_busy(self) -> bool {
        match self {
            Self::Claiming | Self::Syncing | Self::Running => true,
            Self::Locking | Self::Waiting | Self::Returned | Self::Ended => false,
        }
    }
}

/// An attempt that is in hand.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// How far it is.
    pub(crate) phase: Phase,
    /// What to do; none in what an earlier instance left, which is not done.
    pub(crate) offer: Option<Arc<Offer>>,
    /// What its deliveries are acknowledged with, all of them, when its report is stored.
    pub(crate) acks: Vec<Ack>,
    /// Cancelled when it is to end early.
    pub(crate) cancel: CancellationToken,
    /// When it came.
    pub(crate) since: Instant,
    /// Its fencing number: the sequence of the offer, and of a claimed attempt that of the claim on top.
    pub(crate) fence: u64,
    /// Whether it is in the queue of those that get signs of life.
    pub(crate) is_kept: bool,
    /// Whether a report that it runs is on its way.
    pub(crate) is_saying: bool,
    /// How it ends without being run, once its claim is won.
    pub(crate) unstarted: Option<Ended>,
    /// The lock that it holds.
    pub(crate) grip: Option<Grip>,
}

/// An attempt's hold on its lock. Dropped, the lock is given back.
#[derive(Debug)]
pub(crate) struct Grip {
    /// The lock.
    pub(crate) lock: Name,
    /// Its fencing token.
    pub(crate) token: u64,
    /// Cancelled when the lock was lost.
    pub(crate) lost: CancellationToken,
    /// Cancelled when what runs under a lost lock has no time left.
    pub(crate) hurry: CancellationToken,
    /// Tells whoever renews the lock that it is not needed any more, and how to part with it.
    pub(crate) parting: oneshot::Sender<Parting>,
}

/// How a lock that is not needed any more is parted with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Parting {
    /// Nothing runs under it any more: the next one may have it.
    #[default]
    GiveBack,
    /// Nobody knows whether something still runs under it: nobody has it until its time is over.
    LetRunOut,
}

impl Grip {
    /// How an attempt has ended: one that was ended because its lock was lost is lost, too.
    pub(crate) fn judged(&self, ended: Ended) -> Ended {
        if !self.lost.is_cancelled() || ended.outcome != Outcome::Cancelled {
            return ended;
        }
        Ended { outcome: Outcome::Lost, reason: Some(format!("lock {} was lost", self.lock)), ..ended }
    }

    /// Parts with the lock.
    pub(crate) fn part(self, parting: Parting) {
        // Whoever renewed it has gone with the worker then.
        self.parting.send(parting).unwrap_or_default();
    }
}

impl Attempt {
    /// One that came just now.
    pub(crate) fn new(offer: Offer, ack: Ack, seq: u64) -> Self {
        Self {
            phase: Phase::Waiting,
            offer: Some(Arc::new(offer)),
            acks: vec![ack],
            cancel: CancellationToken::new(),
            since: Instant::now(),
            fence: seq,
            is_kept: false,
            is_saying: false,
            unstarted: None,
            grip: None,
        }
    }

    /// One that ended without this instance having run it.
    pub(crate) fn ended(ack: Option<Ack>) -> Self {
        Self {
            phase: Phase::Ended,
            offer: None,
            acks: ack.into_iter().collect(),
            cancel: CancellationToken::new(),
            since: Instant::now(),
            fence: 0,
            is_kept: false,
            is_saying: false,
            unstarted: None,
            grip: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rr_schemas::offer::{Command, Offer, Target};

    use super::{Verdict, verdict};
    use crate::ledger::{Known, State};

    fn offer(number: u32, claimed: bool) -> Offer {
        Offer {
            run: "r1".parse().unwrap(),
            flow: "f".parse().unwrap(),
            job: "j".parse().unwrap(),
            task: 0,
            attempt: 1,
            offer: number,
            target: Target::Queue("default".parse().unwrap()),
            priority: rr_schemas::flow::Priority::default(),
            command: Command::Argv(vec!["true".to_owned()]),
            env: std::collections::BTreeMap::new(),
            inherit_env: Vec::new(),
            params: std::collections::BTreeMap::new(),
            cwd: None,
            timeout: None,
            grace: None,
            claimed,
            lock: None,
            token: String::new(),
        }
    }

    #[test]
    fn a_delivery_is_judged_by_the_ledger_first_and_the_count_second() {
        let known = |state| Some(Known { n: 1, offer: 1, state });
        for (before, number, claimed, delivered, expected) in [
            (None, 1, false, 1, Verdict::Take),
            (None, 1, false, 2, Verdict::Lost),
            (None, 1, true, 1, Verdict::Take),
            (None, 1, true, 3, Verdict::Take),
            (known(State::Reserved), 1, true, 2, Verdict::Hold),
            (known(State::Started), 1, false, 2, Verdict::Hold),
            (known(State::Started), 2, false, 1, Verdict::Hold),
            (known(State::Ended), 1, false, 1, Verdict::Hold),
            (known(State::Confirmed), 1, false, 1, Verdict::Settled),
            (known(State::Confirmed), 1, true, 2, Verdict::Settled),
            (known(State::Confirmed), 2, false, 1, Verdict::Lost),
            (known(State::Returned), 1, false, 2, Verdict::Settled),
            (known(State::Returned), 1, true, 2, Verdict::Settled),
            (known(State::Returned), 2, false, 1, Verdict::Take),
            (known(State::Returned), 2, false, 2, Verdict::Lost),
            (known(State::Returned), 2, true, 2, Verdict::Take),
        ] {
            let found = verdict(before, &offer(number, claimed), delivered);
            assert_eq!(found, expected, "{before:?} offer {number} claimed {claimed} delivered {delivered}");
        }
    }
}
