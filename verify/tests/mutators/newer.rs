//! What this build cannot read or does not know: nothing is called broken by that, and it is told.

use jiff::ToSpan as _;
use rr_core::Policy;
use rr_schemas::{
    decision::Event,
    input::Found,
    report::{Outcome, What},
    span::Span,
};
use rr_verify::{
    Rule,
    history::PolicyOf,
    stream::{Content, Finding, Message, Says, Verifier},
};

use crate::{
    log::RULES,
    story::Story,
    told::{Told, at, claim, end, ended, offered, report, seen, started},
};

const FREE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false}]}"#;
const FAIL: &str =
    r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","fail_fast":false,"on_lost":"fail"}]}"#;

/// The rules that are broken, and how much is not sure.
fn found(told: &Told) -> (Vec<Rule>, usize) {
    (told.broken(), told.judged().unsure.len())
}

/// It is claimed in a way that this build cannot read.
fn claimed(told: Told) -> Told {
    let told = told.say(claim("w1", 0, 1));
    let seq = told.last_said();
    told.cannot_be_read().decide_of(seq, vec![started("w1", 0, 1)])
}

fn ends_well(told: Told) -> Told {
    let told = told.say(report("w1", 0, 1, What::Ended(end(Outcome::Ok))));
    told.decide(vec![ended(Some("w1"), 0, 1, end(Outcome::Ok))])
}

#[test]
fn what_follows_from_a_newer_input_is_not_broken() {
    let waits = || Told::new(FAIL, vec![offered("a", "0-1", 1)]);
    let ended_by = ends_well(claimed(waits()));
    assert_eq!(found(&ended_by), (vec![], 1));
    let told = &ended_by.judged().unsure[0];
    assert_eq!(told, "input seq=3, from which something follows, cannot be read: version 9");
    // What nobody can read is another thing.
    let mut bad = ended_by.clone();
    bad.bad.append(&mut bad.unread);
    assert!(found(&bad).0.contains(&Rule::Readable), "{:?}", bad.judged());
    // What is broken before, or by the events alone, stays broken.
    let forged = waits().say(claim("w2", 1, 1)).decide(vec![started("w3", 1, 1)]);
    assert_eq!(found(&claimed(forged.clone())), (found(&forged).0, 1));
    assert!(!found(&forged).0.is_empty());
    let twice = ended_by.clone().decide(vec![ended(Some("w1"), 0, 1, end(Outcome::Ok))]);
    assert_eq!(found(&twice), (vec![Rule::DecidedOnce], 1));
    // What nobody has answered changes nothing.
    assert_eq!(found(&waits().say(claim("w1", 0, 1)).cannot_be_read()), (vec![], 0));
}

/// A message that this build cannot read is named, and the others are judged.
#[test]
fn a_log_with_newer_messages_is_incomplete() {
    let mut story = (0..1_000).map(Story::drawn).find(|story| story.decisions.len() > 8).unwrap();
    let offers: Vec<_> = story.offered().into_iter().map(|(task, attempt)| story.waiting(task, attempt)).collect();
    let newer = |mut offers: Vec<rr_verify::stream::Waiting>| {
        for waiting in &mut offers {
            waiting.says = Says::Newer("version 9".into());
        }
        offers
    };
    let told = |story: &Story| {
        let text = |finding: &Finding| match finding {
            Finding::Violation { violation, .. } => format!("{:?}", violation.rule),
            Finding::Incomplete { reason, .. } => reason.clone(),
        };
        story.judged().findings.iter().map(text).collect::<Vec<_>>()
    };
    story.beside.offers.insert(story.run.clone(), newer(offers[..1].to_vec()));
    assert!(matches!(&told(&story)[..], [one] if one.ends_with("that waits cannot be read: version 9")));
    story.beside.offers.insert(story.run.clone(), newer([&offers[..1]; 3].concat()));
    assert!(matches!(&told(&story)[..], [one] if one.ends_with("cannot be read, nor can 2 others: version 9")));
    let mut elsewhere = newer(offers[..1].to_vec());
    elsewhere[0].attempt += 90;
    story.beside.offers.insert(story.run.clone(), elsewhere);
    assert_eq!(told(&story)[0], "Offered");

    story.beside.offers.clear();
    let cause = story.records().map(|(_, record)| record.cause).find(|seq| *seq > story.decisions[2].seq).unwrap();
    let mut verifier = Verifier::new(RULES, story.beside.clone());
    for message in story.messages() {
        let content = if message.seq == cause { Content::Unread("version 9".into()) } else { message.content };
        verifier.hear(Message { content, ..message });
    }
    let end = verifier.finish();
    let is_told = |found: &Finding| matches!(found, Finding::Incomplete { reason, .. } if reason.contains(&format!("input seq={cause}")));
    assert!(end.findings.len() == 1 && is_told(&end.findings[0]), "{:?}", end.findings);
    assert_eq!(end.sum.unbelieved, 0, "somebody has read it");
}

