//! Who is believed, and who only changes nothing.

use rr_core::Heard;
use rr_schemas::{
    input::{Input, Source},
    report::{Claim, Ended, Outcome, Output, Report, What},
};

use super::{
    flows::{flow, one_job},
    stage::Stage,
};

fn ended(outcome: Outcome) -> What {
    let exit_code = (outcome == Outcome::Failed).then_some(1);
    let output = Output::default();
    What::Ended(Ended { outcome, exit_code, signal: None, reason: None, started_at: None, ended_at: None, output })
}

fn report(worker: &str, task: u32, attempt: u32, what: What) -> (Source, Input) {
    let instance = format!("i-{worker}").parse().unwrap();
    let report = Report { task, attempt, offer: 1, instance, what, token: String::new() };
    (Source::Worker(worker.parse().unwrap()), Input::Report(report))
}

fn later_life((source, mut input): (Source, Input)) -> (Source, Input) {
    let Input::Report(report) = &mut input else { panic!("no report") };
    report.instance = "i-later".parse().unwrap();
    (source, input)
}

fn claim(worker: &str, task: u32, attempt: u32) -> (Source, Input) {
    let (worker, instance) = (worker.parse().unwrap(), format!("i-{worker}").parse().unwrap());
    let claim = Claim { task, attempt, worker, instance, token: String::new() };
    (Source::from(&claim), Input::Claim(claim))
}

/// How many events follow, and how many inputs were not believed.
fn said(stage: &Stage, (source, input): (Source, Input)) -> (usize, usize) {
    let decided = stage.run.clone().decide(&[Heard::new(99, stage.now, source, input)]);
    (decided.records.len(), decided.unbelieved.len())
}

const CHANGES_NOTHING: (usize, usize) = (0, 0);
const IS_NOT_BELIEVED: (usize, usize) = (0, 1);

