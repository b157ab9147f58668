//! A server that dies and comes back.

use rr_nats::{PresenceWatch, PublishError, PullConfig, Start};

use super::{append, cancel, entity, name, offer, queue, run, soon, take, until, world};

#[tokio::test]
async fn everything_goes_on_when_the_server_is_back() {
    let mut world = world().await;
    let (one, id) = (entity("r1"), run("r1"));
    let mesh = world.mesh.clone();
    let mut feed = world.feed(&one).await;
    let [_, durable, _] = mesh.ensure_queue_lanes(&name("q")).await.unwrap();
    let mut lane = mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    let mut tail = mesh.tail(None, Start::All).await.unwrap();
    let watch = PresenceWatch::open(&mesh).await.unwrap();
    mesh.request(&one, "a", &cancel("a")).await.unwrap();
    take(&mut feed, 1).await.remove(0).delivery.unwrap().ack.confirm().await.unwrap();
    let first = append(&mesh, &one, 1, 0).await.unwrap();
    assert_eq!(soon(tail.next()).await.unwrap().seq, first);
    lane.request(3).await.unwrap();

    for round in 0..2_u32 {
        let mut connected = mesh.connected();
        world.server.kill().await.unwrap();
        soon(connected.until(false)).await.unwrap();
        // Nothing is asked for meanwhile, and nobody waits for ever who did.
        while lane.outstanding() > 0 {
            assert!(soon(lane.next()).await.unwrap().is_none());
        }
        lane.request(3).await.unwrap();
        assert_eq!(lane.outstanding(), 0);
        // What cannot be known is unknown.
        let publish = async { soon(mesh.request(&one, "lost", &cancel("lost"))).await };
        let (lost, restarted) = tokio::join!(publish, world.server.restart());
        restarted.unwrap();
        assert!(matches!(lost, Ok(_) | Err(PublishError::Unknown(_) | PublishError::NotFound { .. })), "{lost:?}");
        soon(connected.until(true)).await.unwrap();

        until("a publish is acknowledged", || async { mesh.request(&one, "b", &cancel("b")).await.is_ok() }).await;
        until("inputs come again", || async { mesh.inputs_after(&one, 0, 0).await.is_ok() }).await;
        let seen = loop {
            let batch = soon(feed.next_batch(64)).await;
            let Ok(batch) = batch else { continue };
            for input in &batch {
                input.delivery.as_ref().unwrap().ack.ack().await;
            }
            if batch.iter().any(|input| input.from == "api:b") {
                break true;
            }
        };
        assert!(seen);

        until("an offer is taken", || async { mesh.offer(&offer(&id, round, queue("q"))).await.is_ok() }).await;
        assert!(soon(lane.next()).await.unwrap().is_none());
        let got = loop {
            if lane.outstanding() == 0 {
                lane.request(3).await.unwrap();
            }
            if let Ok(Some(got)) = soon(lane.next()).await {
                break got;
            }
        };
        assert_eq!(got.offer.unwrap().task, round);
        got.ack.confirm().await.unwrap();
        assert!(lane.outstanding() <= 3);

        let before = mesh.last_decision(&one).await.unwrap().unwrap().seq;
        let next = append(&mesh, &one, u64::from(round) + 2, before).await.unwrap();
        assert_eq!(soon(tail.next()).await.unwrap().seq, next, "no hole and no repetition");
        let presence = super::presence::presence(&format!("w{round}"), "i1");
        let name = presence.worker.clone();
        mesh.present_worker(presence, std::time::Duration::from_mins(1)).await.unwrap();
        until("presence is seen again", || async { watch.worker(&name).is_some() }).await;
    }
}
