//! Decisions against the inputs that they answer.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::{Policy, Run};
use rr_schemas::{
    decision::{Decision, Event, Record},
    flow::{Flow, Job},
    id::RunId,
    input::{Holder, Input, Source},
    name::Name,
    report::{Ended, Outcome, Report, What},
};

use crate::{Findings, Rule, Violation, records};

/// A decision as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The hash of its bytes.
    pub hash: String,
    /// The decision.
    pub decision: Decision,
}

/// An input as it is stored.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its sequence in the stream.
    pub seq: u64,
    /// Who may have sent it.
    pub source: Source,
    /// The input.
    pub input: Input,
}

/// Everything that is wrong with the whole history of a run that has ended.
pub fn judge(run: &RunId, decisions: &[Stored], inputs: &[Said], policy: &Policy) -> Vec<Violation> {
    let mut findings = Findings::default();
    check_chain(decisions, &mut findings);
    check_waits(run, decisions, *policy, &mut findings);
    let log: Vec<Record> = decisions.iter().flat_map(|stored| stored.decision.events.iter().cloned()).collect();
    let heard = Heard::new(&log, inputs, decisions.last().map_or(0, |last| last.decision.upto));
    heard.check_causes(&mut findings);
    heard.check_reports(&mut findings);
    heard.check_returns(&mut findings);
    heard.check_signals(&mut findings);
    findings.0.extend(records::judge(run, &log, policy));
    findings.0
}

fn check_chain(decisions: &[Stored], findings: &mut Findings) {
    let (mut upto, mut hash) = (0, "");
    for (n, stored) in (1..).zip(decisions) {
        let decision = &stored.decision;
        findings.demand(decision.n == n, Rule::Chain, stored.seq, || format!("decision {n} has number {}", decision.n));
        findings.demand(decision.prev == hash, Rule::Chain, stored.seq, || format!("decision {n} follows another one"));
        findings.demand(decision.upto >= upto, Rule::Chain, stored.seq, || "the cursor goes back".into());
        let causes = decision.events.iter().all(|record| record.cause <= decision.upto);
        findings.demand(causes, Rule::Time, stored.seq, || "an event is caused by what is not answered yet".into());
        let past = decision.upto < stored.seq;
        findings.demand(past, Rule::Time, stored.seq, || "the cursor is ahead of the decision".into());
        (upto, hash) = (decision.upto, &stored.hash);
    }
}

/// After each decision the run is over, or waits for something that can be named.
fn check_waits(run: &RunId, decisions: &[Stored], policy: Policy, findings: &mut Findings) {
    let mut state = Run::new(run.clone(), policy);
    for stored in decisions {
        for record in &stored.decision.events {
            if let Err(error) = state.apply(record) {
                return findings.demand(false, Rule::Chain, stored.seq, || error.to_string());
            }
        }
        let waits = state.is_final() || state.more() || !state.waits().is_empty();
        findings.demand(waits, Rule::Waits, stored.seq, || "the run waits for nothing that can be named".into());
    }
}

/// The events of a run beside what was said to it.
struct Heard<'a> {
    flow: Option<&'a Flow>,
    log: &'a [Record],
    inputs: BTreeMap<u64, &'a Said>,
    /// Up to which input everything is answered.
    upto: u64,
}

impl<'a> Heard<'a> {
    fn new(log: &'a [Record], inputs: &'a [Said], upto: u64) -> Self {
        let flow = log.iter().find_map(|record| {
            if let Event::Submitted { flow, .. } = &record.event { Some(flow.as_ref()) } else { None }
        });
        let inputs = inputs.iter().map(|said| (said.seq, said)).collect();
        Self { flow, log, inputs, upto }
    }

    /// Each event cites an input that is there; the end of an attempt cites the report of who is said to have ended it.
    fn check_causes(&self, findings: &mut Findings) {
        for record in self.log {
            let cause = self.inputs.get(&record.cause);
            let text = || format!("{:?} cites an input that is not there", record.event);
            let aside = matches!(record.event, Event::PutAside { .. });
            findings.demand(cause.is_some() || aside, Rule::Cause, record.cause, text);
            let Event::Ended { task, attempt, by: Some(by), end, .. } = &record.event else { continue };
            let said = cause.and_then(|said| report_of(said));
            let same = said.is_some_and(|(report, who, said)| {
                report.task == *task && report.attempt == *attempt && who == *by && said.outcome == end.outcome
            });
            // What a coordinator has seen of a worker may end an attempt in that worker's name.
            let seen = cause.is_some_and(|said| matches!(said.input, Input::Seen(_) | Input::Timer {}));
            let fits = same || (seen && end.outcome != Outcome::Ok);
            findings.demand(fits, Rule::Cause, record.cause, || {
                format!("task {task}, attempt {attempt} ends by a report that {} did not make", by.worker)
            });
        }
    }

