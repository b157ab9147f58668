//! What is stored and must not be is complained of, and nothing else is: these judges have nothing to say of a seed that is well.

use rr_model::{Model, ModelConfig, Servers};
use rr_nats::{Finder, Timers, Topology, ensure, subject, transport::Outgoing};
use rr_schemas::{
    decision::{Record, RunStatus},
    flow::{params::ParamValues, select::FoundTargets},
    id::EntityId,
    input::{Signal, Source, Submit},
    view::Tally,
};
use tokio::time::sleep;

use super::*;

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

type Words = &'static [&'static str];

fn told(complaints: &[Complaint]) -> Vec<String> {
    complaints.iter().map(ToString::to_string).collect()
}

/// The complaints of timers that nobody has put aside.
async fn timers_left(model: &Model, mesh: &Mesh) -> Vec<String> {
    let journal = model.journal();
    told(&Stored::read(mesh, &[]).await.unwrap().timers_not_put_aside(&journal))
}

/// Does with so many timers that have fired what coordinators do; says how many were nobody's.
async fn put_aside(mesh: &Mesh, n: usize) -> usize {
    let mut timers = Timers::open(mesh, SECOND).await.unwrap();
    timers.request(n).await.unwrap();
    let mut nobodys = 0;
    for _ in 0..n {
        let fired = timers.next().await.unwrap().unwrap();
        if let Err(reason) = &fired.entity {
            mesh.quarantine(Finder::Coordinator(&"c1".parse().unwrap()), &fired.raw, reason).await.unwrap();
            nobodys += 1;
        }
        fired.ack.confirm().await.unwrap();
    }
    timers.close().await;
    nobodys
}

/// What turns up where timers fire, and was armed by nobody, has to be in the quarantine: the last one of each subject, which keeps one.
#[tokio::test(start_paused = true)]
async fn a_timer_that_nobody_has_armed_is_missed_in_the_quarantine() {
    let model = Model::new(ModelConfig::new(1, Servers::One));
    let link = model.link("c1").await.unwrap();
    let mesh = ensure(&link, &Topology { partitions: 1, ..Topology::default() }).await.unwrap();
    model.keep_journal(&[subject::WORK, subject::TIMERS]);
    let run: EntityId = "r1".parse().unwrap();
    mesh.arm(&run, model.now(), None).await.unwrap();
    sleep(SECOND).await;
    let fired = |journal: &[Noted]| journal.iter().filter(|noted| noted.subject.starts_with(FIRED)).count();
    assert_eq!(fired(&model.journal()), 1, "the server has fired it");
    assert_eq!(timers_left(&model, &mesh).await, [""; 0], "which is no lie");

    model.say(Outgoing::plain("rr.fired.0.nobody-1", "hello"));
    model.say(Outgoing::plain("rr.fired.0.nobody-2", "hello"));
    let missed = |seq| format!("timer {seq} was fired by nobody, and is not in the quarantine");
    assert_eq!(timers_left(&model, &mesh).await, [missed(3), missed(4)]);
    assert_eq!(put_aside(&mesh, 3).await, 2);
    assert_eq!(timers_left(&model, &mesh).await, [""; 0]);

    // Another one takes the place of one that was put aside, and one the place of that.
    model.say(Outgoing::plain("rr.fired.0.nobody-1", "hello"));
    model.say(Outgoing::plain("rr.fired.0.nobody-1", "hello again"));
    assert_eq!(timers_left(&model, &mesh).await, [missed(6)]);
    // An input may have the same sequence.
    let mut stored = Stored::read(&mesh, &[]).await.unwrap();
    stored.quarantined.insert(6, "rr.fired.0.nobody-1", model.now());
    assert_eq!(told(&stored.timers_not_put_aside(&model.journal())), [missed(6)]);
    // So may one that is lost, on another subject.
    stored.timers.insert(6, "rr.fired.0.nobody-2", model.now());
    assert_eq!(told(&stored.timers_not_put_aside(&model.journal())), [missed(6)]);
    stored.timers.insert(6, "rr.fired.0.nobody-1", model.now());
    assert_eq!(told(&stored.timers_not_put_aside(&model.journal())), [""; 0]);
}

fn message(run: &str, seq: u64, content: Content) -> Message {
    Message { run: run.parse().unwrap(), seq, at: Timestamp::UNIX_EPOCH, content }
}

