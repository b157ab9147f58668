//! What is forgotten, and what is not.

use rr_coordinator::{Coordinator, Options};
use rr_nats::{Answered, First, RawMessage};
use rr_schemas::{
    decision::{Event, RunStatus},
    id::{EntityId, RunId},
    report::Outcome,
    view::StatusEntry,
};

use crate::relay::Relay;
use crate::support::{World, hasty, millis, one_job, options, submit, until};

fn forgetful() -> Options {
    Options { keep: millis(500), sweep_every: millis(1_000), ..options() }
}

#[tokio::test]
async fn what_need_not_be_kept_is_forgotten_and_late_words_of_it_are_dropped() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(forgetful()).await;
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    let old = world.submit("old", &flow).await;
    let old_offer = worker.offer().await;
    worker.ends(&old_offer, Outcome::Ok).await;
    world.ends(&old, RunStatus::Succeeded).await;
    let live = world.submit("live", &flow).await;
    let offer = worker.offer().await;
    until("the old one is forgotten", async || world.decisions(&old).await.is_empty().then_some(())).await;
    worker.ends(&old_offer, Outcome::Failed).await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&live, RunStatus::Succeeded).await;
    assert_eq!(world.decisions(&old).await, []);
    assert_eq!(
        world.mesh.status(&old).await.unwrap().unwrap().view.status,
        RunStatus::Succeeded,
        "its tombstone stays"
    );
}

/// Removes the state of a run, whichever is there.
async fn forget_state(world: &World, run: &RunId) {
    until("the state is removed", async || {
        let mut seq = None;
        let take = |entry: StatusEntry, message: RawMessage| {
            if entry.view.run == *run {
                seq = Some(message.seq);
            }
        };
        world.mesh.each_status(take).await.ok()?;
        world.mesh.remove_status(run, seq?).await.ok()
    })
    .await;
}

/// A run that lives on keeps what it needs, and only that: what came after it goes all the same. Its state in the bucket
/// is a projection that may be missing.
#[tokio::test]
async fn a_run_that_lives_long_keeps_itself_and_no_other() {
    for state in ["right", "missing"] {
        let world = World::new(hasty()).await;
        let _coordinator = world.coordinator(forgetful()).await;
        let mut worker = world.worker("w1", "h1").await;
        let flow = one_job(r#", "hosts": "h1""#);
        let live = world.submit("live", &flow).await;
        let offer = worker.offer().await;
        worker.starts(&offer).await;
        world.happens(&live, |event| matches!(event, Event::Started { .. })).await;
        world.view(&live, |view| view.status == RunStatus::Running).await;
        if state == "missing" {
            forget_state(&world, &live).await;
        }
        let old = world.submit("old", &flow).await;
        let old_offer = worker.offer().await;
        worker.ends(&old_offer, Outcome::Ok).await;
        world.ends(&old, RunStatus::Succeeded).await;
        // The newest request is never forgotten.
        let newest = world.submit("newest", &one_job(r#", "hosts": "h2""#)).await;
        until("the old one is forgotten", async || world.decisions(&old).await.is_empty().then_some(())).await;
        assert_eq!(world.mesh.first_of(&EntityId::from(&old)).await.unwrap(), None, "{state}");
        assert!(!world.decisions(&newest).await.is_empty(), "{state}");
        worker.ends(&offer, Outcome::Ok).await;
        world.ends(&live, RunStatus::Succeeded).await;
    }
}

/// The inputs of a run go before its decisions, so no request is left by which the rest would be found; and what was taken
/// away already is asked for once more.
#[tokio::test]
async fn a_purge_that_was_done_and_not_answered_is_done_again_and_harms_no_other_run() {
    let world = World::new(hasty()).await;
    let relay = Relay::until(world.server.port(), "STREAM.PURGE.RR_EVENTS").await;
    let _coordinator = Coordinator::start(world.connect_via(&relay).await, forgetful());
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    // It holds the horizon back, so the one behind it is purged by itself.
    let live = world.submit("live", &flow).await;
    let offer = worker.offer().await;
    worker.starts(&offer).await;
    world.happens(&live, |event| matches!(event, Event::Started { .. })).await;
    let old = world.submit("old", &flow).await;
    let old_offer = worker.offer().await;
    worker.ends(&old_offer, Outcome::Ok).await;
    world.happens(&old, Event::is_end).await;
    let newest = world.submit("newest", &flow).await;
    relay.is_said().await;
    let entity = EntityId::from(&old);
    // While they are purged some may be missing between two of its questions, and it says so.
    let inputs = async || world.mesh.inputs_after(&entity, 0, 0).await.ok()?.is_empty().then_some(());
    until("its inputs are gone", inputs).await;
    assert!(!world.decisions(&old).await.is_empty(), "they were asked for first");
    relay.cut();
    until("the rest is gone, too", async || world.decisions(&old).await.is_empty().then_some(())).await;
    assert_eq!(world.mesh.first_of(&entity).await.unwrap(), None, "nothing began anew");
    let newest_offer = worker.offer().await;
    assert_eq!(newest_offer.run, newest);
    for (run, offer) in [(&newest, &newest_offer), (&live, &offer)] {
        worker.ends(offer, Outcome::Ok).await;
        world.happens(run, Event::is_end).await;
    }
}

/// What nobody has answered yet is not taken for what nothing followed from.
#[tokio::test]
async fn a_request_is_answered_only_when_it_is_acknowledged() {
    let world = World::new(hasty()).await;
    let flow = one_job(r#", "hosts": "h1""#);
    let run = "r1".parse().unwrap();
    let seq = world.mesh.submit(&run, "test", &submit(&flow), First::New).await.unwrap();
    let partition = world.mesh.partition_of(&EntityId::from(&run));
    // The server counts what waits a moment after it has stored it.
    let waits = async || (!world.mesh.answered(partition).await.unwrap().covers(seq)).then_some(());
    until("it waits", waits).await;
    let _coordinator = world.coordinator(options()).await;
    until("it is answered", async || (world.mesh.answered(partition).await.unwrap() == Answered::All).then_some(()))
        .await;
}
