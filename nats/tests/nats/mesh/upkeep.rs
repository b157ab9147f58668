//! What is made again when somebody removes it.

use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{Finding, Store, Upkeep};
use rr_schemas::id::Partition;

use super::{cancel, run, world};

#[tokio::test]
async fn a_durable_is_made_again_as_it_was_and_one_that_was_not_fit_as_it_must_be() {
    let world = world().await;
    let log = world.stranger().await.get_stream("RR_EVENTS").await.unwrap();
    let config = || async { log.consumer_info("p0").await.unwrap().config };
    let mut patient = config().await;
    patient.ack_wait = Duration::from_secs(7);
    log.update_consumer(patient).await.unwrap();
    let mut upkeep = Upkeep::new(&world.mesh);
    upkeep.look(Timestamp::UNIX_EPOCH).await.1.unwrap();
    // Before the second time nothing of it is as our guarantees need it, and what it has passed over is not known.
    for (max_deliver, begins) in [(-1, Some(1)), (3, None), (-1, Some(1))] {
        let mut changed = config().await;
        changed.max_deliver = max_deliver;
        log.update_consumer(changed).await.unwrap();
        let found = world.mesh.partition_durable(Partition(0)).await.unwrap();
        assert_eq!(found.differences.is_empty(), begins.is_some(), "{found:?}");
        upkeep.look(Timestamp::UNIX_EPOCH).await.1.unwrap();
        log.delete_consumer("p0").await.unwrap();
        let (findings, looked) = upkeep.look(Timestamp::UNIX_EPOCH).await;
        looked.unwrap();
        let expected = Finding::Durable { name: "p0".to_owned(), stream: "RR_EVENTS", from: begins };
        assert_eq!(findings, [expected]);
        let found = world.mesh.partition_durable(Partition(0)).await.unwrap();
        assert!(found.differences.is_empty(), "{found:?}");
        assert_eq!(config().await.ack_wait, Duration::from_secs(7));
    }
}

#[tokio::test]
async fn states_that_are_gone_do_not_keep_the_mesh_from_being_made_whole() {
    let world = world().await;
    let operator = world.stranger().await;
    let mut upkeep = Upkeep::new(&world.mesh);
    upkeep.look(Timestamp::UNIX_EPOCH).await.1.unwrap();
    // A log that has lost its beginning may have lost more, and the states that would tell are not there.
    world.mesh.request(&run("r1").into(), "me", &cancel("me")).await.unwrap();
    operator.get_stream("RR_EVENTS").await.unwrap().purge().await.unwrap();
    operator.delete_stream("KV_rr-runs").await.unwrap();
    let (findings, looked) = upkeep.look(Timestamp::UNIX_EPOCH).await;
    looked.unwrap();
    assert_eq!(findings, [Finding::Anew(Store::Runs)]);
    operator.get_stream("KV_rr-runs").await.unwrap();
}
