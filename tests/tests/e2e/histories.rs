//! Stored histories: judged, exported, judged again, replayed; and broken, cut off or lost, and said to be.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rr_schemas::id::RunId;
use rr_tests::{Running, Sandbox, TestMesh, Timing, eventually, program};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// Two slots, a retry, a claimed job, output.
const FLOW: &str = "name: f\nslots:\n\
    \x20 - - { name: a, shell: 'echo out of $RR_HOST; test $RR_HOST$RR_ATTEMPT != h21', hosts: 'h[1-4]', parallelism: 2,\n\
    \x20       retry: { attempts: 2, delay: 50ms } }\n\
    \x20   - { name: b, run: [\"true\"], hosts: 'k[1-2]', on_lost: fail }\n\
    \x20 - - { name: c, run: [echo, done] }\n";

async fn mesh() -> (TestMesh, Running, Running) {
    let (mesh, coordinator, worker) = TestMesh::start(Timing::Short).await;
    mesh.write("f.yaml", FLOW);
    (mesh, coordinator, worker)
}

async fn run(mesh: &TestMesh, id: &str) -> RunId {
    let _done = mesh.rr(["publish", "f.yaml", "--id", id, "--wait"]).run().await.exits(0);
    let run: RunId = id.parse().unwrap();
    mesh.ended(&run, SOON).await;
    run
}

#[tokio::test]
async fn what_a_mesh_has_stored_is_judged_there_and_from_a_file() {
    let (mesh, _coordinator, _worker) = mesh().await;
    for id in ["r1", "r2", "r3"] {
        run(&mesh, id).await;
    }
    let _clean =
        mesh.rr(["verify"]).run().await.exits(0).says(&["runs over: 3, open: 0", "violations: 0, incomplete: 0"]);
    let since = mesh.rr(["verify", "--since", "1h", "--json"]).run().await.exits(0);
    let sum: Value = serde_json::from_str(since.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&sum["sum"]["runs_over"], &sum["sum"]["violations"]), (&3.into(), &0.into()), "{since}");
    let _one = mesh.rr(["verify", "r2"]).run().await.exits(0).says(&["runs over: 1"]);
    let _none = mesh.rr(["verify", "r9"]).run().await.exits(66);
    for (name, args) in [("one.jsonl", &["export", "r2", "--output"][..]), ("all.jsonl", &["export", "--all"])] {
        let exported = mesh.rr(args.iter().copied()).run().await.exits(0);
        mesh.write(name, &exported.stdout);
        let n = if name == "one.jsonl" { "runs over: 1" } else { "runs over: 3" };
        let _clean = mesh.rr(["verify", name]).run().await.exits(0).says(&[n, "violations: 0, incomplete: 0"]);
        let _piped = mesh.rr(["verify", "-"]).stdin(name, &exported.stdout).run().await.exits(0).says(&[n]);
    }
}

#[tokio::test]
async fn what_was_changed_or_cut_off_in_a_file_is_said() {
    let (mesh, _coordinator, _worker) = mesh().await;
    run(&mesh, "r1").await;
    let whole = mesh.rr(["export", "r1", "--output"]).run().await.exits(0).stdout;
    let lines: Vec<&str> = whole.lines().collect();
    let is_decision = |line: &&str| line.contains("\"subject\":\"rr.ev.");
    let third = lines.iter().copied().filter(is_decision).nth(2).unwrap();
    let without_third: Vec<&str> =
        lines.iter().copied().filter(|line| *line != third && !line.starts_with("{\"end\"")).collect();
    let is_of_log =
        |line: &&str| line.contains("RR_EVENTS") || line.contains("RR_OUTPUT") || line.starts_with("{\"end\"");
    let beside: Vec<&str> = lines.iter().copied().filter(|line| !is_of_log(line)).collect();
    let n_events = lines.iter().filter(|line| line.contains("RR_EVENTS")).count();
    let beginning: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| {
            let first = lines.iter().position(|line| line.contains("RR_EVENTS")).unwrap();
            !lines.iter().skip(first + n_events / 2).any(|late| late == line)
        })
        .collect();
    for (what, text, code, said) in [
        // The hash of what follows does not fit any more.
        ("a word", whole.replacen("\"outcome\":\"ok\"", "\"outcome\":\"failed\"", 1), 1, "violation I"),
        (
            "a decision",
            format!("{}\n{{\"end\":true,\"lines\":{}}}\n", without_third.join("\n"), without_third.len() - 1),
            1,
            "violation I1 run=r1 seq=",
        ),
        ("an end", format!("{}\n", beginning.join("\n")), 3, "its history is truncated: its state shows decision"),
        ("a last line", format!("{}\n", lines[..lines.len() - 1].join("\n")), 3, "its last line is missing"),
        ("half a line", whole[..whole.len() - 5].to_owned(), 3, "its last line is missing"),
        (
            "half a line of what is broken",
            whole[..whole.len() - 5].replacen("\"outcome\":\"ok\"", "\"outcome\":\"failed\"", 1),
            1,
            "violation I",
        ),
        (
            "all events",
            format!("{}\n{{\"end\":true,\"lines\":{}}}\n", beside.join("\n"), beside.len() - 1),
            3,
            "incomplete run=r1 because the log has nothing of it",
        ),
        (
            "the run",
            whole.replacen("\"run\":\"r1\"", "\"run\":\"r2\"", 1),
            65,
            "a message of run r1 in an export of run r2",
        ),
        (
            "that it is of one",
            whole.replacen(",\"run\":\"r1\"", "", 1),
            65,
            "output in an export that is of no one run",
        ),
        ("nonsense", whole.replacen("{\"stream\"", "{\"strea\"", 1), 65, "broken.jsonl:2: no message"),
        (
            "a version",
            whole.replacen("\"rr-export\":1", "\"rr-export\":2", 1),
            65,
            "broken.jsonl:1: version 2 is newer",
        ),
    ] {
        mesh.write("broken.jsonl", &text);
        let told = mesh.rr(["verify", "broken.jsonl"]).run().await.exits(code);
        assert!(told.stdout.contains(said) || told.stderr.contains(said), "{what}: {told}");
    }
}

