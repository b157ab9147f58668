//! Messages that nobody of ours sends: garbage, such of a later version, too large ones, and offers a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rr_nats::subject::partition_of;
use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::id::{EntityId, RunId};
use serde_json::{Value, json};

use super::running_on;
use crate::by_hand::ByHand;
use crate::chaos::flows::{Kind, kind};
use crate::chaos::operator::Operator;
use crate::chaos::scenario::{Cue, Report, Scenario};
use crate::chaos::stage::{END, EVERYBODY, Stage};
use crate::mesh::Timing;
use crate::proxy::LINK_BROKE;
use crate::verdict::Verdict;
use crate::wait::eventually;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "poison",
        rows: &[28, 35],
        what: "garbage on every kind of subject: no text, cut off, nested without end, of the wrong kind, with bytes behind it",
        bound: Duration::from_secs(10),
        why: "what cannot be read is put aside one by one, between what can be",
        play: |cue| Box::pin(poison(cue)),
    },
    Scenario {
        name: "newer-version",
        rows: &[36],
        what: "a decision of a later version stands in the history of one run: that run rests, the others go on",
        bound: Duration::from_secs(10),
        why: "nothing else is touched",
        play: |cue| Box::pin(newer(cue)),
    },
    Scenario {
        name: "too-large",
        rows: &[34],
        what: "flows, parameters and messages of more than the server takes: `rr` refuses the first two before anything is sent, the server the third",
        bound: Duration::from_secs(10),
        why: "nothing else is touched",
        play: |cue| Box::pin(too_large(cue)),
    },
    Scenario {
        name: "offers-twice",
        rows: &[21],
        what: "every offer that waits or is held is stored a second time, as another message, and delivered",
        bound: Duration::from_secs(10),
        why: "a worker's ledger knows what it has started; nothing is waited for",
        play: |cue| Box::pin(twice(cue)),
    },
    Scenario {
        name: "offers-lost",
        rows: &[41],
        what: "offers that wait for a worker vanish from their stream, one by one, and nobody is told: they are made again",
        bound: Duration::from_secs(30),
        why: "from the removal to the next offer: one is looked after when it has waited for `offer-expiry` (20 s)",
        play: |cue| Box::pin(lost(cue)),
    },
];

/// Headers, and what stands behind them.
fn corpus(run: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let plain = |body: &[u8]| (b"NATS/1.0\r\n\r\n".to_vec(), body.to_vec());
    let cbor = |body: &[u8]| (b"NATS/1.0\r\nContent-Type: application/cbor\r\n\r\n".to_vec(), body.to_vec());
    let envelope = |v: u32, kind: &str, body: Value| {
        json!({ "v": v, "kind": kind, "from": "api:evil", "to": run, "body": body }).to_string().into_bytes()
    };
    let cancel = json!({ "cancel": { "by": "evil" } });
    let good = envelope(1, "rr.input", cancel.clone());
    vec![
        plain(b""),
        plain(b"hello"),
        plain(&[0xff; 300]),
        plain(&[b'['; 100_000]),
        plain(good.split_at(good.len() / 2).0),
        plain(&[good.as_slice(), b"more"].concat()),
        plain(&envelope(999, "rr.input", cancel.clone())),
        plain(&envelope(1, "rr.elsewhere", cancel)),
        plain(&envelope(1, "rr.input", json!({ "shutdown": {} }))),
        plain(&envelope(1, "rr.input", json!({ "report": { "task": -1 } }))),
        cbor(&good),
        // A text that claims to be 4 GiB long, and a list without an end.
        cbor(&[0xa1, 0x61, 0x76, 0x7a, 0xff, 0xff, 0xff, 0xff, 0x61]),
        cbor(&[0x9f; 50_000]),
        (b"NATS/1.0\r\nContent-Type: text/html\r\n\r\n".to_vec(), b"<p>".to_vec()),
        (b"NATS/1.0\r\nX: a\rb\r\n\r\n".to_vec(), b"{}".to_vec()),
        (b"NATS/1.0\r\nnocolon\xff\r\n\r\n".to_vec(), b"{}".to_vec()),
    ]
}

/// A run that is under way, and waits until somebody says so.
const WAITS: Kind = kind(
    "waits",
    "jobs: [{ name: a, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/enough\" ]; do sleep 0.05; done', hosts: h1 }]",
    &[RunStatus::Succeeded],
);

