//! What the original Roadrunner did, or promised and did not do: one test for each row of `docs/compatibility.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use rr_schemas::{
    decision::{JobStatus, RunStatus},
    report::Outcome,
    view::{JobView, RunView, TaskStatus},
};
use rr_tests::{Output, Sandbox, TestMesh, Timing, program};
use serde_json::{Value, json};

/// A file of the original with one slot after the other, each a list of jobs.
fn file(slots: &[Value]) -> String {
    let slots = (1..).zip(slots).map(|(n, jobs)| json!({"slot_id": format!("s{n}"), "jobs": jobs}));
    json!({"default_job_timeout": "15", "default_retries": "1", "job_flow": slots.collect::<Vec<_>>()}).to_string()
}

/// One job on `n` hosts, with more keys.
fn job(id: &str, cmd: &str, n: u32, more: &Value) -> Value {
    let hosts: Vec<String> = (1..=n).map(|n| format!("h{n}")).collect();
    let mut job = json!({"job_id": id, "cmd": cmd, "hosts": hosts});
    for (key, value) in more.as_object().into_iter().flatten() {
        job[key] = value.clone();
    }
    job
}

async fn run(sandbox: &Sandbox, flow: &str) -> Output {
    sandbox.write("flow.json", flow);
    sandbox.rr(["run", "flow.json", "--json"]).run().await
}

fn view(output: &Output) -> RunView {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} {output}"))
}

fn statuses(job: &JobView, status: TaskStatus) -> usize {
    job.tasks.iter().filter(|task| task.status == status).count()
}

#[tokio::test]
async fn rr_01_a_file_is_run_and_the_exit_code_says_how_it_went() {
    let sandbox = Sandbox::new().await;
    let sample = std::fs::read_to_string(program::root().join("examples/roadrunner.json")).unwrap();
    let ran = view(&run(&sandbox, &sample).await.exits(0));
    assert_eq!((ran.status, ran.jobs.len()), (RunStatus::Succeeded, 3));
    let _failed = run(&sandbox, &sample.replace("echo restarted", "false")).await.exits(1);
    let _unreadable = sandbox.rr(["run", "gone.json"]).run().await.exits(66);
    let _invalid = run(&sandbox, "{").await.exits(65);
}