/// A worker that is killed has no account of what was written; its next life has none either.
#[tokio::test]
async fn what_a_killed_worker_has_written_breaks_no_rule() {
    let (mesh, _coordinator, mut worker) = TestMesh::start(Timing::Short).await;
    mesh.write("k.yaml", "name: k\nslots:\n  - - { name: a, shell: 'echo hi; sleep 300', hosts: h1, on_lost: fail }\n");
    for (id, comes_back) in [("back", true), ("away", false)] {
        let _asked = mesh.rr(["publish", "k.yaml", "--id", id]).run().await.exits(0);
        eventually("its first output", SOON, async || {
            let logs = mesh.rr(["logs", id]).run().await;
            if logs.stdout.contains("hi") { Ok(()) } else { Err(logs.to_string()) }
        })
        .await;
        worker.kill().await;
        if comes_back {
            worker = mesh.worker("w1", &["--all-hosts", "--queues", "default"]);
        }
        mesh.ended(&id.parse().unwrap(), SOON).await;
        let _clean = mesh.rr(["verify", id]).run().await.exits(0).says(&["violations: 0, incomplete: 0"]);
        let exported = mesh.rr(["export", id, "--output"]).run().await.exits(0).stdout;
        assert!(exported.contains("RR_OUTPUT"), "{exported}");
        mesh.write("k.jsonl", exported);
        let _clean = mesh.rr(["verify", "k.jsonl"]).run().await.exits(0);
    }
}

/// Whoever reads the output may go away; the verdict does not.
#[tokio::test]
async fn a_verdict_that_nobody_reads_is_one() {
    let sandbox = Sandbox::new().await;
    let golden = fs::read_to_string(program::root().join("tests/golden/export-1.jsonl")).unwrap();
    let broken = golden.replacen("\"exit_code\":1", "\"exit_code\":0", 1);
    let cut: Vec<&str> = golden.lines().take(golden.lines().count() - 1).collect();
    for (text, code) in [(golden.clone(), 0), (broken, 1), (cut.join("\n"), 3)] {
        sandbox.write("x.jsonl", text);
        for args in [&["verify", "x.jsonl"][..], &["verify", "x.jsonl", "--json"]] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let _verdict = sandbox.rr(args.iter().copied()).stdout(writer).run().await.exits(code);
        }
    }
}

