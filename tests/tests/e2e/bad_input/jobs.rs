//! Fields of jobs: names, thresholds, times, commands, templates, environment.

use super::{Row, check, job, line, yaml};

#[tokio::test]
async fn names() {
    let named = |name: &str| job("").replace("name: a\n", &format!("name: {name}\n"));
    let mut rows = vec![
        yaml("a boolean", &named("no"), &["expected string, found boolean", ":3:11:"]),
        yaml("a float", &named("1e3"), &["expected string, found", ":3:11:"]),
        yaml("a hex number", &named("0x10"), &["expected string, found", ":3:11:"]),
        yaml("an octal number", &named("012"), &["expected string, found", ":3:11:"]),
        yaml("nothing", &named(""), &[":3:"]),
    ];
    let wrong = [
        "a.b",
        "a*",
        "a>",
        "a b",
        "a\\tb",
        "a\\0b",
        "a\\nb",
        "..",
        "a/b",
        "",
        "é",
        "🦀",
        "a\\u202eb",
        "ａ",
        "$JS",
        "-a",
        "../../etc/passwd",
    ];
    rows.extend(wrong.map(|name| yaml("a character", &named(&format!("\"{name}\"")), &["name", ":3:11:"])));
    rows.push(yaml("64 characters", &named(&"a".repeat(64)), &["63", ":3:11:"]));
    rows.push(Row { exit: 0, ..yaml("63 characters", &named(&"a".repeat(63)), &[]) });
    check(rows).await;
}

#[tokio::test]
async fn thresholds_and_windows() {
    let shape = |field: &str| format!("success: {field}");
    let mut rows = vec![
        line("zero", "success: 0%", &["would always succeed", ":6:14:"]),
        line("no count", "success: 0", &[">= 1", ":6:14:"]),
        line("too many", "success: 12", &["needs 12 of 10", ":6:14:"]),
        line("too much", "success: 101%", &["1..100", ":6:14:"]),
        line("below nothing", "parallelism: -5", &["count 1..hosts", ":6:18:"]),
        line("no parallelism", "parallelism: 0", &[">= 1", ":6:18:"]),
        line("no share", "parallelism: 0%", &["write 1", ":6:18:"]),
        line("2^63", "parallelism: 9223372036854775808", &["too large", ":6:18:"]),
        line("all", "parallelism: all", &["expected", ":6:18:"]),
        line("a typing error", "parallelsim: 2", &["unknown field", "did you mean \"parallelism\"?", ":6:5:"]),
        line("waves is no truth", "waves: yes", &["expected true or false", ":6:12:"]),
    ];
    for wrong in ["-1%", "NaN", "inf", "1e400", "80 %", "٨٠%", "0.5%", "1.234%", "\"\"", "[1]"] {
        rows.push(yaml("a share", &job(&shape(wrong)), &[":6:14:"]));
    }
    check(rows).await;
}

#[tokio::test]
async fn times_and_retries() {
    let mut rows = vec![
        line("no timeout", "timeout: 0s", &["longer than 0s", "use \"none\"", ":6:14:"]),
        line("no attempt", "retry: 0", &["1..1000", ":6:12:"]),
        line("negative", "retry: -1", &["1..1000", ":6:12:"]),
        line("2^32", "retry: 4294967296", &["1..1000", ":6:12:"]),
        line("a million", "retry: { attempts: 1000000 }", &["1..1000", ":6:24:"]),
        line("max below delay", "retry: { delay: 5s, max: 1s }", &["max is shorter than delay", ":6:30:"]),
        line("jitter", "retry: { jitter: 150% }", &["1..100", ":6:22:"]),
        line("a count of jitter", "retry: { jitter: 2 }", &["jitter must be a percentage", ":6:22:"]),
        line("factor", "retry: { factor: 0.5 }", &["1..100", ":6:22:"]),
        line("exit code", "retry: { on: [256] }", &["1..255", ":6:19:"]),
        line("unknown", "retry: { atempts: 3 }", &["did you mean \"attempts\"?", ":6:14:"]),
        line("on_lost", "on_lost: faill", &["did you mean \"fail\"?", ":6:14:"]),
    ];
    for wrong in ["-5s", "5", "5 fortnights", "1e9h", "31d", "99999999999999999999s", "\"\"", "s"] {
        rows.push(yaml("a span", &job(&format!("timeout: {wrong}")), &[":6:14:"]));
    }
    rows.push(Row { exit: 0, ..line("none", "timeout: none", &[]) });
    check(rows).await;
}

