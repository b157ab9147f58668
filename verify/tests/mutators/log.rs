//! What stands around histories: beginnings and ends that are missing, many runs in one log, what was put aside.

use jiff::ToSpan as _;
use rr_core::Policy;
use rr_schemas::{
    decision::RunStatus,
    input::{Input, Source},
};
use rr_verify::{
    Rule,
    stream::{Beside, Content, Finding, Message, Noted, PolicyOf, Rules, Scope, Shown, Verifier},
};

use rr_draw::Dice;

use crate::story::Story;

pub(crate) const RULES: Rules = Rules {
    policy: Policy {
        offer_expiry: rr_schemas::span::Span::saturating_from_secs(60),
        lease: rr_schemas::span::Span::saturating_from_secs(30),
        losses_max: 3,
        stop_wait: rr_schemas::span::Span::saturating_from_secs(1),
        look_max: rr_schemas::span::Span::saturating_from_secs(600),
    },
    policy_of: PolicyOf::Coordinators,
    now: None,
    keeps: false,
    scope: Scope::Log,
};

/// A history whose run has many decisions, and was not rejected.
fn long() -> Story {
    (0..1_000).map(Story::drawn).find(|story| story.decisions.len() > 8).unwrap()
}

fn reasons(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| match finding {
            Finding::Incomplete { reason, .. } => reason.as_str(),
            Finding::Violation { violation, .. } => panic!("{violation}"),
        })
        .collect()
}

#[test]
fn a_history_that_is_not_whole_is_incomplete_and_breaks_no_rule() {
    type Cut = fn(&mut Story);
    for (what, cut, told) in [
        ("its beginning was removed", (|s| drop(s.decisions.remove(0))) as Cut, "its beginning is not in the log"),
        ("its end was lost", |s| s.decisions.truncate(5), "its history is truncated: its state shows decision"),
        (
            "all of it was lost",
            |s| {
                s.decisions.clear();
                s.inputs.retain(|said| !matches!(said.input, Input::Submit(_)));
                s.beside.shown.values_mut().for_each(|shown| shown.status = RunStatus::Running);
            },
            "it is shown to go on, and its history is not there",
        ),
        (
            "its last offers were lost, and a worker knows better",
            |s| {
                s.bear_tokens();
                s.decisions.truncate(2);
                s.beside.shown.clear();
            },
            "its history is truncated: w",
        ),
    ] {
        let mut story = long();
        cut(&mut story);
        let found = story.judged().findings;
        let reasons = reasons(&found);
        assert!(reasons.len() == 1 && reasons[0].starts_with(told), "{what}: {reasons:?}");
    }
}

#[test]
fn a_decision_that_cannot_be_read_ends_what_can_be_said() {
    let story = long();
    let mut verifier = Verifier::new(Rules { keeps: true, scope: Scope::Runs, ..RULES }, Beside::default());
    for message in story.messages() {
        let is_third = matches!(&message.content, Content::Decision { decision, .. } if decision.n == 3);
        let content = if is_third { Content::Unreadable("version 9".to_owned()) } else { message.content };
        verifier.hear(Message { content, ..message });
    }
    let end = verifier.finish();
    assert!(reasons(&end.findings)[0].ends_with("cannot be read: version 9"), "{:?}", end.findings);
}

#[test]
fn what_was_put_aside_must_not_have_been_decided_unless_it_was() {
    let mut story = long();
    story.bear_tokens();
    // Somebody else's claim of an end that counts for nobody.
    let forged = story.inputs.iter().find(|said| matches!(said.input, Input::Report(_))).unwrap().clone();
    let seq = story.decisions[3].seq + 1;
    let Input::Report(mut report) = forged.input else { panic!() };
    report.instance = "forger".parse().unwrap();
    report.token.clear();
    story.inputs.push(rr_verify::history::Said { seq, source: forged.source, input: Input::Report(report) });
    story.inputs.sort_by_key(|said| said.seq);
    story.times.insert(seq, *story.times.values().max().unwrap());
    story.put_aside(seq);
    assert_eq!(story.judged().findings, []);
    // Everything that was believed after all stays believed.
    let cited: Vec<u64> = story.records().map(|(_, record)| record.cause).collect();
    assert!(cited.into_iter().all(|seq| story.put_aside(seq)));
    assert_eq!(story.judged().findings, []);
}

