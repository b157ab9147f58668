//! Ways of breaking ends of jobs, and the time limit of the run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_draw::Dice;
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::Job,
    name::Name,
    report::Outcome,
    span::Span,
};
use rr_verify::Rule;

use super::{Mutator, structure::is_stop};
use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 7] = [
    ("a job is called bad while targets wait for their turn", Rule::Threshold, |story, dice| {
        end_early(story, dice, JobStatus::Failed, |job, pause| {
            pause.turns < job.targets() && pause.ok == 0 && can_succeed(job, pause)
        })
    }),
    ("a job is called bad while a retry is due", Rule::Threshold, |story, dice| {
        end_early(story, dice, JobStatus::Failed, |job, pause| {
            pause.turns == job.targets() && pause.due > 0 && pause.ok == 0 && can_succeed(job, pause)
        })
    }),
    ("a job is called good while a retry is due", Rule::Threshold, |story, dice| {
        end_early(story, dice, JobStatus::Succeeded, |job, pause| {
            pause.turns == job.targets() && pause.due > 0 && pause.ok >= job.success.needed(job.targets())
        })
    }),
    ("a job that had enough is called cancelled", Rule::Threshold, |story, dice| {
        let stopped = story.records().position(|(_, record)| is_stop(&record.event)).unwrap_or(usize::MAX);
        let good = |record: &Record| matches!(record.event, Event::JobEnded { status: JobStatus::Succeeded, .. });
        let places: Vec<_> = story.records().skip(stopped).filter(|(_, record)| good(record)).collect();
        let Some(place) = dice.pick(&places).map(|(place, _)| *place) else { return false };
        let Event::JobEnded { status, .. } = story.event_mut(place) else { return false };
        *status = JobStatus::Cancelled;
        true
    }),
    ("a run is out of time too early", Rule::Time, |story, _| {
        let limit = limit(story);
        let is_cancel = |record: &Record| matches!(record.event, Event::CancelRequested { .. });
        let Some((place, record)) = story.records().find(|(_, record)| is_cancel(record)) else { return false };
        let is_early = limit.is_none_or(|limit| record.at < limit);
        *story.event_mut(place) = Event::DeadlinePassed {};
        for record in story.decisions.iter_mut().flat_map(|stored| &mut stored.decision.events) {
            if let Event::RunEnded { status } = &mut record.event {
                *status = RunStatus::TimedOut;
            }
        }
        story.beside.shown.values_mut().for_each(|shown| shown.status = RunStatus::TimedOut);
        is_early
    }),
    ("something is handed out when the time is over", Rule::Stop, |story, dice| {
        let Some(began) = began(story) else { return false };
        let fits = |record: &Record| matches!(record.event, Event::Offered { offer: 1, .. }) && record.at > began;
        let Some((n, index)) = story.pick(dice, fits) else { return false };
        let at = story.decision(n).events[index].at;
        end_at(story, began, at)
    }),
    ("an offer is made again when the time is over, and nothing stops the run", Rule::Stop, |story, dice| {
        let Some(began) = began(story) else { return false };
        let fits =
            |record: &Record| matches!(record.event, Event::Offered { offer, .. } if offer > 1) && record.at > began;
        let Some((n, index)) = story.pick(dice, fits) else { return false };
        let at = story.decision(n).events[index].at;
        story.decisions.truncate(n + 1);
        story.beside.shown.clear();
        // Nothing else of that moment needs the clock.
        let later = |record: &Record| {
            let is_new = matches!(record.event, Event::Offered { offer: 1, .. } | Event::JobEnded { .. });
            record.at >= at && (is_new || record.event.is_end())
        };
        !story.records().any(|(_, record)| later(record)) && end_at(story, began, at)
    }),
];

/// How a job stands when nothing of it is open.
#[derive(Clone, Copy, Default)]
struct Pause {
    turns: u32,
    open: u32,
    due: u32,
    ok: u32,
    bad: u32,
}

const fn can_succeed(job: &Job, pause: Pause) -> bool {
    !job.fail_fast || pause.bad == 0
}

/// Ends a job at a moment when nothing of it is open, in a run that nobody has stopped.
fn end_early(story: &mut Story, dice: &mut Dice, status: JobStatus, fits: impl Fn(&Job, Pause) -> bool) -> bool {
    let jobs = story.jobs();
    let mut pauses: BTreeMap<Name, Pause> = BTreeMap::new();
    let mut places = Vec::new();
    for (place, record) in story.records() {
        match &record.event {
            Event::Offered { job, tasks, attempt, offer: 1 } => {
                let pause = pauses.entry(job.clone()).or_default();
                let n = u32::try_from(tasks.len()).unwrap();
                pause.open += n;
                if *attempt == 1 {
                    pause.turns += n;
                } else {
                    pause.due -= n;
                }
            }
            Event::Ended { task, end, again, .. } => {
                let (_, job) = jobs.iter().rfind(|(first, _)| first <= task).unwrap();
                let pause = pauses.entry(job.name.clone()).or_default();
                pause.open -= 1;
                pause.due += u32::from(again.is_some());
                pause.ok += u32::from(end.outcome == Outcome::Ok);
                pause.bad += u32::from(end.outcome != Outcome::Ok && again.is_none());
                if pause.open == 0 && fits(job, *pause) {
                    places.push((place, job.name.clone()));
                }
            }
            event if is_stop(event) => break,
            _ => {}
        }
    }
    let Some((place, job)) = dice.pick(&places).cloned() else { return false };
    let ended = story.decision(place.0).events[place.1].clone();
    story.events_mut(place).insert(place.1 + 1, Record { event: Event::JobEnded { job, status }, ..ended });
    true
}

fn began(story: &Story) -> Option<Timestamp> {
    story.records().find(|(_, record)| record.event.submitted().is_some()).map(|(_, record)| record.at)
}

fn limit(story: &Story) -> Option<Timestamp> {
    let timeout = story.flow()?.timeout?;
    began(story)?.checked_add(timeout.as_duration()).ok()
}

/// Gives a run that nobody has stopped until then.
fn end_at(story: &mut Story, began: Timestamp, at: Timestamp) -> bool {
    let millis = u64::try_from(at.as_millisecond() - began.as_millisecond()).unwrap();
    story.change_flow(|flow| flow.timeout = Some(Span::saturating_from_millis(millis)));
    !story.records().any(|(_, record)| is_stop(&record.event))
}