    /// The first report of an end decides its attempt, later ones are noted as late.
    fn check_reports(&self, findings: &mut Findings) {
        let mut ends: BTreeMap<(u32, u32), (u64, Option<&Holder>)> = BTreeMap::new();
        let mut noted: BTreeSet<u64> = BTreeSet::new();
        for record in self.log {
            if let Event::Ended { task, attempt, by, .. } = &record.event {
                ends.insert((*task, *attempt), (record.cause, by.as_ref()));
            } else if let Event::Late { .. } = record.event {
                noted.insert(record.cause);
            } else if let Event::PutAside { input, .. } = record.event {
                noted.insert(input);
            }
        }
        for said in self.inputs.values().filter(|said| said.seq <= self.upto) {
            let Some((report, who, end)) = report_of(said) else { continue };
            if end.outcome == Outcome::Lost || self.is_claimed(report.task) {
                continue;
            }
            let Some((cause, by)) = ends.get(&(report.task, report.attempt)) else {
                let text = || format!("task {}, attempt {} has ended and nobody knows", report.task, report.attempt);
                let known = self.flow.is_none() || noted.contains(&said.seq);
                findings.demand(known, Rule::Heard, said.seq, text);
                continue;
            };
            // Beside a worker that runs it, only the success of another one counts.
            let gave_way = end.outcome != Outcome::Ok && noted.contains(&said.seq);
            let first = *cause <= said.seq || gave_way;
            findings.demand(first, Rule::Heard, said.seq, || {
                format!("the end of task {}, attempt {} is passed over until seq={cause}", report.task, report.attempt)
            });
            let known = *cause == said.seq || *by == Some(&who) || noted.contains(&said.seq);
            findings.demand(known, Rule::Heard, said.seq, || format!("a late report of task {} is lost", report.task));
        }
    }

    /// Who has given an offer back has not started it, and nobody else has given it back in his name.
    fn check_returns(&self, findings: &mut Findings) {
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
        for record in self.log {
            let Event::Returned { task, attempt, offer, by } = &record.event else { continue };
            let said = returned.get(&record.cause).is_some_and(|key| *key == (*task, *attempt, *offer, by.clone()));
            findings.demand(said, Rule::Returned, record.cause, || {
                format!("task {task} was given back, and {} did not say so", by.worker)
            });
        }
    }

    /// A signal counts when somebody has given it, and from then on, unless the run was being stopped.
    fn check_signals(&self, findings: &mut Findings) {
        let mut counted: BTreeMap<&Name, u64> = BTreeMap::new();
        let mut stopped = u64::MAX;
        for record in self.log {
            match &record.event {
                Event::Signalled { signal, .. } => {
                    let said = self.inputs.get(&record.cause).is_some_and(|said| gives(said, signal));
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
        let answered = self.inputs.values().filter(|said| said.seq <= self.upto.min(stopped));
        for said in answered {
            let Input::Signal(given) = &said.input else { continue };
            let counts = counted.get(&given.signal).is_some_and(|cause| *cause <= said.seq);
            let is_known = counts || !signals.contains(&given.signal);
            findings.demand(is_known, Rule::Heard, said.seq, || format!("signal {} is passed over", given.signal));
        }
    }

    /// Of a claimed job only the holder is believed, which the records show by themselves.
    fn is_claimed(&self, task: u32) -> bool {
        let mut first = 0;
        let job = self.flow.into_iter().flat_map(Flow::all_jobs).map(|(_, job)| job).find(|job| {
            first += job.targets();
            task < first
        });
        job.is_some_and(Job::is_claimed)
    }
}

fn gives(said: &Said, signal: &Name) -> bool {
    matches!(&said.input, Input::Signal(given) if given.signal == *signal)
}

fn report_of(said: &Said) -> Option<(&Report, Holder, &Ended)> {
    let (report, who) = any_report_of(said)?;
    match &report.what {
        What::Ended(end) => Some((report, who, end)),
        What::Started { .. } | What::Returned {} => None,
    }
}

fn any_report_of(said: &Said) -> Option<(&Report, Holder)> {
    match (&said.input, &said.source) {
        (Input::Report(report), Source::Worker(worker)) => {
            Some((report, Holder { worker: worker.clone(), instance: report.instance.clone() }))
        }
        _ => None,
    }
}

/// Whether a report says that its worker has started the attempt, or rather does not say that it has not.
const fn has_begun(what: &What) -> bool {
    match what {
        What::Started { .. } => true,
        What::Ended(end) => matches!(end.outcome, Outcome::Ok | Outcome::Failed | Outcome::Timeout),
        What::Returned {} => false,
    }
}
