//! Links that break: for a moment or for long, with a word or without one, in one direction or both, and slow ones. Nobody
//! is called lost who is only cut off from the one who would say so, and what ended meanwhile is reported.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::time::Duration;

use rr_schemas::{
    decision::{Event, RunStatus},
    id::RunId,
    presence::{Asked, Control},
    report::Outcome,
};
use rr_tests::{LINK_BROKE, Proxy, Running, TestMesh, Timing, Way, eventually, verdict::Verdict};
use tokio::time::sleep;

/// How long anything here may take.
const END: Duration = Duration::from_mins(2);

/// Each attempt notes that it starts, lasts until somebody says so, and notes that it ends.
const NOTED: &str = r#"
name: noted
slots:
  - - name: noted
      shell: 'echo "$RR_HOST" >> "$RR_PARAM_DIR/starts"; while [ ! -e "$RR_PARAM_DIR/enough" ]; do sleep 0.05; done; echo "$RR_HOST" >> "$RR_PARAM_DIR/ends"'
      hosts: "h[1-4]"
      on_lost: LOST
params: { dir: { type: string } }
"#;

async fn publish(mesh: &TestMesh, id: &str, on_lost: &str) -> RunId {
    mesh.write("noted.yaml", NOTED.replace("LOST", on_lost));
    let dir = format!("dir={}", mesh.path("").display());
    let _id = mesh.rr(["publish", "noted.yaml", "--id", id, "--set", &dir]).run().await.exits(0);
    id.parse().unwrap()
}

/// The lines of a file that attempts write.
fn noted(mesh: &TestMesh, name: &str) -> Vec<String> {
    mesh.read(name).lines().map(str::to_owned).collect()
}

async fn all_have(mesh: &TestMesh, name: &str) {
    eventually(&format!("all {name}"), END, async || {
        let found = noted(mesh, name);
        if found.len() >= 4 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// The run succeeds, by its history as well, each attempt has started once, and nobody was called lost.
async fn succeeds_without_a_loss(mesh: &TestMesh, run: &RunId, timing: Timing) {
    assert_eq!(mesh.ended(run, END).await.status, RunStatus::Succeeded);
    let starts = noted(mesh, "starts");
    assert_eq!((starts.len(), starts.iter().collect::<BTreeSet<_>>().len()), (4, 4), "{starts:?}");
    let handle = mesh.mesh().await.unwrap();
    let verdict = Verdict::of(&handle, run, timing).await;
    let lost = |event: &&Event| matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Lost);
    assert_eq!(verdict.events().filter(lost).count(), 0);
}

/// One worker for each host, each behind a network of its own.
async fn four_workers(mesh: &TestMesh) -> (Vec<Proxy>, Vec<Running>) {
    let (mut proxies, mut workers) = (Vec::new(), Vec::new());
    for n in 1..=4 {
        let proxy = Proxy::to(mesh.address().port()).await;
        workers.push(mesh.worker_via(&proxy, &format!("w{n}"), &["--hosts", &format!("h{n}")]));
        proxies.push(proxy);
    }
    mesh.has_workers(4).await;
    for worker in &mut workers {
        worker.has_written("worker ready", END).await;
    }
    (proxies, workers)
}

/// A mesh whose one worker, `far` on the queue, has a network of its own.
async fn far_worker() -> (TestMesh, Proxy, [Running; 2]) {
    let mesh = TestMesh::bare(Timing::Short).await;
    let coordinator = mesh.coordinator();
    mesh.is_made().await;
    let proxy = Proxy::to(mesh.address().port()).await;
    let mut worker = mesh.worker_via(&proxy, "far", &["--queues", "default"]);
    // It is present before it has joined.
    worker.has_written("worker ready", END).await;
    mesh.has_workers(1).await;
    (mesh, proxy, [worker, coordinator])
}

fn break_each(proxies: &[Proxy]) {
    proxies[0].cut();
    proxies[1].silence_both();
    proxies[2].silence(Way::ToServer);
    proxies[3].silence(Way::FromServer);
}

#[tokio::test]
async fn what_ends_while_the_link_is_broken_is_reported_when_it_is_back() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let (proxies, mut workers) = four_workers(&mesh).await;
    let run = publish(&mesh, "broken", "retry").await;
    all_have(&mesh, "starts").await;
    break_each(&proxies);
    // Other tests rely on these very words.
    workers[0].has_written(LINK_BROKE, END).await;
    mesh.write("enough", "");
    all_have(&mesh, "ends").await;
    for proxy in &proxies {
        proxy.heal();
    }
    succeeds_without_a_loss(&mesh, &run, Timing::Default).await;
}

#[tokio::test]
async fn a_worker_that_is_away_longer_than_its_presence_goes_on_with_what_it_holds() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let (proxies, mut workers) = four_workers(&mesh).await;
    let run = publish(&mesh, "away", "hold").await;
    all_have(&mesh, "starts").await;
    break_each(&proxies);
    mesh.has_workers(0).await;
    mesh.write("enough", "");
    all_have(&mesh, "ends").await;
    assert!(!mesh.mesh().await.unwrap().status(&run).await.unwrap().unwrap().view.status.is_final());
    for proxy in &proxies {
        proxy.heal();
    }
    assert_eq!(mesh.ended(&run, END).await.status, RunStatus::Succeeded);
    assert_eq!(noted(&mesh, "starts").len(), 4);
    let _verdict = Verdict::of(&mesh.mesh().await.unwrap(), &run, Timing::Short).await;
    mesh.has_workers(4).await;
    for worker in &mut workers {
        assert!(worker.runs(), "{}", worker.stderr());
    }
}

