//! Inputs that no decision can answer.

use rr_coordinator::Coordinator;
use rr_schemas::{
    decision::{Event, RunStatus},
    report::Outcome,
};

use crate::{
    relay::Relay,
    support::{World, hasty, one_job, options},
};

/// Neither the run nor its partition waits for ever, and no other run is held up.
#[tokio::test]
async fn an_input_that_makes_the_coordinator_fail_is_put_aside_after_some_tries() {
    const ROOM: usize = 16 * 1024;
    let world = World::new(hasty()).await;
    let relay = Relay::with_room(world.server.port(), ROOM).await;
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    // Its first decision holds the flow, and is more than this coordinator can say at once.
    let long = one_job(&format!(r#", "hosts": "h1", "env": {{ "LONG": "{}" }}"#, "x".repeat(ROOM)));
    let (first, large, last) =
        (world.submit("first", &flow).await, world.submit("large", &long).await, world.submit("last", &flow).await);
    let _coordinator = Coordinator::start(world.connect_via(&relay).await, options());
    for run in [&first, &last] {
        let offer = worker.offer().await;
        assert_eq!(offer.run, *run);
        worker.ends(&offer, Outcome::Ok).await;
    }
    for run in [&first, &last] {
        world.ends(run, RunStatus::Succeeded).await;
    }
    let view = world.ends(&large, RunStatus::Rejected).await;
    assert!(view.problems.iter().any(|problem| problem.contains("this coordinator cannot run it")), "{view:?}");
    let events = world.events(&large).await;
    assert!(matches!(events.as_slice(), [Event::PutAside { .. }, Event::Rejected { .. }]), "{events:?}");
}