#[tokio::test]
async fn a_run_is_shown_as_it_stood_at_any_moment() {
    let (mesh, _coordinator, _worker) = mesh().await;
    run(&mesh, "r1").await;
    let shown = mesh.rr(["show", "r1", "--json"]).run().await.exits(0).stdout;
    let exported = mesh.rr(["export", "r1"]).run().await.exits(0).stdout;
    mesh.write("r1.jsonl", &exported);
    for what in ["r1", "r1.jsonl"] {
        let now = mesh.rr(["replay", what, "--json"]).run().await.exits(0).stdout;
        assert_eq!(now, shown, "{what}: what is shown in the end is what is shown now");
    }
    let watched = mesh.rr(["watch", "r1", "--json"]).run().await.exits(0).stdout;
    let events: Vec<Value> = watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = events[0]["seq"].to_string();
    for at in [first.as_str(), "2000-01-01T00:00:00Z"] {
        let begun = mesh.rr(["replay", "r1", "--at", at, "--json"]).run().await.exits(0);
        let status = if at == first { "running" } else { "queued" };
        assert_eq!(begun.json("status"), status, "{begun}");
    }
    let steps = mesh.rr(["replay", "r1.jsonl", "--step"]).run().await.exits(0).stdout;
    let n = events.last().unwrap()["n"].as_u64().unwrap();
    assert!(steps.contains(&format!("decision {n}  seq ")) && steps.contains("status   running"), "{steps}");
    let _bad = mesh.rr(["replay", "r1", "--at", "noon"]).run().await.exits(65);
    let _both = mesh.rr(["replay", "r1", "--run", "r1"]).run().await.exits(2).says(&["--run names a run in a file"]);
    mesh.write("cut.jsonl", &exported[..exported.len() - 5]);
    let _cut = mesh.rr(["replay", "cut.jsonl"]).run().await.exits(0).says(&["cut.jsonl was cut off"]);
    let is_decision = |line: &&str| line.contains("\"subject\":\"rr.ev.");
    let second = exported.lines().filter(is_decision).nth(1).unwrap();
    // Ends of attempts have such a key, too.
    let is_left = |line: &&str| *line != second && !line.starts_with("{\"end\"");
    mesh.write("hole.jsonl", exported.lines().filter(is_left).collect::<Vec<_>>().join("\n"));
    let _hole = mesh.rr(["replay", "hole.jsonl"]).run().await.exits(65).says(&["follows decision 1"]);
}

/// An export of the first version: it is read for ever, hashes and tokens included, and a word that is changed in it is found.
#[tokio::test]
async fn an_export_of_long_ago_is_still_judged() {
    let sandbox = Sandbox::new().await;
    let golden = fs::read_to_string(program::root().join("tests/golden/export-1.jsonl")).unwrap();
    sandbox.write("golden.jsonl", &golden);
    let judged = sandbox.rr(["verify", "golden.jsonl"]).run().await.exits(0);
    let _sum = judged.says(&["runs over: 1, open: 0", "violations: 0, incomplete: 0"]);
    let shown = sandbox.rr(["replay", "golden.jsonl", "--json"]).run().await.exits(0);
    assert_eq!((shown.json("status"), shown.json("jobs")[0]["ok"].clone()), ("failed".into(), 4.into()));
    for (word, other, rule) in [
        ("\"exit_code\":1", "\"exit_code\":0", "violation I"),
        ("\"success\":\"75%\"", "\"success\":\"76%\"", "violation I3 "),
        ("\"token\":\"", "\"token\":\"0", "violation I32 "),
    ] {
        assert!(golden.contains(word), "{word}");
        sandbox.write("broken.jsonl", golden.replacen(word, other, 1));
        let _told = sandbox.rr(["verify", "broken.jsonl"]).run().await.exits(1).says(&[rule]);
    }
}

/// The end of the log is gone, as after a power loss of a server that had not synced it; states of runs are as they were.
#[tokio::test]
async fn a_lost_suffix_is_detected_and_named() {
    let (mut mesh, coordinator, worker) = mesh().await;
    run(&mesh, "r1").await;
    let (store, saved) = (mesh.dir().join("nats"), mesh.dir().join("saved"));
    let log = find(&store, "RR_EVENTS").unwrap();
    mesh.server().kill().await.unwrap();
    copy(&log, &saved);
    mesh.server().restart().await.unwrap();
    eventually("the request to be taken", SOON, async || {
        let asked = mesh.rr(["publish", "f.yaml", "--id", "r2"]).run().await;
        if matches!(asked.status.code(), Some(0 | 73)) { Ok(()) } else { Err(asked.to_string()) }
    })
    .await;
    mesh.ended(&"r2".parse().unwrap(), SOON).await;
    let _clean = mesh.rr(["verify"]).run().await.exits(0);
    drop((coordinator, worker));
    mesh.server().kill().await.unwrap();
    fs::remove_dir_all(&log).unwrap();
    copy(&saved, &log);
    mesh.server().restart().await.unwrap();
    let told = eventually("the server again", SOON, async || {
        let told = mesh.rr(["verify"]).run().await;
        if told.status.code() == Some(69) { Err(told.to_string()) } else { Ok(told) }
    })
    .await
    .exits(3);
    let said =
        "incomplete run=r2 because its history is truncated: it began after the last message that the log still has";
    assert!(told.stdout.contains(said), "{told}");
    assert!(!told.stdout.contains("run=r1"), "{told}");
}

fn find(dir: &Path, name: &str) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() == name {
                return Some(path);
            }
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        }
    }
    None
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