/// Each attempt notes its process, and lasts until somebody says so.
const IN_VAIN: &str = r#"
name: vain
jobs:
  - name: vain
    shell: 'echo $$ >> "$RR_PARAM_DIR/pids"; while [ ! -e "$RR_PARAM_DIR/enough" ]; do sleep 0.05; done'
params: { dir: { type: string } }
"#;

/// A worker behind a network runs an attempt of a queue; then it is cut off, and the attempt is given up.
async fn cut_off(mesh: &TestMesh, id: &str) -> (Proxy, Running, RunId, String) {
    let proxy = Proxy::to(mesh.address().port()).await;
    let worker = mesh.worker_via(&proxy, "far", &["--queues", "default"]);
    mesh.has_workers(1).await;
    mesh.write("vain.yaml", IN_VAIN);
    let dir = format!("dir={}", mesh.path("").display());
    let _id = mesh.rr(["publish", "vain.yaml", "--id", id, "--set", &dir]).run().await.exits(0);
    eventually("start", END, async || {
        let shown = mesh.rr(["show", id, "--json"]).run().await.stdout;
        if shown.contains("\"running\"") && noted(mesh, "pids").len() == 1 { Ok(()) } else { Err(shown) }
    })
    .await;
    proxy.cut();
    let process = noted(mesh, "pids").remove(0);
    (proxy, worker, id.parse().unwrap(), process)
}

