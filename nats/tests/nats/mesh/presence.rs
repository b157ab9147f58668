//! Buckets and core NATS: presence, states of runs, joining, hints.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use rr_nats::{Error, Mesh, PresenceError, PresenceWatch, PublishError, Put, StatusWriter};
use rr_schemas::{
    decision::RunStatus,
    flow::select::Labels,
    id::RunId,
    input::{Cancel, Input},
    presence::{Control, CoordinatorPresence, Hosts, Join, JoinAnswer, Serves, WorkerPresence},
    view::{RunView, StatusEntry},
};

use super::{append, entity, host, instance, name, queue, run, soon, until, worker, world};

const TTL: Duration = Duration::from_secs(2);

pub(super) fn presence(by: &str, process: &str) -> WorkerPresence {
    WorkerPresence {
        worker: worker(by),
        instance: instance(process),
        serves: Serves { hosts: Hosts::Only("db[1-3]".parse().unwrap()), queues: vec![name("q")] },
        capacity: 4,
        labels: Labels::default(),
        version: "1".to_owned(),
        since: Timestamp::UNIX_EPOCH,
        draining: false,
    }
}

#[tokio::test]
async fn a_name_is_held_by_one_process_until_it_goes_or_falls_silent() {
    let world = world().await;
    let mut first = world.mesh.present_worker(presence("w1", "i1"), TTL).await.unwrap();
    let taken = PresenceError::Taken { instance: instance("i1"), since: Timestamp::UNIX_EPOCH };
    assert_eq!(world.mesh.present_worker(presence("w1", "i2"), TTL).await.unwrap_err(), taken);
    for _ in 0..3 {
        first.renew().await.unwrap();
    }
    let draining = WorkerPresence { draining: true, ..presence("w1", "i1") };
    first.update(draining.clone()).await.unwrap();
    assert_eq!(world.mesh.workers().await.unwrap(), [draining]);
    // The same process may come back after it forgot what it wrote.
    let again = world.mesh.present_worker(presence("w1", "i1"), TTL).await.unwrap();
    first.renew().await.unwrap();
    drop(again);
    // It falls silent; the other one may come then, and the first one learns of it.
    let second = async {
        loop {
            match world.mesh.present_worker(presence("w1", "i2"), TTL).await {
                Ok(second) => return second,
                Err(error) => assert_eq!(error, taken),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let second = soon(second).await;
    assert!(matches!(first.renew().await, Err(PresenceError::Taken { .. })));
    second.withdraw().await.unwrap();
    assert_eq!(world.mesh.workers().await.unwrap(), []);
    world.mesh.present_worker(presence("w1", "i3"), TTL).await.unwrap();
}

#[tokio::test]
async fn a_watch_sees_who_comes_and_goes() {
    let world = world().await;
    let held = world.mesh.present_worker(presence("w1", "i1"), TTL).await.unwrap();
    let coordinator =
        CoordinatorPresence { instance: instance("c1"), version: "1".to_owned(), since: Timestamp::UNIX_EPOCH };
    let shown = world.mesh.present_coordinator(coordinator.clone(), Duration::from_mins(1)).await.unwrap();
    let watch = PresenceWatch::open(&world.mesh).await.unwrap();
    assert_eq!(watch.coordinators(), std::slice::from_ref(&coordinator));
    assert_eq!(world.mesh.coordinators().await.unwrap(), [coordinator]);
    assert!(watch.instance_present(&worker("w1"), &instance("i1")));
    assert!(!watch.instance_present(&worker("w1"), &instance("i2")));
    for (target, served) in [(host("db3"), true), (host("db4"), false), (queue("q"), true), (queue("p"), false)] {
        assert_eq!(watch.serves(&target), served, "{target:?}");
    }
    let all = WorkerPresence { serves: Serves { hosts: Hosts::All, queues: vec![] }, ..presence("w2", "i9") };
    let mut other = world.mesh.present_worker(all, TTL).await.unwrap();
    until("the second one is seen", || async { watch.serves(&host("anywhere")) }).await;
    // Renewed, it stays longer than its time to live; the first one runs out meanwhile.
    drop(held);
    until("the first one has run out", || async { watch.worker(&worker("w1")).is_none() }).await;
    other.renew().await.ok();
    shown.withdraw().await.unwrap();
    until("the coordinator has gone", || async { watch.coordinators().is_empty() }).await;
}

#[tokio::test]
async fn a_key_that_runs_out_goes_without_a_message_and_is_seen_to_go() {
    let world = world().await;
    let mut watch = PresenceWatch::open(&world.mesh).await.unwrap();
    let mut first = world.mesh.present_worker(presence("w1", "i1"), TTL).await.unwrap();
    let here = |watch: &PresenceWatch| {
        let (name, target) = (worker("w1"), host("db3"));
        let seen = [
            watch.serves(&target),
            watch.serves(&queue("q")),
            watch.instance_present(&name, &instance("i1")),
            watch.worker(&name).is_some(),
            !watch.workers().is_empty(),
        ];
        assert!(seen.iter().all(|is_seen| *is_seen == seen[0]), "{seen:?}");
        seen[0]
    };
    for expected in [true, false] {
        // Nothing but the change itself ends the waiting.
        while here(&watch) != expected {
            soon(watch.changed()).await;
        }
    }
    until("the server has let it go", || async { world.mesh.workers().await.unwrap().is_empty() }).await;
    assert_eq!(world.mesh.worker(&worker("w1")).await, Ok(None));
    let stream = world.stranger().await.get_stream("KV_rr-workers").await.unwrap();
    let subject = "$KV.rr-workers.worker.w1";
    assert!(stream.get_last_raw_message_by_subject(subject).await.is_err(), "there is no marker");
    // Its own process may come back behind nothing, and so may another.
    first.renew().await.unwrap();
    soon(async {
        while !here(&watch) {
            watch.changed().await;
        }
    })
    .await;
    first.withdraw().await.unwrap();
    until("it has gone", || async { watch.worker(&worker("w1")).is_none() }).await;
    let note = stream.get_last_raw_message_by_subject(subject).await.unwrap();
    assert!(note.headers.get("Nats-TTL").is_some(), "the note of it goes too: {:?}", note.headers);
    world.mesh.present_worker(presence("w1", "i2"), TTL).await.unwrap();
}

#[tokio::test]
async fn other_clients_know_the_bucket() {
    let world = world().await;
    let kv = world.stranger().await.get_key_value("rr-workers").await.unwrap();
    assert_eq!(kv.status().await.unwrap().history(), 1);
    let mut changes = kv.watch_all().await.unwrap();
    let shown = world.mesh.present_worker(presence("w1", "i1"), TTL).await.unwrap();
    assert_eq!(soon(changes.next()).await.unwrap().unwrap().key, "worker.w1");
    let keys: Vec<String> = kv.keys().await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(keys, ["worker.w1"]);
    let value = kv.get("worker.w1").await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<WorkerPresence>(&value).unwrap(), *shown.value());
    shown.withdraw().await.unwrap();
    assert_eq!(kv.get("worker.w1").await.unwrap(), None);
}

#[tokio::test]
async fn silence_of_the_server_is_nobodys_absence_and_its_word_is() {
    let mut world = world().await;
    let short = world.mesh.present_worker(presence("w1", "i1"), TTL).await.unwrap();
    let long = world.mesh.present_worker(presence("w2", "i2"), Duration::from_mins(1)).await.unwrap();
    let watch = PresenceWatch::open(&world.mesh).await.unwrap();
    let seen = || watch.workers().into_iter().map(|found| found.worker).collect::<Vec<_>>();
    world.server.kill().await.unwrap();
    tokio::time::sleep(TTL + Duration::from_millis(500)).await;
    assert_eq!(seen(), [worker("w1"), worker("w2")]);
    // What ran out while the server was down has run out.
    world.server.restart().await.unwrap();
    until("the first one has gone", || async { seen() == [worker("w2")] }).await;
    until("the server has taken it away", || async { world.mesh.workers().await.unwrap() == [long.value().clone()] })
        .await;
    drop(short);
}

fn status(id: &str, n: u64, status: RunStatus) -> StatusEntry {
    let view = RunView {
        run: run(id),
        flow: Some(name("f")),
        status,
        started_at: Timestamp::from_second(i64::try_from(n).unwrap()).ok(),
        ended_at: None,
        jobs: Vec::new(),
        problems: Vec::new(),
        retry_of: None,
    };
    StatusEntry::new(n, view)
}

/// Where the log has lost its end, another decision gets the number of one that a state shows.
#[tokio::test]
async fn a_state_of_the_same_number_that_shows_something_else_gives_way() {
    let world = world().await;
    let [failed, ended] = [RunStatus::Failed, RunStatus::Succeeded].map(|state| status("r1", 3, state));
    append(&world.mesh, &entity("r1"), 3, 0).await.unwrap();
    assert_eq!(StatusWriter::new(&world.mesh).put(&failed).await, Ok(Put::Written));
    let writer = StatusWriter::new(&world.mesh);
    assert_eq!(writer.put(&ended).await, Ok(Put::Written));
    assert_eq!(writer.put(&ended).await, Ok(Put::Older));
    assert_eq!(world.mesh.status(&run("r1")).await.unwrap(), Some(ended));
}

#[tokio::test]
async fn a_state_never_goes_back() {
    let world = world().await;
    let (one, other) = (StatusWriter::new(&world.mesh), StatusWriter::new(&world.mesh));
    let running = |n| status("r1", n, RunStatus::Running);
    // A state of a decision that the log does not have would give way.
    append(&world.mesh, &entity("r1"), 40, 0).await.unwrap();
    assert_eq!(one.put(&running(1)).await, Ok(Put::Written));
    assert_eq!(other.put(&running(5)).await, Ok(Put::Written));
    assert_eq!(one.put(&running(3)).await, Ok(Put::Older));
    assert_eq!(one.put(&running(5)).await, Ok(Put::Older));
    assert_eq!(world.mesh.status(&run("r1")).await.unwrap(), Some(running(5)));
    // All at once: the largest number stays, whatever the order.
    let many: Vec<StatusEntry> = (6..40).map(running).collect();
    let writers: Vec<StatusWriter> = many.iter().map(|_| StatusWriter::new(&world.mesh)).collect();
    let puts = futures::future::join_all(writers.iter().zip(&many).map(|(writer, entry)| writer.put(entry))).await;
    assert!(puts.iter().any(Result::is_ok));
    assert_eq!(one.put(&status("r1", 40, RunStatus::Succeeded)).await, Ok(Put::Written));
    assert_eq!(world.mesh.status(&run("r1")).await.unwrap().unwrap().n, 40);
    assert_eq!(world.mesh.status(&run("r2")).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_is_found_before_it_has_a_state_also_beside_others_that_have_one() {
    let world = world().await;
    StatusWriter::new(&world.mesh).put(&status("deploy-2", 1, RunStatus::Running)).await.unwrap();
    let input = Input::Cancel(Cancel { by: "u".to_owned(), reason: None });
    world.mesh.request(&run("deploy").into(), "u", &input).await.unwrap();
    for (id, is_there) in [("deploy", true), ("deploy-2", true), ("deploy-", false), ("dep", false)] {
        assert_eq!(world.mesh.has_run(&run(id)).await, Ok(is_there), "{id}");
    }
    assert_eq!(world.mesh.find_runs("dep").await.unwrap(), [run("deploy"), run("deploy-2")]);
    assert_eq!(world.mesh.find_runs("deploy-").await.unwrap(), [run("deploy-2")]);
}

#[tokio::test]
async fn runs_are_listed_found_and_forgotten() {
    let world = world().await;
    let writer = StatusWriter::new(&world.mesh);
    for (n, id) in [(1, "abc1"), (2, "abd2"), (3, "xyz")] {
        writer.put(&status(id, n, RunStatus::Failed)).await.unwrap();
    }
    let ids = |entries: Vec<StatusEntry>| entries.into_iter().map(|entry| entry.view.run).collect::<Vec<_>>();
    assert_eq!(ids(world.mesh.statuses().await.unwrap()), [run("xyz"), run("abd2"), run("abc1")]);
    assert_eq!(world.mesh.find_runs("ab").await.unwrap(), [run("abc1"), run("abd2")]);
    assert!(world.mesh.find_runs("q").await.unwrap().is_empty());
    let seq = seq_of_state(&world.mesh, &run("abc1")).await;
    world.mesh.remove_status(&run("abc1"), seq).await.unwrap();
    assert_eq!(world.mesh.remove_status(&run("abc1"), seq).await, Err(PublishError::Conflict));
    assert_eq!(ids(world.mesh.statuses().await.unwrap()), [run("xyz"), run("abd2")]);
    assert_eq!(world.mesh.status(&run("abc1")).await.unwrap(), None);
    assert_eq!(writer.put(&status("abc1", 1, RunStatus::Running)).await, Ok(Put::Written));
}

async fn seq_of_state(mesh: &Mesh, of: &RunId) -> u64 {
    let old = mesh.old_statuses(Timestamp::MAX, usize::MAX).await.unwrap();
    old.into_iter().find(|state| state.entry.view.run == *of).unwrap().seq
}

/// Between the judging and the removing the id may have become another run's.
#[tokio::test]
async fn a_state_that_was_written_after_another_one_was_judged_is_not_removed() {
    let world = world().await;
    let writer = StatusWriter::new(&world.mesh);
    writer.put(&status("abc1", 1, RunStatus::Failed)).await.unwrap();
    let judged = seq_of_state(&world.mesh, &run("abc1")).await;
    writer.put(&status("abc1", 2, RunStatus::Running)).await.unwrap();
    assert_eq!(world.mesh.remove_status(&run("abc1"), judged).await, Err(PublishError::Conflict));
    assert_eq!(world.mesh.status(&run("abc1")).await.unwrap().unwrap().n, 2);
    let seen = seq_of_state(&world.mesh, &run("abc1")).await;
    world.mesh.remove_status(&run("abc1"), seen).await.unwrap();
    assert_eq!(world.mesh.status(&run("abc1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_worker_joins_through_whoever_listens() {
    let world = world().await;
    let join =
        Join { worker: worker("w1"), instance: instance("i1"), serves: Serves::default(), labels: Labels::default() };
    let nobody = world.mesh.join(&join).await.unwrap_err();
    assert!(matches!(nobody, Error::Unreachable(_)), "{nobody}");
    let mut server = world.mesh.serve_joins().await.unwrap();
    world.mesh.flush().await.unwrap();
    let answer = JoinAnswer::Welcome { own: "w-w1".to_owned(), queues: vec![] };
    let serve = async {
        let request = server.next().await.unwrap();
        assert_eq!(request.join, Ok(join.clone()));
        request.reply.answer(&answer).await;
    };
    let ((), answered) = soon(async { tokio::join!(serve, world.mesh.join(&join)) }).await;
    assert_eq!(answered.unwrap(), answer);
    // A request under another worker's name is seen through.
    let client = world.stranger().await.client();
    let body = serde_json::to_vec(&join).unwrap();
    client.publish_with_reply("rr.api.join.w2", "nowhere", body.into()).await.unwrap();
    assert!(soon(server.next()).await.unwrap().join.is_err());
}

#[tokio::test]
async fn a_worker_hears_what_it_is_told_and_answers_pings() {
    let world = world().await;
    let by = worker("w1");
    assert!(!world.mesh.ping(&by).await.unwrap());
    let mut feed = world.mesh.controls(&by).await.unwrap();
    let kill = Control::Kill { run: run("r1"), task: 3, attempt: 1 };
    world.mesh.control(&worker("w2"), &Control::Drain {}).await.unwrap();
    world.mesh.control(&by, &kill).await.unwrap();
    assert_eq!(soon(feed.next()).await, Some(kill));
    let (pinged, heard) = soon(async { tokio::join!(world.mesh.ping(&by), feed.next()) }).await;
    assert_eq!((pinged, heard), (Ok(true), Some(Control::Ping {})));
}