/// A log that has lost its end uses its sequences once more, and the notes on what is lost stay in the quarantine.
#[test]
fn a_note_on_what_is_lost_says_nothing_of_who_has_its_sequence_now() {
    let is_idle = |story: &Story, seq: u64| !story.records().any(|(_, record)| record.cause == seq);
    let idle_timer = |story: &Story| {
        let upto = story.decisions.last().unwrap().decision.upto;
        let timers = story.inputs.iter().filter(|said| matches!(said.input, Input::Timer {}) && said.seq <= upto);
        timers.map(|said| said.seq).find(|seq| is_idle(story, *seq))
    };
    let (story, seq) = (0..1_000).map(Story::drawn).find_map(|it| idle_timer(&it).map(|seq| (it, seq))).unwrap();
    let said = story.said(seq).unwrap();
    let (run, source, at) = (story.run.clone(), said.source.clone(), story.times.get(&seq).copied());
    let before = at.and_then(|at| at.checked_sub(1.minute()).ok());
    let (other, api) = ("other".parse().unwrap(), Source::Api);
    for (what, noted, broken) in [
        ("its own", Noted { run: run.clone(), source: source.clone(), seq, at }, Some(Rule::Readable)),
        ("of unknown age", Noted { run: run.clone(), source: source.clone(), seq, at: None }, Some(Rule::Readable)),
        ("of another run", Noted { run: other, source: source.clone(), seq, at }, None),
        ("of another sender", Noted { run: run.clone(), source: api, seq, at }, None),
        ("older than it", Noted { run, source, seq, at: before }, None),
    ] {
        let mut story = story.clone();
        story.beside.aside.insert(noted);
        assert_eq!(story.first_broken(), broken, "{what}");
        assert_eq!(story.judged().sum.unbelieved, u64::from(broken.is_some()), "{what}");
    }
}

/// Runs of many seeds in one log, each begun while others go on.
fn braided(n: u64) -> (Vec<Message>, Beside) {
    let (mut all, mut beside) = (Vec::new(), Beside::default());
    for seed in 0..n {
        let mut story = Story::drawn(seed);
        if seed.is_multiple_of(5) {
            story.repeat_a_report();
        }
        beside.shown.extend(story.beside.shown.clone());
        // Each begins some messages after the one before.
        all.extend(story.messages().into_iter().map(|message| (message.seq + seed * 400, message)));
    }
    all.sort_by_key(|(place, message)| (*place, message.run.clone()));
    (all.into_iter().map(|(_, message)| message).collect(), beside)
}

#[test]
fn a_log_of_many_runs_is_judged_with_the_open_ones_in_memory() {
    let (messages, beside) = braided(200);
    let n = messages.len() as u64;
    let mut verifier = Verifier::new(RULES, beside.clone());
    messages.clone().into_iter().for_each(|message| verifier.hear(message));
    let end = verifier.finish();
    assert_eq!(end.findings, []);
    assert_eq!((end.sum.messages, end.sum.over + end.again.len() as u64), (n, 200));
    assert!(end.sum.held_most < n / 4, "{} of {n} were held at once", end.sum.held_most);
    // What came behind an end is judged by a second reading.
    assert!(!end.again.is_empty());
    let rules = Rules { keeps: true, scope: Scope::Runs, ..RULES };
    let mut second = Verifier::new(rules, beside);
    messages.into_iter().filter(|message| end.again.contains(&message.run)).for_each(|message| second.hear(message));
    let second = second.finish();
    assert_eq!((second.findings, second.sum.over), (Vec::new(), end.again.len() as u64));
}

