//! How what exists differs from what our guarantees rest on. Sizes, ages, copies and waits are the operator's, and are
//! no differences.

use std::fmt::Debug;

use async_nats::jetstream::{
    consumer::{DeliverPolicy, PriorityPolicy},
    stream::{Config, DiscardPolicy},
};

use super::{ConsumerConfig, Topology};
use crate::{error::Error, mesh::Settings};

impl Topology {
    /// Every stream and bucket of a mesh, as it is to be.
    pub(crate) fn streams(&self) -> [Config; 8] {
        let settings = Settings { partitions: self.partitions, work_ack_wait: self.work_ack_wait };
        let (events, timers, work, output) = (self.events(&settings), self.timers(), self.work(), self.output());
        [events, timers, work, output, self.quarantine(), self.runs(), self.workers(), self.locks()]
    }
}

/// Refuses a stream that is not fit for us, for the first reason.
pub(super) fn refuse(wanted: &Config, found: &Config) -> Result<(), Error> {
    match of_stream(wanted, found).into_iter().next() {
        None => Ok(()),
        Some(what) => Err(Error::Drift { what: format!("stream {}: {what}", wanted.name) }),
    }
}

fn difference(option: &str, found: &dyn Debug, wanted: &dyn Debug) -> String {
    format!("{option} is {found:?}, must be {wanted:?}")
}

macro_rules! compare {
    ($differences:ident, $wanted:ident, $found:ident: $($field:ident),+ $(,)?) => {
        $(if $wanted.$field != $found.$field {
            $differences.push(difference(stringify!($field), &$found.$field, &$wanted.$field));
        })+
    };
}

/// Every difference of a stream: `allow_direct is false, must be true`.
pub(crate) fn of_stream(wanted: &Config, found: &Config) -> Vec<String> {
    let mut differences = Vec::new();
    // What is to be kept for ever must not have a limit at which it goes; one at which new messages are refused is the
    // operator's.
    if wanted.max_age.is_zero() {
        compare!(differences, wanted, found: max_age);
    }
    if wanted.max_bytes < 0 && wanted.discard == DiscardPolicy::Old {
        compare!(differences, wanted, found: max_bytes);
    }
    compare!(
        differences, wanted, found:
        max_messages,
        subjects,
        retention,
        discard,
        max_messages_per_subject,
        allow_direct,
        // Turns the next one on, so it is told first.
        subject_delete_marker_ttl,
        allow_rollup,
        allow_message_ttl,
        allow_message_schedules,
        allow_atomic_publish,
        no_ack,
        sealed,
        mirror,
        subject_transform,
    );
    differences
}

/// Every difference of a consumer of ours.
pub(crate) fn of_consumer(wanted: &ConsumerConfig, found: &ConsumerConfig) -> Vec<String> {
    let mut differences = Vec::new();
    // The durable of a partition that was made again begins behind what was answered; see `upkeep`.
    let is_partition = wanted.priority_policy == PriorityPolicy::PinnedClient;
    if !(is_partition && matches!(found.deliver_policy, DeliverPolicy::ByStartSequence { .. })) {
        compare!(differences, wanted, found: deliver_policy);
    }
    compare!(
        differences, wanted, found:
        filter_subject,
        filter_subjects,
        ack_policy,
        max_deliver,
        backoff,
        // One that goes by itself when nobody asks takes its place in the stream with it.
        inactive_threshold,
        headers_only,
        priority_policy,
        priority_groups,
    );
    differences
}
