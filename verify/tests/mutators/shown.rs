//! What stands beside the log of one run: its state, its offers, and inputs that are forgotten.

use jiff::ToSpan as _;
use rr_core::Run;
use rr_schemas::{decision::RunStatus, input::Input, view::Tally};
use rr_verify::{
    Rule,
    stream::{Finding, Rules, Says, Shown, Verifier, Waiting},
};

use crate::{log::RULES, story::Story};

/// A story that goes on, with no message behind its last decision, and something due.
fn open_story() -> Story {
    let cuts = (0..1_000).map(Story::drawn).filter(|story| story.decisions.len() > 8).map(|mut story| {
        story.decisions.truncate(6);
        let last = story.decisions[5].seq;
        story.inputs.retain(|said| said.seq < last);
        story.times.retain(|seq, _| *seq < last);
        story.beside.shown.clear();
        story
    });
    let is_due = |story: &Story| fold(story, 6).1.deadline().is_some();
    cuts.into_iter().find(|story| is_due(story) && story.judged().findings.is_empty()).unwrap()
}

/// The state after so many decisions, as people are shown it.
fn fold(story: &Story, n: u64) -> (Shown, Run) {
    let mut run = Run::new(story.run.clone(), story.policy);
    let decisions = story.decisions.iter().take_while(|stored| stored.decision.n <= n);
    decisions.flat_map(|stored| &stored.decision.events).for_each(|record| run.apply(record).unwrap());
    let view = run.view();
    let (status, tasks) = (view.status, Tally::of(&view));
    (Shown { n, status, tasks, started_at: view.started_at, ended_at: view.ended_at }, run)
}

/// Findings in short: a rule and where it is broken, or why the history is not whole.
fn told(story: &Story) -> Vec<String> {
    let findings = story.judged().findings.into_iter();
    let told = |finding| match finding {
        Finding::Violation { violation, .. } => format!("{:?} {}", violation.rule, violation.at),
        Finding::Incomplete { reason, .. } => reason,
    };
    findings.map(told).collect()
}

#[test]
fn a_state_shows_what_is_so_after_the_decision_that_it_names() {
    let mut story = open_story();
    let run = story.run.clone();
    for n in 1..=6 {
        let (shown, _) = fold(&story, n);
        story.beside.shown.insert(run.clone(), shown);
        assert_eq!(told(&story), [""; 0], "after decision {n}");
        let mut other = shown;
        other.tasks.ok += 1;
        story.beside.shown.insert(run.clone(), other);
        assert_eq!(told(&story), [format!("Projection {}", story.decisions[n as usize - 1].seq)], "after decision {n}");
    }
    // Of no decision at all: it is asked for, and nobody has seen it.
    story.beside.shown.insert(run.clone(), fold(&story, 0).0);
    assert_eq!(told(&story), [""; 0]);
    story.beside.shown.insert(run, Shown { n: 7, ..fold(&story, 6).0 });
    let truncated = "its history is truncated: its state shows decision 7, and the log ends with 6";
    assert_eq!(told(&story), [truncated]);
    // Behind a broken chain nothing is sure.
    story.decisions[2].decision.prev.push('x');
    assert_eq!(told(&story)[0], format!("Chain {}", story.decisions[2].seq));
    let shown = story.beside.shown.values_mut().next().unwrap();
    (shown.n, shown.tasks.ok) = (6, 999);
    assert_eq!(told(&story), [format!("Chain {}", story.decisions[2].seq)]);
}

/// What the log has lost may have answered what waits; what it has not lost has not.
#[test]
fn what_is_due_is_asked_unless_the_state_is_ahead_of_the_log() {
    let mut story = open_story();
    let due = fold(&story, 6).1.deadline().unwrap();
    story.now = Some(due + 24.hours());
    let (run, shown) = (story.run.clone(), fold(&story, 6).0);
    for n in [5, 6] {
        story.beside.shown.insert(run.clone(), fold(&story, n).0);
        assert_eq!(told(&story), ["Liveness 0"], "its state shows decision {n}");
    }
    story.beside.shown.insert(run, Shown { n: 7, ..shown });
    assert!(matches!(&told(&story)[..], [lost] if lost.starts_with("its history is truncated")), "{:?}", told(&story));
}

