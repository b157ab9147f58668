//! Ways of concluding from a look what it does not say.

use rr_schemas::{
    decision::{Event, Record},
    flow::unreachable::OnUnreachable,
    input::{Found, Input, Seen, SeenAttempts, Source},
    report::Outcome,
    span::Span,
};
use rr_verify::Rule;

use super::Mutator;
use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 8] = [
    ("what is lost counts as cancelled in a run that goes on", Rule::Presence, |story, dice| {
        let stops = stopped_by(story);
        let fits = |record: &Record| {
            let Event::Ended { end, .. } = &record.event else { return false };
            end.outcome == Outcome::Lost && look(story, record).is_some() && record.cause < stops
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let Event::Ended { end, .. } = story.event_mut(place) else { return false };
        end.outcome = Outcome::Cancelled;
        true
    }),
    ("an offer that waits is made once more", Rule::Presence, |story, dice| {
        let stops = stopped_by(story);
        let again = |record: &Record| {
            let Event::Extended { tasks, .. } = &record.event else { return None };
            let task = tasks.iter().next()?;
            let is_it = |seen: &&SeenAttempts| seen.found == Found::OfferWaits && seen.tasks.contains(task);
            let seen = look(story, record)?.attempts.iter().find(is_it)?;
            let (attempt, offer) = (seen.attempt, seen.offer + 1);
            let job = story.job_of(task)?.name;
            (record.cause < stops).then(|| Event::Offered { job, tasks: (task..=task).into(), attempt, offer })
        };
        let Some(place) = story.pick(dice, |record| again(record).is_some()) else { return false };
        let record = story.decision(place.0).events[place.1].clone();
        let Some(event) = again(&record) else { return false };
        story.events_mut(place).insert(place.1 + 1, Record { event, ..record });
        true
    }),
    ("an offer is made once more that another one was seen of", Rule::Presence, |story, dice| {
        let fits = |record: &Record| {
            matches!(record.event, Event::Offered { offer: 2.., .. }) && look(story, record).is_some()
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let cause = story.decision(place.0).events[place.1].cause;
        for said in story.inputs.iter_mut().filter(|said| said.seq == cause) {
            let Input::Seen(seen) = &mut said.input else { return false };
            seen.attempts.iter_mut().for_each(|seen| seen.offer += 1);
        }
        true
    }),
    ("what is offered once more nobody has given back", Rule::Presence, |story, dice| {
        let fits = |record: &Record| {
            let is_again = |other: &Record| {
                other.cause == record.cause && matches!(other.event, Event::Offered { offer: 2.., .. })
            };
            matches!(record.event, Event::Returned { .. }) && story.records().any(|(_, other)| is_again(other))
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        story.events_mut(place).remove(place.1);
        true
    }),
    ("a look at another offer ends an attempt", Rule::Presence, |story, dice| {
        let Some(place) = story.pick(dice, |record| concluded(story, record).is_some()) else { return false };
        let record = &story.decision(place.0).events[place.1];
        let (cause, Some(key)) = (record.cause, concluded(story, record)) else { return false };
        change_look(story, cause, key, |seen| seen.offer += 1);
        true
    }),
    ("what has started is lost because its offer is gone", Rule::Presence, |story, dice| {
        let found = [Found::OfferGone, Found::ClaimVoid][dice.roll(2) as usize];
        let runs = |story: &Story, record: &Record| {
            let seen = concluded(story, record).and_then(|key| seen_of(look(story, record)?, key));
            seen.is_some_and(|seen| seen.found == Found::WorkerGone)
        };
        let Some(place) = story.pick(dice, |record| runs(story, record)) else { return false };
        let record = story.decision(place.0).events[place.1].clone();
        if let Event::Ended { by, .. } = story.event_mut(place) {
            *by = None;
        }
        let Some(key) = concluded(story, &record) else { return false };
        change_look(story, record.cause, key, |seen| seen.found = found);
        true
    }),
    ("who does not serve yet is not waited for", Rule::Presence, |story, dice| {
        let counts = |task| story.job_of(task).is_some_and(|job| job.on_unreachable != Some(OnUnreachable::Skip));
        let fits = |record: &Record| unreachable(story, record).is_some_and(counts);
        let Some(place) = story.pick(dice, fits) else { return false };
        let task = unreachable(story, &story.decision(place.0).events[place.1]);
        let Some(name) = task.and_then(|task| story.job_of(task)).map(|job| job.name) else { return false };
        story.change_flow(|flow| {
            let in_slots = flow.slots.iter_mut().flat_map(|slot| &mut slot.jobs);
            let jobs = in_slots.chain(&mut flow.jobs).filter(|job| job.name == name);
            jobs.for_each(|job| job.on_unreachable = Some(OnUnreachable::Wait(Span::saturating_from_secs(1_000_000))));
        });
        true
    }),
    ("who may have claimed it is called unreachable", Rule::Presence, |story, dice| {
        let fits = |record: &Record| unreachable(story, record).is_some_and(|task| story.is_claimed(task));
        let Some(place) = story.pick(dice, fits) else { return false };
        let record = &story.decision(place.0).events[place.1];
        let (cause, Some(key)) = (record.cause, concluded(story, record)) else { return false };
        change_look(story, cause, key, |seen| seen.withdrawn = false);
        true
    }),
];

/// The task that ends because nobody serves it.
fn unreachable(story: &Story, record: &Record) -> Option<u32> {
    match &record.event {
        Event::Ended { task, end, .. } if end.outcome == Outcome::Unreachable => look(story, record).map(|_| *task),
        _ => None,
    }
}

/// Task and attempt that are decided, or held, because of a look.
fn concluded(story: &Story, record: &Record) -> Option<(u32, u32)> {
    look(story, record)?;
    match record.event {
        Event::Ended { task, attempt, .. } | Event::Held { task, attempt } => Some((task, attempt)),
        _ => None,
    }
}

fn seen_of(seen: &Seen, (task, attempt): (u32, u32)) -> Option<&SeenAttempts> {
    seen.attempts.iter().find(|seen| seen.attempt == attempt && seen.tasks.contains(task))
}

/// A look has seen something else of an attempt.
fn change_look(story: &mut Story, seq: u64, (task, attempt): (u32, u32), change: impl Fn(&mut SeenAttempts)) {
    for said in story.inputs.iter_mut().filter(|said| said.seq == seq) {
        let Input::Seen(seen) = &mut said.input else { return };
        let is_it = |seen: &&mut SeenAttempts| seen.attempt == attempt && seen.tasks.contains(task);
        seen.attempts.iter_mut().filter(is_it).for_each(&change);
    }
}

/// The look that an event follows from.
fn look<'s>(story: &'s Story, record: &Record) -> Option<&'s Seen> {
    match story.said(record.cause).map(|said| (&said.input, &said.source))? {
        (Input::Seen(seen), Source::Note) => Some(seen),
        _ => None,
    }
}

/// The input that stops the run.
fn stopped_by(story: &Story) -> u64 {
    let stops = |record: &Record| matches!(record.event, Event::CancelRequested { .. } | Event::DeadlinePassed {});
    story.records().find(|(_, record)| stops(record)).map_or(u64::MAX, |(_, record)| record.cause)
}
