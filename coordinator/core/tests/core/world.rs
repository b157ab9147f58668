//! A world for one run: a stream with a clock, offers, workers that die, and a transport that repeats and reorders.

// Other tests take this file by its path, and would look for these beside it.
#[path = "world/fate.rs"]
mod fate;
#[path = "world/workers.rs"]
mod workers;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use rr_core::{Effect, Heard, History, Look, Policy, Run, run::decide::Around};
use rr_draw::{Dice, SIGNALS};
use rr_schemas::{
    decision::{Decision, Record},
    flow::Flow,
    flow::params::ParamValues,
    input::{Cancel, Found, Holder, Input, Seen, SeenAttempts, Signal, Source, Submit},
    report::Outcome,
    retry::{Again, RetryOf},
};

use rr_verify::history::{Said, Stored};

pub(crate) use self::fate::Fate;
use self::workers::Execution;

/// A decision as a stream would have it.
#[derive(Clone)]
pub(crate) struct Turn {
    pub(crate) seq: u64,
    pub(crate) upto: u64,
    pub(crate) records: Vec<Record>,
}

pub(crate) struct World {
    pub(crate) run: Run,
    pub(crate) log: Vec<Record>,
    /// The same as decisions, with a sequence of their own among what was said.
    pub(crate) turns: Vec<Turn>,
    /// Everything that was said.
    pub(crate) said: Vec<Heard>,
    seq: u64,
    now: Timestamp,
    policy: Policy,
    offers: BTreeMap<(u32, u32), u32>,
    executions: Vec<Execution>,
    claims: BTreeMap<(u32, u32), Holder>,
    inbox: Vec<Heard>,
    n_workers: u64,
    fate: Fate,
    pub(crate) dice: Dice,
}

impl World {
    pub(crate) fn new(flow: &Flow, fate: Fate, dice: Dice) -> Self {
        let submit = Submit { flow: flow.clone(), params: ParamValues::default(), by: "test".into(), retry_of: None };
        Self::of(submit, None, fate, dice)
    }

    /// A retry of a run that is over, by what a coordinator has found of it.
    pub(crate) fn retry(flow: &Flow, old: &Run, again: Again, fate: Fate, dice: Dice) -> Self {
        let retry_of = Some(RetryOf { run: old.id().clone(), again });
        let submit = Submit { flow: flow.clone(), params: ParamValues::default(), by: "test".into(), retry_of };
        let carried = super::retries::carried(old, again);
        let around = Around { carried: Some(Box::new(carried)), ..Around::default() };
        Self::of(submit, Some(&around), fate, dice)
    }

    fn of(submit: Submit, around: Option<&Around>, fate: Fate, dice: Dice) -> Self {
        let policy = Policy::default();
        let mut world = Self {
            run: Run::new("r1".parse().unwrap(), policy),
            log: Vec::new(),
            turns: Vec::new(),
            said: Vec::new(),
            seq: 0,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            policy,
            offers: BTreeMap::new(),
            executions: Vec::new(),
            claims: BTreeMap::new(),
            inbox: Vec::new(),
            n_workers: 0,
            fate,
            dice,
        };
        world.say(Source::Api, Input::Submit(Box::new(submit)));
        for heard in &mut world.inbox {
            heard.around = around.cloned().map(Box::new);
        }
        if fate.signal.is_none() {
            for signal in SIGNALS {
                world.give(signal);
            }
        }
        world
    }

    fn say(&mut self, source: Source, input: Input) {
        self.seq += 1;
        self.now += 1.millisecond();
        self.inbox.push(Heard::new(self.seq, self.now, source, input));
        self.said.extend(self.inbox.last().cloned());
    }

