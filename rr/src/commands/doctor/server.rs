//! The server: its version, what its acknowledgement means, how full it is.

use std::collections::BTreeSet;

use rr_nats::ConnectError;
use rr_nats::connect::{OLDEST_SERVER, is_too_old};

use super::finding::{Finding, or_well};
use super::patient::Patient;
use crate::text::{bytes, escape, first_few};

const VERSION: &str = "server";
const ACK: &str = "ack";
const STORE: &str = "store";

/// Percent of its room from which a store is a warning, and from which it is bad.
const FULL_WARN: u64 = 80;
const FULL_BAD: u64 = 95;

/// Copies of which one may be gone.
const COPIES_SAFE: usize = 3;

const UPGRADE: &str = "upgrade it; docs/servers.md has the configurations";

/// A server that refuses nothing and yet cannot carry a mesh.
pub(super) fn too_old(error: &ConnectError) -> Finding {
    Finding::bad(VERSION, error.to_string(), UPGRADE)
}

/// A server without a store.
pub(super) fn jetstream_off(error: &ConnectError) -> Finding {
    let cure =
        "turn it on in the server's configuration (jetstream { store_dir: … }), or log in to an account that has it";
    Finding::bad(VERSION, error.to_string(), cure)
}

/// The version of the server that we talk to, and of those that lead streams.
pub(super) fn version(patient: &Patient) -> Finding {
    let own = patient.link.server_version();
    let all: BTreeSet<&str> = patient
        .streams()
        .filter_map(|(_, state)| state.version.as_deref())
        .chain(std::iter::once(own.as_str()))
        .collect();
    let shown = first_few(all.iter().map(|version| escape(version.as_bytes())).collect());
    let old: Vec<String> =
        all.iter().filter(|version| is_too_old(version)).map(|version| escape(version.as_bytes())).collect();
    if old.is_empty() {
        return Finding::ok(VERSION, format!("nats-server {shown}; {OLDEST_SERVER} or newer is needed"));
    }
    let what = format!("nats-server {} is too old, {OLDEST_SERVER} or newer is needed", first_few(old));
    Finding::bad(VERSION, what, UPGRADE)
}

/// What is certain of a write that was acknowledged.
pub(super) fn acknowledgements(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = |wanted: &dyn Fn(&rr_nats::checkup::StreamState) -> bool| -> Vec<String> {
        patient.streams().filter(|(_, state)| wanted(state)).map(|(name, _)| name.to_owned()).collect()
    };
    let in_memory = names(&|state| !state.is_in_files);
    if !in_memory.is_empty() {
        let what = format!("{} lie in memory: they are gone when their servers stop", first_few(in_memory));
        findings.push(Finding::bad(ACK, what, "make them anew with file storage: no stream changes its storage"));
    }
    let later = names(&|state| state.is_written_later);
    if !later.is_empty() {
        let what = format!("{} are written after the acknowledgement: a killed server loses writes", first_few(later));
        findings.push(Finding::bad(ACK, what, "set their persist_mode to default: nats stream edit"));
    }
    let Some(fewest) = patient.streams().map(|(_, state)| state.copies).min() else {
        if let Some((name, Err(error))) = patient.streams.first() {
            findings.push(Finding::unseen(ACK, &format!("stream {name}"), error));
        }
        return findings;
    };
    let few: Vec<String> = names(&|state| state.copies == fewest);
    let (n_seen, n) = (patient.streams().count(), patient.streams.len());
    let which = if few.len() == n {
        "every stream".to_owned()
    } else if few.len() == n_seen {
        "every stream that can be seen".to_owned()
    } else {
        first_few(few)
    };
    match fewest {
        0 | 1 => {
            let what = format!(
                "{which} has one copy: an acknowledged write outlives the death of the server's process, but a power failure \
                 loses those of the last 2 minutes, and a dead disk all; whether the server syncs sooner cannot be seen from \
                 here"
            );
            let cure = if patient.link.is_clustered() {
                "give each stream three copies: nats stream edit NAME --replicas 3 (docs/servers.md)"
            } else {
                "three servers on three machines (docs/servers.md), or jetstream { sync_interval: always } for one server, \
                 which is many times slower; this line stays then"
            };
            findings.push(Finding::warn(ACK, what, cure));
        }
        copies if copies < COPIES_SAFE => {
            let what = format!("{which} has {copies} copies: as soon as one server is away, nothing is stored");
            findings.push(Finding::warn(ACK, what, "three copies: nats stream edit NAME --replicas 3"));
        }
        copies => {
            let most = copies / 2 + 1;
            let away = copies - most;
            let what = format!(
                "{copies} copies, and a write is acknowledged when {most} servers have it: it outlives {away} of them, disks \
                 and all. That all lose power at once, or that a machine crashes and comes back with an old disk while another \
                 server is away, it outlives only with sync_interval: always; this, and whether each has a machine of its own, \
                 cannot be seen from here"
            );
            findings.push(Finding::ok(ACK, what));
        }
    }
    findings
}

