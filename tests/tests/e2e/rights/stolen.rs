//! A stolen worker's key: whoever has it can neither read nor disturb what is not that worker's.

use std::collections::BTreeMap;

use rr_nats::subject::partition_of;
use rr_schemas::{
    codec::{Envelope, Format, encode},
    decision::{Event, RunStatus},
    id::{EntityId, RunId},
    input::Input,
    name::WorkerName,
    offer::{Command, Offer, Target},
    presence::{Hosts, Join, Serves},
    report::{Claim, Ended, Outcome, Output, Report, What},
};
use rr_tests::eventually;
use serde_json::{Value, json};

use super::{Guarded, Raw, SOON};

const STREAMS: [&str; 8] =
    ["RR_EVENTS", "RR_TIMERS", "RR_WORK", "RR_OUTPUT", "RR_QUARANTINE", "KV_rr-runs", "KV_rr-workers", "KV_rr-locks"];

/// What somebody who wanted to do harm would change: first sequence and consumers of every stream.
async fn state(admin: &Raw) -> BTreeMap<&'static str, Value> {
    let mut all = BTreeMap::new();
    for stream in STREAMS {
        let info = admin.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &[], "").await.unwrap();
        let info: Value = serde_json::from_str(&info).unwrap();
        let names = admin.ask(&format!("$JS.API.CONSUMER.NAMES.{stream}"), &[], "").await.unwrap();
        let names: Value = serde_json::from_str(&names).unwrap();
        let fixed = |name: &&Value| !name.as_str().unwrap().starts_with("r-");
        let durables: Vec<Value> = names["consumers"].as_array().unwrap().iter().filter(fixed).cloned().collect();
        let first = if stream == "RR_EVENTS" { info["state"]["first_seq"].clone() } else { Value::Null };
        all.insert(stream, json!({ "config": info["config"], "first": first, "durables": durables }));
    }
    all
}

fn report(run: &EntityId, worker: &str, task: u32, token: &str) -> Vec<u8> {
    let end = Ended {
        outcome: Outcome::Failed,
        exit_code: Some(1),
        signal: None,
        reason: None,
        started_at: None,
        ended_at: None,
        output: Output::default(),
    };
    let (instance, token) = ("evil".parse().unwrap(), token.to_owned());
    let report = Report { task, attempt: 1, offer: 1, instance, what: What::Ended(end), token };
    encode(Format::Json, &Envelope::new(format!("worker:{worker}"), run.clone(), Input::Report(report))).unwrap()
}

fn claim(run: &EntityId, worker: &str, task: u32) -> Vec<u8> {
    let (worker, instance): (WorkerName, _) = (worker.parse().unwrap(), "evil".parse().unwrap());
    let from = format!("worker:{worker}");
    let claim = Claim { task, attempt: 1, worker, instance, token: String::new() };
    encode(Format::Json, &Envelope::new(from, run.clone(), Input::Claim(claim))).unwrap()
}

/// An offer that would run, if anybody took it for one.
fn planted(file: &str) -> Vec<u8> {
    let offer = Offer {
        run: "r1".parse().unwrap(),
        flow: "f".parse().unwrap(),
        job: "a".parse().unwrap(),
        task: 9,
        attempt: 1,
        offer: 1,
        target: Target::Host("h1".parse().unwrap()),
        priority: rr_schemas::flow::Priority::default(),
        command: Command::Argv(vec!["touch".into(), file.into()]),
        env: BTreeMap::new(),
        inherit_env: vec![],
        params: BTreeMap::new(),
        cwd: None,
        timeout: None,
        grace: None,
        claimed: false,
        lock: None,
        token: String::new(),
    };
    encode(Format::Json, &Envelope::new("coordinator:c1", "r1".parse().unwrap(), offer)).unwrap()
}