    /// Lets the coordinator answer what is there, in decisions, and performs their effects.
    pub(crate) fn decide(&mut self) {
        let mut heard = std::mem::take(&mut self.inbox);
        loop {
            let decided = self.run.decide(&heard);
            let upto = self.turns.last().map_or(0, |turn| turn.upto);
            let upto = heard.drain(..decided.answered).next_back().map_or(upto, |last| last.seq);
            let effects = self.run.effects(&decided.records);
            let is_news = !decided.records.is_empty();
            if is_news {
                self.seq += 1;
                self.turns.push(Turn { seq: self.seq, upto, records: decided.records.clone() });
            }
            self.log.extend(decided.records);
            for effect in effects {
                self.perform(&effect);
            }
            if heard.is_empty() && !self.run.more() {
                return;
            }
            assert!(decided.answered > 0 || is_news, "there is more to decide, and nothing is decided");
            assert!(self.log.len() < 100_000, "a run of a few tasks is decided on for ever");
        }
    }

    fn perform(&mut self, effect: &Effect) {
        match *effect {
            Effect::Offer { task, attempt, offer } => {
                assert!(self.run.plan().unwrap().offer(self.run.id(), task, attempt, offer).is_some());
                self.offers.insert((task, attempt), offer);
            }
            Effect::Withdraw { task, attempt } => {
                self.offers.remove(&(task, attempt));
            }
            Effect::WithdrawRun => self.offers.clear(),
            Effect::Kill { task, attempt, ref holder } => {
                let is_it = |e: &Execution| e.task == task && e.attempt == attempt && e.holder == *holder && e.alive;
                let index = self.executions.iter().position(is_it);
                if let Some(index) = index {
                    let execution = self.executions.remove(index);
                    self.report(&execution, Outcome::Cancelled);
                }
            }
        }
    }

    fn give(&mut self, signal: &str) {
        let signal = Signal { signal: signal.parse().unwrap(), by: "test".into(), reason: None };
        self.say(Source::Api, Input::Signal(signal));
    }

    /// One step of fate: an offer is taken, an attempt ends, a worker dies, time passes.
    pub(crate) fn step(&mut self) {
        if self.dice.chance(self.fate.cancel) {
            self.say(Source::Api, Input::Cancel(Cancel { by: "test".into(), reason: None }));
        }
        if self.fate.signal.is_some_and(|percent| self.dice.chance(percent)) {
            let signal = SIGNALS[self.dice.roll(SIGNALS.len() as u64) as usize];
            self.give(signal);
        }
        if self.dice.chance(self.fate.reload) {
            self.reload();
        }
        if self.dice.chance(self.fate.forge) {
            self.forge();
        }
        let offers: Vec<_> = self.offers.iter().map(|(key, offer)| (*key, *offer)).collect();
        let alive: Vec<usize> = (0..self.executions.len()).filter(|index| self.executions[*index].alive).collect();
        match self.dice.roll(3) {
            0 | 1 if !offers.is_empty() => {
                let ((task, attempt), offer) = offers[self.dice.roll(offers.len() as u64) as usize];
                if self.dice.chance(self.fate.vanish) {
                    self.offers.remove(&(task, attempt));
                } else if !self.dice.chance(self.fate.unserved) {
                    self.take(task, attempt, offer);
                }
            }
            2 if !alive.is_empty() => {
                let index = alive[self.dice.roll(alive.len() as u64) as usize];
                self.finish(index);
            }
            _ if alive.is_empty() && self.inbox.is_empty() => self.pass_time(),
            _ => {}
        }
        if self.dice.chance(50) {
            self.decide();
        }
    }

    fn pass_time(&mut self) {
        self.decide();
        let Some(deadline) = self.run.deadline() else {
            return;
        };
        self.now = self.now.max(deadline);
        self.say(Source::Timer, Input::Timer {});
        self.decide();
        let looks = self.run.looks(self.now);
        if !looks.is_empty() {
            let attempts = looks.iter().flat_map(|look| self.see(look)).collect();
            self.say(Source::Note, Input::Seen(Seen { attempts }));
            self.decide();
        }
    }

