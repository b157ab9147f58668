//! Retries: a new run does what an earlier one has left.

use std::time::Duration;

use rr_nats::{ConnectOptions, connect, encode_decision, ensure, topology::Topology};
use rr_schemas::{
    decision::{Decision, Event, JobStatus, Record, RunStatus},
    flow::{Flow, params::ParamValues, select::FoundTargets},
    id::{EntityId, RunId},
    ranges::Ranges,
    report::Outcome,
    retry::Carried,
    view::RunView,
};
use rr_tests::{Output, Running, Sandbox, eventually, ports, program};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// Each host writes its name; those that have a file `bad-<host>` fail.
const ROLLOUT: &str = "name: rollout\nslots:\n  - jobs:\n      - name: push\n        hosts: 'h[1-4]'\n        \
                       shell: 'echo $RR_HOST >> pushed; [ ! -e bad-$RR_HOST ]'\n  - jobs:\n      - name: check\n        \
                       hosts: [h1]\n        shell: 'echo check >> pushed'\n";

fn view(output: &Output) -> RunView {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} {output}"))
}

#[tokio::test]
async fn what_failed_runs_again_and_what_succeeded_is_carried_over() {
    let sandbox = Sandbox::new().await;
    let mut up = sandbox.rr(["up", "--all-hosts"]).start();
    up.has_written("mesh at", SOON).await;
    sandbox.write("flow.yaml", ROLLOUT);
    sandbox.write("bad-h2", "");
    sandbox.write("bad-h4", "");
    let _failed = sandbox.rr(["publish", "flow.yaml", "--id", "first", "--wait"]).run().await.exits(1);
    let none = sandbox.rr(["retry", "first"]).run().await.exits(2);
    assert!(none.stderr.contains("--failed"), "{none}");
    let dry = sandbox.rr(["retry", "first", "--failed", "--dry-run"]).run().await.exits(0);
    let _dry = dry.says(&["2 ok", "2: h[2,4]", "1: h1", "nothing was started"]);
    let dry = sandbox.rr(["retry", "first", "--failed", "--dry-run", "--json"]).run().await.exits(0);
    assert_eq!((dry.json("jobs")[0]["again"].clone(), dry.json("jobs")[1]["again"].clone()), (2.into(), 1.into()));
    // Still broken: it fails again, and the retry can be retried.
    sandbox.write("pushed", "");
    std::fs::remove_file(sandbox.path("bad-h2")).unwrap();
    let _again = sandbox.rr(["retry", "first", "--failed", "--id", "second", "--wait"]).run().await.exits(1);
    assert_eq!(sorted(&sandbox.read("pushed")), ["h2", "h4"]);
    sandbox.write("pushed", "");
    std::fs::remove_file(sandbox.path("bad-h4")).unwrap();
    let done = sandbox.rr(["retry", "second", "--failed", "--id", "third", "--wait", "--json"]).run().await.exits(0);
    assert_eq!(sorted(&sandbox.read("pushed")), ["check", "h4"]);
    let done = view(&done);
    let carried: Vec<bool> = done.jobs[0].tasks.iter().map(|task| task.carried).collect();
    assert_eq!(carried, [true, true, true, false]);
    assert_eq!((done.jobs[0].ok, done.retry_of.as_ref().map(RunId::as_str)), (4, Some("second")));
    let _shown = sandbox.rr(["show", "third"]).run().await.exits(0).says(&["retry of second", "succeeded"]);
    let _story = sandbox.rr(["watch", "third"]).run().await.exits(0).says(&["a retry of second: 3 of 5 tasks"]);
    for (run, exit, says) in [("third", 65, "nothing of run third"), ("fourth", 66, "no run")] {
        let _refused = sandbox.rr(["retry", run, "--failed"]).run().await.exits(exit).says(&[says]);
    }
    let json = sandbox.rr(["show", "first", "--json"]).run().await.exits(0);
    let first: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(first.get("retry_of").is_none() && first["jobs"][0]["tasks"][0].get("carried").is_none(), "{first}");
}

