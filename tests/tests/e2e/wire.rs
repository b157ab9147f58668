//! The wire: every variant of every message has a golden file, and what an older `rr` wrote is still read.
//!
//! `RR_BLESS=1` writes the files of new variants. A file that changes is a change of the wire: think of the mesh in
//! which only half of the processes are new.

use std::fs;
use std::path::PathBuf;

use rr_schemas::{
    codec::{Body, Envelope, Format, decode, encode},
    decision::{Decision, Event, JobStatus, Record, RunStatus},
    flow::{
        Priority,
        check::Problem,
        select::{FoundTargets, Labels},
    },
    host::HostSet,
    input::{Cancel, Found, Holder, Input, Seen, SeenAttempts, Signal, Submit},
    lock::{HeldLock, LockHolder},
    offer::{Command, Offer, Target},
    presence::{Asked, Control, CoordinatorPresence, Hosts, Join, JoinAnswer, Serves, WorkerPresence},
    report::{Claim, Ended, Outcome, Output, Report, What},
    retry::{Again, Carried, RetryOf},
    view::StatusEntry,
};
use rr_tests::program;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const FLOW: &str = r#"{"name": "rollout", "description": "Install, then restart",
    "params": {"version": {"type": "string", "default": "1.4"}}, "env": {"LANG": "C"}, "timeout": "1h",
    "slots": [{"name": "install", "jobs": [{"name": "pkg", "run": ["install", "pkg={{ version }}"], "hosts": "db[1-10]",
        "success": "80%", "parallelism": 4, "waves": true, "fail_fast": false, "timeout": "30s", "grace": "5s",
        "retry": {"attempts": 3, "delay": "1s", "factor": 2.0, "max": "1m", "jitter": "20%", "on": [75]},
        "on_lost": "fail", "env": {"LEVEL": "5"}, "inherit_env": ["SSH_AUTH_SOCK"], "cwd": "/srv"}]},
        {"jobs": [{"name": "restart", "shell": {"script": "restart $RR_HOST", "shell": ["/bin/bash", "-c"]},
        "queue": "ops"}, {"name": "tell", "handler": "notify", "on_lost": "hold"}]}]}"#;

const TIME: &str = "2026-11-22T01:02:03.456Z";

/// A value beside the name of its file.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let path = golden().join(format!("{name}.json"));
    let now = serde_json::to_value(value).unwrap();
    if std::env::var_os("RR_BLESS").is_some() && !path.exists() {
        fs::create_dir_all(golden()).unwrap();
        fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("no {}; RR_BLESS=1 writes it", path.display()));
    let then: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(now, then, "{name} is written otherwise than before");
    assert_eq!(&decode::<T>(Format::Json, text.as_bytes()).unwrap(), value, "{name}");
    let cbor = encode(Format::Cbor, value).unwrap();
    assert_eq!(&decode::<T>(Format::Cbor, &cbor).unwrap(), value, "{name} in CBOR");
}

fn golden() -> PathBuf {
    program::root().join("tests/golden")
}

/// The same in its envelope, as it is sent.
fn check_sent<B: Body + PartialEq + std::fmt::Debug>(name: &str, from: &str, body: B) {
    check(name, &Envelope::new(from, "r1".parse().unwrap(), body));
}

fn holder() -> Holder {
    Holder { worker: "w1".parse().unwrap(), instance: "i1".parse().unwrap() }
}

fn ended() -> Ended {
    Ended {
        outcome: Outcome::Failed,
        exit_code: Some(7),
        signal: Some(9),
        reason: Some("no such program".into()),
        started_at: Some(TIME.parse().unwrap()),
        ended_at: Some(TIME.parse().unwrap()),
        output: Output { stdout_bytes: 10, stderr_bytes: 20, dropped_bytes: 5, chunks: 2 },
    }
}

