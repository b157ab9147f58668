//! Workers that speak JSON and workers that speak CBOR, in one mesh.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream::Context};
use rr_nats::subject::partition_of;
use rr_schemas::{
    codec::{CBOR, Envelope, Format, JSON, encode},
    decision::{Event, RunStatus},
    id::{EntityId, RunId},
    input::Input,
    report::{Report, What},
};
use rr_tests::{TestMesh, Timing, eventually, verdict::Verdict};

use crate::hostile::quarantined;

const SOON: Duration = Duration::from_secs(30);

/// Content type and subject of every input of workers.
async fn said_by_workers(jetstream: &Context) -> Vec<(String, String)> {
    let mut stream = jetstream.get_stream("RR_EVENTS").await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut found = Vec::new();
    for seq in state.first_sequence..=state.last_sequence {
        let Ok(message) = stream.get_raw_message(seq).await else { continue };
        let subject = message.subject.to_string();
        if subject.contains(".w.") || subject.contains(".claim.") {
            let kind = message.headers.get("Content-Type").map(ToString::to_string).unwrap_or_default();
            found.push((kind, subject));
        }
    }
    found
}

async fn jetstream(mesh: &TestMesh) -> Context {
    let server = mesh.address();
    let (user, password) = (server.user().to_owned(), server.password().to_owned());
    let client = async_nats::ConnectOptions::with_user_and_password(user, password).connect(server.url()).await;
    async_nats::jetstream::new(client.unwrap())
}

/// Reports of w2 that are not in the format that they say: a claim to be the other one, none, an unknown one.
fn in_wrong_clothes(run: &EntityId) -> Vec<(Option<&'static str>, Vec<u8>)> {
    let what = What::Started { at: "2026-01-01T00:00:00Z".parse().unwrap() };
    let report =
        Report { task: 1, attempt: 1, offer: 1, instance: "evil".parse().unwrap(), what, token: String::new() };
    let envelope = Envelope::new("worker:w2", run.clone(), Input::Report(report));
    let (json, cbor) = (encode(Format::Json, &envelope).unwrap(), encode(Format::Cbor, &envelope).unwrap());
    let doubled = [cbor.clone(), cbor.clone()].concat();
    vec![
        (Some(CBOR), json.clone()),
        (Some(JSON), cbor.clone()),
        (None, cbor),
        (Some("application/CBOR"), json),
        (Some(CBOR), doubled),
    ]
}

#[tokio::test]
async fn json_and_cbor_workers_serve_one_mesh() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _json = mesh.worker("w1", &["--hosts", "h1"]);
    let _cbor = mesh.worker("w2", &["--hosts", "h2", "--wire", "cbor"]);
    mesh.has_workers(2).await;
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", mesh.path("go").display());
    let flow = format!(
        "name: f\nslots:\n  - [{{ name: once, run: [echo, hi], hosts: 'h[1-2]', on_lost: fail }}]\n  \
         - [{{ name: wait, shell: {wait:?}, hosts: 'h[1-2]' }}]\n"
    );
    mesh.write("flow.yaml", flow);
    let _id = mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    let (run, entity): (RunId, EntityId) = ("r1".parse().unwrap(), "r1".parse().unwrap());
    let (handle, jetstream) = (mesh.mesh().await.unwrap(), jetstream(&mesh).await);
    let subject = format!("rr.in.{}.r1.w.w2", partition_of(&entity, handle.partitions()));
    let bad = in_wrong_clothes(&entity);
    let n_bad = bad.len();
    for (content_type, bytes) in bad {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert("Content-Type", content_type);
        }
        jetstream.publish_with_headers(subject.clone(), headers, bytes.into()).await.unwrap().await.unwrap();
    }
    let aside = eventually("quarantine", SOON, async || {
        let reasons = quarantined(&jetstream).await?;
        if reasons.len() == n_bad { Ok(reasons) } else { Err(format!("{reasons:#?}")) }
    })
    .await;
    std::fs::write(mesh.path("go"), "").unwrap();
    assert_eq!(mesh.ended(&run, SOON).await.status, RunStatus::Succeeded);

    let aside = aside.iter().filter_map(|found| found.strip_prefix("rr.in.")?.split([' ', ':']).nth(1)?.parse().ok());
    let aside = aside.collect();
    let verdict = Verdict::without(&handle, &run, Timing::Short, &aside).await;
    let n_ended = verdict.events().filter(|event| matches!(event, Event::Ended { .. })).count();
    assert_eq!((n_ended, aside.len()), (4, n_bad));
    let shown = mesh.rr(["show", "r1", "--json"]).run().await.exits(0).stdout;
    assert_eq!((shown.matches("\"w1\"").count(), shown.matches("\"w2\"").count()), (2, 2), "{shown}");
    let watched = mesh.rr(["watch", "r1"]).run().await.exits(0);
    assert!(watched.stderr.contains("succeeded") || watched.stdout.contains("succeeded"), "{watched:?}");
    let said = said_by_workers(&jetstream).await;
    for (worker, content_type) in [("w1", JSON), ("w2", CBOR)] {
        let own = said
            .iter()
            .filter(|(found, subject)| found == content_type && subject.split('.').any(|token| token == worker));
        let n_claims = own.clone().filter(|(_, subject)| subject.contains(".claim.")).count();
        assert!(n_claims == 1 && own.count() >= 3, "{said:#?}");
    }
    assert!(coordinator.runs(), "{}", coordinator.stderr());
}
