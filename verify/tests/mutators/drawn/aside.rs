//! Ways of passing over what must be believed by putting it aside, and of letting go on what nobody has seen.

use jiff::ToSpan as _;
use rr_schemas::{
    decision::{Event, Record},
    input::{Found, Input, SeenAttempts},
};
use rr_verify::Rule;

use super::{Mutator, reports};
use rr_draw::Dice;

use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 8] = [
    ("a late report is put aside", Rule::Readable, |story, dice| {
        let Some(place) = pick_late(story, dice) else { return false };
        let late = story.events_mut(place).remove(place.1);
        story.put_aside(late.cause)
    }),
    ("a late report is left behind", Rule::Readable, |story, dice| {
        let Some(place) = pick_late(story, dice) else { return false };
        let input = story.decision(place.0).events[place.1].cause;
        *story.event_mut(place) = Event::PutAside { input, reason: "it is too large".into() };
        true
    }),
    ("the end of an attempt is put aside until it is lost", Rule::Readable, |story, dice| {
        let fits = |record: &Record| reports::is_reported(story, record, false) && is_alone(story, record);
        let Some(place) = story.pick(dice, fits) else { return false };
        story.bear_tokens();
        let cause = story.decision(place.0).events[place.1].cause;
        reports::lose(story, place, false) && story.put_aside(cause)
    }),
    ("a timer is put aside", Rule::Readable, |story, _| {
        let upto = story.decisions.last().unwrap().decision.upto;
        let is_idle = |seq: u64| !story.records().any(|(_, record)| record.cause == seq);
        let timers = story.inputs.iter().filter(|said| matches!(said.input, Input::Timer {}) && said.seq <= upto);
        let Some(seq) = timers.map(|said| said.seq).find(|seq| is_idle(*seq)) else { return false };
        story.put_aside(seq)
    }),
    ("what was seen to be void goes on", Rule::Presence, |story, dice| {
        see(story, dice, |seen| seen.found = Found::ClaimVoid)
    }),
    ("what nobody can claim any more goes on", Rule::Presence, |story, dice| {
        see(story, dice, |seen| (seen.found, seen.withdrawn) = (Found::OfferGone, true))
    }),
    ("an attempt goes on by an offer that it does not have", Rule::Presence, |story, dice| {
        see(story, dice, |seen| seen.offer += 5)
    }),
    ("nobody looks after an attempt for a hundred years", Rule::Liveness, |story, dice| {
        let place = story.pick(dice, |record| matches!(record.event, Event::Extended { .. }));
        let Some(Event::Extended { until, .. }) = place.map(|place| story.event_mut(place)) else { return false };
        *until = until.checked_add((100 * 365 * 24).hours()).unwrap();
        true
    }),
];

/// A late report of an attempt that nobody need claim, from which nothing else follows, in a run whose workers bear tokens.
fn pick_late(story: &mut Story, dice: &mut Dice) -> Option<(usize, usize)> {
    let place = story.pick(dice, |record| {
        is_alone(story, record) && matches!(&record.event, Event::Late { task, .. } if !story.is_claimed(*task))
    });
    story.bear_tokens();
    place
}

/// Whether nothing else follows from the same input: what is cited was believed.
fn is_alone(story: &Story, record: &Record) -> bool {
    story.records().filter(|(_, other)| other.cause == record.cause).count() == 1
}

/// Of an offer that waits, and goes on, something else was seen.
fn see(story: &mut Story, dice: &mut Dice, change: impl Fn(&mut SeenAttempts)) -> bool {
    let seen_to_wait = |record: &Record| {
        story.said(record.cause).is_some_and(|said| {
            matches!(&said.input, Input::Seen(seen) if seen.attempts.iter().all(|seen| seen.found == Found::OfferWaits))
        })
    };
    let fits = |record: &Record| matches!(record.event, Event::Extended { .. }) && seen_to_wait(record);
    let place = story.pick(dice, fits);
    let Some(cause) = place.map(|place| story.decision(place.0).events[place.1].cause) else { return false };
    for said in story.inputs.iter_mut().filter(|said| said.seq == cause) {
        if let Input::Seen(seen) = &mut said.input {
            seen.attempts.iter_mut().for_each(&change);
        }
    }
    true
}
