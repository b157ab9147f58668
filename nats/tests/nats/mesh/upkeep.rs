//! What is made again when somebody removes it.

use std::{fs, path::Path, time::Duration};

use async_nats::jetstream::stream::{Config, Info};
use jiff::Timestamp;
use rr_nats::{Finding, Store, Upkeep};
use rr_schemas::id::Partition;

use super::{cancel, run, soon, world};

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

#[tokio::test]
async fn a_stream_that_nobody_remembers_is_made_with_the_usual_numbers() {
    let world = world().await;
    let operator = world.stranger().await;
    let info = |stream: &'static str| {
        let operator = &operator;
        async move { operator.get_stream(stream).await.unwrap().cached_info().clone() }
    };
    for store in
        [Store::Timers, Store::Work, Store::Output, Store::Quarantine, Store::Runs, Store::Workers, Store::Locks]
    {
        let before = info(store.stream()).await;
        operator.delete_stream(store.stream()).await.unwrap();
        // Whoever remembers it has a moment to be faster.
        let mut upkeep = Upkeep::new(&world.mesh);
        for expected in [vec![], vec![Finding::Anew(store)]] {
            let (mut findings, looked) = upkeep.look(Timestamp::UNIX_EPOCH).await;
            looked.unwrap();
            // The durable of the timers goes with its stream, and those that were made before are young.
            findings.retain(|finding| !matches!(finding, Finding::Durable { .. } | Finding::Younger(_)));
            findings.retain(|finding| !matches!(finding, Finding::Missing { what, .. } if what.starts_with("durable")));
            assert_eq!(findings, expected, "{store:?}");
        }
        let after = info(store.stream()).await;
        assert!(after.state.first_sequence > 1_000_000 + before.state.last_sequence, "{:?}", after.state);
        let config = |info: &Info| Config { first_sequence: None, ..info.config.clone() };
        assert_eq!(config(&after), config(&before));
    }
}

/// A loss of power takes of each stream what was not on the disk yet: the log may be whole, and the timers of its runs gone.
#[tokio::test]
async fn a_stream_that_has_lost_its_end_is_told() {
    let mut world = world().await;
    let (there, copy) = (world.dir.path().join("store/jetstream/$G/streams/RR_TIMERS"), world.dir.path().join("copy"));
    let mut upkeep = Upkeep::new(&world.mesh);
    world.server.kill().await.unwrap();
    copy_all(&there, &copy);
    world.server.restart().await.unwrap();
    let later = Timestamp::now() + Duration::from_hours(1);
    let entity = run("r1").into();
    let is_armed = async || {
        // One without an answer may be there.
        drop(world.mesh.arm(&entity, later, None).await);
        world.mesh.armed(&entity).await.is_ok_and(|armed| armed.is_some())
    };
    super::until("the server takes it", is_armed).await;
    let (findings, looked) = upkeep.look(Timestamp::UNIX_EPOCH).await;
    looked.unwrap();
    assert!(!findings.contains(&Finding::Behind(Store::Timers)), "{findings:?}");
    let mut connected = world.mesh.connected();
    world.server.kill().await.unwrap();
    soon(connected.until(false)).await.unwrap();
    fs::remove_dir_all(&there).unwrap();
    copy_all(&copy, &there);
    world.server.restart().await.unwrap();
    soon(connected.until(true)).await.unwrap();
    let (findings, looked) = upkeep.look(Timestamp::UNIX_EPOCH).await;
    looked.unwrap();
    assert_eq!(findings, [Finding::Behind(Store::Timers)]);
    assert_eq!(upkeep.look(Timestamp::UNIX_EPOCH).await.0, [], "it is told once");
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_all(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}