#[test]
fn offers_that_wait_were_made_by_a_decision() {
    let mut story = open_story();
    // With its token it shows that a decision is lost (below).
    story.bear_no_tokens();
    let run = story.run.clone();
    let made = story.offered();
    let (task, attempt) = *made.last().unwrap();
    let waiting: Vec<_> = made.iter().map(|(task, attempt)| story.waiting(*task, *attempt)).collect();
    story.beside.offers.insert(run.clone(), waiting.clone());
    assert_eq!(told(&story), [""; 0]);
    for other in [(task + 1, attempt), (task, attempt + 90), (task + 1, attempt + 90)] {
        story.beside.offers.insert(run.clone(), [waiting.clone(), vec![story.waiting(other.0, other.1)]].concat());
        let found = story.judged().findings;
        let text = format!("an offer of attempt {} of task {} waits, and no decision has made it", other.1, other.0);
        assert!(
            matches!(&found[..], [Finding::Violation { violation, .. }] if violation.rule == Rule::Offered && violation.text == text),
            "{found:?}"
        );
        // A decision that is lost may have made it.
        let mut lost = story.clone();
        lost.beside.shown.insert(run.clone(), Shown { n: 7, ..fold(&story, 6).0 });
        assert!(matches!(&told(&lost)[..], [lost] if lost.starts_with("its history is truncated")), "{other:?}");
    }
    // Of a run that the log knows nothing of.
    let verifier = |rules| {
        let mut beside = story.beside.clone();
        beside.offers.clear();
        beside.offers.insert("other".parse().unwrap(), vec![story.waiting(3, 1)]);
        let mut verifier = Verifier::new(rules, beside);
        story.messages().into_iter().for_each(|message| verifier.hear(message));
        verifier.finish().findings
    };
    assert!(matches!(&verifier(RULES)[..], [Finding::Violation { run, .. }] if run.as_str() == "other"));
    assert_eq!(verifier(Rules { scope: rr_verify::stream::Scope::Runs, ..RULES }), []);
}

/// An offer that only a coordinator of the run can have made shows that its decision is lost.
#[test]
fn an_offer_that_bears_its_token_was_made() {
    let mut story = open_story();
    story.bear_tokens();
    let (run, made) = (story.run.clone(), story.offered());
    let (task, attempt) = *made.last().unwrap();
    let later = |story: &Story| vec![story.waiting(task, attempt + 1)];
    let with = |offers: Vec<Waiting>| {
        let mut story = story.clone();
        story.beside.offers.insert(run.clone(), offers);
        told(&story)
    };
    let is_lost = |told: &[String]| matches!(told, [lost] if lost.starts_with("its history is truncated: an offer of"));
    assert!(is_lost(&with(later(&story))), "{:?}", with(later(&story)));
    let mut number = story.made(task, attempt).unwrap();
    number.offer += 1;
    let number = Waiting { says: Says::of(Ok(number), false), ..story.waiting(task, attempt) };
    assert!(is_lost(&with(vec![number.clone()])), "{:?}", with(vec![number]));
    // Without the token, or with another command, anybody may have made it.
    let mut forged = story.made(task, attempt + 1).unwrap();
    forged.token.clear();
    let mut other = story.made(task, attempt + 1).unwrap();
    other.cwd = Some("/elsewhere".into());
    for offer in [forged, other] {
        let waiting = Waiting { says: Says::of(Ok(offer), false), ..story.waiting(task, attempt + 1) };
        assert_eq!(with(vec![waiting]), ["Offered 0"]);
    }
    // Of a run that is lost whole its offers are left.
    let mut beside = story.beside.clone();
    beside.offers.insert(run.clone(), later(&story));
    beside.shown.insert(run, Shown { status: RunStatus::Running, ended_at: None, ..fold(&story, 6).0 });
    let lost = Verifier::new(RULES, beside).finish().findings;
    assert!(matches!(&lost[..], [Finding::Incomplete { .. }]), "{lost:?}");
}

/// Of what was said to a run that is over nothing is left but what came later: it is being forgotten, inputs first.
#[test]
fn a_run_is_half_forgotten_when_nothing_is_left_that_it_has_answered() {
    let ends = |story: &Story| story.records().any(|(_, record)| record.event.is_end());
    let whole = (0..1_000).map(Story::drawn).find(|story| story.decisions.len() > 8 && ends(story)).unwrap();
    let is_end = |n: &usize| whole.decisions[*n].decision.events.iter().any(|record| record.event.is_end());
    let end = (0..whole.decisions.len()).find(is_end).unwrap();
    let upto = whole.decisions[end].decision.upto;
    let left = |seq: u64| {
        let mut story = whole.clone();
        let report = story.inputs.iter().find(|said| matches!(said.input, Input::Report(_))).unwrap().clone();
        story.decisions.truncate(end + 1);
        story.beside.shown.clear();
        story.inputs.clear();
        story.say(seq, report.source, report.input);
        told(&story)
    };
    assert!(left(upto + 1)[0].starts_with("its inputs are not in the log any more"));
    assert!(left(upto)[0].starts_with("Cause"), "{:?}", left(upto));
    let bad = |seq: u64| {
        let mut story = whole.clone();
        story.decisions.truncate(end + 1);
        story.beside.shown.clear();
        story.inputs.clear();
        story.bad.insert(seq, "no JSON".into());
        told(&story)
    };
    assert!(bad(upto + 1)[0].starts_with("its inputs are not in the log any more"));
    assert!(bad(upto - 1)[0].starts_with("Cause"));
}