#[tokio::test]
async fn a_run_that_goes_on_or_never_ran_is_not_retried() {
    let sandbox = Sandbox::new().await;
    let mut up = sandbox.rr(["up", "--all-hosts"]).start();
    up.has_written("mesh at", SOON).await;
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, shell: 'until [ -e go ]; do sleep 0.05; done', hosts: 'h[1-3]', parallelism: 1 }]\n");
    let mut wait = sandbox.rr(["publish", "flow.yaml", "--id", "slow", "--follow"]).start();
    wait.has_written("a: started", SOON).await;
    let _live = sandbox.rr(["retry", "slow", "--failed"]).run().await.exits(65).says(&["not over", "rr cancel slow"]);
    let _cancelled = sandbox.rr(["cancel", "slow"]).run().await.exits(0);
    let _ended = wait.ended(SOON).await.exits(4);
    sandbox.write("go", "");
    // What was cancelled did not succeed; what never started has its turn.
    let done = sandbox.rr(["retry", "slow", "--failed", "--follow"]).run().await.exits(0);
    let _done = done.says(&["succeeded", "3 ok of 3"]);
    let kept = "name: k\njobs: [{ name: a, run: ['false'] }]\n";
    sandbox.write("kept.yaml", kept);
    let _ran = sandbox.rr(["run", "kept.yaml", "--id", "private"]).run().await.exits(1);
    let _private = sandbox.rr(["retry", "private", "--failed"]).run().await.exits(65).says(&["was private"]);
}

/// A server that takes messages of so many bytes.
async fn server(sandbox: &Sandbox, port: u16, max_payload: &str) -> Running {
    let config = format!(
        "listen: \"127.0.0.1:{port}\"\nmax_payload: {max_payload}\njetstream {{ store_dir: \"{}\" }}\n",
        sandbox.dir().join("nats").display()
    );
    let config = sandbox.write("server.conf", config);
    let binary = program::nats_server().await;
    sandbox.call(&binary.path, ["--config".into(), config.into_os_string()]).start()
}

/// A run that is over: of its 2,000 tasks every second one has succeeded, the others have failed.
fn scattered() -> Decision {
    let flow: Flow =
        serde_json::from_str(r#"{"name":"f","jobs":[{"name":"j","run":["x"],"hosts":"h[1-2000]"}]}"#).unwrap();
    let every_second = |from: u32| -> Ranges { (0..1_000).map(|n| 2 * n + from).collect() };
    let tasks = [(Outcome::Ok, every_second(0)), (Outcome::Failed, every_second(1))].into();
    let carried = Carried { run: "before".parse().unwrap(), tasks, signals: [].into() };
    let submitted = Event::Submitted {
        flow: Box::new(flow),
        params: ParamValues::default(),
        by: "test".to_owned(),
        found: FoundTargets::new(),
        retry_of: Some(Box::new(carried)),
    };
    let ended = Event::JobEnded { job: "j".parse().unwrap(), status: JobStatus::Failed };
    let at = jiff::Timestamp::now();
    let events = [submitted, ended, Event::RunEnded { status: RunStatus::Failed }];
    Decision {
        n: 1,
        by: "test".parse().unwrap(),
        upto: 1,
        prev: String::new(),
        secret: String::new(),
        events: events.map(|event| Record { cause: 1, at, event }).into(),
    }
}

/// Whoever retries is told at once, and not by a run that is rejected.
#[tokio::test]
async fn what_is_too_scattered_for_one_message_is_refused_before_anything_is_sent() {
    let sandbox = Sandbox::new().await;
    let port = ports::free();
    let url = format!("nats://127.0.0.1:{port}");
    let mut first = server(&sandbox, port, "1MB").await;
    let options = ConnectOptions { server: url.clone(), ..ConnectOptions::default() };
    let link = eventually("server", SOON, async || connect(&options).await.map_err(|error| error.to_string())).await;
    let mesh = ensure(&link, &Topology::default()).await.unwrap();
    let run: RunId = "scattered".parse().unwrap();
    let entity = EntityId::from(&run);
    let encoded = encode_decision(&entity, &scattered()).unwrap();
    mesh.append(&entity, &encoded, 0).await.unwrap();
    let retry = |more: &'static [&'static str]| {
        let args = ["retry", "scattered", "--failed", "--id", "again", "--server", &url];
        sandbox.rr(args.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let _fits = retry(&["--dry-run"]).run().await.exits(0).says(&["1000 ok"]);
    first.kill().await;
    let _second = server(&sandbox, port, "4KB").await;
    eventually("mesh", SOON, async || mesh.has_run(&run).await.map_err(|error| error.to_string())).await;
    for more in [&["--dry-run"][..], &[]] {
        let refused = retry(more).run().await.exits(65);
        let _refused =
            refused.says(&["run scattered is too large", "1000 ranges", "4096", "max_payload", "nothing was started"]);
    }
    assert!(!mesh.has_run(&"again".parse().unwrap()).await.unwrap());
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}
