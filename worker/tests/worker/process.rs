//! Rules of the process executor, with real processes.

mod ending;
mod guard;
mod output;
mod start;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rr_worker::process::{
    ATTEMPT_VARIABLE, CaptureLimits, Chunk, Cwd, Ended, Environment, Inherit, Launcher, Program, Session, Sink, Spec,
    Stream,
};
use rustix::process::Pid;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything, on a machine that is busy with other tests.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Keeps what it gets.
#[derive(Default)]
struct Kept(Vec<Chunk>);

impl Sink for Kept {
    async fn chunk(&mut self, chunk: Chunk) {
        self.0.push(chunk);
    }
}

impl Kept {
    fn of(&self, stream: Stream) -> Vec<u8> {
        let chunks = self.0.iter().filter(|chunk| chunk.stream == stream);
        chunks.flat_map(|chunk| chunk.bytes.to_vec()).collect()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.of(Stream::Stdout)).into_owned()
    }
}

fn launcher() -> Launcher {
    Launcher {
        environment: std::env::vars_os().collect(),
        instance: "test-worker".into(),
        guard: None,
        session: Session::Shared,
    }
}

/// A marker that no other process has.
fn marker() -> String {
    format!("test-{:016x}", fastrand::u64(..))
}

fn spec(program: Program) -> Spec {
    Spec {
        program,
        env: Environment { inherit: Inherit::Clean, set: BTreeMap::new() },
        cwd: Cwd::Given("/".into()),
        timeout: None,
        grace: Duration::from_secs(5),
        hurry: CancellationToken::new(),
        marker: marker(),
        capture: CaptureLimits::default(),
    }
}

fn argv(argv: &[&str]) -> Spec {
    spec(Program::Argv(argv.iter().map(ToString::to_string).collect()))
}

fn shell(script: &str) -> Spec {
    spec(Program::Shell { shell: vec!["/bin/sh".into(), "-c".into()], script: script.into() })
}

async fn run(spec: &Spec) -> (Ended, Kept) {
    let mut kept = Kept::default();
    let ended = launcher().run(spec, &CancellationToken::new(), &mut kept).await;
    (ended, kept)
}

/// Seconds that no other process sleeps; a process is told by them even without environment.
fn number() -> String {
    fastrand::u32(1_000_000_000..).to_string()
}

/// The processes whose command line holds a text.
fn told_by(text: &str) -> Vec<Pid> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(text))
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// The processes that bear a marker and have not ended.
fn marked(marker: &str) -> Vec<String> {
    let variable = format!("{ATTEMPT_VARIABLE}={marker}");
    let bears = |dir: &Path| {
        let environ = std::fs::read(dir.join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    let dirs = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    dirs.filter(|dir| bears(dir))
        .map(|dir| std::fs::read_to_string(dir.join("cmdline")).unwrap_or_default().replace('\0', " "))
        .filter(|line| !line.is_empty())
        .collect()
}

/// Waits until the condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WAIT_MAX, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends what a test has left behind on purpose.
async fn end_marked(marker: &str) {
    let script = format!(
        "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ | grep -qx '{ATTEMPT_VARIABLE}={marker}' && kill -9 ${{p#/proc/}}; done"
    );
    run(&shell(&format!("{{ {script}; }} 2>/dev/null"))).await;
    until("the daemon's end", || marked(marker).is_empty()).await;
}
