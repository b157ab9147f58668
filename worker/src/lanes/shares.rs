//! Who is asked for how much: pure arithmetic.
//!
//! A group of lanes is a queue (its lanes are its priorities, the first goes first) or the worker's own lane. Groups take
//! turns by smooth weighted round robin: with weights 2 and 1 in the order A B A. Turns are counted when offers come, so
//! a lane that had nothing takes none away. Within a group the highest lane goes first, but of ten offers of a group each
//! lane gets at least one, if there is something in it.
//!
//! As long as some lane may hold something, lanes are asked only for what is there right now, and never for more than the
//! free slots: an empty lane costs a round trip, it holds no slot. It is left alone for [`PROBE`] then. When nothing is
//! to be had anywhere, one pull waits at each lane, so that whatever comes starts at once.
//!
//! Invariant: what is asked for exceeds the free slots by one at most for each lane. What comes and has no slot then is
//! given back.

use std::time::Duration;

use tokio::time::Instant;

/// How long a lane that was found empty is not asked again while there is something in another one: long enough that the
/// question costs little, short enough that nobody notices.
const PROBE: Duration = Duration::from_millis(50);

/// Of so many offers of a group each of its lanes gets one, whatever waits in the lanes before it.
const TURN: u32 = 10;

/// What to ask of a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ask {
    pub(super) lane: usize,
    pub(super) offers: usize,
    pub(super) how: How,
}

/// How to ask it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// For what is there now.
    Now,
    /// For what comes within a moment: there was something until just now.
    Soon,
    /// For what comes, whenever it comes.
    Long,
}

/// What is thought of a lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Content {
    /// There may be something in it.
    Perhaps,
    /// There was nothing at that time.
    Empty(Instant),
}

#[derive(Clone, Debug)]
struct Share {
    group: usize,
    content: Content,
    /// Whether it may be asked at all.
    is_open: bool,
    /// Whether one pull that waits at it is beyond the free slots.
    is_watched: bool,
    /// Offers of lanes that go before it, since it had its turn.
    passed: u32,
}

impl Share {
    fn is_hot(&self) -> bool {
        self.is_open && self.content == Content::Perhaps
    }

    /// Whether it was found empty so long ago that it may be asked again.
    fn is_stale(&self, now: Instant) -> bool {
        match self.content {
            Content::Perhaps => false,
            Content::Empty(since) => self.is_open && now >= since + PROBE,
        }
    }
}

#[derive(Clone, Debug)]
struct Group {
    weight: i64,
    credit: i64,
    /// Its lanes, the first to go first.
    lanes: Vec<usize>,
}

/// The shares of all lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    lanes: Vec<Share>,
    groups: Vec<Group>,
    /// The lane from which offers come, when they come one by one.
    lively: Option<usize>,
}

impl Shares {
    /// Adds a group of so many lanes; they are numbered in the order in which they are added.
    pub(super) fn add(&mut self, weight: u32, lanes: usize) {
        let first = self.lanes.len();
        let group = self.groups.len();
        let share = Share { group, content: Content::Perhaps, is_open: true, is_watched: false, passed: 0 };
        self.lanes.resize(first + lanes, share);
        let lanes = (first..first + lanes).collect();
        self.groups.push(Group { weight: i64::from(weight.max(1)), credit: 0, lanes });
    }

    /// An offer came, and so many were left behind it.
    pub(super) fn delivered(&mut self, lane: usize, pending: u64, now: Instant) {
        self.count(lane);
        let others_wait = self.lanes.iter().enumerate().any(|(other, share)| other != lane && share.is_hot());
        if let Some(share) = self.lanes.get_mut(lane) {
            // Where others wait it keeps its turn until it is seen empty: offers that come one by one must not pass them.
            share.content = if pending > 0 || others_wait { Content::Perhaps } else { Content::Empty(now) };
        }
        self.lively = Some(lane);
    }

    /// Something that was asked for came back unfilled.
    pub(super) fn unfilled(&mut self, lane: usize, now: Instant) {
        if let Some(share) = self.lanes.get_mut(lane) {
            share.content = Content::Empty(now);
            share.passed = 0;
        }
        if self.lively == Some(lane) {
            self.lively = None;
        }
    }

    /// It cannot be asked for a while.
    pub(super) fn close(&mut self, lane: usize) {
        if let Some(share) = self.lanes.get_mut(lane) {
            share.is_open = false;
        }
    }

    /// It can be asked again.
    pub(super) fn open(&mut self, lane: usize) {
        if let Some(share) = self.lanes.get_mut(lane) {
            share.is_open = true;
        }
    }

    /// What to ask of each lane. `outstanding` is what each was asked for and has not delivered.
    pub(super) fn share_out(&mut self, outstanding: &[usize], free: usize, capacity: usize, now: Instant) -> Vec<Ask> {
        for (share, asked) in self.lanes.iter_mut().zip(outstanding) {
            share.is_watched &= *asked > 0;
        }
        let counted = |share: &Share, asked: usize| asked - usize::from(share.is_watched && asked > 0);
        let given: Vec<usize> =
            self.lanes.iter().zip(outstanding).map(|(share, asked)| counted(share, *asked)).collect();
        let on_the_way: usize = given.iter().sum();
        let left = free.saturating_sub(on_the_way);
        // Small rests wait for company, where something is on its way that will wake us.
        let is_small = on_the_way > 0 && left < capacity / 8;
        if free == 0 {
            return Vec::new();
        }
        if self.lanes.iter().any(Share::is_hot) {
            return if left == 0 || is_small { Vec::new() } else { self.ask_now(outstanding, &given, left, now) };
        }
        let room = (free + self.lanes.len()).saturating_sub(outstanding.iter().sum());
        self.wait(outstanding, left, room, is_small)
    }

