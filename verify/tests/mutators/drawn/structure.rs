//! Ways of breaking decisions, slots, thresholds, ends and what stands beside the log.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    input::{Cancel, Input, Source},
    offer::{Command, Offer, Target},
    report::Outcome,
    retry::{Again, Carried},
};
use rr_verify::{
    Rule,
    history::Said,
    stream::{Says, Waiting},
};

use super::Mutator;
use rr_draw::Dice;

use crate::story::Story;

pub(super) const ALL: [(&str, Rule, Mutator); 31] = [
    ("a decision is dropped", Rule::Chain, |story, dice| {
        let n = story.decisions.len();
        let drops = n > 2;
        if drops {
            story.decisions.remove(1 + dice.roll(n as u64 - 2) as usize);
        }
        drops
    }),
    ("a decision is there twice", Rule::Chain, |story, dice| {
        let n = dice.roll(story.decisions.len() as u64) as usize;
        let mut copy = story.decisions[n].clone();
        copy.seq += 1;
        story.decisions.insert(n + 1, copy);
        true
    }),
    ("two decisions change places", Rule::Chain, |story, dice| {
        let n = story.decisions.len();
        if n < 3 {
            return false;
        }
        let at = 1 + dice.roll(n as u64 - 2) as usize;
        let (one, other) = (story.decisions[at].decision.clone(), story.decisions[at + 1].decision.clone());
        (story.decisions[at].decision, story.decisions[at + 1].decision) = (other, one);
        true
    }),
    ("decisions are numbered anew", Rule::Chain, |story, dice| {
        let n = dice.roll(story.decisions.len() as u64) as usize;
        story.decisions.iter_mut().skip(n).for_each(|stored| stored.decision.n += 1);
        // With all of them one higher it looks like a beginning that is missing.
        n > 0
    }),
    ("a decision was changed after it was stored", Rule::Chain, |story, dice| {
        let n = story.decisions.len() as u64;
        if n > 1 {
            story.decisions[dice.roll(n - 1) as usize].hash.push('x');
        }
        n > 1
    }),
    ("the cursor goes back", Rule::Chain, |story, _| {
        let rises = |n: &usize| story.decision(*n).upto > story.decision(*n - 1).upto;
        let Some(n) = (2..story.decisions.len()).find(rises) else { return false };
        story.decisions[n].decision.upto = story.decisions[n - 1].decision.upto - 1;
        true
    }),
    ("the run begins a second time", Rule::Chain, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::Offered { .. })) else {
            return false;
        };
        let begins = |record: &Record| record.event.submitted().is_some();
        let Some(first) = story.pick(dice, begins) else { return false };
        let again = story.decision(first.0).events[first.1].clone();
        // In the name of the input that did it first, as somebody would who answers it twice.
        story.events_mut(place).insert(place.1, again);
        place.0 == first.0
    }),
    ("a retry takes over nothing", Rule::Cause, |story, _| {
        // Of what was taken over and runs again nothing else is said.
        story.taken_over().is_some_and(|taken| taken.take().is_some())
    }),
    ("a retry takes over from another run", Rule::Cause, |story, _| {
        let Some(Some(carried)) = story.taken_over() else { return false };
        carried.run = "another".parse().unwrap();
        true
    }),
    ("a run takes over what nobody asked for", Rule::Cause, |story, _| {
        let Some(none @ None) = story.taken_over() else { return false };
        *none = Some(Box::new(Carried { run: "r0".parse().unwrap(), tasks: [].into(), signals: [].into() }));
        true
    }),
    ("what failed was to run again", Rule::Cause, |story, _| {
        let Some(Some(carried)) = story.taken_over() else { return false };
        let has_failed = carried.tasks.keys().any(|outcome| *outcome != Outcome::Ok);
        let of_bad_jobs = has_failed && !story.records().any(|(_, record)| is_good_end(&record.event));
        for said in &mut story.inputs {
            if let Input::Submit(submit) = &mut said.input {
                submit.retry_of.as_mut().unwrap().again = Again::Failed;
            }
        }
        of_bad_jobs
    }),
    ("a decision follows from what it has not answered", Rule::Time, |story, dice| {
        let n = dice.roll(story.decisions.len() as u64) as usize;
        let seq = story.decisions[n].seq;
        let Some(last) = story.decisions[n].decision.events.last_mut() else { return false };
        last.cause = seq + 5;
        true
    }),
    ("an event is older than its cause", Rule::Time, |story, dice| {
        let Some((n, index)) = story.pick(dice, |_| true) else { return false };
        let record = &mut story.decisions[n].decision.events[index];
        record.at = record.at.checked_sub(1.hour()).unwrap();
        true
    }),
    ("a job ends a second time", Rule::DecidedOnce, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::JobEnded { .. })) else {
            return false;
        };
        let again = story.decision(place.0).events[place.1].clone();
        story.events_mut(place).insert(place.1 + 1, again);
        true
    }),
    ("a job starts before what it needs", Rule::Order, start_early),
    ("a good job is called bad", Rule::Threshold, |story, dice| {
        turn(story, dice, JobStatus::Succeeded, JobStatus::Failed)
    }),
    ("a bad job is called good", Rule::Threshold, |story, dice| {
        turn(story, dice, JobStatus::Failed, JobStatus::Succeeded)
    }),
    ("the threshold of a job was another one", Rule::Threshold, |story, _| {
        // Every target must succeed now: a job that had enough has too few.
        let good: Vec<_> = story
            .records()
            .filter_map(|(_, record)| match &record.event {
                Event::JobEnded { job, status: JobStatus::Succeeded } => Some(job.clone()),
                _ => None,
            })
            .collect();
        let bad: BTreeSet<u32> = story
            .records()
            .filter_map(|(_, record)| match &record.event {
                Event::Ended { task, end, again: None, .. } if end.outcome != Outcome::Ok => Some(*task),
                _ => None,
            })
            .collect();
        let fits = story.jobs().into_iter().position(|(first, job)| {
            let has_bad = bad.range(first..first + job.targets()).next().is_some();
            has_bad && job.on_unreachable.is_none() && !job.fail_fast && good.contains(&job.name)
        });
        fits.is_some_and(|index| change_flow(story, |jobs| jobs[index].success = "100%".parse().unwrap()))
    }),
    ("the run ends a second time", Rule::End, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::RunEnded { .. })) else {
            return false;
        };
        let again = story.decision(place.0).events[place.1].clone();
        story.events_mut(place).insert(place.1 + 1, again);
        true
    }),
    ("the run ends in another state", Rule::End, |story, dice| {
        let Some(place) = story.pick(dice, |record| matches!(record.event, Event::RunEnded { .. })) else {
            return false;
        };
        let Event::RunEnded { status } = story.event_mut(place) else { return false };
        *status = if *status == RunStatus::Succeeded { RunStatus::Failed } else { RunStatus::Succeeded };
        true
    }),
    ("something is handed out after a stop", Rule::Stop, stop_early),
    ("what is left of a run waits for itself", Rule::Waits, |story, dice| {
        let Some(place) = story.pick(dice, |record| record.event.is_end()) else { return false };
        let is_graph = story.flow().is_some_and(|flow| flow.slots.is_empty());
        let has_changed = is_graph
            && change_flow(story, |jobs| {
                let mut last = jobs.last().unwrap().clone();
                last.name = "itself".parse().unwrap();
                last.needs = vec![last.name.clone()];
                jobs.push(last);
            });
        story.events_mut(place).truncate(place.1);
        story.decisions.truncate(place.0 + 1);
        story.beside.shown.clear();
        // A run that was stopped would end what waits.
        has_changed && !story.records().any(|(_, record)| is_stop(&record.event))
    }),
    ("a job is never ended", Rule::Conservation, |story, _| {
        let is_last_job = |record: &Record| matches!(&record.event, Event::JobEnded { .. });
        let Some((place, record)) = story.records().rfind(|(_, record)| is_last_job(record)) else {
            return false;
        };
        // What follows by itself from a bad end does not.
        let good = matches!(record.event, Event::JobEnded { status: JobStatus::Succeeded, .. });
        story.events_mut(place).remove(place.1);
        good
    }),
    ("nothing is decided any more", Rule::Liveness, |story, dice| {
        let n = story.decisions.len() as u64;
        let cut = 1 + dice.roll(n.max(2) - 1) as usize;
        if n < 2 {
            return false;
        }
        story.decisions.truncate(cut);
        let last = story.decisions[cut - 1].seq;
        story.inputs.retain(|said| said.seq < last);
        story.times.retain(|seq, _| *seq < last);
        story.beside.shown.clear();
        let end = *story.times.values().max().unwrap();
        story.now = Some(end.checked_add(24.hours()).unwrap());
        // What waits for a person waits for ever.
        let held = story.records().any(|(_, record)| matches!(record.event, Event::Held { .. }));
        let gate = story.jobs().iter().any(|(_, job)| job.signal.is_some());
        !held && !gate && !story.records().any(|(_, record)| record.event.is_end())
    }),
    ("an offer waits that nobody has made", Rule::Offered, |story, dice| {
        wait(story, dice, |waiting, _| waiting.attempt += 90)
    }),
    ("an offer waits whose number nobody has made", Rule::Offered, |story, dice| {
        wait(story, dice, |_, offer| offer.offer += 90)
    }),
    ("an offer waits where its task does not belong", Rule::Offered, |story, dice| {
        wait(story, dice, |waiting, offer| {
            waiting.target = Target::Host("elsewhere".parse().unwrap());
            offer.target = waiting.target.clone();
        })
    }),
    ("an offer waits that asks for another command", Rule::Offered, |story, dice| {
        wait(story, dice, |_, offer| offer.command = Command::Argv(vec!["rm".into(), "-rf".into(), "/".into()]))
    }),
    ("an offer waits with another environment", Rule::Offered, |story, dice| {
        wait(story, dice, |_, offer| {
            offer.env.insert("PATH".parse().unwrap(), "/tmp".into());
        })
    }),
    ("people are shown another count", Rule::Projection, |story, _| {
        let shown = story.beside.shown.values_mut().next().unwrap();
        shown.tasks.ok += 1;
        true
    }),
    ("people are shown another state", Rule::Projection, |story, _| {
        let shown = story.beside.shown.values_mut().next().unwrap();
        shown.status = if shown.status == RunStatus::Running { RunStatus::Failed } else { RunStatus::Running };
        true
    }),
];

