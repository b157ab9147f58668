//! Whatever turns up on a subject is put into the quarantine: never executed, never fatal.

mod headers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::HeaderMap;
use rr_nats::subject::partition_of;
use rr_schemas::{
    codec::{CBOR, Envelope, Format, encode},
    decision::{Decision, Event, Record, RunStatus},
    id::{EntityId, RunId},
    input::{Cancel, Input, Seen},
    offer::{Command, Offer, Target},
    report::{Ended, Outcome, Output, Report, What},
};
use rr_tests::{TestMesh, Timing, eventually, verdict::Verdict};

const SOON: Duration = Duration::from_secs(30);

/// A bad message: subject, headers, bytes.
type Planted = (String, Vec<(&'static str, String)>, Vec<u8>);

fn enveloped(from: &str, to: &EntityId, body: &Input) -> Vec<u8> {
    encode(Format::Json, &Envelope::new(from, to.clone(), body.clone())).unwrap()
}

fn report_of(task: u32, worker_says: Outcome) -> Input {
    let output = Output::default();
    let end = Ended {
        outcome: worker_says,
        exit_code: None,
        signal: None,
        reason: None,
        started_at: None,
        ended_at: None,
        output,
    };
    Input::Report(Report {
        task,
        attempt: 1,
        offer: 1,
        instance: "evil".parse().unwrap(),
        what: What::Ended(end),
        token: String::new(),
    })
}

/// Everything that must not be believed about the run `run`, whose task 0 is under way on h1. The mesh has two
/// partitions.
fn planted(run: &EntityId, p: u16) -> Vec<Planted> {
    let inbox = |end: &str| format!("rr.in.{p}.{run}.{end}");
    let cancel = Input::Cancel(Cancel { by: "evil".into(), reason: None });
    let good = |from: &str, body: &Input| enveloped(from, run, body);
    let other: EntityId = "another".parse().unwrap();
    let newer = String::from_utf8(good("api:evil", &cancel)).unwrap().replace("\"v\":1", "\"v\":999").into_bytes();
    let cbor = encode(Format::Cbor, &Envelope::new("api:evil", run.clone(), cancel.clone())).unwrap();
    let as_cbor = || vec![("Content-Type", CBOR.to_owned())];
    let plain = |subject: String, bytes: Vec<u8>| (subject, vec![], bytes);
    let schedule = |from: &str, to: String, bytes: Vec<u8>| {
        let at = vec![("Nats-Schedule", "@at 2020-01-01T00:00:00Z".to_owned()), ("Nats-Schedule-Target", to)];
        (format!("rr.at.{p}.{from}"), at, bytes)
    };
    vec![
        plain(inbox("api"), b"hello".to_vec()),
        plain(inbox("api"), vec![0xff; 300]),
        plain(inbox("api"), vec![b'['; 100_000]),
        plain(inbox("api"), newer),
        plain(inbox("api"), enveloped("api:evil", &other, &cancel)),
        plain(inbox("api"), good("worker:w1", &cancel)),
        plain(inbox("api"), good("api:evil", &report_of(0, Outcome::Failed))),
        plain(inbox("api"), good("api:evil", &Input::Seen(Seen::default()))),
        (inbox("api"), as_cbor(), cbor[..cbor.len() / 2].to_vec()),
        // A text that claims to be 4 GiB long.
        (inbox("api"), as_cbor(), vec![0xa1, 0x61, 0x76, 0x7a, 0xff, 0xff, 0xff, 0xff, 0x61]),
        (inbox("api"), vec![("Content-Type", "text/html".to_owned())], good("api:evil", &cancel)),
        plain(inbox("w.w2"), good("worker:w1", &report_of(0, Outcome::Failed))),
        // A worker that does not serve the host, and one that speaks of a task that nobody has.
        plain(inbox("w.w9"), good("worker:w9", &report_of(0, Outcome::Failed))),
        plain(inbox("w.w1"), good("worker:w1", &report_of(7, Outcome::Failed))),
        plain(inbox("w.w1"), good("worker:w1", &cancel)),
        plain(inbox("note"), good("api:evil", &Input::Seen(Seen::default()))),
        plain(inbox("timer"), good("worker:w1", &Input::Timer {})),
        plain(inbox("nowhere"), good("api:evil", &cancel)),
        plain(format!("rr.in.{}.{run}.api", 1 - p), good("api:evil", &cancel)),
        plain(format!("rr.ev.{p}.{run}"), b"no decision".to_vec()),
        plain(format!("rr.ev.{p}.{run}"), good("coordinator:evil", &Input::Timer {})),
        // Timers that nobody's timer is: not fired at all, somebody else's, of an entity that lives elsewhere.
        plain(format!("rr.fired.{p}.{run}"), good("coordinator:evil", &Input::Timer {})),
        schedule("another", format!("rr.fired.{p}.{run}"), good("coordinator:evil", &Input::Timer {})),
        plain(format!("rr.fired.{}.{run}", 1 - p), vec![]),
        plain(format!("rr.fired.{p}.{run}.more"), vec![]),
    ]
}

/// A decision that would end the run.
fn ending(run: &EntityId) -> Vec<u8> {
    let event = Event::RunEnded { status: RunStatus::Failed };
    let record = Record { cause: 1, at: "2020-01-01T00:00:00Z".parse().unwrap(), event };
    let decision = Decision {
        n: 2,
        by: "evil".parse().unwrap(),
        upto: 1,
        prev: String::new(),
        events: vec![record],
        secret: String::new(),
    };
    encode(Format::Json, &Envelope::new("coordinator:evil", run.clone(), decision)).unwrap()
}

/// Offers that are not what their subjects say.
fn planted_offers(run: &RunId) -> Vec<Planted> {
    let offer = |task: u32| Offer {
        run: run.clone(),
        flow: "f".parse().unwrap(),
        job: "a".parse().unwrap(),
        task,
        attempt: 1,
        offer: 1,
        target: Target::Host("h1".parse().unwrap()),
        priority: rr_schemas::flow::Priority::default(),
        command: Command::Argv(vec!["touch".into(), "/tmp/rr-planted".into()]),
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
    let sent = |from: &str, to: &str, task: u32| {
        encode(Format::Json, &Envelope::new(from, to.parse().unwrap(), offer(task))).unwrap()
    };
    let plain = |end: &str, bytes: Vec<u8>| (format!("rr.work.h.{end}"), vec![], bytes);
    vec![
        plain(&format!("h1.{run}.90.1"), b"rm -rf /".to_vec()),
        plain(&format!("h1.{run}.91.1"), sent("coordinator:c1", run.as_str(), 99)),
        plain(&format!("h1.{run}.99.1"), sent("api:evil", run.as_str(), 99)),
        plain("h1.another.99.1", sent("coordinator:c1", run.as_str(), 99)),
        plain(&format!("h1.{run}.99.1"), sent("coordinator:c1", "another", 99)),
        plain("h1.what.is.this.at.all", sent("coordinator:c1", run.as_str(), 99)),
    ]
}

/// Subjects of what is in the quarantine, each with the reason.
pub(crate) async fn quarantined(jetstream: &async_nats::jetstream::Context) -> Result<BTreeSet<String>, String> {
    let mut stream = jetstream.get_stream("RR_QUARANTINE").await.map_err(|error| error.to_string())?;
    let last = stream.info().await.map_err(|error| error.to_string())?.state.last_sequence;
    let mut found = BTreeSet::new();
    for seq in 1..=last {
        let message = stream.get_raw_message(seq).await.map_err(|error| error.to_string())?;
        let header = |name: &str| message.headers.get(name).map(ToString::to_string).unwrap_or_default();
        // A message may be found twice.
        found.insert(format!("{} {}: {}", header("Rr-Subject"), header("Rr-Seq"), header("Rr-Reason")));
    }
    Ok(found)
}

#[tokio::test]
async fn what_cannot_be_believed_is_kept_aside_and_changes_nothing() {
    let mesh = TestMesh::bare(Timing::Short).await;
    let mut coordinator = mesh.coordinator();
    mesh.is_made().await;
    let mut worker = mesh.worker("w1", &["--hosts", "h1"]);
    mesh.has_workers(1).await;
    let go = mesh.path("go");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    mesh.write("flow.yaml", format!("name: f\njobs:\n  - {{ name: a, shell: {wait:?}, hosts: [h1] }}\n"));
    let _id = mesh.rr(["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    let (run, entity): (RunId, EntityId) = ("r1".parse().unwrap(), "r1".parse().unwrap());
    let server = mesh.address();
    let (user, password) = (server.user().to_owned(), server.password().to_owned());
    let client =
        async_nats::ConnectOptions::with_user_and_password(user, password).connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let handle = mesh.mesh().await.unwrap();
    let bad = planted(&entity, partition_of(&entity, handle.partitions()).0);
    let offers = planted_offers(&run);
    let n = bad.len() + offers.len();
    for (subject, fields, bytes) in bad.into_iter().chain(offers) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(name, value.as_str());
        }
        let stored = jetstream.publish_with_headers(subject.clone(), headers, bytes.into()).await.unwrap().await;
        stored.unwrap_or_else(|error| panic!("{subject}: {error}"));
    }
    let aside = eventually("quarantine of everything", SOON, async || {
        let reasons = quarantined(&jetstream).await?;
        if reasons.len() >= n { Ok(reasons) } else { Err(format!("{} of {n}: {reasons:#?}", reasons.len())) }
    })
    .await;
    std::fs::write(go, "").unwrap();
    let view = mesh.ended(&run, SOON).await;
    assert_eq!(view.status, RunStatus::Succeeded);
    let inputs = aside.iter().filter_map(|found| found.strip_prefix("rr.in.")?.split([' ', ':']).nth(1)?.parse().ok());
    let verdict = Verdict::without(&handle, &run, Timing::Short, &inputs.collect()).await;
    assert!(verdict.events().all(|event| !matches!(event, Event::CancelRequested { .. })));
    let _clean = mesh.rr(["verify"]).run().await.exits(0).says(&["messages that nobody believed"]);
    assert!(coordinator.runs() && worker.runs(), "{}{}", coordinator.stderr(), worker.stderr());
    assert!(!std::path::Path::new("/tmp/rr-planted").exists(), "a planted offer was executed");
}
