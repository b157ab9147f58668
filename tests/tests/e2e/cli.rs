//! The command line from the points of view of two users: one keeps a mesh up, the other works with it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rr_schemas::{decision::RunStatus, view::RunView};
use rr_tests::{Output, Running, Sandbox, TestMesh, Timing, eventually, program};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// Waits for a file `go`, on two hosts.
const WAITING: &str = "name: waiting\njobs:\n  - { name: first, run: [echo, hello], hosts: 'h[1-2]' }\n  - name: second\n    needs: [first]\n    \
                       shell: 'echo at it; until [ -e go ]; do sleep 0.02; done'\n    hosts: h1\n";

async fn up(sandbox: &Sandbox) -> Running {
    let mut up = sandbox.rr(["up", "--all-hosts"]).start();
    up.has_written("mesh at", SOON).await;
    up
}

fn view(output: &Output) -> RunView {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} {output}"))
}

#[tokio::test]
async fn one_keeps_a_mesh_up_and_the_other_works_with_it() {
    let sandbox = Sandbox::new().await;
    let mut up = up(&sandbox).await;
    let _second = sandbox.rr(["up"]).run().await.exits(73).says(&["in use by process"]);
    sandbox.write("flow.yaml", WAITING);
    let mut watch = sandbox.rr(["watch"]).start();
    let mut events = sandbox.rr(["watch", "--json"]).start();
    let published = sandbox.rr(["publish", "flow.yaml", "--id", "nightly-1"]).run().await.exits(0);
    assert_eq!(published.stdout, "nightly-1\n");
    let _taken = sandbox.rr(["publish", "flow.yaml", "--id", "nightly-1"]).run().await.exits(73);
    let mut logs = sandbox.rr(["logs", "-f", "nightly-1"]).start();
    logs.has_written("second h1 | at it", SOON).await;
    let listed = eventually("the run in the list", SOON, async || {
        let listed = sandbox.rr(["ls", "--status", "running"]).run().await.exits(0);
        if listed.stdout.contains("nightly-1") { Ok(listed) } else { Err(listed) }
    });
    let _listed = listed.await.says(&["waiting", "running"]);
    let _shown = sandbox.rr(["show", "night"]).run().await.exits(0).says(&["nightly-1", "first", "second"]);
    let _why = sandbox.rr(["why", "nightly-1"]).run().await.exits(0).says(&["running", "second"]);
    sandbox.write("go", "");
    let _logs = logs.ended(SOON).await.exits(0).says(&["first h1 | hello", "first h2 | hello"]);
    let shown = eventually("the end", SOON, async || {
        let shown = view(&sandbox.rr(["show", "nightly-1", "--json"]).run().await.exits(0));
        if shown.status.is_final() { Ok(shown) } else { Err(shown.status.word()) }
    });
    assert_eq!(shown.await.status, RunStatus::Succeeded);
    watch.has_written("nightly-1", SOON).await;
    events.has_written("run_ended", SOON).await;
    for line in events.stdout().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["run"].is_string() && event["event"].is_object(), "{line}");
    }
    let _story = sandbox.rr(["watch", "nightly-1"]).run().await.exits(0).says(&["succeeded"]);
    up.ctrl_c();
    let _up = up.ended(SOON).await.exits(0);
    // Its history is kept when it is started again.
    up = self::up(&sandbox).await;
    let _again = sandbox.rr(["show", "nightly-1"]).run().await.exits(0).says(&["succeeded"]);
    assert!(up.runs());
}

#[tokio::test]
async fn a_run_is_cancelled_by_whoever_wants_it() {
    let sandbox = Sandbox::new().await;
    let _up = up(&sandbox).await;
    sandbox.write("flow.yaml", WAITING);
    let mut wait = sandbox.rr(["publish", "flow.yaml", "--id", "r1", "--follow"]).start();
    wait.has_written("second: started", SOON).await;
    let _cancelled = sandbox.rr(["cancel", "r1", "--reason", "wrong version"]).run().await.exits(0);
    let _ended = wait.ended(SOON).await.exits(4).says(&["cancelled"]);
    let why = sandbox.rr(["why", "r1"]).run().await.exits(0);
    let _why = why.says(&["run r1 cancelled", "tester@", " asked to stop it: wrong version"]);
    let _story = sandbox.rr(["watch", "r1"]).run().await.exits(4).says(&["wrong version", "tester"]);
    let _unknown = sandbox.rr(["cancel", "r2"]).run().await.exits(66);
}

