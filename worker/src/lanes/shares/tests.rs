//! The arithmetic, against a server that is a few counters.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ask, How, PROBE, Shares};

/// Lanes with offers in them, and a worker that pulls.
struct Sim {
    shares: Shares,
    now: Instant,
    /// Offers that wait in each lane.
    offers: Vec<u64>,
    /// Requests at each lane: how many are left of each, and how it waits.
    requests: Vec<Vec<(usize, How)>>,
    capacity: usize,
    /// Attempts that run or wait for a slot.
    taken: usize,
    /// The lanes of all offers that came.
    order: Vec<usize>,
    asked: usize,
}

impl Sim {
    /// Groups by weight and number of lanes.
    fn new(groups: &[(u32, usize)], capacity: usize) -> Self {
        let mut shares = Shares::default();
        for (weight, lanes) in groups {
            shares.add(*weight, *lanes);
        }
        let lanes = groups.iter().map(|(_, lanes)| lanes).sum();
        Self {
            shares,
            now: Instant::now(),
            offers: vec![0; lanes],
            requests: vec![Vec::new(); lanes],
            capacity,
            taken: 0,
            order: Vec::new(),
            asked: 0,
        }
    }

    fn full(mut self, lanes: &[usize]) -> Self {
        for lane in lanes {
            self.offers[*lane] = 1_000_000;
        }
        self
    }

    fn outstanding(&self) -> Vec<usize> {
        self.requests.iter().map(|requests| requests.iter().map(|(left, _)| left).sum()).collect()
    }

    /// Lets worker and server talk until neither has something to say.
    fn settle(&mut self) {
        loop {
            let free = self.capacity.saturating_sub(self.taken);
            let asks = self.shares.share_out(&self.outstanding(), free, self.capacity, self.now);
            self.asked += asks.len();
            for Ask { lane, offers, how } in &asks {
                assert!(*offers > 0, "{asks:?}");
                self.requests[*lane].push((*offers, *how));
            }
            let asked: usize = self.outstanding().iter().sum();
            assert!(asks.is_empty() || asked <= free + self.offers.len(), "{asked} asked for, {free} free: {asks:?}");
            if !self.serve() && asks.is_empty() {
                return;
            }
        }
    }

    /// The server answers what it can, and says whether it did.
    fn serve(&mut self) -> bool {
        let mut has_answered = false;
        for lane in 0..self.offers.len() {
            for (mut left, how) in std::mem::take(&mut self.requests[lane]) {
                while left > 0 && self.offers[lane] > 0 {
                    left -= 1;
                    self.offers[lane] -= 1;
                    self.taken += 1;
                    self.order.push(lane);
                    self.shares.delivered(lane, self.offers[lane], self.now);
                    has_answered = true;
                }
                match how {
                    How::Now if left > 0 => {
                        self.shares.unfilled(lane, self.now);
                        has_answered = true;
                    }
                    How::Soon | How::Long if left > 0 => self.requests[lane].push((left, how)),
                    How::Now | How::Soon | How::Long => {}
                }
            }
        }
        has_answered
    }

    /// Attempts end one by one until so many offers have come.
    fn run(&mut self, count: usize) {
        self.settle();
        while self.order.len() < count {
            assert!(self.taken > 0, "nothing comes: {:?}", self.order);
            self.taken -= 1;
            self.now += Duration::from_millis(20);
            self.settle();
        }
    }

    /// What waits longer than a moment goes unfilled.
    fn expire(&mut self) {
        for (lane, requests) in self.requests.iter_mut().enumerate() {
            let before = requests.len();
            requests.retain(|(_, how)| *how != How::Soon);
            if requests.len() < before {
                self.shares.unfilled(lane, self.now);
            }
        }
    }
}

#[test]
fn an_idle_worker_waits_at_every_lane_with_one_pull_each() {
    for capacity in [1, 4, 1000] {
        let mut sim = Sim::new(&[(1, 1), (2, 3), (1, 3), (1, 3)], capacity);
        sim.settle();
        assert!(sim.requests.iter().all(|requests| *requests == [(1, How::Long)]), "{:?}", sim.requests);
        sim.now += Duration::from_secs(100);
        let asked = sim.asked;
        sim.settle();
        assert_eq!(sim.asked, asked, "nothing more is asked while it waits");
    }
}

#[test]
fn with_full_lanes_nobody_is_asked_for_more_than_the_free_slots() {
    for capacity in [1, 3, 64] {
        let mut sim = Sim::new(&[(1, 1), (2, 3), (1, 3)], capacity).full(&[0, 1, 2, 3, 4, 5, 6]);
        sim.run(1_000);
        assert!(sim.taken <= capacity, "{} taken of {capacity}", sim.taken);
    }
}

#[test]
fn queues_take_turns_by_weight() {
    // The own lane is empty and takes no turn away, however often it is asked.
    for capacity in [1, 2, 4, 16] {
        let mut sim = Sim::new(&[(1, 1), (2, 3), (1, 3)], capacity).full(&[2, 5]);
        sim.run(300);
        for count in [30, 300] {
            let of_a = sim.order.iter().take(count).filter(|lane| **lane == 2).count();
            let exact = count * 2 / 3;
            assert!(of_a.abs_diff(exact) <= usize::from(capacity > 1), "{capacity} slots: {of_a} of {count}");
        }
    }
    let mut sim = Sim::new(&[(2, 1), (1, 1)], 1).full(&[0, 1]);
    sim.run(6);
    assert_eq!(sim.order, [0, 1, 0, 0, 1, 0]);
}

