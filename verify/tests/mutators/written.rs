//! One history, made with the core by hand, and ways of breaking it.

use jiff::{Timestamp, ToSpan as _};
use rr_core::{Effect, Heard, Policy, Run, run::wait::Wait};
use rr_schemas::{
    decision::{Decision, Event, JobStatus, Record, RunStatus},
    flow::params::ParamValues,
    id::RunId,
    input::{Cancel, Input, Signal, Source, Submit},
    report::{Ended, Outcome, Output, Report, What},
    retry::Carried,
};
use rr_verify::{
    Rule,
    history::{Said, Stored, judge},
};

const FLOW: &str = r#"{"name": "f", "slots": [
    {"jobs": [{"name": "a", "run": ["x"], "hosts": "h[1-6]", "success": "80%", "parallelism": 2,
               "retry": {"attempts": 2, "delay": "1s"}}]},
    {"jobs": [{"name": "b", "run": ["x"], "hosts": "h[1-3]", "waves": true, "parallelism": 2}]},
    {"jobs": [{"name": "go", "signal": "approved", "timeout": "1m"}]}]}"#;

#[derive(Clone)]
struct Story {
    decisions: Vec<Stored>,
    inputs: Vec<Said>,
}

/// Runs the flow with the real core. Host `h2` fails its first attempt, `h3` both.
fn clean() -> Story {
    let mut run = Run::new(id(), Policy::default());
    let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut story = Story { decisions: Vec::new(), inputs: Vec::new() };
    let submit = Submit {
        flow: serde_json::from_str(FLOW).unwrap(),
        params: ParamValues::default(),
        by: "t".into(),
        retry_of: None,
    };
    let mut said = vec![(Source::Api, Input::Submit(Box::new(submit)))];
    let mut seq = 0;
    while !said.is_empty() {
        assert!(seq < 1_000, "the run goes on for ever");
        let mut heard = Vec::new();
        for (source, input) in said.drain(..) {
            seq += 1;
            now += 10.milliseconds();
            story.inputs.push(Said { seq, source: source.clone(), input: input.clone() });
            heard.push(Heard::new(seq, now, source, input));
        }
        let upto = seq;
        let decided = run.decide(&heard);
        seq += 1;
        let n = story.decisions.len() as u64 + 1;
        let prev = story.decisions.last().map(|last| last.hash.clone()).unwrap_or_default();
        let decision = Decision {
            n,
            by: "c1".parse().unwrap(),
            upto,
            prev,
            events: decided.records.clone(),
            secret: String::new(),
        };
        story.decisions.push(Stored { seq, hash: format!("hash{n}"), decision });
        for effect in run.effects(&decided.records) {
            if let Effect::Offer { task, attempt, offer } = effect {
                let bad = matches!((task, attempt), (1, 1) | (2, 1 | 2));
                if (task, attempt, offer) == (3, 1, 1) {
                    said.push(given_back(task, attempt, offer));
                    continue;
                }
                said.push(report(task, attempt, offer, if bad { Outcome::Failed } else { Outcome::Ok }));
            }
        }
        if said.is_empty() && run.waits().iter().any(|wait| matches!(wait, Wait::Signal { .. })) {
            let signal = Signal { signal: "approved".parse().unwrap(), by: "t".into(), reason: None };
            said.push((Source::Api, Input::Signal(signal)));
        } else if said.is_empty() && !run.is_final() {
            now = run.deadline().unwrap();
            said.push((Source::Timer, Input::Timer {}));
        }
    }
    // A second worker says the same of an attempt that is over.
    seq += 1;
    let (source, input) = report(0, 1, 1, Outcome::Ok);
    let Input::Report(mut late) = input else { return story };
    late.instance = "i9".parse().unwrap();
    story.inputs.push(Said { seq, source: source.clone(), input: Input::Report(late.clone()) });
    let decided = run.decide(&[Heard::new(seq, now, source, Input::Report(late))]);
    let (n, prev) = (story.decisions.len() as u64 + 1, story.decisions.last().unwrap().hash.clone());
    let decision =
        Decision { n, by: "c1".parse().unwrap(), upto: seq, prev, events: decided.records, secret: String::new() };
    story.decisions.push(Stored { seq: seq + 1, hash: "end".into(), decision });
    story
}

fn given_back(task: u32, attempt: u32, offer: u32) -> (Source, Input) {
    let report =
        Report { task, attempt, offer, instance: "i2".parse().unwrap(), token: String::new(), what: What::Returned {} };
    (Source::Worker("w2".parse().unwrap()), Input::Report(report))
}

fn report(task: u32, attempt: u32, offer: u32, outcome: Outcome) -> (Source, Input) {
    let (exit_code, output) = ((outcome == Outcome::Failed).then_some(7), Output::default());
    let end = Ended { outcome, exit_code, signal: None, reason: None, started_at: None, ended_at: None, output };
    let what = What::Ended(end);
    let report = Report { task, attempt, offer, instance: "i1".parse().unwrap(), what, token: String::new() };
    (Source::Worker("w1".parse().unwrap()), Input::Report(report))
}

