//! Which coordinator rather works on a partition: rendezvous hashing over those present, with an equal share for each.
//!
//! It only spreads the work. Two coordinators may see different presences for a moment, and both be right.

use std::{collections::HashMap, sync::Arc};

use rr_schemas::{id::Partition, name::InstanceId};

/// Who rather works on each partition, among this coordinator and others. Every partition asks once a second, so it is made
/// for all of them at once, and anew only when others come or go.
#[derive(Debug)]
pub(crate) struct Preference {
    partitions: u16,
    own: InstanceId,
    others: Arc<[InstanceId]>,
    spread: Vec<InstanceId>,
}

impl Preference {
    /// The preference of `own`, alone.
    pub(crate) fn new(partitions: u16, own: InstanceId) -> Self {
        let spread = spread(partitions, [&own]);
        Self { partitions, own, others: Arc::default(), spread }
    }

    /// Takes note of who else is present, and says whether that is news. It does not matter whether `own` is among them.
    pub(crate) fn among(&mut self, others: Arc<[InstanceId]>) -> bool {
        if self.others == others {
            return false;
        }
        self.spread = spread(self.partitions, others.iter().chain([&self.own]));
        self.others = others;
        true
    }

    /// Whether a partition is rather another's.
    pub(crate) fn is_anothers(&self, partition: Partition) -> bool {
        self.spread.get(usize::from(partition.0)).is_some_and(|instance| *instance != self.own)
    }
}

/// Who of `present` rather works on each of `partitions`: each pair has a score, and partitions in their order go to the
/// highest one that has room. Everybody has room for an equal share; what does not divide is one more for those who are
/// asked first. Hashing alone leaves a few partitions too uneven: of eight, every seventh newcomer beside another would get
/// two or fewer.
fn spread<'a>(partitions: u16, present: impl IntoIterator<Item = &'a InstanceId>) -> Vec<InstanceId> {
    let mut shares: HashMap<&InstanceId, usize> = present.into_iter().map(|instance| (instance, 0)).collect();
    let Some(everybodys) = usize::from(partitions).checked_div(shares.len()) else { return Vec::new() };
    let mut left_over = usize::from(partitions) % shares.len();
    let mut spread = Vec::with_capacity(usize::from(partitions));
    for of in (0..partitions).map(Partition) {
        let has_room = |share: usize| share < everybodys || share == everybodys && left_over > 0;
        let candidates = shares.iter_mut().filter(|(_, share)| has_room(**share));
        let Some((instance, share)) = candidates.max_by_key(|(instance, _)| (score(of, instance), **instance)) else {
            break;
        };
        left_over -= usize::from(*share == everybodys);
        *share += 1;
        spread.push((*instance).clone());
    }
    spread
}

/// FNV-1a over the instance, mixed with the partition: the same in every build, unlike the standard library's hash.
fn score(partition: Partition, instance: &InstanceId) -> u64 {
    let hash = instance
        .as_str()
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let mut mixed = hash ^ u64::from(partition.0).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(n: usize) -> Vec<InstanceId> {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..n).map(|_| InstanceId::random(&mut rng)).collect()
    }

    #[test]
    fn everybody_gets_an_equal_share() {
        for (partitions, n) in [(8, 1), (8, 2), (8, 3), (8, 5), (10, 4), (64, 7), (1, 3), (3, 8)] {
            for present in instances(n * 20).chunks(n) {
                let spread = spread(partitions, present);
                let equal = usize::from(partitions) / n;
                for instance in present {
                    let share = spread.iter().filter(|of| *of == instance).count();
                    assert!((equal..=equal + 1).contains(&share), "{share} of {partitions} among {n}");
                }
            }
        }
    }

    #[test]
    fn the_order_in_which_others_are_seen_does_not_matter() {
        let mut present = instances(4);
        let before = spread(10, &present);
        present.reverse();
        assert_eq!(spread(10, &present), before);
    }

    /// Hashing alone would move the partitions of the one that goes; equal shares move some of the others' as well.
    #[test]
    fn most_partitions_stay_when_one_goes() {
        let all = instances(250);
        let (mut stay, mut had_others) = (0, 0);
        for present in all.chunks(5) {
            let (gone, rest) = present.split_last().unwrap();
            let (before, after) = (spread(64, present), spread(64, rest));
            for (before, after) in before.into_iter().zip(after).filter(|(before, _)| before != gone) {
                had_others += 1;
                stay += usize::from(before == after);
            }
        }
        assert!(stay * 10 >= had_others * 7, "{stay} of {had_others} stay");
    }

    #[test]
    fn nobody_is_preferred_where_nobody_is() {
        assert!(spread(8, []).is_empty());
    }

    #[test]
    fn what_is_kept_is_what_would_be_made_now_and_is_made_anew_only_when_somebody_comes_or_goes() {
        let all = instances(4);
        let (own, others) = all.split_first().unwrap();
        let mut preference = Preference::new(10, own.clone());
        for (present, is_news) in [
            (&others[..0], false),
            (&others[..2], true),
            (&others[..2], false),
            (others, true),
            (others, false),
            (&others[1..], true),
            (&all[..], true),
            (&others[..0], true),
        ] {
            assert_eq!(preference.among(present.into()), is_news, "{present:?}");
            let now = spread(10, present.iter().chain([own]));
            for (partition, instance) in (0..10).map(Partition).zip(&now) {
                assert_eq!(preference.is_anothers(partition), instance != own, "{partition:?} among {present:?}");
            }
        }
    }
}
