//! Ways of breaking attempts, reports, claims and looks.

use jiff::ToSpan as _;
use rr_schemas::{
    decision::{Event, Record},
    flow::parallelism::Parallelism,
    input::{Found, Holder, Input, Source},
    name::WorkerName,
    report::{Outcome, Report, What},
};
use rr_verify::{Rule, history::Said};

use super::Mutator;
use rr_draw::Dice;

use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 25] = [
    ("an attempt ends a second time", Rule::DecidedOnce, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::Ended { .. })) else { return false };
        let again = story.decision(place.0).events[place.1].clone();
        story.events_mut(place).insert(place.1 + 1, again);
        true
    }),
    ("somebody else is said to have ended it", Rule::Cause, |story, dice| {
        let Some(place) = pick_reported_end(story, dice) else { return false };
        let Event::Ended { by, .. } = story.event_mut(place) else { return false };
        by.as_mut().unwrap().instance = "another".parse().unwrap();
        true
    }),
    ("the report of an end is not there", Rule::Cause, |story, dice| {
        let Some(place) = pick_reported_end(story, dice) else { return false };
        let cause = story.decision(place.0).events[place.1].cause;
        story.inputs.retain(|said| said.seq != cause);
        story.times.remove(&cause);
        true
    }),
    ("somebody else is said to have started it", Rule::Cause, |story, dice| {
        let fits = |record: &Record| matches!(&record.event, Event::Started { task, .. } if !story.is_claimed(*task));
        let Some(place) = story.pick(dice, fits) else { return false };
        let Event::Started { by, .. } = story.event_mut(place) else { return false };
        by.instance = "another".parse().unwrap();
        true
    }),
    ("more than the window is handed out", Rule::Window, hand_out_more),
    ("an attempt is left out", Rule::Count, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::Offered { .. })) else {
            return false;
        };
        let Event::Offered { attempt, .. } = story.event_mut(place) else { return false };
        *attempt += 1;
        true
    }),
    ("an offer out of turn", Rule::Count, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::Offered { .. })) else {
            return false;
        };
        let Event::Offered { offer, .. } = story.event_mut(place) else { return false };
        *offer += 7;
        true
    }),
    ("an attempt starts that is not open", Rule::Count, |story, dice| {
        let fits = |record: &Record| matches!(&record.event, Event::Started { task, .. } if !story.is_claimed(*task));
        let Some(place) = story.pick(dice, fits) else { return false };
        let seq = story.decision(place.0).events[place.1].cause;
        // The worker says so, too.
        for said in &mut story.inputs {
            if let (true, Input::Report(report)) = (said.seq == seq, &mut said.input) {
                report.attempt += 50;
            }
        }
        let Event::Started { attempt, .. } = story.event_mut(place) else { return false };
        *attempt += 50;
        true
    }),
    ("a retry does not wait", Rule::Retry, |story, dice| {
        let fits = |record: &Record| match &record.event {
            Event::Ended { task, end, again: Some(_), .. } => {
                let delay = story.job_of(*task).map(|job| job.retry.delay.as_millis());
                !matches!(end.outcome, Outcome::Lost | Outcome::Cancelled) && delay.is_some_and(|delay| delay > 0)
            }
            _ => false,
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let at = story.decision(place.0).events[place.1].at;
        let Event::Ended { again, .. } = story.event_mut(place) else { return false };
        *again = Some(at);
        true
    }),
    ("another attempt follows the last one", Rule::Retry, |story, dice| {
        let fits = |record: &Record| match &record.event {
            Event::Ended { task, attempt, end, again: None, .. } => {
                let attempts = story.job_of(*task).map(|job| job.retry.attempts);
                end.outcome == Outcome::Failed && attempts == Some(*attempt)
            }
            _ => false,
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let at = story.decision(place.0).events[place.1].at.checked_add(1.hour()).unwrap();
        let Event::Ended { again, .. } = story.event_mut(place) else { return false };
        *again = Some(at);
        true
    }),
    ("the end of an attempt is forgotten", Rule::Heard, |story, dice| {
        let fits = |record: &Record| match &record.event {
            Event::Ended { task, end, .. } => {
                let is_reported = story.report(record.cause).is_some();
                end.outcome != Outcome::Lost && is_reported && !story.is_claimed(*task)
            }
            _ => false,
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        story.events_mut(place).remove(place.1);
        true
    }),
    ("a late report is forgotten", Rule::Heard, |story, dice| {
        let fits = |record: &Record| match &record.event {
            Event::Late { task, outcome: Some(outcome), .. } => *outcome != Outcome::Lost && !story.is_claimed(*task),
            _ => false,
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let Event::Late { task, attempt, by, .. } = story.event_mut(place).clone() else { return false };
        let ended_by_it = story.records().any(|(_, record)| {
            matches!(&record.event, Event::Ended { task: t, attempt: a, by: Some(b), .. } if (*t, *a, b) == (task, attempt, &by))
        });
        story.events_mut(place).remove(place.1);
        !ended_by_it
    }),
    ("another offer is said to be given back", Rule::Returned, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::Returned { .. })) else {
            return false;
        };
        let Event::Returned { offer, .. } = story.event_mut(place) else { return false };
        *offer += 3;
        true
    }),
    ("what is given back was started", Rule::Returned, |story, dice| {
        let Some(place) = story
            .pick(dice, |record| matches!(&record.event, Event::Returned { task, .. } if !story.is_claimed(*task)))
        else {
            return false;
        };
        let cause = story.decision(place.0).events[place.1].cause;
        let Some((source, report, _)) = story.report(cause) else { return false };
        let at = story.times[&cause];
        let report = Report { what: What::Started { at }, ..report.clone() };
        let seq = 1_000_000_000;
        let said = Said { seq, source: source.clone(), input: Input::Report(report) };
        story.inputs.push(said);
        story.times.insert(seq, *story.times.values().max().unwrap());
        true
    }),
    ("a worker is said to be gone that was seen", Rule::Presence, |story, dice| {
        see(story, dice, Outcome::Lost, Found::WorkerPresent)
    }),
    ("a host is said to be unserved that was served", Rule::Presence, |story, dice| {
        see(story, dice, Outcome::Unreachable, Found::OfferWaits)
    }),
    ("another task was looked at", Rule::Presence, |story, dice| {
        let Some(cause) = pick_seen(story, dice, Outcome::Lost) else { return false };
        for said in story.inputs.iter_mut().filter(|said| said.seq == cause) {
            if let Input::Seen(seen) = &mut said.input {
                seen.attempts.iter_mut().for_each(|seen| seen.attempt += 9);
            }
        }
        true
    }),
    ("a failure counts as a success", Rule::Outcome, |story, dice| {
        let Some(place) = pick_reported_end(story, dice) else { return false };
        let Event::Ended { end, .. } = story.event_mut(place) else { return false };
        let is_failure = end.outcome == Outcome::Failed;
        end.outcome = Outcome::Ok;
        is_failure
    }),
    ("a worker calls exit code 7 a success", Rule::Outcome, |story, dice| {
        let Some(place) = pick_reported_end(story, dice) else { return false };
        let cause = story.decision(place.0).events[place.1].cause;
        for said in story.inputs.iter_mut().filter(|said| said.seq == cause) {
            let Input::Report(Report { what: What::Ended(end), .. }) = &mut said.input else { return false };
            end.exit_code = Some(7);
        }
        let Event::Ended { end, .. } = story.event_mut(place) else { return false };
        end.exit_code = Some(7);
        end.outcome == Outcome::Ok
    }),
    ("a decision has another account of the output", Rule::Output, |story, dice| {
        let Some(place) = pick_reported_end(story, dice) else { return false };
        let Event::Ended { end, .. } = story.event_mut(place) else { return false };
        end.output.stdout_bytes += 1;
        true
    }),
    ("an event follows from a message that nobody can read", Rule::Readable, |story, dice| {
        let Some(place) = pick_reported_end(story, dice) else { return false };
        let cause = story.decision(place.0).events[place.1].cause;
        story.inputs.retain(|said| said.seq != cause);
        story.bad.insert(cause, "no JSON".to_owned());
        true
    }),
    ("an event follows from a report without its token", Rule::Readable, |story, dice| {
        story.decisions[0].decision.secret.push_str("secret");
        let fits = |record: &Record| story.report(record.cause).is_some();
        story.pick(dice, fits).is_some()
    }),
    ("an attempt is claimed a second time", Rule::Claim, |story, dice| {
        let is_claim = |said: &&Said| matches!(said.input, Input::Claim(_)) && story.bears_token(said);
        let claims: Vec<&Said> = story.inputs.iter().filter(is_claim).collect();
        if claims.is_empty() {
            return false;
        }
        let mut said = claims[dice.roll(claims.len() as u64) as usize].clone();
        let Input::Claim(claim) = &mut said.input else { return false };
        claim.worker = "w9".parse().unwrap();
        said.source = Source::from(&*claim);
        said.seq += 1;
        let at = story.times[&(said.seq - 1)];
        story.times.insert(said.seq, at);
        story.inputs.push(said);
        story.inputs.sort_by_key(|said| said.seq);
        true
    }),
    ("an attempt runs at somebody who has not claimed it", Rule::Claim, |story, dice| {
        runs_a_claimed_one(story, dice, |_| "w9".parse().unwrap())
    }),
    ("an attempt runs in a later life of the worker that has claimed it", Rule::Claim, |story, dice| {
        runs_a_claimed_one(story, dice, |claimed| claimed.worker.clone())
    }),
];

