//! Offers that nobody who is present could ever take.

use std::collections::HashSet;

use futures::{StreamExt as _, stream};
use rr_nats::Shown;
use rr_nats::checkup::OldestOffer;
use rr_schemas::host::{Host, HostSet};
use rr_schemas::name::{Name, WorkerName};
use rr_schemas::offer::Target;
use rr_schemas::presence::{Hosts, WorkerPresence};

use super::finding::{Finding, or_well};
use super::patient::{Patient, within};
use crate::text::{between, duration_words};

const CHECK: &str = "offers";

/// Targets without a worker that are asked for their oldest offer, and how many of them at once.
const TARGETS_MAX: usize = 100;
const AT_ONCE: usize = 16;

/// Hosts that one worker may serve by name; what is larger is searched and not expanded.
const EXPANDED_MAX: u32 = 64;

/// What the present workers serve. Built once, as there may be thousands of workers and of targets.
#[derive(Debug, Default)]
struct Served<'p> {
    all_hosts: bool,
    hosts: HashSet<Host>,
    large: Vec<&'p HostSet>,
    queues: HashSet<&'p Name>,
    workers: HashSet<&'p WorkerName>,
}

impl<'p> Served<'p> {
    fn by(workers: &'p [Shown<WorkerPresence>]) -> Self {
        let mut served = Self::default();
        for Shown { value, .. } in workers {
            served.workers.insert(&value.worker);
            served.queues.extend(&value.serves.queues);
            match &value.serves.hosts {
                Hosts::None => {}
                Hosts::All => served.all_hosts = true,
                Hosts::Only(hosts) if hosts.len() > EXPANDED_MAX => served.large.push(hosts),
                Hosts::Only(hosts) => served.hosts.extend(hosts.iter()),
            }
        }
        served
    }

    fn holds(&self, target: &Target) -> bool {
        match target {
            Target::Host(host) => {
                self.all_hosts || self.hosts.contains(host) || self.large.iter().any(|hosts| hosts.contains(host))
            }
            Target::Queue(queue) => self.queues.contains(queue),
            Target::Worker(worker) => self.workers.contains(worker),
        }
    }
}

/// What waits for somebody who is not there.
pub(super) async fn offers(patient: &Patient) -> Vec<Finding> {
    let (open, workers, mesh) = match (&patient.offers, &patient.workers, &patient.mesh) {
        (Ok(open), Ok(workers), Ok(mesh)) => (open, workers, mesh),
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
            return vec![Finding::unseen(CHECK, "offers and who serves them", error)];
        }
    };
    let served = Served::by(workers);
    let unserved: Vec<(&Target, u64)> =
        open.targets.iter().filter(|(target, _)| !served.holds(target)).map(|(target, n)| (target, *n)).collect();
    let mut findings = Vec::new();
    let looks = unserved
        .iter()
        .take(TARGETS_MAX)
        .map(|(target, n)| async move { (*target, *n, within("the oldest offer", mesh.oldest_offer(target)).await) });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some((target, n, oldest)) = looks.next().await {
        match oldest {
            Ok(Some(oldest)) if patient.is_overdue(oldest.at) => findings.push(waiting(patient, target, n, &oldest)),
            Ok(_) => {}
            Err(error @ rr_nats::Error::Denied { .. }) => {
                let what = format!("{} that nobody present serves; since when", counted(n, target));
                findings.push(Finding::unseen(CHECK, &what, &error));
            }
            Err(error) => findings.push(Finding::unseen(CHECK, &counted(n, target), &error)),
        }
    }
    if let Some(rest) = unserved.len().checked_sub(TARGETS_MAX).filter(|rest| *rest > 0) {
        let what = format!("{rest} more targets have offers, and nobody present serves them");
        findings.push(Finding::warn(CHECK, what, "start workers for what is named here, and look again"));
    }
    let n: u64 = open.targets.values().sum();
    let uncounted =
        if open.uncounted > 0 { format!(", and {} were not looked at", open.uncounted) } else { String::new() };
    let young = if unserved.is_empty() { String::new() } else { format!("; {} have nobody now", unserved.len()) };
    let waiting = duration_words(patient.waiting);
    or_well(CHECK, findings, || {
        format!("{n} offers wait or run, and none has waited {waiting} without anybody who serves it{young}{uncounted}")
    })
}

fn waiting(patient: &Patient, target: &Target, n: u64, oldest: &OldestOffer) -> Finding {
    let run = &oldest.run;
    let age = duration_words(between(oldest.at, patient.now()));
    let what =
        format!("{} wait and nobody present serves that, the oldest for {age}, of run {run}", counted(n, target));
    let start = match target {
        Target::Host(host) => format!("rr worker --hosts {host}"),
        Target::Queue(queue) => format!("rr worker --queues {queue}"),
        Target::Worker(worker) => format!("the worker {worker} again"),
    };
    Finding::bad(CHECK, what, format!("start {start}, or end the run: rr cancel {run}"))
}

/// `3 offers for queue build`.
fn counted(n: u64, target: &Target) -> String {
    let offers = if n == 1 { "offer" } else { "offers" };
    match target {
        Target::Host(host) => format!("{n} {offers} for host {host}"),
        Target::Queue(queue) => format!("{n} {offers} for queue {queue}"),
        Target::Worker(worker) => format!("{n} {offers} for worker {worker}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
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

    #[test]
    fn an_offer_is_served_by_whoever_serves_its_target() {
        let only = |hosts: &str| Hosts::Only(hosts.parse().unwrap());
        let workers = [worker("a", only("db[1-3]"), &["build"]), worker("b", only("x[1-9999]"), &[])];
        let served = Served::by(&workers);
        for (target, expected) in [
            (Target::Host("db3".parse().unwrap()), true),
            (Target::Host("db4".parse().unwrap()), false),
            (Target::Host("x9999".parse().unwrap()), true),
            (Target::Queue("build".parse().unwrap()), true),
            (Target::Queue("gpu".parse().unwrap()), false),
            (Target::Worker("a".parse().unwrap()), true),
            (Target::Worker("c".parse().unwrap()), false),
        ] {
            assert_eq!(served.holds(&target), expected, "{target:?}");
        }
        let everywhere = [worker("a", Hosts::All, &[])];
        assert!(Served::by(&everywhere).holds(&Target::Host("any".parse().unwrap())));
    }
}
