//! The time limit of a run, decision by decision.

use rr_schemas::decision::{Event, Record};

use super::heard::Heard;
use crate::{Findings, Rule, records::limit_of};

impl Heard<'_> {
    /// A decision that is taken when the time of the run is over stops the run, if nobody has before.
    pub(super) fn check_limit(&self, findings: &mut Findings) {
        let began = self.log.iter().find(|record| record.event.submitted().is_some()).map(|record| record.at);
        let Some(limit) = self.plan.as_ref().zip(began).and_then(|(plan, began)| limit_of(plan, began)) else { return };
        for stored in self.whole.decisions {
            let events = &stored.decision.events;
            if events.iter().any(stops) {
                return;
            }
            // Where nothing is decided, nothing is late: what was left behind, and the first decision of a big run.
            let decides = |record: &&Record| !matches!(record.event, Event::PutAside { .. } | Event::Submitted { .. });
            if let Some(late) = events.iter().filter(decides).find(|record| record.at >= limit) {
                return findings.demand(false, Rule::Stop, late.cause, || {
                    format!("the time of the run was over at {limit}, and nothing stops it at {}", late.at)
                });
            }
            if events.iter().any(|record| record.event.is_end()) {
                return;
            }
        }
    }
}

const fn stops(record: &Record) -> bool {
    matches!(record.event, Event::CancelRequested { .. } | Event::DeadlinePassed {})
}
