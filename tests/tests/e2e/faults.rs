//! `kill -9` of each part of a mesh at random moments: the runs go on after the restart and end right, as their stored
//! histories show.
//!
//! `RR_TEST_SEED` repeats a sequence of moments; a failing test prints its own.

use std::time::Duration;

use rr_schemas::{
    decision::{Event, RunStatus},
    id::RunId,
    report::Outcome,
};
use rr_tests::{Dice, Running, TestMesh, Timing, eventually, verdict::Verdict};
use tokio::time::sleep;

/// Kills in each test.
const KILLS: u32 = 20;

/// How long the runs may take to their ends once the last kill is over.
const END: Duration = Duration::from_mins(1);

/// Something of everything: a fan-out with a host that fails, a graph of slots, retries, waves, a claimed job, a queue.
const MIXED: &str = r#"
name: mixed
slots:
  - - { name: fan, shell: '[ "$RR_HOST" != h5 ] && sleep 0.1', hosts: "h[1-8]", success: 80%, parallelism: 4 }
    - { name: queue, run: [sleep, "0.2"] }
    - { name: claimed, run: [sleep, "0.1"], hosts: "c[1-3]", success: 1, fail_fast: false, on_lost: fail }
  - - { name: retried, shell: '[ "$RR_ATTEMPT" -ge 2 ]', hosts: "r[1-2]", retry: { attempts: 9, delay: 100ms } }
    - { name: waves, run: [sleep, "0.05"], hosts: "w[1-4]", parallelism: 2, waves: true }
  - - { name: last, run: [sleep, "0.5"] }
"#;

/// A part of the mesh that is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Victim {
    Coordinator,
    Worker,
    Server,
}

fn worker(mesh: &TestMesh) -> Running {
    mesh.worker("w1", &["--all-hosts", "--queues", "default"])
}

/// Kills the victim at [`KILLS`] random moments while runs go on, and judges every one of them.
async fn torture(victim: Victim) {
    let mut dice = Dice::new();
    let (mut mesh, mut coordinator, mut worker_process) = TestMesh::start(Timing::Short).await;
    mesh.write("mixed.yaml", MIXED);
    let mut runs: Vec<RunId> = Vec::new();
    for n in 0..KILLS {
        if n % 4 == 0 {
            let id = format!("r{n}");
            let _id = mesh.rr(["publish", "mixed.yaml", "--id", &id]).run().await.exits(0);
            runs.push(id.parse().unwrap());
        }
        sleep(dice.pause(0..600)).await;
        match victim {
            Victim::Coordinator => {
                coordinator.kill().await;
                sleep(dice.pause(0..200)).await;
                coordinator = mesh.coordinator();
            }
            Victim::Worker => {
                worker_process.kill().await;
                sleep(dice.pause(0..200)).await;
                worker_process = worker(&mesh);
            }
            Victim::Server => {
                mesh.server().kill().await.unwrap();
                sleep(dice.pause(0..200)).await;
                mesh.server().restart().await.unwrap();
            }
        }
    }
    for run in &runs {
        let _view = mesh.ended(run, END).await;
        let handle = eventually("connection", END, async || mesh.mesh().await).await;
        check(&Verdict::of(&handle, run, Timing::Short).await, run);
    }
    assert!(coordinator.runs() && worker_process.runs(), "{}{}", coordinator.stderr(), worker_process.stderr());
}

/// A run succeeds, unless its claimed job, which is not repeated, was lost on every host.
fn check(verdict: &Verdict, run: &RunId) {
    let end =
        verdict.events().find_map(|event| if let Event::RunEnded { status } = event { Some(*status) } else { None });
    let lost = |event: &&Event| matches!(event, Event::Ended { end, again: None, .. } if end.outcome == Outcome::Lost);
    let n_lost = verdict.events().filter(lost).count();
    assert!(
        end == Some(RunStatus::Succeeded) || n_lost == 3,
        "{run} ends {end:?}, {n_lost} lost\n{:#?}",
        verdict.events().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn killed_coordinators_neither_forget_nor_repeat() {
    torture(Victim::Coordinator).await;
}

#[tokio::test]
async fn killed_workers_neither_forget_nor_repeat() {
    torture(Victim::Worker).await;
}

#[tokio::test]
async fn killed_servers_neither_forget_nor_repeat() {
    torture(Victim::Server).await;
}

#[tokio::test]
async fn a_worker_that_dies_while_it_starts_can_be_started_again() {
    let mut dice = Dice::new();
    let (mesh, _coordinator, mut worker_process) = TestMesh::start(Timing::Default).await;
    for _ in 0..5 {
        worker_process.kill().await;
        worker_process = worker(&mesh);
        sleep(dice.pause(0..60)).await;
    }
    worker_process.kill().await;
    worker_process = worker(&mesh);
    worker_process.has_written("worker ready", END).await;
}
