//! What a durable is like that is made again: as it was, unless our guarantees would not hold with it.

use rr_schemas::id::Partition;
use serde_json::{Value, json};

use crate::{
    consumer::ConsumerConfig,
    subject::EVENTS,
    topology::{Topology, drift},
};

/// What is the operator's of a durable, and stays whatever the rest was like.
const OPERATORS: [&str; 6] =
    ["ack_wait", "priority_timeout", "max_ack_pending", "max_waiting", "num_replicas", "pause_until"];

/// The configuration of a durable that is made again, and the sequence at which its deliveries begin; none for the oldest
/// message. One that was not fit for us is made fit, and its floor is not believed: it may have passed over messages that it
/// did not deliver.
pub(super) fn anew(stream: &str, name: &str, before: Option<&Value>, floor: Option<u64>) -> (Value, Option<u64>) {
    let wanted = usual(stream, name);
    let is_fit = before.is_none_or(|before| {
        let before: Result<ConsumerConfig, _> = serde_json::from_value(before.clone());
        before.is_ok_and(|before| drift::of_consumer(&wanted, &before).is_empty())
    });
    let from = floor.filter(|_| is_fit && stream == EVENTS).map(|floor| floor.saturating_add(1));
    let config = match before {
        Some(before) if is_fit => before.clone(),
        Some(_) | None => {
            let mut config = json!(wanted);
            if let (Some(fields), Some(before)) = (config.as_object_mut(), before.and_then(Value::as_object)) {
                let kept = before.iter().filter(|(option, _)| OPERATORS.contains(&option.as_str()));
                fields.extend(kept.map(|(option, value)| (option.clone(), value.clone())));
            }
            config
        }
    };
    (beginning(config, from), from)
}

/// As a mesh with the usual numbers has it.
fn usual(stream: &str, name: &str) -> ConsumerConfig {
    let topology = Topology::default();
    let partition = name.strip_prefix('p').and_then(|number| number.parse().ok()).map(Partition);
    match partition.filter(|_| stream == EVENTS) {
        Some(partition) => topology.partition(partition),
        None => topology.fired(),
    }
}

/// A durable's configuration with another beginning.
fn beginning(mut config: Value, from: Option<u64>) -> Value {
    let Some(fields) = config.as_object_mut() else { return config };
    fields.remove("opt_start_seq");
    fields.insert("deliver_policy".to_owned(), json!("all"));
    if let Some(from) = from {
        fields.insert("deliver_policy".to_owned(), json!("by_start_sequence"));
        fields.insert("opt_start_seq".to_owned(), json!(from));
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::TIMERS;

    #[test]
    fn a_durable_begins_where_it_is_told_whatever_it_began_with() {
        let began = json!({ "name": "p1", "deliver_policy": "by_start_sequence", "opt_start_seq": 7, "ack_wait": 5 });
        let expected =
            json!({ "name": "p1", "deliver_policy": "by_start_sequence", "opt_start_seq": 9, "ack_wait": 5 });
        assert_eq!(beginning(began.clone(), Some(9)), expected);
        assert_eq!(beginning(began, None), json!({ "name": "p1", "deliver_policy": "all", "ack_wait": 5 }));
    }

    #[test]
    fn what_was_never_seen_is_made_as_usual() {
        let (partition, from) = anew(EVENTS, "p3", None, None);
        assert_eq!((&partition["durable_name"], &partition["filter_subject"]), (&json!("p3"), &json!("rr.in.3.>")));
        assert_eq!((&partition["deliver_policy"], from), (&json!("all"), None));
        assert_eq!(anew(TIMERS, "timers", None, None).0["filter_subject"], json!("rr.fired.>"));
    }

    #[test]
    fn what_was_not_fit_is_made_fit_and_only_the_operators_numbers_stay() {
        let mut before = json!(usual(EVENTS, "p3"));
        before["ack_wait"] = json!(7_000_000_000_u64);
        before["metadata"] = json!({ "by": "hand" });
        let (same, from) = anew(EVENTS, "p3", Some(&before), Some(41));
        assert_eq!((&same["metadata"]["by"], &same["opt_start_seq"], from), (&json!("hand"), &json!(42), Some(42)));
        before["max_deliver"] = json!(3);
        let (mended, from) = anew(EVENTS, "p3", Some(&before), Some(41));
        assert_eq!((&mended["max_deliver"], &mended["ack_wait"]), (&json!(-1), &json!(7_000_000_000_u64)));
        assert_eq!((mended.get("metadata"), mended.get("opt_start_seq"), from), (None, None, None));
        let (mended, _) = anew(EVENTS, "p3", Some(&json!("no configuration")), Some(41));
        assert_eq!(mended, anew(EVENTS, "p3", None, None).0);
    }
}
