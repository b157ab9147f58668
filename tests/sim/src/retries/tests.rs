//! Each way in which a retry can begin with something else than what its run was asked to take over is complained of.

use jiff::Timestamp;
use rr_schemas::{
    decision::{Decision, Record, RunStatus},
    flow::{Flow, params::ParamValues, select::FoundTargets},
    report::{Ended, Output},
    retry::RetryOf,
};
use tokio::time::Instant;

use super::*;

/// Tasks 0 and 1 are those of job a, which may lose one; 2 and 3 those of job b.
const FLOW: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]","success":"50%"},
    {"name":"b","run":["x"],"hosts":"h[1-2]"},{"name":"gate","signal":"go"}]}"#;
/// The same with a parameter.
const TOLD: &str = r#"{"name":"f","params":{"version":{"default":"one"}},"env":{"VERSION":"v{{ version }}"},
    "jobs":[{"name":"a","run":["x"],"hosts":"h[1-2]"}]}"#;

/// What is stored of a run.
struct Life {
    run: RunId,
    decisions: Vec<(u64, Decision)>,
    inputs: Vec<(u64, Input)>,
}

impl Life {
    fn kept(&self) -> Kept<'_> {
        Kept {
            run: &self.run,
            decisions: self.decisions.iter().map(|(seq, decision)| (*seq, Timestamp::UNIX_EPOCH, decision)).collect(),
            inputs: self.inputs.iter().map(|(seq, input)| (*seq, input)).collect(),
        }
    }
}

fn flow(text: &str) -> Flow {
    serde_json::from_str(text).unwrap()
}

fn asked_for(retry_of: Option<RetryOf>) -> Input {
    let submit = Submit { flow: flow(FLOW), params: ParamValues::default(), by: "t".to_owned(), retry_of };
    Input::Submit(Box::new(submit))
}

fn submitted(flow: Flow, retry_of: Option<Carried>) -> Event {
    Event::Submitted {
        flow: Box::new(flow),
        params: ParamValues::default(),
        by: "t".to_owned(),
        found: FoundTargets::new(),
        retry_of: retry_of.map(Box::new),
    }
}

fn decision(events: Vec<Event>) -> Decision {
    let events = events.into_iter().map(|event| Record { cause: 1, at: Timestamp::UNIX_EPOCH, event }).collect();
    Decision { n: 1, by: "c1".parse().unwrap(), upto: 1, prev: String::new(), secret: String::new(), events }
}

fn offered(job: &str, tasks: &str, attempt: u32) -> Event {
    Event::Offered { job: job.parse().unwrap(), tasks: tasks.parse().unwrap(), attempt, offer: 1 }
}

fn ended(task: u32, outcome: Outcome) -> Event {
    let (exit_code, output) = (None, Output::default());
    let end = Ended { outcome, exit_code, signal: None, reason: None, started_at: None, ended_at: None, output };
    Event::Ended { task, attempt: 1, by: None, end, again: None }
}

fn job_ended(job: &str, status: JobStatus) -> Event {
    Event::JobEnded { job: job.parse().unwrap(), status }
}

fn signalled() -> Event {
    Event::Signalled { signal: "go".parse().unwrap(), by: "t".to_owned(), reason: None }
}

/// A run that is over with message 10. Of job a one task succeeded and one failed, of job b the other way.
fn earlier(more: Vec<Event>) -> Life {
    let mut events = vec![
        submitted(flow(FLOW), None),
        offered("a", "0-1", 1),
        ended(0, Outcome::Ok),
        ended(1, Outcome::Failed),
        job_ended("a", JobStatus::Succeeded),
        offered("b", "2-3", 1),
        ended(2, Outcome::Ok),
        ended(3, Outcome::Unreachable),
    ];
    events.extend(more);
    let over = vec![job_ended("b", JobStatus::Failed), Event::RunEnded { status: RunStatus::Failed }];
    Life {
        run: "r0".parse().unwrap(),
        decisions: vec![(2, decision(events)), (10, decision(over))],
        inputs: vec![(1, asked_for(None))],
    }
}

