//! A history written by hand, step by step: what is said, and what is decided of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan as _};
use rr_core::Policy;
use rr_schemas::{
    decision::{Decision, Event, Record},
    flow::{Flow, params::ParamValues, select::FoundTargets},
    input::{Found, Holder, Input, Seen, SeenAttempts, Source, Submit},
    report::{Claim, Ended, Outcome, Output, Report, What},
};
use rr_verify::{
    Rule,
    history::{Judgement, PolicyOf, Said, Stored, Whole, judge_whole},
    records::Extent,
};

/// Everything that is stored of a run. Each message has the next sequence, and is stored a millisecond after the one before.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) decisions: Vec<Stored>,
    pub(crate) inputs: Vec<Said>,
    pub(crate) times: BTreeMap<u64, Timestamp>,
    pub(crate) bad: BTreeMap<u64, String>,
    pub(crate) unread: BTreeMap<u64, String>,
    pub(crate) aside: BTreeSet<u64>,
    pub(crate) policy: Policy,
    pub(crate) policy_of: PolicyOf,
    pub(crate) now: Option<Timestamp>,
    seq: u64,
}

impl Told {
    /// A run that was asked for, and that has decided this beside its beginning.
    pub(crate) fn new(flow: &str, events: Vec<Event>) -> Self {
        let flow: Flow = serde_json::from_str(flow).unwrap();
        let submit = Submit { flow: flow.clone(), params: ParamValues::default(), by: "t".into(), retry_of: None };
        let submitted = Event::Submitted {
            flow: Box::new(flow),
            params: ParamValues::default(),
            by: "t".into(),
            found: FoundTargets::new(),
            retry_of: None,
        };
        let (times, bad, unread, aside) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (policy, policy_of) = (Policy::default(), PolicyOf::Coordinators);
        let (decisions, inputs) = (vec![], vec![]);
        let told = Self { decisions, inputs, times, bad, unread, aside, policy, policy_of, now: None, seq: 0 };
        let told = told.say((Source::Api, Input::Submit(Box::new(submit))));
        told.decide([vec![submitted], events].concat())
    }

    /// Somebody says something.
    pub(crate) fn say(mut self, (source, input): (Source, Input)) -> Self {
        self.seq += 1;
        self.times.insert(self.seq, at(self.seq));
        self.inputs.push(Said { seq: self.seq, source, input });
        self
    }

    /// What was said last is of a newer version.
    pub(crate) fn cannot_be_read(mut self) -> Self {
        let said = self.inputs.pop().unwrap();
        self.unread.insert(said.seq, "version 9".into());
        self
    }

    /// These events follow from what was said last.
    pub(crate) fn decide(self, events: Vec<Event>) -> Self {
        let cause = self.inputs.last().unwrap().seq;
        self.decide_of(cause, events)
    }

    /// These events follow from an input; all that was said is answered.
    pub(crate) fn decide_of(mut self, cause: u64, events: Vec<Event>) -> Self {
        let upto = self.inputs.last().map_or(0, |said| said.seq).max(cause);
        self.seq += 1;
        let events = events.into_iter().map(|event| Record { cause, at: at(cause), event }).collect();
        let prev = self.decisions.last().map(|stored| stored.hash.clone()).unwrap_or_default();
        let n = self.decisions.len() as u64 + 1;
        let decision = Decision { n, by: "c1".parse().unwrap(), upto, prev, events, secret: String::new() };
        self.decisions.push(Stored { seq: self.seq, hash: format!("hash{n}"), decision });
        self
    }

    /// The sequence of what was said last.
    pub(crate) fn last_said(&self) -> u64 {
        self.inputs.last().unwrap().seq
    }

    pub(crate) fn judged(&self) -> Judgement {
        judge_whole(&Whole {
            run: &"r1".parse().unwrap(),
            decisions: &self.decisions,
            inputs: &self.inputs,
            times: &self.times,
            bad: &self.bad,
            unread: &self.unread,
            aside: &self.aside,
            policy: &self.policy,
            policy_of: self.policy_of,
            extent: Extent::SoFar,
            now: self.now,
        })
    }

    /// The rules that are broken.
    pub(crate) fn broken(&self) -> Vec<Rule> {
        let rules: BTreeSet<Rule> = self.judged().violations.into_iter().map(|found| found.rule).collect();
        rules.into_iter().collect()
    }
}

/// When a message was stored.
pub(crate) fn at(seq: u64) -> Timestamp {
    let began: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    began + i64::try_from(seq).unwrap().milliseconds()
}

pub(crate) fn holder(worker: &str) -> Holder {
    Holder { worker: worker.parse().unwrap(), instance: format!("i-{worker}").parse().unwrap() }
}

pub(crate) fn end(outcome: Outcome) -> Ended {
    let (exit_code, output) = ((outcome == Outcome::Failed).then_some(1), Output::default());
    Ended { outcome, exit_code, signal: None, reason: None, started_at: None, ended_at: None, output }
}

/// A worker's report on an attempt of task 0, or of another one.
pub(crate) fn report(worker: &str, task: u32, attempt: u32, what: What) -> (Source, Input) {
    let Holder { worker, instance } = holder(worker);
    let report = Report { task, attempt, offer: 1, instance, what, token: String::new() };
    (Source::Worker(worker), Input::Report(report))
}

pub(crate) fn claim(worker: &str, task: u32, attempt: u32) -> (Source, Input) {
    let Holder { worker, instance } = holder(worker);
    let claim = Claim { task, attempt, worker, instance, token: String::new() };
    (Source::from(&claim), Input::Claim(claim))
}

pub(crate) fn seen(task: u32, attempt: u32, found: Found) -> (Source, Input) {
    let attempts = vec![SeenAttempts { tasks: (task..=task).into(), attempt, offer: 1, found, withdrawn: false }];
    (Source::Note, Input::Seen(Seen { attempts }))
}

pub(crate) fn offered(job: &str, tasks: &str, attempt: u32) -> Event {
    Event::Offered { job: job.parse().unwrap(), tasks: tasks.parse().unwrap(), attempt, offer: 1 }
}

pub(crate) fn started(worker: &str, task: u32, attempt: u32) -> Event {
    Event::Started { task, attempt, by: holder(worker) }
}

pub(crate) fn ended(by: Option<&str>, task: u32, attempt: u32, end: Ended) -> Event {
    Event::Ended { task, attempt, by: by.map(holder), end, again: None }
}

pub(crate) fn late(worker: &str, task: u32, attempt: u32, outcome: Option<Outcome>) -> Event {
    Event::Late { task, attempt, by: holder(worker), outcome }
}
