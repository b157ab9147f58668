//! All scenarios, by what goes wrong.

mod attempts;
mod clusters;
mod coordinators;
mod histories;
mod messages;
mod mixes;
mod network;
mod servers;
mod stores;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use rr_schemas::decision::Event;
use rr_schemas::id::RunId;
use rr_schemas::report::Outcome;

use super::scenario::Scenario;
use super::stage::{END, Stage};
use crate::wait::eventually;

/// Every scenario, in the order of the matrix.
pub fn all() -> Vec<Scenario> {
    [
        coordinators::SCENARIOS,
        workers::SCENARIOS,
        servers::SCENARIOS,
        clusters::SCENARIOS,
        network::SCENARIOS,
        stores::SCENARIOS,
        attempts::SCENARIOS,
        messages::SCENARIOS,
        histories::SCENARIOS,
        mixes::SCENARIOS,
    ]
    .concat()
}

/// The scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// A task, and which try of it.
type Attempt = (u32, u32);

/// Waits until so many attempts of a run are known to run, and tells those that this worker runs.
async fn running_on<S>(stage: &Stage<S>, run: &RunId, n: usize, worker: &str) -> BTreeSet<Attempt> {
    let running = eventually("start of all attempts", END, async || {
        let mut running = BTreeMap::new();
        for event in stage.events_of(run).await {
            if let Event::Started { task, attempt, by } = event {
                running.insert(task, (attempt, by.worker));
            } else if let Event::Ended { task, .. } = event {
                running.remove(&task);
            }
        }
        if running.len() == n { Ok(running) } else { Err(format!("of {n} attempts of {run} run {running:?}")) }
    })
    .await;
    running
        .into_iter()
        .filter(|(_, (_, by))| by.as_str() == worker)
        .map(|(task, (attempt, _))| (task, attempt))
        .collect()
}

/// The attempts of a run that were given up as lost.
async fn lost_of<S>(stage: &Stage<S>, run: &RunId) -> BTreeSet<Attempt> {
    let events = stage.events_of(run).await;
    let lost = events.into_iter().filter_map(|event| {
        let Event::Ended { task, attempt, end, .. } = event else { return None };
        (end.outcome == Outcome::Lost).then_some((task, attempt))
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the suite has promised to play.
    const ROWS: [&[u8]; 8] = [
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        &[21, 22, 23, 24, 25, 26, 27, 28, 29],
        &[31],
        &[34, 35, 36],
        &[39, 40, 41],
        &[43],
        &[44],
        &[50],
    ];

    #[test]
    fn every_row_that_was_promised_has_a_scenario() {
        let played: BTreeSet<u8> = all().iter().flat_map(|scenario| scenario.rows).copied().collect();
        assert_eq!(played, ROWS.concat().into_iter().collect());
    }

    #[test]
    fn names_are_words_and_nobody_elses() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        for scenario in all {
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(scenario.name.chars().all(is_word), "{}", scenario.name);
            assert!(!scenario.what.is_empty() && !scenario.why.is_empty(), "{}", scenario.name);
        }
    }
}