async fn poison(mut cue: Cue) -> Report {
    const KIND: &Kind = &WAITS;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.puts_aside = true;
    stage.load(&mut cue);
    let run = stage.publish("target", KIND).await;
    let p = partition_of(&EntityId::from(&run), stage.handle.partitions()).0;
    let mut by_hand = stage.operator().by_hand().await;
    let (mut aside, mut planted) = (Vec::new(), 0);
    while cue.again(1) {
        // Who looks at these puts them into the quarantine.
        for end in ["api", "w.w1", "w.nobody", "timer", "note", "claim.0.1.w1.i1", "nowhere"] {
            let subject = format!("rr.in.{p}.{run}.{end}");
            for (block, body) in corpus(run.as_str()) {
                let seq = by_hand.store(subject.as_bytes(), &block, &body).await.expect("a stored message");
                aside.push((subject.clone(), seq));
            }
        }
        for (n, (block, body)) in corpus(run.as_str()).into_iter().enumerate() {
            let subject = format!("rr.work.h.h1.{run}.{}.1", 500 + planted + n);
            let seq = by_hand.store(subject.as_bytes(), &block, &body).await.expect("a stored message");
            aside.push((subject, seq));
        }
        // Who looks at these passes over them.
        for subject in [
            format!("rr.ev.{p}.{run}"),
            format!("rr.fired.{p}.{run}"),
            "$KV.rr-workers.worker.w9".to_owned(),
            "$KV.rr-runs.r-none".to_owned(),
            format!("rr.out.w1.{run}.0"),
        ] {
            for (block, body) in corpus(run.as_str()) {
                let _seq = by_hand.store(subject.as_bytes(), &block, &body).await.expect("a stored message");
            }
        }
        planted += corpus("").len();
        stage.report.faults += 12 * corpus("").len();
        stage.has_asked(4).await;
    }
    stage.mesh.write("enough", "");
    eventually("quarantine of everything", END, async || {
        let (found, _) = stage.handle.quarantined(10_000).await.map_err(|error| error.to_string())?;
        let is_there = |(subject, seq): &&(String, u64)| {
            found.iter().any(|one| one.was == *seq && one.subject.split('.').nth(1) == subject.split('.').nth(1))
        };
        let missing: Vec<_> = aside.iter().filter(|one| !is_there(one)).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of {} missing: {missing:?}", missing.len(), aside.len()))
        }
    })
    .await;
    stage.finish().await
}

async fn newer(mut cue: Cue) -> Report {
    const KIND: &Kind = &WAITS;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let mut by_hand = stage.operator().by_hand().await;
    // Of that history nobody can say anything.
    stage.verdicts = &[3];
    while cue.again(1) {
        let id = format!("later{}", stage.report.faults);
        let run = stage.publish(&id, KIND).await;
        stage.forget(&run);
        let entity = EntityId::from(&run);
        let p = partition_of(&entity, stage.handle.partitions()).0;
        eventually("decision", END, async || stage.handle.last_decision(&entity).await.ok().flatten().ok_or("none"))
            .await;
        let later = json!({ "v": 999, "kind": "rr.decision", "from": "coordinator:later", "to": id, "body": {} });
        let subject = format!("rr.ev.{p}.{id}");
        let _seq = by_hand
            .store(subject.as_bytes(), b"NATS/1.0\r\n\r\n", later.to_string().as_bytes())
            .await
            .expect("a stored message");
        stage.report.faults += 1;
        stage.mesh.write("enough", "");
        stage.has_asked(6).await;
        let history = stage.handle.history(&entity, 0).await.expect("a history");
        let is_last = history.last().is_some_and(rr_nats::StoredDecision::is_unreadable);
        stage.report.demand(is_last, || format!("somebody went on with {id}: {history:#?}"));
        let said: String = stage.parts.iter().map(|part| part.process.stderr()).collect();
        stage.report.demand(said.contains("cannot read") && said.contains(&id), || format!("nobody complains of {id}"));
    }
    stage.finish().await
}

