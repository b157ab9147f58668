//! What the present workers say that they serve: it is asked for every task that is looked at, so an answer is a look-up.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use rr_schemas::{
    host::{Host, HostSet},
    name::{Name, WorkerName},
    presence::{Hosts, Serves},
};

use crate::lane::LANE_HOSTS_MAX;

/// Which workers say that they serve each target.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// A worker that names a host twice stands there twice.
    hosts: HashMap<Host, Vec<WorkerName>>,
    /// How many workers serve each queue.
    queues: HashMap<Name, usize>,
    /// Workers that serve whatever is named.
    all_hosts: Vec<WorkerName>,
    /// Sets larger than any lane takes are not expanded, or one worker could fill the memory: they are searched. Who
    /// shows one is not let in, so there are few of them and not for long.
    large: Vec<(WorkerName, HostSet)>,
}

impl Served {
    /// A worker has come.
    pub(super) fn add(&mut self, worker: &WorkerName, serves: &Serves) {
        for queue in &serves.queues {
            *self.queues.entry(queue.clone()).or_default() += 1;
        }
        match &serves.hosts {
            Hosts::None => {}
            Hosts::All => self.all_hosts.push(worker.clone()),
            Hosts::Only(hosts) if is_large(hosts) => self.large.push((worker.clone(), hosts.clone())),
            Hosts::Only(hosts) => {
                hosts.iter().for_each(|host| self.hosts.entry(host).or_default().push(worker.clone()));
            }
        }
    }

    /// A worker that had come with the same has gone.
    pub(super) fn remove(&mut self, worker: &WorkerName, serves: &Serves) {
        for queue in &serves.queues {
            decrease(&mut self.queues, queue.clone());
        }
        match &serves.hosts {
            Hosts::None => {}
            Hosts::All => take_out(&mut self.all_hosts, |found| found == worker),
            Hosts::Only(hosts) if is_large(hosts) => {
                take_out(&mut self.large, |(found, large)| found == worker && large == hosts);
            }
            Hosts::Only(hosts) => hosts.iter().for_each(|host| self.remove_from(host, worker)),
        }
    }

    fn remove_from(&mut self, host: Host, worker: &WorkerName) {
        if let Entry::Occupied(mut workers) = self.hosts.entry(host) {
            take_out(workers.get_mut(), |found| found == worker);
            if workers.get().is_empty() {
                workers.remove();
            }
        }
    }

    /// Whether somebody serves a queue.
    pub(super) fn holds_queue(&self, queue: &Name) -> bool {
        self.queues.contains_key(queue)
    }

    /// Whether somebody says that they serve a host.
    pub(super) fn holds_host(&self, host: &Host) -> bool {
        self.who(host).next().is_some()
    }

    /// Who says so; first who names it.
    pub(super) fn who(&self, host: &Host) -> impl Iterator<Item = &WorkerName> {
        let named = self.hosts.get(host).into_iter().flatten();
        let large = self.large.iter().filter(|(_, hosts)| hosts.contains(host)).map(|(worker, _)| worker);
        named.chain(&self.all_hosts).chain(large)
    }
}

fn take_out<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool) {
    if let Some(at) = all.iter().position(is_it) {
        all.swap_remove(at);
    }
}

fn is_large(hosts: &HostSet) -> bool {
    hosts.len() as usize > LANE_HOSTS_MAX
}

fn decrease<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Asks each worker.
    fn searched<'a>(workers: &'a [(WorkerName, Serves)], host: &Host) -> BTreeSet<&'a WorkerName> {
        let serves = |serves: &Serves| match &serves.hosts {
            Hosts::None => false,
            Hosts::All => true,
            Hosts::Only(hosts) => hosts.contains(host),
        };
        workers.iter().filter(|(_, found)| serves(found)).map(|(worker, _)| worker).collect()
    }

    fn any_worker(rng: &mut fastrand::Rng) -> Serves {
        let hosts = match rng.u32(..12) {
            0 => Hosts::All,
            1 => Hosts::None,
            // Larger than a lane, and one host named twice.
            2 => Hosts::Only(format!("db[{}-200]", rng.u32(1..30)).parse().unwrap()),
            3 => Hosts::Only("db3,db[1-5]".parse().unwrap()),
            _ => Hosts::Only(format!("db[{}-{}]", rng.u32(1..20), rng.u32(20..40)).parse().unwrap()),
        };
        let queues = (0..rng.u32(..3)).map(|_| format!("q{}", rng.u32(..4)).parse().unwrap()).collect();
        Serves { hosts, queues }
    }

    #[test]
    fn the_counts_say_what_a_search_through_all_workers_says() {
        let hosts: Vec<Host> = (0..45).map(|n| format!("db{n}").parse().unwrap()).collect();
        let queues: Vec<Name> = (0..5).map(|n| format!("q{n}").parse().unwrap()).collect();
        for seed in 0..40 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut served, mut workers, mut n) = (Served::default(), Vec::<(WorkerName, Serves)>::new(), 0);
            for _ in 0..60 {
                if workers.len() > 3 || (rng.bool() && !workers.is_empty()) {
                    let gone = workers.swap_remove(rng.usize(..workers.len()));
                    served.remove(&gone.0, &gone.1);
                } else {
                    n += 1;
                    workers.push((format!("w{n}").parse().unwrap(), any_worker(&mut rng)));
                    let (last, its_own) = workers.last().unwrap();
                    served.add(last, its_own);
                }
                for host in &hosts {
                    let who: BTreeSet<&WorkerName> = served.who(host).collect();
                    assert_eq!(who, searched(&workers, host), "seed {seed}, {host}");
                    assert_eq!(served.holds_host(host), !who.is_empty());
                }
                for queue in &queues {
                    let expected = workers.iter().any(|(_, serves)| serves.queues.contains(queue));
                    assert_eq!(served.holds_queue(queue), expected, "seed {seed}, {queue}");
                }
            }
            for (worker, serves) in &workers {
                served.remove(worker, serves);
            }
            assert!(served.hosts.is_empty() && served.queues.is_empty() && served.large.is_empty(), "seed {seed}");
        }
    }
}