/// Where nobody knows the coordinators' policy, only what no policy allows is broken.
#[test]
fn what_another_policy_allows_is_not_broken_under_a_readers() {
    let waits = |flow: &str| Told::new(flow, vec![offered("a", "0-1", 1)]);
    let runs = || waits(FREE).say(report("w1", 0, 1, What::Started { at: at(0) })).decide(vec![started("w1", 0, 1)]);
    let goes_on = |told: Told, found: Found, seconds: i64| {
        let told = told.say(seen(0, 1, found));
        let until = at(told.last_said()) + seconds.seconds();
        told.decide(vec![Event::Extended { tasks: "0".parse().unwrap(), until }])
    };
    let lost = |told: Told, task: u32, again: bool| {
        let told = told.say(seen(task, 1, Found::OfferGone));
        let mut lost = ended(None, task, 1, end(Outcome::Lost));
        let Event::Ended { again: due, .. } = &mut lost else { panic!() };
        *due = again.then(|| at(told.last_said()));
        let next = again.then(|| offered("a", &task.to_string(), 2));
        told.decide([lost].into_iter().chain(next).collect())
    };
    let long_ago = |mut told: Told, seconds: i64| {
        told.now = Some(at(0) + seconds.seconds());
        told
    };
    let read = |mut told: Told| {
        told.policy_of = PolicyOf::Reader;
        told
    };
    let under = |losses_max: u32, mut told: Told| {
        told.policy = Policy { losses_max, ..Policy::default() };
        told
    };
    for (what, told, rule, surely) in [
        ("a longer lease", goes_on(runs(), Found::WorkerPresent, 45), Rule::Liveness, false),
        (
            "another lease in one life",
            goes_on(goes_on(runs(), Found::WorkerPresent, 45), Found::WorkerPresent, 60),
            Rule::Liveness,
            true,
        ),
        ("a rarer look", goes_on(waits(FREE), Found::OfferWaits, 1_200), Rule::Liveness, false),
        ("no look at once", goes_on(waits(FAIL), Found::OfferGone, 1), Rule::Liveness, true),
        ("a longer wait", long_ago(waits(FREE), 200), Rule::Liveness, false),
        (
            "what was decided to wait waits longer",
            long_ago(goes_on(waits(FREE), Found::OfferWaits, 60), 200),
            Rule::Liveness,
            true,
        ),
        ("more losses", under(0, lost(waits(FREE), 0, true)), Rule::Retry, false),
        ("fewer losses", lost(waits(FREE), 0, false), Rule::Retry, false),
        ("fewer losses of one task", lost(lost(waits(FREE), 0, true), 1, false), Rule::Retry, true),
    ] {
        assert_eq!(found(&told), (vec![rule], 0), "{what}, under the coordinators' own");
        let read = read(told);
        let (rules, n_unsure) = found(&read);
        let expected = if surely { vec![rule] } else { vec![] };
        assert_eq!(rules, expected, "{what}, under a reader's: {:?}", read.judged());
        assert!(surely || n_unsure == 1, "{what}, under a reader's: {:?}", read.judged());
    }
    // Whoever knows of a longer lease than theirs finds nothing.
    let mut longer = goes_on(runs(), Found::WorkerPresent, 45);
    longer.policy.lease = Span::saturating_from_secs(60);
    assert_eq!(found(&read(longer)), (vec![], 0));
}
