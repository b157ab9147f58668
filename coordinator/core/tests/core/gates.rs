//! Gates: a job that waits for a signal.

use rr_core::{Policy, run::wait::Wait};
use rr_schemas::{
    decision::{Event, JobStatus, RunStatus},
    flow::Flow,
    report::Outcome,
    retry::Again,
};

use crate::{flows::flow, retries, stage::Stage};

fn gated(more: &str) -> Flow {
    flow(&format!(
        r#"{{"name":"f","jobs":[
            {{"name":"build","run":["x"]}},
            {{"name":"gate","signal":"approved","needs":["build"]{more}}},
            {{"name":"deploy","run":["x"],"needs":["gate"]}}]}}"#
    ))
}

fn states(stage: &Stage) -> Vec<JobStatus> {
    stage.run.view().jobs.iter().map(|job| job.status).collect()
}

/// The judge finds nothing, and the fold of the history is the run.
fn is_right(stage: &Stage) {
    let found = rr_verify::records::judge(stage.run.id(), &stage.log, &Policy::default());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_gate_waits_for_its_signal_and_passes_once() {
    let mut stage = Stage::new(&gated(""));
    assert_eq!(states(&stage), [JobStatus::Running, JobStatus::Waiting, JobStatus::Waiting]);
    stage.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(states(&stage), [JobStatus::Succeeded, JobStatus::Running, JobStatus::Waiting]);
    let waits = stage.run.waits();
    assert!(
        matches!(&waits[0], Wait::Signal { signal, until: None, .. } if signal.as_str() == "approved"),
        "{waits:?}"
    );
    assert_eq!(stage.run.deadline(), None, "nothing is due by itself");
    assert!(stage.signal("other").is_empty(), "a signal that nobody waits for changes nothing");
    let passed = stage.signal("approved");
    assert!(matches!(passed[0].event, Event::Signalled { .. }) && matches!(passed[1].event, Event::JobEnded { .. }));
    assert!(stage.signal("approved").is_empty(), "it is given once");
    stage.end(1, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
    is_right(&stage);
}

#[test]
fn a_signal_that_comes_early_is_kept() {
    let mut stage = Stage::new(&gated(r#","timeout":"1m""#));
    stage.signal("approved");
    assert_eq!(states(&stage)[1], JobStatus::Waiting);
    stage.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(states(&stage), [JobStatus::Succeeded, JobStatus::Succeeded, JobStatus::Running]);
    stage.end(1, 1, Outcome::Ok, Some(0));
    is_right(&stage);
}

#[test]
fn a_gate_fails_when_its_time_is_over_and_what_needs_it_is_skipped() {
    let mut stage = Stage::new(&gated(r#","timeout":"2m""#));
    stage.end(0, 1, Outcome::Ok, Some(0));
    let began = stage.now;
    stage.fire();
    assert_eq!(stage.now.duration_since(began), jiff::SignedDuration::from_mins(2));
    assert_eq!(states(&stage), [JobStatus::Succeeded, JobStatus::Failed, JobStatus::Skipped]);
    assert_eq!(stage.run.status(), RunStatus::Failed);
    assert!(stage.signal("approved").is_empty(), "too late");
    is_right(&stage);
}

#[test]
fn a_cancel_ends_a_gate_that_waits_and_one_that_would() {
    for is_reached in [false, true] {
        let mut stage = Stage::new(&gated(r#","timeout":"2m""#));
        if is_reached {
            stage.end(0, 1, Outcome::Ok, Some(0));
        }
        stage.cancel();
        assert!(stage.signal("approved").is_empty(), "too late");
        if !is_reached {
            stage.end(0, 1, Outcome::Cancelled, None);
        }
        assert_eq!(stage.run.status(), RunStatus::Cancelled, "{:?}", stage.run.waits());
        is_right(&stage);
    }
}

/// Gates in slots, two of one name, one of them first of all.
#[test]
fn one_signal_opens_every_gate_of_its_name() {
    let flow = flow(
        r#"{"name":"f","slots":[
            {"jobs":[{"name":"a","signal":"go"},{"name":"b","signal":"go"},{"name":"c","signal":"stop-watch"}]},
            {"jobs":[{"name":"d","run":["x"],"hosts":"h[1-2]"}]}]}"#,
    );
    let mut stage = Stage::new(&flow);
    assert_eq!(states(&stage)[..3], [JobStatus::Running; 3]);
    assert!(!stage.run.more());
    stage.signal("go");
    assert_eq!(states(&stage)[..3], [JobStatus::Succeeded, JobStatus::Succeeded, JobStatus::Running]);
    stage.signal("stop-watch");
    stage.end(0, 1, Outcome::Ok, Some(0));
    stage.end(1, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
    is_right(&stage);
}

#[test]
fn a_retry_need_not_be_given_what_was_given_before() {
    let flow = gated("");
    let mut old = Stage::new(&flow);
    old.end(0, 1, Outcome::Ok, Some(0));
    old.signal("approved");
    old.end(1, 1, Outcome::Failed, Some(1));
    assert_eq!(old.run.status(), RunStatus::Failed);
    assert!(old.run.carry_over(Again::Failed).is_ok());
    let (run, records) = retries::retried(&flow, Some(retries::carried(&old.run, Again::Failed)));
    assert_eq!(run.view().jobs[1].status, JobStatus::Succeeded);
    let mut stage = Stage::of(run, records);
    stage.end(1, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
    is_right(&stage);
}

#[test]
fn a_run_that_only_a_gate_has_ended_can_be_retried() {
    let flow = flow(
        r#"{"name":"f","jobs":[{"name":"a","run":["x"]},{"name":"g","signal":"go","timeout":"1m","needs":["a"]}]}"#,
    );
    let mut old = Stage::new(&flow);
    old.end(0, 1, Outcome::Ok, Some(0));
    old.fire();
    assert_eq!(old.run.status(), RunStatus::Failed);
    let carried = old.run.carry_over(Again::Failed).unwrap();
    let (run, _) = retries::retried(&flow, Some(carried));
    assert!(matches!(run.waits()[..], [Wait::Signal { .. }]), "{:?}", run.waits());
}
