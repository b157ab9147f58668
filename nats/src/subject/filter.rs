//! Filters: what consumers read, and what is taken away from under them.

use rr_schemas::{
    flow::Priority,
    host::Host,
    id::{EntityId, Partition, RunId},
    name::{Name, WorkerName},
    offer::Target,
};

use super::{QUARANTINE_SUBJECTS, decisions, outputs};

/// Every timer that has fired: a consumer that saw the armed ones would take them away.
pub(crate) const ALL_FIRED: &str = "rr.fired.>";
/// Every host's offers.
pub(crate) const ALL_HOSTS: &str = "rr.work.h.>";
/// Decisions of every entity.
pub(crate) const ALL_DECISIONS: &str = "rr.ev.>";
/// What people and programs ask, of every entity.
pub(crate) const ALL_REQUESTS: &str = "rr.in.*.*.api";

/// All inputs of a partition.
pub(crate) fn inputs_of_partition(partition: Partition) -> String {
    format!("rr.in.{partition}.>")
}

/// Every offer for a target.
pub(crate) fn offers_for(target: &Target) -> String {
    match target {
        Target::Host(host) => host_filter(host),
        Target::Queue(queue) => format!("rr.work.q.{queue}.>"),
        Target::Worker(worker) => worker_filter(worker),
    }
}

/// Offers of a host.
pub(crate) fn host_filter(host: &Host) -> String {
    format!("rr.work.h.{}.>", host.to_token())
}

/// Offers to a worker itself.
pub(crate) fn worker_filter(worker: &WorkerName) -> String {
    format!("rr.work.w.{worker}.>")
}

/// Offers of a queue that have this priority.
pub(crate) fn queue_filter(queue: &Name, priority: Priority) -> String {
    format!("rr.work.q.{queue}.{}.>", priority.class())
}

/// The host whose filter this is; none for the filter of all hosts.
pub(crate) fn host_of_filter(filter: &str) -> Option<Host> {
    let token = filter.strip_prefix("rr.work.h.")?.strip_suffix(".>")?;
    Host::from_token(token).ok()
}

/// Messages of a stream that are taken away together.
///
/// What some consumer's filter covers as a whole is no such filter: the server (2.15.1) then moves that consumer's ack
/// floor over what it has delivered before, and delivers none of that again, though nobody has acknowledged it. So the
/// token that tells the kinds of a stream apart is a wildcard here, and the number of tokens tells what is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PurgeFilter(String);

impl PurgeFilter {
    /// An offer, whatever its priority.
    pub(crate) fn offer(target: &Target, run: &RunId, task: u32, attempt: u32) -> Self {
        Self(match target {
            Target::Host(host) => format!("rr.work.*.{}.{run}.{task}.{attempt}", host.to_token()),
            Target::Queue(queue) => format!("rr.work.*.{queue}.*.{run}.{task}.{attempt}"),
            Target::Worker(worker) => format!("rr.work.*.{worker}.{run}.{task}.{attempt}"),
        })
    }

    /// Every offer of a run, in one shape or the other.
    pub(crate) fn offers(run: &RunId) -> [Self; 2] {
        [format!("rr.work.*.*.{run}.*.*"), format!("rr.work.*.*.*.{run}.*.*")].map(Self)
    }

    /// Every offer of a queue that has this priority; offers to hosts and workers of that name have fewer tokens.
    pub(crate) fn lane(queue: &Name, priority: Priority) -> Self {
        Self(format!("rr.work.*.{queue}.{}.*.*.*", priority.class()))
    }

    /// The timer of an entity, armed or fired.
    pub(crate) fn timer(partition: Partition, entity: &EntityId) -> Self {
        Self(format!("rr.*.{partition}.{entity}"))
    }

    /// All inputs of an entity.
    pub(crate) fn inputs(partition: Partition, entity: &EntityId) -> Self {
        Self(format!("rr.*.{partition}.{entity}.>"))
    }

    /// Decisions of an entity: no consumer that acknowledges reads them.
    pub(crate) fn decisions(partition: Partition, entity: &EntityId) -> Self {
        Self(decisions(partition, entity))
    }

    /// Output of a run: no consumer that acknowledges reads it.
    pub(crate) fn output(run: &RunId) -> Self {
        Self(outputs(run))
    }

    /// Everything in the quarantine: no consumer that acknowledges reads it.
    pub(crate) fn quarantine() -> Self {
        Self(QUARANTINE_SUBJECTS.concat())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerName {
        "w-1".parse().unwrap()
    }

    /// Whether every subject of the one is one of the other.
    fn is_within(inner: &str, outer: &str) -> bool {
        let (mut inner, mut outer) = (inner.split('.'), outer.split('.'));
        loop {
            match (inner.next(), outer.next()) {
                (Some(_), Some(">")) | (None, None) => return true,
                (Some(">"), _) => return false,
                (Some(_), Some("*")) => {}
                (Some(one), Some(other)) if one == other => {}
                (Some(_) | None, Some(_)) | (Some(_), None) => return false,
            }
        }
    }

    #[test]
    fn what_is_taken_away_lies_within_no_consumers_filter() {
        let (run, partition): (RunId, _) = ("r1".parse().unwrap(), Partition(3));
        let (host, queue): (Host, Name) = ("db7".parse().unwrap(), "build".parse().unwrap());
        let targets = [Target::Host(host.clone()), Target::Queue(queue.clone()), Target::Worker(worker())];
        let entity = EntityId::from(&run);
        let mut taken: Vec<PurgeFilter> = targets.iter().map(|target| PurgeFilter::offer(target, &run, 0, 1)).collect();
        taken.extend(PurgeFilter::offers(&run));
        taken.extend(Priority::ALL.map(|priority| PurgeFilter::lane(&queue, priority)));
        taken.extend([PurgeFilter::timer(partition, &entity), PurgeFilter::inputs(partition, &entity)]);
        taken.extend([PurgeFilter::decisions(partition, &entity), PurgeFilter::output(&run)]);
        taken.push(PurgeFilter::quarantine());
        let mut filters = vec![ALL_HOSTS.to_owned(), ALL_FIRED.to_owned(), inputs_of_partition(partition)];
        filters.extend([host_filter(&host), worker_filter(&worker())]);
        filters.extend(Priority::ALL.map(|priority| queue_filter(&queue, priority)));
        for taken in &taken {
            for filter in &filters {
                assert!(!is_within(taken.as_str(), filter), "{taken:?} lies within {filter}");
            }
        }
        assert!(is_within("rr.work.h.db7.r1.0.1", ALL_HOSTS), "the rule is seen where it is broken");
    }

    #[test]
    fn a_hosts_filter_says_whose_it_is() {
        for host in ["db7", "web1.example.org", "10.0.0.1", "::1", "fe80::1"] {
            let host: Host = host.parse().unwrap();
            assert_eq!(host_of_filter(&host_filter(&host)), Some(host));
        }
        assert_eq!(host_of_filter(ALL_HOSTS), None);
    }
}
