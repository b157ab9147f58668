//! Each fault does what its name says, and is counted.

use std::time::Duration;

use futures::StreamExt as _;
use rr_model::{Chances, Fault, Model, ModelConfig, Servers};
use rr_nats::{
    First, Link, Mesh, PublishError, PullConfig, Topology,
    transport::{HeaderMap, Messages, Observer, Outgoing, Transport},
};
use rr_schemas::{
    flow::Priority,
    id::{EntityId, RunId},
    input::Input,
    name::Name,
};
use tokio::time::{Instant, sleep, timeout};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn made(servers: Servers) -> (Model, Link, Mesh) {
    made_of(3, servers).await
}

async fn made_of(seed: u64, servers: Servers) -> (Model, Link, Mesh) {
    let model = Model::new(ModelConfig::new(seed, servers));
    let link = model.link("c1").await.unwrap();
    let mesh = rr_nats::ensure(&link, &Topology::default()).await.unwrap();
    (model, link, mesh)
}

pub(crate) fn counted(model: &Model, name: &str) -> u64 {
    model.counts().get(name).copied().unwrap_or_default()
}

fn client(name: &str) -> String {
    name.to_owned()
}

/// Two clients that talk to each other.
async fn pair(model: &Model) -> (impl Transport, impl Transport, Messages) {
    let (one, other) = (model.client("one", Observer::default()), model.client("other", Observer::default()));
    let messages = other.subscribe("a.*".into(), None).await.unwrap();
    sleep(SECOND).await;
    (one, other, messages)
}

async fn say(from: &impl Transport, text: &'static str) {
    from.publish(Outgoing::plain("a.b", text), None).await.unwrap();
}

