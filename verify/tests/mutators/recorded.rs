//! Histories that meshes of real processes have left behind, broken in the same ways as those of random worlds. The directory of this
//! name has them, with the script that records them anew; the golden export is one more.

use std::collections::BTreeMap;

use rr_core::Policy;
use rr_draw::Dice;
use rr_nats::{
    copies::{self, LogMessage},
    export::{Kind, Line, Reader},
};
use rr_schemas::{decision::Event, id::RunId, span::Span, view::StatusEntry};
use rr_verify::{
    history::{Said, Stored},
    stream::{Beside, Noted, PolicyOf, Shown},
};

use crate::{
    drawn::{misjudged, misread, ways},
    story::Story,
};

/// The policy of the mesh that was recorded, as the configuration in `record.sh` has it.
const POLICY: Policy = Policy {
    lease: Span::saturating_from_secs(2),
    offer_expiry: Span::saturating_from_secs(3),
    look_max: Span::saturating_from_secs(3),
    losses_max: 3,
    stop_wait: Span::saturating_from_secs(1),
};

/// Exports by their names, with the policy of their coordinators (none: the default).
const EXPORTS: [(&str, &str, Option<Policy>); 9] = [
    ("rollout", include_str!("recorded/rollout.jsonl"), Some(POLICY)),
    ("lost", include_str!("recorded/lost.jsonl"), Some(POLICY)),
    ("again", include_str!("recorded/again.jsonl"), Some(POLICY)),
    ("busy", include_str!("recorded/busy.jsonl"), Some(POLICY)),
    ("unserved", include_str!("recorded/unserved.jsonl"), Some(POLICY)),
    ("cancelled", include_str!("recorded/cancelled.jsonl"), Some(POLICY)),
    ("timed-out", include_str!("recorded/timed-out.jsonl"), Some(POLICY)),
    ("rest", include_str!("recorded/rest.jsonl"), Some(POLICY)),
    ("golden", include_str!("../../../tests/golden/export-1.jsonl"), None),
];
/// How often each way looks for a place in each of them.
const TRIES: u64 = 5;
/// What sequences are multiplied by, so that there is room between two messages as in the stories that are drawn.
const ROOM: u64 = 10;
/// Ways that must find a place in one of them at least.
const PLACED_MIN: usize = 82;

fn stories() -> impl Iterator<Item = (&'static str, Story)> {
    EXPORTS.into_iter().map(|(name, text, policy)| (name, read(text, policy.unwrap_or_default())))
}

/// The one run of an export. What cannot be read there, or stays on offer, none of them has.
fn read(text: &str, policy: Policy) -> Story {
    let mut reader = Reader::new(text.as_bytes()).unwrap();
    let (run, partitions) = (reader.first().run.clone().unwrap(), reader.first().partitions);
    let (times, bad, beside) = (BTreeMap::new(), BTreeMap::new(), Beside::default());
    let mut story = Story { run, decisions: Vec::new(), inputs: Vec::new(), times, bad, beside, now: None, policy };
    while let Some(line) = reader.read().unwrap() {
        take(&mut story, &line, partitions);
    }
    assert!(reader.is_whole());
    story
}

fn take(story: &mut Story, line: &Line, partitions: u16) {
    let copied = &line.copied;
    match line.kind {
        Kind::State => {
            let entry: StatusEntry = serde_json::from_slice(&copied.payload).unwrap();
            story.beside.shown.insert(entry.view.run.clone(), Shown::from(&entry));
        }
        Kind::Bad => {
            let header = |name| copied.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value).unwrap();
            let (run, source) = copies::input_of(header(copies::BAD_SUBJECT)).unwrap();
            let seq = header(copies::BAD_SEQ).parse::<u64>().unwrap() * ROOM;
            story.beside.aside.insert(Noted { run, source, seq, at: Some(copied.raw().unwrap().at) });
        }
        Kind::Event => {
            let raw = copied.raw().unwrap();
            let (seq, at) = (raw.seq * ROOM, raw.at);
            story.times.insert(seq, at);
            match LogMessage::read(raw, partitions) {
                LogMessage::Decision(entity, stored) => {
                    assert_eq!(RunId::from(entity), story.run);
                    story.decisions.push(spread(seq, stored.hash, stored.decision.unwrap()));
                }
                LogMessage::Input(said) => {
                    let (source, input) = (said.source, said.input.unwrap());
                    story.inputs.push(Said { seq, source, input });
                }
                other @ (LogMessage::Foreign(_) | LogMessage::Nobodys) => panic!("{other:?}"),
            }
        }
        Kind::Offer => panic!("an offer waits: {}", copied.subject),
        // Chunks have judges of their own.
        Kind::Output => {}
    }
}

