//! Ways of passing over what workers report as ended.

use rr_schemas::{
    decision::{Event, Record},
    input::{Found, Input, Seen, SeenAttempts, Source},
    ranges::Ranges,
    report::{Ended, Outcome, Output, Report, What},
};
use rr_verify::Rule;

use super::Mutator;
use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 6] = [
    ("the end of a claimed attempt is forgotten", Rule::Heard, |story, dice| {
        let Some(place) = story.pick(dice, |record| is_reported(story, record, true)) else { return false };
        story.events_mut(place).remove(place.1);
        true
    }),
    ("the end of a claimed attempt is passed over until it is lost", Rule::Heard, |story, dice| {
        let place = story.pick(dice, |record| is_reported(story, record, true));
        place.is_some_and(|place| lose(story, place, false))
    }),
    ("the end of an attempt is passed over until it is lost", Rule::Heard, |story, dice| {
        let place = story.pick(dice, |record| is_reported(story, record, false));
        place.is_some_and(|place| lose(story, place, false))
    }),
    ("a claim is passed over", Rule::Claim, |story, dice| {
        let fits = |record: &Record| matches!(&record.event, Event::Started { task, .. } if story.is_claimed(*task));
        let Some(place) = story.pick(dice, fits) else { return false };
        story.events_mut(place).remove(place.1);
        true
    }),
    ("who was lost comes back with a success that nobody notes", Rule::Heard, |story, dice| {
        let fits = |record: &Record| {
            matches!(&record.event, Event::Ended { by: Some(_), end, .. } if end.outcome == Outcome::Lost)
                && story.report(record.cause).is_none()
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let Event::Ended { task, attempt, by: Some(by), end, .. } = story.event_mut(place).clone() else {
            return false;
        };
        let seq = story.decision(place.0).upto.max(story.decisions[place.0].seq) + 1;
        let end = Ended { outcome: Outcome::Ok, ..end };
        let (what, token) = (What::Ended(end), String::new());
        let report = Report { task, attempt, offer: 1, instance: by.instance, what, token };
        story.say(seq, Source::Worker(by.worker), Input::Report(report));
        // It must be answered some time.
        story.decisions.last().unwrap().decision.upto >= seq
    }),
    ("the failure of who runs it is noted as if somebody else did", Rule::Heard, |story, dice| {
        let fits = |record: &Record| {
            let Event::Ended { task, attempt, by: Some(by), end, .. } = &record.event else { return false };
            let runs_elsewhere = story.records().any(|(_, record)| match &record.event {
                Event::Started { task: t, attempt: a, by: other } => {
                    (t, a) == (task, attempt) && other.worker != by.worker
                }
                _ => false,
            });
            end.outcome != Outcome::Ok && is_reported(story, record, story.is_claimed(*task)) && !runs_elsewhere
        };
        let place = story.pick(dice, fits);
        place.is_some_and(|place| lose(story, place, true))
    }),
];

/// Whether an attempt ends as its worker has reported it, of a claimed job or of another one.
pub(super) fn is_reported(story: &Story, record: &Record, of_claimed: bool) -> bool {
    let Event::Ended { task, by: Some(_), end, .. } = &record.event else { return false };
    end.outcome != Outcome::Lost && story.report(record.cause).is_some() && story.is_claimed(*task) == of_claimed
}

/// The attempt ends as lost by a look that comes after the report of its end, which is noted as late if at all.
pub(super) fn lose(story: &mut Story, place: (usize, usize), is_noted: bool) -> bool {
    let record = story.decision(place.0).events[place.1].clone();
    let Event::Ended { task, attempt, by, end, .. } = &record.event else { return false };
    let seq = record.cause + 1;
    let (tasks, found, offer) = (Ranges::from(*task..=*task), Found::WorkerGone, 1);
    let attempts = vec![SeenAttempts { tasks, attempt: *attempt, offer, found, withdrawn: false }];
    story.say(seq, Source::Note, Input::Seen(Seen { attempts }));
    let lost =
        Ended { outcome: Outcome::Lost, exit_code: None, signal: None, output: Output::default(), ..end.clone() };
    let event = Event::Ended { task: *task, attempt: *attempt, by: by.clone(), end: lost, again: None };
    story.events_mut(place)[place.1] = Record { cause: seq, event, ..record.clone() };
    if let (true, Some(by)) = (is_noted, by) {
        let late = Event::Late { task: *task, attempt: *attempt, by: by.clone(), outcome: Some(end.outcome) };
        story.events_mut(place).insert(place.1, Record { event: late, ..record });
    }
    let decision = &mut story.decisions[place.0].decision;
    decision.upto = decision.upto.max(seq);
    true
}