#[test]
fn a_broken_run_among_many_is_the_one_that_is_named() {
    let (messages, beside) = braided(60);
    let mut dice = Dice(5);
    let runs: Vec<_> = beside.shown.keys().cloned().collect();
    let broken = runs[dice.roll(runs.len() as u64) as usize].clone();
    let mut verifier = Verifier::new(RULES, beside);
    for mut message in messages {
        if let (true, Content::Decision { decision, .. }) = (message.run == broken, &mut message.content) {
            decision.prev.push('x');
        }
        verifier.hear(message);
    }
    let end = verifier.finish();
    assert!(!end.findings.is_empty());
    for finding in end.findings {
        let Finding::Violation { run, violation } = finding else { panic!("{finding}") };
        assert_eq!((run, violation.rule.id()), (broken.clone(), "I1"));
    }
}

#[test]
fn of_forgotten_runs_nothing_is_demanded_and_of_lost_ones_something_is_said() {
    let story = long();
    let last = *story.times.values().max().unwrap();
    let shown = *story.beside.shown.values().next().unwrap();
    let over = Shown { status: RunStatus::Failed, ..shown };
    let after = |minutes| shown.started_at.and_then(|began| began.checked_add(jiff::Span::new().minutes(minutes)).ok());
    for (state, now, n_forgotten, told) in [
        (over, None, 1, None),
        (over, after(61), 1, None),
        (over, after(59), 0, Some("its history is gone: it began less than an hour ago")),
        (
            Shown { status: RunStatus::Running, ..shown },
            None,
            0,
            Some("it is shown to go on, and its history is not there"),
        ),
        (
            Shown { started_at: last.checked_add(jiff::Span::new().seconds(1)).ok(), ..over },
            None,
            0,
            Some("its history is truncated: it began after the last message"),
        ),
    ] {
        let mut beside = story.beside.clone();
        beside.shown.insert("gone".parse().unwrap(), state);
        let mut verifier = Verifier::new(Rules { now, ..RULES }, beside);
        story.messages().into_iter().for_each(|message| verifier.hear(message));
        let end = verifier.finish();
        let reasons = reasons(&end.findings);
        assert_eq!(end.sum.forgotten, n_forgotten);
        assert!(match told {
            Some(told) => reasons.len() == 1 && reasons[0].starts_with(told),
            None => reasons.is_empty(),
        });
    }
}

#[test]
fn a_state_may_show_what_was_noted_after_the_end() {
    let is_late = |story: &Story| {
        let mut decisions = story.decisions.iter();
        let end = decisions.find(|stored| stored.decision.events.iter().any(|record| record.event.is_end()));
        let after = decisions.next().and_then(|stored| stored.decision.events.first());
        end.zip(after).is_some_and(|(end, late)| late.cause > end.seq)
    };
    // Such stories are rare: this is where the first one is.
    let mut story = (7_125..20_000).map(Story::drawn).find(is_late).unwrap();
    let last = story.decisions.last().unwrap().decision.n;
    story.beside.shown.values_mut().for_each(|shown| shown.n = last);
    let mut verifier = Verifier::new(RULES, story.beside.clone());
    story.messages().into_iter().for_each(|message| verifier.hear(message));
    let end = verifier.finish();
    assert!(end.findings.is_empty() && end.again.contains(&story.run), "{:?}", end.findings);
}

/// The run that begins late enough is judged, and of what began before nothing is said, wherever the reading begins.
#[test]
fn a_reading_that_begins_late_passes_over_what_began_before() {
    let story = long();
    let shown = *story.beside.shown.values().next().unwrap();
    let running = Shown { status: RunStatus::Running, n: shown.n + 100, ..shown };
    let since = shown.started_at.unwrap().checked_add(jiff::Span::new().milliseconds(1)).unwrap();
    let n = story.messages().len();
    for (n_skipped, state) in (1..n).flat_map(|n| [(n, None), (n, Some(shown)), (n, Some(running))]) {
        let mut beside = Beside::default();
        beside.shown.extend(state.map(|shown| (story.run.clone(), shown)));
        let mut verifier = Verifier::new(Rules { scope: Scope::Since(since), ..RULES }, beside);
        story.messages().into_iter().skip(n_skipped).for_each(|message| verifier.hear(message));
        let end = verifier.finish();
        assert_eq!(
            (end.sum.earlier, end.findings),
            (1, Vec::new()),
            "{n_skipped} of {n} messages are not read, {state:?}"
        );
        assert!(end.again.is_empty() && end.sum.over == 0, "{n_skipped} of {n} messages are not read");
    }
    let scope = Scope::Since(shown.started_at.unwrap());
    let mut verifier = Verifier::new(Rules { scope, ..RULES }, story.beside.clone());
    story.messages().into_iter().for_each(|message| verifier.hear(message));
    let end = verifier.finish();
    assert_eq!((end.sum.earlier, end.sum.over + end.again.len() as u64, end.findings), (0, 1, Vec::new()));
}

