//! What coordinators have put aside: the judge does not take their word for it that it was not to be believed.

use std::collections::BTreeMap;

use rr_core::run::WITHDRAWN_BY;
use rr_schemas::{
    input::{Holder, Input, Source},
    offer::Target,
    report::{Report, What},
};

use super::{
    Said,
    heard::{Heard, Key},
};
use crate::{Findings, Rule, token};

/// Bytes of what a person has written as his name and his reason that always fit into the answer to it. A quarter of what the
/// events of a decision take, and far below what any server lets a message have.
const TEXT_MAX: usize = 64 * 1024;

impl Heard<'_> {
    /// What must be believed is answered. Where an event cites what is in the quarantine, it was believed after all.
    pub(super) fn check_aside(&self, findings: &mut Findings) {
        let winners = self.winners();
        for said in self.whole.inputs.iter().filter(|said| said.seq <= self.upto) {
            let because = if self.left.contains(&said.seq) {
                (!self.may_be_left(said, &winners)).then_some("was left behind, and must have been answered")
            } else if self.is_aside(said.seq) {
                (!self.may_be_disbelieved(said, &winners)).then_some("was put aside, and must have been believed")
            } else {
                None
            };
            findings.demand(because.is_none(), Rule::Readable, said.seq, || {
                format!("{} {}", name(&said.input), because.unwrap_or_default())
            });
        }
    }

    /// Whether an input is in the quarantine, and nothing is said to follow from it.
    pub(super) fn is_aside(&self, seq: u64) -> bool {
        self.whole.aside.contains(&seq) && !self.cited.contains(&seq)
    }

    /// Whether a coordinator may put an input aside that it can read. The rules are its own (`coordinator/src/lanes.rs`, `token.rs`,
    /// `core/src/run/answer.rs`); where it alone knows what they need, it is taken at its word.
    pub(super) fn may_be_disbelieved(&self, said: &Said, winners: &BTreeMap<Key, (u64, Holder)>) -> bool {
        // Before there were tokens, the lane of a worker said whether it serves a host, and nobody has kept that.
        let is_known_by_lane = || match &said.input {
            Input::Report(report) => self.is_of_host(report.task),
            Input::Claim(claim) => self.is_of_host(claim.task),
            Input::Submit(_) | Input::Cancel(_) | Input::Signal(_) | Input::Timer {} | Input::Seen(_) => false,
        };
        self.counts_for_nothing(said, winners) || (self.secret.is_empty() && is_known_by_lane())
    }

    /// Whether an input is one that nobody has reason to say.
    fn counts_for_nothing(&self, said: &Said, winners: &BTreeMap<Key, (u64, Holder)>) -> bool {
        let (task, attempt, by) = match (&said.input, &said.source) {
            (Input::Report(report), Source::Worker(worker)) => {
                let by = Holder { worker: worker.clone(), instance: report.instance.clone() };
                if worker.as_str() == WITHDRAWN_BY || self.is_anothers_end(report, said.seq, &by, winners) {
                    return true;
                }
                (report.task, report.attempt, by)
            }
            (Input::Claim(claim), Source::Claim { .. }) => (claim.task, claim.attempt, claim.holder()),
            // A report from elsewhere is nobody's.
            (Input::Report(_) | Input::Claim(_), _) => return true,
            (Input::Signal(given), _) => {
                return !self.flow.is_some_and(|flow| flow.signals().contains(&given.signal));
            }
            // Whoever may publish there is believed.
            (Input::Submit(_) | Input::Cancel(_) | Input::Timer {} | Input::Seen(_), _) => {
                return false;
            }
        };
        let is_withdrawn = by.worker.as_str() == WITHDRAWN_BY;
        !token::is_borne(self.secret, self.whole.run, &said.source, &said.input)
            || !self.is_offered_before((task, attempt), said.seq)
            || !(is_withdrawn || self.may_run(task, &by))
    }

    /// Of a claimed attempt the end that another process speaks of is not believed, nor one that comes before the claim.
    fn is_anothers_end(&self, report: &Report, seq: u64, by: &Holder, winners: &BTreeMap<Key, (u64, Holder)>) -> bool {
        let has_won =
            || winners.get(&(report.task, report.attempt)).is_some_and(|(claim, winner)| *claim < seq && winner == by);
        matches!(report.what, What::Ended(_)) && self.is_claimed(report.task) && !has_won()
    }

    /// Whether an input may be left behind that no decision can answer. Only what people write has a size of its own: a submit that
    /// is too large is rejected, and whoever has sent it sees that.
    fn may_be_left(&self, said: &Said, winners: &BTreeMap<Key, (u64, Holder)>) -> bool {
        let is_long = |by: &str, reason: Option<&String>| by.len() + reason.map_or(0, String::len) > TEXT_MAX;
        match &said.input {
            Input::Submit(_) => true,
            Input::Cancel(cancel) => is_long(&cancel.by, cancel.reason.as_ref()),
            Input::Signal(given) => is_long(&given.by, given.reason.as_ref()) || self.counts_for_nothing(said, winners),
            Input::Report(_) | Input::Claim(_) | Input::Timer {} | Input::Seen(_) => {
                self.counts_for_nothing(said, winners)
            }
        }
    }

    fn is_of_host(&self, task: u32) -> bool {
        matches!(self.plan.as_ref().and_then(|plan| plan.target(task)), Some(Target::Host(_)))
    }
}

/// An input in a word or two.
const fn name(input: &Input) -> &'static str {
    match input {
        Input::Submit(_) => "what was asked for",
        Input::Cancel(_) => "a cancel",
        Input::Signal(_) => "a signal",
        Input::Timer {} => "a timer",
        Input::Seen(_) => "a look",
        Input::Report(_) => "a report on an attempt that was offered",
        Input::Claim(_) => "a claim of an attempt that was offered",
    }
}
