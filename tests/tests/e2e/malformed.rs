//! Messages that no client library would send: the server stores them and hands them out as they are. Whoever reads one
//! neither loses its connection nor believes it.

use std::collections::BTreeSet;
use std::time::Duration;

use rr_nats::Mesh;
use rr_nats::subject::partition_of;
use rr_schemas::{
    codec::{Envelope, Format, encode},
    decision::RunStatus,
    id::{EntityId, RunId},
    input::{Cancel, Input},
};
use rr_tests::{ByHand, LINK_BROKE, Running, TestMesh, Timing, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// Header blocks in which something is wrong.
fn blocks() -> Vec<Vec<u8>> {
    let long = [b"NATS/1.0\r\nX: ", "x".repeat(40_000).as_bytes(), b"\ry\r\n\r\n"].concat();
    let nameless = [b"NATS/1.0\r\n", "x".repeat(40_000).as_bytes(), b"\r\n\r\n"].concat();
    let mut blocks = vec![long, nameless];
    let short: [&[u8]; 10] = [
        b"NATS/1.0\r\nX: a\rb\r\n\r\n",
        b"NATS/1.0\r\nX: a\xff\r\n\r\n",
        b"NATS/1.0\r\nX\xff: a\r\n\r\n",
        b"NATS/1.0\r\nX: a\r\n b\xff\r\n\r\n",
        b"NATS/1.0\r\nnocolon\r\n\r\n",
        b"NATS/1.0\r\nX y: b\r\n\r\n",
        b"NATS/1.0\r\n: b\r\n\r\n",
        b"NATS/1.0\r\n X: b\r\n\r\n",
        b"NATS/9.9\r\n\r\n",
        b"X: a\r\n\r\n",
    ];
    blocks.extend(short.map(<[u8]>::to_vec));
    blocks
}

/// Blocks without an end, behind which the server puts its own words: they begin like something else that it says, or
/// hide what it says.
const UNENDED: [&[u8]; 8] = [
    b"NATS/1.0 204 EOB..",
    b"NATS/1.0 404 ..",
    b"NATS/1.0 409 Consumer Deleted..",
    b"NATS/1.0 409 ..",
    b"NATS/1.0 503 ..",
    b"NATS/1.0\r\nNats-Pin-Id: mine\r\nX: ..",
    b"NATS/1.0\r\nNats-Pin-Id: mine\r\nX..",
    b"NATS/1.0\r\nNats-Pin-Id: mine\r\nX\xff..",
];

/// Ends of subjects that are no text, or no line of it for those who split at every kind of blank.
const TOKENS: [&[u8]; 4] = [b"a\xff", b"a\xc2\xa0b", b"a\x0bb", b"a\xe2\x80\xa8b"];

/// A block whose status is none. A server that stores it leaves the status out.
const NO_STATUS: &[u8] = b"NATS/1.0 abc\r\n\r\n";

/// A header block with nothing wrong.
const GOOD: &[u8] = b"NATS/1.0\r\nX: a\r\n\r\n";

struct World {
    mesh: TestMesh,
    coordinator: Running,
    worker: Running,
    by_hand: ByHand,
    handle: Mesh,
}

impl World {
    /// A mesh whose run `r1` is under way on `h1` until the file `go` is there.
    async fn start() -> Self {
        let mesh = TestMesh::bare(Timing::Short).await;
        let coordinator = mesh.coordinator();
        mesh.is_made().await;
        let worker = mesh.worker("w1", &["--hosts", "h1"]);
        mesh.has_workers(1).await;
        let wait = format!("until [ -e {} ]; do sleep 0.05; done", mesh.path("go").display());
        mesh.write("flow.yaml", format!("name: f\njobs:\n  - {{ name: a, shell: {wait:?}, hosts: [h1] }}\n"));
        let _id = mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
        let server = mesh.address();
        let by_hand = ByHand::connect(server.port(), server.user(), server.password()).await.unwrap();
        let handle = mesh.mesh().await.unwrap();
        Self { mesh, coordinator, worker, by_hand, handle }
    }

    /// Stores one message for each bad block, and tells their sequences.
    async fn plant(&mut self, subject: &str, body: &[u8]) -> BTreeSet<u64> {
        let mut planted = BTreeSet::new();
        for block in blocks() {
            planted.insert(self.by_hand.store(subject.as_bytes(), &block, body).await.unwrap());
        }
        planted
    }

    /// Waits until a stream's messages of these sequences are all in the quarantine.
    async fn are_aside(&self, stream: &str, planted: &BTreeSet<u64>) {
        eventually(&format!("quarantine of all from {stream}"), SOON, async || {
            let (found, _) = self.handle.quarantined(1_000).await.map_err(|error| error.to_string())?;
            let found: BTreeSet<u64> =
                found.into_iter().filter(|found| found.subject.starts_with(stream)).map(|found| found.was).collect();
            let missing: Vec<_> = planted.difference(&found).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("missing {missing:?}, there {found:?}")) }
        })
        .await;
    }

    /// Lets the run end, and then has another one: nobody has lost anything.
    async fn goes_on(&mut self) {
        std::fs::write(self.mesh.path("go"), "").unwrap();
        let r1: RunId = "r1".parse().unwrap();
        assert_eq!(self.mesh.ended(&r1, SOON).await.status, RunStatus::Succeeded);
        let _id = self.mesh.rr(["publish", "flow.yaml", "--id", "r2", "--wait"]).run().await.exits(0);
        let (coordinator, worker) = (self.coordinator.stderr(), self.worker.stderr());
        assert!(self.coordinator.runs() && self.worker.runs(), "{coordinator}{worker}");
        for said in [coordinator, worker] {
            assert!(!said.contains(LINK_BROKE) && !said.contains("panicked"), "{said}");
        }
    }
}

