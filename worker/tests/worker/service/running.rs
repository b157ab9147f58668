//! How attempts are carried out and what is said of them.

use std::collections::BTreeMap;
use std::time::Duration;

use rr_nats::{Follow, OutputFilter};
use rr_schemas::{
    offer::{Command, Offer, Target},
    presence::Control,
    report::{Outcome, What},
};
use rr_worker::{Handlers, config::Execution};
use tokio::time::sleep;

use super::{Stage, handler, offer, run, sh, until};

async fn output(stage: &Stage) -> String {
    let mut reader = stage.mesh.read_output(&run(), OutputFilter::default(), Follow::No);
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&chunk.bytes);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_carried_out_reported_and_then_acknowledged() {
    let stage = Stage::new().await;
    let worker = stage.worker("w1", 2, Handlers::new()).await;
    stage.offer(&offer(0, sh("echo out; echo err >&2; exit 3"))).await;
    let ended = stage.end().await;
    assert_eq!((ended.outcome, ended.exit_code, ended.signal), (Outcome::Failed, Some(3), None));
    assert_eq!((ended.output.stdout_bytes, ended.output.stderr_bytes, ended.output.chunks), (4, 4, 2));
    // Whoever sees the report can see the output.
    let mut lines: Vec<String> = output(&stage).await.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    let reports = stage.reports().await;
    let [(_, by, report)] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((by.as_str(), &report.instance), ("w1", worker.instance()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_has_its_outcome_and_its_reason() {
    let stage = Stage::new().await;
    let handlers = Handlers::new()
        .register("fine".parse().unwrap(), |_| async { Ok::<_, String>(()) })
        .register("wrong".parse().unwrap(), |_| async { Err("no luck") })
        .register("broken".parse().unwrap(), |_| async { panic!("at the disco") as Result<(), String> });
    let _worker = stage.worker("w1", 4, handlers).await;
    let argv = |words: &[&str]| Command::Argv(words.iter().map(|word| (*word).to_owned()).collect());
    let table = [
        (argv(&["true"]), Outcome::Ok, ""),
        (argv(&["no-such-program-at-all"]), Outcome::Failed, "no such program"),
        (sh("kill -9 $$"), Outcome::Failed, ""),
        (handler("fine"), Outcome::Ok, ""),
        (handler("wrong"), Outcome::Failed, "no luck"),
        (handler("broken"), Outcome::Failed, "handler panicked: at the disco"),
        (handler("absent"), Outcome::Refused, "no handler \"absent\""),
    ];
    for (task, (command, ..)) in table.iter().enumerate() {
        stage.offer(&offer(u32::try_from(task).unwrap(), command.clone())).await;
    }
    let ends: BTreeMap<u32, _> = stage.all_ends(table.len()).await.into_iter().collect();
    for (task, (command, outcome, reason)) in table.iter().enumerate() {
        let ended = &ends[&u32::try_from(task).unwrap()];
        assert_eq!(ended.outcome, *outcome, "{command:?}: {ended:?}");
        assert!(ended.reason.clone().unwrap_or_default().contains(reason), "{command:?}: {ended:?}");
    }
    assert_eq!(ends[&2].signal, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_leads_upwards_or_is_not_there_is_refused() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 4, Handlers::new()).await;
    let directories = ["../work", "/tmp/../etc", "/no/such/directory", "no-such-directory"];
    for (task, cwd) in (0..).zip(directories) {
        stage.offer(&Offer { cwd: Some(cwd.to_owned()), ..offer(task, sh("true")) }).await;
    }
    for (task, ended) in stage.all_ends(directories.len()).await {
        assert_eq!(ended.outcome, Outcome::Refused, "{task}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_attempts_that_live_longer_than_a_moment_say_that_they_started() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 4, Handlers::new()).await;
    stage.offer(&offer(0, sh("true"))).await;
    stage.offer(&offer(1, sh("sleep 1"))).await;
    stage.all_ends(2).await;
    let words: Vec<(u32, bool)> = stage
        .reports()
        .await
        .into_iter()
        .map(|(_, _, report)| (report.task, matches!(report.what, What::Ended(_))))
        .collect();
    assert_eq!(words, [(0, true), (1, false), (1, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_exactly_as_said_in_a_fresh_directory() {
    let stage = Stage::new().await;
    let mut options = stage.options("w1", &["q"], 1);
    let workdir = stage.dir.path().join("work");
    options.execution = Execution::Clean { workdir: workdir.clone() };
    options.environment =
        [("HOME", "/home/w"), ("SECRET", "x"), ("TZ", "UTC")].map(|(name, value)| (name.into(), value.into())).into();
    let worker = stage.start(options, Handlers::new()).await.unwrap();
    let mut given = offer(7, Command::Argv(vec!["/usr/bin/env".to_owned()]));
    given.env = [("MINE".parse().unwrap(), "1".to_owned())].into();
    given.inherit_env = vec!["TZ".parse().unwrap()];
    given.params = [("to-go".parse().unwrap(), "a b".to_owned())].into();
    given.attempt = 2;
    stage.offer(&given).await;
    assert_eq!(stage.end().await.outcome, Outcome::Ok);
    let text = output(&stage).await;
    let mut env: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(env.remove("RR_FENCE").unwrap().parse::<u64>().unwrap() > 0);
    let marker = format!("run1.7.2.{}", worker.instance());
    let expected = [
        ("HOME", "/home/w"),
        ("LANG", "C.UTF-8"),
        ("MINE", "1"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("RR_ATTEMPT", "2"),
        ("RR_ATTEMPT_ID", marker.as_str()),
        ("RR_FLOW", "flow1"),
        ("RR_IDEMPOTENCY_KEY", "run1/job1/q/7"),
        ("RR_JOB", "job1"),
        ("RR_PARAM_TO_GO", "a b"),
        ("RR_RUN", "run1"),
        ("RR_TASK", "7"),
        ("RR_WORKER_INSTANCE", worker.instance().as_str()),
        ("TZ", "UTC"),
    ];
    assert_eq!(env, expected.into());
    assert_eq!(std::fs::read_dir(workdir).unwrap().count(), 0, "the fresh directory is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_task_knows_its_host() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 1, Handlers::new()).await;
    let target = Target::Host("db1.example.org".parse().unwrap());
    stage.offer(&Offer { target, ..offer(0, sh("echo $RR_HOST $RR_IDEMPOTENCY_KEY")) }).await;
    stage.end().await;
    assert_eq!(output(&stage).await, "db1.example.org run1/job1/db1.example.org/0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_can_end_an_attempt() {
    let stage = Stage::new().await;
    let handlers = Handlers::new().register("wait".parse().unwrap(), |context| async move {
        context.cancelled().await;
        Ok::<_, String>(())
    });
    let worker = stage.worker("w1", 2, handlers).await;
    stage.offer(&offer(0, sh("sleep 1000"))).await;
    stage.offer(&offer(1, handler("wait"))).await;
    until("both started", async || (stage.reports().await.len() == 2).then_some(())).await;
    for task in 0..2 {
        let kill = Control::Kill { run: run(), task, attempt: 1 };
        stage.mesh.control(&"w1".parse().unwrap(), &kill).await.unwrap();
    }
    for (task, ended) in stage.all_ends(2).await {
        assert_eq!(ended.outcome, Outcome::Cancelled, "{task}");
    }
    assert!(stage.mesh.ping(&"w1".parse().unwrap()).await.unwrap());
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_takes_too_long_is_asked_to_end_and_then_dropped() {
    let stage = Stage::new().await;
    let handlers = Handlers::new().register("deaf".parse().unwrap(), |_| async {
        sleep(Duration::from_secs(1000)).await;
        Ok::<_, String>(())
    });
    let _worker = stage.worker("w1", 1, handlers).await;
    let limits = (Some("100ms".parse().unwrap()), Some("50ms".parse().unwrap()));
    stage.offer(&Offer { timeout: limits.0, grace: limits.1, ..offer(0, handler("deaf")) }).await;
    let ended = stage.end().await;
    assert_eq!(ended.outcome, Outcome::Timeout);
    assert_eq!(ended.reason.unwrap(), "did not end when asked to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_held_longer_than_the_server_waits_does_not_come_again() {
    let stage = Stage::with_ack_wait(Duration::from_secs(1)).await;
    let _worker = stage.worker("w1", 2, Handlers::new()).await;
    stage.offer(&offer(0, sh("sleep 3"))).await;
    let ends = stage.all_ends(1).await;
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].1.outcome, Outcome::Ok);
}