async fn hears(messages: &mut Messages, within: Duration) -> Option<String> {
    let message = timeout(within, messages.next()).await.ok()??;
    Some(String::from_utf8(message.payload.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_cut_loses_what_is_under_way_and_subscriptions_come_back() {
    let model = Model::new(ModelConfig::new(3, Servers::One));
    let (one, other, mut messages) = pair(&model).await;
    say(&one, "under way").await;
    model.inject(&Fault::Cut { client: client("other") });
    assert!(!other.is_connected() && one.is_connected());
    assert_eq!(hears(&mut messages, SECOND).await, None);
    let before = other.generation();
    model.inject(&Fault::Heal { client: client("other") });
    sleep(SECOND).await;
    assert_eq!((other.is_connected(), other.generation()), (true, before + 1));
    say(&one, "later").await;
    assert_eq!(hears(&mut messages, SECOND).await.as_deref(), Some("later"));
    assert_eq!((counted(&model, "cut"), counted(&model, "heal")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_the_connection_is_broken_waits_for_it() {
    let model = Model::new(ModelConfig::new(3, Servers::One));
    let (one, _other, mut messages) = pair(&model).await;
    model.inject(&Fault::Cut { client: client("one") });
    say(&one, "waits").await;
    assert_eq!(hears(&mut messages, SECOND).await, None);
    model.inject(&Fault::Heal { client: client("one") });
    assert_eq!(hears(&mut messages, SECOND).await.as_deref(), Some("waits"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_holds_everything_and_delivers_it_later() {
    let model = Model::new(ModelConfig::new(3, Servers::One));
    let (one, other, mut messages) = pair(&model).await;
    model.inject(&Fault::Silence { client: client("other") });
    say(&one, "held").await;
    assert_eq!(hears(&mut messages, Duration::from_mins(1)).await, None);
    assert!(other.is_connected());
    model.inject(&Fault::Heal { client: client("other") });
    assert_eq!(hears(&mut messages, SECOND).await.as_deref(), Some("held"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_killed_is_gone() {
    let model = Model::new(ModelConfig::new(3, Servers::One));
    let (one, other, mut messages) = pair(&model).await;
    model.inject(&Fault::Kill { client: client("other") });
    say(&one, "nobody").await;
    assert_eq!(hears(&mut messages, SECOND).await, None);
    assert!(other.publish(Outgoing::plain("a.b", ""), None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_is_lost_leaves_its_message_and_a_publish_that_is_lost_does_not() {
    for (chances, name, stored) in [
        (Chances { lost_ack: 1_000, ..Chances::default() }, "lost_ack", 1),
        (Chances { lost_publish: 1_000, ..Chances::default() }, "lost_publish", 0),
    ] {
        let (model, _link, mesh) = made(Servers::One).await;
        model.set_chances(Some("c1"), chances);
        let begun = Instant::now();
        let run = "r1".parse().unwrap();
        let asked = mesh.request(&run, "me", &Input::Timer {}).await;
        assert!(matches!(asked, Err(PublishError::Unknown(_))), "{asked:?}");
        assert!(begun.elapsed() >= 4 * SECOND);
        model.set_chances(Some("c1"), Chances::default());
        assert_eq!(u64::from(mesh.first_of(&run).await.unwrap().is_some()), stored);
        assert_eq!(counted(&model, name), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_for_a_stream_that_has_no_leader() {
    let (model, _link, mesh) = made(Servers::Three).await;
    let run = "r1".parse().unwrap();
    model.inject(&Fault::MoveLeader { stream: "RR_EVENTS".to_owned(), leaderless: 5 * SECOND });
    let asked = mesh.request(&run, "me", &Input::Timer {}).await;
    assert!(matches!(asked, Err(PublishError::NotFound { .. })), "{asked:?}");
    sleep(6 * SECOND).await;
    mesh.request(&run, "me", &Input::Timer {}).await.unwrap();
    assert_eq!(counted(&model, "move_leader"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_safe_is_lost_with_the_power_and_only_then() {
    for (loses_unsynced, left) in [(false, true), (true, false)] {
        let (model, link, mesh) = made(Servers::One).await;
        model.inject(&Fault::Sync {});
        let run = "r1".parse().unwrap();
        mesh.request(&run, "me", &Input::Timer {}).await.unwrap();
        model.inject(&Fault::Restart { down: 3 * SECOND, loses_unsynced });
        assert!(!link.is_connected());
        sleep(4 * SECOND).await;
        assert!(link.is_connected());
        assert_eq!(mesh.first_of(&run).await.unwrap().is_some(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_refuses_until_there_is_room() {
    let (model, _link, mesh) = made(Servers::One).await;
    let run = "r1".parse().unwrap();
    model.inject(&Fault::Fill { stream: "RR_EVENTS".to_owned() });
    let asked = mesh.request(&run, "me", &Input::Timer {}).await;
    assert!(matches!(asked, Err(PublishError::Full(_))), "{asked:?}");
    model.inject(&Fault::Drain { stream: "RR_EVENTS".to_owned() });
    mesh.request(&run, "me", &Input::Timer {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removes_is_gone() {
    let (model, _link, mesh) = made(Servers::One).await;
    let queue: Name = "q".parse().unwrap();
    mesh.ensure_queue_lanes(&queue).await.unwrap();
    let durable = rr_nats::subject::queue_durable(&queue, Priority::default());
    let mut lane = mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
    lane.request(1).await.unwrap();
    sleep(SECOND).await;
    let stream = || "RR_WORK".to_owned();
    model.inject(&Fault::RemoveConsumer { stream: stream(), consumer: durable.clone() });
    assert_eq!(lane.next().await.unwrap_err(), rr_nats::PullError::Gone);
    model.inject(&Fault::RemoveStream { stream: stream() });
    assert!(mesh.lane_names().await.is_err());
    // What is not there cannot be removed once more.
    model.inject(&Fault::RemoveStream { stream: stream() });
    assert_eq!((counted(&model, "remove_consumer"), counted(&model, "remove_stream")), (1, 1));
}

/// Of two that are under way at once the copies of a stream have not agreed on either: the second one hears so, in words of its own.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_in_a_cluster_has_refusals_of_its_own() {
    for (servers, codes) in [(Servers::One, ["10071", "duplicate"]), (Servers::Three, ["10164", "10158"])] {
        let (model, _link, _mesh) = made(servers).await;
        let racer = model.client("racer", Observer::default());
        let mut answers = racer.subscribe("_INBOX.racer".into(), None).await.unwrap();
        for (subject, header, value, code) in [
            ("rr.in.0.a.api", "Nats-Expected-Last-Subject-Sequence", "0", codes[0]),
            ("rr.in.0.b.api", "Nats-Msg-Id", "same", codes[1]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, value);
            let message = Outgoing { headers: Some(headers), ..Outgoing::plain(subject, "x") };
            for _ in 0..2 {
                racer.publish(message.clone(), Some("_INBOX.racer".into())).await.unwrap();
            }
            let said = [hears(&mut answers, SECOND).await.unwrap(), hears(&mut answers, SECOND).await.unwrap()];
            assert_eq!(said.iter().filter(|said| said.contains(code)).count(), 1, "{said:?}");
        }
    }
}

/// What a server that is killed had not written down yet comes again, and what it had written down long ago does not.
#[tokio::test(start_paused = true)]
async fn the_last_moment_before_a_death_may_be_forgotten() {
    let mut again = [0, 0];
    for seed in 0..20 {
        for (n, pause) in [Duration::from_millis(10), SECOND].into_iter().enumerate() {
            let model = Model::new(ModelConfig::new(seed, Servers::One));
            let link = model.link("c1").await.unwrap();
            let mesh = rr_nats::ensure(&link, &Topology { partitions: 1, ..Topology::default() }).await.unwrap();
            mesh.request(&"r1".parse().unwrap(), "me", &Input::Timer {}).await.unwrap();
            let mut puller = rr_nats::Puller::open(&link, "RR_EVENTS", "p0", pinned()).await.unwrap();
            puller.request(1).await.unwrap();
            let first = puller.next().await.unwrap().unwrap();
            sleep(SECOND).await;
            first.ack.confirm().await.unwrap();
            sleep(pause).await;
            model.inject(&Fault::Restart { down: SECOND, loses_unsynced: false });
            sleep(10 * SECOND).await;
            let state = mesh.partition_durable(rr_schemas::id::Partition(0)).await.unwrap();
            again[n] += usize::from(state.has_backlog());
        }
    }
    assert!((1..20).contains(&again[0]) && again[1] == 0, "{again:?}");
}

/// What had given way to another one that has fired is there again, and nobody fires it. Where the other one is there still, it stays.
#[tokio::test(start_paused = true)]
async fn a_timer_that_had_given_way_comes_back_with_a_killed_server_and_never_fires() {
    for (fires, back) in [(true, true), (false, false)] {
        let (model, _link, mesh) = made(Servers::One).await;
        let [first, run]: [EntityId; 2] = ["r0", "r1"].map(|run| run.parse().unwrap());
        let now = mesh.server_time().await.unwrap();
        mesh.arm(&first, now + 1_000 * SECOND, None).await.unwrap();
        let later = mesh.arm(&run, now + 100 * SECOND, None).await.unwrap();
        let earlier = mesh.arm(&run, now + 10 * SECOND, Some(later)).await.unwrap();
        sleep(if fires { 20 * SECOND } else { SECOND }).await;
        assert_eq!(mesh.armed(&run).await.unwrap(), Some(earlier).filter(|_| !fires));
        model.inject(&Fault::Restart { down: SECOND, loses_unsynced: false });
        sleep(5 * SECOND).await;
        assert_eq!(mesh.armed(&run).await.unwrap(), Some(if back { later } else { earlier }));
        sleep(200 * SECOND).await;
        assert_eq!(mesh.armed(&run).await.unwrap(), Some(later).filter(|_| back));
    }
}

fn pinned() -> PullConfig {
    PullConfig { pinned: rr_nats::Pinned::Group, ..PullConfig::default() }
}

/// The same seed brings the same history, another one another.
#[tokio::test(start_paused = true)]
async fn a_seed_is_a_history() {
    let mut histories = Vec::new();
    for seed in [1, 1, 2] {
        let delay = Duration::ZERO..=Duration::from_millis(20);
        let model = Model::new(ModelConfig { delay, ..ModelConfig::new(seed, Servers::Three) });
        let (one, _other, mut messages) = pair(&model).await;
        let begun = Instant::now();
        let mut history = Vec::new();
        for _ in 0..200 {
            say(&one, "x").await;
            hears(&mut messages, SECOND).await.unwrap();
            history.push(begun.elapsed());
        }
        histories.push(history);
    }
    assert_eq!(histories[0], histories[1]);
    assert_ne!(histories[1], histories[2]);
}

/// Somebody in trouble may have acknowledged inputs that nobody has answered: whoever loads the run must find them.
#[tokio::test(start_paused = true)]
async fn a_copy_that_lags_hides_no_input() {
    let (model, _link, mesh) = made(Servers::Three).await;
    let run: EntityId = "r1".parse().unwrap();
    let asked = [(); 3].map(|()| Input::Timer {});
    for input in &asked {
        mesh.request(&run, "me", input).await.unwrap();
    }
    model.set_chances(None, Chances { stale_read: 1_000, late_by: 60 * SECOND, ..Chances::default() });
    for _ in 0..20 {
        assert_eq!(mesh.inputs_after(&run, 0, 0).await.unwrap().len(), asked.len());
    }
    assert!(counted(&model, "stale_read") >= 20);
}

/// A publish that was never agreed on stands in the way of others, and is gone with whoever led.
#[tokio::test(start_paused = true)]
async fn what_is_not_agreed_on_says_nothing_of_what_is_stored() {
    let (mut stored, mut free) = (0, 0);
    let run: RunId = "r1".parse().unwrap();
    for seed in 0..20 {
        let (model, _link, mesh) = made_of(seed, Servers::Three).await;
        let fault =
            Fault::LoseMajority { stream: "RR_EVENTS".to_owned(), unaware: 10 * SECOND, leaderless: 2 * SECOND };
        model.inject(&fault);
        let first = mesh.submit(&run, "me", &Input::Timer {}, First::New).await;
        assert!(matches!(first, Err(PublishError::Unknown(_))), "{first:?}");
        let again = mesh.submit(&run, "me", &Input::Timer {}, First::New).await;
        assert_eq!(again, Err(PublishError::Unsettled));
        sleep(15 * SECOND).await;
        match mesh.submit(&run, "me", &Input::Timer {}, First::New).await {
            Ok(_) => free += 1,
            Err(PublishError::Conflict) => stored += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(mesh.inputs_after(&(&run).into(), 0, 0).await.unwrap().len(), 1);
    }
    assert!(stored > 0 && free > 0, "{stored} stored, {free} not");
}
