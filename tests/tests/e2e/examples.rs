//! Each example ends as its own text says.

use std::fs;

use rr_schemas::{
    decision::{JobStatus, RunStatus},
    view::RunView,
};
use rr_tests::{Sandbox, program};

/// File, exit code, and tasks that end ok.
const EXAMPLES: [(&str, i32, u32); 7] = [
    ("canary.yaml", 0, 12),
    ("failing.yaml", 1, 5),
    ("graph.yaml", 0, 4),
    ("nightly.toml", 0, 6),
    ("params.yaml", 0, 5),
    ("roadrunner.json", 0, 11),
    ("rollout.yaml", 0, 116),
];

#[tokio::test]
async fn every_example_ends_as_it_says() {
    let dir = program::root().join("examples");
    let mut names: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, EXAMPLES.map(|(name, _, _)| name), "every example stands in the table");
    let sandbox = Sandbox::new().await;
    for (name, exit, ok) in EXAMPLES {
        let path = dir.join(name);
        let _checked = sandbox.rr(["check".as_ref(), path.as_os_str()]).run().await.exits(0);
        let _planned = sandbox.rr(["plan".as_ref(), path.as_os_str()]).run().await.exits(0);
        let ran = sandbox.rr(["run".as_ref(), path.as_os_str(), "--json".as_ref()]).run().await.exits(exit);
        let view: RunView = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(view.jobs.iter().map(|job| job.ok).sum::<u32>(), ok, "{ran}");
    }
}

#[tokio::test]
async fn the_rollout_is_the_one_that_roadrunner_tells_of() {
    let sandbox = Sandbox::new().await;
    let path = program::root().join("examples/rollout.yaml");
    let ran = sandbox.rr(["run".as_ref(), path.as_os_str(), "--set".as_ref(), "version=1.5".as_ref()]).run().await;
    let ran = ran.exits(0).says(&["116 of 116 tasks ok"]);
    let run = ran.stderr.split_whitespace().nth(1).unwrap().to_owned();
    let shown = sandbox.rr(["show", &run, "--json"]).run().await.exits(0);
    let view: RunView = serde_json::from_str(&shown.stdout).unwrap();
    let jobs: Vec<_> = view.jobs.iter().map(|job| (job.job.as_str(), job.slot, job.targets, job.needed)).collect();
    assert_eq!(jobs, [("pkg1", Some(1), 10, 8), ("pkg2", Some(1), 6, 6), ("restart", Some(2), 100, 100)]);
    // No task of the second slot began before the last one of the first had ended.
    let times = |slot: u32| view.jobs.iter().filter(move |job| job.slot == Some(slot)).flat_map(|job| &job.tasks);
    let last = times(1).map(|task| task.attempts[0].ended_at.unwrap()).max().unwrap();
    assert!(times(2).all(|task| task.attempts[0].started_at.unwrap() >= last));
    let logs = sandbox.rr(["logs", &run, "--job", "pkg1", "--host", "db7"]).run().await.exits(0);
    assert_eq!(logs.stdout, "pkg1 db7 | installing pkg1=1.5 on db7\n");
}

#[tokio::test]
async fn the_failing_example_says_why() {
    let sandbox = Sandbox::new().await;
    let path = program::root().join("examples/failing.yaml");
    let ran = sandbox.rr(["run".as_ref(), path.as_os_str()]).run().await.exits(1);
    let ran = ran.says(&["web4: exit 7", "web5: exit 7", "disk full", "everywhere"]);
    let run = ran.stderr.split_whitespace().nth(1).unwrap().to_owned();
    let why = sandbox.rr(["why", &run]).run().await.exits(0);
    let _why = why.says(&["canary", "needed 4", "everywhere"]);
    let shown = sandbox.rr(["show", &run, "--json"]).run().await.exits(0);
    let view: RunView = serde_json::from_str(&shown.stdout).unwrap();
    let found: Vec<_> = view.jobs.iter().map(|job| job.status).collect();
    assert_eq!(
        (view.status, found),
        (RunStatus::Failed, vec![JobStatus::Failed, JobStatus::Succeeded, JobStatus::Skipped])
    );
}