/// How full streams and account are.
pub(super) fn store(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, state) in &patient.streams {
        match state {
            Ok(state) => {
                let Some(percent) = state.max_bytes.map(|limit| percent(state.bytes, limit)) else { continue };
                let room = format!("stream {name} holds {} of {} ({percent} %)", bytes(state.bytes), limit(state));
                let cure = format!("give it more: nats stream edit {name} --max-bytes …");
                // Where the oldest goes, to be full is what the limit is for.
                match (percent, state.drops_old) {
                    (FULL_BAD.., true) => {
                        let what = format!("{room}: its oldest messages go before their age is reached");
                        findings.push(Finding::warn(STORE, what, cure));
                    }
                    (FULL_BAD.., false) => {
                        let what = format!("{room}: at the limit it refuses whatever comes");
                        findings.push(Finding::bad(STORE, what, cure));
                    }
                    (FULL_WARN.., false) => findings.push(Finding::warn(STORE, room, cure)),
                    (..FULL_WARN, _) | (FULL_WARN.., true) => {}
                }
            }
            Err(unseen) if unseen.is_missing() => {}
            Err(error) => findings.push(Finding::unseen(STORE, &format!("stream {name}"), error)),
        }
    }
    let mut account = String::new();
    match &patient.account {
        Ok(rr_nats::checkup::Account { bytes: held, max_bytes: Some(max) }) => {
            let percent = percent(*held, *max);
            let room = format!("the account holds {} of {} ({percent} %)", bytes(*held), bytes(*max));
            let cure = "raise the limit of the account, or let old runs go sooner";
            match percent {
                FULL_BAD.. => findings.push(Finding::bad(STORE, room, cure)),
                FULL_WARN.. => findings.push(Finding::warn(STORE, room, cure)),
                ..FULL_WARN => account = format!("; {room}"),
            }
        }
        Ok(rr_nats::checkup::Account { bytes: held, max_bytes: None }) => {
            account = format!("; the account holds {} and has no limit", bytes(*held));
        }
        Err(error) => findings.push(Finding::unseen(STORE, "the account", error)),
    }
    or_well(STORE, findings, || {
        let fullest =
            patient.streams().filter_map(|(name, state)| Some((percent(state.bytes, state.max_bytes?), name)));
        let fullest = fullest.max().map_or_else(String::new, |(percent, name)| format!(", {name} most: {percent} %"));
        format!(
            "no stream is near its limit{fullest}{account}; the server's own (max_file_store) and its disk cannot be seen \
             from here"
        )
    })
}

fn percent(held: u64, limit: u64) -> u64 {
    held.saturating_mul(100) / limit.max(1)
}

fn limit(state: &rr_nats::checkup::StreamState) -> String {
    state.max_bytes.map_or_else(|| "any number".to_owned(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_is_no_division_by_zero() {
        assert_eq!((percent(5, 10), percent(5, 0), percent(u64::MAX, 1)), (50, 500, u64::MAX));
    }
}