fn cancel(run: &str) -> Vec<u8> {
    let cancel = Input::Cancel(Cancel { by: "evil".into(), reason: None });
    encode(Format::Json, &Envelope::new("api:evil", run.parse().unwrap(), cancel)).unwrap()
}

#[tokio::test]
async fn an_input_with_malformed_headers_is_put_aside_however_it_is_read() {
    let mut world = World::start().await;
    let entity: EntityId = "r1".parse().unwrap();
    let p = partition_of(&entity, world.handle.partitions()).0;
    let mut planted = world.plant(&format!("rr.in.{p}.r1.api"), &cancel("r1")).await;
    for token in TOKENS {
        let subject = [format!("rr.in.{p}.").as_bytes(), token, b".api"].concat();
        planted.insert(world.by_hand.store(&subject, GOOD, &cancel("r1")).await.unwrap());
        let subject = [format!("rr.in.{p}.r1.w.").as_bytes(), token].concat();
        planted.insert(world.by_hand.store(&subject, GOOD, &cancel("r1")).await.unwrap());
    }
    for block in UNENDED {
        let subject = format!("rr.in.{p}.r1.api");
        planted.insert(world.by_hand.store(subject.as_bytes(), block, b"no input").await.unwrap());
        let _passed_over = world.by_hand.store(format!("rr.ev.{p}.r1").as_bytes(), block, b"{}").await.unwrap();
    }
    // Histories are read past what is no decision.
    let _passed_over = world.plant(&format!("rr.ev.{p}.r1"), b"no decision").await;
    let _fired = world.plant(&format!("rr.fired.{p}.r1"), b"").await;
    world.are_aside("rr.in.", &planted).await;
    let read = world.handle.inputs_after(&entity, 0, 0).await.unwrap();
    let cancels: Vec<_> = read.iter().filter(|input| planted.contains(&input.seq())).collect();
    assert!(cancels.len() >= blocks().len() + UNENDED.len(), "{cancels:#?}");
    assert!(cancels.iter().all(|input| input.input.is_err()), "{cancels:#?}");
    // Whoever takes the run over reads all of it anew.
    world.coordinator.kill().await;
    world.coordinator = world.mesh.coordinator();
    world.goes_on().await;
    for args in [&["show", "r1"][..], &["watch", "r1"], &["why", "r1"], &["logs", "r1"], &["ls"]] {
        let _read = world.mesh.rr(args.iter().copied()).run().await.exits(0);
    }
    let listed = world.mesh.rr(["quarantine", "ls", "-n", "1000", "--json"]).run().await.exits(0);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let about_headers = |found: &&Value| found["reason"].as_str().unwrap().contains("header");
    let of_headers = listed.iter().filter(about_headers).count();
    assert!(of_headers >= blocks().len(), "{listed:#?}");
    let _table = world.mesh.rr(["quarantine", "ls"]).run().await.exits(0).says(&["header"]);
    for found in &listed {
        let _shown = world.mesh.rr(["quarantine", "show", &found["seq"].to_string()]).run().await.exits(0);
    }
}

