//! Configurations of streams and consumers: what was asked for, with the server's defaults, and as it is told again.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// The highest level of the API that this server has.
const LEVEL: &str = "5";
const VERSION: &str = "2.15.1";
const SECOND: u64 = 1_000_000_000;

/// What happens to a message that is acknowledged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Retention {
    #[default]
    Limits,
    WorkQueue,
    /// Not modelled.
    Interest,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Discard {
    #[default]
    Old,
    New,
}

const fn unlimited() -> i64 {
    -1
}

const fn one() -> u64 {
    1
}

/// What the model needs of a stream's configuration.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the server's own switches, by the server's names")]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    #[serde(default)]
    pub(crate) retention: Retention,
    #[serde(default)]
    pub(crate) discard: Discard,
    #[serde(default = "unlimited")]
    pub(crate) max_msgs: i64,
    #[serde(default = "unlimited")]
    pub(crate) max_bytes: i64,
    #[serde(default = "unlimited")]
    pub(crate) max_msgs_per_subject: i64,
    #[serde(default = "unlimited")]
    pub(crate) max_msg_size: i64,
    #[serde(default = "unlimited")]
    pub(crate) max_consumers: i64,
    #[serde(default)]
    pub(crate) max_age: u64,
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    #[serde(default = "one")]
    pub(crate) num_replicas: u64,
    #[serde(default)]
    pub(crate) allow_direct: bool,
    #[serde(default)]
    pub(crate) allow_rollup_hdrs: bool,
    #[serde(default)]
    pub(crate) allow_msg_ttl: bool,
    #[serde(default)]
    pub(crate) allow_msg_schedules: bool,
    #[serde(default)]
    pub(crate) deny_delete: bool,
    #[serde(default)]
    pub(crate) deny_purge: bool,
    #[serde(default)]
    pub(crate) first_seq: u64,
}

/// Every field that a stream's configuration may have.
const STREAM_FIELDS: [&str; 42] = [
    "name",
    "description",
    "subjects",
    "retention",
    "max_consumers",
    "max_msgs",
    "max_bytes",
    "max_age",
    "max_msgs_per_subject",
    "max_msg_size",
    "discard",
    "discard_new_per_subject",
    "storage",
    "num_replicas",
    "no_ack",
    "duplicate_window",
    "placement",
    "mirror",
    "sources",
    "compression",
    "first_seq",
    "subject_transform",
    "republish",
    "allow_direct",
    "mirror_direct",
    "sealed",
    "deny_delete",
    "deny_purge",
    "allow_rollup_hdrs",
    "consumer_limits",
    "allow_msg_ttl",
    "subject_delete_marker_ttl",
    "allow_msg_counter",
    "allow_atomic",
    "allow_batched",
    "allow_msg_schedules",
    "persist_mode",
    "metadata",
    "template_owner",
    "pause_until",
    "pedantic",
    "action",
];

fn fields(config: &Value) -> Result<Map<String, Value>, Refusal> {
    config.as_object().cloned().ok_or_else(|| Refusal::bad_json("not an object"))
}

fn level(fields: &Map<String, Value>) -> &'static str {
    let is_on = |name: &str| fields.get(name) == Some(&Value::Bool(true));
    match () {
        () if is_on("allow_batched") => "4",
        () if is_on("allow_msg_schedules") || is_on("allow_atomic") || is_on("allow_msg_counter") => "2",
        () if is_on("allow_msg_ttl") || fields.get("priority_policy").is_some_and(|policy| policy != "none") => "1",
        () => "0",
    }
}

fn with_metadata(fields: &mut Map<String, Value>) {
    let own = [("_nats.level", LEVEL), ("_nats.req.level", level(fields)), ("_nats.ver", VERSION)];
    let mut metadata = fields.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
    fields.insert("metadata".to_owned(), Value::Object(metadata));
}

/// Sets what was left out, or stands for "nothing said".
fn fill(fields: &mut Map<String, Value>, name: &str, nothing: &Value, default: Value) {
    if fields.get(name).is_none_or(|found| found.is_null() || found == nothing) {
        fields.insert(name.to_owned(), default);
    }
}

