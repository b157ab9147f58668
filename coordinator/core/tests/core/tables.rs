//! Single rules with their numbers: what is offered, and how it ends, after a script of ends.

use jiff::ToSpan as _;
use rr_core::{Heard, Plan, Policy, Run, Wait};
use rr_schemas::{
    decision::{Event, INPUTS_MAX, JobStatus, Record, RunStatus},
    flow::params::ParamValues,
    input::{Cancel, Found, Input, Source, Submit},
    report::Outcome,
};

use super::{
    flows::{flow, one_job},
    stage::{Stage, offers},
};

#[test]
fn thresholds_round_up_and_windows_round_down() {
    // targets, success, parallelism -> needed, window
    let rows = [
        (9, r#""80%""#, r#""50%""#, 8, 4),
        (10, r#""80%""#, r#""3%""#, 8, 1),
        (100, r#""100%""#, r#""50%""#, 100, 50),
        (101, r#""1%""#, r#""50%""#, 2, 50),
        (3, "2", "2", 2, 2),
        (3, "1", "9", 1, 3),
    ];
    for (n, success, parallelism, needed, window) in rows {
        let flow = one_job(n, &format!(r#""success":{success},"parallelism":{parallelism}"#));
        let plan = Plan::new(&flow, &ParamValues::default()).unwrap();
        let job = &plan.jobs()[0];
        assert_eq!((job.needed, job.window), (needed, window), "{n} {success} {parallelism}");
    }
}

#[test]
fn eighty_percent_of_nine_is_eight() {
    for (failures, status) in [(1, RunStatus::Succeeded), (2, RunStatus::Failed)] {
        let mut stage = Stage::new(&one_job(9, r#""success":"80%","fail_fast":false"#));
        for task in 0..9 {
            let outcome = if task < failures { Outcome::Failed } else { Outcome::Ok };
            stage.end(task, 1, outcome, Some(i32::from(outcome != Outcome::Ok)));
        }
        assert_eq!(stage.run.status(), status);
        let job = &stage.run.view().jobs[0];
        assert_eq!((job.ok, job.needed, job.targets, job.failed), (9 - failures, 8, 9, failures));
    }
}

#[test]
fn a_window_slides_and_waves_do_not() {
    let mut sliding = Stage::new(&one_job(10, r#""parallelism":3"#));
    assert_eq!(offers(&sliding.log), [("0-2".into(), 1, 1)]);
    assert_eq!(offers(&sliding.end(1, 1, Outcome::Ok, Some(0))), [("3".into(), 1, 1)]);

    let mut waves = Stage::new(&one_job(10, r#""parallelism":3,"waves":true"#));
    assert!(offers(&waves.end(1, 1, Outcome::Ok, Some(0))).is_empty());
    assert!(offers(&waves.end(0, 1, Outcome::Ok, Some(0))).is_empty());
    assert_eq!(offers(&waves.end(2, 1, Outcome::Ok, Some(0))), [("3-5".into(), 1, 1)]);
}

#[test]
fn waves_grow_and_the_last_size_is_repeated() {
    let mut stage = Stage::new(&one_job(12, r#""parallelism":[1,"25%",5]"#));
    let mut waves = Vec::new();
    let mut next = 0;
    while stage.run.status() == RunStatus::Running {
        let size = stage.offered() as u32 - next;
        assert!(size > 0, "a run that goes on has a wave: {waves:?}");
        waves.push(size);
        for task in next..next + size {
            assert_eq!(stage.offered() as u32, next + size, "the next wave waits for the whole of this one");
            stage.end(task, 1, Outcome::Ok, Some(0));
        }
        next += size;
    }
    assert_eq!((waves, stage.run.status()), (vec![1, 3, 5, 3], RunStatus::Succeeded));
    let mut canary = Stage::new(&one_job(12, r#""parallelism":[1,"25%",5]"#));
    canary.end(0, 1, Outcome::Failed, Some(1));
    assert_eq!((canary.offered(), canary.run.status()), (1, RunStatus::Failed), "a canary that fails ends it");
}

/// What nobody serves fails, is skipped, or is waited for; skipped targets count neither way.
#[test]
fn hosts_that_nobody_serves_follow_the_flows_word() {
    // rule, success, targets, of these nobody serves -> ends as, needed in the end
    for (rule, success, n, away, status, needed) in [
        ("fail", "100%", 4, 1, RunStatus::Failed, 4),
        ("fail", "75%", 4, 1, RunStatus::Succeeded, 3),
        ("skip", "100%", 4, 1, RunStatus::Succeeded, 3),
        ("skip", "50%", 4, 3, RunStatus::Succeeded, 1),
        ("skip", "100%", 4, 4, RunStatus::Failed, 1),
        ("skip", "3", 4, 2, RunStatus::Failed, 3),
        ("wait 1h", "100%", 4, 1, RunStatus::Failed, 4),
    ] {
        let success = success.parse::<u32>().map_or_else(|_| format!("{success:?}"), |count| count.to_string());
        let fields = format!(r#""success":{success},"on_unreachable":"{rule}","fail_fast":false"#);
        let mut stage = Stage::new(&one_job(n, &fields));
        for task in away..n {
            stage.end(task, 1, Outcome::Ok, Some(0));
        }
        let (begun, mut n_looks) = (stage.now, 0);
        while stage.run.status() == RunStatus::Running {
            stage.look(Found::OfferUnserved);
            n_looks += 1;
            assert!(stage.now < begun + 2.hours() && n_looks < 100, "{rule}: it is waited for without end");
        }
        assert_eq!(stage.run.status(), status, "{rule} {success} of {n}, {away} away");
        let view = stage.run.view();
        assert_eq!((view.jobs[0].needed, view.jobs[0].unreachable, view.jobs[0].failed), (needed, away, 0), "{rule}");
        let waited = stage.now.duration_since(begun).as_secs();
        assert_eq!(waited, if rule.starts_with("wait") { 3_600 } else { 60 }, "{rule}");
    }
}

/// A host that comes back within the flow's patience gets its task.
#[test]
fn a_host_that_is_waited_for_may_come_late() {
    let mut stage = Stage::new(&one_job(1, r#""on_unreachable":"wait 1h","on_lost":"fail""#));
    for _ in 0..5 {
        stage.fire();
        let looks = stage.run.looks(stage.now);
        assert!(looks.iter().all(|look| look.patient), "nobody claims it for nobody meanwhile");
        stage.look(Found::OfferUnserved);
    }
    stage.claim("w1", 0, 1);
    stage.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
}

#[test]
fn every_target_has_its_turn_whatever_the_window() {
    for (n, parallelism) in [(10, r#""3""#), (6, "2"), (101, r#""50%""#), (7, "7"), (5, "1")] {
        for waves in [false, true] {
            let fields = format!(r#""parallelism":{parallelism},"waves":{waves}"#);
            let mut stage = Stage::new(&one_job(n, &fields));
            let mut done = 0;
            while done < n {
                stage.end(done, 1, Outcome::Ok, Some(0));
                done += 1;
            }
            assert_eq!(stage.run.status(), RunStatus::Succeeded);
            assert_eq!(stage.offered(), n as usize, "{n} {parallelism} {waves}");
        }
    }
}

#[test]
fn a_hopeless_job_starts_nothing_new_unless_told_to() {
    let mut fast = Stage::new(&one_job(10, r#""parallelism":2"#));
    fast.end(0, 1, Outcome::Failed, Some(1));
    fast.end(1, 1, Outcome::Ok, Some(0));
    assert_eq!(fast.run.status(), RunStatus::Failed);
    let job = &fast.run.view().jobs[0];
    assert_eq!((job.ok, job.failed, job.not_started), (1, 1, 8));

    let mut slow = Stage::new(&one_job(3, r#""parallelism":1,"fail_fast":false"#));
    for task in 0..3 {
        slow.end(task, 1, Outcome::Failed, Some(1));
    }
    assert_eq!(slow.run.view().jobs[0].failed, 3);
}

#[test]
fn a_slot_starts_only_after_the_whole_slot_before_succeeded() {
    let text = r#"{"name":"f","slots":[
        {"jobs":[{"name":"a","run":["x"],"hosts":"a[1-2]"},{"name":"b","run":["x"]}]},
        {"jobs":[{"name":"c","run":["x"],"hosts":"c[1-3]"}]}]}"#;
    let mut good = Stage::new(&flow(text));
    good.end(0, 1, Outcome::Ok, Some(0));
    good.end(2, 1, Outcome::Ok, Some(0));
    let last = good.end(1, 1, Outcome::Ok, Some(0));
    assert_eq!(offers(&last), [("3-5".into(), 1, 1)]);

    let mut bad = Stage::new(&flow(text));
    bad.end(2, 1, Outcome::Failed, Some(1));
    bad.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(bad.run.status(), RunStatus::Running, "jobs of a slot do not stop one another");
    bad.end(1, 1, Outcome::Ok, Some(0));
    let statuses: Vec<_> = bad.run.view().jobs.iter().map(|job| job.status).collect();
    assert_eq!(statuses, [JobStatus::Succeeded, JobStatus::Failed, JobStatus::Skipped]);
    assert_eq!(bad.run.status(), RunStatus::Failed);
}

#[test]
fn retries_count_in_total_and_wait_longer_each_time() {
    let fields = r#""retry":{"attempts":4,"delay":"1s","factor":2,"max":"3s"}"#;
    let mut stage = Stage::new(&one_job(1, fields));
    for (attempt, wait) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
        let ended = stage.now;
        assert!(offers(&stage.end(0, attempt, Outcome::Failed, Some(1))).is_empty());
        assert!(matches!(stage.run.waits()[..], [Wait::Retry { .. }]));
        assert_eq!(stage.run.deadline(), Some(ended + wait.milliseconds()));
        assert_eq!(offers(&stage.fire()), [("0".into(), attempt + 1, 1)]);
    }
    stage.end(0, 4, Outcome::Failed, Some(1));
    assert_eq!(stage.run.status(), RunStatus::Failed);
}

#[test]
fn what_is_retried() {
    // outcome, exit code, `retry.on` -> is there a second attempt
    let rows = [
        (Outcome::Failed, Some(1), "[]", true),
        (Outcome::Failed, Some(1), "[75]", false),
        (Outcome::Failed, Some(75), "[75]", true),
        (Outcome::Timeout, None, "[75]", true),
        (Outcome::Failed, None, "[]", false),
        (Outcome::Refused, None, "[]", false),
        (Outcome::Lost, None, "[75]", true),
        (Outcome::Ok, Some(0), "[]", false),
    ];
    for (outcome, code, on, expected) in rows {
        let mut stage = Stage::new(&one_job(1, &format!(r#""retry":{{"attempts":2,"on":{on}}}"#)));
        let again = offers(&stage.end(0, 1, outcome, code));
        assert_eq!(again == [("0".into(), 2, 1)], expected, "{outcome:?} {code:?} on {on}");
    }
}

#[test]
fn a_function_that_fails_is_tried_again_though_it_has_no_exit_code() {
    for (on, expected) in [("[]", true), ("[75]", false)] {
        let retry = format!(r#""retry":{{"attempts":2,"on":{on}}}"#);
        let job = format!(r#"{{"name":"a","handler":"work","hosts":"h1",{retry}}}"#);
        let mut stage = Stage::new(&flow(&format!(r#"{{"name":"f","jobs":[{job}]}}"#)));
        let again = offers(&stage.end(0, 1, Outcome::Failed, None));
        assert_eq!(again == [("0".into(), 2, 1)], expected, "on {on}");
    }
}

#[test]
fn losses_use_up_no_attempts_and_have_their_own_limit() {
    let mut stage = Stage::new(&one_job(1, ""));
    for attempt in 1..=3 {
        assert_eq!(offers(&stage.end(0, attempt, Outcome::Lost, None)), [("0".into(), attempt + 1, 1)]);
    }
    stage.end(0, 4, Outcome::Lost, None);
    assert_eq!(stage.run.status(), RunStatus::Failed);

    let mut after = Stage::new(&one_job(1, r#""retry":{"attempts":2}"#));
    after.end(0, 1, Outcome::Lost, None);
    after.end(0, 2, Outcome::Failed, Some(1));
    after.end(0, 3, Outcome::Ok, Some(0));
    assert_eq!(after.run.status(), RunStatus::Succeeded);
}

#[test]
fn a_wrong_flow_is_rejected_whole() {
    let mut wrong = one_job(2, r#""success":3"#);
    let stage = Stage::new(&wrong);
    assert_eq!(stage.run.status(), RunStatus::Rejected);
    assert!(matches!(stage.log[..], [Record { event: Event::Rejected { .. }, .. }]));
    assert!(stage.run.deadline().is_none() && stage.run.waits().is_empty());
    wrong.jobs.clear();
    assert_eq!(Stage::new(&wrong).run.status(), RunStatus::Rejected);
}

#[test]
fn ten_thousand_jobs_fit_into_decisions_of_limited_size() {
    let jobs: Vec<_> = (0..5_000).map(|index| format!(r#"{{"name":"a{index}","run":["x"]}}"#)).collect();
    let more: Vec<_> = (0..5_000).map(|index| format!(r#"{{"name":"b{index}","run":["x"]}}"#)).collect();
    let text = format!(r#"{{"name":"f","slots":[{{"jobs":[{}]}},{{"jobs":[{}]}}]}}"#, jobs.join(","), more.join(","));
    let submit = Submit { flow: flow(&text), params: ParamValues::default(), by: "t".into(), retry_of: None };
    let mut run = Run::new("r".parse().unwrap(), Policy::default());
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut decided = run.decide(&[Heard::new(1, at, Source::Api, Input::Submit(Box::new(submit)))]);
    let mut n = decided.records.len();
    assert_eq!(n, 1, "the decision with the flow has room for nothing else");
    while run.more() {
        assert!(decided.records.len() <= rr_schemas::decision::EVENTS_MAX + 1);
        decided = run.decide(&[]);
        assert!(!decided.records.is_empty() && n < 20_000);
        n += decided.records.len();
    }
    assert_eq!(n, 5_001, "one submit and five thousand offers");
}

#[test]
fn a_run_of_a_hundred_thousand_tasks_is_one_offer_of_its_window() {
    let stage = Stage::new(&one_job(100_000, r#""parallelism":"10%""#));
    assert_eq!(offers(&stage.log), [("0-9999".into(), 1, 1)]);
}

#[test]
fn a_decision_answers_a_limited_number_of_inputs() {
    let mut stage = Stage::new(&one_job(1, ""));
    let input = Input::Cancel(Cancel { by: "t".into(), reason: None });
    let heard = Heard::new(9, stage.now, Source::Api, input);
    let decided = stage.run.decide(&vec![heard; INPUTS_MAX + 7]);
    assert_eq!(decided.answered, INPUTS_MAX);
}

#[test]
fn time_does_not_go_back_with_the_clock_of_the_stream() {
    let mut stage = Stage::new(&one_job(2, r#""parallelism":1"#));
    let before = stage.now;
    stage.now -= 1.hour();
    let records = stage.end(0, 1, Outcome::Ok, Some(0));
    assert!(records.iter().all(|record| record.at >= before));
}

#[test]
fn what_no_history_explains_is_illegal_and_changes_nothing() {
    let text = r#"{"name":"f","slots":[{"jobs":[{"name":"a","run":["x"],"hosts":"a[1-2]"}]},
        {"jobs":[{"name":"b","run":["x"],"hosts":"b[1-2]"}]}]}"#;
    let mut stage = Stage::new(&flow(text));
    let name = |name: &str| name.parse().unwrap();
    let ended = |job: &str| Event::JobEnded { job: name(job), status: JobStatus::Failed };
    let offered = |job: &str, tasks: &str, attempt| Event::Offered {
        job: name(job),
        tasks: tasks.parse().unwrap(),
        attempt,
        offer: 1,
    };
    let illegal = |run: &mut Run, event: &Event| {
        let before = run.view();
        let record = Record { cause: 1, at: run.started_at().unwrap(), event: event.clone() };
        assert!(run.apply(&record).is_err(), "{event:?}");
        assert_eq!(run.view(), before);
    };
    for event in [ended("a"), ended("c"), offered("a", "2", 1), offered("a", "0", 1), offered("b", "9", 1)] {
        illegal(&mut stage.run, &event);
    }
    stage.end(0, 1, Outcome::Failed, Some(1));
    stage.end(1, 1, Outcome::Ok, Some(0));
    for event in [ended("a"), ended("b"), offered("b", "2", 1)] {
        illegal(&mut stage.run, &event);
    }
}

/// What one version accepted, a later one with stricter rules folds as it is.
#[test]
fn a_run_goes_on_although_its_flow_would_not_be_accepted_any_more() {
    let flow = one_job(2, r#""timeout":"0s""#);
    assert!(Plan::new(&flow, &ParamValues::default()).is_err());
    let mut run = Run::new("r".parse().unwrap(), Policy::default());
    let submitted = Event::Submitted {
        flow: Box::new(flow),
        params: ParamValues::default(),
        by: "t".into(),
        found: rr_schemas::flow::select::FoundTargets::new(),
        retry_of: None,
    };
    run.apply(&Record { cause: 1, at: "2026-01-01T00:00:00Z".parse().unwrap(), event: submitted }).unwrap();
    assert_eq!((run.status(), offers(&run.decide(&[]).records)), (RunStatus::Running, vec![("0-1".into(), 1, 1)]));
}