#[tokio::test]
async fn an_offer_with_malformed_headers_is_never_run() {
    let mut world = World::start().await;
    let mut planted = BTreeSet::new();
    let proof = world.mesh.path("executed");
    for (task, block) in (500..).zip(blocks()) {
        let subject = format!("rr.work.h.h1.r1.{task}.1");
        let offer = serde_json::json!({
            "v": 1, "kind": "offer", "from": "coordinator:c1", "to": "r1", "body": {
                "run": "r1", "flow": "f", "job": "a", "task": task, "attempt": 1, "offer": 1,
                "target": { "host": "h1" }, "priority": "normal", "command": { "argv": ["touch", proof] },
            },
        });
        planted.insert(world.by_hand.store(subject.as_bytes(), &block, offer.to_string().as_bytes()).await.unwrap());
    }
    for (task, block) in (600..).zip(UNENDED) {
        let subject = format!("rr.work.h.h1.r1.{task}.1");
        planted.insert(world.by_hand.store(subject.as_bytes(), block, b"no offer").await.unwrap());
    }
    for token in TOKENS {
        let subject = [b"rr.work.h.h1.r1.", token, b".1"].concat();
        planted.insert(world.by_hand.store(&subject, GOOD, b"{}").await.unwrap());
    }
    world.are_aside("rr.work.", &planted).await;
    assert!(!proof.exists());
    world.goes_on().await;
}

#[tokio::test]
async fn malformed_headers_elsewhere_stop_no_reader() {
    let mut world = World::start().await;
    for subject in [
        "$KV.rr-workers.worker.w9",
        "$KV.rr-workers.coordinator.c9",
        "$KV.rr-runs.r9",
        "rr.out.w1.r1.0",
        "rr.bad.worker.w9",
    ] {
        let _planted = world.plant(subject, b"{}").await;
        for block in UNENDED.into_iter().chain([NO_STATUS]) {
            let _seq = world.by_hand.store(subject.as_bytes(), block, b"{}").await.unwrap();
        }
    }
    for token in TOKENS {
        for start in ["$KV.rr-workers.worker.", "$KV.rr-runs.", "rr.out.w1.r1.", "rr.bad.worker."] {
            let subject = [start.as_bytes(), token].concat();
            let _seq = world.by_hand.store(&subject, GOOD, b"{}").await.unwrap();
        }
    }
    for subject in ["rr.ctl.w1", "rr.api.join.w9", "rr.api.publish", "rr.api.list", "$SRV.PING", "$SRV.INFO.rr"] {
        for block in blocks().into_iter().chain([NO_STATUS.to_vec()]) {
            world.by_hand.publish(subject.as_bytes(), b"_INBOX.nobody", &block, b"{}").await.unwrap();
        }
        for token in TOKENS {
            let reply = [b"_INBOX.", token].concat();
            world.by_hand.publish(subject.as_bytes(), &reply, GOOD, b"{}").await.unwrap();
        }
    }
    let listed = world.mesh.rr(["quarantine", "ls", "-n", "1000", "--json"]).run().await.exits(0);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    assert!(listed.len() >= blocks().len() + TOKENS.len(), "{listed:#?}");
    for args in [&["ls"][..], &["ls", "--json"], &["logs", "r1"], &["show", "r1"], &["worker", "ls"]] {
        let _read = world.mesh.rr(args.iter().copied()).run().await.exits(0);
    }
    let workers = world.mesh.rr(["worker", "ls", "--json"]).run().await.exits(0);
    let workers: Vec<Value> = serde_json::from_str(&workers.stdout).unwrap();
    assert_eq!(workers.iter().map(|worker| &worker["worker"]).collect::<Vec<_>>(), ["w1"]);
    world.goes_on().await;
}

/// What a client is told whose request has such headers.
#[tokio::test]
async fn a_request_with_malformed_headers_is_a_bad_request() {
    let mut world = World::start().await;
    for block in blocks().into_iter().chain([NO_STATUS.to_vec()]) {
        let said = world.by_hand.ask(b"rr.api.status", &block, br#"{"run":"r1"}"#).await.unwrap();
        assert!(said.contains("Nats-Service-Error-Code: 65") && said.contains("header"), "{said}");
    }
    let said = world.by_hand.ask(b"rr.api.status", GOOD, br#"{"run":"r1"}"#).await.unwrap();
    assert!(!said.contains("Nats-Service-Error"), "{said}");
    world.goes_on().await;
}
