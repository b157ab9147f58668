//! A coordinator whose connection is closed for good.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

use rr_coordinator::{Coordinator, Handle, RunError};
use rr_schemas::decision::Event;
use tokio::time::timeout;

use crate::support::{PATIENCE, World, hasty, one_job, options};

async fn ends(mut coordinator: Handle) {
    let ended = timeout(PATIENCE, coordinator.ended()).await.unwrap();
    assert!(matches!(ended, Err(RunError::Closed)), "{ended:?}");
}

#[tokio::test]
async fn a_coordinator_ends_when_its_connection_is_closed_for_good() {
    let world = World::new(hasty()).await;
    let mesh = world.connect().await;
    let coordinator = Coordinator::start(mesh.clone(), options());
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    world.happens(&run, |event| matches!(event, Event::Offered { .. })).await;
    mesh.drain().await;
    ends(coordinator).await;
}

#[tokio::test]
async fn a_coordinator_does_not_begin_on_a_closed_connection() {
    let world = World::new(hasty()).await;
    let mesh = world.connect().await;
    mesh.drain().await;
    ends(Coordinator::start(mesh, options())).await;
}