/// Two offers that a decision has made wait, and one of them is changed.
fn wait(story: &mut Story, dice: &mut Dice, change: impl Fn(&mut Waiting, &mut Offer)) -> bool {
    let offered = story.offered();
    let Some((task, attempt)) = offered.iter().nth(dice.roll(offered.len().max(1) as u64) as usize).copied() else {
        return false;
    };
    let (mut waiting, mut offer) = (story.waiting(task, attempt), story.made(task, attempt).unwrap());
    story.beside.offers.insert(story.run.clone(), vec![waiting.clone()]);
    if !story.judged().findings.is_empty() {
        return false;
    }
    change(&mut waiting, &mut offer);
    waiting.says = Says::of(Ok(offer), false);
    story.beside.offers.entry(story.run.clone()).or_default().push(waiting);
    true
}

const fn is_good_end(event: &Event) -> bool {
    matches!(event, Event::JobEnded { status: JobStatus::Succeeded, .. })
}

pub(super) const fn is_stop(event: &Event) -> bool {
    matches!(event, Event::CancelRequested { .. } | Event::DeadlinePassed {})
}

/// The first event that offers a job which needs others moves to the begin of the run.
fn start_early(story: &mut Story, dice: &mut Dice) -> bool {
    let begins = |record: &Record| record.event.submitted().is_some();
    let Some(begin) = story.pick(dice, begins) else { return false };
    let needy = |name: &str| {
        let flow = story.flow().unwrap();
        let by_slot = flow.all_jobs().any(|(slot, job)| job.name.as_str() == name && slot.is_some_and(|slot| slot > 1));
        let by_need = flow.all_jobs().any(|(_, job)| job.name.as_str() == name && !job.needs.is_empty());
        by_slot || by_need
    };
    let late = story.records().find_map(|(place, record)| match &record.event {
        Event::Offered { job, .. } if place.0 > begin.0 && needy(job.as_str()) => Some(place),
        _ => None,
    });
    let Some(late) = late else { return false };
    let moved = story.events_mut(late).remove(late.1);
    let first = story.decision(begin.0).events[begin.1].clone();
    story.events_mut(begin).insert(begin.1 + 1, Record { event: moved.event, ..first });
    true
}

