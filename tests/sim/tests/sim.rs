//! The simulator itself: seeds mean the same each time, a thousand of them are well, and planted bugs are found.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
};

use rr_sim::{
    Campaign, Mode, Progress,
    campaign::{default_dir, one},
};

/// Seeds that every build lives through. More of them: `rr sim --seeds 100000`.
const SEEDS: u64 = 1_000;

/// What may be missing among so few; a campaign has to show it.
const SCARCE: [&str; 5] = [
    "hosts kept by who comes back",
    "inputs given back",
    "lock not given back",
    "model: overtaken_timer",
    "model: stored_unheard",
];

#[test]
fn a_seed_means_the_same_each_time() {
    for (seed, mode) in (0..12).zip([Mode::Liveness, Mode::Safety].into_iter().cycle()) {
        let [first, second] = [(); 2].map(|()| one(seed, mode, &default_dir()).unwrap());
        assert_eq!(first.digest, second.digest, "seed {seed} leads to two histories");
        assert_eq!(first.said, second.said, "seed {seed} is told in two ways");
        assert_eq!(first.faults, second.faults, "seed {seed} brings two mixtures of faults");
    }
}

#[test]
fn a_thousand_seeds_are_well() {
    let jobs = NonZeroUsize::new(2).unwrap();
    let campaign = Campaign { from: 0, seeds: SEEDS, mode: None, jobs, dir: default_dir() };
    let stop = Arc::new(AtomicBool::new(false));
    let tally = campaign.run(&stop, |progress| {
        if let Progress::Failed(failure) = progress {
            println!("{failure:#?}\nrepeat it with: rr sim --seed {} --{}", failure.seed, failure.mode.word());
        }
    });
    assert!(tally.is_well(), "{tally:?}");
    assert_eq!(tally.seeds, SEEDS);
    assert!(tally.too_rare().is_empty(), "nothing is demanded of so few");
    let mut never: Vec<String> = tally.rarer_than(1).into_iter().map(|(name, _)| name).collect();
    never.retain(|name| !SCARCE.contains(&name.as_str()));
    assert!(never.is_empty(), "never came up: {never:?}");
}
