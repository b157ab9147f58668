//! The only speller of subject, stream, consumer, bucket and header names.
//!
//! Invariant: every token that comes from outside went through a newtype of `rr_schemas` (or [`Host::to_token`]), so no
//! value can add a token, a wildcard or a blank to a subject.

use rr_schemas::{
    flow::Priority,
    host::Host,
    id::{EntityId, Partition, RunId},
    input::Source,
    name::{InstanceId, Name, WorkerName},
    offer::Target,
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
/// Headers that we read or write.
pub(crate) mod header {
    pub(crate) const CONTENT_TYPE: &str = "Content-Type";
    pub(crate) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
    pub(crate) const KV_OPERATION: &str = "KV-Operation";
    pub(crate) const MARKER_REASON: &str = "Nats-Marker-Reason";
    pub(crate) const MSG_ID: &str = "Nats-Msg-Id";
    pub(crate) const NUM_PENDING: &str = "Nats-Num-Pending";
    pub(crate) const PENDING_MESSAGES: &str = "Nats-Pending-Messages";
    pub(crate) const PIN_ID: &str = "Nats-Pin-Id";
    pub(crate) const SCHEDULE: &str = "Nats-Schedule";
    pub(crate) const SCHEDULER: &str = "Nats-Scheduler";
    pub(crate) const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
    pub(crate) const SEQUENCE: &str = "Nats-Sequence";
    pub(crate) const SUBJECT: &str = "Nats-Subject";
    pub(crate) const TIME_STAMP: &str = "Nats-Time-Stamp";
    pub(crate) const TTL: &str = "Nats-TTL";

    pub(crate) const OUT_ATTEMPT: &str = "Rr-Attempt";
    pub(crate) const OUT_CHUNK: &str = "Rr-Chunk";
    pub(crate) const OUT_STREAM: &str = "Rr-Stream";
    pub(crate) const SERVICE_ERROR: &str = "Nats-Service-Error";
    pub(crate) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

    pub(crate) const BAD_REASON: &str = "Rr-Reason";
    pub(crate) const BAD_SEQ: &str = "Rr-Seq";
    pub(crate) const BAD_SUBJECT: &str = "Rr-Subject";
}

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
/// Every timer that has fired: a consumer that saw the armed ones would take them away.
pub(crate) const ALL_FIRED: &str = "rr.fired.>";
/// The one durable of [`TIMERS`].
pub(crate) const TIMERS_DURABLE: &str = "timers";
/// Subjects of [`WORK`].
pub(crate) const WORK_SUBJECTS: [&str; 1] = ["rr.work.>"];
/// Subjects of [`OUTPUT`].
pub(crate) const OUTPUT_SUBJECTS: [&str; 1] = ["rr.out.>"];
/// Subjects of [`QUARANTINE`].
pub(crate) const QUARANTINE_SUBJECTS: [&str; 1] = ["rr.bad.>"];
/// Every host's offers.
pub(crate) const ALL_HOSTS: &str = "rr.work.h.>";
/// Requests to join.
pub(crate) const JOINS: &str = "rr.api.join.*";
/// What any client may ask of the coordinators.
pub(crate) const API: &str = "rr.api.*";
/// The name of the service that [`API`] is.
pub(crate) const SERVICE: &str = "rr";
/// Decisions of every entity.
pub(crate) const ALL_DECISIONS: &str = "rr.ev.>";

/// What people and programs ask, of every entity.
pub(crate) const ALL_REQUESTS: &str = "rr.in.*.*.api";

/// All inputs of a partition.
pub(crate) fn inputs_of_partition(partition: Partition) -> String {
    format!("rr.in.{partition}.>")
}

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

/// A worker's claim of an attempt.
pub(crate) fn claim(partition: Partition, run: &EntityId, task: u32, attempt: u32, worker: &WorkerName) -> String {
    format!("rr.in.{partition}.{run}.claim.{task}.{attempt}.{worker}")
}

/// Anybody's claim of an attempt.
pub(crate) fn claims(partition: Partition, run: &EntityId, task: u32, attempt: u32) -> String {
    format!("rr.in.{partition}.{run}.claim.{task}.{attempt}.*")
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

/// Message id of an offer.
pub(crate) fn offer_id(run: &RunId, task: u32, attempt: u32, offer: u32) -> String {
    format!("{run}.{task}.{attempt}.{offer}")
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

/// Reads `rr.api.<endpoint>`.
pub(crate) fn parse_endpoint(subject: &str) -> Option<&str> {
    subject.strip_prefix("rr.api.")
}

/// What tools ask of every service, of ours, and of one instance of ours; the second token is the verb.
pub(crate) fn discovery(instance: &InstanceId) -> [String; 3] {
    ["$SRV.*".to_owned(), format!("$SRV.*.{SERVICE}"), format!("$SRV.*.{SERVICE}.{instance}")]
}

/// Reads the verb of `$SRV.<verb>…`.
pub(crate) fn parse_discovery(subject: &str) -> Option<&str> {
    subject.strip_prefix("$SRV.")?.split('.').next()
}

/// Whether an answer may go there. Whoever answers may publish more than whoever asks, and must not do so for them: an
/// answer to one of our own subjects, or to one of the server's, would be a message of ours.
pub(crate) fn may_be_answered(reply: &str) -> bool {
    !(reply.starts_with("rr.") || reply.starts_with('$'))
}

/// The durable of a partition.
pub(crate) fn partition_durable(partition: Partition) -> String {
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

/// The host whose filter this is; none for the filter of all hosts.
pub(crate) fn host_of_filter(filter: &str) -> Option<Host> {
    let token = filter.strip_prefix("rr.work.h.")?.strip_suffix(".>")?;
    Host::from_token(token).ok()
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

/// An input's subject, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct InputSubject {
    pub(crate) partition: Partition,
    pub(crate) entity: EntityId,
    pub(crate) source: Source,
}

impl InputSubject {
    /// Reads `rr.in.<p>.<entity>.<source>…`.
    pub(crate) fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("rr.in.")?.split('.');
        let partition = Partition(number(tokens.next()?)?);
        let entity = tokens.next()?.parse().ok()?;
        let source = match tokens.next()? {
            "api" => Source::Api,
            "note" => Source::Note,
            "timer" => Source::Timer,
            "w" => Source::Worker(tokens.next()?.parse().ok()?),
            "claim" => Source::Claim {
                task: number(tokens.next()?)?,
                attempt: number(tokens.next()?)?,
                worker: tokens.next()?.parse().ok()?,
            },
            _ => return None,
        };
        tokens.next().is_none().then_some(Self { partition, entity, source })
    }
}

/// Reads `rr.ev.<p>.<entity>`.
pub(crate) fn parse_decisions(subject: &str) -> Option<(Partition, EntityId)> {
    parse_entity(subject.strip_prefix("rr.ev.")?)
}

/// Reads `rr.fired.<p>.<entity>`.
pub(crate) fn parse_fired(subject: &str) -> Option<(Partition, EntityId)> {
    parse_entity(subject.strip_prefix("rr.fired.")?)
}

fn parse_entity(tokens: &str) -> Option<(Partition, EntityId)> {
    let (partition, entity) = tokens.split_once('.')?;
    Some((Partition(number(partition)?), entity.parse().ok()?))
}

/// An offer's subject, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OfferSubject {
    pub(crate) target: Target,
    pub(crate) priority: Priority,
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
}

impl OfferSubject {
    /// Reads both shapes.
    pub(crate) fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("rr.work.")?.split('.');
        let (target, priority) = match tokens.next()? {
            "h" => (Target::Host(Host::from_token(tokens.next()?).ok()?), Priority::default()),
            "w" => (Target::Worker(tokens.next()?.parse().ok()?), Priority::default()),
            "q" => {
                let queue = tokens.next()?.parse().ok()?;
                let class = number::<u8>(tokens.next()?)?;
                (Target::Queue(queue), Priority::ALL.into_iter().find(|priority| priority.class() == class)?)
            }
            _ => return None,
        };
        let run = tokens.next()?.parse().ok()?;
        let task = number(tokens.next()?)?;
        let attempt = number(tokens.next()?)?;
        tokens.next().is_none().then_some(Self { target, priority, run, task, attempt })
    }
}

/// Reads `rr.out.<worker>.<run>.<task>`.
pub(crate) fn parse_output(subject: &str) -> Option<(WorkerName, RunId, u32)> {
    let mut tokens = subject.strip_prefix("rr.out.")?.split('.');
    let worker = tokens.next()?.parse().ok()?;
    let run = tokens.next()?.parse().ok()?;
    let task = number(tokens.next()?)?;
    tokens.next().is_none().then_some((worker, run, task))
}

/// Reads `rr.api.join.<worker>`.
pub(crate) fn parse_join(subject: &str) -> Option<WorkerName> {
    subject.strip_prefix("rr.api.join.")?.parse().ok()
}

/// A number in its one spelling: `+1` and `01` are nobody's.
fn number<T: std::str::FromStr + std::fmt::Display>(token: &str) -> Option<T> {
    let is_plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if is_plain { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use rr_schemas::{
        id::{EntityId, Partition, RunId},
        input::Source,
        name::WorkerName,
        offer::Target,
    };

    use super::*;

    fn entity() -> EntityId {
        "r-1_X".parse().unwrap()
    }

    fn worker() -> WorkerName {
        "w-1".parse().unwrap()
    }

    #[test]
    fn an_inputs_subject_says_whose_it_is_and_from_whom() {
        let (partition, entity) = (Partition(11), entity());
        for (subject, source) in [
            (api(partition, &entity), Source::Api),
            (note(partition, &entity), Source::Note),
            (timer(partition, &entity), Source::Timer),
            (report(partition, &entity, &worker()), Source::Worker(worker())),
            (
                claim(partition, &entity, 0, 4_294_967_295, &worker()),
                Source::Claim { task: 0, attempt: u32::MAX, worker: worker() },
            ),
        ] {
            let read = InputSubject::parse(&subject);
            assert_eq!(read, Some(InputSubject { partition, entity: entity.clone(), source }), "{subject}");
        }
        assert_eq!(parse_decisions(&decisions(partition, &entity)), Some((partition, entity.clone())));
        assert_eq!(parse_fired(&fired(partition, &entity)), Some((partition, entity)));
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
                (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) => return false,
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
    fn a_subject_has_one_spelling() {
        for subject in [
            "rr.in.0.r1",
            "rr.in.00.r1.api",
            "rr.in.+1.r1.api",
            "rr.in.65536.r1.api",
            "rr.in..r1.api",
            "rr.in.0..api",
            "rr.in.0.r1.api.",
            "rr.in.0.r1.w",
            "rr.in.0.r1.w.a.b",
            "rr.in.0.r1.claim.1.2",
            "rr.in.0.r1.claim.1.-2.w",
            "rr.in.0.r1.claim.1.2.w.x",
            "rr.in.0.*.api",
            "rr.ev.0.r1",
        ] {
            assert_eq!(InputSubject::parse(subject), None, "{subject}");
        }
    }

    #[test]
    fn an_offers_subject_says_what_is_offered_whatever_the_host_is_called() {
        let run: RunId = "r1".parse().unwrap();
        let hosts = ["db7", "web1.example.org", "10.0.0.1", "::1", "fe80::1"];
        let targets = hosts.iter().map(|host| Target::Host(host.parse().unwrap()));
        for target in targets.chain([Target::Queue("build-all".parse().unwrap())]) {
            for priority in Priority::ALL {
                let subject = offer(&target, priority, &run, 7, 2);
                assert!(!subject.contains([' ', '*', '>', ':']), "{subject}");
                let priority = if matches!(target, Target::Host(_)) { Priority::Normal } else { priority };
                let read = OfferSubject::parse(&subject);
                let said = OfferSubject { target: target.clone(), priority, run: run.clone(), task: 7, attempt: 2 };
                assert_eq!(read, Some(said), "{subject}");
            }
        }
        for host in hosts {
            let host: Host = host.parse().unwrap();
            assert_eq!(host_of_filter(&host_filter(&host)), Some(host));
        }
        assert_eq!(host_of_filter(ALL_HOSTS), None);
        assert_eq!(worker_of_durable(&host_durable(&worker())), Some(worker()));
        assert_eq!(parse_output(&output(&worker(), &run, 3)), Some((worker(), run, 3)));
        assert_eq!(parse_join(&join(&worker())), Some(worker()));
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
