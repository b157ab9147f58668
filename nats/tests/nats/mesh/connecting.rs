//! First connections, logins, permissions.

use std::time::{Duration, Instant};

use rr_nats::{
    ConnectError, ConnectOptions, Error, PresenceError, PresenceWatch, PublishError, PullConfig, PullError, connect,
    ensure,
};
use tokio::net::TcpListener;

use super::{
    cancel, custom::Custom, entity, name, options, presence::presence, quick, report, run, soon, until, worker, world,
};

pub(super) async fn failure(options: &ConnectOptions) -> ConnectError {
    let since = Instant::now();
    let error = connect(options).await.unwrap_err();
    assert!(since.elapsed() < Duration::from_secs(6), "it took {:?}", since.elapsed());
    error
}

pub(super) fn to(server: &str) -> ConnectOptions {
    ConnectOptions { server: server.to_owned(), ..ConnectOptions::default() }
}

#[tokio::test]
async fn each_cause_of_a_failed_connection_has_its_own_text() {
    for bad in ["", "nats://", "http://localhost:4222", "nats://host:99999", "nats://u:secret@host:x"] {
        let error = failure(&to(bad)).await;
        assert!(matches!(error, ConnectError::BadUrl(_)), "{bad}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let error = failure(&to(&silent.to_string())).await;
    assert_eq!(error.to_string(), format!("cannot reach a NATS server at {silent}: no answer"));
    drop(listener);
    let error = failure(&to(&silent.to_string())).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains(&silent.to_string()) && error.to_string().contains("refused"), "{error}");

    let world = world().await;
    let wrong = ConnectOptions { password: Some("wrong".to_owned()), ..options(&world.server) };
    let error = failure(&wrong).await;
    assert!(matches!(error, ConnectError::Auth(_)), "{error}");
    let none = ConnectOptions { user: None, password: None, ..options(&world.server) };
    assert!(matches!(failure(&none).await, ConnectError::Auth(_)));
    let tls = ConnectOptions { server: world.server.url().replace("nats://", "tls://"), ..options(&world.server) };
    let error = failure(&tls).await;
    assert!(matches!(error, ConnectError::Unreachable(_)) && error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_silent_server_and_a_dead_one_do_not_keep_from_the_next() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = world().await;
    let server = format!("{},{dead},{}", silent.local_addr().unwrap(), world.server.url());
    // The client tries them in any order; ten times, each was the first.
    for _ in 0..10 {
        connect(&ConnectOptions { server: server.clone(), ..options(&world.server) }).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_jetstream_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Custom::start(dir.path(), "").await;
    assert_eq!(failure(&to(&server.url)).await, ConnectError::JetStreamOff);
}

#[tokio::test]
async fn a_missing_permission_is_told_by_name_and_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("js");
    let configuration = format!(
        r#"
        jetstream {{ store_dir: "{}" }}
        authorization {{ users: [
            {{ user: admin, password: p }}
            {{ user: w1, password: p, permissions: {{
                publish: {{ allow: ["$JS.API.STREAM.INFO.RR_EVENTS", "rr.in.*.*.w.w1", "$JS.API.CONSUMER.MSG.NEXT.RR_WORK.q2-q", "$JS.ACK.RR_WORK.q2-q.>"] }}
                subscribe: {{ allow: ["_INBOX_w1.>"] }}
            }} }}
        ] }}
        "#,
        store.display()
    );
    let server = Custom::start(dir.path(), &configuration).await;
    let admin = connect(&server.as_user("admin")).await.unwrap();
    let all = ensure(&admin, &quick()).await.unwrap();
    for queue in ["q", "other"] {
        all.ensure_queue_lanes(&name(queue)).await.unwrap();
    }

    let options = ConnectOptions { inbox_prefix: Some("_INBOX_w1".to_owned()), ..server.as_user("w1") };
    let mesh = connect(&options).await.unwrap().mesh().await.unwrap();
    mesh.report(&worker("w1"), &run("r1"), &report(1)).await.unwrap();

    let since = Instant::now();
    let error = mesh.report(&worker("w2"), &run("r1"), &report(1)).await.unwrap_err();
    let subject = format!("rr.in.{}.r1.w.w2", mesh.partition_of(&entity("r1")));
    assert_eq!(error, PublishError::Denied { subject });
    let error = mesh.request(&entity("r1"), "me", &cancel("me")).await.unwrap_err();
    assert!(matches!(error, PublishError::Denied { .. }), "{error}");
    let error = mesh.workers().await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    assert!(since.elapsed() < Duration::from_secs(3), "it took {:?}", since.elapsed());

    let config = PullConfig {
        expires: Duration::from_millis(800),
        heartbeat: Duration::from_millis(200),
        ..PullConfig::default()
    };
    let mut lane = mesh.open_lane("q2-q", config).await.unwrap();
    lane.request(1).await.unwrap();
    all.offer(&super::offer(&run("r1"), 1, super::queue("q"))).await.unwrap();
    soon(lane.next()).await.unwrap().unwrap().ack.confirm().await.unwrap();
    let mut foreign = mesh.open_lane("q2-other", config).await.unwrap();
    foreign.request(1).await.unwrap();
    let error = soon(foreign.next()).await.unwrap_err();
    assert_eq!(error, PullError::Denied { subject: "$JS.API.CONSUMER.MSG.NEXT.RR_WORK.q2-other".to_owned() });

    // A worker that could not be told to stop does not work.
    let error = mesh.controls(&worker("w1")).await.unwrap_err();
    assert_eq!(error, Error::Denied { subject: "rr.ctl.w1".to_owned() });

    // With the inbox of everybody nothing can be answered, and that is told too.
    let error = failure(&server.as_user("w1")).await;
    assert!(matches!(&error, ConnectError::InboxDenied { subject } if subject.starts_with("_INBOX.")), "{error}");
}

#[tokio::test]
async fn who_may_show_itself_alone_cannot_make_others_disappear() {
    let dir = tempfile::tempdir().unwrap();
    let configuration = format!(
        r#"
        jetstream {{ store_dir: "{}" }}
        authorization {{ users: [
            {{ user: admin, password: p }}
            {{ user: w1, password: p, permissions: {{
                publish: {{ allow: ["$JS.API.STREAM.INFO.RR_EVENTS", "$KV.rr-workers.worker.w1"] }}
                subscribe: {{ allow: ["_INBOX_w1.>"] }}
            }} }}
        ] }}
        "#,
        dir.path().join("js").display()
    );
    let server = Custom::start(dir.path(), &configuration).await;
    let all = ensure(&connect(&server.as_user("admin")).await.unwrap(), &quick()).await.unwrap();
    let minute = Duration::from_mins(1);
    let other = all.present_worker(presence("w2", "i2"), minute).await.unwrap();
    let watch = PresenceWatch::open(&all).await.unwrap();

    let options = ConnectOptions { inbox_prefix: Some("_INBOX_w1".to_owned()), ..server.as_user("w1") };
    let mesh = connect(&options).await.unwrap().mesh().await.unwrap();
    let mut own = mesh.present_worker(presence("w1", "i1"), minute).await.unwrap();
    own.renew().await.unwrap();
    let error = mesh.present_worker(presence("w2", "i2"), minute).await.unwrap_err();
    assert!(matches!(error, PresenceError::Publish(PublishError::Denied { .. })), "{error}");

    let client = async_nats::ConnectOptions::with_user_and_password("w1".to_owned(), "p".to_owned())
        .custom_inbox_prefix("_INBOX_w1")
        .connect(&server.url)
        .await
        .unwrap();
    for (header, value, refusal) in [
        ("Nats-Rollup", "all", Some("rollup not permitted")),
        ("Nats-Rollup", "sub", Some("rollup not permitted")),
        ("Nats-Schedule", "@every 1s", Some("message schedules is disabled")),
        // It erases its own key.
        ("KV-Operation", "PURGE", None),
    ] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header, value);
        let request = client.request_with_headers("$KV.rr-workers.worker.w1", headers, "{}".into());
        let answer = String::from_utf8(soon(request).await.unwrap().payload.to_vec()).unwrap();
        assert_eq!(answer.contains("error"), refusal.is_some(), "{header}: {value}: {answer}");
        assert!(refusal.is_none_or(|refusal| answer.contains(refusal)), "{header}: {value}: {answer}");
        assert_eq!(watch.worker(&worker("w2")).as_ref(), Some(other.value()), "{header}: {value}");
        assert!(all.workers().await.unwrap().contains(other.value()), "{header}: {value}");
    }
    until("its own key has gone", || async { watch.worker(&worker("w1")).is_none() }).await;
    assert_eq!(all.workers().await.unwrap(), std::slice::from_ref(other.value()));
}
