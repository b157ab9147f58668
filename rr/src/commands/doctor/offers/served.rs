//! What is served: a host is when somebody present says so and their durable has it. Of a queue, whose durables are shared,
//! the word counts.

use std::collections::{HashMap, HashSet};

use rr_nats::checkup::Lanes;
use rr_nats::{HostFilter, Shown};
use rr_schemas::host::{Host, HostSet};
use rr_schemas::name::{Name, WorkerName};
use rr_schemas::offer::Target;
use rr_schemas::presence::{Hosts, WorkerPresence};

/// Hosts that one worker may serve by name; what is larger is searched and not expanded.
const EXPANDED_MAX: u32 = 64;

/// What the present workers serve. Built once, as there may be thousands of workers and of targets.
#[derive(Debug, Default)]
pub(super) struct Served<'p> {
    all_hosts: bool,
    hosts: HashSet<Host>,
    large: Vec<&'p HostSet>,
    queues: HashSet<&'p Name>,
    workers: HashSet<&'p WorkerName>,
}

impl<'p> Served<'p> {
    /// What they say of themselves, as far as they have it. Where the durables cannot be seen, or one of them cannot for the
    /// moment, the word counts.
    pub(super) fn by(workers: &'p [Shown<WorkerPresence>], lanes: Option<&'p Lanes>) -> Self {
        let known: HashMap<&WorkerName, &HostFilter> =
            lanes.iter().flat_map(|lanes| &lanes.known).map(|known| (&known.worker, &known.hosts)).collect();
        let unled: HashSet<&WorkerName> = lanes.iter().flat_map(|lanes| &lanes.unled).collect();
        let mut served = Self::default();
        for Shown { value, .. } in workers {
            served.queues.extend(&value.serves.queues);
            let filter = known.get(&value.worker).copied();
            if filter.is_none() && lanes.is_some() && !unled.contains(&value.worker) {
                continue;
            }
            served.workers.insert(&value.worker);
            match (&value.serves.hosts, filter.unwrap_or(&HostFilter::All)) {
                (Hosts::None, _) => {}
                (Hosts::All, HostFilter::All) => served.all_hosts = true,
                (Hosts::All, HostFilter::Only(has)) => served.hosts.extend(has.iter().cloned()),
                (Hosts::Only(says), HostFilter::All) if says.len() > EXPANDED_MAX => served.large.push(says),
                (Hosts::Only(says), HostFilter::All) => served.hosts.extend(says.iter()),
                (Hosts::Only(says), HostFilter::Only(has)) => {
                    served.hosts.extend(has.iter().filter(|host| says.contains(host)).cloned());
                }
            }
        }
        served
    }

    /// Whether this is served.
    pub(super) fn holds(&self, target: &Target) -> bool {
        match target {
            Target::Host(host) => {
                self.all_hosts || self.hosts.contains(host) || self.large.iter().any(|hosts| hosts.contains(host))
            }
            Target::Queue(queue) => self.queues.contains(queue),
            Target::Worker(worker) => self.workers.contains(worker),
        }
    }
}

/// Somebody who says that they serve this.
pub(super) fn says_so<'p>(workers: &'p [Shown<WorkerPresence>], target: &Target) -> Option<&'p WorkerName> {
    let says_so = |value: &WorkerPresence| match (target, &value.serves.hosts) {
        (Target::Host(_), Hosts::All) => true,
        (Target::Host(host), Hosts::Only(hosts)) => hosts.contains(host),
        (Target::Host(_), Hosts::None) => false,
        (Target::Queue(queue), _) => value.serves.queues.contains(queue),
        (Target::Worker(worker), _) => value.worker == *worker,
    };
    workers.iter().map(|shown| &shown.value).find(|value| says_so(value)).map(|value| &value.worker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use rr_nats::KnownWorker;
    use rr_schemas::flow::select::Labels;
    use rr_schemas::presence::Serves;

    fn worker(name: &str, hosts: Hosts, queues: &[&str]) -> Shown<WorkerPresence> {
        let value = WorkerPresence {
            worker: name.parse().unwrap(),
            instance: "i1".parse().unwrap(),
            serves: Serves { hosts, queues: queues.iter().map(|queue| queue.parse().unwrap()).collect() },
            capacity: 1,
            labels: Labels::default(),
            version: "1".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            draining: false,
        };
        Shown { value, at: Timestamp::UNIX_EPOCH, clock: None }
    }

    fn has(name: &str, hosts: HostFilter) -> KnownWorker {
        KnownWorker { worker: name.parse().unwrap(), hosts, labels: Labels::default() }
    }

    fn only(hosts: &str) -> Hosts {
        Hosts::Only(hosts.parse().unwrap())
    }

    fn these(hosts: &[&str]) -> HostFilter {
        HostFilter::Only(hosts.iter().map(|host| host.parse().unwrap()).collect())
    }

    fn host(host: &str) -> Target {
        Target::Host(host.parse().unwrap())
    }

    #[test]
    fn an_offer_is_served_by_whoever_serves_its_target() {
        let workers = [worker("a", only("db[1-3]"), &["build"]), worker("b", only("x[1-9999]"), &[])];
        let served = Served::by(&workers, None);
        for (target, expected) in [
            (host("db3"), true),
            (host("db4"), false),
            (host("x9999"), true),
            (Target::Queue("build".parse().unwrap()), true),
            (Target::Queue("gpu".parse().unwrap()), false),
            (Target::Worker("a".parse().unwrap()), true),
            (Target::Worker("c".parse().unwrap()), false),
        ] {
            assert_eq!(served.holds(&target), expected, "{target:?}");
        }
        let everywhere = [worker("a", Hosts::All, &[])];
        assert!(Served::by(&everywhere, None).holds(&host("any")));
    }

    #[test]
    fn a_host_is_served_only_where_the_durable_has_it_too() {
        let workers = [
            worker("some", only("db[1-3]"), &["build"]),
            worker("wide", Hosts::All, &[]),
            worker("joining", only("new1"), &["early"]),
            worker("unled", only("far1"), &[]),
            worker("none", Hosts::None, &[]),
        ];
        let known = vec![
            has("some", these(&["db1", "db9"])),
            has("wide", these(&["w1"])),
            has("none", these(&["n1"])),
            has("away", these(&["a1"])),
        ];
        let lanes = Lanes { known, unled: vec!["unled".parse().unwrap()], ..Lanes::default() };
        let served = Served::by(&workers, Some(&lanes));
        for (target, expected) in [
            (host("db1"), true),
            (host("db2"), false),
            (host("db9"), false),
            (host("w1"), true),
            (host("w2"), false),
            (host("new1"), false),
            (host("far1"), true),
            (host("n1"), false),
            (host("a1"), false),
            (Target::Queue("early".parse().unwrap()), true),
            (Target::Worker("joining".parse().unwrap()), false),
            (Target::Worker("unled".parse().unwrap()), true),
        ] {
            assert_eq!(served.holds(&target), expected, "{target:?}");
        }
        let says = |target: &Target| says_so(&workers[..1], target).map(WorkerName::as_str);
        assert_eq!((says(&host("db2")), says(&host("db4"))), (Some("some"), None));
    }
}