    /// Nothing is to be had: one pull waits at each lane, and where offers come one by one, more of them.
    fn wait(&mut self, outstanding: &[usize], left: usize, mut room: usize, is_small: bool) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (lane, share) in self.lanes.iter_mut().enumerate().filter(|(_, share)| share.is_open) {
            let is_asked = outstanding.get(lane).is_some_and(|asked| *asked > 0);
            let more = if self.lively == Some(lane) && !(is_asked && is_small) { left.saturating_sub(1) } else { 0 };
            let offers = room.min(more + usize::from(!is_asked));
            room -= offers;
            if offers > 0 {
                share.is_watched |= !is_asked;
                asks.push(Ask { lane, offers, how: if more > 0 { How::Soon } else { How::Long } });
            }
        }
        asks
    }

    /// Something may be there: takes it in turns.
    fn ask_now(&mut self, outstanding: &[usize], given: &[usize], left: usize, now: Instant) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        // Lanes of whom nothing is known any more come first, all at once, so that the others know where they stand.
        for lane in 0..self.lanes.len() {
            let is_idle = outstanding.get(lane) == Some(&0);
            if is_idle && self.lanes.get(lane).is_some_and(|share| share.is_stale(now)) && !self.is_behind(lane) {
                asks.push(Ask { lane, offers: 1, how: How::Now });
            }
        }
        // The turns of this round, as if everything came that was asked for.
        let mut turns = self.clone();
        for (lane, asked) in given.iter().enumerate() {
            (0..*asked).for_each(|_| turns.count(lane));
        }
        for _ in asks.len()..left {
            let Some(lane) = turns.next(now) else { break };
            turns.count(lane);
            match asks.iter_mut().find(|ask| ask.lane == lane) {
                Some(ask) => ask.offers += 1,
                None => asks.push(Ask { lane, offers: 1, how: How::Now }),
            }
            if let Some(share) = turns.lanes.get_mut(lane).filter(|share| !share.is_hot()) {
                // One is enough to learn whether there is something.
                share.content = Content::Empty(now);
            }
        }
        asks
    }

    /// Whether something may be in a lane of its group that goes before it.
    fn is_behind(&self, lane: usize) -> bool {
        let Some(group) = self.lanes.get(lane).and_then(|share| self.groups.get(share.group)) else { return false };
        let mut before = group.lanes.iter().take_while(|other| **other != lane);
        before.any(|other| self.lanes.get(*other).is_some_and(Share::is_hot))
    }

    /// Whose turn it is.
    fn next(&self, now: Instant) -> Option<usize> {
        let waiting = self.groups.iter().filter_map(|group| Some((group, self.next_of(group, now)?)));
        let mut best: Option<(i64, usize)> = None;
        for (group, lane) in waiting {
            let credit = group.credit + group.weight;
            if best.is_none_or(|(most, _)| credit > most) {
                best = Some((credit, lane));
            }
        }
        best.map(|(_, lane)| lane)
    }

    /// Whose turn it is in a group where something may be: the first one's, unless a later one has waited too long.
    fn next_of(&self, group: &Group, now: Instant) -> Option<usize> {
        let is_hot = |lane: &usize| self.lanes.get(*lane).is_some_and(Share::is_hot);
        let first = group.lanes.iter().find(|lane| is_hot(lane))?;
        let mut after = 0;
        for lane in group.lanes.iter().rev().take_while(|lane| *lane != first) {
            let Some(share) = self.lanes.get(*lane) else { continue };
            if !share.is_hot() && !share.is_stale(now) {
                continue;
            }
            // The last one waits longest: those before it have their turn just before, never all at the same time.
            if share.passed + after >= TURN - 1 {
                return Some(*lane);
            }
            after += u32::from(share.is_hot());
        }
        Some(*first)
    }

    /// An offer of this lane is counted.
    fn count(&mut self, lane: usize) {
        let Some(of) = self.lanes.get(lane).map(|share| share.group) else { return };
        let mut total = 0;
        for index in 0..self.groups.len() {
            let is_waiting = self.groups.get(index).is_some_and(|group| {
                index == of || group.lanes.iter().any(|lane| self.lanes.get(*lane).is_some_and(Share::is_hot))
            });
            if let Some(group) = self.groups.get_mut(index).filter(|_| is_waiting) {
                group.credit += group.weight;
                total += group.weight;
            }
        }
        let Some(group) = self.groups.get_mut(of) else { return };
        group.credit -= total;
        for other in group.lanes.iter().skip_while(|other| **other != lane) {
            if let Some(share) = self.lanes.get_mut(*other) {
                share.passed = if *other == lane { 0 } else { share.passed.saturating_add(1) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