#[tokio::test]
async fn commands() {
    let run = |run: &str| job("").replace("run: [touch, started]", run);
    let argument = "x".repeat(131_072);
    let arguments = format!("run: [x{}]", format!(", {}", "y".repeat(60_000)).repeat(5));
    check(vec![
        yaml(
            "a text",
            &run("run: touch started"),
            &["expected list, found string", "command must be a list", ":4:10:"],
        ),
        yaml("an empty list", &run("run: []"), &["the command is empty", ":4:10:"]),
        yaml("an empty program", &run("run: [\"\"]"), &["command must be a list", ":4:11:"]),
        yaml("no command", &run("queue_: 1").replace("    queue_: 1\n", ""), &["job has no command"]),
        yaml("two", &run("run: [x]\n    shell: y"), &["exclude each other"]),
        yaml("a map", &run("run: [{ a: b }]"), &["expected string", ":4:11:"]),
        yaml("NUL", &run("run: [x, \"a\\0b\"]"), &["NUL", ":4:"]),
        yaml("one long argument", &run(&format!("run: [x, {argument}]")), &["131072 bytes", "limit 131071", ":4:14:"]),
        yaml("many arguments", &run(&arguments), &["arguments of", "limit 262144"]),
        yaml("an empty script", &run("shell: \"\""), &["script"]),
        yaml("a template in a script", &run("shell: 'echo {{ host }}'"), &["not filled in", "$RR_HOST", ":4:18:"]),
        yaml("host and queue", &job("queue: q"), &["exclude each other", ":6:12:"]),
        yaml("cwd", &job("cwd: ../x"), &["may not hold ..", ":6:10:"]),
    ])
    .await;
}

#[tokio::test]
async fn templates_and_environment() {
    let run = |argument: &str| {
        let job = job("").replace("started]", &format!("started, {argument}]"));
        format!("params: {{ version: \"1\" }}\n{job}")
    };
    let env = |env: &str| job(&format!("env: {{ {env} }}"));
    let mut rows = vec![
        yaml(
            "unknown",
            &run("'{{ versoin }}'"),
            &["unknown parameter \"versoin\"", "did you mean \"version\"?", ":5:"],
        ),
        yaml("unclosed", &run("'{{ version'"), &["unclosed {{", ":5:28:"]),
        yaml("an expression", &run("'{{ 1/0 }}'"), &["name of one parameter", ":5:31:"]),
        yaml("nested", &run("'{{ {{ version }} }}'"), &["name of one parameter", ":5:31:"]),
        yaml(
            "a host without hosts",
            "name: f\njobs:\n  - { name: a, run: [echo, '{{ host }}'] }\n",
            &["{{ host }} has no value", ":3:28:"],
        ),
        yaml("NUL in a value", &env("A: \"x\\0\""), &["NUL", ":6:"]),
        Row { exit: 0, ..yaml("a line break in a value", &env("A: \"x\\ny\""), &[]) },
        Row { exit: 0, ..yaml("a literal", &run("'\\{{ x'"), &[]) },
    ];
    for name in ["\"A=B\"", "\"\"", "\"A\\0\"", "1X", "LD_PRELOAD", "BASH_ENV", "RR_HOST"] {
        rows.push(yaml("a name of the environment", &env(&format!("{name}: x")), &[":6:12:"]));
    }
    check(rows).await;
}
