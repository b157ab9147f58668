//! How the server says no: its codes and its words.

use serde_json::{Value, json};

/// A refusal: what it is like (an HTTP code), its number, its words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) number: u32,
    pub(crate) text: String,
}

impl Refusal {
    fn new(code: u16, number: u32, text: impl Into<String>) -> Self {
        Self { code, number, text: text.into() }
    }

    pub(crate) fn to_json(&self) -> Value {
        let Self { code, number, text } = self;
        json!({"code": code, "err_code": number, "description": text})
    }

    pub(crate) fn stream_not_found() -> Self {
        Self::new(404, 10059, "stream not found")
    }

    pub(crate) fn consumer_not_found() -> Self {
        Self::new(404, 10014, "consumer not found")
    }

    pub(crate) fn no_message() -> Self {
        Self::new(404, 10037, "no message found")
    }

    pub(crate) fn stream_exists() -> Self {
        Self::new(400, 10058, "stream name already in use with a different configuration")
    }

    pub(crate) fn subjects_overlap() -> Self {
        Self::new(400, 10065, "subjects overlap with an existing stream")
    }

    pub(crate) fn bad_json(why: impl std::fmt::Display) -> Self {
        Self::new(400, 10025, format!("invalid JSON: {why}"))
    }

    pub(crate) fn no_peers() -> Self {
        Self::new(400, 10074, "replicas > 1 not supported in non-clustered mode")
    }

    pub(crate) fn no_cluster() -> Self {
        Self::new(503, 10010, "JetStream clustering support required")
    }

    pub(crate) fn update(text: &str) -> Self {
        Self::new(500, 10052, text)
    }

    pub(crate) fn delete_failed(text: &str) -> Self {
        Self::new(500, 10057, text)
    }

    pub(crate) fn sequence_not_found(seq: u64) -> Self {
        Self::new(400, 10043, format!("sequence {seq} not found"))
    }

    pub(crate) fn wrong_last(seq: u64) -> Self {
        Self::new(400, 10071, format!("wrong last sequence: {seq}"))
    }

    pub(crate) fn wrong_last_race() -> Self {
        Self::new(400, 10164, "wrong last sequence")
    }

    pub(crate) fn in_process() -> Self {
        Self::new(409, 10158, "duplicate message id is in process")
    }

    pub(crate) fn wrong_id(id: &str) -> Self {
        Self::new(400, 10070, format!("wrong last msg ID: {id}"))
    }

    pub(crate) fn wrong_stream() -> Self {
        Self::new(400, 10060, "expected stream does not match")
    }

    pub(crate) fn filter_without_sequence() -> Self {
        Self::new(400, 10193, "missing sequence for expected last sequence per subject")
    }

    pub(crate) fn ttl_disabled() -> Self {
        Self::new(400, 10166, "per-message TTL is disabled")
    }

    pub(crate) fn ttl_invalid() -> Self {
        Self::new(400, 10165, "invalid per-message TTL")
    }

    pub(crate) fn rollup_not_permitted() -> Self {
        Self::new(500, 10111, "rollup not permitted")
    }

    pub(crate) fn batch_disabled() -> Self {
        Self::new(400, 10174, "atomic publish is disabled")
    }

    pub(crate) fn schedules_disabled() -> Self {
        Self::new(400, 10188, "message schedules is disabled")
    }

    pub(crate) fn schedule_pattern() -> Self {
        Self::new(400, 10189, "message schedules pattern is invalid")
    }

    pub(crate) fn schedule_target() -> Self {
        Self::new(400, 10190, "message schedules target is invalid")
    }

    pub(crate) fn scheduler_invalid() -> Self {
        Self::new(400, 10212, "message schedules invalid scheduler")
    }

    pub(crate) fn full(text: &str) -> Self {
        Self::new(503, 10077, text)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(400, 10054, "message size exceeds maximum allowed")
    }

    pub(crate) fn consumer_exists() -> Self {
        Self::new(400, 10148, "consumer already exists")
    }

    pub(crate) fn consumer_missing_for_update() -> Self {
        Self::new(400, 10149, "consumer does not exist")
    }

    pub(crate) fn consumers_overlap() -> Self {
        Self::new(400, 10100, "filtered consumer not unique on workqueue stream")
    }

    pub(crate) fn consumer_not_unique() -> Self {
        Self::new(400, 10099, "multiple non-filtered consumers not allowed on workqueue stream")
    }

    pub(crate) fn filters_overlap() -> Self {
        Self::new(400, 10138, "consumer subject filters cannot overlap")
    }

    pub(crate) fn both_filters() -> Self {
        Self::new(400, 10136, "consumer cannot have both FilterSubject and FilterSubjects specified")
    }

    pub(crate) fn needs_explicit() -> Self {
        Self::new(400, 10084, "consumer in pull mode requires explicit ack policy on workqueue stream")
    }

    pub(crate) fn queue_needs_explicit() -> Self {
        Self::new(400, 10098, "workqueue stream requires explicit ack")
    }

    pub(crate) fn must_deliver_all() -> Self {
        Self::new(400, 10101, "consumer must be deliver all on workqueue stream")
    }

    pub(crate) fn cannot_update(what: &str) -> Self {
        Self::new(500, 10012, format!("{what} can not be updated"))
    }

    pub(crate) fn newest_of_nothing() -> Self {
        Self::new(
            400,
            10094,
            "consumer delivery policy is deliver last per subject, but optional filter subject is not set",
        )
    }

    pub(crate) fn too_many_consumers() -> Self {
        Self::new(400, 10026, "maximum consumers limit reached")
    }

    pub(crate) fn no_such_group() -> Self {
        Self::new(400, 10160, "Provided priority group does not exist for this consumer")
    }
}