/// Some process says that it runs what another one has claimed and started.
fn runs_a_claimed_one(story: &mut Story, dice: &mut Dice, worker: impl Fn(&Holder) -> WorkerName) -> bool {
    let fits = |record: &Record| matches!(&record.event, Event::Started { task, .. } if story.is_claimed(*task));
    let Some(place) = story.pick(dice, fits) else { return false };
    let Event::Started { task, attempt, by } = story.event_mut(place).clone() else { return false };
    let at = *story.times.values().max().unwrap();
    let (what, token) = (What::Started { at }, String::new());
    let report = Report { task, attempt, offer: 1, instance: "another".parse().unwrap(), what, token };
    let seq = story.decisions.last().unwrap().seq + 1;
    story.inputs.push(Said { seq, source: Source::Worker(worker(&by)), input: Input::Report(report) });
    story.times.insert(seq, at);
    true
}

/// The end of an attempt that a worker has reported.
fn pick_reported_end(story: &Story, dice: &mut Dice) -> Option<(usize, usize)> {
    story.pick(dice, |record| {
        matches!(record.event, Event::Ended { by: Some(_), .. }) && story.report(record.cause).is_some()
    })
}

/// The look that ended an attempt so.
fn pick_seen(story: &Story, dice: &mut Dice, as_what: Outcome) -> Option<u64> {
    let is_look = |seq: u64| story.said(seq).is_some_and(|said| matches!(said.input, Input::Seen(_)));
    let fits = |record: &Record| {
        matches!(&record.event, Event::Ended { end, .. } if end.outcome == as_what) && is_look(record.cause)
    };
    let (n, index) = story.pick(dice, fits)?;
    Some(story.decision(n).events[index].cause)
}

