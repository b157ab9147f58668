use jiff::Timestamp;
use rr_schemas::presence::{Hosts, Serves};

use super::*;
use crate::raw::headers_of;

const TTL: Duration = Duration::from_secs(3);

fn message(key: &str, seq: u64, headers: &str, body: &impl serde::Serialize) -> RawMessage {
    let headers = headers_of(format!("NATS/1.0\r\n{headers}\r\n").as_bytes());
    let body = serde_json::to_vec(body).unwrap().into();
    RawMessage::new(format!("$KV.rr-workers.{key}"), seq, Timestamp::UNIX_EPOCH, Some(&headers), body)
}

fn card(name: &str, host: &str) -> WorkerPresence {
    WorkerPresence {
        worker: name.parse().unwrap(),
        instance: "i1".parse().unwrap(),
        serves: Serves { hosts: Hosts::Only(host.parse().unwrap()), queues: Vec::new() },
        capacity: 1,
        labels: rr_schemas::flow::select::Labels::default(),
        version: "1".to_owned(),
        since: Timestamp::UNIX_EPOCH,
        draining: false,
    }
}

fn shows(name: &str, seq: u64, host: &str) -> News {
    News::read(&message(&format!("worker.{name}"), seq, "Nats-TTL: 3s\r\n", &card(name, host))).unwrap()
}

fn removes(name: &str, seq: u64) -> News {
    News::read(&message(&format!("worker.{name}"), seq, "KV-Operation: DEL\r\nNats-TTL: 60s\r\n", &())).unwrap()
}

fn names(roster: &Roster) -> Vec<String> {
    roster.workers().iter().map(|worker| worker.worker.to_string()).collect()
}

fn serves(roster: &Roster, host: &str) -> bool {
    roster.serves(&Target::Host(host.parse().unwrap()))
}

#[test]
fn an_entry_stays_for_its_time_to_live_from_when_it_was_read_last() {
    let start = Instant::now();
    let mut roster = Roster::default();
    roster.apply(shows("a", 1, "h1"), start);
    roster.apply(shows("b", 2, "h2"), start + TTL / 3);
    roster.apply(shows("a", 3, "h1"), start + TTL / 2);
    assert_eq!(roster.next_deadline(), Some(start + TTL / 3 + TTL));
    assert_eq!(roster.overdue(start + TTL, 9), []);
    assert_eq!(roster.overdue(start + TTL / 3 + TTL, 9), [Overdue { key: "worker.b".to_owned(), seq: 2 }]);
    // It is asked for once, and present until the answer.
    assert_eq!(roster.overdue(start + TTL / 3 + TTL, 9), []);
    assert_eq!(names(&roster), ["a", "b"]);
    assert_eq!(roster.overdue(start + TTL * 2, 9).len(), 1);
    assert_eq!(roster.next_deadline(), None);
}

/// As when a link was silent for a while: all that was said meanwhile is read in one moment.
#[test]
fn an_entry_that_is_renewed_in_the_moment_in_which_it_was_read_runs_out_as_well() {
    let start = Instant::now();
    let mut roster = Roster::default();
    for seq in 1..=3 {
        roster.apply(shows("a", seq, "h1"), start);
    }
    assert_eq!(roster.overdue(start + TTL, 9), [Overdue { key: "worker.a".to_owned(), seq: 3 }]);
}

#[test]
fn an_entry_goes_when_the_server_says_so_and_only_that_one() {
    let start = Instant::now();
    let overdue = Overdue { key: "worker.a".to_owned(), seq: 1 };
    let later = start + TTL;
    // What comes between the question and the answer, the answer, and who is there then.
    let unknown = || Fate::Unknown { again: later };
    let renewed = || Fate::Renewed(shows("a", 5, "h5"));
    for (between, fate, there, again) in [
        (None, Fate::Gone, false, None),
        (None, unknown(), true, Some(later)),
        (None, renewed(), true, Some(later + TTL)),
        (Some(shows("a", 2, "h2")), Fate::Gone, true, Some(later + TTL)),
        (Some(shows("a", 2, "h2")), unknown(), true, Some(later + TTL)),
        (Some(shows("a", 6, "h6")), renewed(), true, Some(later + TTL)),
        (Some(removes("a", 2)), Fate::Gone, false, None),
        (Some(removes("a", 2)), unknown(), false, None),
    ] {
        let mut roster = Roster::default();
        roster.apply(shows("a", 1, "h1"), start);
        assert_eq!(roster.overdue(later, 9), std::slice::from_ref(&overdue));
        let text = format!("{between:?} {fate:?}");
        if let Some(news) = between {
            roster.apply(news, later);
        }
        roster.settle(&overdue, fate, later);
        assert_eq!((!names(&roster).is_empty(), roster.next_deadline()), (there, again), "{text}");
    }
}

#[test]
fn an_older_message_changes_nothing_and_a_newer_one_moves_what_is_served() {
    let now = Instant::now();
    let mut roster = Roster::default();
    roster.apply(shows("a", 7, "h1"), now);
    roster.apply(shows("a", 6, "h2"), now);
    roster.apply(removes("a", 5), now);
    assert!(serves(&roster, "h1") && !serves(&roster, "h2"));
    roster.apply(shows("a", 8, "h2"), now);
    assert!(!serves(&roster, "h1") && serves(&roster, "h2"));
    roster.apply(removes("a", 9), now);
    assert!(!serves(&roster, "h2") && roster.deadlines.is_empty());
}

#[test]
fn a_key_that_says_another_name_than_its_value_is_nobodys() {
    let mut roster = Roster::default();
    for key in ["worker.b", "coordinator.a", "a", "worker.a.a"] {
        let news = News::read(&message(key, 1, "", &card("a", "h1"))).unwrap();
        roster.apply(news, Instant::now());
    }
    assert!(roster.entries.is_empty());
    // Without a time to live it stays, as it does on the server.
    roster.apply(News::read(&message("worker.a", 1, "", &card("a", "h1"))).unwrap(), Instant::now());
    assert_eq!((names(&roster).len(), roster.next_deadline()), (1, None));
}

#[test]
fn the_instances_are_those_of_the_coordinators_that_are_present() {
    let now = Instant::now();
    let mut roster = Roster::default();
    let shown = |instance: &str, seq| {
        let since = Timestamp::UNIX_EPOCH;
        let value = CoordinatorPresence { instance: instance.parse().unwrap(), version: "1".to_owned(), since };
        News::read(&message(&format!("coordinator.{instance}"), seq, "Nats-TTL: 3s\r\n", &value)).unwrap()
    };
    roster.apply(shown("c1", 1), now);
    roster.apply(shows("a", 2, "h1"), now);
    roster.apply(shown("c2", 3), now);
    let before = roster.instances();
    roster.apply(shown("c1", 4), now);
    assert!(Arc::ptr_eq(&before, &roster.instances()), "a renewal costs nothing");
    roster.settle(&Overdue { key: "coordinator.c1".to_owned(), seq: 4 }, Fate::Gone, now);
    assert_eq!(roster.instances().iter().map(InstanceId::as_str).collect::<Vec<_>>(), ["c2"]);
    assert_eq!(roster.coordinators().len(), 1);
}
