//! What is not there when a coordinator begins.

use rr_coordinator::Coordinator;
use rr_schemas::{decision::RunStatus, report::Outcome};

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
