//! What runs at once by the words of workers, in the order in which the log has them.
//!
//! An attempt runs from the claim or the report that says so to the report of its end by the same worker. No clock is asked:
//! what a worker says is stored behind what it speaks of, so what began and has not ended here may have ended already, and then
//! nothing else was handed out in its place. Whatever of an attempt is decided without its worker's own word may run on, and
//! is counted apart.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::{Plan, run::WITHDRAWN_BY};
use rr_schemas::{
    decision::{Event, Record},
    input::{Input, Source},
    name::WorkerName,
    report::What,
};

use super::{Said, heard::Heard};
use crate::{
    Findings, Rule,
    overlap::{AtOnce, may_run_on},
};

/// Task and attempt.
type Key = (u32, u32);

/// A step of the log.
enum Step<'a> {
    /// Somebody says something.
    Said(&'a Said),
    /// Something was decided.
    Decided(&'a Record),
}

/// The log so far.
struct Sweep<'a> {
    plan: &'a Plan,
    /// What surely runs, unless its worker has only not said yet that it is over.
    surely: AtOnce,
    /// The same, and whatever may run on though it was decided.
    perhaps: AtOnce,
    /// Where each attempt runs.
    places: BTreeMap<Key, BTreeSet<&'a WorkerName>>,
    /// Which offer a worker was speaking of when it said that an attempt was over. What it says again of that or an earlier one
    /// is no news.
    ended: BTreeMap<(Key, &'a WorkerName), u32>,
    /// How attempts were decided.
    decided: BTreeMap<Key, &'a Event>,
    /// Attempts that have a claim.
    claimed: BTreeSet<Key>,
    /// How often something began beside a full window that is full only with what may run on.
    n_beside: u64,
}

impl<'a> Heard<'a> {
    /// No more attempts of a job run at once than its window holds. Says how often something began beside one that was lost and
    /// may still have run, so that there were more.
    pub(super) fn check_overlap(&self, findings: &mut Findings) -> u64 {
        let Some(plan) = &self.plan else { return 0 };
        let carried = self.log.iter().find_map(|record| {
            if let Event::Submitted { retry_of, .. } = &record.event { Some(retry_of.as_deref()) } else { None }
        });
        let at_once = AtOnce::new(plan, carried.flatten());
        let mut sweep = Sweep {
            plan,
            surely: at_once.clone(),
            perhaps: at_once,
            places: BTreeMap::new(),
            ended: BTreeMap::new(),
            decided: BTreeMap::new(),
            claimed: BTreeSet::new(),
            n_beside: 0,
        };
        let said = self.inputs.values().map(|said| (said.seq, Step::Said(said)));
        let decided = self
            .whole
            .decisions
            .iter()
            .flat_map(|stored| stored.decision.events.iter().map(|record| (stored.seq, Step::Decided(record))));
        let mut steps: Vec<(u64, Step<'_>)> = said.chain(decided).collect();
        steps.sort_by_key(|(seq, _)| *seq);
        for (_, step) in steps {
            match step {
                Step::Decided(record) => sweep.decide(&record.event),
                Step::Said(said) => self.sweep_said(said, &mut sweep, findings),
            }
        }
        sweep.n_beside
    }

    fn sweep_said(&self, said: &'a Said, sweep: &mut Sweep<'a>, findings: &mut Findings) {
        let was_offered = |key: Key| self.offered.get(&key).is_some_and(|decision| *decision < said.seq);
        match (&said.input, &said.source) {
            (Input::Claim(claim), Source::Claim { worker, .. }) => {
                let key = (claim.task, claim.attempt);
                let is_first = was_offered(key) && sweep.claimed.insert(key);
                if is_first && self.is_claimed(claim.task) && worker.as_str() != WITHDRAWN_BY {
                    sweep.begin(said.seq, key, worker, findings);
                }
            }
            (Input::Report(report), Source::Worker(worker)) if was_offered((report.task, report.attempt)) => {
                let key = (report.task, report.attempt);
                match &report.what {
                    // Of what is claimed the claim has said so.
                    What::Started { .. } if self.is_claimed(report.task) => {}
                    What::Started { .. } => {
                        if sweep.ended.get(&(key, worker)).is_none_or(|offer| *offer < report.offer) {
                            sweep.begin(said.seq, key, worker, findings);
                        }
                    }
                    What::Ended(_) => {
                        let offer = sweep.ended.entry((key, worker)).or_default();
                        *offer = report.offer.max(*offer);
                        sweep.end(key, worker);
                    }
                    What::Returned {} => {}
                }
            }
            _ => {}
        }
    }
}

impl<'a> Sweep<'a> {
    fn begin(&mut self, at: u64, key: Key, worker: &'a WorkerName, findings: &mut Findings) {
        if !self.places.entry(key).or_default().insert(worker) {
            return;
        }
        let may_be = self.perhaps.begins(self.plan, key);
        if self.is_left(key, worker) {
            self.n_beside += u64::from(may_be.is_some());
            return;
        }
        let is = self.surely.begins(self.plan, key);
        self.n_beside += u64::from(may_be.is_some() && is.is_none());
        findings.demand(is.is_none(), Rule::Overlap, at, || {
            format!("{} with attempt {} of task {} at {worker}", is.unwrap_or_default(), key.1, key.0)
        });
    }

    fn end(&mut self, key: Key, worker: &'a WorkerName) {
        let ran = self.places.get_mut(&key).is_some_and(|places| places.remove(worker));
        if !ran {
            return;
        }
        self.perhaps.ends(self.plan, key);
        if !self.is_left(key, worker) {
            self.surely.ends(self.plan, key);
        }
    }

    fn decide(&mut self, event: &'a Event) {
        let Event::Ended { task, attempt, .. } = event else { return };
        let key = (*task, *attempt);
        // What was left before was decided twice, which is told elsewhere.
        if self.decided.contains_key(&key) {
            return;
        }
        self.decided.insert(key, event);
        let places = self.places.get(&key).cloned().unwrap_or_default();
        let n_left = places.into_iter().filter(|worker| self.is_left(key, worker)).count();
        (0..n_left).for_each(|_| self.surely.ends(self.plan, key));
    }

    /// Whether an attempt was decided so that it may run on at a worker.
    fn is_left(&self, key: Key, worker: &WorkerName) -> bool {
        let Some(Event::Ended { by, end, .. }) = self.decided.get(&key) else { return false };
        may_run_on(worker, by.as_ref(), end)
    }
}
