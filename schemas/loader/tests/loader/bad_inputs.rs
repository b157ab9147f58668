//! The catalogue of bad inputs: each one with the place and the words that its author is shown.

mod files;

use crate::helpers::{lines, load_as};

/// One bad file. The first line that is said of it begins with `says` or holds it; nothing else may be said unless
/// `says` has more lines.
struct Bad {
    file: &'static str,
    text: String,
    says: &'static [&'static str],
}

fn yaml(text: impl Into<String>, says: &'static [&'static str]) -> Bad {
    Bad { file: "flow.yaml", text: text.into(), says }
}

fn json(text: impl Into<String>, says: &'static [&'static str]) -> Bad {
    Bad { file: "flow.json", text: text.into(), says }
}

/// A flow of one good job, whose further lines are given; they begin on line 5.
fn job(more: &str, says: &'static [&'static str]) -> Bad {
    yaml(format!("name: f\njobs:\n  - name: a\n    run: [x]\n    {more}\n"), says)
}

/// A flow of one job without a command, whose further lines are given; they begin on line 4.
fn command(more: &str, says: &'static [&'static str]) -> Bad {
    yaml(format!("name: f\njobs:\n  - name: a\n    {more}\n"), says)
}

/// A flow of one good job after these lines.
fn top(more: &str, says: &'static [&'static str]) -> Bad {
    yaml(format!("{more}\njobs: [{{ name: a, run: [x] }}]\n"), says)
}

fn check(table: Vec<Bad>) {
    for Bad { file, text, says } in table {
        let loaded = load_as(file, &text);
        let said = lines(&loaded);
        let shown: String = text.chars().take(300).collect();
        assert_eq!(said.len(), says.len(), "{shown}\n{said:#?}");
        for (said, says) in said.iter().zip(says) {
            assert!(said.contains(says), "{shown}\nsaid  {said}\nwants {says}");
        }
        assert_eq!(loaded.flow.is_none(), loaded.errors() > 0, "{shown}");
    }
}

#[test]
fn names() {
    let rule = "error 1:7 name: name may hold A-Z a-z 0-9 _ -, 1 to 63 characters; got ";
    for (written, echo) in [
        ("a.b", "\"a.b\""),
        ("'*'", "\"*\""),
        ("'>'", "\"\\u{3e}\""),
        ("a b", "\"a b\""),
        ("\"a\\tb\"", "\"a\\tb\""),
        ("\"a\\0b\"", "\"a\\u{0}b\""),
        ("\"a\\nb\"", "\"a\\nb\""),
        ("'..'", "\"..\""),
        ("a/b", "\"a/b\""),
        ("''", "\"\""),
        ("\u{1f600}", "\"\\u{1f600}\""),
        ("\"a\\u202eb\"", "\"a\\u{202e}b\""),
        ("ａ", "\"\\u{ff41}\""),
        ("$JS", "\"$JS\""),
    ] {
        let said = lines(&load_as("flow.yaml", &format!("name: {written}\njobs: [{{ name: a, run: [x] }}]\n")));
        let echo = echo.replace("\\u{3e}", ">");
        assert_eq!(said, [format!("{rule}{echo}")]);
    }
    check(vec![
        top(
            &format!("name: {}", "a".repeat(64)),
            &["error 1:7 name: name may hold A-Z a-z 0-9 _ -, 1 to 63 characters"],
        ),
        top("name: _INBOX", &["error 1:7 name: name is reserved by nats"]),
        top("name: -a", &["error 1:7 name: name may not begin with -, it looks like an option; got \"-a\""]),
        top("name: no", &["error 1:7 name: expected string, found boolean (quote it)"]),
        top("name: 1e3", &["error 1:7 name: expected string, found number (quote it)"]),
        top("name: 0x10", &["error 1:7 name: expected string, found integer (quote it)"]),
        top("name: 012", &["error 1:7 name: expected string, found integer (quote it)"]),
        top("name: ~", &["error 1:7 name: expected string, found nothing"]),
        top("name: [a]", &["error 1:7 name: expected string, found list"]),
        yaml(
            "name: f\njobs:\n  - { name: build, run: [x] }\n  - { name: Build, run: [x] }\n  - { name: build, run: [x] }\n",
            &[
                "error 4:13 duplicate job name \"Build\", which differs only in case",
                "error 5:13 duplicate job name \"build\"",
            ],
        ),
    ]);
}

