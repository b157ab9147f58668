//! Who may be believed.

use async_nats::HeaderMap;
use rr_schemas::input::Source;

use super::{World, cancel, entity, report, run, take, worker, world};

type Headers<'a> = &'a [(&'static str, &'a str)];

/// Publishes as somebody who may write to the log but knows no rules.
async fn forge(world: &World, subject: &str, headers: Headers<'_>, body: &str) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let js = world.stranger().await;
    js.publish_with_headers(subject.to_owned(), map, body.to_owned().into()).await.unwrap().await.unwrap();
}

fn envelope(from: &str, to: &str, body: &str) -> String {
    format!(r#"{{"v":1,"kind":"rr.input","from":"{from}","to":"{to}","body":{body}}}"#)
}

#[tokio::test]
async fn the_subject_says_who_speaks() {
    let world = world().await;
    let one = entity("r1");
    world.mesh.request(&one, "me", &cancel("me")).await.unwrap();
    world.mesh.report(&worker("w1"), &run("r1"), &report(3)).await.unwrap();
    let mut feed = world.feed(&one).await;
    let inputs = take(&mut feed, 2).await;
    let sources: Vec<Source> = inputs.iter().map(|input| input.source.clone()).collect();
    assert_eq!(sources, [Source::Api, Source::Worker(worker("w1"))]);
    assert!(inputs.iter().all(|input| input.input.is_ok() && input.entity == one));
    assert_eq!(inputs[1].from, "worker:w1");
}

#[tokio::test]
async fn whatever_does_not_agree_with_its_subject_is_not_believed() {
    let world = world().await;
    let one = entity("r1");
    let base = format!("rr.in.{}.r1", world.mesh.partition_of(&one));
    let (cancel, timer, seen) = (r#"{"cancel":{"by":"me"}}"#, r#"{"timer":{}}"#, r#"{"seen":{"attempts":[]}}"#);
    // As somebody does who wants to cancel a timer with it.
    let scheduled = [("Nats-Scheduler", "rr.at.0.r1"), ("Nats-Schedule-Next", "purge")];
    let foreign = [("Nats-Scheduler", "rr.at.0.r2"), ("Nats-Schedule-Next", "purge")];
    let cases: &[(&str, Headers<'_>, String)] = &[
        ("api", &[], envelope("api:me", "r2", cancel)),
        ("api", &[], envelope("worker:w1", "r1", cancel)),
        ("api", &[], envelope("api:me", "r1", timer)),
        ("api", &[], envelope("api:me", "r1", seen)),
        ("api", &[("Content-Type", "text/plain")], envelope("api:me", "r1", cancel)),
        ("api", &scheduled, envelope("api:me", "r1", cancel)),
        ("api", &[], "{".to_owned()),
        ("api", &[], r#"{"v":9,"kind":"rr.input","from":"api:me","to":"r1","body":{}}"#.to_owned()),
        ("w.w1", &[], envelope("worker:w2", "r1", cancel)),
        ("w.w1", &[], envelope("worker:w1", "r1", cancel)),
        ("note", &[], envelope("api:me", "r1", seen)),
        ("timer", &[], envelope("coordinator:timer", "r1", timer)),
        ("timer", &foreign, envelope("coordinator:timer", "r1", timer)),
    ];
    for (tail, headers, body) in cases {
        forge(&world, &format!("{base}.{tail}"), headers, body).await;
    }
    let mut feed = world.feed(&one).await;
    for (input, case) in take(&mut feed, cases.len()).await.iter().zip(cases) {
        assert!(input.input.is_err(), "{case:?} was believed");
    }
    // A message without a content type is JSON.
    forge(&world, &format!("{base}.api"), &[], &envelope("api:me", "r1", cancel)).await;
    assert!(take(&mut feed, 1).await[0].input.is_ok());
}

#[tokio::test]
async fn what_has_no_inputs_subject_goes_to_the_quarantine_and_is_acknowledged() {
    let world = world().await;
    let one = entity("r1");
    let partition = world.mesh.partition_of(&one);
    let body = envelope("api:me", "r1", r#"{"cancel":{"by":"me"}}"#);
    // `rx` lives in the other partition.
    let other =
        (0..100).map(|n| format!("rx{n}")).find(|id| world.mesh.partition_of(&entity(id)) != partition).unwrap();
    let bad = [
        format!("rr.in.{partition}.r1"),
        format!("rr.in.{partition}.r1.api.more"),
        format!("rr.in.{partition}.r1.other"),
        format!("rr.in.{partition}.-r1.api"),
        format!("rr.in.{partition}.r1.claim.01.1.w1"),
        format!("rr.in.{partition}.{other}.api"),
    ];
    for subject in &bad {
        forge(&world, subject, &[], &body).await;
    }
    world.mesh.request(&one, "me", &cancel("me")).await.unwrap();
    let mut feed = world.feed(&one).await;
    let good = take(&mut feed, 1).await.remove(0);
    assert!(good.input.is_ok());
    good.delivery.unwrap().ack.confirm().await.unwrap();

    let js = world.stranger().await;
    let stream = js.get_stream("RR_QUARANTINE").await.unwrap();
    for (n, subject) in bad.iter().enumerate() {
        let kept = stream.get_raw_message(n as u64 + 1).await.unwrap();
        assert_eq!(kept.subject.as_str(), "rr.bad.coordinator.c1");
        assert_eq!(kept.headers.get("Rr-Subject").unwrap().as_str(), subject);
        assert!(!kept.headers.get("Rr-Reason").unwrap().as_str().is_empty());
        assert_eq!(kept.payload, body.as_bytes());
    }
    let consumer = format!("p{partition}");
    super::until("all are acknowledged", || async {
        let mut consumer: async_nats::jetstream::consumer::PullConsumer =
            js.get_stream("RR_EVENTS").await.unwrap().get_consumer(&consumer).await.unwrap();
        let info = consumer.info().await.unwrap();
        info.num_ack_pending == 0 && info.num_pending == 0
    })
    .await;
}

#[tokio::test]
async fn a_reason_cannot_break_out_of_its_header() {
    let world = world().await;
    let one = entity("r1");
    world.mesh.request(&one, "me", &cancel("me")).await.unwrap();
    let input = take(&mut world.feed(&one).await, 1).await.remove(0);
    let finder = rr_nats::Finder::Worker(&worker("w1"));
    world.mesh.quarantine(finder, &input.raw, "a\r\nNats-Rollup: all\u{1b}").await.unwrap();
    let js = world.stranger().await;
    let kept = js.get_stream("RR_QUARANTINE").await.unwrap().get_raw_message(1).await.unwrap();
    assert_eq!(kept.headers.get("Rr-Reason").unwrap().as_str(), r"a\r\nNats-Rollup: all\u{1b}");
    assert!(kept.headers.get("Nats-Rollup").is_none());
    assert_eq!(kept.subject.as_str(), "rr.bad.worker.w1");
}
