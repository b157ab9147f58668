//! What is stored of the output of an attempt, broken chunk by chunk.

use jiff::{Timestamp, ToSpan as _};
use rr_schemas::{
    decision::{Event, RunStatus},
    report::{Ended, Outcome, Output, What},
};
use rr_verify::{
    Rule,
    output::{Age, Judged, Outputs},
};

use crate::told::{Told, at, end, ended, holder, offered, report, started};

const ONE: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h1"}]}"#;

/// What is said of an attempt that wrote four chunks of ten bytes, of which these are there.
fn judged(chunks: &[(u32, u64)], age: Age) -> Judged {
    judged_of(true, chunks, age)
}

/// The same where it was told or not that the attempt has started.
fn judged_of(says_start: bool, chunks: &[(u32, u64)], age: Age) -> Judged {
    let output = Output { stdout_bytes: 30, stderr_bytes: 15, dropped_bytes: 5, chunks: 4 };
    let end = Ended { output, ..end(Outcome::Ok) };
    let mut told = Told::new(ONE, vec![offered("a", "0", 1)]);
    if says_start {
        told = told.say(report("w1", 0, 1, What::Started { at: at(0) })).decide(vec![started("w1", 0, 1)]);
    }
    let told = told.say(report("w1", 0, 1, What::Ended(end.clone())));
    let told = told.decide(vec![ended(Some("w1"), 0, 1, end), Event::RunEnded { status: RunStatus::Succeeded }]);
    let mut outputs = Outputs::default();
    for (n, bytes) in chunks {
        outputs.hear(&holder("w1").worker, (0, 1), *n, *bytes);
    }
    outputs.judge(told.decisions.iter().map(|stored| &stored.decision), age)
}

#[test]
fn a_chunk_that_is_not_there_is_missed_unless_it_has_gone_for_its_age() {
    let (now, oldest) = (|seconds: i64| Some(at(5) + seconds.seconds()), |seq: u64| Some(at(seq)));
    let of = |now: Option<Timestamp>, oldest: Option<Timestamp>| Age { now, oldest, kept_since: None };
    let late = now(91);
    let (all, middle) = (&[(0, 10), (1, 10), (2, 10), (3, 10)][..], &[(0, 10), (1, 10), (3, 10)][..]);
    let (behind, early, none) = (&all[1..], &all[..3], &all[..0]);
    for (what, chunks, age, n_short, lost) in [
        ("all are there", all, of(late, oldest(2)), 0, None),
        ("one in the middle is not", middle, of(late, oldest(9)), 1, Some("those from 2 to 2")),
        ("the last one is not", early, of(late, oldest(9)), 1, Some("those from 3 to 3")),
        ("the first one is not, and is younger than others", behind, of(late, oldest(2)), 1, Some("those from 0 to 0")),
        ("the first one is not, and may be too old", behind, of(late, oldest(9)), 1, None),
        ("the first one is not, and nobody knows what is old", behind, of(late, None), 1, None),
        ("none is there, and others of before are", none, of(late, oldest(2)), 1, Some("those from 0 to 3")),
        ("none is there, nor any of before", none, of(late, oldest(9)), 1, None),
        ("the last one may come yet", early, of(now(89), oldest(2)), 1, None),
        ("nobody asks whether it comes", early, of(None, oldest(2)), 1, None),
    ] {
        let judged = judged(chunks, age);
        assert_eq!((judged.violations.len(), judged.n_short), (0, n_short), "{what}");
        let is_told = match lost {
            Some(lost) => judged.lost.len() == 1 && judged.lost[0].contains(lost),
            None => judged.lost.is_empty(),
        };
        assert!(is_told, "{what}: {:?}", judged.lost);
    }
}

/// What is over in a moment is not told to start: it wrote nothing before it was offered.
#[test]
fn what_is_younger_than_others_is_missed_of_an_attempt_whose_start_nobody_told() {
    for (what, oldest, is_missed) in [("it was offered later", at(0), true), ("it was offered before", at(9), false)] {
        let age = Age { now: Some(at(5) + 91.seconds()), oldest: Some(oldest), kept_since: None };
        assert_eq!(judged_of(false, &[(3, 10)], age).lost.len(), usize::from(is_missed), "{what}");
    }
}

/// A run that is removed by itself loses its output before its decisions, however young others are.
#[test]
fn all_output_of_a_run_that_may_be_removed_is_not_missed() {
    let all_but_one = &[(1, 10), (2, 10), (3, 10)][..];
    for (what, chunks, kept_since, is_missed) in [
        ("its run was over for long", &[][..], Some(at(99)), false),
        ("its run was over a moment ago", &[], Some(at(0)), true),
        ("nobody knows for how long runs are kept", &[], None, true),
        ("some of it is there", all_but_one, Some(at(99)), true),
    ] {
        let age = Age { now: Some(at(5) + 91.seconds()), oldest: Some(at(0)), kept_since };
        let judged = judged(chunks, age);
        assert_eq!((judged.lost.len(), judged.n_short), (usize::from(is_missed), 1), "{what}");
    }
}

#[test]
fn chunks_that_do_not_add_up_to_the_account_break_a_rule() {
    for (what, chunks) in [
        ("one is longer", &[(0, 10), (1, 11), (2, 10), (3, 10)][..]),
        ("one is shorter", &[(0, 10), (1, 9), (2, 10), (3, 10)]),
        ("there is one more", &[(0, 10), (1, 10), (2, 10), (3, 5), (4, 5)]),
        ("fewer say too much", &[(0, 10), (1, 31)]),
    ] {
        let found = judged(chunks, Age::default()).violations;
        assert!(found.len() == 1 && found[0].rule == Rule::Output, "{what}: {found:?}");
    }
}