#[test]
fn needs() {
    check(vec![
        yaml(
            "name: f\njobs:\n  - { name: a, run: [x], needs: [b] }\n  - { name: b, run: [x], needs: [a] }\n",
            &["error 4:33 jobs need each other in a circle: a -> b -> a"],
        ),
        job("needs: [a]", &["error 5:13 job \"a\" depends on itself"]),
        yaml(
            "name: f\njobs:\n  - { name: build, run: [x] }\n  - { name: b, run: [x], needs: [buidl] }\n",
            &["error 4:34 job \"b\" depends on unknown \"buidl\" [did you mean \"build\"?]"],
        ),
        yaml(
            "name: f\njobs:\n  - { name: a, run: [x] }\n  - { name: b, run: [x], needs: [a, a] }\n",
            &["error 4:33 job \"b\" names a job twice in its needs"],
        ),
        yaml(
            "name: f\nslots:\n  - - { name: a, run: [x] }\n    - { name: b, run: [x], needs: [a] }\n",
            &["error 4:35 needs is not possible in slots"],
        ),
        // A job whose name cannot be read may be the one that is needed.
        yaml(
            "name: f\njobs:\n  - { name: a.b, run: [x] }\n  - { name: c, run: [x], needs: [ab] }\n",
            &["error 3:13 name: name may hold"],
        ),
    ]);
}

#[test]
fn hosts() {
    check(vec![
        job("hosts: db[1-", &["error 5:14 hosts: unclosed ["]),
        job("hosts: db[1-999999999]", &["error 5:12 hosts: expands to 999999999 hosts, limit 100000"]),
        job("hosts: db[1-1000][1-1000][1-1000]", &["hosts: expands to 1000000000 hosts, limit 100000"]),
        job("hosts: web,db[3-1]", &["error 5:19 hosts: range is backwards [write [1-3]]"]),
        job("hosts: db[]", &["error 5:14 hosts: empty [ ]"]),
        job("hosts: db[1,,2]", &["hosts: "]),
        job("hosts: db]1[", &["error 5:14 hosts: ] without ["]),
        job("hosts: db[1-010]", &["hosts: widths differ"]),
        job("hosts: db[-1-5]", &["hosts: a range cannot begin with -"]),
        job("hosts: db[1-5-9]", &["hosts: a range has two ends"]),
        job("hosts: db[a-z]", &["hosts: only digits 0-9 can stand in [ ]"]),
        job("hosts: db[1..5]", &["hosts: a range is written with - [write [1-5]]"]),
        job("hosts: db[99999999999999999999]", &["hosts: number too large"]),
        job("hosts: db[[1-2]]", &["hosts: nested ["]),
        job("hosts: db[١-٣]", &["hosts: only digits 0-9"]),
        job("hosts: []", &["error 5:12 hosts: targets no host"]),
        job("hosts: ''", &["error 5:13 hosts: targets no host"]),
        job("hosts: [a, 'db[1']", &["error 5:19 hosts: unclosed ["]),
        job("hosts: \"a\\u002cdb[1\"", &["error 5:12 hosts: unclosed [ at col 5"]),
        job("hosts: { a: b }", &["error 5:12 hosts: expected string or list, found map"]),
        job("hosts: [10.1]", &["error 5:13 hosts: expected string, found number (quote it)"]),
        job("hosts: a\n    queue: q", &["error 6:12 hosts and queue exclude each other"]),
        // Named again: merged, and said.
        job("hosts: [a, 'b[1-3]', b2, a]", &["warning 5:12 2 of 6 hosts are named again (such as b2): 4 remain"]),
    ]);
}

