//! Headers that we read or write.

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

pub(crate) const CLOCK: &str = "Rr-Clock";
pub(crate) const BAD_REASON: &str = "Rr-Reason";
pub(crate) const BAD_SEQ: &str = "Rr-Seq";
pub(crate) const BAD_SUBJECT: &str = "Rr-Subject";