fn id() -> RunId {
    "r1".parse().unwrap()
}

fn rules(story: &Story) -> Vec<Rule> {
    let mut rules: Vec<Rule> =
        judge(&id(), &story.decisions, &story.inputs, &Policy::default()).iter().map(|found| found.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// The place of the first event that fits.
fn place(story: &Story, fits: impl Fn(&Event) -> bool) -> (usize, usize) {
    let events = |stored: &Stored| stored.decision.events.iter().position(|record| fits(&record.event));
    story.decisions.iter().enumerate().find_map(|(n, stored)| Some((n, events(stored)?))).unwrap()
}

fn change(story: &mut Story, fits: impl Fn(&Event) -> bool, with: impl FnOnce(&mut Record)) {
    let (n, event) = place(story, fits);
    with(&mut story.decisions[n].decision.events[event]);
}

/// Puts an event behind the first one that fits.
fn add(story: &mut Story, fits: impl Fn(&Event) -> bool, new: impl FnOnce(&Record) -> Event) {
    let (n, event) = place(story, fits);
    let events = &mut story.decisions[n].decision.events;
    let record = Record { event: new(&events[event]), ..events[event].clone() };
    events.insert(event + 1, record);
}

fn remove(story: &mut Story, fits: impl Fn(&Event) -> bool) {
    let (n, event) = place(story, fits);
    story.decisions[n].decision.events.remove(event);
}

const fn is_end_of(task: u32, attempt: u32) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Ended { task: t, attempt: a, .. } if *t == task && *a == attempt)
}

fn is_job_end(event: &Event) -> bool {
    matches!(event, Event::JobEnded { .. })
}

fn is_run_end(event: &Event) -> bool {
    matches!(event, Event::RunEnded { .. })
}

fn is_offer(of: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Offered { job, .. } if job.as_str() == of)
}

#[test]
fn a_clean_history_passes() {
    let story = clean();
    assert_eq!(judge(&id(), &story.decisions, &story.inputs, &Policy::default()), []);
    let events: Vec<&Event> =
        story.decisions.iter().flat_map(|stored| &stored.decision.events).map(|r| &r.event).collect();
    assert!(
        events.iter().any(|event| matches!(event, Event::RunEnded { status: RunStatus::Succeeded })),
        "{events:#?}"
    );
    assert!(events.iter().any(|event| matches!(event, Event::Late { .. })), "{events:#?}");
}

type Breaker = fn(&mut Story);

/// Ways of breaking decisions, slots and thresholds.
const STRUCTURE: [(&str, Rule, Breaker); 12] = [
    ("a decision is gone", Rule::Chain, |s| drop(s.decisions.remove(1))),
    ("a decision was changed later", Rule::Chain, |s| s.decisions[1].hash = "other".into()),
    ("the cursor goes back", Rule::Chain, |s| s.decisions[2].decision.upto = 1),
    ("the run begins twice", Rule::Chain, |s| {
        let first = s.decisions[0].decision.events[0].event.clone();
        add(s, is_job_end, |_| first);
    }),
    ("what was taken over runs again", Rule::Count, |s| {
        change(
            s,
            |event| matches!(event, Event::Submitted { .. }),
            |record| {
                let Event::Submitted { retry_of, .. } = &mut record.event else { return };
                let tasks = [(Outcome::Ok, (0..=0).into())].into();
                *retry_of = Some(Box::new(Carried { run: "r0".parse().unwrap(), tasks, signals: [].into() }));
            },
        );
    }),
    ("an attempt ends twice", Rule::DecidedOnce, |s| {
        add(s, is_end_of(0, 1), |record| record.event.clone());
    }),
    ("a job ends twice", Rule::DecidedOnce, |s| add(s, is_job_end, |record| record.event.clone())),
    ("nobody has reported it", Rule::Cause, |s| s.inputs.retain(|said| said.seq != 3)),
    ("somebody else has", Rule::Cause, |s| {
        s.inputs.iter_mut().find(|said| said.seq == 3).unwrap().source = Source::Worker("w2".parse().unwrap());
    }),
    ("the next slot starts early", Rule::Order, |s| {
        let (n, event) = place(s, is_offer("b"));
        let record = s.decisions[n].decision.events.remove(event);
        let to = &mut s.decisions[1].decision.events;
        to.push(Record { event: record.event, ..to.last().unwrap().clone() });
    }),
    ("a bad job is called good", Rule::Threshold, |s| {
        change(s, is_end_of(5, 1), |record| {
            let Event::Ended { end, .. } = &mut record.event else { return };
            end.outcome = Outcome::Failed;
        });
    }),
    ("a good job is called bad", Rule::Threshold, |s| {
        change(s, is_job_end, |record| {
            let Event::JobEnded { status, .. } = &mut record.event else { return };
            *status = JobStatus::Failed;
        });
    }),
];