#[tokio::test]
async fn ids_may_be_shortened_to_what_is_unique() {
    let sandbox = Sandbox::new().await;
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi] }]\n");
    for id in ["alpha-1", "alpha-2", "beta"] {
        let _ran = sandbox.rr(["run", "flow.yaml", "--id", id]).run().await.exits(0);
    }
    for verb in ["show", "why", "logs", "watch"] {
        let _one = sandbox.rr([verb, "b"]).run().await.exits(0);
        let _whole = sandbox.rr([verb, "alpha-1"]).run().await.exits(0);
        let _several =
            sandbox.rr([verb, "al"]).run().await.exits(65).says(&["ambiguous: 2 runs", "alpha-1", "alpha-2"]);
        let _none = sandbox.rr([verb, "c"]).run().await.exits(66).says(&["no run \"c\""]);
        let _empty = sandbox.rr([verb, ""]).run().await.exits(65).says(&["empty"]);
        let _no_id = sandbox.rr([verb, "a.b"]).run().await.exits(65).says(&["id may hold"]);
    }
    let _no_id = sandbox.rr(["run", "flow.yaml", "--id", "a b"]).run().await.exits(65).says(&["id may hold"]);
}

#[tokio::test]
async fn json_is_one_document_and_nothing_else() {
    let sandbox = Sandbox::new().await;
    let _up = up(&sandbox).await;
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi] }]\n");
    let waited = sandbox.rr(["publish", "flow.yaml", "--wait", "--json"]).run().await.exits(0);
    let ran = view(&waited);
    assert_eq!(view(&sandbox.rr(["show", ran.run.as_str(), "--json"]).run().await.exits(0)), ran);
    let fields: BTreeSet<String> = serde_json::from_str::<serde_json::Map<String, Value>>(&waited.stdout)
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(fields, ["run", "flow", "status", "started_at", "ended_at", "jobs"].map(str::to_owned).into());
    let task = &serde_json::from_str::<Value>(&waited.stdout).unwrap()["jobs"][0]["tasks"][0];
    assert!(task["host"].is_null() && task["queue"] == "default" && task["attempts"][0]["exit_code"] == 0, "{task}");
    let started = task["attempts"][0]["started_at"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.parse::<jiff::Timestamp>().is_ok(), "{started}");
    for args in [vec!["plan", "flow.yaml"], vec!["ls"], vec!["why", ran.run.as_str()], vec!["check", "flow.yaml"]] {
        let output = sandbox.rr(args.into_iter().chain(["--json"])).run().await.exits(0);
        for line in output.stdout.lines().filter(|_| output.stdout.lines().count() == 1) {
            let _value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} {output}"));
        }
        assert!(output.stdout.starts_with(['{', '[']), "{output}");
    }
}

#[tokio::test]
async fn commands_under_run_are_at_home_and_under_a_worker_are_not() {
    let script = "pwd; echo ${MINE-none}; echo $RR_RUN $RR_JOB $RR_HOST $RR_ATTEMPT; [ -n \"$RR_IDEMPOTENCY_KEY\" ]";
    let flow = format!("name: f\njobs:\n  - {{ name: a, shell: '{script}', hosts: [h1] }}\n");
    let sandbox = Sandbox::new().await;
    sandbox.write("flow.yaml", &flow);
    let _ran = sandbox.rr(["run", "flow.yaml", "--id", "r1"]).env("MINE", "yes").run().await.exits(0);
    let logs = sandbox.rr(["logs", "r1"]).run().await.exits(0).stdout;
    let here = fs::canonicalize(sandbox.path("")).unwrap();
    assert_eq!(logs, format!("a h1 | {}\na h1 | yes\na h1 | r1 a h1 1\n", here.display()));
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Default).await;
    mesh.write("flow.yaml", &flow);
    let _ran = mesh.rr(["publish", "flow.yaml", "--id", "r1", "--wait"]).env("MINE", "yes").run().await.exits(0);
    let logs = mesh.rr(["logs", "r1"]).run().await.exits(0).stdout;
    assert!(logs.contains("a h1 | none\n") && !logs.contains(&format!("| {}\n", here.display())), "{logs}");
}

#[tokio::test]
async fn one_name_is_one_worker() {
    let (mesh, _coordinator, mut worker) = TestMesh::start(Timing::Short).await;
    let other_state = mesh.dir().join("other").display().to_string();
    let args = ["worker", "--name", "w1", "--queues", "default", "--state-dir", &other_state];
    let _taken = mesh.rr(args).run().await.exits(73).says(&["\"w1\" is already connected"]);
    let locked = mesh.rr(["worker", "--name", "w1", "--queues", "default"]).run().await.exits(73);
    assert!(!locked.stderr.contains("panick"), "{locked}");
    let hosts = mesh.rr(["worker", "--name", "w2", "--hosts", "h1"]).run().await.exits(73);
    let _served = hosts.says(&["served by"]);
    assert!(worker.runs());
    // A worker that is told to stop lets its attempts end.
    mesh.write(
        "flow.yaml",
        "name: f\njobs: [{ name: a, shell: 'echo x > began; sleep 0.7', hosts: [h1], cwd: /tmp }]\n",
    );
    let mut wait = mesh.rr(["publish", "flow.yaml", "--follow"]).start();
    wait.has_written("a: started", SOON).await;
    worker.terminate();
    let _worker = worker.ended(SOON).await.exits(0);
    let _ended = wait.ended(SOON).await.exits(0);
}