/// Its worker is told again once it is back.
async fn is_ended(process: &str) {
    eventually("end of what runs in vain", Duration::from_secs(10), async || {
        if std::path::Path::new("/proc").join(process).exists() { Err("it runs") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn what_was_given_up_while_its_worker_was_cut_off_is_ended_when_it_is_back() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let (proxy, mut worker, run, process) = cut_off(&mesh, "elsewhere").await;
    let _other = mesh.worker("near", &["--queues", "default"]);
    eventually("start elsewhere", END, async || {
        let pids = noted(&mesh, "pids");
        if pids.len() == 2 { Ok(()) } else { Err(format!("{pids:?}")) }
    })
    .await;
    assert!(std::path::Path::new("/proc").join(&process).exists(), "a worker that is cut off goes on");
    proxy.heal();
    is_ended(&process).await;
    mesh.write("enough", "");
    assert_eq!(mesh.ended(&run, END).await.status, RunStatus::Succeeded);
    let _verdict = Verdict::of(&mesh.mesh().await.unwrap(), &run, Timing::Short).await;
    assert!(worker.runs(), "{}", worker.stderr());
}

#[tokio::test]
async fn what_was_cancelled_while_its_worker_was_cut_off_is_ended_when_it_is_back() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let (proxy, mut worker, run, process) = cut_off(&mesh, "cancelled").await;
    let _cancelled = mesh.rr(["cancel", "cancelled"]).run().await;
    assert_eq!(mesh.ended(&run, END).await.status, RunStatus::Cancelled);
    assert!(std::path::Path::new("/proc").join(&process).exists(), "a worker that is cut off goes on");
    proxy.heal();
    is_ended(&process).await;
    let _verdict = Verdict::of(&mesh.mesh().await.unwrap(), &run, Timing::Short).await;
    assert!(worker.runs(), "{}", worker.stderr());
}

/// Coordinators ask with every look, and whoever cannot answer yet answers once.
#[tokio::test]
async fn what_a_worker_is_asked_for_again_and_again_it_tells_once() {
    const ASKED: usize = 200;
    let (mesh, proxy, [worker, _coordinator]) = far_worker().await;
    mesh.write("long.yaml", "name: long\njobs: [{ name: a, shell: sleep 300 }]\n");
    let _id = mesh.rr(["publish", "long.yaml", "--id", "r1"]).run().await.exits(0);
    let handle = mesh.mesh().await.unwrap();
    let far = handle.workers().await.unwrap().remove(0);
    let asked = Asked {
        run: "r1".parse().unwrap(),
        task: 0,
        attempt: 7,
        offer: 1,
        instance: far.instance.clone(),
        token: String::new(),
    };
    proxy.silence(Way::ToServer);
    for _ in 0..ASKED {
        handle.control(&far.worker, &Control::Tell(asked.clone())).await.unwrap();
    }
    // What it is asked for behind its answer is answered again, by right.
    eventually("a worker that was asked", END, async || {
        let heard = worker.stderr().matches("a coordinator has not heard").count();
        if heard == ASKED { Ok(()) } else { Err(format!("{heard} times")) }
    })
    .await;
    proxy.heal();
    let told = async || {
        let export = mesh.rr(["export", "r1"]).run().await.stdout;
        let told =
            export.lines().filter(|line| line.contains("\"attempt\":7") && line.contains("\"subject\":\"rr.in."));
        told.map(said).collect::<Vec<_>>()
    };
    eventually("an answer", END, async || if told().await.is_empty() { Err("none") } else { Ok(()) }).await;
    // The way is in order: what was said after the answers comes after them.
    let _cancelled = mesh.rr(["cancel", "r1"]).run().await.exits(0);
    assert_eq!(mesh.ended(&"r1".parse().unwrap(), END).await.status, RunStatus::Cancelled);
    // A silence that lasts longer than a worker waits for an acknowledgement has it send the same words again.
    let told = told().await;
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 1, "{told:?}");
    assert!(told.len() < 5, "{told:?}");
}

/// What a line of an export says, whatever its place is in the stream.
fn said(line: &str) -> String {
    let line = serde_json::from_str::<serde_json::Value>(line).unwrap();
    assert!(line["json"].is_object(), "{line}");
    line["json"].to_string()
}

#[tokio::test]
async fn a_coordinator_that_is_cut_off_calls_nobody_lost() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let proxy = Proxy::to(mesh.address().port()).await;
    let mut coordinator = mesh.coordinator_via(&proxy);
    mesh.is_made().await;
    let (_good, _workers) = four_workers(&mesh).await;
    let run = publish(&mesh, "alone", "fail").await;
    all_have(&mesh, "starts").await;
    let breaks: [fn(&Proxy); 4] =
        [Proxy::cut, Proxy::silence_both, |proxy| proxy.silence(Way::ToServer), |proxy| proxy.silence(Way::FromServer)];
    for broken in breaks {
        broken(&proxy);
        // Longer than presence, leases and everything else that could run out meanwhile.
        sleep(Duration::from_secs(5)).await;
        proxy.heal();
        // It works again, and looks after the run.
        sleep(Duration::from_secs(4)).await;
        assert!(coordinator.runs(), "{}", coordinator.stderr());
    }
    mesh.write("enough", "");
    succeeds_without_a_loss(&mesh, &run, Timing::Short).await;
}