fn turn(story: &mut Story, dice: &mut Dice, from: JobStatus, to: JobStatus) -> bool {
    let gates: Vec<_> =
        story.jobs().into_iter().filter(|(_, job)| job.signal.is_some()).map(|(_, job)| job.name).collect();
    let fits = |record: &Record| matches!(&record.event, Event::JobEnded { job, status } if *status == from && !gates.contains(job));
    let Some(place) = story.pick(dice, fits) else { return false };
    let Event::JobEnded { status, .. } = story.event_mut(place) else { return false };
    *status = to;
    true
}

/// Changes the jobs of a graph.
fn change_flow(story: &mut Story, change: impl Fn(&mut Vec<rr_schemas::flow::Job>)) -> bool {
    let is_graph = story.flow().is_some_and(|flow| flow.slots.is_empty());
    if is_graph {
        story.change_flow(|flow| change(&mut flow.jobs));
    }
    is_graph
}

/// A cancel that was never there is answered before all that was handed out after the first decision.
fn stop_early(story: &mut Story, _: &mut Dice) -> bool {
    let Some(begin) = story.records().find(|(_, record)| record.event.submitted().is_some()).map(|(place, _)| place)
    else {
        return false;
    };
    let after = || story.records().filter(|(place, _)| place.0 > begin.0).map(|(_, record)| &record.event);
    let offered = after().position(|event| matches!(event, Event::Offered { .. }));
    let other = after().position(|event| match event {
        Event::Ended { again, .. } => again.is_some(),
        Event::Returned { .. } | Event::Signalled { .. } => true,
        event => is_stop(event),
    });
    let Some(offered) = offered else { return false };
    if other.is_some_and(|other| other < offered) {
        return false;
    }
    let seq = story.decisions[begin.0].seq - 1;
    let at = *story.times.range(..seq).map(|(_, at)| at).max().unwrap();
    let (by, reason) = ("t".to_owned(), None);
    story.inputs.push(Said {
        seq,
        source: Source::Api,
        input: Input::Cancel(Cancel { by: by.clone(), reason: reason.clone() }),
    });
    story.inputs.sort_by_key(|said| said.seq);
    story.times.insert(seq, at);
    let decision = &mut story.decisions[begin.0].decision;
    decision.upto = decision.upto.max(seq);
    decision.events.push(Record { cause: seq, at, event: Event::CancelRequested { by, reason } });
    // Inputs that the next decision answers lie behind it.
    decision.upto == seq
}
