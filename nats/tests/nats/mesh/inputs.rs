//! Who may be believed.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::stream::{Config, DiscardPolicy},
};
use jiff::Timestamp;
use rr_nats::Timers;
use rr_schemas::input::Source;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{World, cancel, entity, report, run, soon, take, worker, world};

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
    let cases: &[(&str, Headers<'_>, String)] = &[
        ("api", &[], envelope("api:me", "r2", cancel)),
        ("api", &[], envelope("worker:w1", "r1", cancel)),
        ("api", &[], envelope("api:me", "r1", timer)),
        ("api", &[], envelope("api:me", "r1", seen)),
        ("api", &[("Content-Type", "text/plain")], envelope("api:me", "r1", cancel)),
        ("api", &[], "{".to_owned()),
        ("api", &[], r#"{"v":9,"kind":"rr.input","from":"api:me","to":"r1","body":{}}"#.to_owned()),
        ("w.w1", &[], envelope("worker:w2", "r1", cancel)),
        ("w.w1", &[], envelope("worker:w1", "r1", cancel)),
        ("note", &[], envelope("api:me", "r1", seen)),
        ("timer", &[], envelope("worker:w1", "r1", timer)),
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

/// The log has no schedules. Should somebody turn them on, nobody is believed for whom the server speaks.
#[tokio::test]
async fn what_the_server_publishes_for_somebody_is_not_believed() {
    let world = world().await;
    let (one, two) = (entity("r1"), entity("r2"));
    let js = world.stranger().await;
    let config = js.get_stream("RR_EVENTS").await.unwrap().cached_info().config.clone();
    let discard = DiscardPolicy::Old;
    js.update_stream(Config { allow_message_schedules: true, allow_rollup: true, discard, ..config }).await.unwrap();
    let (partition, report) =
        (world.mesh.partition_of(&one), format!("rr.in.{}.r2.w.w1", world.mesh.partition_of(&two)));
    let inbox = |end: &str| format!("rr.in.{partition}.r1.{end}");
    let decision = r#"{"v":1,"kind":"rr.decision","from":"coordinator:c1","to":"r1","body":{"n":1,"by":"c1","upto":0,"events":[]}}"#;
    let targets = [
        (inbox("timer"), envelope("coordinator:c1", "r1", r#"{"timer":{}}"#)),
        (inbox("api"), envelope("api:me", "r1", r#"{"cancel":{"by":"me"}}"#)),
        (format!("rr.ev.{partition}.r1"), decision.to_owned()),
    ];
    for (n, (target, body)) in targets.iter().enumerate() {
        let at = [("Nats-Schedule", "@at 2020-01-01T00:00:00Z"), ("Nats-Schedule-Target", target)];
        forge(&world, &format!("{report}{n}"), &at, body).await;
    }
    let inputs = async || world.mesh.inputs_after(&one, 0, 0).await.unwrap();
    super::until("both inputs are there", || async { inputs().await.len() == 2 }).await;
    for input in inputs().await {
        let reason = input.input.unwrap_err();
        assert!(reason.contains("published by the schedule"), "{}: {reason}", input.raw.subject);
    }
    super::until("the decision is there", || async { world.mesh.last_decision(&one).await.unwrap().is_some() }).await;
    assert!(world.mesh.last_decision(&one).await.unwrap().unwrap().decision.is_err());
}

/// What a server says to a reader or a puller.
const STATUSES: [&str; 7] =
    ["100", "204 EOB", "404 No Messages", "408 Request Timeout", "409 Consumer Deleted", "423", "503"];

/// Publishes as no client does: a message with a status of its own.
async fn forge_status(world: &World, subject: &str, status: &str, body: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", world.server.port())).await.unwrap();
    let (user, password) = (world.server.user(), world.server.password());
    let headers = format!("NATS/1.0 {status}\r\n\r\n");
    let (head, all) = (headers.len(), headers.len() + body.len());
    let text = format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"headers\":true,\"verbose\":false}}\r\n\
         HPUB {subject} {head} {all}\r\n{headers}{body}\r\nPING\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("PONG") {
        assert!(soon(stream.read_buf(&mut said)).await.unwrap() > 0, "{}", String::from_utf8_lossy(&said));
    }
    assert!(!String::from_utf8_lossy(&said).contains("-ERR"), "{}", String::from_utf8_lossy(&said));
}

/// A publisher may use every word that the server itself puts into the headers of a stored message.
#[tokio::test]
async fn nobody_speaks_in_the_servers_words() {
    let world = world().await;
    let (one, before) = (entity("r1"), Timestamp::now());
    let partition = world.mesh.partition_of(&one);
    let subject = format!("rr.in.{partition}.r1.w.w1");
    let cancel = envelope("api:me", "r1", r#"{"cancel":{"by":"me"}}"#);
    let forged = [
        ("Nats-Subject", format!("rr.in.{partition}.r1.api")),
        ("Nats-Sequence", "77".to_owned()),
        ("Nats-Time-Stamp", "2020-01-01T00:00:00Z".to_owned()),
        ("Nats-Num-Pending", "0".to_owned()),
        ("Nats-Pin-Id", "mine".to_owned()),
        ("Nats-Pending-Messages", "0".to_owned()),
    ];
    let all: Vec<(&'static str, &str)> = forged.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for header in &all {
        forge(&world, &subject, std::slice::from_ref(header), &cancel).await;
    }
    forge(&world, &subject, &all, &cancel).await;
    for status in STATUSES {
        forge_status(&world, &subject, status, &cancel).await;
    }
    world.mesh.request(&one, "me", &super::cancel("me")).await.unwrap();
    let count = forged.len() + 1 + STATUSES.len() + 1;
    let read = world.mesh.inputs_after(&one, 0, count as u64).await.unwrap();
    let delivered = take(&mut world.feed(&one).await, count).await;
    for (how, inputs) in [("read", read), ("delivered", delivered)] {
        assert_eq!(inputs.len(), count, "{how}");
        for (input, seq) in inputs.iter().zip(1..) {
            let is_honest = seq == count as u64;
            assert_eq!((input.seq(), input.source == Source::Api), (seq, is_honest), "{how}");
            assert_eq!(input.input.is_ok(), is_honest, "{how} {seq}: {:?}", input.input);
            assert!(input.at() > before, "{how} {seq}");
            let pin = input.delivery.as_ref().and_then(|delivery| delivery.pin.as_deref());
            assert_ne!(pin, Some("mine"), "{how} {seq}");
        }
    }
}

/// What the server says to a puller has a status. One that somebody publishes does not arrive as such.
#[tokio::test]
async fn a_message_with_a_status_is_a_message() {
    let world = world().await;
    let mut timers = Timers::open(&world.mesh, Duration::from_secs(5)).await.unwrap();
    timers.request(STATUSES.len()).await.unwrap();
    for status in STATUSES {
        forge_status(&world, "rr.fired.0.nobody", status, "").await;
        let fired = soon(timers.next()).await.unwrap_or_else(|error| panic!("{status}: {error}"));
        let fired = fired.unwrap_or_else(|| panic!("{status}: nothing came"));
        assert!(fired.entity.is_err(), "{status}");
        fired.ack.confirm().await.unwrap();
    }
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
        format!("rr.in.{partition}.r1.claim.01.1.w1.i1"),
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

#[tokio::test]
async fn what_was_put_aside_is_listed_put_back_and_removed() {
    let world = world().await;
    let one = entity("r1");
    world.mesh.request(&one, "me", &cancel("me")).await.unwrap();
    let input = take(&mut world.feed(&one).await, 1).await.remove(0);
    let finder = rr_nats::Finder::Worker(&worker("w1"));
    for reason in ["first", "second", "third"] {
        world.mesh.quarantine(finder, &input.raw, reason).await.unwrap();
    }
    let (newest, all) = world.mesh.quarantined(2).await.unwrap();
    let reasons: Vec<&str> = newest.iter().map(|found| found.reason.as_str()).collect();
    assert_eq!((reasons, all), (vec!["third", "second"], 3));
    assert!(newest.iter().all(|found| found.payload.is_empty() && found.finder == "worker.w1"));
    let found = world.mesh.quarantined_one(1).await.unwrap().unwrap();
    assert_eq!((found.subject.as_str(), found.was), (input.raw.subject.as_str(), input.seq()));
    assert_eq!(found.payload, input.raw.payload);
    // What is put back is the same input, said again.
    let seq = world.mesh.restore(&found).await.unwrap();
    let again = world.mesh.inputs_after(&one, seq - 1, seq).await.unwrap().remove(0);
    assert_eq!((again.input, again.source), (input.input.clone(), input.source.clone()));
    for subject in ["rr.ev.0.r1", "rr.at.0.r1", "rr.in.0.r1.*", "$KV.rr-runs.r1", r"rr.in.0.r\u{1b}.api"] {
        let forbidden = rr_nats::Quarantined { subject: subject.to_owned(), ..found.clone() };
        let refused = world.mesh.restore(&forbidden).await;
        assert!(matches!(refused, Err(rr_nats::RestoreError::Refused(_))), "{subject}");
    }
    assert_eq!(world.mesh.drop_quarantined(1).await, Ok(true));
    assert_eq!(world.mesh.drop_quarantined(1).await, Ok(false));
    assert_eq!(world.mesh.quarantined_one(1).await, Ok(None));
    assert_eq!(world.mesh.drop_all_quarantined().await, Ok(2));
    assert_eq!(world.mesh.quarantined(2).await, Ok((vec![], 0)));
}
