//! What is amiss ends before its time where somebody ends it.

use rr_model::{Fault, Servers};
use rr_nats::{First, PublishError};
use rr_schemas::{id::RunId, input::Input};
use tokio::time::{Instant, sleep};

use super::faults::{SECOND, counted, made};

/// What their leader took meanwhile is stored, as if they had never slept.
#[tokio::test(start_paused = true)]
async fn copies_that_are_awake_again_agree_on_what_was_taken_meanwhile() {
    let run: RunId = "r1".parse().unwrap();
    let stream = || "RR_EVENTS".to_owned();
    let (model, _link, mesh) = made(Servers::Three).await;
    model.inject(&Fault::Wake { stream: stream() });
    assert_eq!(counted(&model, "wake"), 0, "nothing was amiss");
    model.inject(&Fault::LoseMajority { stream: stream(), unaware: 60 * SECOND, leaderless: 60 * SECOND });
    let (begun, timer) = (Instant::now(), Input::Timer {});
    let wakes = async {
        sleep(3 * SECOND).await;
        model.inject(&Fault::Wake { stream: stream() });
    };
    let asks = || mesh.submit(&run, "me", &timer, First::New);
    let (first, second, ()) = tokio::join!(asks(), asks(), wakes);
    assert!(first.is_ok(), "what it had taken is agreed on: {first:?}");
    assert_eq!(second, Err(PublishError::Unsettled));
    assert!(begun.elapsed() < 4 * SECOND, "at once");
    mesh.request(&(&run).into(), "me", &Input::Timer {}).await.unwrap();
    // Nor does its leader give up later.
    sleep(200 * SECOND).await;
    assert_eq!((counted(&model, "wake"), counted(&model, "move_leader")), (1, 0));
    assert_eq!(mesh.inputs_after(&(&run).into(), 0, 0).await.unwrap().len(), 2);

    model.inject(&Fault::MoveLeader { stream: stream(), leaderless: 60 * SECOND });
    assert!(mesh.request(&(&run).into(), "me", &Input::Timer {}).await.is_err(), "nobody leads it");
    model.inject(&Fault::Wake { stream: stream() });
    mesh.request(&(&run).into(), "me", &Input::Timer {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn servers_that_were_killed_are_there_again_when_somebody_starts_them() {
    let (model, link, mesh) = made(Servers::One).await;
    model.inject(&Fault::Start {});
    assert_eq!(counted(&model, "start"), 0, "they are there");
    model.inject(&Fault::Restart { down: 600 * SECOND, loses_unsynced: false });
    sleep(SECOND).await;
    assert!(!link.is_connected());
    model.inject(&Fault::Start {});
    sleep(5 * SECOND).await;
    assert!(link.is_connected() && mesh.server_time().await.is_ok());
    assert_eq!(counted(&model, "start"), 1);
}
