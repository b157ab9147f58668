//! Each rule once, on flows as a NATS client may send them. The loader's tests have the same rules with places in files.

use super::*;
use crate::flow::params::ParamValue;
use serde_json::{Value, json};

fn flow(value: Value) -> Flow {
    serde_json::from_value(value).unwrap()
}

/// `at: message` of each problem.
fn problems(value: Value) -> Vec<String> {
    check(&flow(value)).iter().map(|problem| format!("{}: {}", problem.at, problem.message)).collect()
}

fn job(fields: &Value) -> Value {
    let mut job = json!({ "name": "a", "run": ["x"] });
    job.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "name": "f", "jobs": [job] })
}

#[test]
fn a_good_flow_has_no_problems() {
    let slots = json!([
        { "jobs": [{ "name": "a", "run": ["echo", "{{ v }}", "{{ host }}"], "hosts": "db[1-10]", "success": "80%" }] },
        { "name": "s", "jobs": [{ "name": "b", "shell": { "script": "{{ not_filled_in }}" } }, { "name": "c", "handler": "h", "queue": "q" }] }
    ]);
    let params = json!({ "v": { "type": "string", "default": "1.4" } });
    assert_eq!(problems(json!({ "name": "f", "params": params, "slots": slots })), [""; 0]);
    let jobs = json!([{ "name": "a", "run": ["x"] }, { "name": "b", "run": ["x"], "needs": ["a"] }]);
    assert_eq!(problems(json!({ "name": "f", "jobs": jobs })), [""; 0]);
}

#[test]
fn each_rule_has_its_words() {
    for (fields, wanted) in [
        (json!({ "run": [] }), "/jobs/0: job has no command"),
        (json!({ "run": [""] }), "/jobs/0/run/0: the program's name is empty"),
        (json!({ "handler": "h" }), "/jobs/0/handler: run and handler exclude each other"),
        (json!({ "hosts": "a", "queue": "q" }), "/jobs/0/queue: hosts and queue exclude each other"),
        (json!({ "hosts": "db[1-10]", "success": 12 }), "/jobs/0/success: needs 12 of 10"),
        (json!({ "success": 2 }), "/jobs/0/success: needs 2 of 1"),
        (json!({ "timeout": "0s" }), "/jobs/0/timeout: a timeout must be longer than 0s"),
        (json!({ "retry": { "attempts": 0 } }), "/jobs/0/retry/attempts: attempts must be 1..1000, got 0"),
        (json!({ "retry": { "attempts": 1001 } }), "/jobs/0/retry/attempts: attempts must be 1..1000, got 1001"),
        (json!({ "retry": { "delay": "5s", "max": "1s" } }), "/jobs/0/retry/max: max is shorter than delay"),
        (json!({ "retry": { "jitter": 1 } }), "/jobs/0/retry/jitter: jitter must be a percentage, 1%..100%"),
        (json!({ "retry": { "on": [0] } }), "/jobs/0/retry/on/0: exit codes of failures are 1..255, got 0"),
        (json!({ "run": ["x", "{{ v }}"] }), "/jobs/0/run/1: unknown parameter \"v\""),
        (json!({ "env": { "A": "{{ host }}" } }), "/jobs/0/env/A: {{ host }} has no value in job \"a\""),
        (json!({ "cwd": "a/.." }), "/jobs/0/cwd: cwd may not hold .."),
        (json!({ "needs": ["a"] }), "/jobs/0/needs/0: job \"a\" depends on itself"),
        (json!({ "needs": ["b"] }), "/jobs/0/needs/0: job \"a\" depends on unknown \"b\""),
    ] {
        assert_eq!(problems(job(&fields)), [wanted]);
    }
}

#[test]
fn a_place_between_two_names_both() {
    let jobs = json!([{ "name": "build", "run": ["x"] }, { "name": "Build", "run": ["x"] }]);
    let found = check(&flow(json!({ "name": "f", "slots": [{ "jobs": jobs }] })));
    let shown: Vec<String> = found.iter().map(Problem::to_string).collect();
    assert_eq!(
        shown,
        [
            "/slots/0/jobs/1/name: duplicate job name \"Build\", which differs only in case, see also /slots/0/jobs/0/name"
        ]
    );
}