/// Headers that the server understands.
fn powers(p: u16, victim: &str) -> Vec<Vec<(&'static str, String)>> {
    let one = |name, value: &str| vec![(name, value.to_owned())];
    let at = || ("Nats-Schedule", "@at 2020-01-01T00:00:00Z".to_owned());
    let batch = [("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")];
    vec![
        one("Nats-Rollup", "all"),
        one("Nats-Rollup", "sub"),
        vec![at(), ("Nats-Schedule-Target", format!("rr.ev.{p}.r1"))],
        vec![at(), ("Nats-Schedule-Target", victim.to_owned())],
        vec![("Nats-Scheduler", format!("rr.at.{p}.r1")), ("Nats-Schedule-Next", "purge".to_owned())],
        one("Nats-TTL", "1s"),
        one("Nats-Msg-Id", "r1.0.1.1"),
        vec![("Nats-Subject", victim.to_owned()), ("Nats-Sequence", "1".to_owned())],
        batch.map(|(name, value)| (name, value.to_owned())).to_vec(),
        one("Nats-Incr", "+1"),
        one("KV-Operation", "PURGE"),
    ]
}

/// Reply subjects of others: what the server or a coordinator answers would be stored or done there.
fn replies(p: u16) -> Vec<String> {
    let mut all: Vec<String> = STREAMS.iter().map(|stream| format!("$JS.API.STREAM.DELETE.{stream}")).collect();
    all.extend(STREAMS.iter().map(|stream| format!("$JS.API.STREAM.PURGE.{stream}")));
    all.extend(["$JS.API.CONSUMER.DELETE.RR_EVENTS.p0", "$JS.API.CONSUMER.DELETE.RR_WORK.w-w1"].map(str::to_owned));
    all.extend(["$JS.API.CONSUMER.MSG.NEXT.RR_WORK.w-w1", "$JS.ACK.RR_WORK.w-w1.1.1.1.0.0"].map(str::to_owned));
    all.extend(["$KV.rr-workers.worker.w1", "$KV.rr-runs.r1", "rr.ctl.w1"].map(str::to_owned));
    all.extend([format!("rr.ev.{p}.r1"), format!("rr.in.{p}.r1.api"), format!("rr.in.{p}.r1.w.w1")]);
    all.extend([format!("rr.at.{p}.r1"), format!("rr.fired.{p}.r1"), format!("rr.in.{p}.r1.timer")]);
    all.extend(["rr.work.h.h1.r1.9.1", "rr.work.q.default.2.r1.9.1", "_INBOX_w1.x"].map(str::to_owned));
    all
}

async fn attack(thief: &Raw, p: u16, file: &str) {
    let run: EntityId = "r1".parse().unwrap();
    let (own, own_claim) = (format!("rr.in.{p}.r1.w.w9"), format!("rr.in.{p}.r1.claim.2.1.w9.evil"));
    let join = Join {
        worker: "w9".parse().unwrap(),
        instance: "evil".parse().unwrap(),
        serves: Serves { hosts: Hosts::None, queues: vec![] },
        labels: serde_json::from_str("{}").unwrap(),
    };
    let join = serde_json::to_vec(&join).unwrap();
    let joined = thief.ask("rr.api.join.w9", &[], join.clone()).await;
    assert!(joined.unwrap().contains("welcome"));
    // In its own name it may say what it likes; of others' attempts it is not believed.
    for token in ["", "00000000000000000000000000000000"] {
        for task in 0..3 {
            assert!(thief.ask(&own, &[], report(&run, "w9", task, token)).await.unwrap().contains("\"seq\""));
            assert!(thief.ask(&own, &[], report(&run, "w1", task, token)).await.unwrap().contains("\"seq\""));
        }
    }
    assert!(thief.ask(&own_claim, &[], claim(&run, "w1", 2)).await.unwrap().contains("\"seq\""));
    // What it has stored is an offer to the letter; nothing that it may ask for brings it to anybody.
    let stores = [own.as_str(), "rr.out.w9.r1.0", "rr.bad.worker.w9", "$KV.rr-workers.worker.w9", "$KV.rr-locks.x"];
    for subject in stores {
        let _stored = thief.ask(subject, &[], planted(file)).await;
        for headers in powers(p, "rr.work.h.h1.r1.9.1") {
            let _any = thief.ask(subject, &headers, planted(file)).await;
        }
    }
    let next = "$JS.API.CONSUMER.MSG.NEXT.RR_WORK.w-w9";
    for reply in replies(p) {
        for body in [&b"{\"batch\":1,\"no_wait\":true}"[..], b"{\"batch\":1,\"expires\":100000000}", b"?", b""] {
            thief.send(next, &reply, body).await;
        }
        thief
            .send("$JS.API.CONSUMER.MSG.NEXT.RR_WORK.q2-default", &reply, &b"{\"batch\":1,\"no_wait\":true}"[..])
            .await;
        thief.send("rr.api.join.w9", &reply, join.clone()).await;
        let last = json!({ "last_by_subj": "$KV.rr-workers.worker.w9" }).to_string();
        thief.send("$JS.API.STREAM.MSG.GET.KV_rr-workers", &reply, last).await;
        let last = json!({ "last_by_subj": "$KV.rr-locks.x" }).to_string();
        thief.send("$JS.API.STREAM.MSG.GET.KV_rr-locks", &reply, last).await;
        thief.send("$JS.API.STREAM.INFO.RR_EVENTS", &reply, "").await;
        thief.send("$JS.API.INFO", &reply, "").await;
        for subject in stores {
            thief.send(subject, &reply, planted(file)).await;
        }
        thief.send("$JS.ACK.RR_WORK.q2-default.1.1.1.0.0", &reply, "+ACK").await;
    }
}

