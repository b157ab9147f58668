//! Headers are powers: somebody who may publish nothing but a worker's own reports sends every one that the server
//! understands. Each is refused or harmless: nothing of others vanishes, nothing is said in their names.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap};
use rr_nats::{Mesh, connect, subject::partition_of};
use rr_schemas::{
    decision::{Event, RunStatus},
    id::{EntityId, RunId},
    input::{Cancel, Input},
    report::Outcome,
};
use rr_tests::{Sandbox, eventually, program};
use serde_json::{Value, json};

use super::{SOON, ending, enveloped, report_of};

/// Where the server of this test listens; below the ports of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// An answer that is not there by then does not come: permissions are refused silently.
const SILENCE: Duration = Duration::from_millis(500);

/// A server with a user for the mesh, and one for a worker `w9` that may only report.
struct Guarded {
    sandbox: Sandbox,
    _server: rr_tests::Running,
    port: u16,
}

impl Guarded {
    async fn start() -> Self {
        let sandbox = Sandbox::new().await;
        let binary = program::nats_server().await;
        let port = fastrand::u16(PORTS);
        let settings = json!({
            "host": "127.0.0.1",
            "port": port,
            "jetstream": { "store_dir": sandbox.dir().join("nats") },
            "authorization": { "users": [
                { "user": "mesh", "password": "m" },
                { "user": "w9", "password": "w",
                  "permissions": { "publish": ["rr.in.*.*.w.w9"], "subscribe": ["_INBOX.>"] } },
            ] },
        });
        let file = sandbox.write("nats-server.conf", settings.to_string());
        let server = sandbox.call(&binary.path, ["--config".into(), file.into_os_string()]).start();
        sandbox.configure(&format!(
            "server: nats://mesh:m@127.0.0.1:{port}\n\
             mesh: {{ partitions: 2, ack-wait: 2s, partition-ack-wait: 1s, pin-timeout: 1s }}\n\
             coordinator: {{ policy: {{ lease: 1s, offer-expiry: 1s, look-max: 1s }} }}\n"
        ));
        let guarded = Self { sandbox, _server: server, port };
        eventually("server", SOON, async || guarded.client("mesh", "m").await).await;
        guarded
    }

    async fn client(&self, user: &str, password: &str) -> Result<Client, async_nats::ConnectError> {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        options.request_timeout(Some(SILENCE)).connect(format!("127.0.0.1:{}", self.port)).await
    }

    async fn mesh(&self) -> Result<Mesh, String> {
        let options = rr_nats::ConnectOptions {
            server: format!("nats://127.0.0.1:{}", self.port),
            user: Some("mesh".to_owned()),
            password: Some("m".to_owned()),
            ..rr_nats::ConnectOptions::default()
        };
        let link = connect(&options).await.map_err(|error| error.to_string())?;
        link.mesh().await.map_err(|error| error.to_string())
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// The server has refused it.
    Refused,
    /// It is stored, as what it is: a message on the subject of `w9`.
    Stored,
    /// The server takes it for one of the same sender that it has.
    Repeated,
    /// Nobody has answered: it may not be published.
    Silence,
}

type Fields = Vec<(&'static str, String)>;

async fn send(client: &Client, subject: &str, fields: &Fields, body: &[u8]) -> Fate {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.as_str());
    }
    let Ok(answer) = client.request_with_headers(subject.to_owned(), headers, body.to_vec().into()).await else {
        return Fate::Silence;
    };
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    match (answer.get("error"), answer["duplicate"].as_bool()) {
        (Some(_), _) => Fate::Refused,
        (None, Some(true)) => Fate::Repeated,
        (None, _) => Fate::Stored,
    }
}

/// Headers with which a message would do something to others.
fn powers(p: u16, run: &EntityId) -> Vec<Fields> {
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    let schedule = |target: &str| {
        let at = ("Nats-Schedule", "@at 2020-01-01T00:00:00Z".to_owned());
        vec![at, ("Nats-Schedule-Target", format!("{target}.{p}.{run}"))]
    };
    let (scheduler, decisions) = (format!("rr.at.{p}.{run}"), format!("rr.ev.{p}.{run}"));
    let batch = [("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")];
    vec![
        one("Nats-Rollup", "all"),
        one("Nats-Rollup", "sub"),
        schedule("rr.ev"),
        schedule("rr.in"),
        schedule("rr.fired"),
        one("Nats-Scheduler", &scheduler),
        vec![("Nats-Scheduler", scheduler), ("Nats-Schedule-Next", "purge".to_owned())],
        one("Nats-TTL", "1s"),
        batch.map(|(name, value)| (name, value.to_owned())).to_vec(),
        one("Nats-Incr", "+1"),
        one("Nats-Expected-Stream", "RR_TIMERS"),
        one("Nats-Expected-Last-Sequence", "1"),
        one("Nats-Expected-Last-Msg-Id", "x"),
        one("Nats-Expected-Last-Subject-Sequence", "99999"),
        vec![
            ("Nats-Expected-Last-Subject-Sequence", "0".to_owned()),
            ("Nats-Expected-Last-Subject-Sequence-Subject", decisions),
        ],
    ]
}