#[test]
fn shares_and_counts() {
    check(vec![
        job("success: 0%", &["error 5:14 success: "]),
        job("success: 101%", &["error 5:14 success: percent must be 1..100; got \"101%\""]),
        job("success: -1%", &["error 5:14 success: expected percent 1..100"]),
        job("success: NaN", &["error 5:14 success: expected percent 1..100"]),
        job("success: .inf", &["error 5:14 success: expected percent 1..100"]),
        job("success: 1e400", &["error 5:14 success: expected percent 1..100"]),
        job("success: 80 %", &["error 5:14 success: expected percent 1..100"]),
        job("success: ٨٠%", &["error 5:14 success: expected percent 1..100"]),
        job("success: 0.5%", &["error 5:14 success: percent must be 1..100; got \"0.5%\""]),
        job("success: 33.333%", &["error 5:14 success: percent may have at most 2 decimals"]),
        job("success: 80", &["error 5:14 needs 80 of 1 [a job without hosts has one task]"]),
        job("hosts: db[1-10]\n    success: 12", &["error 6:14 needs 12 of 10"]),
        job("parallelism: 0", &["error 5:18 parallelism: count must be >= 1"]),
        job("parallelism: -5", &["error 5:18 parallelism: "]),
        job("parallelism: 9223372036854775808", &["error 5:18 parallelism: count is too large"]),
        job("parallelism: all", &["error 5:18 parallelism: expected percent 1..100"]),
        job("parallelism: 0%", &["error 5:18 parallelism: "]),
        job(
            "hosts: db[1-10]\n    parallelism: 20",
            &["warning 6:18 parallelism 20 is more than the targets: 10 will run at once"],
        ),
    ]);
}

#[test]
fn times_and_retries() {
    let form = &["error 5:14 timeout: expected a duration like 30s, 5m, 2h; max 30d"];
    check(vec![
        job("timeout: 0", &["error 5:14 a timeout must be longer than 0s [use \"none\" for no limit]"]),
        job("timeout: 0s", &["error 5:14 a timeout must be longer than 0s"]),
        job("timeout: -5s", form),
        job("timeout: 5", form),
        job("timeout: 5 fortnights", form),
        job("timeout: 1e9h", form),
        job("timeout: 31d", form),
        job("timeout: 99999999999999999999d", form),
        top("name: f\ntimeout: 0s", &["error 2:10 a timeout must be longer than 0s"]),
        job("retry: -1", &["error 5:12 attempts: expected number 1..1000, found \"-1\""]),
        job("retry: 0", &["error 5:12 attempts must be 1..1000, got 0"]),
        job("retry: 4294967296", &["error 5:12 attempts: expected number 1..1000"]),
        job("retry: { attempts: 1000000 }", &["attempts must be 1..1000, got 1000000"]),
        job("retry: \"3\"", &["error 5:12 attempts: expected number 1..1000, found \"3\""]),
        job("retry: { delay: 5s, max: 1s }", &["error 5:30 max is shorter than delay"]),
        job("retry: { jitter: 150% }", &["error 5:22 jitter: percent must be 1..100"]),
        job("retry: { jitter: 2 }", &["error 5:22 jitter must be a percentage, 1%..100% [write it as \"20%\"]"]),
        job("retry: { factor: 0.5 }", &["error 5:22 factor: expected number 1..100 with at most two decimals"]),
        job("retry: { factor: .nan }", &["error 5:22 factor: "]),
        job("retry: { on: [0, 256] }", &["error 5:19 exit codes of failures are 1..255, got 0", "got 256"]),
        job("retry: { atempts: 3 }", &["error 5:14 unknown field \"atempts\" [did you mean \"attempts\"?]"]),
    ]);
}

