//! Claims: of an attempt that must not start twice one process of one worker is the only one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use rr_core::run::WITHDRAWN_BY;
use rr_schemas::{
    decision::Event,
    input::{Holder, Input, Source},
};

use super::{
    heard::{Heard, Key, any_report_of, has_begun},
    standing::{Runs, Standings},
};
use crate::{Findings, Rule};

impl Heard<'_> {
    /// A claimed attempt has one claim at most; it counts as started by who has made that one; and nobody else says that it
    /// has run it.
    pub(super) fn check_claims(&self, findings: &mut Findings) {
        let mut won: BTreeMap<(u32, u32), (u64, Holder)> = BTreeMap::new();
        for said in self.inputs.values() {
            let (Input::Claim(claim), Source::Claim { .. }) = (&said.input, &said.source) else { continue };
            let (winner, first) = won.entry((claim.task, claim.attempt)).or_insert_with(|| (said.seq, claim.holder()));
            findings.demand(*winner == said.seq, Rule::Claim, said.seq, || {
                format!(
                    "attempt {} of task {} is claimed a second time, after {}",
                    claim.attempt, claim.task, first.worker
                )
            });
        }
        for said in self.inputs.values() {
            let Some((report, who)) = any_report_of(said) else { continue };
            if !self.is_claimed(report.task) || !has_begun(&report.what) {
                continue;
            }
            let winner = won.get(&(report.task, report.attempt)).map(|(_, by)| by);
            findings.demand(winner == Some(&who), Rule::Claim, said.seq, || {
                let other = winner.map_or_else(|| "nobody".to_owned(), process);
                format!(
                    "{} has run attempt {} of task {}, which {other} has claimed",
                    process(&who),
                    report.attempt,
                    report.task
                )
            });
        }
        let mut started: BTreeMap<(u32, u32), &Holder> = BTreeMap::new();
        for record in &self.log {
            let Event::Started { task, attempt, by } = &record.event else { continue };
            if !self.is_claimed(*task) {
                continue;
            }
            let is_winner = won.get(&(*task, *attempt)).is_some_and(|(_, winner)| winner == by);
            findings.demand(is_winner && by.worker.as_str() != WITHDRAWN_BY, Rule::Claim, record.cause, || {
                format!("{} starts attempt {attempt} of task {task} without its claim", process(by))
            });
            let first = *started.entry((*task, *attempt)).or_insert(by);
            findings.demand(first == by, Rule::Claim, record.cause, || {
                format!("attempt {attempt} of task {task} starts at {} and at {}", process(first), process(by))
            });
        }
    }
}

impl Heard<'_> {
    /// A claim that is won while nobody has started the attempt is answered by its start. The order is that of the core: it answers
    /// inputs one by one, and what follows from an earlier one is so by then.
    pub(super) fn check_won(&self, findings: &mut Findings) {
        let Some(plan) = &self.plan else { return };
        let starts = self.log.iter().filter(|record| matches!(record.event, Event::Started { .. }));
        let starts: BTreeSet<u64> = starts.map(|record| record.cause).collect();
        let counts = |key: &Key, by: &Holder| {
            self.is_claimed(key.0) && by.worker.as_str() != WITHDRAWN_BY && self.may_run(key.0, by)
        };
        let won = self.winners().into_iter().filter(|(key, (_, by))| counts(key, by));
        let won: BTreeMap<u64, (Key, Holder)> = won.map(|(key, (seq, by))| (seq, (key, by))).collect();
        let mut standings = Standings::new(plan);
        let mut check = |standings: &Standings<'_>, seqs: Range<u64>| {
            for (seq, (key, by)) in won.range(seqs) {
                let waits = standings.open(key.0, key.1).is_some_and(|open| matches!(open.runs, Runs::Nobody));
                findings.demand(!waits || starts.contains(seq), Rule::Claim, *seq, || {
                    format!("the claim of attempt {} of task {} by {} is passed over", key.1, key.0, process(by))
                });
            }
        };
        let mut next = 0;
        for stored in self.whole.decisions {
            for record in &stored.decision.events {
                // What goes on without an input cites an earlier one.
                let upto = next.max(record.cause.saturating_add(1));
                check(&standings, next..upto);
                next = upto;
                standings.fold(record);
            }
            let upto = next.max(stored.decision.upto.saturating_add(1));
            check(&standings, next..upto);
            next = upto;
        }
    }
}

fn process(by: &Holder) -> String {
    format!("{} ({})", by.worker, by.instance)
}
