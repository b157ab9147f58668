//! What must follow the end of an attempt: another one or none, and when, at the edges of each rule.

use rr_schemas::{decision::Event, report::Outcome};
use rr_verify::Rule;

use crate::events::{Events, and_again, ended, ended_with, offered, one_job, so_far};

/// The ends of a task's attempts, each with the milliseconds to the next one; the last one is in question.
fn follows(flow: &str, ends: &[(Event, Option<i64>)]) -> bool {
    let (mut events, mut now): (Events, i64) = (vec![(0, offered("a", "0", 1, 1))], 0);
    for (attempt, (end, wait)) in (1..).zip(ends) {
        if attempt > 1 {
            events.push((now, offered("a", "0", attempt, 1)));
        }
        let mut end = end.clone();
        if let Event::Ended { attempt: of, .. } = &mut end {
            *of = attempt;
        }
        events.push((now, wait.map_or(end.clone(), |wait| and_again(end, now + wait))));
        now += wait.unwrap_or(0);
    }
    let broken = so_far(flow, events);
    // What is good and tried again is shown as neither.
    assert!(broken.is_empty() || broken.contains(&Rule::Retry), "{broken:?}");
    broken.is_empty()
}

/// Waits that are right where each attempt before has waited as it must: exactly those between the two.
fn waits(retry: &str, before: &[i64], least: i64, most: i64) {
    let flow = one_job(1, &format!(r#""retry":{{"attempts":9,{retry}}}"#));
    let failed = || ended(0, 1, Outcome::Failed);
    let after = |wait| {
        let mut ends: Vec<_> = before.iter().map(|wait| (failed(), Some(*wait))).collect();
        ends.push((failed(), wait));
        follows(&flow, &ends)
    };
    for (wait, fits) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
        assert_eq!(after(Some(wait)), fits, "{retry}, after {before:?}: {wait}");
    }
    assert!(!after(None), "{retry}: another attempt follows");
}

#[test]
fn the_wait_before_an_attempt_grows_by_its_factor_up_to_its_limit() {
    waits(r#""delay":"0s""#, &[], 0, 0);
    waits(r#""delay":"1s""#, &[1_000, 1_000], 1_000, 1_000);
    waits(r#""delay":"1s","factor":2"#, &[], 1_000, 1_000);
    waits(r#""delay":"1s","factor":2"#, &[1_000, 2_000], 4_000, 4_000);
    waits(r#""delay":"1s","factor":1.5"#, &[1_000, 1_500, 2_250], 3_375, 3_375);
    waits(r#""delay":"1s","factor":2,"max":"3s""#, &[1_000, 2_000, 3_000], 3_000, 3_000);
    waits(r#""delay":"5s","max":"3s""#, &[], 3_000, 3_000);
    // Jitter takes away or adds its share.
    waits(r#""delay":"1s","jitter":"10%""#, &[], 900, 1_100);
    waits(r#""delay":"1s","factor":3,"jitter":"50%""#, &[1_000], 1_500, 4_500);
    waits(r#""delay":"999ms","jitter":"50%""#, &[], 500, 1_498);
}

#[test]
fn another_attempt_follows_what_a_retry_is_for() {
    use Outcome::{Failed, Ok, Refused, Timeout, Unreachable};
    for (outcome, code, signal, on, is_repeated) in [
        (Failed, Some(1), None, "[]", true),
        (Failed, Some(1), None, "[75]", false),
        (Failed, Some(75), None, "[75]", true),
        (Failed, None, Some(9), "[]", true),
        (Failed, None, Some(9), "[75]", false),
        (Failed, None, None, "[]", false),
        (Timeout, None, None, "[75]", true),
        (Ok, Some(0), None, "[]", false),
        (Unreachable, None, None, "[]", false),
        (Refused, None, None, "[]", false),
    ] {
        let flow = one_job(1, &format!(r#""retry":{{"attempts":2,"on":{on}}}"#));
        let end = || ended_with(0, 1, outcome, code, signal);
        let right = (follows(&flow, &[(end(), Some(0))]), follows(&flow, &[(end(), None)]));
        assert_eq!(right, (is_repeated, !is_repeated), "{outcome:?} {code:?} {signal:?} on {on}");
    }
    // A function has no exit code.
    for (on, is_repeated) in [("[]", true), ("[75]", false)] {
        let job = format!(r#"{{"name":"a","handler":"work","hosts":"h1","retry":{{"attempts":2,"on":{on}}}}}"#);
        let flow = format!(r#"{{"name":"f","jobs":[{job}]}}"#);
        assert_eq!(follows(&flow, &[(ended_with(0, 1, Failed, None, None), Some(0))]), is_repeated, "on {on}");
    }
}

#[test]
fn tries_and_losses_are_counted_apart() {
    let flow = one_job(1, r#""retry":{"attempts":2}"#);
    let (failed, lost) = (|wait| (ended(0, 1, Outcome::Failed), wait), |wait| (ended(0, 1, Outcome::Lost), wait));
    for (what, ends, fits) in [
        ("the first", vec![failed(Some(0))], true),
        ("the last", vec![failed(Some(0)), failed(None)], true),
        ("one too many", vec![failed(Some(0)), failed(Some(0))], false),
        ("a loss is no try", vec![lost(Some(0)), failed(Some(0))], true),
        ("nor is it the last", vec![failed(Some(0)), lost(Some(0)), failed(None)], true),
        ("a loss waits for nothing", vec![lost(Some(1))], false),
        ("a loss is repeated", vec![lost(None)], false),
        ("the third loss", vec![lost(Some(0)), lost(Some(0)), lost(Some(0))], true),
        ("the third is not the last", vec![lost(Some(0)), lost(Some(0)), lost(None)], false),
        ("the fourth loss", vec![lost(Some(0)), lost(Some(0)), lost(Some(0)), lost(Some(0))], false),
        ("the fourth is the last", vec![lost(Some(0)), lost(Some(0)), lost(Some(0)), lost(None)], true),
    ] {
        assert_eq!(follows(&flow, &ends), fits, "{what}");
    }
    for on_lost in ["fail", "hold"] {
        let flow = one_job(1, &format!(r#""on_lost":"{on_lost}""#));
        assert_eq!((follows(&flow, &[lost(None)]), follows(&flow, &[lost(Some(0))])), (true, false), "{on_lost}");
    }
}
