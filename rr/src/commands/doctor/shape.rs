//! Whether streams and durables are as our guarantees need them.

use rr_nats::Error;
use rr_nats::checkup::ConsumerState;

use super::finding::{Finding, or_well};
use super::looking::Unseen;
use super::patient::{Partitions, Patient};
use crate::text::first_few;

const CHECK: &str = "drift";

/// What makes a part that is missing.
const MAKE: &str = "rr init makes what is missing, with an admin's login; so does a coordinator that starts";

/// What differs, and what is missing.
pub(super) fn drift(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_missing = |(_, state): &&(String, Result<_, Unseen>)| state.as_ref().is_err_and(Unseen::is_missing);
    let missing: Vec<String> = patient.streams.iter().filter(is_missing).map(|(name, _)| name.clone()).collect();
    if missing.len() == patient.streams.len() {
        return vec![Finding::bad(CHECK, "nobody has made a mesh on this server yet", MAKE)];
    }
    if !missing.is_empty() {
        let what = format!("there is no stream {}, and nothing of what was in it", first_few(missing));
        findings.push(Finding::bad(CHECK, what, MAKE));
    }
    if let Err(Unseen::Asked(error @ Error::Drift { .. })) = &patient.mesh {
        findings.push(Finding::bad(CHECK, error.to_string(), "see nats stream info RR_EVENTS"));
    }
    for (name, state) in &patient.streams {
        match state {
            Ok(state) if state.differences.is_empty() => {}
            Ok(state) => {
                let what = format!("stream {name}: {}", state.differences.join("; "));
                let cure = format!("change it back: nats stream edit {name}; coordinators refuse to start until then");
                findings.push(Finding::bad(CHECK, what, cure));
            }
            Err(unseen) if unseen.is_denied() => {
                findings.push(Finding::unseen(CHECK, &format!("stream {name}"), unseen));
            }
            // Told by other checks.
            Err(_) => {}
        }
    }
    findings.extend(partitions(patient));
    match &patient.timers {
        Ok(state) => findings.extend(consumer("timers", "RR_TIMERS", state)),
        Err(unseen) if unseen.is_missing() => {
            let what = "RR_TIMERS has no consumer timers: no delay, time limit or retry ever comes due";
            findings.push(Finding::bad(CHECK, what, MAKE));
        }
        Err(unseen) if unseen.is_denied() => {
            findings.push(Finding::unseen(CHECK, "the consumer timers of RR_TIMERS", unseen));
        }
        Err(_) => {}
    }
    // That they cannot be seen is told by the check of the workers.
    for name in patient.lanes.iter().flat_map(|lanes| &lanes.paused) {
        findings.push(paused(name, "RR_WORK"));
    }
    or_well(CHECK, findings, || "every stream and durable that can be seen is as it must be".to_owned())
}

fn partitions(patient: &Patient) -> Vec<Finding> {
    let gone = |names: Vec<String>| {
        let what = format!("RR_EVENTS has no consumer {}: no input of these partitions is answered", first_few(names));
        Finding::bad(CHECK, what, MAKE)
    };
    match &patient.partitions {
        Partitions::Seen(partitions) => {
            let gone_ones = partitions.iter().filter(|(_, state)| state.as_ref().is_err_and(Unseen::is_missing));
            let names: Vec<String> = gone_ones.map(|(p, _)| format!("p{p}")).collect();
            let differ = partitions.iter().filter_map(|(p, state)| Some((p, state.as_ref().ok()?)));
            let differ = differ.flat_map(|(p, state)| consumer(&format!("p{p}"), "RR_EVENTS", state));
            (!names.is_empty()).then(|| gone(names)).into_iter().chain(differ).collect()
        }
        // That they may not be looked at is told by the check of the partitions.
        Partitions::Unseen { missing: Ok(missing), .. } if !missing.is_empty() => {
            vec![gone(missing.iter().map(|p| format!("p{p}")).collect())]
        }
        Partitions::Unseen { .. } => Vec::new(),
    }
}

fn consumer(name: &str, stream: &str, state: &ConsumerState) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !state.differences.is_empty() {
        let what = format!("consumer {name} of {stream}: {}", state.differences.join("; "));
        let cure = format!(
            "delete it (nats consumer rm {stream} {name}), then rr init: it begins anew, and what is decided already is \
             passed over"
        );
        findings.push(Finding::bad(CHECK, what, cure));
    }
    if state.is_paused {
        findings.push(paused(name, stream));
    }
    findings
}

fn paused(name: &str, stream: &str) -> Finding {
    let what = format!("consumer {name} of {stream} is paused: nothing comes from it");
    Finding::bad(CHECK, what, format!("nats consumer resume {stream} {name}"))
}
