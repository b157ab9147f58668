//! What is right: short forms and full forms, and what each stands for.

use rr_schemas::flow::{
    Flow, Job, OnLost, Retry, Script,
    params::{ParamType, ParamValue},
    template::Template,
};

use crate::helpers::{flow_of, lines, load_as};

fn job_of(more: &str) -> Job {
    flow_of(&format!("name: f\njobs:\n  - name: a\n    {more}\n")).jobs.remove(0)
}

fn argv(job: &Job) -> Vec<&str> {
    job.run.iter().map(Template::as_str).collect()
}

#[test]
fn scalars_of_a_command_are_taken_as_written() {
    let job = job_of("run: [sleep, 5, 1.10, true, no, 0x10, 012, 1e3, null, ~, '', \"a b\", 2026-01-01, -n, .inf]");
    assert_eq!(
        argv(&job),
        ["sleep", "5", "1.10", "true", "no", "0x10", "012", "1e3", "null", "~", "", "a b", "2026-01-01", "-n", ".inf"]
    );
    let json = r#"{"name": "f", "jobs": [{"name": "a", "run": ["sleep", 5, 1.10, true, null, 1E2, "\/\u00e9\ud83d\ude00\t"]}]}"#;
    let flow = load_as("f.json", json).flow.unwrap();
    assert_eq!(argv(&flow.jobs[0]), ["sleep", "5", "1.10", "true", "null", "1E2", "/é😀\t"]);
}

#[test]
fn values_of_an_environment_are_taken_as_written() {
    let job = job_of("run: [x]\n    env: { A: 5, B: no, C: 1.10, D: \"x\\ny\", E: '' }");
    let env: Vec<(&str, &str)> = job.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", "5"), ("B", "no"), ("C", "1.10"), ("D", "x\ny"), ("E", "")]);
}

#[test]
fn short_forms_stand_for_full_ones() {
    let text = |slots: &str| format!("name: f\nslots:\n  - {slots}\n");
    let short = flow_of(&text("[{ name: a, run: [x] }]"));
    let mut full = flow_of(&text("{ name: s, jobs: [{ name: a, run: [x] }] }"));
    assert_eq!(full.slots[0].name.take().unwrap().as_str(), "s");
    assert_eq!(short, full);

    for (short, full) in [
        ("run: [x]\n    hosts: 'db[1-3],web'", "run: [x]\n    hosts: ['db[1-3]', web]"),
        ("shell: echo hi", "shell: { script: echo hi, shell: [/bin/sh, -c] }"),
        ("run: [x]\n    retry: 3", "run: [x]\n    retry: { attempts: 3, delay: 0s, factor: 1 }"),
        ("run: [x]", "run: [x]\n    timeout: none\n    retry: {}\n    success: 100%\n    fail_fast: true"),
        ("run: [x]\n    hosts: a,b\n    success: 2", "run: [x]\n    hosts: a,b\n    success: \"2\""),
    ] {
        assert_eq!(job_of(short), job_of(full), "{short}");
    }
}

#[test]
fn every_field_of_a_job_arrives() {
    let job = job_of(
        "shell: { script: 'exit 3', shell: [bash, -c] }
    hosts: db[1-10]
    success: 80%
    parallelism: 33.34%
    waves: true
    fail_fast: false
    timeout: 1m30s
    grace: 0s
    retry: { attempts: 5, delay: 1s, factor: 1.5, max: 10s, jitter: 20%, on: [3, 75] }
    on_lost: hold
    lock: Deploy_1
    inherit_env: [HOME]
    cwd: work/{{ host }}",
    );
    assert_eq!(
        job.shell,
        Some(Script { script: "exit 3".to_owned(), shell: vec!["bash".to_owned(), "-c".to_owned()] })
    );
    assert_eq!((job.targets(), job.success.needed(9), job.parallelism.window(9)), (10, 8, 3));
    assert!(job.waves && !job.fail_fast);
    assert_eq!((job.timeout.unwrap().as_millis(), job.grace.unwrap().as_millis()), (90_000, 0));
    let Retry { attempts, delay, factor, max, jitter, on } = job.retry;
    assert_eq!((attempts, delay.as_millis(), factor.hundredths()), (5, 1_000, 150));
    assert_eq!((max.unwrap().as_millis(), jitter.unwrap().to_string().as_str(), on), (10_000, "20%", vec![3, 75]));
    assert_eq!((job.on_lost, job.inherit_env[0].as_str()), (OnLost::Hold, "HOME"));
    assert_eq!((job.lock.unwrap().as_str(), job.cwd.unwrap().as_str()), ("Deploy_1", "work/{{ host }}"));
}

#[test]
fn a_parameter_has_the_type_of_its_default() {
    let flow = flow_of(
        "name: f\nparams: { s: '1.4', w: word, i: 4, b: true, t: { type: int }, c: { choices: [1, 2] }, d: { default: x, allow_dash: true } }\njobs: [{ name: a, run: [x] }]\n",
    );
    let kinds: Vec<(&str, ParamType)> = flow.params.iter().map(|(name, param)| (name.as_str(), param.kind)).collect();
    let (string, int, boolean) = (ParamType::String, ParamType::Int, ParamType::Bool);
    assert_eq!(
        kinds,
        [("b", boolean), ("c", int), ("d", string), ("i", int), ("s", string), ("t", int), ("w", string)]
    );
    let default = |name: &str| flow.params[&name.parse().unwrap()].default.clone();
    assert_eq!(default("s"), Some(ParamValue::String("1.4".to_owned())));
    assert_eq!(default("i"), Some(ParamValue::Int(4)));
    assert_eq!(default("t"), None);
}

#[test]
fn zero_padded_ranges_and_scripts_of_other_template_languages_are_right() {
    assert_eq!(job_of("run: [x]\n    hosts: db[01-10]").hosts.unwrap().nth(0).unwrap().as_str(), "db01");
    let script = job_of("shell: \"docker ps --format '{{.Names}}' '{{ json .x }}'\"").shell.unwrap().script;
    assert_eq!(script, "docker ps --format '{{.Names}}' '{{ json .x }}'");
}

#[test]
fn line_ends_of_other_systems_are_line_ends() {
    let text = "name: f\njobs:\n  - name: a\n    shell: |\n      one\n      two\n";
    assert_eq!(flow_of(&text.replace('\n', "\r\n")), flow_of(text));
    let said = lines(&load_as("flow.yaml", "name: f\r\njobs: 5\r\n"));
    assert_eq!(said, ["error 2:7 jobs: expected list, found integer"]);
}

#[test]
fn the_format_follows_the_name_then_the_content() {
    let yaml = "{name: f, jobs: [{name: a, run: [x]}]}";
    let json = r#"{"name": "f", "jobs": [{"name": "a", "run": ["x"]}]}"#;
    let flows: Vec<Option<Flow>> =
        [("f.yaml", yaml), ("f.yml", json), ("f.json", json), ("-", yaml), ("-", json), ("/dev/fd/63", json)]
            .map(|(name, text)| load_as(name, text).flow)
            .to_vec();
    assert!(flows.iter().all(|flow| flow.is_some() && *flow == flows[0]));
    assert!(lines(&load_as("f.json", yaml))[0].contains("not valid JSON"));
    assert_eq!(load_as("f.yaml", &format!("\u{feff}{yaml}")).flow, flows[0]);
}