/// A stream's configuration as it is told, and as the model needs it.
pub(crate) fn stream(request: &Value) -> Result<(Value, StreamConfig), Refusal> {
    let mut told = fields(request)?;
    if let Some(unknown) = told.keys().find(|key| !STREAM_FIELDS.contains(&key.as_str())) {
        return Err(Refusal::bad_json(format_args!("json: unknown field \"{unknown}\"")));
    }
    told.retain(|_, value| !value.is_null());
    let zero = json!(0);
    for name in ["max_consumers", "max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size"] {
        fill(&mut told, name, &zero, json!(-1));
    }
    for (name, default) in [("retention", "limits"), ("discard", "old"), ("storage", "file"), ("compression", "none")] {
        fill(&mut told, name, &Value::Null, json!(default));
    }
    for name in ["allow_direct", "mirror_direct", "sealed", "deny_delete", "deny_purge", "allow_rollup_hdrs"] {
        fill(&mut told, name, &Value::Null, json!(false));
    }
    fill(&mut told, "allow_msg_ttl", &Value::Null, json!(false));
    fill(&mut told, "num_replicas", &zero, json!(1));
    fill(&mut told, "max_age", &Value::Null, zero.clone());
    let max_age = told.get("max_age").and_then(Value::as_u64).filter(|age| *age > 0);
    fill(&mut told, "duplicate_window", &zero, json!(max_age.map_or(120 * SECOND, |age| age.min(120 * SECOND))));
    fill(&mut told, "consumer_limits", &Value::Null, json!({}));
    with_metadata(&mut told);
    let told = Value::Object(told);
    let config: StreamConfig = serde_json::from_value(told.clone()).map_err(Refusal::bad_json)?;
    if config.retention == Retention::Interest {
        return Err(Refusal::bad_json("the model has no interest retention"));
    }
    Ok((told, config))
}

/// When a consumer begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deliver {
    #[default]
    All,
    New,
    Last,
    LastPerSubject,
    ByStartSequence,
    ByStartTime,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AckPolicy {
    Explicit,
    #[default]
    None,
    All,
}

/// What the model needs of a consumer's configuration.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConsumerConfig {
    #[serde(default)]
    pub(crate) deliver_policy: Deliver,
    #[serde(default)]
    pub(crate) opt_start_seq: u64,
    #[serde(default)]
    pub(crate) opt_start_time: Option<jiff::Timestamp>,
    #[serde(default)]
    pub(crate) ack_policy: AckPolicy,
    #[serde(default)]
    pub(crate) ack_wait: u64,
    #[serde(default = "unlimited")]
    pub(crate) max_deliver: i64,
    #[serde(default)]
    pub(crate) max_ack_pending: i64,
    #[serde(default)]
    pub(crate) max_waiting: usize,
    #[serde(default)]
    pub(crate) filter_subject: String,
    #[serde(default)]
    pub(crate) filter_subjects: Vec<String>,
    #[serde(default)]
    pub(crate) headers_only: bool,
    #[serde(default)]
    pub(crate) inactive_threshold: u64,
    #[serde(default)]
    pub(crate) mem_storage: bool,
    #[serde(default)]
    pub(crate) num_replicas: u64,
    #[serde(default)]
    pub(crate) priority_groups: Vec<String>,
    #[serde(default)]
    pub(crate) priority_policy: String,
    #[serde(default)]
    pub(crate) priority_timeout: u64,
}

impl ConsumerConfig {
    /// What it wants; everything where there is nothing.
    pub(crate) fn filters(&self) -> Vec<String> {
        let single = Some(&self.filter_subject).filter(|filter| !filter.is_empty());
        single.into_iter().chain(&self.filter_subjects).cloned().collect()
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.priority_policy == "pinned_client"
    }
}

/// A consumer's configuration as it is told, and as the model needs it.
pub(crate) fn consumer(request: &Value, name: &str) -> Result<(Value, ConsumerConfig), Refusal> {
    let mut told = fields(request)?;
    told.retain(|key, value| {
        let says_nothing = match &*value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(entries) => entries.is_empty(),
            Value::Number(number) => key != "num_replicas" && number.as_i64() == Some(0),
            Value::Bool(true) | Value::Object(_) => false,
        };
        !says_nothing
    });
    if told.get("priority_policy") == Some(&json!("none")) {
        told.remove("priority_policy");
    }
    told.insert("name".to_owned(), json!(name));
    fill(&mut told, "deliver_policy", &Value::Null, json!("all"));
    fill(&mut told, "replay_policy", &Value::Null, json!("instant"));
    fill(&mut told, "ack_policy", &Value::Null, json!("none"));
    fill(&mut told, "max_deliver", &json!(0), json!(-1));
    fill(&mut told, "max_waiting", &json!(0), json!(512));
    fill(&mut told, "num_replicas", &Value::Null, json!(0));
    if told.get("ack_policy") != Some(&json!("none")) {
        fill(&mut told, "ack_wait", &json!(0), json!(30 * SECOND));
        fill(&mut told, "max_ack_pending", &json!(0), json!(1_000));
    }
    if told.contains_key("priority_policy") {
        fill(&mut told, "priority_timeout", &json!(0), json!(120 * SECOND));
    }
    if !told.contains_key("durable_name") {
        fill(&mut told, "inactive_threshold", &json!(0), json!(5 * SECOND));
    }
    with_metadata(&mut told);
    let told = Value::Object(told);
    let config = serde_json::from_value(told.clone()).map_err(Refusal::bad_json)?;
    Ok((told, config))
}