#[tokio::test]
async fn a_connection_that_the_network_forgot_is_made_anew_before_anybody_is_missed() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let proxy = Proxy::to(mesh.address().port()).await;
    let _coordinator = mesh.coordinator_via(&proxy);
    mesh.is_made().await;
    let (proxies, _workers) = four_workers(&mesh).await;
    for proxy in proxies.iter().chain([&proxy]) {
        proxy.forget();
    }
    let run = publish(&mesh, "forgotten", "fail").await;
    all_have(&mesh, "starts").await;
    mesh.write("enough", "");
    succeeds_without_a_loss(&mesh, &run, Timing::Default).await;
}

/// What still comes says nothing of whether anything goes out.
#[tokio::test]
async fn a_connection_that_only_takes_is_made_anew_though_something_comes_through_it() {
    let (mesh, proxy, _processes) = far_worker().await;
    let handle = mesh.mesh().await.unwrap();
    let far = handle.workers().await.unwrap().remove(0);
    let nothing = Control::Kill { run: "none".parse().unwrap(), task: 0, attempt: 1 };
    let before = proxy.connections();
    proxy.forget_one(Way::ToServer);
    eventually("another connection", Duration::from_secs(30), async || {
        handle.control(&far.worker, &nothing).await.unwrap();
        // Far less than what a narrow link brings that is held up by it.
        sleep(Duration::from_millis(50)).await;
        if proxy.connections() > before { Ok(()) } else { Err("none") }
    })
    .await;
    mesh.has_workers(1).await;
}

#[tokio::test]
async fn a_slow_network_is_only_slow() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let (near, far) = (Proxy::to(mesh.address().port()).await, Proxy::to(mesh.address().port()).await);
    for proxy in [&near, &far] {
        proxy.delay(Duration::from_millis(300));
    }
    let _coordinators = [mesh.coordinator_via(&near), mesh.coordinator()];
    mesh.is_made().await;
    let _worker = mesh.worker_via(&far, "w1", &["--hosts", "h[1-4]", "--queues", "default"]);
    mesh.has_workers(1).await;
    let run = publish(&mesh, "slow", "fail").await;
    all_have(&mesh, "starts").await;
    mesh.write("enough", "");
    succeeds_without_a_loss(&mesh, &run, Timing::Default).await;
}

/// What is on its way through a narrow link holds up the answers to pings as well: that is no reason to begin anew.
#[tokio::test]
async fn a_narrow_link_is_not_taken_for_a_broken_one() {
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Default).await;
    let much = "name: much\njobs: [{ name: a, shell: 'head -c 800000 /dev/zero | tr \"\\000\" x', hosts: h1 }]";
    mesh.write("much.yaml", much);
    let _id = mesh.rr(["publish", "much.yaml", "--id", "much", "--wait"]).run().await.exits(0);
    let proxy = Proxy::to(mesh.address().port()).await;
    // A quarter of a minute for all of it.
    proxy.narrow(NonZero::new(48 * 1024).unwrap());
    let read = mesh.rr_via(&proxy, ["logs", "much"]).within(END).run().await.exits(0);
    assert!(read.stdout.len() >= 800_000, "{}", read.stdout.len());
    assert_eq!(proxy.connections(), 1);
}

/// Whatever makes the client itself fail: here a word that no server says.
#[tokio::test]
async fn a_process_whose_client_has_failed_ends_and_says_so() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let port = mesh.address().port();
    let (to_coordinator, to_worker) = (Proxy::to(port).await, Proxy::to(port).await);
    let coordinator = mesh.coordinator_via(&to_coordinator);
    mesh.is_made().await;
    let mut worker = mesh.worker_via(&to_worker, "w1", &["--hosts", "h1"]);
    worker.has_written("worker ready", END).await;
    mesh.has_coordinators(1).await;
    for (proxy, process) in [(to_coordinator, coordinator), (to_worker, worker)] {
        proxy.interject("-ERR\r\n");
        let _end = process.ended(END).await.exits(69).says(&["has ended for good", "start it again"]);
    }
}