fn submit() -> Submit {
    let params = serde_json::from_str(r#"{"version": "1.5"}"#).unwrap();
    Submit { flow: serde_json::from_str(FLOW).unwrap(), params, by: "ada".into(), retry_of: None }
}

fn report(what: What) -> Input {
    Input::Report(Report { task: 3, attempt: 2, offer: 1, instance: "i1".parse().unwrap(), what, token: String::new() })
}

/// Name and sender of the golden file of an input. A new variant needs a new sample.
fn of_input(input: &Input) -> (&'static str, &'static str) {
    match input {
        Input::Submit(submit) if submit.retry_of.is_some() => ("input-submit-retry", "api:ada"),
        Input::Submit(_) => ("input-submit", "api:ada"),
        Input::Cancel(_) => ("input-cancel", "api:ada"),
        Input::Signal(_) => ("input-signal", "api:ada"),
        Input::Report(Report { what: What::Started { .. }, .. }) => ("input-report-started", "worker:w1"),
        Input::Report(Report { what: What::Ended(_), .. }) => ("input-report-ended", "worker:w1"),
        Input::Report(Report { what: What::Returned {}, .. }) => ("input-report-returned", "worker:w1"),
        Input::Claim(_) => ("input-claim", "worker:w1"),
        Input::Timer {} => ("input-timer", "coordinator:c1"),
        Input::Seen(_) => ("input-seen", "coordinator:c1"),
    }
}

#[test]
fn every_input_is_written_as_ever() {
    let found = [
        Found::WorkerPresent,
        Found::WorkerGone,
        Found::OfferWaits,
        Found::OfferUnserved,
        Found::OfferGone,
        Found::ClaimVoid,
    ];
    let attempts = (1..).zip(found).map(|(attempt, found)| SeenAttempts {
        tasks: (0..=9).into(),
        attempt,
        offer: 1,
        found,
        withdrawn: false,
    });
    let claim = Claim {
        task: 3,
        attempt: 2,
        worker: "w1".parse().unwrap(),
        instance: "i1".parse().unwrap(),
        token: String::new(),
    };
    for input in [
        Input::Submit(Box::new(submit())),
        Input::Submit(Box::new(Submit {
            retry_of: Some(RetryOf { run: "r0".parse().unwrap(), again: Again::Failed }),
            ..submit()
        })),
        Input::Cancel(Cancel { by: "ada".into(), reason: Some("wrong version".into()) }),
        Input::Signal(Signal { signal: "approved".parse().unwrap(), by: "ada".into(), reason: Some("tested".into()) }),
        report(What::Started { at: TIME.parse().unwrap() }),
        report(What::Ended(ended())),
        report(What::Returned {}),
        Input::Claim(claim),
        Input::Timer {},
        Input::Seen(Seen { attempts: attempts.collect() }),
    ] {
        let (name, from) = of_input(&input);
        check_sent(name, from, input);
    }
}

/// Name of the golden file of an event. A new variant needs a new sample.
const fn of_event(event: &Event) -> &'static str {
    match event {
        Event::Submitted { retry_of: Some(_), .. } => "event-submitted-retry",
        Event::Submitted { .. } => "event-submitted",
        Event::Rejected { .. } => "event-rejected",
        Event::Offered { .. } => "event-offered",
        Event::Started { .. } => "event-started",
        Event::Extended { .. } => "event-extended",
        Event::Ended { .. } => "event-ended",
        Event::Held { .. } => "event-held",
        Event::Returned { .. } => "event-returned",
        Event::Late { outcome: Some(_), .. } => "event-late",
        Event::Late { outcome: None, .. } => "event-late-start",
        Event::Signalled { .. } => "event-signalled",
        Event::CancelRequested { .. } => "event-cancel-requested",
        Event::DeadlinePassed {} => "event-deadline-passed",
        Event::JobEnded { .. } => "event-job-ended",
        Event::RunEnded { .. } => "event-run-ended",
        Event::PutAside { .. } => "event-put-aside",
    }
}

