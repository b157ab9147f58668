//! Who gets the free slots: pure arithmetic.
//!
//! Invariant: what is asked for in all lanes never exceeds the free slots; so an offer that comes can start.
//!
//! Slots go to lanes by smooth weighted round robin: with weights 2 and 1 in the order A B A. A lane that had nothing the
//! last time it was asked is cold, and a cold lane is given one slot at most: an empty queue must not hold the slots
//! that a full one could use. When there are fewer slots than lanes, lanes are asked for what is there right now, one
//! after the other; only when all are cold does one of them wait with the slot, for the time of one pull.

/// How to ask a lane.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Ask {
    /// For what is there now.
    Now,
    /// For what comes while the pull lasts.
    Wait,
}

/// A lane, as far as shares go.
#[derive(Clone, Debug)]
pub(super) struct Share {
    weight: i64,
    credit: i64,
    /// Whether it had something the last time.
    is_hot: bool,
    /// Whether it may be asked at all.
    pub(super) is_open: bool,
}

impl Share {
    pub(super) fn new(weight: u32) -> Self {
        Self { weight: i64::from(weight.max(1)), credit: 0, is_hot: false, is_open: true }
    }

    /// An offer came.
    pub(super) fn delivered(&mut self) {
        self.is_hot = true;
    }

    /// Something that was asked for came back unfilled.
    pub(super) fn unfilled(&mut self) {
        self.is_hot = false;
    }
}

/// What to ask of each lane: lane, slots, how. `outstanding` is what each lane was asked for and has not delivered.
pub(super) fn share_out(shares: &mut [Share], outstanding: &[usize], free: usize) -> Vec<(usize, usize, Ask)> {
    let mut given = outstanding.to_vec();
    let mut asks: Vec<(usize, usize, Ask)> = Vec::new();
    let mut left = free.saturating_sub(outstanding.iter().sum());
    let is_alone = shares.len() == 1;
    while left > 0 {
        let empty = (0..shares.len()).filter(|lane| is_open(shares, *lane) && given.get(*lane) == Some(&0)).count();
        let is_scarce = left < empty;
        let has_hot = shares.iter().any(|share| share.is_open && share.is_hot);
        let eligible =
            |lane: usize, share: &Share| share.is_open && (is_alone || share.is_hot || given.get(lane) == Some(&0));
        let Some(lane) = next(shares, eligible) else { break };
        let ask = if is_scarce && has_hot && !is_alone { Ask::Now } else { Ask::Wait };
        // A lane alone takes all that is left in one step.
        let slots = if is_alone { left } else { 1 };
        left -= slots;
        if let Some(given) = given.get_mut(lane) {
            *given += slots;
        }
        match asks.iter_mut().find(|(other, _, how)| (*other, *how) == (lane, ask)) {
            Some((_, n, _)) => *n += slots,
            None => asks.push((lane, slots, ask)),
        }
    }
    asks
}

fn is_open(shares: &[Share], lane: usize) -> bool {
    shares.get(lane).is_some_and(|share| share.is_open)
}

/// One step of the smooth weighted round robin among the eligible lanes.
fn next(shares: &mut [Share], eligible: impl Fn(usize, &Share) -> bool) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(i64, usize)> = None;
    for (lane, share) in shares.iter_mut().enumerate() {
        if !eligible(lane, share) {
            continue;
        }
        share.credit += share.weight;
        total += share.weight;
        if best.is_none_or(|(credit, _)| share.credit > credit) {
            best = Some((share.credit, lane));
        }
    }
    let (_, lane) = best?;
    if let Some(share) = shares.get_mut(lane) {
        share.credit -= total;
    }
    Some(lane)
}

#[cfg(test)]
mod tests {
    use super::{Ask, Share, share_out};

    fn lanes(weights: &[u32], hot: &[bool]) -> Vec<Share> {
        weights
            .iter()
            .zip(hot)
            .map(|(weight, hot)| {
                let mut share = Share::new(*weight);
                if *hot {
                    share.delivered();
                }
                share
            })
            .collect()
    }

    #[test]
    fn with_one_slot_full_lanes_take_turns_by_weight() {
        let mut shares = lanes(&[2, 1], &[true, true]);
        let order: String = (0..6)
            .map(|_| match share_out(&mut shares, &[0, 0], 1).as_slice() {
                [(0, 1, Ask::Now)] => 'A',
                [(1, 1, Ask::Now)] => 'B',
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, "ABAABA");
    }

    #[test]
    fn what_is_asked_for_never_exceeds_the_free_slots() {
        for free in 0..20_usize {
            for outstanding in [[0, 0, 0], [1, 0, 0], [3, 2, 1], [9, 9, 9]] {
                for hot in [[true; 3], [false; 3], [true, false, false]] {
                    let mut shares = lanes(&[3, 1, 1], &hot);
                    let asked: usize = share_out(&mut shares, &outstanding, free).iter().map(|(_, n, _)| n).sum();
                    let before: usize = outstanding.iter().sum();
                    assert!(asked + before <= free.max(before), "{free} {outstanding:?} {hot:?}: {asked}");
                }
            }
        }
    }

    #[test]
    fn a_cold_lane_holds_one_slot_and_the_hot_one_the_rest() {
        let mut shares = lanes(&[1, 1], &[true, false]);
        let mut asks = share_out(&mut shares, &[0, 0], 10);
        asks.sort_unstable();
        assert_eq!(asks, [(0, 9, Ask::Wait), (1, 1, Ask::Wait)]);
    }

    #[test]
    fn cold_lanes_wait_in_turn_when_slots_are_scarce() {
        let mut shares = lanes(&[1, 1, 1], &[false; 3]);
        let mut waiting: Vec<usize> = Vec::new();
        for _ in 0..3 {
            let asks = share_out(&mut shares, &[0; 3], 1);
            assert_eq!(asks.iter().map(|(_, n, ask)| (*n, *ask)).collect::<Vec<_>>(), [(1, Ask::Wait)]);
            waiting.extend(asks.iter().map(|(lane, ..)| lane));
        }
        waiting.sort_unstable();
        assert_eq!(waiting, [0, 1, 2]);
    }

    #[test]
    fn a_lane_alone_is_asked_for_everything() {
        let mut shares = lanes(&[1], &[false]);
        assert_eq!(share_out(&mut shares, &[3], 1000), [(0, 997, Ask::Wait)]);
    }

    #[test]
    fn a_closed_lane_is_not_asked() {
        let mut shares = lanes(&[1, 1], &[true, true]);
        shares[0].is_open = false;
        assert_eq!(share_out(&mut shares, &[0, 0], 4), [(1, 4, Ask::Wait)]);
    }
}
