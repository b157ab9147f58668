//! What commands write, however much and whatever it is, neither hangs nor grows the worker.

use std::time::Duration;

use rr_schemas::{report::Outcome, view::RunView};
use rr_tests::{Sandbox, TestMesh, Timing, procfs};

const MIB: u64 = 1024 * 1024;

/// Memory that a worker may ever have: its own, what it keeps of eight attempts, and what waits for the link.
const RESIDENT_MAX: u64 = 250 * MIB;

async fn run(sandbox: &Sandbox, script: &str, more: &str, exit: i32) -> RunView {
    let flow = format!("name: f\njobs:\n  - name: a\n    shell: {script:?}\n    hosts: [h1]\n{more}");
    sandbox.write("flow.yaml", flow);
    let verb = if sandbox.dir().join("nats").exists() { ["publish", "--wait"] } else { ["run", "--logs"] };
    let call = sandbox.rr(verb.into_iter().chain(["flow.yaml", "--json"])).within(Duration::from_mins(2));
    let output = call.run().await.exits(exit);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error} {output}"))
}

#[tokio::test]
async fn a_gigabyte_is_taken_and_cut() {
    let (mesh, _coordinator, mut worker) = TestMesh::start(Timing::Default).await;
    let ran = run(&mesh, "head -c 1073741824 /dev/zero", "", 0).await;
    let line = run(&mesh, "head -c 67108864 /dev/zero | tr '\\0' x", "", 0).await;
    let peak = procfs::peak_resident(worker.pid()).unwrap();
    assert!(worker.runs() && peak < RESIDENT_MAX, "{} MiB", peak / MIB);
    let logs = mesh.rr(["logs", ran.run.as_str()]).run().await.exits(0);
    let said = format!("{}{}", logs.stdout, logs.stderr);
    assert!(said.contains("truncated: kept") && said.contains("of 1073741824"), "{}", said.len());
    // Head and tail of the one endless line are kept as they were.
    let raw = mesh.rr(["logs", line.run.as_str(), "--raw"]).run().await.exits(0);
    assert!(raw.stdout.len() as u64 <= 9 * MIB && raw.stdout.len() as u64 >= MIB, "{}", raw.stdout.len());
    assert!(raw.stdout.starts_with("xxx") && raw.stdout.trim_end().ends_with("xxx"));
}

#[tokio::test]
async fn what_is_no_text_is_shown_escaped_and_kept_as_it_is() {
    let sandbox = Sandbox::new().await;
    let ran = run(&sandbox, r"printf 'a\377b\033[31mred\000end\r\nlast'", "", 0).await;
    let logs = sandbox.rr(["logs", ran.run.as_str()]).run().await.exits(0);
    assert!(!logs.stdout.contains(['\u{1b}', '\0', '\r']) && logs.stdout.contains("red"), "{logs}");
    assert_eq!(logs.stdout.lines().count(), 2, "{logs}");
    let raw = std::fs::File::create(sandbox.path("raw")).unwrap();
    let _raw = sandbox.rr(["logs", ran.run.as_str(), "--raw"]).stdout(raw).run().await.exits(0);
    assert_eq!(std::fs::read(sandbox.path("raw")).unwrap(), b"a\xffb\x1b[31mred\0end\r\nlast");
}

#[tokio::test]
async fn a_child_that_ignores_term_is_killed() {
    let sandbox = Sandbox::new().await;
    let script = "trap '' TERM; echo began; while :; do sleep 0.1; done";
    let ran = run(&sandbox, script, "    timeout: 500ms\n    grace: 300ms\n", 1).await;
    let attempt = &ran.jobs[0].tasks[0].attempts[0];
    assert_eq!((attempt.outcome, attempt.signal), (Some(Outcome::Timeout), Some(9)), "{ran:?}");
    sandbox.is_quiet(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_grandchild_with_a_session_of_its_own_neither_hangs_nor_escapes() {
    let sandbox = Sandbox::new().await;
    // It keeps the pipe open after its parent has ended; a daemon that a command starts on purpose lives on.
    let ran = run(&sandbox, "setsid sleep 600 & echo done", "", 0).await;
    let took = ran.ended_at.unwrap().duration_since(ran.started_at.unwrap());
    assert!(took.as_secs() < 15, "{took:?}");
    let daemons = sandbox.processes();
    assert!(matches!(daemons.as_slice(), [one] if one.command == "sleep 600"), "{daemons:?}");
    // What is stopped is stopped whole.
    let _killed =
        run(&sandbox, "setsid setsid sleep 600 & sleep 601", "    timeout: 500ms\n    grace: 300ms\n", 1).await;
    assert_eq!(sandbox.processes(), daemons);
}

#[tokio::test]
async fn what_nobody_reads_any_more_stops_nothing() {
    let sandbox = Sandbox::new().await;
    let ran = run(&sandbox, "yes | head -n 20000", "", 0).await;
    for args in [vec!["logs", ran.run.as_str()], vec!["show", ran.run.as_str(), "--json"], vec!["ls"], vec!["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.rr(args).stdout(writer).run().await.exits(0);
        assert_eq!(output.stderr, "", "{output}");
    }
}
