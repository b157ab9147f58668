//! What a reading of a log holds, counts and tells, run by run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use rr_core::Policy;
use rr_schemas::{decision::RunStatus, id::RunId, input::Input, view::Tally};
use rr_verify::{
    Rule, Violation,
    history::{Judgement, PolicyOf, Whole, judge, judge_whole},
    records::Extent,
    stream::{Beside, Content, Finding, Message, Rules, Scope, Shown, Verifier},
};

use crate::story::Story;

const RULES: Rules = crate::log::RULES;

/// Some runs with many decisions that are over, and of which nothing comes behind the end.
fn stories(n: usize) -> Vec<Story> {
    let ends =
        |story: &Story| story.decisions.last().unwrap().decision.events.iter().any(|record| record.event.is_end());
    (0..1_000).map(Story::drawn).filter(|story| story.decisions.len() > 8 && ends(story)).take(n).collect()
}

fn reading(rules: Rules, stories: &[Story]) -> Verifier {
    let mut beside = Beside::default();
    for story in stories {
        beside.shown.extend(story.beside.shown.clone());
    }
    let mut verifier = Verifier::new(rules, beside);
    stories.iter().flat_map(Story::messages).for_each(|message| verifier.hear(message));
    verifier
}

/// A report that the run had heard before.
fn late(story: &Story) -> Message {
    let mut story = story.clone();
    story.repeat_a_report();
    story.messages().pop().unwrap()
}

/// So many messages on its subjects that nobody can believe.
fn with_bad(mut story: Story, n: u64) -> Story {
    story.bad = (1..=n).map(|n| (story.decisions[1].seq + n, "no JSON".to_owned())).collect();
    story
}

/// Each is counted once, also where its run is to be read a second time: then it is counted there.
#[test]
fn what_is_not_believed_is_counted_with_its_run() {
    let mut stories = stories(3);
    stories = (2..).zip(stories).map(|(n, story)| with_bad(story, n)).collect();
    let end = reading(RULES, &stories).finish();
    assert_eq!((end.findings, end.sum.unbelieved, end.sum.over), (vec![], 2 + 3 + 4, 3));
    for (index, left) in [(0, 3 + 4), (1, 2 + 4), (2, 2 + 3)] {
        let mut verifier = reading(RULES, &stories);
        verifier.hear(late(&stories[index]));
        verifier.hear(late(&stories[index]));
        let end = verifier.finish();
        assert_eq!((end.findings, end.sum.unbelieved, end.sum.over), (vec![], left, 2));
        assert!(end.again.iter().eq([&stories[index].run]));
    }
}

/// What is over is let go of.
#[test]
fn no_more_is_held_than_what_is_open() {
    let stories = stories(3);
    let lengths: Vec<u64> = stories.iter().map(|story| story.messages().len() as u64).collect();
    let most = |keeps| reading(Rules { keeps, ..RULES }, &stories).finish().sum.held_most;
    assert_eq!(most(false), *lengths.iter().max().unwrap());
    assert_eq!(most(true), lengths.iter().sum::<u64>());
    // A run whose beginning is not there stays until the end of the reading.
    let mut cut = stories.clone();
    cut[0].decisions.remove(0);
    let end = reading(RULES, &cut).finish();
    assert_eq!(end.sum.held_most, lengths[0] - 1 + lengths[1].max(lengths[2]));
}

/// What is found can be taken at any time, and is told once; what is known to be broken need not be read again.
#[test]
fn what_is_found_is_told_once() {
    let mut stories = stories(2);
    stories[0].decisions[3].hash.push('x');
    let mut verifier = reading(RULES, &stories);
    let taken = verifier.take();
    assert!(matches!(&taken[..], [Finding::Violation { run, .. }] if *run == stories[0].run), "{taken:?}");
    assert_eq!(verifier.take(), []);
    for story in &stories {
        verifier.hear(late(story));
    }
    let end = verifier.finish();
    assert_eq!(end.findings, []);
    assert!(end.again.iter().eq([&stories[1].run]), "{:?}", end.again);
}

#[test]
fn a_reading_that_is_cut_off_does_not_ask_what_should_have_been_answered() {
    let mut story = stories(1).remove(0);
    story.decisions.truncate(1);
    let last = story.decisions[0].seq;
    story.inputs.retain(|said| said.seq < last);
    story.times.retain(|seq, _| *seq < last);
    story.beside.shown.clear();
    let now = story.times.values().max().and_then(|last| last.checked_add(24.hours()).ok());
    let verifier = || reading(Rules { now, ..RULES }, std::slice::from_ref(&story));
    let found = verifier().finish().findings;
    let is_late =
        |finding: &Finding| matches!(finding, Finding::Violation { violation, .. } if violation.rule == Rule::Liveness);
    assert!(found.iter().any(is_late), "{found:?}");
    let mut cut_off = verifier();
    cut_off.cut_off();
    assert_eq!(cut_off.finish().findings, []);
}

/// Who asks for one run is told that it is not there; of a whole log that is no news.
#[test]
fn a_run_that_was_forgotten_is_missed_by_who_asks_for_it() {
    let mut story = stories(1).remove(0);
    story.decisions.clear();
    story.inputs.retain(|said| !matches!(said.input, Input::Submit(_)));
    story.beside.shown.clear();
    for (scope, n_forgotten, told) in [(Scope::Log, 1, None), (Scope::Runs, 0, Some("its history is not there"))] {
        let end = reading(Rules { scope, ..RULES }, std::slice::from_ref(&story)).finish();
        assert_eq!(end.sum.forgotten, n_forgotten);
        let is_told = |finding: &Finding| matches!((finding, told), (Finding::Incomplete { reason, .. }, Some(told)) if reason.starts_with(told));
        assert_eq!(end.findings.len(), usize::from(told.is_some()));
        assert!(end.findings.iter().all(is_told), "{:?}", end.findings);
    }
}

