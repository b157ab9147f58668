//! The worker's loop: one task that owns everything about its attempts.
//!
//! Each turn takes what has happened, many things at once, and only then acts: one write to the ledger, then what may
//! start starts, what may be reported is reported, what is free is asked for. So the ledger is written before anything
//! that depends on it, and costs one write for many attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use rr_nats::{Ack, ControlFeed, Mesh};
use rr_schemas::{
    name::InstanceId,
    presence::Control,
    report::{Ended, What},
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::attempts::Claimed;
use super::clocks::{Clocks, Due};
use super::ending::Mode;
use super::joining::{Joined, Joining};
use super::locking::{Locks, News};
use super::retelling::Told;
use super::writing::Unwritten;
use crate::attempt::{Attempt, Phase};
use crate::config::Options;
use crate::executor::Programs;
use crate::executor::handler::Handlers;
use crate::lanes::{FromLanes, Lanes};
use crate::ledger::Ledger;
use crate::outbox::{Outbox, Parcel};
use crate::output::Spool;
use crate::process;

/// Things of one kind taken in one turn at most, so that no kind starves the others.
const BATCH_MAX: usize = 256;

/// Reports that may wait before nothing new is taken: a bound on memory, and on what a dead link makes of the queue.
const UNREPORTED_MAX: usize = 10_000;

/// Everything about the attempts of one worker.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) mesh: Mesh,
    pub(super) options: Arc<Options>,
    pub(super) instance: InstanceId,
    pub(super) programs: Programs,
    pub(super) handlers: Handlers,
    pub(super) spool: Spool,
    pub(super) ledger: Ledger,
    pub(super) outbox: Outbox,
    pub(super) lanes: Lanes,
    /// Attempts in hand, by their number in the ledger.
    pub(super) attempts: BTreeMap<u64, Attempt>,
    /// Those that wait for a free slot, by class of priority and then in the order in which they came.
    pub(super) ready: BTreeSet<(u8, u64)>,
    pub(super) unwritten: Unwritten,
    pub(super) joining: Joining,
    pub(super) locks: Locks,
    pub(super) told: Told,
    pub(super) running: JoinSet<(u64, Ended)>,
    pub(super) chores: FuturesUnordered<BoxFuture<'static, Chore>>,
    pub(super) clocks: Clocks,
    /// Attempts that take a slot.
    pub(super) busy: usize,
    pub(super) mode: Mode,
    /// Whether those who have left the process groups of killed attempts are being ended.
    pub(super) is_sweeping: bool,
    /// Why it ends, where nobody has asked it to.
    pub(super) why: Option<RunError>,
    /// What is said of deliveries at the end of the turn.
    pub(super) words: Vec<Word>,
    pub(super) draining: watch::Sender<bool>,
}

/// What is said of a delivery.
#[derive(Debug)]
pub(super) enum Word {
    /// It is done.
    Done(Ack),
    /// It is being worked on.
    Alive(Ack),
}

/// Something that was waited for beside the attempts themselves.
#[derive(Debug)]
pub(super) enum Chore {
    /// What became of a claim.
    Claimed(u64, Claimed),
    /// These are in the ledger for good, or not.
    Synced(Vec<u64>, std::io::Result<()>),
    /// An unreadable offer was put aside, or it comes again.
    PutAside,
    /// Whether an attempt that waits for its lock is still wanted.
    Wanted(u64, bool),
    /// No process of these attempts is left.
    Swept(Vec<u64>),
}

/// What can happen.
#[derive(Debug)]
enum Happened {
    Killed,
    Drained,
    Ended(u64, Ended),
    Aborted,
    Reported(Parcel),
    Chore(Chore),
    Joined(Joined),
    Lock(News),
    FromLanes(FromLanes),
    Asked(Control),
    LinkChanged,
    TimeCame,
}

/// What an engine is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) mesh: Mesh,
    pub(super) options: Arc<Options>,
    pub(super) instance: InstanceId,
    pub(super) programs: Programs,
    pub(super) handlers: Handlers,
    pub(super) spool: Spool,
    pub(super) ledger: Ledger,
    pub(super) lanes: Lanes,
    pub(super) draining: watch::Sender<bool>,
}