/// Runs `r1`, with what was asked of it by message `at`, and what it began with.
fn retry(at: u64, asked: Option<RetryOf>, begin: Event) -> Life {
    let (decisions, inputs) = (vec![(at + 1, decision(vec![begin]))], vec![(at, asked_for(asked))]);
    Life { run: "r1".parse().unwrap(), decisions, inputs }
}

fn of(run: &str, again: Again) -> RetryOf {
    RetryOf { run: run.parse().unwrap(), again }
}

fn taken(run: &str, tasks: &[(Outcome, &str)], signals: &[&str]) -> Event {
    let tasks = tasks.iter().map(|(outcome, tasks)| (*outcome, tasks.parse().unwrap())).collect();
    let signals = signals.iter().map(|signal| signal.parse().unwrap()).collect();
    submitted(flow(FLOW), Some(Carried { run: run.parse().unwrap(), tasks, signals }))
}

fn start(task: u32, version: Option<&str>, filled: Option<&str>) -> Start {
    Start {
        run: "r1".parse().unwrap(),
        task,
        attempt: 1,
        offer: 1,
        claimed: false,
        lock: None,
        lock_token: None,
        fence: 1,
        token: String::new(),
        version: version.map(str::to_owned),
        filled: filled.map(str::to_owned),
        worker: "w1".parse().unwrap(),
        began: Instant::now(),
        ended: None,
    }
}

fn judged(starts: &[Start], lives: &[Life]) -> Vec<String> {
    let kept: Vec<Kept<'_>> = lives.iter().map(Life::kept).collect();
    judge_retries(starts, &kept).iter().map(ToString::to_string).collect()
}

#[test]
fn a_retry_that_takes_over_something_else_is_found() {
    use Again::{Failed, NotStarted};
    use Outcome::{Ok, Unreachable};
    let good: &[(Outcome, &str)] = &[(Ok, "0,2"), (Outcome::Failed, "1")];
    let all: &[(Outcome, &str)] = &[(Ok, "0,2"), (Outcome::Failed, "1"), (Unreachable, "3")];
    let wrong_task: &[(Outcome, &str)] = &[(Ok, "0-1"), (Unreachable, "3")];
    let rejected = || Event::Rejected { problems: Vec::new() };
    let none: &[&str] = &[];
    for (what, (asked, begin), complaints) in [
        ("what it was to", (Some(of("r0", Failed)), taken("r0", good, &["go"])), none),
        (
            "other tasks",
            (Some(of("r0", Failed)), taken("r0", wrong_task, &["go"])),
            &[
                "run r1: takes over task 1 as ok, which is failed",
                "run r1: takes over task 2 as nothing, which is ok",
                "run r1: takes over task 3 as unreachable, which is nothing",
            ],
        ),
        (
            "from another run, without a signal",
            (Some(of("r0", Failed)), taken("r9", good, &[])),
            &[
                "run r1: takes over from run r9, and was to retry run r0",
                r#"run r1: takes over signals {}, which were {Name("go")}"#,
            ],
        ),
        (
            "nothing",
            (Some(of("r0", Failed)), submitted(flow(FLOW), None)),
            &["run r1: was to retry run r0, and takes over nothing"],
        ),
        ("a rejection", (Some(of("r0", Failed)), rejected()), &["run r1: is rejected, and has something to run again"]),
        ("a rejection where all have begun", (Some(of("r0", NotStarted)), rejected()), none),
        (
            "all, of which nothing is left to run",
            (Some(of("r0", NotStarted)), taken("r0", all, &["go"])),
            &["run r1: retries run r0, of which nothing is to run again"],
        ),
        (
            "what nobody asked for",
            (None, taken("r0", good, &["go"])),
            &["run r1: takes over from run r0, and was to retry none"],
        ),
        ("nothing, as nobody asked for it", (None, submitted(flow(FLOW), None)), none),
        (
            "from a run that is not there",
            (Some(of("r9", Failed)), taken("r9", good, &["go"])),
            &["run r1: was asked for before the end of run r9, by us"],
        ),
    ] {
        assert_eq!(judged(&[], &[earlier(vec![signalled()]), retry(11, asked, begin)]), complaints, "{what}");
    }
}

