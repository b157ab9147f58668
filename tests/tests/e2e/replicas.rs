//! Two coordinators and three workers under a mixed load, each killed, paused and stopped at random: whatever happens to
//! whom, every run ends right.
//!
//! `RR_TEST_MINUTES` says for how long, `RR_TEST_SEED` repeats a sequence of faults.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rr_schemas::{
    decision::{Event, RunStatus},
    id::RunId,
    report::Outcome,
};
use rr_tests::{Dice, Running, TestMesh, Timing, eventually, verdict::Verdict};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

/// For how long there are faults, unless something else is asked for.
const SHORT: Duration = Duration::from_secs(20);
/// How long runs may take to their ends once the faults are over. A pause as long as presence makes a coordinator patient
/// for as long again, and offers are looked after every 20 s.
const END: Duration = Duration::from_mins(2);
/// Runs under way at once; more only wait for slots.
const RUNS_MAX: usize = 24;

/// What is run, and how it ends.
const FLOWS: [(&str, &str, &[RunStatus]); 7] = [
    ("single", r#"{ name: a, run: ["true"] }"#, &[RunStatus::Succeeded]),
    ("fan", r#"{ name: a, run: [sleep, "0.1"], hosts: "h[1-9]", parallelism: 4 }"#, &[RunStatus::Succeeded]),
    (
        "chain",
        r#"{ name: a, run: ["true"] }, { name: b, needs: [a], run: [sleep, "0.1"], hosts: "h[1-3]" }, { name: c, needs: [b], run: ["true"] }"#,
        &[RunStatus::Succeeded],
    ),
    (
        "retried",
        r#"{ name: a, shell: '[ "$RR_ATTEMPT" -ge 2 ]', hosts: "h[1-3]", retry: { attempts: 9, delay: 200ms } }"#,
        &[RunStatus::Succeeded],
    ),
    ("failing", r#"{ name: a, run: ["false"], hosts: "h[1-3]", retry: 2 }"#, &[RunStatus::Failed]),
    // Lost where its worker is killed, and never run twice.
    (
        "claimed",
        r#"{ name: a, run: [sleep, "0.5"], hosts: "h[1-3]", on_lost: fail }"#,
        &[RunStatus::Succeeded, RunStatus::Failed],
    ),
    ("cancelled", r#"{ name: a, run: [sleep, "600"], hosts: "h[1-3]" }"#, &[RunStatus::Cancelled]),
];

/// A process of the mesh, and how it is started.
#[derive(Clone, Copy, Debug)]
enum Role {
    Coordinator,
    Worker(&'static str, &'static str),
}

const ROLES: [Role; 5] = [
    Role::Coordinator,
    Role::Coordinator,
    Role::Worker("w1", "h[1-3]"),
    Role::Worker("w2", "h[4-6]"),
    Role::Worker("w3", "h[7-9]"),
];

fn start(mesh: &TestMesh, role: Role) -> Running {
    match role {
        Role::Coordinator => mesh.coordinator(),
        Role::Worker(name, hosts) => mesh.worker(name, &["--hosts", hosts, "--queues", "default"]),
    }
}

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// `kill -9`, and a new one after this time.
    Kill(Duration),
    /// It does nothing for this long and knows nothing of that.
    Pause(Duration),
    /// It is asked to stop, and started again at once.
    Stop,
}

impl Fault {
    fn draw(dice: &mut Dice) -> Self {
        match dice.one_of(&[0, 1, 2, 3, 4]) {
            0 | 1 => Self::Kill(dice.pause(0..2_000)),
            2 => Self::Pause(dice.pause(0..1_000)),
            // Longer than presence.
            3 => Self::Pause(dice.pause(3_000..6_000)),
            _ => Self::Stop,
        }
    }

    async fn strike(self, mesh: &TestMesh, role: Role, process: Running) -> Running {
        match self {
            Self::Kill(pause) => {
                let mut process = process;
                process.kill().await;
                sleep(pause).await;
                start(mesh, role)
            }
            Self::Pause(pause) => {
                process.pause();
                sleep(pause).await;
                process.go_on();
                process
            }
            Self::Stop => {
                process.terminate();
                let stopped = process.ended(END).await;
                // One that was asked before it began to listen ends at once.
                let is_good = stopped.status.success() || stopped.status.signal() == Some(Signal::TERM.as_raw());
                assert!(is_good, "{stopped}");
                start(mesh, role)
            }
        }
    }
}

/// Runs that are under way, each with how it must end.
struct Load<'m> {
    mesh: &'m TestMesh,
    under_way: Vec<(RunId, usize)>,
    published: usize,
}

impl Load<'_> {
    /// One more run, where there is room for it.
    async fn publish(&mut self, dice: &mut Dice) {
        if self.under_way.len() >= RUNS_MAX {
            return;
        }
        let kind = *dice.one_of(&[0, 1, 2, 3, 4, 5, 6]);
        let (name, ..) = FLOWS[kind];
        let id = format!("r{}-{name}", self.published);
        let file = format!("{name}.yaml");
        let _id = self.mesh.rr(["publish", &file, "--id", &id]).run().await.exits(0);
        self.published += 1;
        self.under_way.push((id.parse().unwrap(), kind));
        if name == "cancelled" {
            sleep(dice.pause(0..500)).await;
            let _told = self.mesh.rr(["cancel", &id]).run().await.exits(0);
        }
    }

    /// Judges runs that have ended.
    async fn judge_ended(&mut self) {
        let handle = self.mesh.mesh().await.unwrap();
        let mut left = Vec::new();
        for (run, kind) in std::mem::take(&mut self.under_way) {
            let status = handle.status(&run).await.unwrap().map(|entry| entry.view.status);
            match status {
                Some(status) if status.is_final() => {
                    let (_, _, ends) = FLOWS[kind];
                    let verdict = Verdict::of(&handle, &run, Timing::ShortPatient).await;
                    assert!(ends.contains(&status), "{run} {status:?}\n{:#?}", verdict.records().collect::<Vec<_>>());
                    fails_only_by_loss(&verdict, &run, status, ends);
                }
                Some(_) | None => left.push((run, kind)),
            }
        }
        self.under_way = left;
    }
}

/// A run that may succeed or fail has failed because somebody was lost.
fn fails_only_by_loss(verdict: &Verdict, run: &RunId, status: RunStatus, ends: &[RunStatus]) {
    let is_lost = |event: &Event| matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Lost);
    if status == RunStatus::Failed && ends.contains(&RunStatus::Succeeded) {
        assert!(verdict.events().any(is_lost), "{run}: {:#?}", verdict.events().collect::<Vec<_>>());
    }
}