async fn too_large(mut cue: Cue) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(2).await;
        let big = format!("name: big\njobs: [{{ name: a, run: ['true', '{}'] }}]\n", "x".repeat(2 << 20));
        // What is small as a file, and large as a message: each of these takes two bytes there.
        let quoted = format!("name: big\njobs: [{{ name: a, run: ['true', '{}'] }}]\n", "\"".repeat(100_000));
        let words = ", \"{{ p }}\"".repeat(40);
        let filled =
            format!("name: big\nparams: {{ p: {{ type: string }} }}\njobs: [{{ name: a, run: ['true'{words}] }}]\n");
        let value = format!("p={}", "y".repeat(100_000));
        let calls: [(&str, String, Vec<&str>, i32); 3] = [
            ("file", big, vec![], 65),
            ("quoted", quoted, vec!["--wait"], 0),
            ("filled", filled, vec!["--set", &value], 65),
        ];
        for (name, flow, more, code) in calls {
            let file = stage.mesh.write(&format!("{name}.yaml"), flow).to_string_lossy().into_owned();
            let id = format!("{name}{}", stage.report.faults);
            let call = ["publish", &file, "--id", &id].into_iter().chain(more);
            let told = stage.mesh.rr(call).run().await;
            let is_right = told.status.code() == Some(code) && (code == 0 || !told.stderr.is_empty());
            stage.report.demand(is_right, || format!("{name}: {:?} {}", told.status, told.stderr));
            stage.report.faults += 1;
        }
        let mut by_hand = stage.operator().by_hand().await;
        let told = by_hand.ask(b"rr.api.publish", b"NATS/1.0\r\n\r\n", &vec![b'x'; 2 << 20]).await;
        let is_refused = told.as_ref().is_err_and(|told| told.contains("Maximum Payload Violation"));
        stage.report.demand(is_refused, || format!("2 MiB: {told:?}"));
        let told =
            stage.operator().by_hand().await.ask(b"rr.api.publish", b"NATS/1.0\r\n\r\n", &vec![b'['; 900_000]).await;
        let is_told = told.as_ref().is_ok_and(|told| told.contains("Nats-Service-Error"));
        stage.report.demand(is_told, || format!("900 KB of brackets: {told:?}"));
    }
    for part in &stage.parts {
        let said = part.process.stderr();
        stage.report.demand(!said.contains(LINK_BROKE), || format!("{:?}: {said}", part.role));
    }
    stage.finish().await
}

/// Attempts that last until somebody says so, on the hosts of every worker.
const HELD: Kind = kind(
    "held-twice",
    "jobs: [{ name: a, shell: 'NOTE until [ -e \"$RR_PARAM_DIR/$RR_RUN.enough\" ]; do sleep 0.1; done', hosts: 'h[1-9]' }]",
    &[RunStatus::Succeeded],
);

async fn twice(mut cue: Cue) -> Report {
    const KIND: &Kind = &HELD;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let operator = stage.operator();
    let mut by_hand = operator.by_hand().await;
    // First such of which nothing is acknowledged before the copies came: that they were delivered can be seen.
    let run = stage.publish("held", KIND).await;
    let _running = running_on(&stage, &run, 9, "").await;
    let (copies, mut seen) = double(&operator, &mut by_hand, 0).await;
    let its = format!(".{run}.");
    let copies: Vec<_> = copies.into_iter().filter(|(_, subject)| subject.contains(&its)).collect();
    stage.report.demand(copies.len() == 9, || format!("copies of the offers of {run}: {copies:?}"));
    eventually("delivery of the copies", END, async || are_delivered(&operator, &copies).await).await;
    stage.report.faults += copies.len();
    stage.mesh.write(&format!("{run}.enough"), "");
    // Then whatever there is.
    let enough = stage.report.faults + 20;
    while cue.again(20) || stage.report.faults < enough {
        let (stored, last) = double(&operator, &mut by_hand, seen).await;
        seen = last;
        stage.report.faults += stored.len();
        tokio::time::sleep(cue.dice.pause(50..300)).await;
    }
    stage.judge().await;
    let starts = stage.starts_of(&run);
    stage.report.demand(starts == 9, || format!("{run} has begun {starts} attempts, not 9"));
    stage.close().await
}

/// Stores every offer behind this sequence a second time. Tells the copies that were stored, with their subjects, and up to where there is
/// nothing new.
async fn double(operator: &Operator, by_hand: &mut ByHand, seen: u64) -> (Vec<(u64, String)>, u64) {
    let info = operator.stream("RR_WORK").await.unwrap_or_default();
    let number = |path: &str| info.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let (mut copies, mut last) = (Vec::new(), seen);
    for seq in number("/state/first_seq").max(seen + 1)..=number("/state/last_seq") {
        let got = operator.try_call("STREAM.MSG.GET.RR_WORK", &json!({ "seq": seq })).await;
        let text = |path: &str| got.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let subject = text("/message/subject");
        // It may have gone meanwhile.
        if subject.is_empty() {
            continue;
        }
        let body = STANDARD.decode(text("/message/data")).expect("the body of an offer");
        let block = b"NATS/1.0\r\nContent-Type: application/json\r\n\r\n";
        let copy = by_hand.store(subject.as_bytes(), block, &body).await.expect("a stored copy");
        last = last.max(copy);
        copies.push((copy, subject));
    }
    (copies, last)
}

