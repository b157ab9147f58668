//! TOML: the same flows as in YAML and JSON, and what is wrong at its place.

use std::fmt::Write as _;

use rr_loader::{Format, Source, load};
use rr_schemas::flow::FILE_BYTES_MAX;

use crate::helpers::{flow_of, lines, load_as};

const YAML: &str = r#"
name: f
timeout: 1h
params: { version: { type: string, default: "1.4" } }
env: { A: 5, B: no }
slots:
  - - { name: a, run: [sleep, 5, 1.10, true, 0x10, "v={{ version }}"], hosts: "db[1-3]", success: 80% }
    - { name: b, shell: "echo 'x'\necho y", retry: { attempts: 3, delay: 1s, factor: 1.5, on: [3, 75] } }
  - - { name: c, run: [x], hosts: [h1, h2], parallelism: 1, waves: true, timeout: 30s }
"#;

const TOML: &str = r#"
name = "f"
timeout = "1h"
params.version = { type = "string", default = "1.4" }
env = { A = 5, B = "no" }

[[slots]]
[[slots.jobs]]
name = "a"
run = ["sleep", 5, 1.10, true, 0x10, "v={{ version }}"]
hosts = "db[1-3]"
success = "80%"

[[slots.jobs]]
name = 'b'
shell = """
echo 'x'
echo y"""
[slots.jobs.retry]
attempts = 3
delay = "1s"
factor = 1.5
on = [3, 75]

[[slots]]
jobs = [{ name = "c", run = ["x"], hosts = ["h1", "h2"], parallelism = 1, waves = true, timeout = "30s" }]
"#;

const JSON: &str = r#"{"name": "f", "timeout": "1h", "params": {"version": {"type": "string", "default": "1.4"}},
"env": {"A": 5, "B": "no"}, "slots": [
  [{"name": "a", "run": ["sleep", 5, 1.10, true, "0x10", "v={{ version }}"], "hosts": "db[1-3]", "success": "80%"},
   {"name": "b", "shell": "echo 'x'\necho y", "retry": {"attempts": 3, "delay": "1s", "factor": 1.5, "on": [3, 75]}}],
  [{"name": "c", "run": ["x"], "hosts": ["h1", "h2"], "parallelism": 1, "waves": true, "timeout": "30s"}]]}"#;

#[test]
fn one_flow_in_three_forms_is_one_flow() {
    let toml = load_as("flow.toml", TOML);
    assert_eq!(lines(&toml), Vec::<String>::new());
    let toml = toml.flow.unwrap();
    assert_eq!(toml, flow_of(YAML));
    assert_eq!(toml, load_as("flow.json", JSON).flow.unwrap());
    let named = load(&Source { name: "-", bytes: TOML.as_bytes() }, Format::Toml);
    assert_eq!(named.flow, Some(toml));
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    let nested = |depth: usize| format!("name = \"f\"\nx = {}{}\n", "[".repeat(depth), "]".repeat(depth));
    let job = |more: &str| format!("name = \"f\"\n[[jobs]]\nname = \"a\"\nrun = [\"x\"]\n{more}\n");
    for (text, expected) in [
        (String::new(), "error 1:1 flow is empty"),
        ("# nothing\n".to_owned(), "error 1:1 flow is empty"),
        ("name = \n".to_owned(), "error 1:8 not valid TOML"),
        ("name = f\n".to_owned(), "error 1:8 not valid TOML"),
        ("name = \"f\"\nname = \"g\"\n".to_owned(), "error 2:1 not valid TOML: duplicate key"),
        ("[params]\n[params]\n".to_owned(), "error 2:2 not valid TOML: duplicate key"),
        (job("timeout = 2026-11-22T01:02:03Z"), "error 5:11 a date or time has no place in a flow"),
        (job("hosts = [12:30:00]"), "error 5:10 a date or time has no place in a flow"),
        (job("parallelsim = 5"), "error 5:1 unknown field \"parallelsim\""),
        (job("hosts = \"db[1-\""), "error 5:"),
        (job("success = \"101%\""), "error 5:"),
        ("name = true\njobs = []\n".to_owned(), "error 1:8 "),
        (nested(64), "error 2:68 nesting deeper than 64"),
        (nested(5_000), "error 2:"),
        (format!("{}a = 1\n", "a.".repeat(200_000)), "error 1:"),
        (format!("[{}a]\n", "a.".repeat(200_000)), "error 1:"),
        (format!("x = {}1{}\n", "{a=".repeat(100_000), "}".repeat(100_000)), "error 1:"),
        ("x".repeat(FILE_BYTES_MAX + 1), "error file is 524289 bytes, limit 524288"),
    ] {
        let loaded = load_as("flow.toml", &text);
        let told = lines(&loaded);
        let shown: String = text.chars().take(80).collect();
        assert!(told.iter().any(|line| line.starts_with(expected)), "{shown}: {told:#?}, not {expected}");
        assert!(loaded.flow.is_none(), "{shown}");
    }
}

#[test]
fn a_large_file_is_read_quickly_and_whole() {
    let mut text = "name = \"f\"\n".to_owned();
    for n in 0..5_000 {
        writeln!(text, "[[jobs]]\nname = \"job{n}\"\nrun = [\"echo\", {n}]").unwrap();
    }
    assert_eq!(load_as("flow.toml", &text).flow.unwrap().jobs.len(), 5_000);
}
