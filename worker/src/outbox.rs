//! Sends reports, in the order in which attempts ended, until each is stored.
//!
//! There is no file of its own: what must not be forgotten stands in the ledger, ended and not confirmed, and is put in here
//! again when the worker starts. While everything goes well, many reports are on their way at once. When one fails, it
//! goes back to its place; then one at a time is tried, with growing pauses, until one gets through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rr_nats::{Mesh, PublishError};
use rr_schemas::{id::RunId, name::WorkerName, report::Report};
use tokio::time::Instant;

/// Reports that are on their way at once: enough for 17,000 a second at a round trip of 50 ms.
const WINDOW: usize = 1024;

/// First pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A report on its way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    /// The attempt's number in the ledger.
    pub(crate) n: u64,
    /// The run that it is for.
    pub(crate) run: RunId,
    /// What it says.
    pub(crate) report: Report,
}

type Sending = BoxFuture<'static, (u64, Parcel, Result<u64, PublishError>)>;

/// Reports that are not stored yet.
#[derive(Debug)]
pub(crate) struct Outbox {
    mesh: Mesh,
    worker: WorkerName,
    /// By place in the order.
    waiting: BTreeMap<u64, Parcel>,
    sending: FuturesUnordered<Sending>,
    /// Which of them were asked for again: coordinators ask with every look.
    again: BTreeSet<(RunId, u32, u32)>,
    next_place: u64,
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    failures: u32,
    until: Instant,
}

impl Outbox {
    pub(crate) fn new(mesh: Mesh, worker: WorkerName) -> Self {
        let (waiting, sending, again) = (BTreeMap::new(), FuturesUnordered::new(), BTreeSet::new());
        Self { mesh, worker, waiting, sending, again, next_place: 0, trouble: None }
    }

    /// Takes a report. It is sent by [`Outbox::pump`].
    pub(crate) fn put(&mut self, parcel: Parcel) {
        self.waiting.insert(self.next_place, parcel);
        self.next_place += 1;
    }

    /// Takes a report that somebody has asked for again, unless it is on its way already.
    pub(crate) fn put_again(&mut self, parcel: Parcel) {
        if self.again.insert(key_of(&parcel)) {
            self.put(parcel);
        }
    }

    /// Whether every report is stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reports that are not stored yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// Sends what may be sent now.
    pub(crate) fn pump(&mut self, now: Instant) {
        let window = match self.trouble {
            None => WINDOW,
            Some(trouble) if trouble.until <= now => 1,
            Some(_) => 0,
        };
        if !self.mesh.is_connected() {
            return;
        }
        while self.sending.len() < window
            && let Some((place, parcel)) = self.waiting.pop_first()
        {
            self.sending.push(send(self.mesh.clone(), self.worker.clone(), place, parcel).boxed());
        }
    }

    /// When [`Outbox::pump`] has something to do again, though nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        let trouble = self.trouble.filter(|_| !self.waiting.is_empty() && self.sending.is_empty())?;
        self.mesh.is_connected().then_some(trouble.until)
    }

    /// Tries again at once: the link is back.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Some(trouble) = &mut self.trouble {
            trouble.until = now;
        }
    }

    /// Waits for a report to be stored. Pending for ever while none is on its way. Safe to drop.
    pub(crate) async fn stored(&mut self) -> Parcel {
        loop {
            match self.sending.next().await {
                Some((place, parcel, result)) => {
                    if let Some(parcel) = self.settle(place, parcel, result) {
                        return parcel;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// A report that is stored already, without waiting.
    pub(crate) fn stored_now(&mut self) -> Option<Parcel> {
        while let Some(Some((place, parcel, result))) = self.sending.next().now_or_never() {
            if let Some(parcel) = self.settle(place, parcel, result) {
                return Some(parcel);
            }
        }
        None
    }

    fn settle(&mut self, place: u64, parcel: Parcel, result: Result<u64, PublishError>) -> Option<Parcel> {
        let Err(error) = result else {
            if self.trouble.take().is_some() {
                tracing::info!(waiting = self.waiting.len(), "reports go through again");
            }
            self.again.remove(&key_of(&parcel));
            return Some(parcel);
        };
        let failures = self.trouble.map_or(0, |trouble| trouble.failures).saturating_add(1);
        if self.trouble.is_none() {
            tracing::warn!(%error, "report not stored yet, it is kept");
        }
        let pause = PAUSE_MIN.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(PAUSE_MAX);
        self.trouble = Some(Trouble { failures, until: Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0) });
        if error.is_retryable() {
            self.waiting.insert(place, parcel);
        } else {
            // It may be this one alone: the others go first.
            tracing::error!(run.id = %parcel.run, task = parcel.report.task, %error, "report refused, it is tried again");
            self.put(parcel);
        }
        None
    }
}

/// Which attempt of which run it is of.
fn key_of(parcel: &Parcel) -> (RunId, u32, u32) {
    (parcel.run.clone(), parcel.report.task, parcel.report.attempt)
}

async fn send(mesh: Mesh, worker: WorkerName, place: u64, parcel: Parcel) -> (u64, Parcel, Result<u64, PublishError>) {
    let result = mesh.report(&worker, &parcel.run, &parcel.report).await;
    (place, parcel, result)
}