#[test]
fn every_event_is_written_as_ever() {
    let Submit { flow, params, by, .. } = submit();
    let tasks = [(Outcome::Ok, (0..=3).into()), (Outcome::Failed, (5..=5).into())].into();
    let carried = Carried { run: "r0".parse().unwrap(), tasks, signals: ["approved".parse().unwrap()].into() };
    let problem = Problem::new("/jobs/0/name", "duplicate job name \"a\"").with_also("/jobs/1/name");
    let events = [
        Event::Submitted {
            flow: Box::new(flow.clone()),
            params: params.clone(),
            by: by.clone(),
            found: FoundTargets::new(),
            retry_of: None,
        },
        Event::Submitted {
            flow: Box::new(flow),
            params,
            by,
            found: FoundTargets::new(),
            retry_of: Some(Box::new(carried)),
        },
        Event::Rejected { problems: vec![problem.with_help(Some("rename one".into()))] },
        Event::Offered { job: "pkg".parse().unwrap(), tasks: (0..=9).into(), attempt: 1, offer: 1 },
        Event::Started { task: 3, attempt: 2, by: holder() },
        Event::Extended { tasks: (0..=3).into(), until: TIME.parse().unwrap() },
        Event::Ended { task: 3, attempt: 2, by: Some(holder()), end: ended(), again: Some(TIME.parse().unwrap()) },
        Event::Held { task: 3, attempt: 2 },
        Event::Returned { task: 3, attempt: 2, offer: 1, by: holder() },
        Event::Late { task: 3, attempt: 1, by: holder(), outcome: Some(Outcome::Ok) },
        Event::Late { task: 3, attempt: 1, by: holder(), outcome: None },
        Event::Signalled { signal: "approved".parse().unwrap(), by: "ada".into(), reason: Some("tested".into()) },
        Event::CancelRequested { by: "ada".into(), reason: Some("wrong version".into()) },
        Event::DeadlinePassed {},
        Event::JobEnded { job: "pkg".parse().unwrap(), status: JobStatus::Succeeded },
        Event::RunEnded { status: RunStatus::Succeeded },
        Event::PutAside { input: 12, reason: "too large".into() },
    ];
    for event in events {
        let name = of_event(&event);
        let record = Record { cause: 11, at: TIME.parse().unwrap(), event };
        let prev = "00112233445566778899aabbccddeeff".into();
        check_sent(
            name,
            "coordinator:c1",
            Decision { n: 2, by: "c1".parse().unwrap(), upto: 12, prev, events: vec![record], secret: String::new() },
        );
    }
}

fn offer(target: Target, command: Command) -> Offer {
    Offer {
        run: "r1".parse().unwrap(),
        flow: "rollout".parse().unwrap(),
        job: "pkg".parse().unwrap(),
        task: 3,
        attempt: 2,
        offer: 1,
        target,
        priority: Priority::default(),
        command,
        env: [("LEVEL".parse().unwrap(), "5".into())].into(),
        inherit_env: vec!["SSH_AUTH_SOCK".parse().unwrap()],
        params: [("version".parse().unwrap(), "1.5".into())].into(),
        cwd: Some("/srv".into()),
        timeout: Some("30s".parse().unwrap()),
        grace: Some("5s".parse().unwrap()),
        claimed: true,
        lock: None,
        token: String::new(),
    }
}

#[test]
fn every_offer_is_written_as_ever() {
    let on_host = || Target::Host("db7.example.org".parse().unwrap());
    let argv = Command::Argv(vec!["install".into(), "pkg=1.5".into()]);
    check_sent("offer-argv", "coordinator:c1", offer(on_host(), argv));
    let shell = Command::Shell { shell: vec!["/bin/sh".into(), "-c".into()], script: "true".into() };
    check_sent("offer-shell", "coordinator:c1", offer(Target::Queue("ops".parse().unwrap()), shell.clone()));
    check_sent("offer-worker", "coordinator:c1", offer(Target::Worker("w1".parse().unwrap()), shell.clone()));
    let high = Offer { priority: Priority::High, ..offer(Target::Queue("ops".parse().unwrap()), shell) };
    check_sent("offer-high", "coordinator:c1", high);
    let lock = Some("deploy".parse().unwrap());
    let command = Command::Argv(vec!["true".into()]);
    check_sent("offer-lock", "coordinator:c1", Offer { lock, ..offer(on_host(), command.clone()) });
    let token = "000102030405060708090a0b0c0d0e0f".to_owned();
    check_sent("offer-token", "coordinator:c1", Offer { token, ..offer(on_host(), command) });
    check_sent("offer-handler", "coordinator:c1", offer(on_host(), Command::Handler("notify".parse().unwrap())));
}

#[test]
fn tokens_and_what_they_are_made_with_are_written_as_ever() {
    let token = || "000102030405060708090a0b0c0d0e0f".to_owned();
    let (worker, instance) = (holder().worker, holder().instance);
    let claim = Claim { task: 3, attempt: 2, worker, instance, token: token() };
    check_sent("input-claim-token", "worker:w1", Input::Claim(claim));
    let what = What::Ended(ended());
    let report = Report { task: 3, attempt: 2, offer: 1, instance: holder().instance, what, token: token() };
    check_sent("input-report-token", "worker:w1", Input::Report(report));
    let by = "c1".parse().unwrap();
    let first = Decision { n: 1, by, upto: 12, prev: String::new(), secret: token(), events: vec![] };
    check_sent("decision-secret", "coordinator:c1", first);
}