/// Whether these copies are still there, and their workers' consumers have handed them out.
async fn are_delivered(operator: &Operator, copies: &[(u64, String)]) -> Result<(), String> {
    for (copy, subject) in copies {
        let host = subject.split('.').nth(3).unwrap_or_default();
        let worker = match host {
            "h1" | "h2" | "h3" => "w-w1",
            "h4" | "h5" | "h6" => "w-w2",
            _ => "w-w3",
        };
        let info = operator.consumer("RR_WORK", worker).await.ok_or("no consumer")?;
        let delivered = info.pointer("/delivered/stream_seq").and_then(Value::as_u64).unwrap_or_default();
        let got = operator.try_call("STREAM.MSG.GET.RR_WORK", &json!({ "seq": copy })).await;
        if delivered < *copy || got.get("error").is_some() {
            return Err(format!("{worker} is at {delivered}, the copy on {subject} at {copy}: {got}"));
        }
    }
    Ok(())
}

/// Attempts on the hosts of a worker that is away.
const WAITING: Kind =
    kind("waiting", "jobs: [{ name: a, shell: 'NOTE true', hosts: 'h[7-9]' }]", &[RunStatus::Succeeded]);

async fn lost(mut cue: Cue) -> Report {
    const KIND: &Kind = &WAITING;
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    let operator = stage.operator();
    while cue.again(1) {
        stage.has_asked(4).await;
        // Nobody takes these offers, and nobody says that they are gone.
        let away = *stage.workers().last().expect("a worker");
        stage.part(away).process.kill().await;
        let run = stage.publish(&format!("waiting{}", stage.report.faults), KIND).await;
        let waiting = eventually("offers", END, async || three_of(&operator, &run).await).await;
        for seq in &waiting {
            operator.call("STREAM.MSG.DELETE.RR_WORK", &json!({ "seq": seq })).await;
            stage.report.faults += 1;
        }
        let gone = Timestamp::now();
        // Whoever would have taken them is there again before it would be missed.
        stage.revive(away);
        let _view = stage.mesh.ended(&run, END).await;
        let starts = stage.starts_of(&run);
        stage.report.demand(starts == 3, || format!("{run} has begun {starts} attempts, not 3"));
        let again = offered_again(&stage, &run).await;
        stage.report.demand(again.len() == 3, || format!("of {run} were offered again: {again:?}"));
        let last = again.into_values().max().unwrap_or(gone);
        let took = Duration::try_from(last.duration_since(gone)).unwrap_or_default();
        stage.took(took, format!("the offers of {run} were made again {took:.1?} after they were gone"));
    }
    stage.finish().await
}

/// Tasks of a run that were offered a second time, and when.
async fn offered_again(stage: &Stage, run: &RunId) -> BTreeMap<u32, Timestamp> {
    let verdict = Verdict::read(&stage.handle, run, &BTreeSet::new()).await.expect("a history");
    let mut again = BTreeMap::new();
    for (stored, at) in verdict.decisions.iter().zip(&verdict.at) {
        for record in &stored.decision.events {
            if let Event::Offered { tasks, offer: 2, .. } = &record.event {
                again.extend(tasks.iter().map(|task| (task, *at)));
            }
        }
    }
    again
}

/// The three offers of a run.
async fn three_of(operator: &Operator, run: &RunId) -> Result<Vec<u64>, String> {
    let offers = offers_of(operator, run).await;
    if offers.len() == 3 { Ok(offers) } else { Err(format!("{offers:?}")) }
}

/// What is on offer of a run, by sequence.
async fn offers_of(operator: &Operator, run: &RunId) -> Vec<u64> {
    let info = operator.stream("RR_WORK").await.unwrap_or_default();
    let number = |path: &str| info.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let (mut offers, its) = (Vec::new(), format!(".{run}."));
    for seq in number("/state/first_seq")..=number("/state/last_seq") {
        let got = operator.try_call("STREAM.MSG.GET.RR_WORK", &json!({ "seq": seq })).await;
        let subject = got.pointer("/message/subject").and_then(Value::as_str).unwrap_or_default();
        if subject.contains(&its) {
            offers.push(seq);
        }
    }
    offers
}
