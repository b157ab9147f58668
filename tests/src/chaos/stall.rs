//! Stalls: how long nothing was decided although something was due.
//!
//! Due is a request since somebody wanted it, an input since it was stored, and a run since the deadline that its last
//! decision has left. Time during which nobody could have decided, because the scenario had everybody stopped, does not
//! count. All of it is read from the stream; only when a run was wanted is known by the load itself.

use std::time::Duration;

use jiff::Timestamp;
use rr_core::{Policy, Run};
use rr_schemas::id::RunId;

use crate::verdict::Verdict;

/// A time in which no decision could have been taken.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// The longest time for which something was due.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stall {
    /// How long.
    pub took: Duration,
    /// Where and why.
    pub what: String,
}

/// The longest stall of a run that was wanted then.
pub fn longest(run: &RunId, wanted: Timestamp, verdict: &Verdict, policy: Policy, outages: &[Outage]) -> Stall {
    let mut state = Run::new(run.clone(), policy);
    let (mut longest, mut is_first) = (Stall::default(), true);
    for (stored, at) in verdict.decisions.iter().zip(&verdict.at) {
        let n = stored.decision.n;
        let deadline = state.deadline().filter(|deadline| deadline < at).map(|due| (due, "its deadline"));
        let heard = stored.decision.events.iter().map(|record| record.at).min().map(|due| (due, "an input"));
        let request = is_first.then_some((wanted, "its request"));
        is_first = false;
        for (due, why) in [deadline, heard, request].into_iter().flatten() {
            let took = between(due, *at, outages);
            if took > longest.took {
                longest = Stall { took, what: format!("decision {n} of {run} came {took:.1?} after {why}") };
            }
        }
        for record in &stored.decision.events {
            // An event that does not fit is the judge's affair.
            let _judged = state.apply(record);
        }
    }
    longest
}

/// The time from the first to the second, without what lies in an outage.
fn between(due: Timestamp, at: Timestamp, outages: &[Outage]) -> Duration {
    let length = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let out = outages.iter().map(|outage| length(outage.since.max(due), outage.until.min(at))).sum();
    length(due, at).saturating_sub(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_an_outage_does_not_count() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let outage = |since, until| Outage { since: at(since), until: at(until) };
        let outages = [outage(10, 20), outage(30, 40)];
        for (due, decided, expected) in
            [(0, 5, 5), (0, 10, 10), (5, 15, 5), (12, 18, 0), (12, 25, 5), (0, 50, 30), (20, 30, 10), (9, 3, 0)]
        {
            assert_eq!(between(at(due), at(decided), &outages), Duration::from_secs(expected), "{due} to {decided}");
        }
    }
}
