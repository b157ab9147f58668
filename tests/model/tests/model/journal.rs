//! What a journal has of streams that have forgotten it.

use rr_model::{Fault, Model, ModelConfig, Noted, Servers};
use rr_nats::{
    Topology,
    transport::{HeaderMap, Observer, Outgoing, Transport as _},
};
use rr_schemas::{id::EntityId, input::Input};
use tokio::time::sleep;

use super::faults::{SECOND, made};

/// A journal has what was stored, each message once, and keeps it when the stream does not.
#[tokio::test(start_paused = true)]
async fn a_journal_outlives_what_was_stored() {
    let (model, _link, mesh) = made(Servers::One).await;
    let publisher = model.client("publisher", Observer::default());
    model.keep_journal(&["RR_EVENTS"]);
    for id in ["1", "2", "2"] {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let message = Outgoing { headers: Some(headers), ..Outgoing::plain("rr.in.0.a.api", "x") };
        publisher.publish(message, None).await.unwrap();
    }
    sleep(SECOND).await;
    let journal = model.journal();
    let ids: Vec<_> = journal.iter().map(|noted| (noted.subject.as_str(), noted.id.as_deref())).collect();
    assert_eq!(ids, [("rr.in.0.a.api", Some("1")), ("rr.in.0.a.api", Some("2"))]);
    assert!(journal.iter().all(|noted| noted.at <= model.now()));
    model.inject(&Fault::RemoveStream { stream: "RR_EVENTS".to_owned() });
    assert!(mesh.server_time().await.is_err());
    assert_eq!(model.journal(), journal);
}

/// A journal is of the streams that it was asked to be of, in the order in which they took it all, and tells what the server fired by
/// itself from what others say.
#[tokio::test(start_paused = true)]
async fn a_journal_of_two_streams_tells_who_fired_a_timer() {
    let model = Model::new(ModelConfig::new(3, Servers::One));
    let link = model.link("c1").await.unwrap();
    let mesh = rr_nats::ensure(&link, &Topology { partitions: 1, ..Topology::default() }).await.unwrap();
    model.keep_journal(&["RR_EVENTS", "RR_TIMERS"]);
    let run: EntityId = "r1".parse().unwrap();
    mesh.request(&run, "me", &Input::Timer {}).await.unwrap();
    mesh.arm(&run, model.now() + SECOND, None).await.unwrap();
    sleep(2 * SECOND).await;
    model.say(Outgoing::plain("rr.fired.0.r2", "x"));
    mesh.request(&run, "me", &Input::Timer {}).await.unwrap();
    model.say(Outgoing::plain("rr.work.host.w1.r1.0.1.1", "x"));
    let journal = model.journal();
    let told = |noted: &Noted| (noted.subject.clone(), noted.seq, noted.scheduler.clone());
    let told: Vec<_> = journal.iter().map(told).collect();
    let armed = "rr.at.0.r1".to_owned();
    assert_eq!(
        told,
        [
            ("rr.in.0.r1.api".to_owned(), 1, None),
            (armed.clone(), 1, None),
            ("rr.fired.0.r1".to_owned(), 2, Some(armed)),
            ("rr.fired.0.r2".to_owned(), 3, None),
            ("rr.in.0.r1.api".to_owned(), 2, None),
        ]
    );
    let streams: Vec<_> = journal.iter().map(|noted| noted.stream.as_str()).collect();
    assert_eq!(streams, ["RR_EVENTS", "RR_TIMERS", "RR_TIMERS", "RR_TIMERS", "RR_EVENTS"]);
    assert!(journal.is_sorted_by_key(|noted| noted.at));
}
