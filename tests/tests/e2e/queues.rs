//! Queues: weights, priorities, and workers that wait.

use std::time::Duration;

use rr_schemas::id::RunId;
use rr_tests::{Running, TestMesh, Timing, eventually, procfs};
use serde_json::json;
use tokio::time::sleep;

/// How long all of a backlog may take.
const LIMIT: Duration = Duration::from_mins(2);

/// A mesh without workers.
async fn mesh() -> (TestMesh, Running) {
    let mesh = TestMesh::bare(Timing::Default).await;
    let coordinator = mesh.coordinator();
    mesh.is_made().await;
    (mesh, coordinator)
}

/// Publishes jobs, each of which writes its name's first letter down, and waits until all of them are on offer.
async fn backlog(mesh: &TestMesh, name: &str, jobs: &[(String, &str, &str)]) -> RunId {
    let order = mesh.path("order");
    let jobs: Vec<_> = jobs
        .iter()
        .map(|(job, queue, priority)| {
            let letter = &job[..1];
            let script = format!("printf {letter} >> {}", order.display());
            json!({"name": job, "queue": queue, "priority": priority, "shell": script})
        })
        .collect();
    let count = jobs.len();
    mesh.write(&format!("{name}.json"), json!({"name": name, "jobs": jobs}).to_string());
    let file = format!("{name}.json");
    let _published = mesh.rr(["publish", file.as_str(), "--id", name]).run().await.exits(0);
    let run: RunId = name.parse().unwrap();
    eventually("offers", LIMIT, async || {
        let offers = mesh.mesh().await?.offers(&run).await.map_err(|error| error.to_string())?;
        if offers.len() == count { Ok(()) } else { Err(format!("{} of {count} are on offer", offers.len())) }
    })
    .await;
    run
}

fn worker(mesh: &TestMesh, queues: &str) -> Running {
    mesh.rr(["worker", "--name", "w1", "--capacity", "1", "--queues", queues]).start()
}

/// RB-16: of the first thirty of two backlogs twenty are of the queue that is named twice; afterwards the worker is idle.
#[tokio::test]
async fn rb_16_queues_share_a_worker_by_weight_and_an_idle_one_costs_nothing() {
    let (mesh, _coordinator) = mesh().await;
    let jobs = |queue: &'static str| -> Vec<(String, &str, &str)> {
        (0..200).map(|n| (format!("{queue}{n}"), queue, "normal")).collect()
    };
    let runs = [backlog(&mesh, "a", &jobs("a")).await, backlog(&mesh, "b", &jobs("b")).await];
    let _worker = worker(&mesh, "a:a:b");
    for run in &runs {
        mesh.ended(run, LIMIT).await;
    }
    let order = mesh.read("order");
    assert_eq!(order.len(), 400);
    assert_eq!(order[..30].matches('a').count(), 20, "{order}");

    let worker = mesh.processes().into_iter().find(|process| process.command.contains("--queues")).unwrap();
    let used = || procfs::processor_ticks(worker.pid).unwrap();
    sleep(Duration::from_secs(1)).await;
    let before = used();
    sleep(Duration::from_secs(10)).await;
    let ticks = used() - before;
    assert!(ticks <= 10, "an idle worker has used {ticks} hundredths of a second in ten seconds");
}

#[tokio::test]
async fn what_has_high_priority_goes_first_and_nothing_is_left_out() {
    let (mesh, _coordinator) = mesh().await;
    let jobs: Vec<(String, &str, &str)> = (0..30)
        .flat_map(|n| ["low", "normal", "high"].map(|priority| (format!("{}{n}", &priority[..1]), "q", priority)))
        .collect();
    let run = backlog(&mesh, "mixed", &jobs).await;
    let _worker = worker(&mesh, "q");
    mesh.ended(&run, LIMIT).await;
    let order = mesh.read("order");
    assert_eq!(order.len(), 90);
    assert!(order.starts_with("hhhhhhhh"), "{order}");
    let last_high = order.rfind('h').unwrap();
    for at in 0..=last_high - 10 {
        let ten = &order[at..at + 10];
        assert!(ten.contains('n') && ten.contains('l') && ten.matches('h').count() >= 7, "{order} at {at}");
    }
    let last_normal = order.rfind('n').unwrap();
    assert!(order[last_high..last_normal].matches('l').count() <= 4, "normal before low: {order}");
}