fn submit() -> Content {
    let flow = serde_json::from_str(r#"{"name":"f","jobs":[{"name":"a","run":["x"]}]}"#).unwrap();
    let submit = Submit { flow, params: ParamValues::default(), by: "t".to_owned(), retry_of: None };
    Content::Input { source: Source::Api, input: Box::new(Input::Submit(Box::new(submit))) }
}

fn timer() -> Content {
    Content::Input { source: Source::Timer, input: Box::new(Input::Timer {}) }
}

fn decision() -> Content {
    let by = "c1".parse().unwrap();
    let decision = Decision { n: 1, by, upto: 1, prev: String::new(), secret: String::new(), events: Vec::new() };
    Content::Decision { hash: String::new(), decision: Box::new(decision) }
}

/// A log, and the runs of which a state is left.
fn stored(log: Vec<Message>, shown: &[&str]) -> Stored {
    let state = Shown { n: 1, status: RunStatus::Succeeded, tasks: Tally::default(), started_at: None, ended_at: None };
    let shown = shown.iter().map(|run| (run.parse().unwrap(), state)).collect();
    Stored {
        beside: Beside { shown, ..Beside::default() },
        log,
        nobodys: BTreeSet::new(),
        inputs: BTreeMap::new(),
        quarantined: Notes::default(),
        timers: Notes::default(),
        odd: Vec::new(),
        outputs: BTreeMap::new(),
        digest: Digest::new(),
    }
}

/// A log that has lost its end gives sequences to others: what was put aside before is another message.
#[test]
fn what_was_put_aside_is_known_by_its_subject_and_its_age() {
    const SUBJECT: &str = "rr.in.0.r1.api";
    let at = |secs| Timestamp::from_second(secs).unwrap();
    let missed = "run r1: message 7 may not be believed, and is not in the quarantine";
    for (what, subject, noted, complaints) in [
        ("it", SUBJECT, at(101), &[][..]),
        ("what was there before", SUBJECT, at(40), &[missed]),
        ("another run's", "rr.in.0.r2.api", at(101), &[missed]),
    ] {
        let mut stored = stored(vec![message("r1", 7, Content::Bad("no JSON".to_owned()))], &[]);
        stored.inputs.insert(7, (SUBJECT.to_owned(), at(100)));
        stored.quarantined.insert(7, subject, noted);
        assert_eq!(told(&stored.not_put_aside()), complaints, "{what}");
    }
}

/// Of what is over for long nothing is left: no decision, no state, and nothing that was said before the last run was asked for.
#[test]
fn what_is_left_of_a_forgotten_run_is_missed() {
    const DECISIONS: &str = "run r1: is over for long, and its decisions are left";
    const SAID: &str = "run r1: is over for long, and what was said to it is left";
    const STATE: &str = "run r1: is over for long, and its state is left";
    let open = || vec![message("open", 10, submit()), message("open", 12, decision())];
    let beside = |mut log: Vec<Message>, more: Vec<Message>| {
        log.extend(more);
        log.sort_by_key(|message| message.seq);
        log
    };
    let none: Words = &[];
    let rows: [(&str, Vec<Message>, Words, Words); 8] = [
        ("nothing but the run that is open", open(), &["open"], none),
        ("what was said too late for anybody to look", beside(open(), vec![message("r1", 11, timer())]), none, none),
        ("a run that was not to be forgotten", beside(open(), vec![message("r9", 1, submit())]), &["r9"], none),
        ("what was said before", beside(open(), vec![message("r1", 9, timer())]), none, &[SAID]),
        ("a decision", beside(open(), vec![message("r1", 11, decision())]), none, &[DECISIONS]),
        ("an old decision", beside(open(), vec![message("r1", 9, decision())]), none, &[DECISIONS, SAID]),
        ("its state", open(), &["open", "r1"], &[STATE]),
        (
            "everything, and no run is asked for behind",
            vec![message("r1", 2, decision())],
            &["r1"],
            &[DECISIONS, SAID, STATE],
        ),
    ];
    let runs = ["r1", "r2"].map(|run| run.parse().unwrap());
    for (what, log, shown, complaints) in rows {
        assert_eq!(told(&stored(log, shown).of_forgotten(&runs)), complaints, "{what}");
    }
}

/// A signal is put aside in vain where a job waits for it and its run was asked for before; any other may be put aside.
#[test]
fn a_signal_that_a_job_waits_for_and_that_was_put_aside_is_complained_of() {
    let flow = serde_json::from_str(r#"{"name":"f","jobs":[{"name":"gate","signal":"go"}]}"#).unwrap();
    let (found, params, by) = (FoundTargets::default(), ParamValues::default(), "t".to_owned());
    let event = Event::Submitted { flow, params, by, found, retry_of: None };
    let mut begun = decision();
    if let Content::Decision { decision, .. } = &mut begun {
        decision.events.push(Record { at: Timestamp::UNIX_EPOCH, cause: 2, event });
    }
    let signal = |name: &str| {
        let given = Signal { signal: name.parse().unwrap(), by: "t".to_owned(), reason: None };
        Content::Input { source: Source::Api, input: Box::new(Input::Signal(given)) }
    };
    let log = vec![
        message("r1", 1, signal("go")),
        message("r1", 2, submit()),
        message("r1", 3, signal("go")),
        message("r1", 4, begun),
        message("r1", 5, signal("go")),
        message("r1", 6, signal("stop")),
        message("r2", 7, signal("go")),
    ];
    let mut stored = stored(log, &[]);
    assert_eq!(told(&stored.put_aside_in_vain()), [""; 0], "nothing is put aside");
    for seq in [1, 3, 4, 5, 6, 7] {
        stored.inputs.insert(seq, ("it".to_owned(), Timestamp::UNIX_EPOCH));
        stored.quarantined.insert(seq, "it", Timestamp::UNIX_EPOCH);
    }
    let in_vain = |seq| format!("run r1: message {seq} must be believed, and was put aside");
    assert_eq!(told(&stored.put_aside_in_vain()), [in_vain(3), in_vain(5)]);
}