/// Ways of breaking attempts, ends and times.
const ATTEMPTS: [(&str, Rule, Breaker); 14] = [
    ("an offer is given back that is not there", Rule::Returned, |s| {
        add(s, |event| matches!(event, Event::Returned { .. }), |record| record.event.clone());
        change(
            s,
            |event| matches!(event, Event::Returned { .. }),
            |record| {
                let Event::Returned { offer, .. } = &mut record.event else { return };
                *offer = 7;
            },
        );
    }),
    ("nobody has given it back", Rule::Returned, |s| {
        change(
            s,
            |event| matches!(event, Event::Returned { .. }),
            |record| {
                let Event::Returned { by, .. } = &mut record.event else { return };
                by.worker = "w9".parse().unwrap();
            },
        );
    }),
    ("what was given back had been started", Rule::Returned, |s| {
        let (source, Input::Report(mut report)) = given_back(3, 1, 1) else { return };
        report.what = What::Started { at: Timestamp::UNIX_EPOCH };
        s.inputs.push(Said { seq: 1_000, source, input: Input::Report(report) });
    }),
    ("more than the window", Rule::Window, |s| {
        change(s, is_offer("a"), |record| {
            let Event::Offered { tasks, .. } = &mut record.event else { return };
            *tasks = (0..=2).into();
        });
    }),
    ("an attempt is left out", Rule::Count, |s| {
        change(s, is_offer("a"), |record| {
            let Event::Offered { attempt, .. } = &mut record.event else { return };
            *attempt = 2;
        });
    }),
    ("an offer out of turn", Rule::Count, |s| {
        change(s, is_offer("a"), |record| {
            let Event::Offered { offer, .. } = &mut record.event else { return };
            *offer = 2;
        });
    }),
    ("a retry that does not wait", Rule::Retry, |s| {
        change(s, is_end_of(1, 1), |record| {
            let Event::Ended { again, .. } = &mut record.event else { return };
            *again = Some(record.at);
        });
    }),
    ("one attempt too many", Rule::Retry, |s| {
        change(s, is_end_of(2, 2), |record| {
            let Event::Ended { again, .. } = &mut record.event else { return };
            *again = Some(record.at + 1.second());
        });
    }),
    ("a report is forgotten", Rule::Heard, |s| remove(s, |event| matches!(event, Event::Late { .. }))),
    ("a finished attempt is forgotten", Rule::Heard, |s| remove(s, is_end_of(0, 1))),
    ("the run ends twice", Rule::End, |s| add(s, is_run_end, |record| record.event.clone())),
    ("something follows the end", Rule::End, |s| {
        add(s, is_run_end, |_| Event::CancelRequested { by: "t".into(), reason: None });
    }),
    ("something starts after a cancel", Rule::Stop, |s| {
        let cancel = Input::Cancel(Cancel { by: "t".into(), reason: None });
        s.inputs.push(Said { seq: 1_000, source: Source::Api, input: cancel });
        add(s, is_end_of(0, 1), |_| Event::CancelRequested { by: "t".into(), reason: None });
    }),
    ("time goes back", Rule::Time, |s| change(s, is_job_end, |record| record.at = Timestamp::UNIX_EPOCH)),
];

const fn is_signal(event: &Event) -> bool {
    matches!(event, Event::Signalled { .. })
}

/// Ways of breaking gates.
const GATES: [(&str, Rule, Breaker); 6] = [
    ("a gate passes without its signal", Rule::Threshold, |s| remove(s, is_signal)),
    ("a signal is passed over", Rule::Heard, |s| remove(s, is_signal)),
    ("nobody gave it", Rule::Cause, |s| s.inputs.retain(|said| !matches!(said.input, Input::Signal(_)))),
    ("a signal is given twice", Rule::DecidedOnce, |s| add(s, is_signal, |record| record.event.clone())),
    ("a gate fails with its signal", Rule::Threshold, |s| {
        let is_end = |event: &Event| matches!(event, Event::JobEnded { job, .. } if job.as_str() == "go");
        change(s, is_end, |record| {
            let Event::JobEnded { status, .. } = &mut record.event else { return };
            *status = JobStatus::Failed;
        });
    }),
    ("a gate fails before its time is over", Rule::Time, |s| {
        remove(s, is_signal);
        let is_end = |event: &Event| matches!(event, Event::JobEnded { job, .. } if job.as_str() == "go");
        change(s, is_end, |record| {
            let Event::JobEnded { status, .. } = &mut record.event else { return };
            *status = JobStatus::Failed;
        });
    }),
];

#[test]
fn every_way_of_breaking_a_history_is_found() {
    for (what, rule, break_it) in STRUCTURE.into_iter().chain(ATTEMPTS).chain(GATES) {
        let mut story = clean();
        break_it(&mut story);
        assert!(rules(&story).contains(&rule), "{what}: {rule:?} is not among {:?}", rules(&story));
    }
}
