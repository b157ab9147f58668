//! Messages that were put aside.

use super::finding::Finding;
use super::patient::Patient;
use crate::text::{ago, escape};

const CHECK: &str = "quarantine";

const LOOK: &str = "rr quarantine ls shows them, and restore and drop what to do with each";

/// How many there are, and the newest of them.
pub(super) async fn quarantine(patient: &Patient) -> Vec<Finding> {
    let Some((_, state)) = patient.streams.iter().find(|(name, _)| name == rr_nats::subject::QUARANTINE) else {
        return Vec::new();
    };
    let n = match state {
        Ok(state) => state.messages,
        Err(error) => return vec![Finding::unseen(CHECK, "what was put aside", error)],
    };
    if n == 0 {
        return vec![Finding::ok(CHECK, "nothing was put aside")];
    }
    let newest = match &patient.mesh {
        Ok(mesh) => patient.deadline.within("the newest message", mesh.newest_quarantined()).await,
        Err(error) => Err(error.clone()),
    };
    let newest = match newest {
        Ok(Some(found)) => {
            let (reason, subject) = (escape(found.reason.as_bytes()), escape(found.subject.as_bytes()));
            format!("; the newest, {}, from {subject}: {reason}", ago(found.at, patient.now()))
        }
        Ok(None) => String::new(),
        Err(error) => format!("; the newest cannot be seen: {error}"),
    };
    let messages = if n == 1 { "message was".to_owned() } else { "messages were".to_owned() };
    vec![Finding::warn(CHECK, format!("{n} {messages} put aside, never carried out{newest}"), LOOK)]
}
