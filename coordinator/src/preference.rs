//! Which coordinator rather works on a partition: rendezvous hashing over those present.
//!
//! It only spreads the work. Two coordinators may see different presences for a moment, and both be right.

use rr_schemas::{id::Partition, name::InstanceId};

/// The one of `present` that rather works on the partition: each pair has a score, the highest wins. When one comes or
/// goes, only its own partitions move.
pub(crate) fn preferred<'a>(
    partition: Partition,
    present: impl IntoIterator<Item = &'a InstanceId>,
) -> Option<&'a InstanceId> {
    present.into_iter().max_by_key(|instance| (score(partition, instance), *instance))
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
    fn everybody_gets_a_fair_share() {
        let present = instances(4);
        for instance in &present {
            let share = (0..1_000).filter(|p| preferred(Partition(*p), &present) == Some(instance)).count();
            assert!((150..400).contains(&share), "{share} of 1000");
        }
    }

    #[test]
    fn only_partitions_of_the_one_that_goes_move() {
        let present = instances(5);
        let (gone, rest) = present.split_last().unwrap();
        for partition in (0..200).map(Partition) {
            let before = preferred(partition, &present).unwrap();
            if before != gone {
                assert_eq!(preferred(partition, rest), Some(before));
            }
        }
    }

    #[test]
    fn nobody_is_preferred_where_nobody_is() {
        assert_eq!(preferred(Partition(0), &[]), None);
    }
}
