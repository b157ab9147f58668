//! What workers have reported as ended, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use rr_schemas::{
    decision::{Event, Record},
    input::{Holder, Input, Source},
    report::{Outcome, Report},
};

use super::{
    Said,
    heard::{Heard, Key, report_of},
};
use crate::{Findings, Rule};

/// What the events say of attempts and of reports.
#[derive(Default)]
struct Answers<'a> {
    /// Ends: the input that each cites, who is said to have ended it, and how.
    ends: BTreeMap<Key, (u64, Option<&'a Holder>, Outcome)>,
    /// Who is said to have started each first, and by which input.
    starts: BTreeMap<Key, (u64, &'a Holder)>,
    /// Inputs that are noted as late.
    late: BTreeSet<u64>,
}

impl<'a> Answers<'a> {
    fn of(log: &[&'a Record]) -> Self {
        let mut answers = Self::default();
        for record in log {
            if let Event::Ended { task, attempt, by, end, .. } = &record.event {
                answers.ends.insert((*task, *attempt), (record.cause, by.as_ref(), end.outcome));
            } else if let Event::Started { task, attempt, by } = &record.event {
                answers.starts.entry((*task, *attempt)).or_insert((record.cause, by));
            } else if let Event::Late { .. } = record.event {
                answers.late.insert(record.cause);
            }
        }
        answers
    }

    /// Whether an end may come later than this report of it. Beside a worker that has said before that it runs the attempt,
    /// only the success of another one counts: who has it a second time may have been told to end it.
    fn gives_way(&self, said: &Said, (report, who, outcome): (&Report, &Holder, Outcome)) -> bool {
        let start = self.starts.get(&(report.task, report.attempt));
        let beside = start.is_some_and(|(cause, holder)| *cause < said.seq && holder.worker != who.worker);
        outcome != Outcome::Ok && beside && self.late.contains(&said.seq)
    }
}

impl Heard<'_> {
    /// The first report of an end decides its attempt, later ones are noted as late.
    pub(super) fn check_reports(&self, findings: &mut Findings) {
        let answers = Answers::of(&self.log);
        let winners = self.winners();
        let answered = self.inputs.values().filter(|said| said.seq <= self.upto);
        // What was left behind is judged as such.
        for said in answered.filter(|said| !self.left.contains(&said.seq)) {
            let Some((report, who, end)) = report_of(said) else { continue };
            let key = (report.task, report.attempt);
            let won = || winners.get(&key).is_some_and(|(seq, by)| *seq < said.seq && *by == who);
            // Of a claimed attempt only who has won it is believed.
            let counts = self.was_offered(report, said.seq) && (!self.is_claimed(report.task) || won());
            if end.outcome == Outcome::Lost || !counts {
                continue;
            }
            let Some((cause, by, outcome)) = answers.ends.get(&key) else {
                let text = || format!("task {}, attempt {} has ended and nobody knows", report.task, report.attempt);
                let known = self.flow.is_none() || answers.late.contains(&said.seq);
                findings.demand(known, Rule::Heard, said.seq, text);
                continue;
            };
            let first = *cause <= said.seq || answers.gives_way(said, (report, &who, end.outcome));
            findings.demand(first, Rule::Heard, said.seq, || {
                format!("the end of task {}, attempt {} is passed over until seq={cause}", report.task, report.attempt)
            });
            // What was decided is not news when it is said again.
            let is_same = *by == Some(&who) && *outcome == end.outcome;
            let known = *cause == said.seq || is_same || answers.late.contains(&said.seq);
            findings.demand(known, Rule::Heard, said.seq, || format!("a late report of task {} is lost", report.task));
        }
    }

    /// By whose claim each attempt was won: the first one, if the attempt had been offered by then and it was not left behind.
    pub(super) fn winners(&self) -> BTreeMap<Key, (u64, Holder)> {
        let mut winners = BTreeMap::new();
        for said in self.inputs.values() {
            if let (Input::Claim(claim), Source::Claim { .. }) = (&said.input, &said.source) {
                winners.entry((claim.task, claim.attempt)).or_insert_with(|| (said.seq, claim.holder()));
            }
        }
        winners.retain(|key, (seq, _)| {
            self.offered.get(key).is_some_and(|decision| decision < seq) && !self.left.contains(seq)
        });
        winners
    }
}
