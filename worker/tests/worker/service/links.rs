//! What a worker does while the server is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_nats::{Follow, OutputFilter};
use rr_schemas::report::{Outcome, What};
use rr_worker::Handlers;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::{Stage, handler, offer, run, sh, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_server_is_down_is_reported_in_order_when_it_is_back() {
    let mut stage = Stage::new().await;
    let (turns, turn) = watch::channel(0);
    let over = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&over);
    let handlers = Handlers::new().register("turn".parse().unwrap(), move |context| {
        let (mut turn, over) = (turn.clone(), Arc::clone(&shared));
        async move {
            // One after the other, by their numbers.
            let own = context.offer().task;
            turn.wait_for(|turn| *turn > own).await.map_err(|error| error.to_string())?;
            over.fetch_add(1, Ordering::SeqCst);
            Ok::<_, String>(())
        }
    });
    let _worker = stage.worker("w1", 10, handlers).await;
    for task in 0..10 {
        stage.offer(&offer(task, handler("turn"))).await;
    }
    until("all run", async || (stage.reports().await.len() == 10).then_some(())).await;
    stage.server.kill().await.unwrap();
    for turn in 1..=10 {
        turns.send_replace(turn);
        until("its turn is over", async || (over.load(Ordering::SeqCst) == turn as usize).then_some(())).await;
    }
    stage.server.restart().await.unwrap();
    until("the link is back", async || stage.mesh.is_connected().then_some(())).await;
    let ends = stage.all_ends(10).await;
    let tasks: Vec<u32> = ends.iter().map(|(task, _)| *task).collect();
    assert_eq!(tasks, (0..10).collect::<Vec<_>>());
    assert!(ends.iter().all(|(_, ended)| ended.outcome == Outcome::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_a_worker_could_not_send_are_sent_by_its_next_life() {
    let mut stage = Stage::new().await;
    let permits = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&permits);
    let handlers = Handlers::new().register("gate".parse().unwrap(), move |_| {
        let gate = Arc::clone(&gate);
        async move { gate.acquire().await.map(drop).map_err(|error| error.to_string()) }
    });
    let mut worker = stage.worker("w1", 4, handlers).await;
    let instance = worker.instance().clone();
    for task in 0..4 {
        stage.offer(&offer(task, handler("gate"))).await;
    }
    until("all run", async || (stage.reports().await.len() == 4).then_some(())).await;
    stage.server.kill().await.unwrap();
    permits.add_permits(4);
    worker.drain();
    super::ended(&mut worker).await;
    stage.server.restart().await.unwrap();
    until("the link is back", async || stage.mesh.is_connected().then_some(())).await;

    let _next = stage.worker("w1", 4, Handlers::new()).await;
    until("all ends are reported", async || (stage.ends().await.len() == 4).then_some(())).await;
    for (_, _, report) in stage.reports().await {
        assert_eq!(report.instance, instance);
        if let What::Ended(ended) = report.what {
            assert_eq!(ended.outcome, Outcome::Ok);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_finds_no_way_holds_nobody_up_and_is_counted() {
    let mut stage = Stage::new().await;
    let _worker = stage.worker("w1", 4, Handlers::new()).await;
    let (go, bytes) = (stage.dir.path().join("go"), 7 * 1024 * 1024_u64);
    let script = format!("while test ! -e {}; do sleep 0.05; done; head -c {bytes} /dev/zero", go.display());
    for task in 0..4 {
        stage.offer(&offer(task, sh(&script))).await;
    }
    until("all run", async || (stage.reports().await.len() == 4).then_some(())).await;
    stage.server.kill().await.unwrap();
    std::fs::write(&go, "").unwrap();
    until("the link is down", async || (!stage.mesh.is_connected()).then_some(())).await;
    all_have_ended(&stage).await;
    stage.server.restart().await.unwrap();
    until("the link is back", async || stage.mesh.is_connected().then_some(())).await;
    let ends = stage.all_ends(4).await;
    let dropped: u64 = ends.iter().map(|(_, ended)| ended.output.dropped_bytes).sum();
    assert!(ends.iter().all(|(_, ended)| ended.output.stdout_bytes == bytes), "{ends:?}");
    assert!((11 * 1024 * 1024..=13 * 1024 * 1024).contains(&dropped), "16 of 28 MiB have room: {dropped}");
    until("what was kept is stored", async || {
        let mut reader = stage.mesh.read_output(&run(), OutputFilter::default(), Follow::No);
        let mut kept = BTreeMap::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            kept.insert((chunk.id.task, chunk.id.n), chunk.bytes.len() as u64);
        }
        (kept.values().sum::<u64>() + dropped == 4 * bytes).then_some(())
    })
    .await;
}

/// With the server gone, only the processes themselves tell.
async fn all_have_ended(stage: &Stage) {
    let go = stage.dir.path().join("go").display().to_string();
    until("nobody writes any more", async || {
        let lines = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok());
        let mut of_ours = lines.filter(|line| String::from_utf8_lossy(line).contains(&go));
        of_ours.next().is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_server_goes_through_each_attempt_starts_once_at_most_and_none_is_forgotten() {
    let mut stage = Stage::with_ack_wait(Duration::from_secs(2)).await;
    let runs = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
    let seen = Arc::clone(&runs);
    let handlers = Handlers::new().register("note".parse().unwrap(), move |context| {
        *seen.lock().unwrap().entry(context.offer().task).or_default() += 1;
        async {
            sleep(Duration::from_millis(fastrand::u64(0..40))).await;
            Ok::<_, String>(())
        }
    });
    let count = 400_u32;
    for task in 0..count {
        stage.offer(&offer(task, handler("note"))).await;
    }
    let _worker = stage.worker("w1", 8, handlers).await;
    for _ in 0..3 {
        let seen = runs.lock().unwrap().len();
        let more = fastrand::usize(20..80);
        until("some more have started", async || (runs.lock().unwrap().len() >= seen + more).then_some(())).await;
        stage.server.kill().await.unwrap();
        stage.server.restart().await.unwrap();
    }
    until("the link is back", async || stage.mesh.is_connected().then_some(())).await;
    let tasks = async || stage.ends().await.into_iter().map(|(task, _)| task).collect::<BTreeSet<u32>>();
    until("each has ended", async || (tasks().await.len() == count as usize).then_some(())).await;
    let mut first = BTreeMap::new();
    for (task, ended) in stage.ends().await {
        first.entry(task).or_insert(ended.outcome);
    }
    let runs = runs.lock().unwrap().clone();
    for (task, outcome) in first {
        match runs.get(&task) {
            Some(1) => assert_eq!(outcome, Outcome::Ok, "task {task} ran"),
            None => assert_eq!(outcome, Outcome::Lost, "task {task} was on its way when the server died"),
            Some(times) => panic!("task {task} started {times} times"),
        }
    }
}