#[tokio::test]
async fn a_stolen_workers_key_opens_nothing_else() {
    let (guarded, mut coordinator, mut worker) = Guarded::with_mesh().await;
    let (go, file) = (guarded.sandbox.path("go"), guarded.sandbox.path("planted").display().to_string());
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let flow = format!(
        "name: f\njobs:\n  - {{ name: a, shell: {wait:?}, hosts: [h1] }}\n  - {{ name: b, shell: {wait:?} }}\n  \
         - {{ name: c, shell: {wait:?}, on_lost: fail }}\n"
    );
    guarded.sandbox.write("flow.yaml", flow);
    let _stored = guarded.rr("p", &["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    let (run, mesh): (RunId, _) = ("r1".parse().unwrap(), guarded.mesh().await);
    let entity = EntityId::from(&run);
    // All three run on w1; what it has of the queue is not taken by whom the key of w9 was stolen from.
    eventually("three attempts", SOON, async || {
        let decisions = mesh.history(&entity, 0).await.map_err(|error| error.to_string())?;
        let events = decisions.iter().flat_map(|stored| &stored.decision.as_ref().unwrap().events);
        let n = events.filter(|record| matches!(record.event, Event::Started { .. })).count();
        if n == 3 { Ok(()) } else { Err(format!("{n} started")) }
    })
    .await;
    let (thief, admin) = (guarded.raw("w9").await, guarded.raw("admin").await);
    let p = partition_of(&entity, mesh.partitions()).0;
    let joined = thief.ask("rr.api.join.w9", &[], "?").await.unwrap();
    assert!(joined.contains("refused"), "{joined}");
    let mut before = state(&admin).await;
    attack(&thief, p, &file).await;
    tokio::time::sleep(super::SILENCE).await;
    // The one thing that has changed is the durable that it was made by right.
    let own = before.get_mut("RR_WORK").unwrap()["durables"].as_array_mut().unwrap();
    own.push("w-w9".into());
    own.sort_by_key(ToString::to_string);
    let mut after = state(&admin).await;
    after.get_mut("RR_WORK").unwrap()["durables"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(after, before);
    let present = mesh.worker(&"w1".parse().unwrap()).await.unwrap();
    assert!(present.is_some(), "w1 is present as before");
    std::fs::write(go, "").unwrap();
    assert_eq!(guarded.ended("r1").await, RunStatus::Succeeded);
    let decisions = mesh.history(&entity, 0).await.unwrap();
    for stored in decisions {
        let decision = stored.decision.expect("nothing but decisions");
        for record in decision.events {
            if let Event::Started { by, .. } | Event::Ended { by: Some(by), .. } | Event::Late { by, .. } = record.event
            {
                assert_eq!(by.worker.as_str(), "w1");
            }
        }
    }
    assert!(!std::path::Path::new(&file).exists(), "a planted offer was executed");
    assert!(coordinator.runs() && worker.runs());
}
