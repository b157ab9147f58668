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

use tokio::time::sleep;

use super::scenario::{Cue, Report, Scenario};
use super::stage::{EVERYBODY, Stage};
use crate::mesh::Timing;

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

/// One of them sleeps, longer than pins, leases and presence last, and wakes up.
async fn somebody_sleeps(mut cue: Cue, whom: fn(&Stage) -> Vec<usize>) -> Report {
    let mut stage = Stage::single(Timing::ShortPatient, EVERYBODY).await;
    stage.load(&mut cue);
    while cue.again(1) {
        stage.has_asked(3).await;
        let victim = *cue.dice.one_of(&whom(&stage));
        sleep(cue.dice.pause(0..500)).await;
        stage.part(victim).process.pause();
        sleep(cue.dice.pause(5_000..8_000)).await;
        stage.part(victim).process.go_on();
        stage.report.faults += 1;
        stage.has_asked(3).await;
    }
    stage.finish().await
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