#[test]
fn commands() {
    let empty = &["error 4:10 run: the command is empty [command must be a list, e.g. [\"echo\", \"hi\"]]"];
    let large = "x".repeat(128 * 1024);
    check(vec![
        command("run: []", empty),
        command(
            "run: ['']",
            &["error 4:11 the program's name is empty [command must be a list, e.g. [\"echo\", \"hi\"]]"],
        ),
        command(
            "run: echo hi",
            &[
                "error 4:10 run: expected list, found string [command must be a list, e.g. [\"echo\", \"hi\"]; for a script, use shell:]",
            ],
        ),
        command("run: [a, [b]]", &["error 4:14 run: expected string, found list"]),
        command("run: [a, ]\n    shell: b", &["error 5:12 run and shell exclude each other"]),
        command("cwd: /tmp", &["error 3:5 job has no command"]),
        command("shell: ' '", &["error 4:12 the script is empty"]),
        command("shell: { script: x, shell: [] }", &["error 4:32 the shell is empty"]),
        command("shell: { shell: [sh] }", &["error 4:14 missing field \"script\""]),
        command("handler: a.b", &["error 4:14 handler: name may hold"]),
        command("run: [a, \"b\\0c\"]", &["error 4:14 run: a NUL byte cannot be part of an argument"]),
        command("shell: \"b\\0c\"", &["a NUL byte cannot be part of a script"]),
        command(&format!("run: [a, {large}]"), &["error 4:14 text of 131072 bytes, limit 131071"]),
        command(&format!("shell: {large}"), &["text of 131072 bytes, limit 131071"]),
        command(
            &format!("run: [{0}, {0}, {0}]", "x".repeat(100_000)),
            &["error 4:10 arguments of 300003 bytes together, limit 262144"],
        ),
        job("cwd: ../x", &["error 5:10 cwd may not hold .."]),
        job("cwd: /a/../b", &["error 5:10 cwd may not hold .."]),
        job("cwd: ''", &["error 5:10 cwd is empty"]),
        job("env: { A=B: 1 }", &["error 5:12 env: invalid env name"]),
        job("env: { '': 1 }", &["error 5:12 env: invalid env name"]),
        job("env: { \"A\\0\": 1 }", &["error 5:12 env: invalid env name"]),
        job("env: { 1X: 1 }", &["error 5:12 env: invalid env name"]),
        job("env: { LD_PRELOAD: x }", &["error 5:12 env: reserved env name"]),
        job("env: { BASH_ENV: x }", &["error 5:12 env: reserved env name"]),
        job("env: { A: [x] }", &["error 5:15 env: expected string, found list"]),
        job("inherit_env: [A=B]", &["error 5:19 inherit_env: invalid env name"]),
    ]);
}

