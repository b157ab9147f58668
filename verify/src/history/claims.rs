//! Claims: of an attempt that must not start twice one process of one worker is the only one.

use std::collections::BTreeMap;

use rr_core::run::WITHDRAWN_BY;
use rr_schemas::{
    decision::Event,
    input::{Holder, Input, Source},
};

use super::heard::{Heard, any_report_of, has_begun};
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

fn process(by: &Holder) -> String {
    format!("{} ({})", by.worker, by.instance)
}
