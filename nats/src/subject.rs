//! The only speller of subject, stream, consumer, bucket and header names.
//!
//! Invariant: every token that comes from outside went through a newtype of `rr_schemas` (or [`Host::to_token`](rr_schemas::host::Host::to_token)), so no
//! value can add a token, a wildcard or a blank to a subject.

mod filter;
pub(crate) mod header;
mod parse;

use rr_schemas::{
    flow::Priority,
    id::{EntityId, Partition, RunId},
    input::Holder,
    name::{InstanceId, Name, WorkerName},
    offer::Target,
};

pub(crate) use self::{
    filter::{
        ALL_DECISIONS, ALL_FIRED, ALL_HOSTS, ALL_REQUESTS, PurgeFilter, host_filter, host_of_filter,
        inputs_of_partition, offers_for, queue_filter, worker_filter,
    },
    parse::{
        InputSubject, OfferSubject, parse_decisions, parse_discovery, parse_endpoint, parse_fired, parse_join,
        parse_output,
    },
};
use crate::input::Finder;

/// The event log.
pub const EVENTS: &str = "RR_EVENTS";
/// The timers: armed ones, and those that have fired.
pub const TIMERS: &str = "RR_TIMERS";
/// The work queue.
pub const WORK: &str = "RR_WORK";
/// What attempts write.
pub const OUTPUT: &str = "RR_OUTPUT";
/// What could not be read or believed.
pub const QUARANTINE: &str = "RR_QUARANTINE";
/// Bucket of run states.
pub const BUCKET_RUNS: &str = "rr-runs";
/// Bucket of presence.
pub const BUCKET_WORKERS: &str = "rr-workers";
/// Bucket of locks.
pub const BUCKET_LOCKS: &str = "rr-locks";

/// Key in the metadata of [`EVENTS`] that holds the number of partitions.
pub(crate) const META_PARTITIONS: &str = "rr_partitions";
/// Consumers of readers that nobody else knows.
pub(crate) const READER_PREFIX: &str = "r-";
/// The one priority group of partition consumers.
pub(crate) const PIN_GROUP: &str = "g";

/// Which partition an entity lives in. Stable for ever: it is part of the wire.
pub fn partition_of(entity: &EntityId, partitions: u16) -> Partition {
    let hash = twox_hash::XxHash3_64::oneshot(entity.as_str().as_bytes());
    let remainder = hash % u64::from(partitions.max(1));
    // A remainder of a u16 fits one.
    Partition(u16::try_from(remainder).unwrap_or_default())
}

/// Subjects of [`EVENTS`].
pub(crate) const EVENTS_SUBJECTS: [&str; 2] = ["rr.in.>", "rr.ev.>"];
/// Subjects of [`TIMERS`].
pub(crate) const TIMERS_SUBJECTS: [&str; 2] = ["rr.at.>", "rr.fired.>"];
/// The one durable of [`TIMERS`].
pub const TIMERS_DURABLE: &str = "timers";
/// Subjects of [`WORK`].
pub(crate) const WORK_SUBJECTS: [&str; 1] = ["rr.work.>"];
/// Subjects of [`OUTPUT`].
pub(crate) const OUTPUT_SUBJECTS: [&str; 1] = ["rr.out.>"];
/// Subjects of [`QUARANTINE`].
pub(crate) const QUARANTINE_SUBJECTS: [&str; 1] = ["rr.bad.>"];
/// Requests to join.
pub(crate) const JOINS: &str = "rr.api.join.*";
/// What any client may ask of the coordinators.
pub(crate) const API: &str = "rr.api.*";
/// The name of the service that [`API`] is.
pub(crate) const SERVICE: &str = "rr";

/// All inputs of an entity.
pub(crate) fn inputs(partition: Partition, entity: &EntityId) -> String {
    format!("rr.in.{partition}.{entity}.>")
}

/// What people and programs ask of an entity.
pub(crate) fn api(partition: Partition, entity: &EntityId) -> String {
    format!("rr.in.{partition}.{entity}.api")
}

/// What coordinators note for an entity.
pub(crate) fn note(partition: Partition, entity: &EntityId) -> String {
    format!("rr.in.{partition}.{entity}.note")
}

/// What tells an entity that its timer has fired.
pub(crate) fn timer(partition: Partition, entity: &EntityId) -> String {
    format!("rr.in.{partition}.{entity}.timer")
}

/// A worker's reports on a run.
pub(crate) fn report(partition: Partition, run: &EntityId, worker: &WorkerName) -> String {
    format!("rr.in.{partition}.{run}.w.{worker}")
}

/// A worker's claim of an attempt. It names the process: of what stands there nobody else can be the author.
pub(crate) fn claim(partition: Partition, run: &EntityId, task: u32, attempt: u32, by: &Holder) -> String {
    let Holder { worker, instance } = by;
    format!("rr.in.{partition}.{run}.claim.{task}.{attempt}.{worker}.{instance}")
}

/// Anybody's claim of an attempt, whichever version made it.
pub(crate) fn claims(partition: Partition, run: &EntityId, task: u32, attempt: u32) -> String {
    format!("rr.in.{partition}.{run}.claim.{task}.{attempt}.>")
}

