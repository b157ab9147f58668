//! Whatever people get wrong is answered with a text that says what and where, and the right exit code; nothing starts.

mod attempts;
mod files;
mod hosts;
mod jobs;

use std::time::Duration;

use rr_tests::Sandbox;

/// One wrong input and its answer.
struct Row {
    /// What is wrong.
    what: &'static str,
    /// Name of the file; its ending says how it is written.
    file: &'static str,
    content: Vec<u8>,
    exit: i32,
    /// Texts of the answer. `:2:7:` stands for that line and column of the file, `:2:` for that line.
    says: &'static [&'static str],
}

/// A wrong YAML file.
fn yaml(what: &'static str, content: &str, says: &'static [&'static str]) -> Row {
    Row { what, file: "flow.yaml", content: content.as_bytes().to_vec(), exit: 65, says }
}

/// A wrong JSON file.
fn json(what: &'static str, content: &str, says: &'static [&'static str]) -> Row {
    Row { file: "flow.json", ..yaml(what, content, says) }
}

/// A flow with one job on ten hosts, and this as its sixth line.
fn job(line: &str) -> String {
    format!("name: f\njobs:\n  - name: a\n    run: [touch, started]\n    hosts: h[1-10]\n    {line}\n")
}

/// A wrong line of a job.
fn line(what: &'static str, line: &str, says: &'static [&'static str]) -> Row {
    yaml(what, &job(line), says)
}

/// Checks each file with `rr check`, and every fifth with `rr run`, which must start nothing either.
async fn check(rows: Vec<Row>) {
    let sandbox = Sandbox::new().await;
    let mut wrong = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let path = format!("{n}-{}", row.file);
        sandbox.write(&path, &row.content);
        let verbs: &[&str] = if n % 5 == 0 && row.exit != 0 { &["check", "run"] } else { &["check"] };
        for verb in verbs {
            let output = sandbox.rr([*verb, path.as_str()]).within(Duration::from_secs(10)).run().await;
            let told = format!("{}{}", output.stdout, output.stderr);
            let missing: Vec<&&str> = row.says.iter().filter(|text| !tells(&told, &path, text)).collect();
            if output.status.code() != Some(row.exit) || !missing.is_empty() {
                wrong.push(format!("{}: wanted {} {missing:?}\n{output}", row.what, row.exit));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(sandbox.read("started"), "", "a wrong flow was started");
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
}

fn tells(told: &str, path: &str, text: &str) -> bool {
    match text.strip_prefix(':').and_then(|place| place.strip_suffix(':')) {
        Some(place) if place.contains(':') => told.lines().any(|line| line.ends_with(&format!("{path}:{place}"))),
        Some(line) => told.contains(&format!("{path}:{line}:")),
        None => told.contains(text),
    }
}

#[tokio::test]
async fn every_error_of_a_file_is_told_at_once() {
    let sandbox = Sandbox::new().await;
    sandbox.write(
        "many.yaml",
        "name: f\njobs:\n  - name: a b\n    run: x\n    hosts: h[3-1]\n    parallelsim: 0\n    success: 101%\n",
    );
    let told = sandbox.rr(["check", "many.yaml"]).run().await.exits(65);
    for place in [":3:11:", ":4:10:", ":5:14:", ":6:5:", ":7:14:"] {
        assert!(tells(&told.stderr, "many.yaml", place), "{place} {told}");
    }
    let jobs: String = (0..50).map(|n| format!("  - name: j{n}\n    run: x\n")).collect();
    sandbox.write("more.yaml", format!("name: f\njobs:\n{jobs}"));
    let _told = sandbox.rr(["check", "more.yaml"]).run().await.exits(65).says(&["and 30 more"]);
}

#[tokio::test]
async fn several_files_are_checked_in_one_call() {
    let sandbox = Sandbox::new().await;
    sandbox.write("good.yaml", job("queue_: 1").replace("    queue_: 1\n", ""));
    sandbox.write("bad.yaml", "name: 5");
    let _good = sandbox.rr(["check", "good.yaml"]).run().await.exits(0);
    let _both = sandbox.rr(["check", "good.yaml", "bad.yaml"]).run().await.exits(65).says(&["bad.yaml:1:7"]);
    let _gone =
        sandbox.rr(["check", "good.yaml", "gone.yaml"]).run().await.exits(66).says(&["gone.yaml", "no such file"]);
    let _none = sandbox.rr(["check"]).run().await.exits(2);
}

#[tokio::test]
async fn what_is_no_file_of_a_sane_size_is_refused_without_reading_it() {
    let sandbox = Sandbox::new().await;
    let huge = std::fs::File::create(sandbox.path("huge.yaml")).unwrap();
    huge.set_len(104_857_600).unwrap();
    for (path, exit, says) in [
        ("gone.yaml", 66, ["cannot read 'gone.yaml'", "no such file"]),
        (".", 66, ["cannot read '.'", "is a directory"]),
        ("huge.yaml", 65, ["104857600 bytes", "limit 524288"]),
        ("/dev/zero", 65, ["more than 524288 bytes", "limit 524288"]),
    ] {
        for verb in ["check", "plan", "run"] {
            let call = sandbox.rr([verb, path]).within(Duration::from_secs(10));
            let _told = call.run().await.exits(exit).says(&says);
        }
    }
    let call = sandbox.rr(["check", "-"]).stdin_from("/dev/zero").within(Duration::from_secs(10));
    let _told = call.run().await.exits(65).says(&["limit 524288"]);
}

#[tokio::test]
async fn parameters_are_checked_before_anything_starts() {
    let sandbox = Sandbox::new().await;
    let flow = "name: f\nparams:\n  date: { type: string }\n  n: 2\n  loud: false\n  tone: { choices: [low, high], default: low }\n\
                jobs:\n  - name: a\n    run: [touch, started, \"{{ date }}\"]\n";
    sandbox.write("flow.yaml", flow);
    for (set, exit, says) in [
        (vec![], 65, "missing parameter \"date\""),
        (vec!["date=1", "dat=2"], 65, "did you mean \"date\"?"),
        (vec!["date=1", "date=2"], 65, "date"),
        (vec!["date=1", "n=two"], 65, "n"),
        (vec!["date=1", "n=9223372036854775808"], 65, "n"),
        (vec!["date=1", "loud=perhaps"], 65, "loud"),
        (vec!["date=1", "tone=hgih"], 65, "tone"),
        (vec!["date=--config=/etc/x"], 65, "-"),
        (vec!["date"], 2, "name=value"),
        (vec!["a b=1"], 2, "name"),
        (vec!["date=$(id)", "n=3"], 0, ""),
        (vec!["date=@/etc/passwd"], 0, ""),
    ] {
        let sets = set.iter().flat_map(|set| ["--set", set]);
        let _told = sandbox.rr(["plan", "flow.yaml"].into_iter().chain(sets)).run().await.exits(exit).says(&[says]);
    }
    let _told = sandbox.rr(["run", "flow.yaml"]).run().await.exits(65).says(&["missing parameter \"date\""]);
    assert!(!sandbox.path("started").exists());
}