#[tokio::test]
async fn what_is_wrong_with_a_mesh_is_told_apart_within_seconds() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let sandbox = Sandbox::new().await;
    let port = mesh.address().port();
    let creds = |name: &str, mode: u32, text: &str| {
        let path = sandbox.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    creds("open.creds", 0o644, "x");
    creds("wrong.creds", 0o600, "no credentials");
    for (server, creds, exit, says) in [
        ("http://127.0.0.1:4222".to_owned(), None, 78, "nats://"),
        ("nats://127.0.0.1:99999".to_owned(), None, 78, "address"),
        ("nats://".to_owned(), None, 78, "address"),
        ("nats://127.0.0.1:9".to_owned(), None, 69, "127.0.0.1:9"),
        ("nats://no-such-host.invalid:4222".to_owned(), None, 69, "no-such-host.invalid"),
        (format!("tls://127.0.0.1:{port}"), None, 69, "127.0.0.1"),
        (format!("nats://127.0.0.1:{port}"), None, 77, "login"),
        (format!("nats://rr:wrong@127.0.0.1:{port}"), None, 77, "login"),
        (format!("nats://127.0.0.1:{port}"), Some("gone.creds"), 78, "gone.creds"),
        (format!("nats://127.0.0.1:{port}"), Some("open.creds"), 78, "chmod 600"),
        (format!("nats://127.0.0.1:{port}"), Some("wrong.creds"), 78, "wrong.creds"),
    ] {
        let creds = creds.into_iter().flat_map(|path| ["--creds", path]);
        let call = sandbox.rr(["ls", "--server", &server].into_iter().chain(creds)).within(Duration::from_secs(10));
        let told = call.run().await.exits(exit).says(&["error: ", says]);
        assert!(!told.stderr.contains("wrong@"), "{told}");
    }
    let _not_made = mesh.rr(["ls"]).run().await.exits(78).says(&["coordinator"]);
    let _none = sandbox.rr(["publish", "/dev/null"]).run().await.exits(65);
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi] }]\n");
    let _no_mesh = sandbox.rr(["publish", "flow.yaml"]).run().await.exits(69).says(&["rr up"]);
}

#[tokio::test]
async fn every_exit_code_has_its_case() {
    let sandbox = Sandbox::new().await;
    sandbox.write("ok.yaml", "name: f\njobs: [{ name: a, run: [echo, hi] }]\n");
    sandbox.write("bad.yaml", "name: f\njobs: [{ name: a, run: ['false'] }]\n");
    sandbox.write("none.yaml", "name: f\njobs: [{ name: a, run: [/no/such/program], retry: 3 }]\n");
    sandbox.write("slow.yaml", "name: f\ntimeout: 300ms\njobs: [{ name: a, run: [sleep, 60] }]\n");
    for (args, exit) in [
        (vec!["run", "ok.yaml"], 0),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["run", "bad.yaml"], 1),
        (vec!["run", "none.yaml"], 1),
        (vec!["run", "slow.yaml"], 1),
        (vec![], 2),
        (vec!["run"], 2),
        (vec!["frobnicate"], 2),
        (vec!["ls", "--status", "asleep"], 2),
        (vec!["run", "ok.yaml", "--capacity", "0"], 2),
        (vec!["run", "/dev/null"], 65),
        (vec!["hosts", "expand", "a["], 65),
        (vec!["run", "gone.yaml"], 66),
        (vec!["show", "gone"], 66),
        (vec!["ls", "--config", "gone.yaml"], 66),
        (vec!["publish", "ok.yaml"], 69),
    ] {
        let output = sandbox.rr(args).run().await.exits(exit);
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
    let told = sandbox.rr(["run", "none.yaml"]).run().await.exits(1);
    let _told = told.says(&["no such program", "/no/such/program"]);
    sandbox.configure("partitons: 5\n");
    let _told = sandbox.rr(["ls"]).run().await.exits(78).says(&["partitons", "config.yaml"]);
    sandbox.configure("");
    let _told = sandbox.rr(["ls"]).env("RR_WORKER__CAPCITY", "5").run().await.exits(78).says(&["capcity"]);
}

