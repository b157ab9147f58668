//! Making a mesh.

use std::time::Duration;

use async_nats::jetstream::stream;
use rr_nats::{Error, PublishError, Topology, connect, ensure, server::Embedded};

use super::{cancel, entity, options, quick, world, world_of};
use crate::support;

#[tokio::test]
async fn a_mesh_is_made_once_and_its_partitions_stay() {
    let world = world().await;
    let more = Topology { partitions: 64, ..quick() };
    let (first, second) = tokio::join!(ensure(&world.link, &more), ensure(&world.link, &more));
    for mesh in [first.unwrap(), second.unwrap(), world.link.mesh().await.unwrap()] {
        assert_eq!(mesh.partitions(), 2);
        assert_eq!(mesh.work_ack_wait(), quick().work_ack_wait);
        assert_eq!(mesh.partition_of(&entity("r1")), world.mesh.partition_of(&entity("r1")));
    }
}

#[tokio::test]
async fn meshes_of_several_processes_at_once_are_one() {
    let world = world().await;
    for name in [
        "RR_EVENTS",
        "RR_TIMERS",
        "RR_WORK",
        "RR_OUTPUT",
        "RR_QUARANTINE",
        "KV_rr-runs",
        "KV_rr-workers",
        "KV_rr-locks",
    ] {
        world.stranger().await.delete_stream(name).await.unwrap();
    }
    let quick = quick();
    let many = futures::future::join_all((0..8).map(|_| ensure(&world.link, &quick))).await;
    for mesh in many {
        assert_eq!(mesh.unwrap().partitions(), 2);
    }
}