    fn see(&mut self, look: &Look) -> Vec<SeenAttempts> {
        let mut seen = Vec::new();
        for task in look.tasks.iter() {
            let execution = self.executions.iter().find(|e| e.task == task && e.attempt == look.attempt);
            let found = match (&look.holder, execution) {
                (Some(holder), Some(e)) if e.alive && e.holder == *holder => Found::WorkerPresent,
                (Some(_), _) => Found::WorkerGone,
                (None, Some(e)) if e.alive => Found::OfferWaits,
                (None, _) if self.offers.contains_key(&(task, look.attempt)) => {
                    if self.dice.chance(self.fate.unserved * 6) { Found::OfferUnserved } else { Found::OfferWaits }
                }
                (None, _) => Found::OfferGone,
            };
            let ends_unstarted = look.claimed
                && look.holder.is_none()
                && match found {
                    Found::OfferUnserved => !look.patient || self.run.is_stopping(),
                    Found::OfferGone => self.run.is_stopping() || look.is_last_offer,
                    Found::OfferWaits => self.run.is_stopping(),
                    Found::WorkerPresent | Found::WorkerGone | Found::ClaimVoid => false,
                };
            let found = if ends_unstarted && !self.withdraw(task, look.attempt) { Found::ClaimVoid } else { found };
            let withdrawn = ends_unstarted && found != Found::ClaimVoid;
            let tasks = [task].into_iter().collect();
            let (attempt, offer) = (look.attempt, look.offer);
            seen.push(SeenAttempts { tasks, attempt, offer, found, withdrawn });
        }
        seen
    }

    /// What a stream would have of it: decisions, and what was said. Sequences are tens, so that tests have room between.
    pub(crate) fn stored(&self) -> (Vec<Stored>, Vec<Said>, BTreeMap<u64, Timestamp>) {
        let hash = |seq: u64| format!("hash{seq}");
        let mut prev = String::new();
        let decisions = (1..).zip(&self.turns).map(|(n, turn)| {
            let seq = 10 * turn.seq;
            let prev = std::mem::replace(&mut prev, hash(seq));
            let events = turn.records.iter().map(|record| Record { cause: 10 * record.cause, ..record.clone() });
            let (by, upto, secret) = ("c1".parse().unwrap(), 10 * turn.upto, String::new());
            let decision = Decision { n, by, upto, prev, secret, events: events.collect() };
            Stored { seq, hash: hash(seq), decision }
        });
        let said = self.said.iter();
        let inputs =
            said.map(|said| Said { seq: 10 * said.seq, source: said.source.clone(), input: said.input.clone() });
        let times = self.said.iter().map(|said| (10 * said.seq, said.at)).collect();
        (decisions.collect(), inputs.collect(), times)
    }

    /// Forgets everything and folds the log: a lived state and a folded one must not differ.
    fn reload(&mut self) {
        self.decide();
        let mut folded = Run::new(self.run.id().clone(), self.policy);
        for record in &self.log {
            folded.apply(record).unwrap();
        }
        assert_eq!(folded.view(), self.run.view());
        assert_eq!(folded.deadline(), self.run.deadline());
        assert_eq!(folded.waits(), self.run.waits());
        let more = folded.decide(&[]);
        assert!(more.records.is_empty(), "a load alone concludes nothing: {more:?}");
        self.run = folded;
    }

    /// Goes on until the run has ended. Held tasks are ended by a cancel: they wait for a person.
    pub(crate) fn play(&mut self) -> History {
        for step in 0..20_000 {
            if self.run.is_final() {
                break;
            }
            if step == 15_000 {
                self.say(Source::Api, Input::Cancel(Cancel { by: "person".into(), reason: None }));
            }
            assert!(self.run.exists() || step < 100);
            assert!(!self.run.waits().is_empty(), "a run that is not over waits for something");
            self.step();
        }
        assert!(self.run.is_final(), "a run must end: {:?}", self.run.waits());
        let mut history = History::new(self.run.id().clone());
        for record in &self.log {
            history.apply(record).unwrap();
        }
        history
    }
}
