//! The rules of the ledger, on real files.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use rr_schemas::report::{Ended, Outcome, Output};
use tempfile::TempDir;

use super::{Key, Ledger, LedgerError, State, path, segments};

fn key(task: u32) -> Key {
    Key { run: "r1".parse().unwrap(), task, attempt: 1 }
}

fn ended(outcome: Outcome) -> Ended {
    Ended {
        outcome,
        exit_code: Some(0),
        signal: None,
        reason: None,
        started_at: None,
        ended_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        output: Output::default(),
    }
}

/// Other tests of this program start processes, and such a one has a copy of the lock until it is what it is to be.
fn open(dir: &TempDir, instance: &str) -> (Ledger, super::Found) {
    loop {
        match Ledger::open_with(dir.path(), &instance.parse().unwrap(), 4096) {
            Err(LedgerError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn start(ledger: &mut Ledger, task: u32) -> u64 {
    let n = ledger.reserve(&key(task), 1);
    ledger.start(n, &key(task), 1, &format!("t{task}"));
    n
}

#[test]
fn what_was_flushed_is_found_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, found) = open(&dir, "one");
    assert_eq!((found.lives.len(), found.open.len()), (0, 0));
    let numbers: Vec<u64> = (0..4).map(|task| start(&mut ledger, task)).collect();
    ledger.end(numbers[1], ended(Outcome::Ok));
    ledger.end(numbers[2], ended(Outcome::Failed));
    ledger.confirm(numbers[2]);
    ledger.flush().unwrap();
    let lost = start(&mut ledger, 9);
    drop(ledger);

    let (ledger, found) = open(&dir, "two");
    assert_eq!(found.lives.last().unwrap().as_str(), "one");
    let states: Vec<Option<State>> = (0..4).map(|task| ledger.known(&key(task)).map(|known| known.state)).collect();
    assert_eq!(states, [State::Started, State::Ended, State::Confirmed, State::Started].map(Some));
    assert_eq!(ledger.known(&key(9)), None, "{lost} was never flushed");
    let open: Vec<(u64, bool)> = found.open.iter().map(|(n, open)| (*n, open.ended.is_some())).collect();
    assert_eq!(open, [(numbers[0], false), (numbers[1], true), (numbers[3], false)]);
    assert!(found.open.values().all(|open| open.instance.as_str() == "one"));
    assert!(found.open.values().all(|open| open.token == format!("t{}", open.key.task)), "its reports bear it");
}

#[test]
fn a_torn_record_at_the_end_is_dropped_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(&dir, "one");
    start(&mut ledger, 1);
    ledger.flush().unwrap();
    drop(ledger);
    let mut file = OpenOptions::new().append(true).open(path(dir.path(), 1)).unwrap();
    file.write_all(&[40, 0, 0, 0, 1, 2, 3]).unwrap();

    let (mut ledger, found) = open(&dir, "two");
    assert_eq!(found.open.len(), 1);
    start(&mut ledger, 2);
    ledger.flush().unwrap();
    drop(ledger);
    let (ledger, found) = open(&dir, "three");
    assert_eq!(found.open.len(), 2);
    assert!(ledger.known(&key(2)).is_some());
}

#[test]
fn a_second_process_is_refused_and_told_since_when() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(&dir, "one");
    let error = Ledger::open(dir.path(), &"two".parse().unwrap()).unwrap_err();
    assert!(matches!(&error, LedgerError::Locked { since, .. } if since.starts_with("20")), "{error}");
    drop(ledger);
    open(&dir, "two");
}

#[test]
fn space_is_bounded_and_nothing_open_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(&dir, "one");
    let open_one = start(&mut ledger, 1_000_000);
    let ended_one = start(&mut ledger, 1_000_001);
    ledger.end(ended_one, ended(Outcome::Failed));
    for task in 0..2_000 {
        let n = start(&mut ledger, task);
        ledger.end(n, ended(Outcome::Ok));
        ledger.confirm(n);
        ledger.flush().unwrap();
    }
    assert_eq!(segments(dir.path()).unwrap().len(), 2);
    let bytes: u64 = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 3 * 4096, "{bytes}");
    assert_eq!(ledger.known(&key(1_999)).unwrap().state, State::Confirmed);
    assert_eq!(ledger.known(&key(1_000_000)).unwrap().state, State::Started);
    drop(ledger);

    let (ledger, found) = open(&dir, "two");
    assert_eq!(found.open.keys().copied().collect::<Vec<_>>(), [open_one, ended_one]);
    assert_eq!(ledger.known(&key(1_999)).unwrap().state, State::Confirmed);
    assert_eq!(ledger.known(&key(1_000_000)).unwrap().state, State::Started);
}

#[test]
fn an_attempt_that_was_only_taken_in_can_be_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(&dir, "one");
    ledger.reserve(&key(1), 1);
    assert_eq!(ledger.known(&key(1)).unwrap().state, State::Reserved);
    ledger.forget(&key(1));
    assert_eq!(ledger.known(&key(1)), None);
    start(&mut ledger, 2);
    ledger.forget(&key(2));
    assert_eq!(ledger.known(&key(2)).unwrap().state, State::Started);
}
