//! A run that a test drives input by input.

use jiff::Timestamp;
use rr_core::{Heard, Policy, Run};
use rr_schemas::{
    decision::{Event, Record},
    flow::{Flow, params::ParamValues},
    input::{Cancel, Found, Input, Seen, SeenAttempts, Signal, Source, Submit},
    report::{Claim, Ended, Outcome, Output, Report, What},
};

/// A run under test, driven input by input.
pub(crate) struct Stage {
    pub(crate) run: Run,
    pub(crate) log: Vec<Record>,
    seq: u64,
    pub(crate) now: Timestamp,
}

impl Stage {
    pub(crate) fn new(flow: &Flow) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut stage = Self { run: Run::new("r".parse().unwrap(), Policy::default()), log: vec![], seq: 0, now };
        let submit = Submit { flow: flow.clone(), params: ParamValues::default(), by: "t".into(), retry_of: None };
        stage.hear(Source::Api, Input::Submit(Box::new(submit)));
        stage
    }

    /// Goes on with a run that has begun.
    pub(crate) fn of(run: Run, log: Vec<Record>) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { run, log, seq: 1, now }
    }

    pub(crate) fn hear(&mut self, source: Source, input: Input) -> Vec<Record> {
        self.seq += 1;
        let heard = Heard::new(self.seq, self.now, source, input);
        let records = decide_all(&mut self.run, &[heard]);
        self.log.extend(records.clone());
        records
    }

    pub(crate) fn end(&mut self, task: u32, attempt: u32, outcome: Outcome, exit_code: Option<i32>) -> Vec<Record> {
        self.end_by("w1", task, attempt, outcome, exit_code)
    }

    pub(crate) fn end_by(
        &mut self,
        worker: &str,
        task: u32,
        attempt: u32,
        outcome: Outcome,
        code: Option<i32>,
    ) -> Vec<Record> {
        let end = Ended {
            outcome,
            exit_code: code,
            signal: None,
            reason: None,
            started_at: None,
            ended_at: None,
            output: Output::default(),
        };
        self.report(worker, task, attempt, What::Ended(end))
    }

    pub(crate) fn report(&mut self, worker: &str, task: u32, attempt: u32, what: What) -> Vec<Record> {
        let report = Report {
            task,
            attempt,
            offer: 1,
            instance: format!("i-{worker}").parse().unwrap(),
            what,
            token: String::new(),
        };
        self.hear(Source::Worker(worker.parse().unwrap()), Input::Report(report))
    }

    pub(crate) fn start(&mut self, worker: &str, task: u32, attempt: u32) -> Vec<Record> {
        let at = self.now;
        self.report(worker, task, attempt, What::Started { at })
    }

    pub(crate) fn give_back(&mut self, worker: &str, task: u32, attempt: u32, offer: u32) -> Vec<Record> {
        let instance = format!("i-{worker}").parse().unwrap();
        let report = Report { task, attempt, offer, instance, token: String::new(), what: What::Returned {} };
        self.hear(Source::Worker(worker.parse().unwrap()), Input::Report(report))
    }

    pub(crate) fn claim(&mut self, worker: &str, task: u32, attempt: u32) -> Vec<Record> {
        let (worker, instance) = (worker.parse().unwrap(), format!("i-{worker}").parse().unwrap());
        let claim = Claim { task, attempt, worker, instance, token: String::new() };
        self.hear(Source::from(&claim), Input::Claim(claim))
    }

    pub(crate) fn cancel(&mut self) -> Vec<Record> {
        self.hear(Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }))
    }

    pub(crate) fn signal(&mut self, signal: &str) -> Vec<Record> {
        let signal = Signal { signal: signal.parse().unwrap(), by: "t".into(), reason: None };
        self.hear(Source::Api, Input::Signal(signal))
    }

    pub(crate) fn fire(&mut self) -> Vec<Record> {
        self.now = self.run.deadline().expect("something is due").max(self.now);
        self.hear(Source::Timer, Input::Timer {})
    }

    /// The timer fires, and every look finds the same.
    pub(crate) fn look(&mut self, found: Found) -> Vec<Record> {
        self.fire();
        let looks = self.run.looks(self.now);
        assert!(!looks.is_empty(), "nothing to look at");
        let attempts = looks
            .into_iter()
            .map(|look| SeenAttempts {
                tasks: look.tasks,
                attempt: look.attempt,
                offer: look.offer,
                found,
                withdrawn: true,
            })
            .collect();
        self.hear(Source::Note, Input::Seen(Seen { attempts }))
    }

    pub(crate) fn offered(&self) -> usize {
        let count = |record: &Record| match &record.event {
            Event::Offered { tasks, .. } => tasks.len() as usize,
            _ => 0,
        };
        self.log.iter().map(count).sum()
    }
}

/// Everything that follows from what was heard, however many decisions it takes.
pub(crate) fn decide_all(run: &mut Run, heard: &[Heard]) -> Vec<Record> {
    let mut records = run.decide(heard).records;
    let is_empty = |record: &Record| matches!(&record.event, Event::Offered { tasks, .. } if tasks.is_empty());
    assert!(!records.iter().any(is_empty), "nothing is handed out by an offer");
    while run.more() {
        let more = run.decide(&[]).records;
        assert!(!more.is_empty(), "there is more to decide, and nothing is decided");
        records.extend(more);
        assert!(records.len() < 20_000, "one input is decided on for ever");
    }
    records
}

pub(crate) fn offers(records: &[Record]) -> Vec<(String, u32, u32)> {
    let offer = |record: &Record| match &record.event {
        Event::Offered { tasks, attempt, offer, .. } => Some((tasks.to_string(), *attempt, *offer)),
        _ => None,
    };
    records.iter().filter_map(offer).collect()
}