fn duration() -> Duration {
    let minutes = std::env::var_os("RR_TEST_MINUTES").and_then(|minutes| minutes.to_str()?.parse::<f64>().ok());
    minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0))
}

#[tokio::test]
async fn replicas_may_be_killed_paused_and_stopped_and_every_run_ends_right() {
    let mut dice = Dice::new();
    let mesh = TestMesh::bare(Timing::ShortPatient).await;
    for (name, jobs, _) in FLOWS {
        mesh.write(&format!("{name}.yaml"), format!("name: {name}\njobs: [{jobs}]\n"));
    }
    let mut processes = Vec::new();
    for role in ROLES {
        processes.push(start(&mesh, role));
        mesh.is_made().await;
    }
    mesh.has_workers(3).await;
    let until = Instant::now() + duration();
    let mut load = Load { mesh: &mesh, under_way: Vec::new(), published: 0 };
    let mut faults = 0;
    while Instant::now() < until {
        let n = *dice.one_of(&[0, 1, 2, 3, 4]);
        let fault = Fault::draw(&mut dice);
        let process = processes.remove(n);
        let begun = Instant::now();
        let struck = async {
            let process = fault.strike(&mesh, ROLES[n], process).await;
            (process, begun.elapsed())
        };
        let mut own = dice.fork();
        let loaded = async {
            for _ in 0..3 {
                load.publish(&mut own).await;
                sleep(own.pause(0..300)).await;
            }
            load.judge_ended().await;
        };
        let ((process, _), ()) = tokio::join!(struck, loaded);
        processes.insert(n, process);
        faults += 1;
        for (role, process) in ROLES.iter().zip(&mut processes) {
            assert!(process.runs(), "{role:?} has ended: {}", process.stderr());
        }
    }
    eventually("end of every run", END, async || {
        load.judge_ended().await;
        if load.under_way.is_empty() { Ok(()) } else { Err(format!("{:?}", load.under_way)) }
    })
    .await;
    println!("{} runs ended right, {faults} faults", load.published);
    for (role, process) in ROLES.iter().zip(&mut processes) {
        assert!(process.runs(), "{role:?} has ended: {}", process.stderr());
    }
}
