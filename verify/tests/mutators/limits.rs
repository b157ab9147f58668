//! A few bytes can name more tasks than there is memory for: what does so is told, and not looked through.

use rr_schemas::{
    decision::Event,
    input::{Found, Input, Seen, SeenAttempts, Source},
    ranges::Ranges,
    report::Outcome,
    retry::Carried,
};
use rr_verify::{Rule, stream::Finding};

use jiff::ToSpan as _;

use crate::story::Story;

/// Findings that are told of any of these: a thousand of each kind.
const FOUND_MAX: usize = 3_000;

fn everything() -> Ranges {
    Ranges::from(0..=u32::MAX)
}

fn offer_everything(event: &mut Event) {
    if let Event::Offered { tasks, .. } = event {
        *tasks = everything();
    }
}

fn extend_everything(event: &mut Event) {
    if matches!(event, Event::Started { .. }) {
        *event = Event::Extended { tasks: everything(), until: jiff::Timestamp::UNIX_EPOCH };
    }
}

fn take_over_everything(event: &mut Event) {
    if let Event::Submitted { retry_of, .. } = event {
        let tasks = [(Outcome::Ok, everything())].into();
        *retry_of = Some(Box::new(Carried { run: "r0".parse().unwrap(), tasks, signals: [].into() }));
    }
}

/// A story that has something of each kind.
fn story() -> Story {
    let has = |story: &Story, is_it: fn(&Event) -> bool| story.records().any(|(_, record)| is_it(&record.event));
    let mut all = (0..1_000).map(Story::drawn);
    all.find(|story| has(story, |event| matches!(event, Event::Started { .. })) && story.decisions.len() > 8).unwrap()
}

#[test]
fn tasks_that_a_run_cannot_have_are_not_looked_through() {
    for (what, rule, change) in [
        ("they are offered", Rule::Count, offer_everything as fn(&mut Event)),
        ("they live on", Rule::Chain, extend_everything),
        ("they are taken over", Rule::Count, take_over_everything),
    ] {
        let mut story = story();
        story.decisions.iter_mut().flat_map(|stored| &mut stored.decision.events).for_each(|r| change(&mut r.event));
        let found = story.judged().findings;
        assert!(found.len() <= FOUND_MAX, "{what}: {}", found.len());
        let is_it =
            |finding: &Finding| matches!(finding, Finding::Violation { violation, .. } if violation.rule == rule);
        assert!(found.iter().any(is_it), "{what}: {found:#?}");
    }
}

/// The story as it stood after so many decisions, a while later.
fn cut(story: &Story, n: usize) -> Story {
    let mut story = story.clone();
    story.decisions.truncate(n);
    story.beside.shown.clear();
    let seq = story.decisions[n - 1].seq;
    story.inputs.retain(|said| said.seq < seq);
    story.times.retain(|said, _| *said < seq);
    story.now = story.times.values().max().and_then(|last| last.checked_add(95.seconds()).ok());
    story
}

#[test]
fn what_was_seen_of_tasks_that_a_run_cannot_have_needs_no_answer() {
    // In a moment at which nothing has waited for long.
    let whole = story();
    let moments = (1..whole.decisions.len()).map(|n| cut(&whole, n));
    let mut story = moments.into_iter().find(|story| story.judged().findings.is_empty()).unwrap();
    let (tasks, found) = (everything(), Found::WorkerGone);
    let attempts = vec![SeenAttempts { tasks, attempt: 1, offer: 1, found, withdrawn: false }];
    story.say(story.decisions.last().unwrap().seq + 1, Source::Note, Input::Seen(Seen { attempts }));
    assert_eq!(story.judged().findings, []);
}

#[test]
fn a_run_of_more_tasks_than_any_may_have_is_not_planned() {
    let mut story = story();
    story.change_flow(|flow| {
        let jobs = flow.slots.first_mut().map_or(&mut flow.jobs, |slot| &mut slot.jobs);
        let mut job = jobs[0].clone();
        (job.hosts, job.queue) = (Some("h[1-100000]".parse().unwrap()), None);
        for name in ["many", "more"] {
            job.name = name.parse().unwrap();
            jobs.push(job.clone());
        }
    });
    assert_eq!(story.first_broken(), Some(Rule::Chain));
}

#[test]
fn of_a_rule_that_is_broken_for_every_task_a_thousand_are_told() {
    let mut story = story();
    story.change_flow(|flow| {
        let mut job = flow.all_jobs().map(|(_, job)| job).find(|job| job.signal.is_none()).cloned().unwrap();
        job.needs.clear();
        (job.hosts, job.queue) = (Some("h[1-2000]".parse().unwrap()), None);
        flow.slots.clear();
        flow.jobs = vec![job];
    });
    let name = story.jobs()[0].1.name.clone();
    for record in story.decisions.iter_mut().flat_map(|stored| &mut stored.decision.events) {
        if let Event::Offered { job, tasks, attempt, .. } = &mut record.event {
            (*job, *tasks, *attempt) = (name.clone(), Ranges::from(0..=1_999), 7);
        }
    }
    assert!(story.judged().findings.len() <= FOUND_MAX);
    let log: Vec<_> = story.records().map(|(_, record)| record.clone()).collect();
    assert_eq!(rr_verify::records::judge(&story.run, &log, &story.policy).len(), 1_000);
}
