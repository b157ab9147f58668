//! The JSON of the original Roadrunner.

use rr_loader::{Format, Loaded, Source, load};
use rr_schemas::{
    flow::{Flow, Job, Script},
    span::Span,
};

use crate::helpers::{lines, load_as};

fn file(job: &str) -> String {
    format!(
        r#"{{"job_flow": [{{"slot_id": "s", "jobs": [{{"job_id": "a", "cmd": "true", "hosts": ["h1", "h2", "h3", "h4"]{job}}}]}}]}}"#
    )
}

fn job_of(job: &str) -> Job {
    let loaded = load_as("flow.json", &file(job));
    assert_eq!(loaded.diagnostics, [], "{job}");
    loaded.flow.unwrap().slots.remove(0).jobs.remove(0)
}

fn roadrunner(text: &str) -> Loaded {
    load(&Source { name: "flow.json", bytes: text.as_bytes() }, Format::Roadrunner)
}

#[test]
fn the_sample_means_what_it_meant() {
    let text = include_str!("../../../../examples/roadrunner.json");
    let Loaded { flow, diagnostics } = load_as("some/test flow.json", text);
    assert_eq!(diagnostics, []);
    let flow: Flow = flow.unwrap();
    assert_eq!(flow.name.as_str(), "test_flow");
    let slots: Vec<&str> = flow.slots.iter().map(|slot| slot.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(slots, ["packages", "restart"]);
    let jobs: Vec<&Job> = flow.all_jobs().map(|(_, job)| job).collect();
    let [db, api, fe] = jobs.as_slice() else { panic!("{jobs:?}") };
    let script = "echo installing pkg1; uname -s".to_owned();
    assert_eq!(db.shell, Some(Script { script, shell: Script::default_shell() }));
    assert_eq!((db.targets(), db.success.needed(5), db.parallelism.window(5)), (5, 4, 2));
    assert_eq!((db.retry.attempts, db.timeout.unwrap().as_millis()), (2, 15_000));
    // The same host twice is two tasks, as it was.
    assert_eq!((api.targets(), api.retry.attempts, api.timeout.unwrap().as_millis()), (2, 1, 5_000));
    assert_eq!((fe.parallelism.window(4), fe.success.needed(4)), (2, 4));
    assert!(jobs.iter().all(|job| !job.waves && job.fail_fast));
}

#[test]
fn numbers_may_be_strings_or_integers_and_defaults_may_lack() {
    for (job, attempts, timeout) in [
        ("", 1, None),
        (r#", "retries": "3", "timeout": "7""#, 3, Some(7_000)),
        (r#", "retries": 3, "timeout": 7"#, 3, Some(7_000)),
    ] {
        let job = job_of(job);
        assert_eq!((job.retry.attempts, job.timeout.map(Span::as_millis)), (attempts, timeout));
    }
    let with_defaults = file("").replacen('{', r#"{"default_retries": 4, "default_job_timeout": 9, "#, 1);
    let flow = load_as("flow.json", &with_defaults).flow.unwrap();
    let job = &flow.slots[0].jobs[0];
    assert_eq!((job.retry.attempts, job.timeout.unwrap().as_millis()), (4, 9_000));
}

#[test]
fn shares_are_bent_into_bounds_and_success_is_rounded_up() {
    for (written, needed, window) in [
        ("\"0%\"", 1, 1),
        ("0", 1, 1),
        ("\"-3\"", 1, 1),
        ("\"60%\"", 3, 2),
        ("\"100%\"", 4, 4),
        ("\"250%\"", 4, 4),
        ("\"3\"", 3, 3),
        ("3", 3, 3),
        ("99999999999", 4, 4),
    ] {
        let job = job_of(&format!(r#", "success_constraint": {written}, "parallelism": {written}"#));
        assert_eq!((job.success.needed(4), job.parallelism.window(4)), (needed, window), "{written}");
    }
}

#[test]
fn any_of_its_keys_tells_the_format_and_the_option_forces_it() {
    assert_eq!(lines(&load_as("f.json", r#"{"default_retries": 1}"#)), ["error 1:2 missing field \"job_flow\""]);
    assert_eq!(lines(&roadrunner("{}")), ["error 1:1 missing field \"job_flow\""]);
    assert_eq!(lines(&load_as("f.json", "{}")), ["error 1:1 missing field \"name\""]);
    // Ours stays ours even in JSON.
    let ours = r#"{"name": "f", "jobs": [{"name": "a", "run": ["x"]}]}"#;
    assert!(load_as("f.json", ours).flow.is_some());
}

#[test]
fn unknown_keys_are_taken_with_a_warning() {
    let text = file(r#", "colour": 1, "retrys": 3"#).replacen('{', r#"{"output_plugin": "x", "#, 1);
    let loaded = load_as("flow.json", &text);
    assert!(loaded.flow.is_some());
    let said = lines(&loaded);
    assert_eq!(said.len(), 3);
    assert!(said[0].starts_with("warning 1:2 unknown field \"output_plugin\""), "{said:?}");
    assert!(said[1].contains("unknown field \"colour\""), "{said:?}");
    assert!(said[2].contains("unknown field \"retrys\" [did you mean \"retries\"?]"), "{said:?}");
}

#[test]
fn a_misspelt_key_that_is_needed_is_missed() {
    let loaded = load_as("flow.json", &file("").replace("\"hosts\"", "\"hostz\""));
    assert!(loaded.flow.is_none());
    let said = lines(&loaded);
    assert!(said.len() == 2 && said[0].contains("missing field \"hosts\""), "{said:?}");
    assert!(said[1].contains("unknown field \"hostz\" [did you mean \"hosts\"?]"), "{said:?}");
}

#[test]
fn templates_are_plain_text_in_it() {
    let text = file("").replace("\"true\"", "\"echo {{ host }}\"");
    let flow = load_as("flow.json", &text).flow.unwrap();
    assert_eq!(flow.slots[0].jobs[0].shell.as_ref().unwrap().script, "echo {{ host }}");
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    for (text, says) in [
        (file(r#", "retries": 0"#), "retries: expected 1..1000, the number of tries in total, found \"0\""),
        (file(r#", "retries": "many""#), "retries: expected 1..1000"),
        (file(r#", "timeout": 0"#), "timeout: expected seconds, 1 to 2592000 (30 days), found \"0\""),
        (file(r#", "timeout": "1.5""#), "timeout: expected seconds"),
        (file(r#", "success_constraint": "most""#), "success_constraint: expected a count such as 8"),
        (file("").replace("[\"h1\", \"h2\", \"h3\", \"h4\"]", "[]"), "hosts: targets no host"),
        (file("").replace("\"h1\"", "\"h 1\""), "hosts: "),
        (file("").replace("\"cmd\": \"true\", ", ""), "missing field \"cmd\""),
        (file("").replace("\"slot_id\": \"s\", ", ""), "missing field \"slot_id\""),
        (file("").replace("\"job_id\": \"a\"", "\"job_id\": \"a b\""), "job_id: name may hold"),
        (file("").replace("[{\"slot_id\"", "[5, {\"slot_id\""), "slot: expected map, found integer"),
        (r#"{"job_flow": []}"#.to_owned(), "flow has no jobs"),
        (r#"{"job_flow": {}}"#.to_owned(), "job_flow: expected list, found map"),
    ] {
        let loaded = load_as("flow.json", &text);
        let said = lines(&loaded);
        assert!(loaded.flow.is_none() && said.len() == 1 && said[0].contains(says), "{text}\n{said:?}\n{says}");
    }
}
