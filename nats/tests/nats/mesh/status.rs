//! States of runs.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_nats::{Compared, Error, Shortened, StatusWriter, Unfinished};
use rr_schemas::{
    decision::RunStatus,
    view::{RunView, StatusEntry},
};

use super::{LONG, append, cancel, entity, world};

fn state(run: &str, status: RunStatus) -> StatusEntry {
    let view = RunView {
        run: run.parse().unwrap(),
        flow: None,
        status,
        started_at: None,
        ended_at: None,
        jobs: Vec::new(),
        retry_of: None,
        problems: Vec::new(),
    };
    StatusEntry::new(1, view)
}

#[tokio::test]
async fn what_was_read_in_time_counts_and_the_rest_is_known_to_be_missing() {
    const N: usize = 2_000;
    let world = world().await;
    let writer = StatusWriter::new(&world.mesh);
    let put = |n: usize| {
        let status = if n.is_multiple_of(2) { RunStatus::Running } else { RunStatus::Succeeded };
        let (writer, entry) = (&writer, state(&format!("r{n}"), status));
        async move { writer.put(&entry).await.unwrap() }
    };
    stream::iter((0..N).map(put)).buffer_unordered(64).collect::<Vec<_>>().await;
    let (all, is_whole) = world.mesh.unfinished(LONG).await.unwrap();
    assert_eq!((all.len(), is_whole), (N / 2, true));
    assert!(all.is_sorted_by_key(|run: &Unfinished| run.changed));
    let mut limit = Duration::ZERO;
    loop {
        match world.mesh.unfinished(limit).await {
            Err(Error::Timeout { .. }) => {}
            Err(error) => panic!("{error}"),
            Ok((found, is_whole)) => {
                assert!(all.starts_with(&found), "the oldest come first");
                if is_whole {
                    assert_eq!(found.len(), all.len());
                    break;
                }
            }
        }
        assert!(limit < LONG, "it is never read whole");
        limit = limit * 5 / 4 + Duration::from_millis(1);
    }
}

#[tokio::test]
async fn whoever_has_anything_in_the_log_lives_unless_its_state_says_that_it_is_over() {
    let world = world().await;
    let (mesh, writer) = (&world.mesh, StatusWriter::new(&world.mesh));
    for decided in ["decided", "over"] {
        append(mesh, &entity(decided), 1, 0).await.unwrap();
    }
    for asked in ["asked", "ended"] {
        mesh.request(&entity(asked), "me", &cancel("me")).await.unwrap();
    }
    for (run, status) in [
        ("decided", RunStatus::Running),
        ("over", RunStatus::Failed),
        ("ended", RunStatus::Succeeded),
        ("gone", RunStatus::Running),
    ] {
        writer.put(&state(run, status)).await.unwrap();
    }
    let entities = |ids: &[&str]| -> BTreeSet<_> { ids.iter().map(|id| entity(id)).collect() };
    for (ahead, living) in
        [(vec![], vec!["asked", "decided"]), (vec!["ended", "gone", "decided"], vec!["asked", "decided", "ended"])]
    {
        assert_eq!(mesh.living(&entities(&ahead)).await.unwrap(), entities(&living), "{ahead:?}");
    }
}

/// The cut lies before what a busy mesh has written since.
#[tokio::test]
async fn a_history_that_lost_its_end_is_found_behind_many_that_did_not() {
    let world = world().await;
    let (mesh, writer) = (&world.mesh, StatusWriter::new(&world.mesh));
    writer.put(&state("cut", RunStatus::Running)).await.unwrap();
    for n in 0..300 {
        let run = format!("r{n}");
        append(mesh, &entity(&run), 1, 0).await.unwrap();
        writer.put(&state(&run, RunStatus::Running)).await.unwrap();
    }
    let cut = Shortened { run: "cut".parse().unwrap(), shown: 1, left: 0 };
    for seen_at in [None, Some(Timestamp::UNIX_EPOCH), Some(Timestamp::now())] {
        let compared = mesh.shortened(Timestamp::UNIX_EPOCH, seen_at).await.unwrap();
        assert_eq!(compared, Compared { shortened: vec![cut.clone()], is_all: true }, "{seen_at:?}");
    }
}