/// The same of a log whose beginning is gone: that breaks no rule.
#[test]
fn a_log_without_its_beginning_is_incomplete_and_not_broken() {
    let story = long();
    let n = story.messages().len();
    for n_skipped in 1..n {
        let mut verifier = Verifier::new(RULES, story.beside.clone());
        story.messages().into_iter().skip(n_skipped).for_each(|message| verifier.hear(message));
        let end = verifier.finish();
        let reasons = reasons(&end.findings);
        let is_remainder = end.sum.forgotten == 1 && reasons.is_empty();
        let is_told = reasons.len() == 1 && reasons[0].starts_with("its beginning is not in the log any more");
        assert!(is_remainder || is_told, "{n_skipped} of {n} messages are not read: {reasons:?}");
    }
}

/// Somebody asks once more for a run of long ago: the reading begins between the two.
#[test]
fn a_request_that_comes_again_begins_no_run() {
    let story = long();
    let shown = *story.beside.shown.values().next().unwrap();
    let since = shown.started_at.unwrap().checked_add(jiff::Span::new().hours(1)).unwrap();
    let mut again = story.messages().swap_remove(0);
    assert!(matches!(&again.content, Content::Input { input, .. } if matches!(**input, Input::Submit(_))));
    (again.seq, again.at) = (100_000, since);
    let mut verifier = Verifier::new(Rules { scope: Scope::Since(since), ..RULES }, story.beside.clone());
    verifier.hear(again);
    let end = verifier.finish();
    assert_eq!((end.sum.earlier, end.findings), (1, Vec::new()));
}

/// Whether what is over is kept in memory says nothing about what was read.
#[test]
fn what_is_lost_is_said_in_every_reading_that_would_have_read_it() {
    let story = long();
    let shown = *story.beside.shown.values().next().unwrap();
    let began = shown.started_at.unwrap();
    let later = began.checked_add(jiff::Span::new().seconds(1)).unwrap();
    for (keeps, scope, n_told) in [
        (false, Scope::Log, 1),
        (true, Scope::Log, 1),
        (false, Scope::Since(began), 1),
        (false, Scope::Since(later), 0),
        (true, Scope::Runs, 0),
    ] {
        let mut beside = story.beside.clone();
        beside.shown.insert("gone".parse().unwrap(), Shown { status: RunStatus::Running, ..shown });
        let mut verifier = Verifier::new(Rules { keeps, scope, ..RULES }, beside);
        story.messages().into_iter().for_each(|message| verifier.hear(message));
        let told = verifier.finish().findings;
        let told: Vec<_> = reasons(&told).into_iter().filter(|reason| reason.contains("shown to go on")).collect();
        assert_eq!(told.len(), n_told, "{keeps} {scope:?}: {told:?}");
    }
}

#[test]
fn a_run_whose_inputs_alone_were_forgotten_is_incomplete() {
    let mut story = long();
    story.inputs.clear();
    let end = story.judged();
    assert!(reasons(&end.findings)[0].starts_with("its inputs are not in the log any more"), "{:?}", end.findings);
    // Of one that goes on, nobody may forget anything.
    story.decisions.truncate(5);
    story.beside = Beside::default();
    assert!(matches!(story.first_broken(), Some(rule) if rule.id() == "I3"));
}