/// Headers that readers could take for the server's own words, and the id of an offer that is to come.
fn disguises(p: u16, run: &EntityId) -> Vec<Fields> {
    let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    vec![
        one("Nats-Msg-Id", &format!("{run}.0.2.1")),
        one("Nats-Marker-Reason", "MaxAge"),
        one("KV-Operation", "PURGE"),
        one("Nats-Subject", &format!("rr.in.{p}.{run}.api")),
        one("Nats-Sequence", "1"),
        one("Nats-Time-Stamp", "2020-01-01T00:00:00Z"),
        one("Nats-Num-Pending", "0"),
        one("Nats-Last-Sequence", "0"),
        one("Nats-Pin-Id", "mine"),
        one("Nats-Pending-Messages", "0"),
        one("Nats-Consumer-Stalled", "rr.in"),
        one("Status", "409"),
    ]
}

/// Every message of a stream: sequence, subject, bytes.
async fn all(client: &Client, stream: &str) -> BTreeMap<u64, (String, Vec<u8>)> {
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await.unwrap();
    let state = stream.get_info().await.unwrap().state;
    let mut found = BTreeMap::new();
    for seq in state.first_sequence.max(1)..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(seq).await {
            found.insert(seq, (message.subject.to_string(), message.payload.to_vec()));
        }
    }
    found
}

/// Sends everything, and says how much of it is stored.
async fn attack(evil: &Client, p: u16, entity: &EntityId, subject: &str) -> usize {
    let cancel = enveloped("api:evil", entity, &Input::Cancel(Cancel { by: "evil".into(), reason: None }));
    let report = enveloped("worker:w9", entity, &report_of(0, Outcome::Failed));
    let bodies = [cancel, report, ending(entity)];
    for fields in powers(p, entity) {
        for body in &bodies {
            assert_eq!(send(evil, subject, &fields, body).await, Fate::Refused, "{fields:?}");
        }
    }
    let mut stored = 0;
    for fields in disguises(p, entity) {
        for body in &bodies {
            let fate = send(evil, subject, &fields, body).await;
            assert!(matches!(fate, Fate::Stored | Fate::Repeated), "{fields:?}: {fate:?}");
            stored += usize::from(fate == Fate::Stored);
        }
    }
    let others = ["rr.ev", "rr.at", "rr.fired"].map(|start| format!("{start}.{p}.{entity}"));
    let inputs = ["api", "note", "timer", "w.w1"].map(|end| format!("rr.in.{p}.{entity}.{end}"));
    for other in others.into_iter().chain(inputs).chain(["$JS.API.STREAM.PURGE.RR_EVENTS".to_owned()]) {
        assert_eq!(send(evil, &other, &vec![], b"").await, Fate::Silence, "{other}");
    }
    stored
}

#[tokio::test]
async fn whoever_may_only_report_has_no_power_over_what_others_say() {
    let guarded = Guarded::start().await;
    let sandbox = &guarded.sandbox;
    let mut coordinator = sandbox.rr(["coordinator"]).start();
    let mesh = eventually("mesh", SOON, async || guarded.mesh().await).await;
    let mut worker = sandbox.rr(["worker", "--name", "w1", "--hosts", "h1"]).start();
    let go = sandbox.path("go");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    sandbox.write("flow.yaml", format!("name: f\njobs:\n  - {{ name: a, shell: {wait:?}, hosts: [h1] }}\n"));
    let _id = sandbox.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    let (run, entity): (RunId, EntityId) = ("r1".parse().unwrap(), "r1".parse().unwrap());
    let p = partition_of(&entity, mesh.partitions()).0;
    let (ours, evil) = (guarded.client("mesh", "m").await.unwrap(), guarded.client("w9", "w").await.unwrap());
    eventually("armed timer", SOON, async || match mesh.armed(&entity).await {
        Ok(Some(armed)) => Ok(armed),
        other => Err(format!("{other:?}")),
    })
    .await;
    let before = all(&ours, "RR_EVENTS").await;

    let subject = format!("rr.in.{p}.{entity}.w.w9");
    let stored = attack(&evil, p, &entity, &subject).await;
    let after = all(&ours, "RR_EVENTS").await;
    for (seq, message) in &before {
        assert_eq!(after.get(seq), Some(message), "message {seq}");
    }
    assert_eq!(after.values().filter(|(on, _)| *on == subject).count(), stored);
    // Timers go on firing, and the run to its end, as if nothing had been said.
    let last = *after.keys().next_back().unwrap();
    eventually("a timer fires", SOON, async || {
        let timer = format!("rr.in.{p}.{entity}.timer");
        let fires = all(&ours, "RR_EVENTS").await.range(last..).any(|(_, (on, _))| *on == timer);
        if fires { Ok(()) } else { Err("none yet") }
    })
    .await;
    // Whoever loads the run reads all of it.
    coordinator.kill().await;
    let mut successor = sandbox.rr(["coordinator"]).start();
    std::fs::write(go, "").unwrap();
    let view = eventually("end of the run", SOON, async || match mesh.status(&run).await {
        Ok(Some(entry)) if entry.view.status.is_final() => Ok(entry.view),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(view.status, RunStatus::Succeeded);
    for stored in mesh.history(&entity, 0).await.unwrap() {
        let decision = stored.decision.unwrap();
        assert!(decision.events.iter().all(|record| !matches!(record.event, Event::CancelRequested { .. })));
    }
    assert!(successor.runs() && worker.runs(), "{}{}", successor.stderr(), worker.stderr());
}
