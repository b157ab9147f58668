//! The simulator itself: seeds mean the same each time, a thousand of them are well, and planted bugs are found.

use std::{
    io,
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
};

use rr_sim::{
    Campaign, Case, Mode, Progress, Report, Tally,
    branches::Listener,
    campaign::{CAMPAIGN, LEAST, default_dir, mode_of, one},
    run,
    swarm::{self, Kind},
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

/// What it is called, whether a seed is of it, and whether its life has shown that.
type RareKind = (&'static str, fn(&Case) -> bool, fn(&Report) -> bool);

fn lived(case: &Case) -> io::Result<Report> {
    tracing::subscriber::with_default(Listener, || run(case, &default_dir()))
}

/// Of seeds of which few are drawn so, too: many hosts, servers that begin again, and a mesh that goes on until what is old is
/// forgotten, which its digest knows.
#[test]
fn a_seed_of_a_rare_kind_means_the_same_each_time() {
    let is_crowd = |case: &Case| {
        case.runs.iter().flat_map(|run| run.flow.all_jobs()).map(|(_, job)| job.targets()).sum::<u32>() > 100
    };
    let restarts = |case: &Case| case.swarm.kinds.contains(&Kind::ServerRestarted);
    let forgets = |case: &Case| case.forgets;
    let kinds: [RareKind; 3] = [
        ("a crowd", is_crowd, |report| report.starts > 50),
        ("servers that begin again", restarts, |report| report.faults.contains_key("server restarted")),
        ("what is old is forgotten", forgets, |_| true),
    ];
    for (what, is_it, did_happen) in kinds {
        let drawn = (0..1_000).map(|seed| Case::draw(seed, mode_of(seed))).filter(is_it).take(9);
        let (case, first) = drawn
            .map(|case| {
                let report = lived(&case).unwrap();
                (case, report)
            })
            .find(|(_, report)| did_happen(report))
            .unwrap();
        let second = lived(&case).unwrap();
        assert_eq!(first.complaints, [], "{what}: seed {} is not well", case.seed);
        assert_eq!(first.digest, second.digest, "{what}: seed {} leads to two histories", case.seed);
        assert_eq!(first.said, second.said, "{what}: seed {} is told in two ways", case.seed);
        assert_eq!(first.faults, second.faults, "{what}: seed {} brings two mixtures of faults", case.seed);
        if case.forgets {
            let kept = lived(&Case { forgets: false, ..case }).unwrap();
            assert_ne!(first.digest, kept.digest, "what is forgotten is no part of the digest");
        }
    }
}

#[test]
fn a_whole_campaign_must_have_shown_everything() {
    let few = Tally { seeds: CAMPAIGN - 1, ..Tally::default() };
    assert_eq!(few.too_rare(), [], "nothing is demanded of few seeds");
    let mut all = Tally { seeds: CAMPAIGN, ..Tally::default() };
    let missing = all.too_rare();
    assert!(missing.len() > swarm::names().count(), "faults, and branches: {missing:?}");
    for (least, is_shown) in [(LEAST - 1, false), (LEAST, true)] {
        all.faults = swarm::names().map(|name| (name, least)).collect();
        let missing = all.too_rare();
        assert!(swarm::names().all(|name| missing.contains(&(name, least)) != is_shown), "{least}: {missing:?}");
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
