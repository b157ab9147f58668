//! A log that has lost its end.

use rr_nats::encode_decision;
use rr_schemas::{
    decision::{Decision, Event, Record, RunStatus},
    id::{EntityId, RunId},
    input::Holder,
    report::Outcome,
};

use crate::support::{Worker, World, hasty, one_job, options, until};

/// A timer that went with what is lost, or was taken away by an acknowledgement of before, wakes nobody: its run would wait
/// for ever for a worker that never comes.
#[tokio::test]
async fn a_run_whose_timer_went_with_the_end_of_the_log_arms_it_again() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let _seen = ended(&world, &mut worker, SEEN).await;
    let run = EntityId::from(&world.submit("r1", &one_job(r#", "hosts": "h1""#)).await);
    until("its timer is armed", async || world.mesh.armed(&run).await.unwrap()).await;
    world.purge("RR_TIMERS", "rr.at.*.r1").await;
    until("its timer is gone", async || world.mesh.armed(&run).await.unwrap().is_none().then_some(())).await;
    begin_is_lost(&world).await;
    until("its timer is armed again", async || world.mesh.armed(&run).await.unwrap()).await;
}

/// Its state says that it is over, and so nobody would look after it.
#[tokio::test]
async fn a_run_that_has_lost_its_end_comes_to_an_end_again() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let _seen = ended(&world, &mut worker, SEEN).await;
    let run = ended(&world, &mut worker, "r1").await;
    let end = world.mesh.history(&EntityId::from(&run), 0).await.unwrap().pop().unwrap();
    world.remove_message(end.seq).await;
    begin_is_lost(&world).await;
    until("it is decided anew", async || {
        let history = world.mesh.history(&EntityId::from(&run), 0).await.unwrap();
        (history.last()?.seq > end.seq).then_some(())
    })
    .await;
    world.happens(&run, |event| matches!(event, Event::RunEnded { status: RunStatus::Succeeded })).await;
    world.check(&run).await;
}

/// What was delivered before the log lost its end may be decided behind it. The sequences of those inputs are used again.
#[tokio::test]
async fn a_decision_of_what_the_log_has_lost_answers_nothing_that_comes_after_it() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    drop(coordinator);
    let entity = EntityId::from(&run);
    let last = world.mesh.last_decision(&entity).await.unwrap().unwrap();
    let before = last.decision.unwrap();
    let by = Holder { worker: worker.name.clone(), instance: worker.instance.clone() };
    let event = Event::Started { task: offer.task, attempt: offer.attempt, by };
    let gone = last.seq + 1_000;
    let decision = Decision {
        n: before.n + 1,
        by: "another".parse().unwrap(),
        upto: gone,
        prev: last.hash,
        secret: String::new(),
        events: vec![Record { cause: gone, at: last.at, event }],
    };
    world.mesh.append(&entity, &encode_decision(&entity, &decision).unwrap(), last.seq).await.unwrap();
    let _successor = world.coordinator(options()).await;
    worker.ends(&offer, Outcome::Ok).await;
    world.happens(&run, |event| matches!(event, Event::RunEnded { status: RunStatus::Succeeded })).await;
}

/// All that was decided is lost, and what was asked for is not: that is acknowledged, and comes to nobody again.
#[tokio::test]
async fn a_run_of_which_only_its_submit_is_left_is_answered_anew() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let _seen = ended(&world, &mut worker, SEEN).await;
    let run = ended(&world, &mut worker, "r1").await;
    world.purge("RR_EVENTS", "rr.ev.*.r1").await;
    until("its history is gone", async || world.decisions(&run).await.is_empty().then_some(())).await;
    begin_is_lost(&world).await;
    world.happens(&run, |event| matches!(event, Event::Submitted { .. })).await;
    world.check(&run).await;
}

/// The run at the log's begin: with it goes what a coordinator has seen of the log.
const SEEN: &str = "r0";

async fn begin_is_lost(world: &World) {
    world.purge("RR_EVENTS", &format!("rr.*.*.{SEEN}.>")).await;
    world.purge("RR_EVENTS", &format!("rr.ev.*.{SEEN}")).await;
}

/// A run that has ended.
async fn ended(world: &World, worker: &mut Worker, run: &str) -> RunId {
    let run = world.submit(run, &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    run
}
