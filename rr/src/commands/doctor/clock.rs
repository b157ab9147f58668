//! How far clocks are apart. Nothing is decided by the clocks of workers and of this machine; a skew makes displays wrong,
//! and a coordinator unpunctual.
//!
//! Nobody's word is trusted more than it must be: what a server's clock said lies between two looks at our own, and what a
//! process says of its clock is compared with the time at which the server stored it.

use jiff::{SignedDuration, Timestamp};
use rr_nats::checkup::ClockReading;

use super::finding::{Finding, or_well};
use super::patient::Patient;
use crate::text::duration_words;

const CHECK: &str = "clock";

/// A skew from which it is told.
const SKEW: SignedDuration = SignedDuration::from_secs(1);
/// The same for somebody who seems to be late: their message may have waited for its connection.
const LATE: SignedDuration = SignedDuration::from_secs(3);

/// All clocks that can be measured.
pub(super) fn clocks(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let readings: Vec<(&str, ClockReading)> =
        patient.streams().filter_map(|(name, state)| Some((name, state.clock?))).collect();
    findings.extend(own(&readings));
    findings.extend(servers(&readings));
    let coordinators = patient.coordinators.iter().flatten();
    let coordinators =
        coordinators.map(|shown| (format!("coordinator {}", shown.value.instance), shown.clock, shown.at));
    let workers = patient.workers.iter().flatten();
    let workers = workers.map(|shown| (format!("worker {}", shown.value.worker), shown.clock, shown.at));
    let (mut n_measured, mut n_silent) = (0, 0);
    for (who, clock, stored) in coordinators.chain(workers) {
        match clock {
            None => n_silent += 1,
            Some(clock) => {
                n_measured += 1;
                findings.extend(other(&who, clock, stored));
            }
        }
    }
    let is_measured = !readings.is_empty();
    or_well(CHECK, findings, || {
        let own = if is_measured { "this machine and the server agree" } else { "no server said its time" };
        let silent = match n_silent {
            0 => String::new(),
            n => format!(", {n} do not say their time yet, or never do because they are older"),
        };
        format!("{own}; workers and coordinators compared with it: {n_measured}{silent}")
    })
}

/// This machine against the server: how far apart they are at least.
fn own(readings: &[(&str, ClockReading)]) -> Option<Finding> {
    let ahead = |(_, reading): &(&str, ClockReading)| reading.asked.duration_since(reading.said);
    let behind = |(_, reading): &(&str, ClockReading)| reading.said.duration_since(reading.answered);
    let (ahead, behind) = (readings.iter().map(ahead).max()?, readings.iter().map(behind).max()?);
    let (skew, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    (skew > SKEW).then(|| {
        let what = format!("the clock of this machine is at least {} {word} the server's", words(skew));
        Finding::warn(CHECK, what, "let NTP set it; until then ages and times that rr shows here are wrong by that")
    })
}

/// The servers among each other.
fn servers(readings: &[(&str, ClockReading)]) -> Option<Finding> {
    let earliest = readings.iter().min_by_key(|(_, reading)| reading.said.duration_since(reading.asked))?;
    let latest = readings.iter().max_by_key(|(_, reading)| reading.said.duration_since(reading.answered))?;
    // Later than the one at least, earlier than the other at most.
    let lead = latest.1.said.duration_since(latest.1.answered);
    let apart = lead - earliest.1.said.duration_since(earliest.1.asked);
    (apart > SKEW).then(|| {
        let (one, other) = (latest.0, earliest.0);
        let what = format!(
            "the clock of the server that leads {one} is at least {} ahead of that of the one that leads {other}",
            words(apart)
        );
        Finding::warn(CHECK, what, "let NTP set both: a time limit is off by that when another server takes over")
    })
}

/// Somebody who says what time it is there.
fn other(who: &str, clock: Timestamp, stored: Timestamp) -> Option<Finding> {
    let ahead = clock.duration_since(stored);
    let (skew, word) = if ahead > SKEW {
        (ahead, "ahead of")
    } else if -ahead > LATE {
        (-ahead, "behind")
    } else {
        return None;
    };
    let what = format!("the clock of {who} is about {} {word} the server's", words(skew));
    Some(Finding::warn(
        CHECK,
        what,
        "let NTP set it: nothing is decided by it, but what it shows is wrong, and a coordinator may wake runs late",
    ))
}

fn words(skew: SignedDuration) -> String {
    duration_words(skew.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(asked: i64, said: i64, answered: i64) -> ClockReading {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        ClockReading { asked: at(asked), said: at(said), answered: at(answered) }
    }

    #[test]
    fn only_what_is_certain_counts_as_a_skew() {
        for (readings, expected) in [
            (vec![reading(10_000, 10_004, 10_010)], None),
            // The answer took long: the server may have said it at any time between.
            (vec![reading(10_000, 19_000, 20_000)], None),
            (vec![reading(10_000, 8_000, 10_010)], Some("2.0s ahead of")),
            (vec![reading(10_000, 13_010, 10_010)], Some("3.0s behind")),
        ] {
            let readings: Vec<_> = readings.into_iter().map(|reading| ("S", reading)).collect();
            let found = own(&readings).map(|finding| finding.what);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{readings:?}");
        }
    }

    #[test]
    fn servers_are_compared_with_each_other() {
        let readings = [("A", reading(10_000, 10_005, 10_010)), ("B", reading(10_000, 14_010, 10_010))];
        let found = servers(&readings).unwrap().what;
        assert!(found.contains("leads B is at least 3.9s ahead of") && found.contains("leads A"), "{found}");
        assert_eq!(servers(&readings[..1]), None);
        assert_eq!(servers(&[]), None);
    }

    #[test]
    fn who_is_late_may_only_have_waited() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        for (clock, stored, expected) in [
            (10_000, 10_002, ""),
            (10_000, 12_000, ""),
            (10_000, 70_000, "1m00s behind"),
            (70_000, 10_000, "1m00s ahead"),
        ] {
            let found = other("worker w", at(clock), at(stored)).map(|finding| finding.what).unwrap_or_default();
            assert_eq!(found.contains("worker w"), !expected.is_empty(), "{found}");
            assert!(found.contains(expected), "{found}");
        }
    }
}