/// A decision with room between the sequences that it names. Its hash stays that of its bytes.
fn spread(seq: u64, hash: String, mut decision: rr_schemas::decision::Decision) -> Stored {
    decision.upto *= ROOM;
    for record in &mut decision.events {
        record.cause *= ROOM;
        if let Event::PutAside { input, .. } = &mut record.event {
            *input *= ROOM;
        }
    }
    Stored { seq, hash, decision }
}

#[test]
fn what_real_meshes_leave_behind_is_clean() {
    for (name, story) in stories() {
        assert!(story.has_tokens(), "{name}");
        for policy_of in [PolicyOf::Coordinators, PolicyOf::Reader] {
            let found = story.judged_by(policy_of).findings;
            assert!(found.is_empty(), "{name}: {found:#?}");
        }
    }
}

#[test]
fn the_right_rule_is_named_first_whatever_is_broken_in_them() {
    let stories: Vec<(&str, Story)> = stories().collect();
    let (mut wrong, mut nowhere, mut n_placed) = (Vec::new(), Vec::new(), 0);
    for (what, rule, break_it) in ways() {
        let mut n_broken = 0;
        for (name, story) in &stories {
            for seed in 0..TRIES {
                let mut broken = story.clone();
                if !break_it(&mut broken, &mut Dice(seed)) {
                    continue;
                }
                n_broken += 1;
                broken.bear_tokens_again(story);
                let by_reader = || misread(what, &broken, rule).map(|found| format!("by a reader: {found}"));
                let found = misjudged(what, &broken, rule).or_else(by_reader);
                wrong.extend(found.map(|found| format!("{what}, {name}, {seed}: {found}")));
            }
        }
        if n_broken == 0 {
            nowhere.push(what);
        } else {
            n_placed += 1;
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(n_placed >= PLACED_MIN, "only {n_placed} ways find a place, and not these: {nowhere:#?}");
}

/// What is recorded anew has everything that it was recorded for.
#[test]
fn they_have_seen_what_happens_to_runs() {
    let stories: Vec<Story> = stories().map(|(_, story)| story).collect();
    let has = |fits: fn(&Event) -> bool| stories.iter().any(|story| story.records().any(|(_, it)| fits(&it.event)));
    for (what, is_there) in [
        ("a retry", has(|event| matches!(event, Event::Ended { again: Some(_), .. }))),
        ("a retry of a run", has(|event| matches!(event, Event::Submitted { retry_of: Some(_), .. }))),
        ("a loss", has(|event| matches!(event, Event::Ended { end, .. } if end.outcome.word() == "lost"))),
        (
            "what nobody served",
            has(|event| matches!(event, Event::Ended { end, .. } if end.outcome.word() == "unreachable")),
        ),
        ("who comes back", has(|event| matches!(event, Event::Late { .. }))),
        ("what was given back", has(|event| matches!(event, Event::Returned { .. }))),
        ("what is looked after", has(|event| matches!(event, Event::Extended { .. }))),
        ("a signal", has(|event| matches!(event, Event::Signalled { .. }))),
        ("a cancel", has(|event| matches!(event, Event::CancelRequested { .. }))),
        ("the end of its time", has(|event| matches!(event, Event::DeadlinePassed {}))),
    ] {
        assert!(is_there, "{what}");
    }
}
