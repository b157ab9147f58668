//! One run of the log, as far as it was read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_core::Run;
use rr_schemas::{
    decision::Event,
    id::RunId,
    input::Input,
    view::{RunView, Tally},
};

use super::{
    Content, Finding, Quarantine, Rules, Shown,
    waiting::{self, Waiting},
};
use crate::{
    Rule, Violation,
    history::{Judgement, Said, Stored, Whole, judge_whole},
    records::Extent,
};

/// The messages of a run.
#[derive(Debug, Default)]
pub(super) struct Open {
    decisions: Vec<Stored>,
    inputs: Vec<Said>,
    times: BTreeMap<u64, Timestamp>,
    unread: BTreeMap<u64, String>,
    bad: BTreeMap<u64, String>,
    unreadable: Option<(u64, String)>,
    /// Messages among the decisions that are none.
    n_foreign: usize,
}

impl Open {
    pub(super) fn hear(&mut self, seq: u64, at: Timestamp, content: Content) {
        match content {
            // A history that cannot be read goes on for whoever can, and says nothing to us from there on.
            Content::Decision { .. } if self.unreadable.is_some() => {}
            Content::Decision { hash, decision } => self.decisions.push(Stored { seq, hash, decision: *decision }),
            Content::Unreadable(reason) => {
                self.unreadable.get_or_insert((seq, reason));
            }
            Content::Foreign => self.n_foreign += 1,
            Content::Input { source, input } => {
                self.times.insert(seq, at);
                self.inputs.push(Said { seq, source, input: *input });
            }
            Content::Unread(reason) => {
                self.times.insert(seq, at);
                self.unread.insert(seq, reason);
            }
            Content::Bad(reason) => {
                self.bad.insert(seq, reason);
            }
        }
    }

    /// Messages that are held.
    pub(super) fn held(&self) -> u64 {
        u64::try_from(self.decisions.len() + self.inputs.len() + self.unread.len() + self.bad.len()).unwrap_or(u64::MAX)
    }

    /// Whether the decisions are all there from the first on.
    pub(super) fn is_whole(&self) -> bool {
        self.unreadable.is_none() && self.beginning_missing().is_none()
    }

    /// Nothing but late inputs of a run that is not there any more.
    pub(super) fn is_remainder(&self) -> bool {
        let has_submit = self.inputs.iter().any(|said| matches!(said.input, Input::Submit(_)));
        self.decisions.is_empty() && self.unreadable.is_none() && !has_submit
    }

    pub(super) fn beginning_missing(&self) -> Option<String> {
        let first = self.decisions.first()?;
        (first.decision.n > 1).then(|| {
            format!(
                "its beginning is not in the log any more: the first decision there is number {} (seq={})",
                first.decision.n, first.seq
            )
        })
    }

    /// Whether it began before this message of the log: its first decision is a later one, or answers something that stands
    /// before.
    pub(super) fn began_before(&self, first: u64) -> bool {
        let is_before =
            |stored: &Stored| stored.decision.n > 1 || stored.decision.events.iter().any(|record| record.cause < first);
        self.decisions.first().is_some_and(is_before)
    }

    /// Whether it is over, and nothing is there of what was said to it before. A run that is forgotten loses its inputs first.
    pub(super) fn is_half_forgotten(&self) -> bool {
        let ends = |stored: &&Stored| stored.decision.events.iter().any(|record| record.event.is_end());
        let Some(end) = self.decisions.iter().find(ends) else { return false };
        let unbelieved = self.unread.keys().chain(self.bad.keys()).copied();
        let mut said = self.inputs.iter().map(|said| said.seq).chain(unbelieved);
        said.all(|seq| seq > end.decision.upto)
    }

    pub(super) fn unreadable(&self) -> Option<String> {
        self.unreadable.as_ref().map(|(seq, reason)| format!("decision seq={seq} cannot be read: {reason}"))
    }

    pub(super) fn is_over(&self) -> bool {
        self.decisions.iter().flat_map(|stored| &stored.decision.events).any(|record| record.event.is_end())
    }

    /// The number of the last decision, 0 where there is none.
    pub(super) fn last_number(&self) -> u64 {
        self.decisions.last().map_or(0, |last| last.decision.n)
    }

    pub(super) fn has_unanswered_reports(&self) -> bool {
        let upto = self.decisions.last().map_or(0, |last| last.decision.upto);
        self.inputs.iter().rev().take_while(|said| said.seq > upto).any(|said| matches!(said.input, Input::Report(_)))
    }