impl Engine {
    /// An engine that takes up what the ledger holds unreported.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { mesh, options, instance, programs, handlers, spool, ledger, lanes, draining } = parts;
        let verify = options.times.verify.into();
        let mut engine = Self {
            outbox: Outbox::new(mesh.clone(), options.name.clone()),
            clocks: Clocks::new(options.times.started_after.into(), mesh.work_ack_wait() / 3),
            mesh,
            options,
            instance,
            programs,
            handlers,
            spool,
            ledger,
            lanes,
            attempts: BTreeMap::new(),
            ready: BTreeSet::new(),
            unwritten: Unwritten::default(),
            joining: Joining::new(verify),
            locks: Locks::default(),
            told: Told::default(),
            running: JoinSet::new(),
            chores: FuturesUnordered::new(),
            busy: 0,
            mode: Mode::Working,
            is_sweeping: false,
            why: None,
            words: Vec::new(),
            draining,
        };
        for (n, ended) in engine.ledger.unreported() {
            engine.report(n, What::Ended(ended));
        }
        engine
    }

    /// Works until it is told to end, and has.
    pub(super) async fn run(
        mut self,
        mut controls: ControlFeed,
        drain: CancellationToken,
        kill: CancellationToken,
    ) -> Result<(), RunError> {
        let mut connected = self.mesh.connected();
        // Beside the lanes, which say so too: a worker that drains has none.
        let mesh = self.mesh.clone();
        let mut closed = pin!(mesh.closed());
        let mut hears = true;
        loop {
            self.act().await;
            if self.is_over() {
                self.ledger.flush().map_err(RunError::Ledger)?;
                return self.why.map_or(Ok(()), Err);
            }
            let due = self.due();
            let happened = tokio::select! {
                biased;
                () = kill.cancelled(), if !self.mode.is_killed() => Happened::Killed,
                () = drain.cancelled(), if self.mode.is_working() => Happened::Drained,
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => match ended {
                    Ok((n, ended)) => Happened::Ended(n, ended),
                    Err(_) => Happened::Aborted,
                },
                parcel = self.outbox.stored() => Happened::Reported(parcel),
                Some(chore) = self.chores.next(), if !self.chores.is_empty() => Happened::Chore(chore),
                Some(joined) = self.joining.next(), if self.joining.is_under_way() => Happened::Joined(joined),
                Some(news) = self.locks.next(), if !self.locks.is_idle() => Happened::Lock(news),
                from = self.lanes.next() => Happened::FromLanes(from),
                control = controls.next(), if hears => {
                    hears = control.is_some();
                    control.map_or(Happened::TimeCame, Happened::Asked)
                }
                changed = connected.changed() => match changed {
                    Ok(()) => Happened::LinkChanged,
                    Err(_) => return self.close().await,
                },
                () = &mut closed => return self.close().await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Happened::TimeCame,
            };
            if self.take(happened).is_break() {
                return self.close().await;
            }
            self.take_more();
        }
    }

    /// Takes one thing in. Breaks when the connection is closed for good.
    fn take(&mut self, happened: Happened) -> ControlFlow<()> {
        match happened {
            Happened::Killed => self.kill(),
            Happened::Drained => self.drain(),
            Happened::Ended(n, ended) => self.ended(n, ended),
            Happened::Aborted | Happened::TimeCame | Happened::FromLanes(FromLanes::Look) => {}
            Happened::Reported(parcel) => self.reported(&parcel),
            Happened::Chore(chore) => self.done(chore),
            Happened::Joined(joined) => self.joined(joined),
            Happened::Lock(news) => self.hear_of_lock(news),
            Happened::FromLanes(FromLanes::Offer(offer)) => self.delivered(*offer),
            Happened::FromLanes(FromLanes::Gone) => self.rejoin(),
            Happened::FromLanes(FromLanes::Closed) => return ControlFlow::Break(()),
            Happened::Asked(control) => self.asked(&control),
            Happened::LinkChanged => {
                self.outbox.hurry(Instant::now());
                if self.mesh.is_connected() {
                    self.say_what_runs();
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes in what else has happened meanwhile.
    pub(super) fn take_more(&mut self) {
        for _ in 0..BATCH_MAX {
            match self.running.try_join_next() {
                Some(Ok((n, ended))) => self.ended(n, ended),
                Some(Err(_)) => {}
                None => break,
            }
        }
        for _ in 0..BATCH_MAX {
            let Some(parcel) = self.outbox.stored_now() else { break };
            self.reported(&parcel);
        }
        for _ in 0..BATCH_MAX {
            match self.lanes.now() {
                Some(FromLanes::Offer(offer)) => self.delivered(*offer),
                Some(FromLanes::Gone) => self.rejoin(),
                // The connection says it again.
                Some(FromLanes::Look | FromLanes::Closed) => {}
                None => break,
            }
        }
    }

    /// Does what follows from everything that was taken in.
    async fn act(&mut self) {
        let now = Instant::now();
        self.look_at_the_clock(now);
        self.fill_slots(now);
        self.write_ledger(now);
        self.outbox.pump(now);
        self.say_words().await;
        self.lanes.reopen(now);
        if self.mode.is_draining() {
            self.close_lanes().await;
        }
        let has_room = !self.unwritten.is_stuck() && self.outbox.len() < UNREPORTED_MAX && !self.locks.are_full();
        if self.mode.is_working() && has_room {
            let capacity = self.capacity();
            let free = capacity.saturating_sub(self.busy + self.ready.len());
            self.lanes.ask(free, capacity, now).await;
        }
    }

    /// Attempts that run at once.
    pub(super) fn capacity(&self) -> usize {
        usize::try_from(self.options.capacity.get()).unwrap_or(usize::MAX)
    }

    fn due(&self) -> Option<Instant> {
        // What was killed and has not ended yet says so itself.
        let ends = self.mode.until().filter(|_| !self.mode.is_killed() || self.running.is_empty());
        let verify = self.joining.due().filter(|_| self.mode.is_working());
        let times = [
            self.clocks.next(),
            self.held_until(),
            self.unwritten.due(),
            self.outbox.due(),
            self.lanes.due(),
            verify,
            ends,
        ];
        times.into_iter().flatten().min()
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        while let Some(due) = self.clocks.due(now) {
            match due {
                Due::Aged(n) => self.aged(n, now),
                Due::Sign(n) => self.sign(n, now),
            }
        }
        self.verify_lanes(now);
        self.mode_time(now);
    }

    /// Acknowledges what is done and shows that the rest is alive. With the link down this is left out: whatever is said
    /// would be late, and what is delivered again is known.
    async fn say_words(&mut self) {
        if !self.mesh.is_connected() {
            self.words.clear();
        }
        for word in self.words.drain(..) {
            match word {
                Word::Done(ack) => ack.ack().await,
                Word::Alive(ack) => ack.progress().await,
            }
        }
    }

    fn done(&mut self, chore: Chore) {
        match chore {
            Chore::Claimed(n, claimed) => self.claimed(n, claimed),
            Chore::Synced(numbers, result) => self.synced(numbers, result),
            Chore::Swept(numbers) => self.swept(&numbers),
            Chore::Wanted(n, false) => self.not_wanted(n),
            Chore::Wanted(_, true) | Chore::PutAside => {}
        }
    }

    /// A coordinator asks for something.
    fn asked(&mut self, control: &Control) {
        match control {
            Control::Kill { run, task, attempt } => self.cancel(run, *task, *attempt),
            Control::Tell(asked) => self.tell_again(asked),
            Control::Drain {} => self.drain(),
            // Answered where it came in.
            Control::Ping {} => {}
        }
    }

    /// The connection is closed for good: ends everything, and writes down how.
    async fn close(&mut self) -> Result<(), RunError> {
        self.kill();
        while let Some(ended) = self.running.join_next().await {
            if let Ok((n, ended)) = ended {
                self.ended(n, ended);
            }
        }
        let (numbers, markers) = self.running_still();
        process::end_marked(markers).await;
        self.swept(&numbers);
        self.ledger.flush().map_err(RunError::Ledger)?;
        Err(RunError::Closed)
    }

    /// What time it is here: for people who read reports, never for decisions.
    pub(super) fn now(&self) -> Timestamp {
        self.mesh.clock().now()
    }

    /// Whether an attempt is in this phase.
    pub(super) fn is_in(&self, n: u64, phase: Phase) -> bool {
        self.attempts.get(&n).is_some_and(|attempt| attempt.phase == phase)
    }
}
