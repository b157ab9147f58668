//! What all partitions of a coordinator keep in memory, which is one budget: a few big runs in one partition may take
//! what the others leave free.
//!
//! Invariant: a partition is never asked to give of its own share, so a busy one cannot drain the others; where all keep
//! to their shares, the whole is kept.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Entities and their tasks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Load {
    entities: usize,
    tasks: u64,
}

impl Load {
    /// A tenth less: whoever has to give gives somewhat more, so that the next one does not have to.
    fn low(self) -> Self {
        Self { entities: self.entities - self.entities / 10, tasks: self.tasks - self.tasks / 10 }
    }
}

/// What may be kept, and what is.
#[derive(Debug)]
pub(crate) struct Budget {
    max: Load,
    /// What each partition may keep, however much the others do.
    share: Load,
    entities: AtomicUsize,
    tasks: AtomicU64,
}

impl Budget {
    pub(crate) fn new(entities_max: usize, tasks_max: u64, partitions: u16) -> Self {
        let n = partitions.max(1);
        Self {
            max: Load { entities: entities_max, tasks: tasks_max },
            share: Load { entities: entities_max / usize::from(n), tasks: tasks_max / u64::from(n) },
            entities: AtomicUsize::new(0),
            tasks: AtomicU64::new(0),
        }
    }

    /// A guess while others count too, which is as good as any for a limit of memory.
    fn held(&self) -> Load {
        Load { entities: self.entities.load(Ordering::Relaxed), tasks: self.tasks.load(Ordering::Relaxed) }
    }
}

/// How much is too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mark {
    /// Above this a partition gives.
    High,
    /// Down to this.
    Low,
}

/// What one partition keeps. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<Budget>,
    own: Load,
}

impl Account {
    pub(crate) fn open(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), own: Load::default() }
    }

    /// An entity with this many tasks is kept.
    pub(crate) fn add(&mut self, tasks: u64) {
        self.own = Load { entities: self.own.entities + 1, tasks: self.own.tasks + tasks };
        self.budget.entities.fetch_add(1, Ordering::Relaxed);
        self.budget.tasks.fetch_add(tasks, Ordering::Relaxed);
    }

    /// An entity that was added with this many tasks is kept no longer.
    pub(crate) fn remove(&mut self, tasks: u64) {
        self.give_back(Load { entities: 1, tasks });
    }

    /// Nothing is kept any longer.
    pub(crate) fn clear(&mut self) {
        self.give_back(self.own);
    }

    fn give_back(&mut self, Load { entities, tasks }: Load) {
        self.own = Load { entities: self.own.entities - entities, tasks: self.own.tasks - tasks };
        self.budget.entities.fetch_sub(entities, Ordering::Relaxed);
        self.budget.tasks.fetch_sub(tasks, Ordering::Relaxed);
    }

    /// Whether this partition has to give: all together keep too much, and it has more than its share of that. The last
    /// entity of a partition stays, however big it is.
    pub(crate) fn is_above(&self, mark: Mark) -> bool {
        let Budget { max, share, .. } = &*self.budget;
        let (max, share) = match mark {
            Mark::High => (*max, *share),
            Mark::Low => (max.low(), share.low()),
        };
        let (held, own) = (self.budget.held(), self.own);
        own.entities > 1
            && ((held.entities > max.entities && own.entities > share.entities)
                || (held.tasks > max.tasks && own.tasks > share.tasks))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition with the tasks of what it keeps, the oldest first.
    struct Partition(Account, Vec<u64>);

    impl Partition {
        fn add(&mut self, tasks: u64) {
            self.0.add(tasks);
            self.1.push(tasks);
        }

        /// As the desk does it.
        fn evict(&mut self) {
            if self.0.is_above(Mark::High) {
                while self.0.is_above(Mark::Low) {
                    self.0.remove(self.1.remove(0));
                }
            }
        }
    }

    fn partitions(budget: &Arc<Budget>, n: usize) -> Vec<Partition> {
        (0..n).map(|_| Partition(Account::open(budget), Vec::new())).collect()
    }

    #[test]
    fn one_partition_may_keep_what_the_others_leave() {
        let budget = Arc::new(Budget::new(100, 1_000_000, 8));
        let mut all = partitions(&budget, 8);
        for _ in 0..10 {
            all[3].add(100_000);
            all[3].evict();
        }
        assert_eq!(all[3].1.len(), 10);
        // One more is too much: a tenth goes. The small ones of others stay, and take no more than their share.
        all[5].add(1_000);
        all[5].evict();
        assert_eq!(all[5].1.len(), 1);
        all[3].evict();
        assert_eq!(all[3].1.len(), 8);
        // What a partition kept is free when it is gone.
        all.remove(3);
        assert_eq!(budget.held(), Load { entities: 1, tasks: 1_000 });
    }

    #[test]
    fn the_last_one_of_a_partition_stays_however_big() {
        let budget = Arc::new(Budget::new(1, 1, 8));
        let mut all = partitions(&budget, 2);
        for partition in &mut all {
            for tasks in [5, 100_000] {
                partition.add(tasks);
                partition.evict();
            }
            assert_eq!(partition.1, [100_000]);
        }
    }

    #[test]
    fn the_whole_is_kept_and_nobodys_share_is_taken() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let n = rng.usize(1..9);
            let budget = Arc::new(Budget::new(rng.usize(n..400), rng.u64(1_000..20_000), u16::try_from(n).unwrap()));
            let mut all = partitions(&budget, n);
            for _ in 0..400 {
                let big = if rng.u32(..10) == 0 { 900 } else { 30 };
                let partition = &mut all[rng.usize(..n.div_ceil(2)) + rng.usize(..=n / 2)];
                partition.add(rng.u64(1..=big));
                let before = partition.0.own;
                partition.evict();
                let share = budget.share;
                let keeps_to_share = before.entities <= share.entities && before.tasks <= share.tasks;
                assert!(!keeps_to_share || partition.0.own == before, "seed {seed}: {before:?}, {budget:?}");
            }
            all.iter_mut().for_each(Partition::evict);
            let own = all.iter().fold(Load::default(), |sum, Partition(account, kept)| {
                assert_eq!(account.own, Load { entities: kept.len(), tasks: kept.iter().sum() });
                Load { entities: sum.entities + account.own.entities, tasks: sum.tasks + account.own.tasks }
            });
            assert_eq!(budget.held(), own);
            // Above the limits are at most the last ones.
            let last = all.iter().filter(|partition| partition.1.len() == 1);
            let (n_last, tasks_last) = last.fold((0, 0), |(n, tasks), last| (n + 1, tasks + last.1[0]));
            assert!(own.entities <= budget.max.entities + n_last, "seed {seed}: {own:?}, {budget:?}");
            assert!(own.tasks <= budget.max.tasks + tasks_last, "seed {seed}: {own:?}, {budget:?}");
        }
    }
}