/// What there is to take over is what has come of the earlier run at its end.
#[test]
fn what_was_reached_is_what_came_of_it_at_the_end() {
    use Outcome::{Failed, Ok, Unreachable};
    let again = |begin| retry(11, Some(of("r0", Again::NotStarted)), begin);
    let all: &[(Outcome, &str)] = &[(Ok, "0,2"), (Failed, "1"), (Unreachable, "3")];
    // No signal was given, and a gate is left.
    assert_eq!(judged(&[], &[earlier(vec![]), again(taken("r0", all, &[]))]), [""; 0]);
    // Another attempt of task 3 has begun, and come to nothing.
    let begun = || earlier(vec![offered("b", "3", 2), signalled()]);
    assert_eq!(judged(&[], &[begun(), again(taken("r0", &all[..2], &["go"]))]), [""; 0]);
    let text = "run r1: takes over task 3 as unreachable, which is nothing";
    assert_eq!(judged(&[], &[begun(), again(taken("r0", all, &["go"]))]), [text]);
    // What the earlier one had taken over itself.
    let good = || taken("r9", &all[..2], &["go"]);
    let first = Life { run: "r9".parse().unwrap(), ..earlier(vec![signalled()]) };
    let mut second = Life { run: "r0".parse().unwrap(), ..retry(11, Some(of("r9", Again::Failed)), good()) };
    let (job, run) = (job_ended("a", JobStatus::Succeeded), Event::RunEnded { status: RunStatus::Failed });
    second.decisions.push((13, decision(vec![job, offered("b", "3", 1), ended(3, Failed), run])));
    let third = retry(14, Some(of("r0", Again::Failed)), taken("r0", &all[..2], &["go"]));
    assert_eq!(judged(&[], &[first, second, third]), [""; 0]);
    // It was not over yet, or never ran.
    let early = retry(9, Some(of("r0", Again::NotStarted)), taken("r0", all, &[]));
    assert_eq!(judged(&[], &[earlier(vec![]), early]), ["run r1: was asked for before the end of run r0, by us"]);
    let mut rejected = earlier(vec![]);
    rejected.decisions = vec![(2, decision(vec![Event::Rejected { problems: Vec::new() }]))];
    let text = "run r1: retries run r0, of which nothing is to run again";
    assert_eq!(judged(&[], &[rejected, again(taken("r0", &[], &[]))]), [text]);
}

#[test]
fn what_was_taken_over_does_not_start() {
    let begin = taken("r0", &[(Outcome::Ok, "0,2"), (Outcome::Failed, "1")], &["go"]);
    let lives = [earlier(vec![signalled()]), retry(11, Some(of("r0", Again::Failed)), begin)];
    assert_eq!(judged(&[start(3, None, None)], &lives), [""; 0]);
    assert_eq!(
        judged(&[start(3, None, None), start(1, None, None)], &lives),
        ["run r1: task 1 was taken over, and starts"]
    );
    // That of another run is none of its business.
    let other = Start { run: "r9".parse().unwrap(), ..start(1, None, None) };
    assert_eq!(judged(&[other], &lives), [""; 0]);
}

#[test]
fn what_starts_with_another_parameter_is_found() {
    let told = |text| retry(1, None, submitted(flow(text), None));
    let sees = |is: &str, wanted: &str| format!("run r1: task 0 sees {is} as its environment, not {wanted}");
    for (what, text, version, filled, complaint) in [
        ("nothing", FLOW, None, None, None),
        ("the default", TOLD, Some("one"), Some("vone"), None),
        (
            "another value",
            TOLD,
            Some("two"),
            Some("vone"),
            Some(sees(r#"Some("two") as version and Some("vone")"#, r#"Some("one")"#)),
        ),
        (
            "a bare template",
            TOLD,
            Some("one"),
            None,
            Some(sees(r#"Some("one") as version and None"#, r#"Some("one")"#)),
        ),
        ("one that there is not", FLOW, Some("one"), None, Some(sees(r#"Some("one") as version and None"#, "None"))),
    ] {
        let complaints: Vec<String> = complaint.into_iter().collect();
        assert_eq!(judged(&[start(0, version, filled)], &[told(text)]), complaints, "{what}");
    }
}
