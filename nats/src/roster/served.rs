//! What the present workers serve, counted: it is asked for every task that is looked at, so an answer is a look-up.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use rr_schemas::{
    host::{Host, HostSet},
    name::Name,
    presence::{Hosts, Serves},
};

use crate::lane::LANE_HOSTS_MAX;

/// How many workers serve each target.
#[derive(Debug, Default)]
pub(super) struct Served {
    hosts: HashMap<Host, usize>,
    queues: HashMap<Name, usize>,
    /// Workers that serve whatever is named.
    all_hosts: usize,
    /// Sets larger than any lane takes are not expanded, or one worker could fill the memory: they are searched. Who
    /// shows one is not let in, so there are few of them and not for long.
    large: Vec<HostSet>,
}

impl Served {
    /// A worker has come.
    pub(super) fn add(&mut self, serves: &Serves) {
        for queue in &serves.queues {
            *self.queues.entry(queue.clone()).or_default() += 1;
        }
        match &serves.hosts {
            Hosts::None => {}
            Hosts::All => self.all_hosts += 1,
            Hosts::Only(hosts) if is_large(hosts) => self.large.push(hosts.clone()),
            Hosts::Only(hosts) => hosts.iter().for_each(|host| *self.hosts.entry(host).or_default() += 1),
        }
    }

    /// A worker that had come with the same has gone.
    pub(super) fn remove(&mut self, serves: &Serves) {
        for queue in &serves.queues {
            decrease(&mut self.queues, queue.clone());
        }
        match &serves.hosts {
            Hosts::None => {}
            Hosts::All => self.all_hosts = self.all_hosts.saturating_sub(1),
            Hosts::Only(hosts) if is_large(hosts) => {
                if let Some(at) = self.large.iter().position(|large| large == hosts) {
                    self.large.swap_remove(at);
                }
            }
            Hosts::Only(hosts) => hosts.iter().for_each(|host| decrease(&mut self.hosts, host)),
        }
    }

    /// Whether somebody serves a queue.
    pub(super) fn holds_queue(&self, queue: &Name) -> bool {
        self.queues.contains_key(queue)
    }

    /// Whether somebody serves a host.
    pub(super) fn holds_host(&self, host: &Host) -> bool {
        self.all_hosts > 0 || self.hosts.contains_key(host) || self.large.iter().any(|hosts| hosts.contains(host))
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
    use super::*;

    /// Asks each worker.
    fn searched(workers: &[Serves], host: &Host) -> bool {
        workers.iter().any(|serves| match &serves.hosts {
            Hosts::None => false,
            Hosts::All => true,
            Hosts::Only(hosts) => hosts.contains(host),
        })
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
            let (mut served, mut workers) = (Served::default(), Vec::<Serves>::new());
            for _ in 0..60 {
                if workers.len() > 3 || (rng.bool() && !workers.is_empty()) {
                    let gone = workers.swap_remove(rng.usize(..workers.len()));
                    served.remove(&gone);
                } else {
                    workers.push(any_worker(&mut rng));
                    served.add(workers.last().unwrap());
                }
                for host in &hosts {
                    assert_eq!(served.holds_host(host), searched(&workers, host), "seed {seed}, {host}");
                }
                for queue in &queues {
                    let expected = workers.iter().any(|serves| serves.queues.contains(queue));
                    assert_eq!(served.holds_queue(queue), expected, "seed {seed}, {queue}");
                }
            }
            for serves in &workers {
                served.remove(serves);
            }
            assert!(served.hosts.is_empty() && served.queues.is_empty() && served.large.is_empty(), "seed {seed}");
        }
    }
}
