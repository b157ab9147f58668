//! Ways of concluding from a look what it does not say.

use rr_schemas::{
    decision::{Event, Record},
    input::{Input, Source},
    report::Outcome,
};
use rr_verify::Rule;

use super::Mutator;
use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 1] =
    [("what is lost counts as cancelled in a run that goes on", Rule::Presence, |story, dice| {
        let stops = stopped_by(story);
        let fits = |record: &Record| {
            let Event::Ended { end, .. } = &record.event else { return false };
            end.outcome == Outcome::Lost && is_by_look(story, record) && record.cause < stops
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let Event::Ended { end, .. } = story.event_mut(place) else { return false };
        end.outcome = Outcome::Cancelled;
        true
    })];

/// Whether an event follows from what was seen.
fn is_by_look(story: &Story, record: &Record) -> bool {
    story.said(record.cause).is_some_and(|said| matches!((&said.input, &said.source), (Input::Seen(_), Source::Note)))
}

/// The input that stops the run.
fn stopped_by(story: &Story) -> u64 {
    let stops = |record: &Record| matches!(record.event, Event::CancelRequested { .. } | Event::DeadlinePassed {});
    story.records().find(|(_, record)| stops(record)).map_or(u64::MAX, |(_, record)| record.cause)
}
