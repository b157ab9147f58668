//! What was said to a run, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::Plan;
use rr_schemas::{
    decision::{Event, Record},
    flow::{Flow, Job},
    input::{Holder, Input, Source},
    name::Name,
    offer::Target,
    report::{Ended, Outcome, Report, What},
};

use super::{Said, Whole};
use crate::{Findings, Rule, records::within, token};

/// Task and attempt.
pub(super) type Key = (u32, u32);

/// The events of a run beside what was said to it.
pub(super) struct Heard<'a> {
    pub(super) whole: &'a Whole<'a>,
    pub(super) flow: Option<&'a Flow>,
    pub(super) plan: Option<Plan>,
    /// Every event.
    pub(super) log: Vec<&'a Record>,
    /// Every input that can be believed: that bears its token, and was not put aside unless an event cites it.
    pub(super) inputs: BTreeMap<u64, &'a Said>,
    /// Attempts by task and number: the decision that offered them first.
    pub(super) offered: BTreeMap<Key, u64>,
    /// Up to which input everything is answered.
    pub(super) upto: u64,
    /// What the tokens of the run are made with.
    pub(super) secret: &'a str,
    /// Inputs from which something follows.
    pub(super) cited: BTreeSet<u64>,
    /// Inputs that an event says were left behind.
    pub(super) left: BTreeSet<u64>,
}

impl<'a> Heard<'a> {
    pub(super) fn new(whole: &'a Whole<'a>) -> Self {
        let log: Vec<&Record> = whole.decisions.iter().flat_map(|stored| &stored.decision.events).collect();
        let submitted = log.iter().find_map(|record| record.event.submitted());
        let plan = submitted.and_then(|run| Plan::of_accepted(run.flow, run.params, run.found).ok());
        let secret = whole.decisions.first().map_or("", |stored| stored.decision.secret.as_str());
        let cited: BTreeSet<u64> =
            log.iter().filter(|record| !leaves_behind(record)).map(|record| record.cause).collect();
        let believed = |said: &&Said| {
            token::is_borne(secret, whole.run, &said.source, &said.input)
                && (!whole.aside.contains(&said.seq) || cited.contains(&said.seq))
        };
        let mut offered = BTreeMap::new();
        for stored in whole.decisions {
            for record in &stored.decision.events {
                if let Event::Offered { tasks, attempt, .. } = &record.event
                    && plan.as_ref().is_some_and(|plan| within(plan, tasks))
                {
                    for task in tasks.iter() {
                        offered.entry((task, *attempt)).or_insert(stored.seq);
                    }
                }
            }
        }
        Self {
            whole,
            flow: submitted.map(|run| run.flow),
            plan,
            inputs: whole.inputs.iter().filter(believed).map(|said| (said.seq, said)).collect(),
            left: log.iter().filter_map(|record| left_behind(record)).collect(),
            cited,
            log,
            offered,
            upto: whole.decisions.last().map_or(0, |last| last.decision.upto),
            secret,
        }
    }

    /// Whether an attempt had been offered when something was said of it. Nobody is believed who speaks of another one.
    pub(super) fn was_offered(&self, report: &Report, seq: u64) -> bool {
        self.is_offered_before((report.task, report.attempt), seq)
    }

    /// Whether a decision before this message has offered an attempt.
    pub(super) fn is_offered_before(&self, attempt: Key, seq: u64) -> bool {
        self.offered.get(&attempt).is_some_and(|decision| *decision < seq)
    }

    /// A worker that bears the token of an attempt was offered it. If no decision says so, one is missing, and a coordinator that
    /// has lost it puts the report aside.
    pub(super) fn truncated(&self) -> Option<String> {
        let is_of_task = |report: &Report| self.plan.as_ref().is_some_and(|plan| report.task < plan.n_tasks());
        let is_borne = |said: &&Said| token::is_borne(self.secret, self.whole.run, &said.source, &said.input);
        let unknown = self.whole.inputs.iter().filter(is_borne).find_map(|said| {
            let (report, who) = any_report_of(said)?;
            let is_odd = is_of_task(report) && !self.was_offered(report, said.seq);
            (is_odd && !self.secret.is_empty()).then_some((said.seq, report, who))
        });
        unknown.map(|(seq, report, who)| {
            format!(
                "{} was offered attempt {} of task {} (its report seq={seq} bears the token), and no decision before says so",
                who.worker, report.attempt, report.task
            )
        })
    }

    /// The first input from which something follows and that cannot be read here.
    pub(super) fn unread(&self) -> Option<(u64, &'a str)> {
        let unread = self.whole.unread.iter().find(|(seq, _)| self.cited.contains(seq));
        unread.map(|(seq, reason)| (*seq, reason.as_str()))
    }

