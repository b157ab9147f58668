//! Ways of breaking what follows the end of an attempt.

use jiff::{Timestamp, ToSpan as _};
use rr_draw::Dice;
use rr_schemas::{
    decision::{Event, Record},
    report::Outcome,
};
use rr_verify::Rule;

use super::Mutator;
use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 8] = [
    ("another attempt follows the last loss", Rule::Retry, |story, dice| {
        let is_repeated = story.pick(dice, |record| is_end(record, is_loss, true)).is_some();
        story.policy.losses_max = 0;
        is_repeated
    }),
    ("a loss is repeated against the flow's word", Rule::Retry, |story, dice| {
        again(story, dice, |record| is_end(record, is_loss, false), Some)
    }),
    ("a lost attempt is not repeated", Rule::Retry, |story, dice| {
        again(story, dice, |record| is_end(record, is_loss, true), |_| None)
    }),
    ("a failure is not repeated", Rule::Retry, |story, dice| {
        again(story, dice, |record| is_end(record, is_failure, true), |_| None)
    }),
    ("another attempt follows what nobody served", Rule::Retry, |story, dice| {
        let is_unserved = |outcome| matches!(outcome, Outcome::Unreachable | Outcome::Refused);
        again(story, dice, |record| is_end(record, is_unserved, false), Some)
    }),
    ("a failure is repeated whose exit code is not named", Rule::Retry, |story, dice| {
        let is_repeated = story.pick(dice, |record| is_end(record, |outcome| outcome == Outcome::Failed, true));
        story.change_flow(|flow| {
            let in_slots = flow.slots.iter_mut().flat_map(|slot| &mut slot.jobs);
            in_slots.chain(&mut flow.jobs).for_each(|job| job.retry.on = vec![75]);
        });
        is_repeated.is_some()
    }),
    ("waits do not grow", Rule::Retry, |story, dice| {
        let tries = |task: u32, before: u64| {
            let ends = story.records().filter(|(_, record)| record.cause < before);
            ends.filter(|(_, record)| {
                matches!(&record.event, Event::Ended { task: t, end, .. } if *t == task && !is_loss(end.outcome))
            })
            .count()
        };
        let fits = |record: &Record| {
            let Event::Ended { task, .. } = record.event else { return false };
            let delays = story.job_of(task).is_some_and(|job| !job.retry.delay.is_zero());
            is_end(record, is_failure, true) && delays && tries(task, record.cause) > 0
        };
        let Some(place) = story.pick(dice, fits) else { return false };
        let at = story.decision(place.0).events[place.1].at;
        let Event::Ended { task, .. } = *story.event_mut(place) else { return false };
        let first = story.job_of(task).unwrap().retry.delay.as_duration();
        let Event::Ended { again, .. } = story.event_mut(place) else { return false };
        *again = Some(at.checked_add(first).unwrap());
        true
    }),
    ("a retry waits too long", Rule::Retry, |story, dice| {
        let is_repeated = |record: &Record| is_end(record, |_| true, true);
        again(story, dice, is_repeated, |at| at.checked_add(1.hour()).ok())
    }),
];

const fn is_loss(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Lost | Outcome::Cancelled)
}

const fn is_failure(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Failed | Outcome::Timeout)
}

/// Whether an attempt ends so, and another one follows or does not.
fn is_end(record: &Record, how: impl Fn(Outcome) -> bool, is_repeated: bool) -> bool {
    matches!(&record.event, Event::Ended { end, again, .. } if how(end.outcome) && again.is_some() == is_repeated)
}

/// Changes whether and when another attempt follows, by the time of the end.
fn again(
    story: &mut Story,
    dice: &mut Dice,
    fits: impl Fn(&Record) -> bool,
    change: impl Fn(Timestamp) -> Option<Timestamp>,
) -> bool {
    let Some(place) = story.pick(dice, fits) else { return false };
    let at = story.decision(place.0).events[place.1].at;
    let Event::Ended { again, .. } = story.event_mut(place) else { return false };
    *again = change(at);
    true
}