#[test]
fn every_circle_is_found_and_nothing_else() {
    let jobs = |edges: &[(&str, &[&str])]| {
        let jobs = edges.iter().map(|(name, needs)| json!({ "name": name, "run": ["x"], "needs": needs }));
        json!({ "name": "f", "jobs": jobs.collect::<Vec<_>>() })
    };
    let circle = "jobs need each other in a circle: ";
    for (edges, wanted) in [
        (
            &[("a", ["b"].as_slice()), ("b", &["a"])] as &[(&str, &[&str])],
            vec![format!("/jobs/1/needs: {circle}a -> b -> a")],
        ),
        (&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])], vec![format!("/jobs/2/needs: {circle}b -> c -> b")]),
        (
            &[("a", &["b"]), ("b", &["a"]), ("c", &["d", "a"]), ("d", &["c"])],
            vec![format!("/jobs/1/needs: {circle}a -> b -> a"), format!("/jobs/3/needs: {circle}c -> d -> c")],
        ),
        // A diamond is none.
        (&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])], vec![]),
    ] {
        assert_eq!(problems(jobs(edges)), wanted);
    }
}

#[test]
fn limits_count_without_expanding() {
    let two = |retry: u32| {
        let job =
            |name: &str| json!({ "name": name, "run": ["x"], "hosts": "h[1-50000]", "retry": { "attempts": retry } });
        problems(json!({ "name": "f", "jobs": [job("a"), job("b")] }))
    };
    assert_eq!(two(10), [""; 0]);
    assert_eq!(two(11), [": flow allows 1100000 attempts over all its tasks, limit 1000000"]);
    let jobs: Vec<Value> = (0..10_001).map(|n| json!({ "name": format!("j{n}"), "run": ["x"] })).collect();
    assert_eq!(problems(json!({ "name": "f", "jobs": jobs })), [": flow has 10001 jobs, limit 10000"]);
}

#[test]
fn no_flow_has_more_problems_than_a_decision_can_carry() {
    let name = |n: usize| format!("{}{n}", "x".repeat(55));
    let job = |n: usize| json!({ "name": name(n), "run": ["x"], "needs": [name(n + 20_000), name(n + 40_000)] });
    let jobs: Vec<Value> = (0..5_000).map(job).collect();
    let found = check(&flow(json!({ "name": "f", "jobs": jobs })));
    assert_eq!(found.len(), PROBLEMS_MAX);
    assert!(serde_json::to_vec(&found).unwrap().len() < 64 * 1024);
}

#[test]
fn a_key_given_twice_is_refused_on_the_wire_too() {
    for text in [
        r#"{"name": "f", "env": {"A": "1", "A": "2"}}"#,
        r#"{"name": "f", "params": {"a": {}, "a": {}}}"#,
        r#"{"name": "f", "name": "g"}"#,
    ] {
        let error = serde_json::from_str::<Flow>(text).unwrap_err().to_string();
        assert!(error.contains("duplicate"), "{error}");
    }
}

#[test]
fn parameters_are_checked_where_they_are_declared() {
    let flow = |params: Value| json!({ "name": "f", "params": params, "jobs": [{ "name": "a", "run": ["x"] }] });
    for (params, wanted) in [
        (json!({ "host": {} }), "/params/host: parameter \"host\" is built in: the host of the task"),
        (json!({ "a": { "type": "int", "default": "1" } }), "/params/a/default: expected int, found string"),
        (
            json!({ "a": { "choices": ["x"], "default": "y" } }),
            "/params/a/default: \"y\" is not one of its choices: \"x\"",
        ),
        (json!({ "a": { "choices": [1] } }), "/params/a/choices/0: expected string, found int"),
        (
            json!({ "a-b": {}, "a_b": {} }),
            "/params/a_b: parameter \"a_b\" is the same as \"a-b\" but for case, - and _",
        ),
    ] {
        assert_eq!(problems(flow(params)), [wanted]);
    }
}

#[test]
fn the_nearest_word_is_offered() {
    let known = ["parallelism", "success", "timeout"];
    assert_eq!(did_you_mean("parallelsim", known).as_deref(), Some("did you mean \"parallelism\"?"));
    assert_eq!(did_you_mean("zebra", known), None);
    assert_eq!(did_you_mean("a", ["b", "c"]), None);
    assert_eq!(ParamValue::Int(-5).to_string(), "-5");
}