    /// Who has given an offer back has not started it, and nobody else has given it back in his name.
    pub(super) fn check_returns(&self, findings: &mut Findings) {
        let reports = || self.inputs.values().filter_map(|said| Some((said, any_report_of(said)?)));
        let begun: BTreeSet<_> = reports()
            .filter(|(_, (report, _))| has_begun(&report.what))
            .map(|(_, (report, who))| (report.task, report.attempt, report.offer, who))
            .collect();
        let mut returned = BTreeMap::new();
        for (said, (report, who)) in reports().filter(|(_, (report, _))| matches!(report.what, What::Returned {})) {
            let key = (report.task, report.attempt, report.offer, who);
            let is_idle = !begun.contains(&key);
            findings.demand(is_idle, Rule::Returned, said.seq, || {
                format!("task {} was started by {} and given back", report.task, key.3.worker)
            });
            returned.insert(said.seq, key);
        }
        for record in &self.log {
            let Event::Returned { task, attempt, offer, by } = &record.event else { continue };
            let said = returned.get(&record.cause).is_some_and(|key| *key == (*task, *attempt, *offer, by.clone()));
            findings.demand(said, Rule::Returned, record.cause, || {
                format!("task {task} was given back, and {} did not say so", by.worker)
            });
        }
    }

    /// A signal counts when somebody has given it, and from then on, unless the run was being stopped.
    pub(super) fn check_signals(&self, findings: &mut Findings) {
        let mut counted: BTreeMap<&Name, u64> = BTreeMap::new();
        let mut stopped = u64::MAX;
        for record in &self.log {
            match &record.event {
                Event::Signalled { signal, by, reason } => {
                    let said = self.inputs.get(&record.cause).is_some_and(|said| {
                        matches!(&said.input, Input::Signal(given)
                            if (&given.signal, &given.by, &given.reason) == (signal, by, reason))
                    });
                    findings.demand(said, Rule::Cause, record.cause, || format!("nobody gave signal {signal}"));
                    counted.entry(signal).or_insert(record.cause);
                }
                Event::Submitted { retry_of: Some(carried), .. } => {
                    counted.extend(carried.signals.iter().map(|signal| (signal, record.cause)));
                }
                Event::CancelRequested { .. } | Event::DeadlinePassed {} | Event::RunEnded { .. } => {
                    stopped = stopped.min(record.cause);
                }
                Event::Submitted { retry_of: None, .. }
                | Event::Rejected { .. }
                | Event::Offered { .. }
                | Event::Started { .. }
                | Event::Extended { .. }
                | Event::Ended { .. }
                | Event::Returned { .. }
                | Event::Held { .. }
                | Event::Late { .. }
                | Event::JobEnded { .. }
                | Event::PutAside { .. } => {}
            }
        }
        let signals = self.flow.map(Flow::signals).unwrap_or_default();
        // What was said before the run came into being was said to nobody.
        let begun = self.log.iter().find(|record| record.event.submitted().is_some()).map_or(u64::MAX, |it| it.cause);
        let answered = self.inputs.values().filter(|said| said.seq > begun && said.seq <= self.upto.min(stopped));
        for said in answered {
            let Input::Signal(given) = &said.input else { continue };
            let counts = counted.get(&given.signal).is_some_and(|cause| *cause <= said.seq);
            let is_known = counts || !signals.contains(&given.signal);
            findings.demand(is_known, Rule::Heard, said.seq, || format!("signal {} is passed over", given.signal));
        }
    }

    /// Of a claimed job only the holder is believed.
    pub(super) fn is_claimed(&self, task: u32) -> bool {
        self.job_of(task).is_some_and(Job::is_claimed)
    }

    fn job_of(&self, task: u32) -> Option<&Job> {
        let plan = self.plan.as_ref()?;
        plan.jobs().get(plan.job_of(task)?).map(|planned| &planned.job)
    }

    /// Whether a worker may run a task at all, as far as the flow says.
    pub(super) fn may_run(&self, task: u32, holder: &Holder) -> bool {
        match self.plan.as_ref().and_then(|plan| plan.target(task)) {
            Some(Target::Worker(only)) => only == holder.worker,
            Some(Target::Host(_) | Target::Queue(_)) | None => true,
        }
    }
}

/// Whether an event says of an input only that it was left behind.
pub(super) const fn leaves_behind(record: &Record) -> bool {
    matches!(record.event, Event::PutAside { .. } | Event::Rejected { .. })
}

const fn left_behind(record: &Record) -> Option<u64> {
    if let Event::PutAside { input, .. } = record.event { Some(input) } else { None }
}

/// The report of an end, and who makes it.
pub(super) fn report_of(said: &Said) -> Option<(&Report, Holder, &Ended)> {
    let (report, who) = any_report_of(said)?;
    match &report.what {
        What::Ended(end) => Some((report, who, end)),
        What::Started { .. } | What::Returned {} => None,
    }
}

/// A report, and who makes it.
pub(super) fn any_report_of(said: &Said) -> Option<(&Report, Holder)> {
    match (&said.input, &said.source) {
        (Input::Report(report), Source::Worker(worker)) => {
            Some((report, Holder { worker: worker.clone(), instance: report.instance.clone() }))
        }
        _ => None,
    }
}

/// Whether a report says that its worker has started the attempt, or rather does not say that it has not.
pub(super) const fn has_begun(what: &What) -> bool {
    match what {
        What::Started { .. } => true,
        What::Ended(end) => matches!(end.outcome, Outcome::Ok | Outcome::Failed | Outcome::Timeout),
        What::Returned {} => false,
    }
}