#[test]
fn nobody_is_believed_who_speaks_of_what_was_never_offered() {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let started = || What::Started { at };
    // The second attempt of one task is offered; whoever runs it must have claimed it.
    let mut stage = Stage::new(&one_job(1, r#""on_lost":"fail","retry":{"attempts":3}"#));
    stage.claim("w1", 0, 1);
    stage.end(0, 1, Outcome::Failed, Some(1));
    for (what, (source, input), expected) in [
        ("another task", report("w1", 1, 1, started()), IS_NOT_BELIEVED),
        ("attempt 0", report("w1", 0, 0, started()), IS_NOT_BELIEVED),
        ("the attempt before", report("w1", 0, 1, started()), (1, 0)),
        ("the same, ended otherwise", report("w1", 0, 1, ended(Outcome::Ok)), (1, 0)),
        ("the one after", report("w1", 0, 3, started()), IS_NOT_BELIEVED),
        ("a start without a claim", report("w1", 0, 2, started()), CHANGES_NOTHING),
        ("a success without a claim", report("w1", 0, 2, ended(Outcome::Ok)), IS_NOT_BELIEVED),
        ("a failure without a claim", report("w1", 0, 2, ended(Outcome::Failed)), IS_NOT_BELIEVED),
        // Job and run end with it.
        ("whoever refuses need not claim", report("w1", 0, 2, ended(Outcome::Refused)), (3, 0)),
        ("nor whoever has lost it", report("w1", 0, 2, ended(Outcome::Lost)), (3, 0)),
        ("a claim of another task", claim("w1", 1, 1), IS_NOT_BELIEVED),
        ("a claim of attempt 0", claim("w1", 0, 0), IS_NOT_BELIEVED),
        ("a claim of the attempt before", claim("w1", 0, 1), CHANGES_NOTHING),
        ("a claim of the attempt after", claim("w1", 0, 3), IS_NOT_BELIEVED),
        ("a claim", claim("w1", 0, 2), (1, 0)),
        ("a claim for nobody", claim("_rr", 0, 2), CHANGES_NOTHING),
        ("a report that no worker made", (Source::Api, report("w1", 0, 2, started()).1), IS_NOT_BELIEVED),
        ("a timer", (Source::Timer, Input::Timer {}), CHANGES_NOTHING),
    ] {
        assert_eq!(said(&stage, (source, input)), expected, "{what}");
    }
}

#[test]
fn of_a_claimed_attempt_its_holder_is_believed_and_of_another_one_whoever_is_first() {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut claimed = Stage::new(&one_job(1, r#""on_lost":"fail""#));
    claimed.claim("w1", 0, 1);
    for (what, input, expected) in [
        ("its holder", report("w1", 0, 1, ended(Outcome::Ok)), (3, 0)),
        ("its holder in vain", report("w1", 0, 1, ended(Outcome::Failed)), (3, 0)),
        ("its holder has lost it", report("w1", 0, 1, ended(Outcome::Lost)), (3, 0)),
        ("another one", report("w2", 0, 1, ended(Outcome::Ok)), IS_NOT_BELIEVED),
        ("another one in vain", report("w2", 0, 1, ended(Outcome::Failed)), IS_NOT_BELIEVED),
        ("another one has lost it", report("w2", 0, 1, ended(Outcome::Lost)), IS_NOT_BELIEVED),
        ("another life of its holder", later_life(report("w1", 0, 1, ended(Outcome::Ok))), IS_NOT_BELIEVED),
        (
            "another life of its holder has lost it",
            later_life(report("w1", 0, 1, ended(Outcome::Lost))),
            IS_NOT_BELIEVED,
        ),
        ("a second claim", claim("w2", 0, 1), CHANGES_NOTHING),
        ("its holder again", report("w1", 0, 1, What::Started { at }), CHANGES_NOTHING),
        ("another one starts", report("w2", 0, 1, What::Started { at }), (1, 0)),
    ] {
        assert_eq!(said(&claimed, input), expected, "claimed: {what}");
    }
    let mut free = Stage::new(&one_job(1, ""));
    free.start("w1", 0, 1);
    for (what, input, expected) in [
        ("who runs it", report("w1", 0, 1, ended(Outcome::Ok)), (3, 0)),
        ("who runs it in vain", report("w1", 0, 1, ended(Outcome::Failed)), (3, 0)),
        ("who runs it has lost it, and it is offered again", report("w1", 0, 1, ended(Outcome::Lost)), (2, 0)),
        ("another one", report("w2", 0, 1, ended(Outcome::Ok)), (3, 0)),
        ("another one in vain is noted", report("w2", 0, 1, ended(Outcome::Failed)), (1, 0)),
        ("another one has lost it, and it is looked after", report("w2", 0, 1, ended(Outcome::Lost)), (1, 0)),
        ("nobody need claim it", claim("w2", 0, 1), CHANGES_NOTHING),
    ] {
        assert_eq!(said(&free, input), expected, "free: {what}");
    }
    // Whoever says once more what counts already says nothing new; any other word of it is noted.
    free.end(0, 1, Outcome::Ok, Some(0));
    for (what, input, expected) in [
        ("the same", report("w1", 0, 1, ended(Outcome::Ok)), CHANGES_NOTHING),
        ("the same worker otherwise", report("w1", 0, 1, ended(Outcome::Failed)), (1, 0)),
        ("another worker the same", report("w2", 0, 1, ended(Outcome::Ok)), (1, 0)),
    ] {
        assert_eq!(said(&free, input), expected, "over: {what}");
    }
}

/// 512 of them must fit into a decision.
#[test]
fn a_reason_is_cut_where_a_letter_ends() {
    for (reason, expected) in [
        ("short".to_owned(), "short".to_owned()),
        ("x".repeat(200), "x".repeat(200)),
        ("x".repeat(201), "x".repeat(200)),
        ("ä".repeat(101), "ä".repeat(100)),
        (format!("x{}", "ä".repeat(101)), format!("x{}", "ä".repeat(99))),
    ] {
        let mut stage = Stage::new(&flow(r#"{"name":"f","jobs":[{"name":"a","run":["x"]}]}"#));
        let What::Ended(end) = ended(Outcome::Refused) else { return };
        let records = stage.report("w1", 0, 1, What::Ended(Ended { reason: Some(reason), ..end }));
        let rr_schemas::decision::Event::Ended { end, .. } = &records[0].event else { panic!("{records:?}") };
        assert_eq!(end.reason.as_deref(), Some(expected.as_str()));
    }
}
