//! Targets that a flow does not name one by one, and targets that are away.

use std::collections::BTreeSet;
use std::time::Duration;

use rr_schemas::{decision::RunStatus, view::RunView};
use rr_tests::{TestMesh, Timing, process::Output, verdict::Verdict};

const SOON: Duration = Duration::from_mins(1);

const LABELLED: &str = "\
name: labelled
jobs:
  - { name: hosts, shell: 'echo $RR_HOST', select: { role: db } }
  - { name: workers, shell: 'echo $RR_WORKER', all: { role: db, zone: eu }, needs: [hosts] }
";

fn view(output: &Output) -> RunView {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} {output}"))
}

/// `select` is the hosts of those who match, `all` is those who match themselves; one that is away gets its task when it
/// is back, and nobody who matches later is asked.
#[tokio::test]
async fn labels_stand_for_who_matched_when_the_run_began() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let labels = ["--label", "role=db", "--label", "zone=eu"];
    let with = |rest: &[&'static str]| rest.iter().chain(&labels).copied().collect::<Vec<_>>();
    let _here = mesh.worker("here", &with(&["--hosts", "db[1-2]"]));
    let away = with(&["--queues", "default"]);
    let leaving = mesh.worker("away", &away);
    let _elsewhere = mesh.worker("elsewhere", &["--hosts", "db3", "--label", "role=db"]);
    let _other = mesh.worker("other", &["--hosts", "web1", "--label", "role=web"]);
    let handle = mesh.mesh().await.unwrap();
    rr_tests::eventually("everybody has joined", SOON, async || {
        let known = handle.known_workers().await.map_err(|error| error.to_string())?;
        if known.len() == 4 { Ok(()) } else { Err(format!("{known:?}")) }
    })
    .await;
    leaving.terminate();
    let _output = leaving.ended(SOON).await;
    mesh.has_workers(3).await;

    mesh.write("labelled.yaml", LABELLED);
    let waiting = mesh.rr(["publish", "labelled.yaml", "--id", "r1", "--wait", "--json"]).start();
    let run = "r1".parse().unwrap();
    rr_tests::eventually("the worker that is here is done", SOON, async || {
        let status = handle.status(&run).await.map_err(|error| error.to_string())?.ok_or("no status")?;
        let job = status.view.jobs.get(1).ok_or("no job")?;
        if job.ok == 1 { Ok(()) } else { Err(format!("{job:?}")) }
    })
    .await;
    let _late = mesh.worker("late", &with(&["--hosts", "db4"]));
    let _back = mesh.worker("away", &away);
    let view = view(&waiting.ended(SOON).await.exits(0));
    let hosts: BTreeSet<String> =
        view.jobs[0].tasks.iter().map(|task| task.host.as_ref().unwrap().to_string()).collect();
    assert_eq!(hosts, ["db1", "db2", "db3"].map(str::to_owned).into());
    let workers = view.jobs[1].tasks.iter().map(|task| {
        let attempts: Vec<_> = task.attempts.iter().filter_map(|attempt| attempt.worker.as_deref()).collect();
        (task.worker.as_ref().unwrap().to_string(), attempts)
    });
    let workers: Vec<_> = workers.collect();
    assert_eq!(workers, [("away".to_owned(), vec!["away"]), ("here".to_owned(), vec!["here"])]);
    let verdict = Verdict::of(&handle, &run, Timing::Short).await;
    assert!(verdict.events().count() > 0);
}

#[tokio::test]
async fn nobody_is_never_everybody() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _worker = mesh.worker("w1", &["--hosts", "web[1-2]", "--label", "role=web"]);
    mesh.has_workers(1).await;
    for (file, flow, said) in [
        ("select", "name: f\njobs: [{ name: a, run: [x], select: { role: db } }]\n", "no worker has role=db"),
        ("all", "name: f\njobs: [{ name: a, run: [x], all: { role: db } }]\n", "no worker has role=db"),
        (
            "preflight",
            "name: f\npreflight: true\njobs: [{ name: a, run: [x], hosts: 'web[1-4]' }]\n",
            "nobody serves web[3-4]",
        ),
    ] {
        mesh.write(file, flow);
        let refused = mesh.rr(["publish", file, "--wait"]).run().await.exits(65);
        let text = format!("{}{}", refused.stdout, refused.stderr);
        assert!(text.contains(said), "{refused}");
    }
    mesh.write("served", "name: f\npreflight: true\njobs: [{ name: a, run: ['true'], hosts: 'web[1-2]' }]\n");
    let _ran = mesh.rr(["publish", "served", "--wait"]).run().await.exits(0);
}

/// A host that nobody serves does not stop a change that may go without it; one that is waited for comes in time.
#[tokio::test]
async fn hosts_that_are_away_are_left_out_or_waited_for() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _worker = mesh.worker("w1", &["--hosts", "h[1-3]"]);
    mesh.has_workers(1).await;
    let flow = |rule: &str| {
        format!("name: f\njobs: [{{ name: a, run: ['true'], hosts: 'h[1-4]', on_unreachable: {rule:?} }}]\n")
    };
    mesh.write("skip", flow("skip"));
    let ran = mesh.rr(["publish", "skip", "--wait", "--json"]).run().await.exits(0);
    let job = &view(&ran).jobs[0];
    assert_eq!((job.ok, job.needed, job.unreachable, job.failed), (3, 3, 1, 0));
    mesh.write("wait", flow("wait 10m"));
    let waiting = mesh.rr(["publish", "wait", "--id", "r2", "--wait", "--json"]).start();
    let handle = mesh.mesh().await.unwrap();
    rr_tests::eventually("the others are done", SOON, async || {
        let status = handle.status(&"r2".parse().unwrap()).await.map_err(|error| error.to_string())?;
        let ok = status.and_then(|entry| entry.view.jobs.first().map(|job| job.ok));
        if ok == Some(3) { Ok(()) } else { Err(format!("{ok:?}")) }
    })
    .await;
    let _late = mesh.worker("w2", &["--hosts", "h4"]);
    let ended = waiting.ended(SOON).await.exits(0);
    assert_eq!(view(&ended).jobs[0].ok, 4);
    assert_eq!(view(&ended).status, RunStatus::Succeeded);
}
