//! What a worker and a coordinator take while nothing is to be done, on real processes with the defaults for users:
//!
//! ```sh
//! cargo run --release -p rr-tests --bin footprint          # or with a number of seconds behind --
//! ```
//!
//! Memory is what is resident after that time, processor time what was used during it.
#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

use std::io::Write as _;
use std::time::Duration;

use rr_tests::{Running, TestMesh, Timing, procfs};
use tokio::time::{Instant, sleep};

/// Seconds of rest, where nobody says how many.
const REST_SECS: u64 = 60;
/// What belongs to the start is over after this long.
const CALM: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let given = std::env::args_os().nth(1).and_then(|seconds| seconds.to_str()?.parse().ok());
    let rest = Duration::from_secs(given.unwrap_or(REST_SECS));
    let mesh = TestMesh::bare(Timing::Default).await;
    let coordinators = [mesh.coordinator(), mesh.coordinator()];
    mesh.is_made().await;
    let workers = [
        ("worker of one host and a queue", mesh.worker("w1", &["--hosts", "h1", "--queues", "default"])),
        ("worker of five queues", mesh.worker("w2", &["--queues", "a:b:c:d:e"])),
    ];
    mesh.has_workers(workers.len()).await;
    sleep(CALM).await;

    let mut rows: Vec<(String, u32)> = Vec::new();
    for (n, coordinator) in coordinators.iter().enumerate() {
        rows.push((format!("coordinator {} of {}", n + 1, coordinators.len()), coordinator.pid()));
    }
    rows.extend(workers.iter().map(|(what, worker)| ((*what).to_owned(), worker.pid())));
    rows.extend(guards(&mesh, &workers.each_ref().map(|(_, worker)| worker)));
    let server = mesh.address().pid().expect("a server");
    rows.push(("nats-server".to_owned(), server));

    drop(writeln!(std::io::stderr(), "at rest for {} s", rest.as_secs()));
    let (began, before) = (Instant::now(), rows.iter().map(|(_, pid)| ticks(*pid)).collect::<Vec<_>>());
    sleep(rest).await;
    let seconds = began.elapsed().as_secs_f64();
    say("| process | resident | of it anonymous | peak | of a core |");
    say("| --- | --- | --- | --- | --- |");
    for ((what, pid), before) in rows.iter().zip(before) {
        let memory =
            [procfs::resident, procfs::resident_anonymous, procfs::peak_resident].map(|of| mebibytes(of(*pid)));
        // A hundred ticks a second, so these are percents.
        let percent = f64::from(ticks(*pid) - before) / seconds;
        say(&format!("| {what} | {} | {percent:.2} % |", memory.join(" | ")));
    }
}

/// The process beside each worker that ends what the worker ran, should it be killed.
fn guards(mesh: &TestMesh, workers: &[&Running]) -> Vec<(String, u32)> {
    let all = mesh.processes().into_iter().filter(|found| found.command.contains("__guard"));
    all.take(workers.len()).map(|found| ("guard of a worker".to_owned(), found.pid)).collect()
}

fn ticks(pid: u32) -> u32 {
    procfs::processor_ticks(pid).and_then(|ticks| ticks.try_into().ok()).expect("a process that lives")
}

fn mebibytes(bytes: Option<u64>) -> String {
    let kibibytes = u32::try_from(bytes.expect("a process that lives") / 1024).expect("less than a tebibyte");
    format!("{:.1} MiB", f64::from(kibibytes) / 1024.0)
}

fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