#[tokio::test]
async fn a_server_without_a_mesh_says_so() {
    let world = world().await;
    world.stranger().await.delete_stream("RR_EVENTS").await.unwrap();
    assert!(matches!(world.link.mesh().await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn what_guarantees_rest_on_must_be_as_we_want_it_and_the_rest_is_the_operators() {
    let world = world().await;
    let js = world.stranger().await;
    let config = |name: &'static str| {
        let js = js.clone();
        async move { js.get_stream(name).await.unwrap().cached_info().config.clone() }
    };
    let sized = stream::Config { max_bytes: 64 * 1024 * 1024, ..config("RR_OUTPUT").await };
    js.update_stream(sized).await.unwrap();
    // What is refused at a limit is not lost.
    let limited = stream::Config { max_bytes: 64 * 1024 * 1024, ..config("RR_EVENTS").await };
    js.update_stream(limited).await.unwrap();
    ensure(&world.link, &quick()).await.unwrap();

    let narrow = stream::Config { allow_direct: false, ..config("RR_EVENTS").await };
    js.update_stream(narrow).await.unwrap();
    let drift = ensure(&world.link, &quick()).await.unwrap_err();
    let told = drift.to_string();
    assert!(told.starts_with("the mesh differs: stream RR_EVENTS: allow_direct is false, must be true; "), "{told}");
    let whole = stream::Config { allow_direct: true, ..config("RR_EVENTS").await };
    js.update_stream(whole).await.unwrap();

    // What is told first is what turns the other on; an operator who corrects it can go on.
    let made = config("KV_rr-workers").await;
    let with_markers =
        stream::Config { subject_delete_marker_ttl: Some(Duration::from_mins(1)), allow_rollup: true, ..made.clone() };
    let with_rollup = stream::Config { allow_rollup: true, ..made.clone() };
    let mortal = stream::Config { allow_message_ttl: false, ..made.clone() };
    for (changed, expected) in [
        (with_markers, "subject_delete_marker_ttl is Some(60s), must be None"),
        (with_rollup, "allow_rollup is true, must be false"),
    ] {
        js.update_stream(changed).await.unwrap();
        let drift = ensure(&world.link, &quick()).await.unwrap_err();
        let told = drift.to_string();
        assert!(told.starts_with(&format!("the mesh differs: stream KV_rr-workers: {expected}; ")), "{told}");
        js.update_stream(made.clone()).await.unwrap();
        ensure(&world.link, &quick()).await.unwrap();
    }
    // The server never turns this one off; made without it, the bucket would keep everybody for ever.
    js.delete_stream("KV_rr-workers").await.unwrap();
    js.create_stream(mortal).await.unwrap();
    let drift = ensure(&world.link, &quick()).await.unwrap_err();
    let expected = "the mesh differs: stream KV_rr-workers: allow_message_ttl is false, must be true; ";
    let told = drift.to_string();
    assert!(told.starts_with(expected), "{told}");
}

/// The event log of an earlier build had the timers in it.
#[tokio::test]
async fn a_mesh_of_another_version_is_left_alone_and_it_is_told_what_to_do() {
    let world = world().await;
    let js = world.stranger().await;
    let config = js.get_stream("RR_EVENTS").await.unwrap().cached_info().config.clone();
    for name in ["RR_EVENTS", "RR_TIMERS"] {
        js.delete_stream(name).await.unwrap();
    }
    let subjects = ["rr.in.>", "rr.ev.>", "rr.at.>"].map(str::to_owned).to_vec();
    js.create_stream(stream::Config { subjects, ..config }).await.unwrap();
    let told = ensure(&world.link, &quick()).await.unwrap_err().to_string();
    assert!(told.contains("stream RR_EVENTS: subjects is ") && told.contains("delete the streams"), "{told}");
    assert!(js.get_stream("RR_TIMERS").await.is_err());
}

#[tokio::test]
async fn powers_that_nobody_needs_are_off() {
    let world = world_of(&Topology::default()).await;
    let js = world.stranger().await;
    for name in [
        "RR_EVENTS",
        "RR_TIMERS",
        "RR_WORK",
        "RR_OUTPUT",
        "RR_QUARANTINE",
        "KV_rr-runs",
        "KV_rr-workers",
        "KV_rr-locks",
    ] {
        let config = js.get_stream(name).await.unwrap().cached_info().config.clone();
        assert!(!config.allow_atomic_publish, "{name}");
        assert_eq!(config.allow_message_ttl, ["KV_rr-workers", "KV_rr-locks"].contains(&name));
        // The server insists on it where there are schedules.
        assert_eq!(config.allow_rollup, name == "RR_TIMERS");
        assert!(!config.allow_message_counter && !config.allow_batch_publish, "{name}");
        assert_eq!(config.allow_message_schedules, name == "RR_TIMERS");
        let is_kept = name == "RR_EVENTS" || name == "RR_TIMERS";
        assert_eq!(config.max_bytes <= 0, is_kept, "{name}: what is kept for ever has no limit of its own");
    }
}

#[tokio::test]
async fn a_full_store_refuses_and_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = rr_nats::server::Config { file_store_max: 128 << 20, ..support::config(dir.path()) };
    let server = Embedded::start(&support::binary().await, config).await.unwrap();
    let link = connect(&options(&server)).await.unwrap();
    // The streams take what room there is.
    let mesh = ensure(&link, &quick()).await.unwrap();
    let big = cancel(&"x".repeat(900_000));
    let mut stored = 0;
    let full = loop {
        match mesh.request(&entity("r1"), "me", &big).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "the limit is not kept");
    };
    assert!(matches!(full, PublishError::Full(_)), "{full}");
    assert_eq!(mesh.inputs_after(&entity("r1"), 0, 0).await.unwrap().len(), stored);
}

#[tokio::test]
async fn more_copies_than_servers_are_refused_by_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let server = support::start(dir.path()).await;
    let link = connect(&options(&server)).await.unwrap();
    assert!(!link.is_clustered());
    let error = ensure(&link, &Topology { replicas: Some(3), ..quick() }).await.unwrap_err();
    assert!(matches!(error, Error::Replicas { wanted: 3, .. }), "{error}");
    let text = error.to_string();
    for part in ["3 copies of stream KV_rr-workers", "3 servers in one cluster", "mesh.replicas"] {
        assert!(text.contains(part), "{text}");
    }
    // Nobody asked for any number: one copy is what such a server can do.
    ensure(&link, &quick()).await.unwrap();
    assert_eq!(rr_nats::topology::copies(&link).await, Ok(1));
}