/// Decisions of an entity.
pub(crate) fn decisions(partition: Partition, entity: &EntityId) -> String {
    format!("rr.ev.{partition}.{entity}")
}

/// The armed timer of an entity.
pub(crate) fn armed(partition: Partition, entity: &EntityId) -> String {
    format!("rr.at.{partition}.{entity}")
}

/// Where the timer of an entity fires.
pub(crate) fn fired(partition: Partition, entity: &EntityId) -> String {
    format!("rr.fired.{partition}.{entity}")
}

/// An offer.
pub(crate) fn offer(target: &Target, priority: Priority, run: &RunId, task: u32, attempt: u32) -> String {
    match target {
        Target::Host(host) => format!("rr.work.h.{}.{run}.{task}.{attempt}", host.to_token()),
        Target::Queue(queue) => format!("rr.work.q.{queue}.{}.{run}.{task}.{attempt}", priority.class()),
        Target::Worker(worker) => format!("rr.work.w.{worker}.{run}.{task}.{attempt}"),
    }
}

/// Message id of an offer.
pub(crate) fn offer_id(run: &RunId, task: u32, attempt: u32, offer: u32) -> String {
    format!("{run}.{task}.{attempt}.{offer}")
}

/// Output of a task.
pub(crate) fn output(worker: &WorkerName, run: &RunId, task: u32) -> String {
    format!("rr.out.{worker}.{run}.{task}")
}

/// Output of a run, whoever wrote it.
pub(crate) fn outputs(run: &RunId) -> String {
    format!("rr.out.*.{run}.>")
}

/// Output of a task, whoever wrote it.
pub(crate) fn outputs_of_task(run: &RunId, task: u32) -> String {
    format!("rr.out.*.{run}.{task}")
}

/// Where a bad message is kept: by who found it.
pub(crate) fn bad(finder: Finder<'_>) -> String {
    match finder {
        Finder::Coordinator(instance) => format!("rr.bad.coordinator.{instance}"),
        Finder::Worker(worker) => format!("rr.bad.worker.{worker}"),
    }
}

/// What coordinators ask of a worker.
pub(crate) fn control(worker: &WorkerName) -> String {
    format!("rr.ctl.{worker}")
}

/// A worker's request to join.
pub(crate) fn join(worker: &WorkerName) -> String {
    format!("rr.api.join.{worker}")
}

/// An endpoint of the service.
pub(crate) fn endpoint(name: &str) -> String {
    format!("rr.api.{name}")
}

/// What tools ask of every service, of ours, and of one instance of ours; the second token is the verb.
pub(crate) fn discovery(instance: &InstanceId) -> [String; 3] {
    ["$SRV.*".to_owned(), format!("$SRV.*.{SERVICE}"), format!("$SRV.*.{SERVICE}.{instance}")]
}

/// Whether an answer may go there. Whoever answers may publish more than whoever asks, and must not do so for them: an
/// answer to one of our own subjects, or to one of the server's, would be a message of ours.
pub(crate) fn may_be_answered(reply: &str) -> bool {
    !(reply.starts_with("rr.") || reply.starts_with('$'))
}

/// The durable of a partition.
pub fn partition_durable(partition: Partition) -> String {
    format!("p{partition}")
}

/// The durable of a worker's hosts.
pub fn host_durable(worker: &WorkerName) -> String {
    format!("w-{worker}")
}

/// The durable of a queue's offers that have this priority.
pub fn queue_durable(queue: &Name, priority: Priority) -> String {
    format!("q{}-{queue}", priority.class())
}

/// The worker whose durable this is.
pub(crate) fn worker_of_durable(durable: &str) -> Option<WorkerName> {
    durable.strip_prefix("w-")?.parse().ok()
}

/// The stream under a bucket.
pub(crate) fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The subject of a key.
pub(crate) fn bucket_key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// Key of a worker's presence.
pub(crate) fn worker_key(worker: &WorkerName) -> String {
    format!("worker.{worker}")
}

/// Key of a coordinator's presence.
pub(crate) fn coordinator_key(instance: &InstanceId) -> String {
    format!("coordinator.{instance}")
}

/// Key of a lock: without regard to case, so that two spellings of one name are one lock.
pub(crate) fn lock_key(lock: &Name) -> String {
    lock.folded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_answered_where_only_coordinators_may_speak() {
        for (reply, may) in [
            ("_INBOX_w1.x.1", true),
            ("_INBOX.x", true),
            ("_R_.x", true),
            ("alice.x", true),
            ("rr.ev.0.r1", false),
            ("rr.work.q.a.1.r1.0.1", false),
            ("$KV.rr-runs.r1", false),
            ("$JS.API.STREAM.PURGE.RR_EVENTS", false),
        ] {
            assert_eq!(may_be_answered(reply), may, "{reply}");
        }
    }

    #[test]
    fn a_partition_is_part_of_the_wire_and_never_changes() {
        for (id, partitions, expected) in [("r1", 8, 3), ("run-2026", 8, 5), ("r1", 1, 0)] {
            assert_eq!(partition_of(&id.parse().unwrap(), partitions), Partition(expected), "{id}");
        }
        let mut counts = [0_u32; 8];
        for n in 0..8_000 {
            let partition = partition_of(&format!("run{n}").parse().unwrap(), 8);
            counts[usize::from(partition.0)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
