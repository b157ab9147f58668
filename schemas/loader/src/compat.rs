//! The JSON of the original Roadrunner, read as it is.
//!
//! What it means there it means here, mended where the original did not do what it said: a percentage for success is
//! rounded up, the next slot waits for success, hosts run in a sliding window. What the original took without a word is
//! taken with a warning, if at all.

use rr_schemas::{
    flow::{ATTEMPTS_MAX, Flow, Job, Script, Slot, parallelism::Parallelism},
    name::Name,
    quota::Quota,
    span::Span,
    text::Echo,
};

use crate::{
    decode::{self, Decoder, Field, Map, Unknown},
    node::{Kind, Node},
};

/// Keys of the file; any one of them tells that it is one.
const FILE_KEYS: [&str; 3] = ["job_flow", "default_job_timeout", "default_retries"];
const SLOT_KEYS: [&str; 2] = ["slot_id", "jobs"];
const JOB_KEYS: [&str; 7] = ["job_id", "cmd", "hosts", "timeout", "retries", "success_constraint", "parallelism"];

/// Values for jobs that have none of their own.
#[derive(Clone, Copy, Debug)]
struct Defaults {
    timeout: Option<Span>,
    attempts: u32,
}

pub(crate) fn is_roadrunner(tree: &Node) -> bool {
    match &tree.kind {
        Kind::Map(entries) => entries.iter().any(|entry| FILE_KEYS.contains(&entry.key.text.as_str())),
        Kind::List(_) | Kind::Scalar(_) => false,
    }
}

/// The flow of a file, under this name.
pub(crate) fn decode(decoder: &mut Decoder, tree: &Node, name: Option<Name>) -> Option<Flow> {
    let root = Field { at: String::new(), what: "flow", node: tree };
    let map = decoder.map(&root, &FILE_KEYS, Unknown::Warning)?;
    let timeout = decoder.get(map, "", "default_job_timeout").and_then(|field| seconds(decoder, &field));
    let attempts = decoder.get(map, "", "default_retries").and_then(|field| attempts(decoder, &field));
    let defaults = Defaults { timeout, attempts: attempts.unwrap_or(1) };
    let slots = require(decoder, map, "", "job_flow", "/slots").and_then(|field| decoder.list(&field));
    let slots = slots.unwrap_or_default().iter().map(|field| slot(decoder, field, defaults)).collect();
    Some(Flow {
        name: name?,
        description: None,
        params: std::collections::BTreeMap::new(),
        env: std::collections::BTreeMap::new(),
        timeout: None,
        preflight: false,
        slots,
        jobs: Vec::new(),
    })
}

fn slot(decoder: &mut Decoder, field: &Field<'_>, defaults: Defaults) -> Slot {
    let field = &Field { what: "slot", ..field.clone() };
    let at = &field.at;
    let Some(map) = decoder.map(field, &SLOT_KEYS, Unknown::Warning) else { return Slot { name: None, jobs: vec![] } };
    let name = require(decoder, map, at, "slot_id", &format!("{at}/name")).and_then(|field| name(decoder, &field));
    let jobs = require(decoder, map, at, "jobs", &format!("{at}/jobs")).and_then(|field| decoder.list(&field));
    let jobs = jobs.unwrap_or_default();
    Slot { name, jobs: jobs.iter().filter_map(|field| job(decoder, field, defaults)).collect() }
}

fn job(decoder: &mut Decoder, field: &Field<'_>, defaults: Defaults) -> Option<Job> {
    let field = &Field { what: "job", ..field.clone() };
    let at = &field.at;
    let Some(map) = decoder.map(field, &JOB_KEYS, Unknown::Warning) else {
        let name = decoder.name(None)?;
        return Some(decode::new_job(name));
    };
    let id = require(decoder, map, at, "job_id", &format!("{at}/name"));
    let id = match id {
        Some(id) => name(decoder, &id),
        None => None,
    };
    let id = match id {
        Some(id) => id,
        None => decoder.name(None)?,
    };
    let mut job = decode::new_job(id);
    let cmd = require(decoder, map, at, "cmd", &format!("{at}/shell"));
    let script = cmd.and_then(|cmd| decoder.string(&cmd)).map(|scalar| scalar.text.clone());
    job.shell = script.map(|script| Script { script, shell: Script::default_shell() });
    let hosts = require(decoder, map, at, "hosts", &format!("{at}/hosts"));
    job.hosts = hosts.and_then(|hosts| decode::host_sets(decoder, &hosts));
    if job.hosts.is_none() {
        decoder.taint(at.clone());
    }
    let own = |decoder: &mut Decoder, key, to: &str| get(decoder, map, key, &format!("{at}/{to}"));
    let timeout = own(decoder, "timeout", "timeout").and_then(|field| seconds(decoder, &field));
    job.timeout = timeout.or(defaults.timeout);
    let attempts = own(decoder, "retries", "retry").and_then(|field| attempts(decoder, &field));
    job.retry.attempts = attempts.unwrap_or(defaults.attempts);
    let targets = job.targets();
    let success = own(decoder, "success_constraint", "success");
    job.success = success.and_then(|field| share(decoder, &field, targets)).unwrap_or_default();
    let parallelism = own(decoder, "parallelism", "parallelism");
    job.parallelism =
        parallelism.and_then(|field| share(decoder, &field, targets)).map(Parallelism::Window).unwrap_or_default();
    Some(job)
}