#[test]
fn templates_and_params() {
    check(vec![
        yaml(
            "name: f\nparams: { version: '1' }\njobs:\n  - { name: a, run: [x, '{{ verison }}'] }\n",
            &["error 4:25 unknown parameter \"verison\" [did you mean \"version\"?]"],
        ),
        command("run: [x, '{{ a']", &["error 4:15 run: unclosed {{"]),
        command("run: [x, 'b{{ }}']", &["error 4:16 run: empty template"]),
        command("run: [x, '{{ 1/0 }}']", &["error 4:18 run: a template holds the name of one parameter"]),
        command("run: [x, '{{ {{ a }} }}']", &["error 4:18 run: a template holds the name of one parameter"]),
        command(
            "run: [x, '{{ host }}']",
            &["error 4:14 {{ host }} has no value in job \"a\" [only a job with hosts: or select: has one]"],
        ),
        top("name: f\nenv: { A: '{{ host }}' }", &["error 2:11 {{ host }} has no value in job \"a\""]),
        top("name: f\nenv: { A: '{{ b }}' }", &["error 2:11 unknown parameter \"b\""]),
        command(
            "shell: 'echo {{ a }}'",
            &["error 4:18 templates are not filled in in a script, found {{ a }} [write \"$RR_PARAM_A\""],
        ),
        top("name: f\nparams: { host: a }", &["error 2:17 parameter \"host\" is built in"]),
        top(
            "name: f\nparams: { a: 1.5 }",
            &["error 2:14 parameter: expected string, whole number or boolean, found number (quote it)"],
        ),
        top(
            "name: f\nparams: { a: no }",
            &["error 2:14 parameter: expected string, whole number or boolean, found boolean (quote it)"],
        ),
        top("name: f\nparams: { a: 9223372036854775808 }", &["error 2:14 parameter: expected"]),
        top("name: f\nparams: { a: { type: int, default: x } }", &["error 2:36 expected int, found string"]),
        top(
            "name: f\nparams: { a: { type: float } }",
            &["error 2:22 type: expected string or int or bool, found \"float\""],
        ),
        top(
            "name: f\nparams: { a: { choices: [x, y], default: z } }",
            &["error 2:42 \"z\" is not one of its choices: \"x\", \"y\""],
        ),
        top("name: f\nparams: { a: -x }", &["error 2:14 \"-x\" begins with -"]),
        top("name: f\nparams: { a-b: x, A_B: y }", &["parameter \"a-b\" is the same as \"A_B\" but for case, - and _"]),
        top("name: f\nparams: { 5: x }", &["error 2:11 parameter: expected string, found integer (quote it)"]),
        top("name: f\nparams: { a.b: x }", &["error 2:11 parameter: name may hold"]),
    ]);
}

#[test]
fn limits_are_named() {
    use std::fmt::Write as _;
    let mut jobs = String::from("name: f\njobs:\n");
    for index in 0..10_001 {
        writeln!(jobs, "- {{name: j{index}, run: [x]}}").unwrap();
    }
    let tasks = "- { name: a, run: [x], hosts: 'a[1-60000]' }\n  - { name: b, run: [x], hosts: 'b[1-60000]' }";
    check(vec![
        yaml(jobs, &["error 1:1 flow has 10001 jobs, limit 10000"]),
        yaml(format!("name: f\njobs:\n  {tasks}\n"), &["error 1:1 flow has 120000 tasks, limit 100000"]),
        job(
            "hosts: a[1-2000]\n    retry: 1000",
            &["error 1:1 flow allows 2000000 attempts over all its tasks, limit 1000000"],
        ),
    ]);
}

#[test]
fn everything_wrong_is_said_at_once_and_shown_with_its_line() {
    let text = "\
name: roll out
params:
  version: 1.4
jobs:
  - name: pkg1
    run: install pkg1
    hosts: db[1-10
    parallelsim: 50%
  - name: PKG1
    run: [install, '{{ vresion }}']
    success: 3
    timeout: 30
  - name: last
    run: [echo]
    needs: [pkg2]
    hosts: web[1-3],web2
";
    let source = rr_loader::Source { name: "rollout.yaml", bytes: text.as_bytes() };
    let loaded = rr_loader::load(&source, rr_loader::Format::Auto);
    insta::assert_snapshot!(rr_loader::render(&loaded.diagnostics, &source, false));
}

#[test]
fn no_more_than_twenty_are_shown() {
    let text = format!("name: f\njobs: [{{ name: a, run: [x] }}]\n{}", "a: 1\n".repeat(25));
    let source = rr_loader::Source { name: "flow.yaml", bytes: text.as_bytes() };
    let loaded = rr_loader::load(&source, rr_loader::Format::Auto);
    let shown = rr_loader::render(&loaded.diagnostics, &source, false);
    assert_eq!(shown.matches("error: ").count(), 20);
    assert!(shown.ends_with(&format!("and {} more\n", loaded.diagnostics.len() - 20)), "{shown}");
}