#[test]
fn high_goes_before_normal_before_low_and_each_gets_one_of_ten() {
    for capacity in [1, 4] {
        let mut sim = Sim::new(&[(1, 1), (1, 3)], capacity).full(&[1, 2, 3]);
        sim.run(400);
        assert_eq!(sim.order[..8], [1; 8], "{capacity} slots");
        for (start, ten) in sim.order.windows(10).enumerate().filter(|_| capacity == 1) {
            let of = |lane| ten.iter().filter(|it| **it == lane).count();
            assert!(of(1) >= 7 && of(2) >= 1 && of(3) >= 1, "{ten:?} at {start}");
        }
        let of = |lane| sim.order.iter().filter(|it| **it == lane).count();
        assert!(of(1) >= 300 && of(2) >= 38 && of(3) >= 38, "{:?} with {capacity} slots", [of(1), of(2), of(3)]);
    }
    // Two of them behave alike, whichever they are.
    for lanes in [[1, 2], [1, 3], [2, 3]] {
        let mut sim = Sim::new(&[(1, 1), (1, 3)], 1).full(&lanes);
        sim.run(100);
        let of_second = sim.order.iter().filter(|lane| **lane == lanes[1]).count();
        assert!((10..=11).contains(&of_second), "{lanes:?}: {:?}", sim.order);
        assert_eq!(sim.order[..8], [lanes[0]; 8]);
    }
}

#[test]
fn nobody_starves_when_everything_is_full_for_ever() {
    let lanes: Vec<usize> = (0..10).collect();
    for capacity in [1, 7] {
        let mut sim = Sim::new(&[(1, 1), (5, 3), (1, 3), (1, 3)], capacity).full(&lanes);
        sim.run(2_000);
        for lane in &lanes {
            let places: Vec<usize> = (0..sim.order.len()).filter(|place| sim.order[*place] == *lane).collect();
            let longest = places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(usize::MAX);
            // One of ten of a queue that has an eighth of all.
            assert!(longest <= 100, "lane {lane} waits for {longest} others with {capacity} slots");
        }
    }
}

#[test]
fn what_comes_one_by_one_does_not_pass_what_waits_before_it() {
    // Low offers keep coming in, one by one, while normal ones wait.
    let mut sim = Sim::new(&[(1, 1), (1, 3)], 1).full(&[2]);
    sim.settle();
    for _ in 0..200 {
        sim.offers[3] = 1;
        sim.run(sim.order.len() + 1);
    }
    let low = sim.order.iter().filter(|lane| **lane == 3).count();
    assert!((19..=21).contains(&low), "{low} of {}", sim.order.len());
    // And one that goes first goes first, as soon as a slot is free and it may be asked again.
    sim.offers[1] = 3;
    sim.now += PROBE;
    sim.run(sim.order.len() + 4);
    assert_eq!(sim.order[sim.order.len() - 4..][..3], [1, 1, 1]);
}

#[test]
fn an_empty_lane_holds_no_slot_that_a_full_one_could_use() {
    for capacity in [1, 5] {
        let mut sim = Sim::new(&[(1, 1), (9, 3), (1, 3)], capacity);
        sim.settle();
        sim.offers[5] = 1_000;
        sim.settle();
        assert_eq!(sim.taken, capacity, "all slots are taken at once");
        sim.run(1_000);
        assert!(sim.order.iter().all(|lane| *lane == 5));
    }
}

#[test]
fn offers_that_come_one_by_one_do_not_cost_one_request_each() {
    let mut sim = Sim::new(&[(1, 1), (1, 3)], 64);
    sim.settle();
    let before = sim.asked;
    for _ in 0..1_000 {
        sim.offers[2] += 1;
        sim.settle();
        sim.taken = 0;
        sim.settle();
    }
    assert_eq!(sim.order.len(), 1_000);
    assert!(sim.asked - before < 200, "{} requests for 1000 offers", sim.asked - before);
    // And when they end, an idle worker's pulls are what is left.
    sim.expire();
    sim.settle();
    assert!(sim.requests.iter().all(|requests| *requests == [(1, How::Long)]), "{:?}", sim.requests);
}

#[test]
fn a_closed_lane_is_not_asked_until_it_is_open_again() {
    let mut sim = Sim::new(&[(1, 1), (1, 3)], 4).full(&[0, 2]);
    sim.shares.close(2);
    sim.run(50);
    assert!(sim.order.iter().all(|lane| *lane == 0));
    sim.shares.open(2);
    sim.run(100);
    assert!(sim.order.iter().filter(|lane| **lane == 2).count() >= 20, "{:?}", sim.order);
}

/// Whatever comes and goes, the bound holds ([`Sim::settle`] checks it), and in the end everything has come.
#[test]
fn whatever_comes_and_goes_the_bound_holds_and_nothing_is_left() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let capacity = dice.usize(1..20);
        let mut sim = Sim::new(&[(1, 1), (dice.u32(1..4), 3), (1, 3)], capacity);
        for _ in 0..200 {
            match dice.u8(0..5) {
                0 | 1 => sim.offers[dice.usize(0..7)] += dice.u64(0..10),
                2 => sim.taken = sim.taken.saturating_sub(dice.usize(0..5)),
                3 => sim.now += Duration::from_millis(dice.u64(0..80)),
                _ => sim.expire(),
            }
            sim.settle();
        }
        while sim.taken > 0 {
            sim.taken -= 1;
            sim.expire();
            sim.settle();
        }
        assert_eq!(sim.offers, [0; 7], "seed {seed}");
    }
}