    /// Its inputs that were put aside.
    pub(super) fn aside(&self, run: &RunId, quarantine: &Quarantine) -> BTreeSet<u64> {
        let is_in = |said: &&Said| quarantine.has(run, &said.source, said.seq, self.times.get(&said.seq).copied());
        self.inputs.iter().filter(is_in).map(|said| said.seq).collect()
    }

    /// Messages that were not believed: put aside, left behind, or nothing that can be read and from which nothing follows.
    pub(super) fn n_unbelieved(&self, aside: &BTreeSet<u64>) -> u64 {
        let records = self.decisions.iter().flat_map(|stored| &stored.decision.events);
        let cited: BTreeSet<u64> = records.clone().map(|record| record.cause).collect();
        let left: BTreeSet<u64> = records
            .filter_map(|record| if let Event::PutAside { input, .. } = record.event { Some(input) } else { None })
            .collect();
        let n_aside = self.inputs.iter().filter(|said| aside.contains(&said.seq) || left.contains(&said.seq)).count();
        let n_unread = self.unread.keys().filter(|seq| !cited.contains(seq)).count();
        u64::try_from(n_aside + n_unread + self.bad.len() + self.n_foreign).unwrap_or(u64::MAX)
    }

    pub(super) fn judge(
        &self,
        run: &RunId,
        rules: &Rules,
        aside: &BTreeSet<u64>,
        shown: Option<Shown>,
        offers: &[Waiting],
    ) -> Judgement {
        let extent = if self.is_over() { Extent::Over } else { Extent::SoFar };
        // What the log has lost may have answered what waits.
        let of_offers = self.unknown_offers(run, offers);
        let has_lost = of_offers.truncated.is_some() || shown.is_some_and(|shown| shown.n > self.last_number());
        let mut judged = judge_whole(&Whole {
            run,
            decisions: &self.decisions,
            inputs: &self.inputs,
            times: &self.times,
            bad: &self.bad,
            unread: &self.unread,
            aside,
            policy: &rules.policy,
            policy_of: rules.policy_of,
            extent,
            now: rules.now.filter(|_| !has_lost),
        });
        if let Some(shown) = shown {
            self.judge_shown(run, rules, shown, &mut judged);
        }
        // Behind a broken chain nothing is sure, and a run may have more tasks there than can be planned.
        if judged.truncated.is_none() && judged.violations.iter().all(|found| found.rule != Rule::Chain) {
            judged.violations.extend(of_offers.violations);
            judged.unsure.extend(waiting::unread(offers));
            judged.truncated = of_offers.truncated;
        }
        judged
    }

    /// The state that people see is the fold of the history up to the decision that it names.
    fn judge_shown(&self, run: &RunId, rules: &Rules, shown: Shown, judged: &mut Judgement) {
        let last = self.last_number();
        if shown.n > last {
            judged.truncated = Some(format!("its state shows decision {}, and the log ends with {last}", shown.n));
            return;
        }
        // Behind a broken chain nothing is sure.
        if judged.violations.iter().any(|found| found.rule == Rule::Chain) {
            return;
        }
        let mut state = Run::new(run.clone(), rules.policy);
        let upto = self.decisions.iter().take_while(|stored| stored.decision.n <= shown.n);
        let mut records = upto.flat_map(|stored| &stored.decision.events);
        // What cannot be folded has been told already.
        if records.any(|record| state.apply(record).is_err()) {
            return;
        }
        let view: RunView = state.view();
        let folded = Shown {
            n: shown.n,
            status: view.status,
            tasks: Tally::of(&view),
            started_at: view.started_at,
            ended_at: view.ended_at,
        };
        if folded != shown {
            let at = self.decisions.iter().find(|stored| stored.decision.n == shown.n).map_or(0, |stored| stored.seq);
            let text = format!(
                "rr-runs shows it {} with {:?} after decision {}, and it was {} with {:?}",
                shown.status.word(),
                shown.tasks,
                shown.n,
                folded.status.word(),
                folded.tasks
            );
            judged.violations.push(Violation { rule: Rule::Projection, at, text });
        }
    }

    /// What the offers say that wait.
    fn unknown_offers(&self, run: &RunId, offers: &[Waiting]) -> waiting::Told {
        let secret = self.decisions.first().map_or("", |stored| stored.decision.secret.as_str());
        let records = self.decisions.iter().flat_map(|stored| &stored.decision.events);
        waiting::unknown_offers(run, secret, records, offers)
    }
}

/// Offers of a run that the log knows nothing of.
pub(super) fn unknown_offers(run: &RunId, offers: &[Waiting]) -> Vec<Finding> {
    let finding = |waiting| Finding::Violation { run: run.clone(), violation: waiting::unknown(waiting) };
    offers.iter().map(finding).collect()
}