fn see(story: &mut Story, dice: &mut Dice, as_what: Outcome, found: Found) -> bool {
    let Some(cause) = pick_seen(story, dice, as_what) else { return false };
    for said in story.inputs.iter_mut().filter(|said| said.seq == cause) {
        if let Input::Seen(seen) = &mut said.input {
            seen.attempts.iter_mut().for_each(|seen| seen.found = found);
        }
    }
    true
}

/// The first offer of a job hands out one task more than fits.
fn hand_out_more(story: &mut Story, _: &mut Dice) -> bool {
    let jobs = story.jobs();
    let place = story.records().find_map(|(place, record)| {
        let Event::Offered { job, tasks, attempt: 1, offer: 1 } = &record.event else { return None };
        let (first, job) = jobs.iter().find(|(_, found)| found.name == *job)?;
        let is_sliding = !job.waves && !matches!(job.parallelism, Parallelism::Waves(_));
        let starts = tasks.contains(*first);
        let next = *first + u32::try_from(tasks.len()).ok()?;
        (is_sliding && starts && next < first + job.targets() && !story.is_taken_over(next)).then_some((place, next))
    });
    let Some((place, next)) = place else { return false };
    let Event::Offered { tasks, .. } = story.event_mut(place) else { return false };
    tasks.insert(next)
}