#[tokio::test]
async fn rr_02_defaults_are_numbers_or_strings_or_missing() {
    let sandbox = Sandbox::new().await;
    let jobs = json!([{"slot_id": 1, "jobs": [job("a", "true", 1, &json!({"timeout": 5, "retries": 2}))]}]);
    for defaults in [json!({"default_job_timeout": 15, "default_retries": 2}), json!({})] {
        let mut flow = json!({"job_flow": jobs});
        flow.as_object_mut().unwrap().extend(defaults.as_object().unwrap().clone());
        let _ran = run(&sandbox, &flow.to_string()).await.exits(0);
    }
    let _missing = run(&sandbox, r#"{"default_retries": "1"}"#).await.exits(65).says(&["job_flow", "flow.json:1:"]);
    let unknown = json!({"job_flow": jobs, "output_plugin": "mail"});
    let _warned = run(&sandbox, &unknown.to_string()).await.exits(0).says(&["warning", "output_plugin"]);
}

#[tokio::test]
async fn rr_03_the_whole_file_is_checked_before_anything_runs() {
    let sandbox = Sandbox::new().await;
    let flow = file(&[json!([job("a", "touch started", 1, &json!({}))]), json!([job("b", "true", 1, &json!({}))])]);
    let _told = run(&sandbox, &flow.replace("\"job_id\":\"b\"", "\"jobid\":\"b\"")).await.exits(65).says(&["job_id"]);
    assert!(!sandbox.path("started").exists());
}

#[tokio::test]
async fn rr_04_jobs_of_a_slot_run_in_parallel() {
    let sandbox = Sandbox::new().await;
    // Each waits for the other one.
    let wait = |mine: &str, other: &str| format!("touch {mine}; until [ -e {other} ]; do sleep 0.02; done");
    let jobs = json!([job("a", &wait("a", "b"), 1, &json!({})), job("b", &wait("b", "a"), 1, &json!({}))]);
    let _ran = run(&sandbox, &file(&[jobs])).await.exits(0);
}

#[tokio::test]
async fn rr_05_the_next_slot_starts_only_when_every_job_has_succeeded() {
    let sandbox = Sandbox::new().await;
    let first = json!([job("good", "true", 2, &json!({})), job("bad", "exit 3", 1, &json!({}))]);
    let second = json!([job("later", "touch started", 1, &json!({}))]);
    let ran = view(&run(&sandbox, &file(&[first, second])).await.exits(1));
    let found: Vec<JobStatus> = ran.jobs.iter().map(|job| job.status).collect();
    assert_eq!(found, [JobStatus::Succeeded, JobStatus::Failed, JobStatus::Skipped]);
    assert!(!sandbox.path("started").exists());
    let _why = sandbox.rr(["why", ran.run.as_str()]).run().await.exits(0).says(&["bad", "later"]);
}

#[tokio::test]
async fn rr_06_job_ids_are_unique() {
    let sandbox = Sandbox::new().await;
    let twice = json!([job("a", "touch started", 1, &json!({})), job("a", "true", 1, &json!({}))]);
    let _told = run(&sandbox, &file(&[twice])).await.exits(65).says(&["duplicate job name \"a\""]);
    for key in ["job_id", "cmd", "hosts"] {
        let mut without = job("a", "touch started", 1, &json!({}));
        without.as_object_mut().unwrap().remove(key);
        let _told = run(&sandbox, &file(&[json!([without])])).await.exits(65).says(&[key]);
    }
    assert!(!sandbox.path("started").exists());
}

#[tokio::test]
async fn rr_07_hosts_are_lists_and_ranges_and_duplicates_run_twice() {
    let sandbox = Sandbox::new().await;
    let expanded = sandbox.rr(["hosts", "expand", "db[01-03]"]).run().await.exits(0);
    assert_eq!(expanded.stdout, "db01\ndb02\ndb03\n");
    let jobs = json!([
        {"job_id": "twice", "cmd": "echo x >> runs", "hosts": ["localhost", "localhost"]},
        {"job_id": "ranges", "cmd": "true", "hosts": ["db[1-10]", "a[1-3,7]"]},
    ]);
    let ran = view(&run(&sandbox, &file(&[jobs])).await.exits(0));
    assert_eq!((ran.jobs[0].targets, ran.jobs[1].targets), (2, 14));
    assert_eq!(sandbox.read("runs"), "x\nx\n");
}

#[tokio::test]
async fn rr_08_a_percentage_of_success_is_rounded_up() {
    let sandbox = Sandbox::new().await;
    for (share, bad, code, needed) in [
        (json!("80%"), 2, 1, 8),
        (json!("80%"), 1, 0, 8),
        (json!("8"), 1, 0, 8),
        (json!(8), 2, 1, 8),
        (json!("0%"), 8, 0, 1),
        (json!("0%"), 9, 1, 1),
        (json!("120%"), 0, 0, 9),
    ] {
        let cmd = format!("[ ${{RR_HOST#h}} -gt {bad} ]");
        let flow = file(&[json!([job("a", &cmd, 9, &json!({"success_constraint": share}))])]);
        let ran = view(&run(&sandbox, &flow).await.exits(code));
        assert_eq!(ran.jobs[0].needed, needed, "{share}");
        // A job that can no longer succeed leaves out what has not started.
        assert!(code == 1 || ran.jobs[0].ok == 9 - bad, "{share} {bad}");
    }
    let told = sandbox.rr(["run", "flow.json"]).run().await.exits(0);
    assert!(told.stdout.contains("9 ok of 9, needed 9"), "{told}");
    let _bad =
        run(&sandbox, &file(&[json!([job("a", "true", 9, &json!({"success_constraint": "most"}))])])).await.exits(65);
}

/// How many ran at once at most, by what each wrote when it began and ended; and who ran.
fn concurrency(log: &str) -> (usize, BTreeMap<String, usize>) {
    let (mut now, mut most, mut who) = (0_usize, 0, BTreeMap::new());
    for line in log.lines() {
        let (what, host) = line.split_once(' ').unwrap();
        if what == "begin" {
            now += 1;
            most = most.max(now);
            *who.entry(host.to_owned()).or_default() += 1;
        } else {
            now -= 1;
        }
    }
    (most, who)
}

const LOGGED: &str = "echo begin $RR_HOST >> log; sleep 0.1; echo end $RR_HOST >> log";

#[tokio::test]
async fn rr_09_parallelism_is_never_exceeded() {
    for (n, parallelism, most) in [(4, json!("50%"), 2), (5, json!("50%"), 2), (4, json!(3), 3), (3, json!("1%"), 1)] {
        let sandbox = Sandbox::new().await;
        let flow = file(&[json!([job("a", LOGGED, n, &json!({"parallelism": parallelism}))])]);
        let _ran = run(&sandbox, &flow).await.exits(0);
        let (found, who) = concurrency(&sandbox.read("log"));
        assert!(found <= most && who.len() == n as usize, "{parallelism} of {n}: {found} at once, {who:?}");
    }
}

#[tokio::test]
async fn rr_10_every_target_runs_exactly_once() {
    for (n, parallelism) in [(10, json!(3)), (6, json!(2)), (41, json!("50%"))] {
        let sandbox = Sandbox::new().await;
        let cmd = "echo begin $RR_HOST >> log";
        let flow = file(&[json!([job("a", cmd, n, &json!({"parallelism": parallelism}))])]);
        let _ran = run(&sandbox, &flow).await.exits(0);
        let (_, who) = concurrency(&sandbox.read("log"));
        assert!(who.len() == n as usize && who.values().all(|runs| *runs == 1), "{parallelism} of {n}: {who:?}");
    }
}

#[tokio::test]
async fn rr_11_nothing_starts_in_vain() {
    let sandbox = Sandbox::new().await;
    let cmd = "echo begin $RR_HOST >> log; [ $RR_HOST != h1 ] || exit 1; until [ -e gone ]; do sleep 0.02; done";
    sandbox.write(
        "flow.yaml",
        format!(
            "name: f\njobs:\n  - name: a\n    shell: {cmd:?}\n    hosts: h[1-10]\n    parallelism: 2\n    timeout: 1s\n"
        ),
    );
    let ran = view(&sandbox.rr(["run", "flow.yaml", "--json"]).run().await.exits(1));
    let (_, who) = concurrency(&sandbox.read("log"));
    assert!(who.len() <= 2, "{who:?}");
    assert_eq!((statuses(&ran.jobs[0], TaskStatus::NotStarted), ran.jobs[0].not_started), (8, 8));
    // Without it all are tried.
    let all = "name: f\njobs:\n  - { name: a, shell: '[ $RR_HOST != h1 ]', hosts: 'h[1-10]', parallelism: 2, fail_fast: false }\n";
    sandbox.write("flow.yaml", all);
    let ran = view(&sandbox.rr(["run", "flow.yaml", "--json"]).run().await.exits(1));
    assert_eq!((ran.jobs[0].ok, ran.jobs[0].failed), (9, 1));
}

#[tokio::test]
async fn rr_12_a_timeout_kills_what_ran_too_long() {
    let sandbox = Sandbox::new().await;
    let flow = file(&[json!([job("a", "sleep 600 & sleep 601", 1, &json!({"timeout": "1"}))])]);
    let ran = view(&run(&sandbox, &flow).await.exits(1));
    let task = &ran.jobs[0].tasks[0];
    assert_eq!((task.status, task.attempts[0].outcome), (TaskStatus::Timeout, Some(Outcome::Timeout)));
    let took = ran.ended_at.unwrap().duration_since(ran.started_at.unwrap());
    assert!(took.as_secs() < 4, "{took:?}");
    sandbox.is_quiet(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn rr_13_retries_count_all_tries() {
    let sandbox = Sandbox::new().await;
    let cmd = "echo try $RR_ATTEMPT; echo x >> tries; [ $(wc -l < tries) -ge 3 ]";
    let ran = view(&run(&sandbox, &file(&[json!([job("a", cmd, 1, &json!({"retries": "3"}))])])).await.exits(0));
    let task = &ran.jobs[0].tasks[0];
    let outcomes: Vec<_> = task.attempts.iter().map(|attempt| (attempt.attempt, attempt.outcome.unwrap())).collect();
    assert_eq!(outcomes, [(1, Outcome::Failed), (2, Outcome::Failed), (3, Outcome::Ok)]);
    // Each attempt keeps its own output.
    let logs = sandbox.rr(["logs", ran.run.as_str(), "--attempt", "2"]).run().await.exits(0);
    assert!(logs.stdout.contains("try 2") && !logs.stdout.contains("try 1"), "{logs}");
    let none = file(&[json!([job("a", "true", 1, &json!({"retries": "0"}))])]);
    let _told = run(&sandbox, &none).await.exits(65).says(&["retries"]);
}

#[tokio::test]
async fn rr_14_exit_codes_and_signals_are_kept() {
    let sandbox = Sandbox::new().await;
    let jobs = json!([job("code", "exit 7", 1, &json!({})), job("signal", "kill -9 $$", 1, &json!({}))]);
    let ran = view(&run(&sandbox, &file(&[jobs])).await.exits(1));
    let shown = view(&sandbox.rr(["show", ran.run.as_str(), "--json"]).run().await.exits(0));
    assert_eq!(shown, ran);
    let [code, signal] = [0, 1].map(|job: usize| shown.jobs[job].tasks[0].attempts[0].clone());
    assert_eq!((code.exit_code, code.signal, signal.exit_code, signal.signal), (Some(7), None, None, Some(9)));
    assert!(code.started_at.unwrap() <= code.ended_at.unwrap() && code.worker.is_some());
    assert_eq!(shown.jobs[0].tasks[0].host.as_ref().map(ToString::to_string), Some("h1".to_owned()));
}

#[tokio::test]
async fn rr_15_output_is_seen_while_the_job_runs() {
    let sandbox = Sandbox::new().await;
    let mut up = sandbox.rr(["up", "--all-hosts"]).start();
    up.has_written("mesh at", Duration::from_secs(20)).await;
    let cmd = "echo first; echo other >&2; until [ -e go ]; do sleep 0.02; done; echo last";
    sandbox.write("flow.json", file(&[json!([job("a", cmd, 2, &json!({}))])]));
    let _id = sandbox.rr(["publish", "flow.json", "--id", "live"]).run().await.exits(0);
    let mut logs = sandbox.rr(["logs", "live", "-f", "--job", "a", "--host", "h2"]).start();
    // It cannot end before somebody has seen its first line.
    logs.has_written("a h2 | first", Duration::from_secs(10)).await;
    logs.has_written("other", Duration::from_secs(10)).await;
    sandbox.write("go", "");
    let logs = logs.ended(Duration::from_secs(20)).await.exits(0);
    assert!(logs.stdout.contains("a h2 | last") && !logs.stdout.contains("h1"), "{logs}");
}

#[tokio::test]
async fn rr_16_targets_that_nobody_serves_are_named_before_and_fail_after() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _worker = mesh.worker("w1", &["--hosts", "h1"]);
    mesh.has_workers(1).await;
    mesh.write("flow.json", file(&[json!([job("a", "true", 2, &json!({"success_constraint": "1"}))])]));
    let published = mesh.rr(["publish", "flow.json", "--wait", "--json"]).run().await.exits(0);
    let warned = published.stderr.lines().find(|line| line.contains("warning")).unwrap_or_default();
    assert!(warned.contains("h2") && !warned.contains("h1"), "{published}");
    let ran = view(&published);
    assert_eq!((ran.jobs[0].ok, ran.jobs[0].unreachable), (1, 1));
    assert_eq!(ran.jobs[0].tasks[1].status, TaskStatus::Unreachable);
    // No mesh at all is told at once.
    let nobody = Sandbox::new().await;
    nobody.write("flow.json", mesh.read("flow.json"));
    let _told = nobody.rr(["publish", "flow.json", "--server", "nats://127.0.0.1:9"]).run().await.exits(69);
}
