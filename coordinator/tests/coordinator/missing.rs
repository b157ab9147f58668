//! What is not there when a coordinator begins.

use rr_coordinator::Coordinator;
use rr_schemas::{decision::RunStatus, id::EntityId, report::Outcome};

use crate::support::{World, hasty, one_job, options, until};

/// Nothing works without a view of who is present, not even what makes again what is missing.
#[tokio::test]
async fn a_coordinator_that_begins_without_the_bucket_of_presence_makes_it_and_works() {
    let world = World::new(hasty()).await;
    let mesh = world.connect().await;
    world.remove_stream("KV_rr-workers").await;
    assert!(mesh.is_whole().await.is_err(), "it is gone");
    let coordinator = Coordinator::start(mesh.clone(), options());
    until("it is there again", async || mesh.is_whole().await.ok()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    let present = mesh.coordinators().await.unwrap();
    assert!(present.iter().any(|shown| shown.instance == *coordinator.instance()), "{present:?}");
}

/// Everything on one machine that loses its power: the timer is gone with what was not on the disk, and nobody lives who had seen it.
#[tokio::test]
async fn a_run_whose_timer_was_lost_while_nobody_looked_arms_it_again() {
    let world = World::new(hasty()).await;
    let coordinator = world.coordinator(options()).await;
    let run = EntityId::from(&world.submit("r1", &one_job(r#", "hosts": "h1""#)).await);
    until("its timer is armed", async || world.mesh.armed(&run).await.unwrap()).await;
    coordinator.stop().await;
    world.purge("RR_TIMERS", "rr.at.*.r1").await;
    assert_eq!(world.mesh.armed(&run).await.unwrap(), None);
    let _next = world.coordinator(options()).await;
    until("its timer is armed again", async || world.mesh.armed(&run).await.unwrap()).await;
}

/// A server that comes back may have lost timers, and have grown beyond that before anybody looks: nothing shows what is gone.
#[tokio::test]
async fn a_run_whose_timer_was_lost_while_the_server_was_away_arms_it_again() {
    let mut world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let run = EntityId::from(&world.submit("r1", &one_job(r#", "hosts": "h1""#)).await);
    until("its timer is armed", async || world.mesh.armed(&run).await.unwrap()).await;
    world.purge("RR_TIMERS", "rr.at.*.r1").await;
    world.server.kill().await.unwrap();
    world.server.restart().await.unwrap();
    until("its timer is armed again", async || world.mesh.armed(&run).await.ok().flatten()).await;
}

/// A loss of power may take a decision and leave the note that its input is acknowledged: the server delivers it to nobody.
#[tokio::test]
async fn a_run_whose_first_decision_was_lost_while_nobody_looked_is_answered() {
    let world = World::new(hasty()).await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    world.acknowledges(&run).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
}
