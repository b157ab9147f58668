//! What a big mesh takes: many workers that join at once, their rest, and flows over all of their hosts.
//!
//! ```sh
//! cargo run --release -p rr-tests --bin crowd -- --workers 1000 --hosts 10000
//! ```
//!
//! The server, two coordinators and the workers are real processes with the defaults for users. Each worker is a whole
//! one, with a name, a connection and a ledger of its own, but many of them share a process: else most of the machine
//! would go into a thousand runtimes. What the workers do costs nothing, so what is measured is the mesh.
//! All of them, and the server, share the cores of one machine: no figure is better on more machines than one.
#![expect(clippy::expect_used, clippy::panic, reason = "a measurement fails by panicking")]

mod measure;
mod serve;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use rr_schemas::decision::RunStatus;
use rr_tests::{Running, TestMesh, Timing, single::Single};
use tokio::time::{Instant, sleep};

use self::measure::{Gauge, Reading};

/// How long the joining, and each flow, may take.
const LONG: Duration = Duration::from_mins(10);
/// What belongs to the start is over after this long: presence was renewed, pulls have come back.
const CALM: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    workers: u32,
    hosts: u32,
    /// Processes that the workers share.
    processes: u32,
    /// How long the mesh is watched while nothing is to be done.
    rest: Duration,
}

impl Size {
    fn given() -> Self {
        let mut size = Self { workers: 1_000, hosts: 10_000, processes: 4, rest: Duration::from_secs(30) };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().and_then(|value| value.parse().ok());
            let value = value.unwrap_or_else(|| panic!("a number is missing behind {name}"));
            match name.as_str() {
                "--workers" => size.workers = value,
                "--hosts" => size.hosts = value,
                "--processes" => size.processes = value,
                "--rest" => size.rest = Duration::from_secs(u64::from(value)),
                _ => panic!("{name} is none of --workers, --hosts, --processes, --rest"),
            }
        }
        assert!(size.workers > 0 && size.processes > 0, "there must be some workers");
        size
    }

    /// Hosts of each worker; the last one may have fewer.
    const fn hosts_each(self) -> u32 {
        self.hosts.div_ceil(self.workers)
    }
}

fn main() {
    // One thread for each process, as in a program that embeds workers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match serve::Part::given() {
        Some(part) => runtime.block_on(part.serve()),
        None => runtime.block_on(measured(Size::given())),
    }
}

async fn measured(size: Size) {
    let mesh = TestMesh::single(Timing::Default).await;
    let coordinators = [mesh.coordinator(), mesh.coordinator()];
    mesh.is_made().await;
    mesh.has_coordinators(coordinators.len()).await;

    let mut gauge = Gauge::new(&mesh, &coordinators);
    sleep(Duration::from_secs(5)).await;
    let before = gauge.read().await;
    let began = Instant::now();
    let mut crowd = Vec::new();
    for part in serve::Part::all(size, mesh.url(), mesh.dir()) {
        crowd.push(started(&mesh, &part));
    }
    gauge.watch(&crowd);
    for process in &mut crowd {
        process.has_written(serve::READY, LONG).await;
    }
    let took = began.elapsed();
    let joined = gauge.read().await;
    say(&format!(
        "{} workers in {} processes, {} hosts; nats-server, 2 coordinators",
        size.workers, size.processes, size.hosts
    ));
    for process in &crowd {
        say(process.stdout().trim());
    }
    say("");
    say(Reading::HEAD);
    say(&joined.since(&before, &format!("all {} join at once", size.workers), took));

    sleep(CALM).await;
    let (before, began) = (gauge.read().await, Instant::now());
    sleep(size.rest).await;
    say(&gauge.read().await.since(&before, "at rest", began.elapsed()));

    let hosts = format!("h[1-{}]", size.hosts);
    for (name, what, target) in [
        ("hosts", r#""handler":"noop""#, format!(r#""hosts":"{hosts}""#)),
        ("again", r#""handler":"noop""#, format!(r#""hosts":"{hosts}""#)),
        ("processes", r#""run":["true"]"#, format!(r#""hosts":"{hosts}""#)),
    ] {
        let flow = format!(r#"{{"name":"{name}","slots":[[{{"name":"a",{what},{target}}}]]}}"#);
        mesh.write(&format!("{name}.json"), flow);
        let (before, began) = (gauge.read().await, Instant::now());
        run(&mesh, name).await;
        let took = began.elapsed();
        let label = format!("a flow over {} hosts, {what}", size.hosts);
        say(&gauge.read().await.since(&before, &label.replace('"', ""), took));
    }
    for process in crowd.iter_mut().chain(&mut [mesh.coordinator()]) {
        assert!(process.runs(), "{}", process.stderr());
    }
}

/// A process with a part of the workers.
fn started(mesh: &TestMesh<Single>, part: &serve::Part) -> Running {
    let own = std::env::current_exe().expect("this program");
    mesh.call(Path::new(&own), part.args().into_iter().map(OsString::from)).start()
}

/// Publishes a flow and waits for its end.
async fn run(mesh: &TestMesh<Single>, name: &str) {
    let file = format!("{name}.json");
    let _id = mesh.rr(["publish", &file, "--id", name]).run().await.exits(0);
    let view = mesh.ended(&name.parse().expect("an id"), LONG).await;
    assert_eq!(view.status, RunStatus::Succeeded, "{name}: {view:?}");
}

fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
