//! Whether somebody leads each stream and consumer, and whether all its copies are up to date.

use std::collections::BTreeMap;
use std::time::Duration;

use rr_nats::checkup::Cluster;

use super::finding::{Finding, or_well};
use super::patient::{Partitions, Patient};
use crate::text::{duration_words, escape, first_few};

const CHECK: &str = "quorum";

/// A server that is behind and not heard of for this long is away: copies show themselves every second.
const SILENT: Duration = Duration::from_secs(10);

/// What is wrong with a server that keeps copies.
#[derive(Debug, Default)]
struct Ailing {
    /// How long it has not been heard of, at most.
    silent: Duration,
    /// What it keeps a copy of while it is away.
    away: Vec<String>,
    /// What it has to catch up with, each with how many changes.
    behind: Vec<(String, u64)>,
}

/// Leaders and copies of all streams, and of the consumers that the mesh rests on.
pub(super) fn quorum(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ailing: BTreeMap<String, Ailing> = BTreeMap::new();
    let mut leaderless = Vec::new();
    for (name, state) in &patient.streams {
        match state {
            Ok(state) => {
                let Some(cluster) = &state.cluster else { continue };
                note(&format!("stream {name}"), cluster, &mut leaderless, &mut ailing);
                let kept = cluster.peers.len() + 1;
                if kept < state.copies && cluster.is_led() {
                    let what = format!("stream {name} has {kept} of {} copies", state.copies);
                    let cure = "start the servers that are missing; they take their copies over by themselves";
                    findings.push(Finding::warn(CHECK, what, cure));
                }
            }
            // Who leads a stream answers for it.
            Err(unseen) if unseen.is_unanswered() => leaderless.push(format!("stream {name}")),
            // Told elsewhere.
            Err(unseen) if unseen.is_missing() => {}
            Err(error) => findings.push(Finding::unseen(CHECK, &format!("stream {name}"), error)),
        }
    }
    for (name, cluster) in consumers(patient, &mut leaderless) {
        note(&name, cluster, &mut leaderless, &mut ailing);
    }
    if !leaderless.is_empty() {
        let what = format!("nobody leads {}: nothing is stored there, and nothing delivered", first_few(leaderless));
        let cure = "start the servers that are down: more than half of those that keep a copy must be up; just after one has \
            died it takes seconds";
        findings.push(Finding::bad(CHECK, what, cure));
    }
    for (server, Ailing { silent, away, behind }) in ailing {
        let server = escape(server.as_bytes());
        if !away.is_empty() {
            // It is one server: where a new leader has not noticed yet, it is away all the same.
            let mut away: Vec<String> = away.into_iter().chain(behind.into_iter().map(|(name, _)| name)).collect();
            away.sort();
            away.sort_by_key(|name| name.starts_with("consumer"));
            let what = format!(
                "server {server} is away, not heard of for {}, and keeps copies of {}",
                duration_words(silent),
                first_few(away)
            );
            let cure = format!("start {server}: until it is back, less may be lost than is meant to");
            findings.push(Finding::warn(CHECK, what, cure));
        } else if !behind.is_empty() {
            let lag = |(name, lag)| if lag > 0 { format!("{name} ({lag} changes)") } else { name };
            let what = format!("server {server} is behind with {}", first_few(behind.into_iter().map(lag).collect()));
            findings.push(Finding::warn(CHECK, what, format!("wait; if it stays behind, look at the log of {server}")));
        }
    }
    or_well(CHECK, findings, || {
        let peers =
            patient.streams().filter_map(|(_, state)| Some(state.cluster.as_ref()?.peers.len())).max().unwrap_or(0);
        if peers == 0 {
            "every stream that can be seen is served; with one copy there is nobody to agree with".to_owned()
        } else {
            format!("every stream and consumer that can be seen is led, and its {} copies are current", peers + 1)
        }
    })
}

/// The consumers that could be seen; those that nobody answers for are noted.
fn consumers<'p>(patient: &'p Patient, leaderless: &mut Vec<String>) -> Vec<(String, &'p Cluster)> {
    let mut found: Vec<(String, Option<&Cluster>)> = Vec::new();
    if let Ok(timers) = &patient.timers {
        found.push(("consumer timers of RR_TIMERS".to_owned(), timers.cluster.as_ref()));
    }
    if let Partitions::Seen(partitions) = &patient.partitions {
        for (partition, state) in partitions {
            let name = format!("consumer p{partition} of RR_EVENTS");
            match state {
                Ok(state) => found.push((name, state.cluster.as_ref())),
                Err(unseen) if unseen.is_unanswered() => leaderless.push(name),
                // Told elsewhere.
                Err(_) => {}
            }
        }
    }
    if let Ok(lanes) = &patient.lanes {
        let lanes = lanes.clusters.iter();
        found.extend(lanes.map(|(name, cluster)| (format!("consumer {name} of RR_WORK"), cluster.as_ref())));
    }
    found.into_iter().filter_map(|(name, cluster)| Some((name, cluster?))).collect()
}

fn note(name: &str, cluster: &Cluster, leaderless: &mut Vec<String>, ailing: &mut BTreeMap<String, Ailing>) {
    if !cluster.is_led() {
        leaderless.push(name.to_owned());
        return;
    }
    for peer in &cluster.peers {
        if peer.offline || (!peer.current && peer.silent >= SILENT) {
            let ailing = ailing.entry(peer.name.clone()).or_default();
            ailing.silent = ailing.silent.max(peer.silent);
            ailing.away.push(name.to_owned());
        } else if !peer.current {
            ailing.entry(peer.name.clone()).or_default().behind.push((name.to_owned(), peer.lag));
        }
    }
}