/// The value under a key, placed in the model.
fn get<'n>(decoder: &mut Decoder, map: Map<'n>, key: &'static str, to: &str) -> Option<Field<'n>> {
    let entry = map.entries().iter().find(|entry| entry.key.text == key)?;
    decoder.record(to, &entry.value);
    Some(Field { at: to.to_owned(), what: key, node: &entry.value })
}

/// The same where the key has to be there.
fn require<'n>(decoder: &mut Decoder, map: Map<'n>, at: &str, key: &'static str, to: &str) -> Option<Field<'n>> {
    if !map.has(key) {
        decoder.require(map, at, key);
        decoder.taint(to);
    }
    get(decoder, map, key, to)
}

/// A name, which the original would also take as a number.
fn name(decoder: &mut Decoder, field: &Field<'_>) -> Option<Name> {
    let scalar = decoder.written(field)?;
    decoder.parse(field, &scalar.text)
}

/// A number as the original took it: an integer, or a string that is one.
fn number(decoder: &mut Decoder, field: &Field<'_>, expected: &str) -> Option<i64> {
    let scalar = decoder.written(field)?;
    let number = scalar.text.trim().parse().ok();
    if number.is_none() {
        refuse(decoder, field, expected, &scalar.text);
    }
    number
}

fn refuse(decoder: &mut Decoder, field: &Field<'_>, expected: &str, text: &str) {
    let message = format!("{}: expected {expected}, found {}", field.what, Echo::new(text));
    decoder.fail(field, field.node.span.clone(), message, None);
}

fn seconds(decoder: &mut Decoder, field: &Field<'_>) -> Option<Span> {
    const EXPECTED: &str = "seconds, 1 to 2592000 (30 days)";
    let number = number(decoder, field, EXPECTED)?;
    let span =
        u64::try_from(number).ok().filter(|seconds| *seconds > 0).and_then(|seconds| Span::from_secs(seconds).ok());
    if span.is_none() {
        refuse(decoder, field, EXPECTED, &number.to_string());
    }
    span
}

/// Tries in total, as the original counted.
fn attempts(decoder: &mut Decoder, field: &Field<'_>) -> Option<u32> {
    let expected = format!("1..{ATTEMPTS_MAX}, the number of tries in total");
    let number = number(decoder, field, &expected)?;
    let attempts = u32::try_from(number).ok().filter(|number| (1..=ATTEMPTS_MAX).contains(number));
    if attempts.is_none() {
        refuse(decoder, field, &expected, &number.to_string());
    }
    attempts
}

/// A count or a percentage of whole percents, bent to lie between 1 and all, as the original did.
fn share(decoder: &mut Decoder, field: &Field<'_>, targets: u32) -> Option<Quota> {
    const EXPECTED: &str = "a count such as 8, or a percentage such as \"80%\"";
    let scalar = decoder.written(field)?;
    let text = scalar.text.trim();
    let (digits, is_percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits.trim_end(), true));
    let Ok(number) = digits.parse::<i64>() else {
        refuse(decoder, field, EXPECTED, &scalar.text);
        return None;
    };
    let quota = match (number, is_percent) {
        (..=0, _) => Quota::count(1),
        (100.., true) => Ok(Quota::ALL),
        (percent, true) => Quota::percent(u32::try_from(percent).unwrap_or(100).saturating_mul(100)),
        (count, false) => Quota::count(u32::try_from(count).unwrap_or(u32::MAX).min(targets)),
    };
    quota.ok()
}