#[tokio::test]
async fn a_run_is_listed_as_soon_as_it_is_published() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    mesh.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], queue: nobody }]\n");
    for run in ["r1", "r2", "r3"] {
        let _published = mesh.rr(["publish", "flow.yaml", "--id", run]).run().await.exits(0);
        let _listed = mesh.rr(["ls"]).run().await.exits(0).says(&[run]);
    }
    // Also while nobody is there who could write its state.
    coordinator.kill().await;
    let _published = mesh.rr(["publish", "flow.yaml", "--id", "r4"]).run().await.exits(0);
    let _queued = mesh.rr(["ls", "--status", "queued"]).run().await.exits(0).says(&["r4"]);
    let listed = mesh.rr(["ls", "--json"]).run().await.exits(0);
    let runs: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((runs.len(), runs[0]["run"].as_str(), runs[0]["flow"].as_str()), (4, Some("r4"), Some("f")), "{listed}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_behind_stdout_does_not_end_a_run() {
    let sandbox = Sandbox::new().await;
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, shell: 'echo hi; sleep 0.5; echo x > done' }]\n");
    sandbox.write("bad.yaml", "name: f\njobs: [{ name: a, run: ['false'] }]\n");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (n, (args, code)) in [
        (&["run", "flow.yaml"][..], 0),
        (&["run", "flow.yaml", "--json"][..], 0),
        (&["run", "flow.yaml", "--logs"][..], 0),
        (&["run", "bad.yaml"][..], 1),
    ]
    .into_iter()
    .enumerate()
    {
        let _unmarked = fs::remove_file(sandbox.path("done"));
        let id = format!("r{n}");
        let args = args.iter().copied().chain(["--id", id.as_str()]);
        let told = sandbox.rr(args).stdout(full()).run().await.exits(70);
        let told = told.says(&["cannot write to stdout", "this goes on", "output was lost"]);
        let told = told.says(&[&format!("would have been {code}"), if code == 0 { "succeeded" } else { "failed" }]);
        assert_eq!(told.stderr.matches("warning: cannot write").count(), 1, "{told}");
        assert_eq!(sandbox.path("done").exists(), code == 0, "{told}");
    }
    let _kept = sandbox.rr(["show", "r0"]).run().await.exits(0).says(&["succeeded"]);
    let _alone = sandbox.rr(["ls"]).stdout(full()).run().await.exits(70).says(&["cannot write to stdout"]);
}

/// Rows `| 65 | … |` of a table, or lines `  65  …` of the help.
fn codes(text: &str) -> BTreeSet<u8> {
    text.lines()
        .filter_map(|line| {
            line.trim().trim_start_matches('|').trim().split([' ', '|']).next()?.trim_matches('`').parse().ok()
        })
        .collect()
}

#[tokio::test]
async fn the_readme_has_the_table_of_exit_codes_that_the_code_has() {
    let sandbox = Sandbox::new().await;
    let help = sandbox.rr(["--help"]).run().await.exits(0).stdout;
    let in_help = codes(help.split_once("Exit codes:").unwrap().1);
    assert_eq!(in_help, [0, 1, 2, 3, 4, 5, 6, 7, 65, 66, 69, 70, 73, 77, 78, 130].into());
    let readme = fs::read_to_string(program::root().join("README.md")).unwrap();
    let rows: String = readme.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    assert_eq!(codes(&rows), in_help);
}

#[tokio::test]
async fn twenty_columns_and_no_terminal_are_enough() {
    let sandbox = Sandbox::new().await;
    let example = program::root().join("examples/failing.yaml");
    let plain = sandbox.rr(["run".as_ref(), example.as_os_str()]).run().await.exits(1);
    assert!(!plain.stdout.contains('\u{1b}') && !plain.stderr.contains('\u{1b}'), "{plain}");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 10, ws_col: 20, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = fs::OpenOptions::new().read(true).write(true).open(Path::new(name.to_str().unwrap())).unwrap();
    let call = sandbox.rr(["run".as_ref(), example.as_os_str()]).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let reader = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        // The read fails when the last one has closed the terminal.
        let _end = fs::File::from(master).read_to_end(&mut seen);
        String::from_utf8_lossy(&seen).into_owned()
    });
    let _ran = call.run().await.exits(1);
    let seen = reader.await.unwrap();
    assert!(seen.contains("failed") && !seen.contains("panicked"), "{seen}");
    let quiet = sandbox.rr(["ls"]).env("NO_COLOR", "1").run().await.exits(0);
    assert!(!quiet.stdout.contains('\u{1b}'), "{quiet}");
}