/// A run that is to have ended has a history; of one that may only have been asked for nothing is demanded.
#[test]
fn a_run_without_decisions_is_broken_when_it_is_to_be_over() {
    let (run, policy) = ("r1".parse().unwrap(), Policy::default());
    let found = judge(&run, &[], &[], &policy);
    assert_eq!(found.iter().map(|found| found.rule).collect::<Vec<_>>(), [Rule::Chain]);
    let (times, bad, unread, aside) = (&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new(), &BTreeSet::new());
    let (run, policy, policy_of, extent) = (&run, &policy, PolicyOf::Coordinators, Extent::SoFar);
    let whole =
        Whole { run, decisions: &[], inputs: &[], times, bad, unread, aside, policy, policy_of, extent, now: None };
    let Judgement { violations, truncated, unsure, n_beside: _ } = judge_whole(&whole);
    assert_eq!((violations, truncated, unsure), (vec![], None, vec![]));
}

/// Messages that are no news to anybody end nothing and begin nothing.
#[test]
fn what_is_foreign_behind_an_end_matters_to_nobody() {
    let story = stories(1).remove(0);
    let mut verifier = reading(RULES, std::slice::from_ref(&story));
    for content in [Content::Foreign, Content::Bad("no JSON".into()), Content::Unread("version 9".into())] {
        verifier.hear(Message { content, ..late(&story) });
    }
    let end = verifier.finish();
    assert!(end.findings.is_empty() && end.again.is_empty() && end.sum.over == 1, "{:?}", end.sum);
    assert_eq!(end.sum.unbelieved, 3, "it is counted");
    // Before the end, too; and once, where the run is read again.
    for (rules, n_unbelieved, n_again) in [(RULES, 0, 1), (Rules { keeps: true, ..RULES }, 2, 0)] {
        let mut verifier = Verifier::new(rules, story.beside.clone());
        let foreign = || Message { content: Content::Foreign, ..late(&story) };
        verifier.hear(Message { seq: 0, ..foreign() });
        story.messages().into_iter().for_each(|message| verifier.hear(message));
        verifier.hear(foreign());
        if n_again > 0 {
            verifier.hear(Message { content: Content::Unreadable("version 9".into()), ..late(&story) });
        }
        let end = verifier.finish();
        assert_eq!((end.sum.unbelieved, end.again.len()), (n_unbelieved, n_again));
    }
    let mut verifier = reading(RULES, std::slice::from_ref(&story));
    verifier.hear(Message { content: Content::Unreadable("version 9".into()), ..late(&story) });
    let end = verifier.finish();
    assert!(end.again.iter().eq([&story.run]));
}

/// A reading that begins late passes over what began before, as far as the log or its state tell.
#[test]
fn what_began_when_is_known_by_its_state_where_the_log_has_no_decision() {
    let story = stories(1).remove(0);
    let shown = *story.beside.shown.values().next().unwrap();
    let began = shown.started_at.unwrap();
    let (before, after) = (began - 1.hour(), began + 1.hour());
    let is_submit = |message: &Message| matches!(&message.content, Content::Input { input, .. } if matches!(**input, Input::Submit(_)));
    let is_report = |message: &Message| matches!(&message.content, Content::Input { input, .. } if matches!(**input, Input::Report(_)));
    let submit = story.messages().into_iter().find(is_submit).unwrap();
    let report = story.messages().into_iter().find(is_report).unwrap();
    let (status, tasks) = (RunStatus::Queued, Tally::default());
    let queued = Shown { n: 0, status, tasks, started_at: None, ended_at: None };
    let of = |n, started_at| Some(Shown { n, started_at, ..shown });
    for (what, message, state, since, earlier, open, forgotten, told) in [
        ("asked for", &submit, None, before, 0, 1, 0, 0),
        ("asked for, and shown as such", &submit, Some(queued), before, 0, 1, 0, 0),
        ("asked for once more", &submit, of(5, Some(began)), after, 1, 0, 0, 0),
        ("asked for, and its decisions are lost", &submit, of(5, Some(began)), before, 0, 1, 0, 1),
        ("of a run that nobody knows", &report, None, before, 1, 0, 0, 0),
        ("of a run that began before", &report, of(5, Some(began)), after, 1, 0, 0, 0),
        ("of a run that began at that moment and is gone", &report, of(5, Some(began)), began, 0, 0, 1, 0),
    ] {
        let mut beside = Beside::default();
        beside.shown.extend(state.map(|state| (story.run.clone(), state)));
        let mut verifier = Verifier::new(Rules { scope: Scope::Since(since), ..RULES }, beside);
        verifier.hear(message.clone());
        let end = verifier.finish();
        let sum = (end.sum.earlier, end.sum.open, end.sum.forgotten, end.findings.len());
        assert_eq!(sum, (earlier, open, forgotten, told), "{what}: {:?}", end.findings);
    }
}

#[test]
fn what_is_found_is_told_in_a_line() {
    let violation = Violation { rule: Rule::Chain, at: 7, text: "a link is gone".into() };
    let (run, reason) = ("r1".parse::<RunId>().unwrap(), "it is half".to_owned());
    assert_eq!(violation.to_string(), "violation I1 seq=7 because a link is gone");
    for (finding, line) in [
        (Finding::Violation { run: run.clone(), violation }, "violation I1 run=r1 seq=7 because a link is gone"),
        (Finding::Incomplete { run: Some(run), reason: reason.clone() }, "incomplete run=r1 because it is half"),
        (Finding::Incomplete { run: None, reason }, "incomplete because it is half"),
    ] {
        assert_eq!(finding.to_string(), line);
    }
}
