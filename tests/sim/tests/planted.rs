//! Bugs that are planted are found, each within ten thousand seeds: `cargo test --release -p rr-sim --features planted`.
#![cfg(feature = "planted")]

use std::io;

use rr_schemas::planted::{Bug, plant};
use rr_sim::campaign::{default_dir, mode_of, one};

/// Seeds within which each must be found.
const SEEDS_MAX: u64 = 10_000;

#[expect(clippy::print_stdout, reason = "people copy the seed and what it says into the table of the docs")]
fn is_found(bug: Bug) -> io::Result<()> {
    let dir = default_dir();
    plant(Some(bug));
    let mut found = None;
    for seed in 0..SEEDS_MAX {
        let report = one(seed, mode_of(seed), &dir)?;
        if let Some(complaint) = report.complaints.into_iter().next() {
            found = Some((seed, complaint));
            break;
        }
    }
    plant(None);
    if let Some((seed, _)) = &found {
        // It is the bug that was found, and nothing else.
        let report = one(*seed, mode_of(*seed), &dir)?;
        assert_eq!(report.complaints, [], "seed {seed} is not well without {bug:?} either");
    }
    let (seed, complaint) = found.unwrap_or_else(|| unreachable!("{bug:?} is not found in {SEEDS_MAX} seeds"));
    println!("{bug:?} is found by seed {seed}: {complaint}");
    Ok(())
}

macro_rules! found {
    ($($name:ident: $bug:ident),+ $(,)?) => {
        $(#[test]
        fn $name() -> io::Result<()> {
            is_found(Bug::$bug)
        })+

        #[test]
        fn each_bug_has_its_test() {
            assert_eq!([$(Bug::$bug),+], Bug::ALL);
        }
    };
}

found! {
    an_append_without_expectation: BlindAppend,
    a_try_too_many: OneTryTooMany,
    a_threshold_that_is_rounded_down: ThresholdRoundedDown,
    a_window_that_is_too_large: WindowTooLarge,
    effects_that_are_not_done_once_more: EffectsNotRedone,
    inputs_that_are_acknowledged_first: AcknowledgedFirst,
    a_late_report_that_counts: LateReportCounts,
    a_claim_that_is_ignored: ClaimIgnored,
    a_timer_that_is_not_armed_again: TimerNotRearmed,
    a_ledger_that_is_not_consulted: LedgerIgnored,
    a_redelivery_that_is_taken_for_new: RedeliveryIgnored,
    a_coordinator_that_was_overtaken_and_does_not_ask: OvertakenUnasked,
}
