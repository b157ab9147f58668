//! Names, ledgers, and what an earlier life has left.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rr_schemas::{
    offer::{Offer, Target},
    presence::JoinAnswer,
    report::Outcome,
};
use rr_worker::{Handlers, JoinError, StartError, Worker, config::Hosts};
use rustix::process::{Pid, test_kill_process};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Stage, WAIT_MAX, offer, sh, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_of_a_name_is_refused_and_told_since_when() {
    let stage = Stage::new().await;
    let mut first = stage.worker("lap1", 1, Handlers::new()).await;
    let mut elsewhere = stage.options("lap1", &["q"], 1);
    elsewhere.state_dir = stage.state_dir("elsewhere");
    for options in [elsewhere, stage.options("lap1", &["q"], 1)] {
        let error = stage.start(options, Handlers::new()).await.unwrap_err();
        assert!(matches!(error, StartError::Taken { .. }), "{error:?}");
        assert!(error.to_string().starts_with("\"lap1\" is already connected since 20"), "{error}");
    }
    first.drain();
    super::ended(&mut first).await;
    stage.worker("lap1", 1, Handlers::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_may_not_join_says_the_coordinators_reason() {
    let stage = Stage::new().await;
    let with_host = |name: &str| {
        let mut options = stage.options(name, &[], 1);
        options.serves.hosts = Hosts::Only("db7".parse().unwrap());
        options
    };
    let _first = stage.start(with_host("w1"), Handlers::new()).await.unwrap();
    let error = stage.start(with_host("w2"), Handlers::new()).await.unwrap_err();
    let StartError::Join(JoinError::Refused { reason }) = error else { panic!("{error:?}") };
    assert!(reason.contains("db7 is served by"), "{reason}");
    let present: Vec<String> =
        stage.mesh.workers().await.unwrap().into_iter().map(|worker| worker.worker.to_string()).collect();
    assert_eq!(present, ["w1"], "it does not stay in view");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_coordinator_and_is_in_view_meanwhile() {
    let mut stage = Stage::new().await;
    stage.stop_coordinator().await;
    let options = stage.options("w1", &["q"], 1);
    let mesh = stage.connect("w1").await;
    let mut starting = JoinSet::new();
    starting.spawn(Worker::start(mesh, options, Handlers::new()));
    until("it is in view", async || (stage.mesh.workers().await.unwrap().len() == 1).then_some(())).await;
    assert!(starting.try_join_next().is_none(), "it cannot have joined");
    stage.start_coordinator();
    let _worker = starting.join_next().await.unwrap().unwrap().unwrap();
    stage.offer(&offer(0, sh("true"))).await;
    assert_eq!(stage.end().await.outcome, Outcome::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_consumer_is_gone_joins_again() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", 4, Handlers::new()).await;
    let on_host = |task| Offer { target: Target::Host("h1".parse().unwrap()), ..offer(task, sh("true")) };
    stage.offer(&on_host(0)).await;
    stage.all_ends(1).await;
    stage.mesh.forget_worker(&"w1".parse().unwrap()).await.unwrap();
    stage.offer(&on_host(1)).await;
    let ends = stage.all_ends(2).await;
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
}

/// Nobody is told of the end of a consumer that nobody was waiting at.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_consumer_went_unseen_joins_again() {
    let stage = Stage::new().await;
    let mut options = stage.options("w1", &[], 1);
    options.serves.hosts = Hosts::All;
    let _worker = stage.start(options, Handlers::new()).await.unwrap();
    let go = stage.dir.path().join("go");
    let on_host = |task, script: &str| Offer { target: Target::Host("h1".parse().unwrap()), ..offer(task, sh(script)) };
    stage.offer(&on_host(0, &format!("while test ! -e {}; do sleep 0.05; done", go.display()))).await;
    until("its slot is taken", async || (stage.reports().await.len() == 1).then_some(())).await;
    stage.mesh.forget_worker(&"w1".parse().unwrap()).await.unwrap();
    fs::write(&go, "").unwrap();
    stage.offer(&on_host(1, "true")).await;
    let ends = stage.all_ends(2).await;
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_may_not_join_again_ends_and_says_why() {
    let mut stage = Stage::new().await;
    let mut worker = stage.worker("w1", 1, Handlers::new()).await;
    stage.stop_coordinator().await;
    let mesh = stage.mesh.clone();
    stage.coordinator.spawn(async move {
        let mut joins = mesh.serve_joins().await.unwrap();
        while let Some(request) = joins.next().await {
            request.reply.answer(&JoinAnswer::Refused { reason: "served by w2".to_owned() }).await;
        }
    });
    stage.mesh.forget_worker(&"w1".parse().unwrap()).await.unwrap();
    let error = timeout(WAIT_MAX, worker.join()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "join the mesh: served by w2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_left_is_ended_and_reported_as_lost() {
    let stage = Stage::new().await;
    let pid_file = stage.dir.path().join("pid");
    let worker = stage.worker("w1", 2, Handlers::new()).await;
    let instance = worker.instance().clone();
    // The grandchild leaves the process group, so that nothing but its mark tells whose it is.
    let script =
        format!("setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' & wait", pid_file.display());
    stage.offer(&offer(0, sh(&script))).await;
    let pid = until("the grandchild runs", async || fs::read_to_string(&pid_file).ok()).await;
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    until("it is reported", async || (stage.reports().await.len() == 1).then_some(())).await;

    // A dead worker writes nothing more: its files stay as they are at this moment, but for a torn end.
    let left = snapshot(&stage.state_dir("w1"), stage.dir.path().join("left"));
    drop(worker);
    assert!(test_kill_process(pid).is_ok(), "the grandchild outlives its worker");
    let mut options = stage.options("w1", &["q"], 2);
    options.state_dir = left;
    options.serves.hosts = Hosts::All;
    let again = stage.start(options, Handlers::new()).await.unwrap();
    assert_ne!(again.instance(), &instance);
    until("the grandchild is gone", async || is_gone(pid).then_some(())).await;
    until("the end is reported", async || (!stage.ends().await.is_empty()).then_some(())).await;
    let reports = stage.reports().await;
    assert!(reports.iter().all(|(_, _, report)| report.instance == instance), "it speaks for the one that ran it");
    let ends = stage.ends().await;
    assert_eq!((ends.len(), ends[0].1.outcome), (1, Outcome::Lost));
    assert_eq!(ends[0].1.reason.as_deref(), Some("worker restarted"));
}

fn snapshot(from: &Path, to: PathBuf) -> PathBuf {
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).unwrap();
        if entry.file_name().to_string_lossy().starts_with("ledger-") {
            fs::OpenOptions::new().append(true).open(copy).unwrap().write_all(&[9, 0, 0, 0, 7]).unwrap();
        }
    }
    to
}

/// Gone, or ended and only not reaped.
fn is_gone(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}