#[test]
fn locks_are_written_as_ever() {
    let attempt = LockHolder::Attempt {
        worker: "w1".parse().unwrap(),
        instance: "i1".parse().unwrap(),
        run: "r1".parse().unwrap(),
        job: "pkg".parse().unwrap(),
        task: 3,
        attempt: 2,
    };
    let command = LockHolder::Command { by: "ada@laptop".into(), pid: 4711, program: "make".into() };
    for (name, holder, token) in [("attempt", attempt, None), ("command", command, Some(17))] {
        let (lock, taking, since) = ("deploy".parse().unwrap(), "t1".parse().unwrap(), TIME.parse().unwrap());
        check(&format!("lock-{name}"), &HeldLock { lock, holder, taking, since, token });
    }
}

#[test]
fn presence_joining_control_and_status_are_written_as_ever() {
    let hosts: HostSet = "db[1-3],api7".parse().unwrap();
    let labels: Labels = serde_json::from_str(r#"{"zone": "a"}"#).unwrap();
    for (name, hosts) in [("all", Hosts::All), ("some", Hosts::Only(hosts.clone())), ("none", Hosts::None)] {
        let worker = WorkerPresence {
            worker: "w1".parse().unwrap(),
            instance: "i1".parse().unwrap(),
            serves: Serves { hosts, queues: vec!["ops".parse().unwrap()] },
            capacity: 8,
            labels: labels.clone(),
            version: "0.1.0".into(),
            since: TIME.parse().unwrap(),
            draining: true,
        };
        check(&format!("presence-worker-{name}"), &worker);
    }
    let (instance, version, since) = ("c1".parse().unwrap(), "0.1.0".into(), TIME.parse().unwrap());
    check("presence-coordinator", &CoordinatorPresence { instance, version, since });
    let serves = Serves { hosts: Hosts::Only(hosts), queues: vec!["ops".parse().unwrap()] };
    check("join", &Join { worker: "w1".parse().unwrap(), instance: "i1".parse().unwrap(), serves, labels });
    check(
        "join-welcome",
        &JoinAnswer::Welcome { own: "w-w1".into(), queues: vec![["q1-ops", "q2-ops", "q3-ops"].map(str::to_owned)] },
    );
    check("join-refused", &JoinAnswer::Refused { reason: "db7 is served by worker edge-2".into() });
    check("control-kill", &Control::Kill { run: "r1".parse().unwrap(), task: 3, attempt: 2 });
    let (run, instance) = ("r1".parse().unwrap(), "i1".parse().unwrap());
    let asked = Asked { run, task: 3, attempt: 2, offer: 1, instance, token: "t0".into() };
    check("control-tell", &Control::Tell(asked));
    check("control-drain", &Control::Drain {});
    check("control-ping", &Control::Ping {});
    let view = r#"{"run": "r1", "flow": "rollout", "status": "running", "started_at": "2026-11-22T01:02:03.456Z", "ended_at": null,
        "jobs": [{"job": "pkg", "slot": 1, "status": "running", "targets": 10, "needed": 8, "ok": 3, "failed": 1, "unreachable": 1,
        "not_started": 0, "tasks": []}]}"#;
    check("status", &StatusEntry::new(7, serde_json::from_str(view).unwrap()));
}

#[test]
fn whatever_an_older_rr_has_written_is_still_read() {
    let mut n = 0;
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        // Beside the messages there are exports, which have a test of their own.
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let read = match value.get("kind").and_then(Value::as_str) {
            Some(Input::KIND) => Envelope::<Input>::read(None, &bytes).map(drop),
            Some(Decision::KIND) => Envelope::<Decision>::read(None, &bytes).map(drop),
            Some(Offer::KIND) => Envelope::<Offer>::read(None, &bytes).map(drop),
            Some(other) => panic!("{}: nobody reads {other}", path.display()),
            // What has no envelope is read by the test above, by its name.
            None => Ok(()),
        };
        read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        n += 1;
    }
    assert!(n >= 34, "only {n} golden files");
}

#[test]
fn a_reader_passes_over_fields_that_it_does_not_know() {
    let envelope =
        Envelope::new("api:ada", "r1".parse().unwrap(), Input::Cancel(Cancel { by: "a".into(), reason: None }));
    let mut value = serde_json::to_value(&envelope).unwrap();
    value["hue"] = "green".into();
    value["body"]["cancel"]["mood"] = 5.into();
    let read = Envelope::<Input>::read(None, value.to_string().as_bytes()).unwrap();
    assert_eq!(read, envelope);
}
