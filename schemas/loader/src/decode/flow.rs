//! The file's top: slots or jobs, parameters, and what holds for all jobs.

use std::collections::BTreeMap;

use rr_schemas::{
    flow::{
        Flow, Slot,
        params::{Param, ParamType, ParamValue},
    },
    name::Name,
};

use crate::{
    decode::{Decoder, Field, Unknown, job},
    diagnostic::Diagnostic,
    node::{Kind, Node, Scalar, ScalarType},
};

/// Keys of a flow.
pub(crate) const FLOW_KEYS: [&str; 8] =
    ["name", "description", "params", "env", "timeout", "preflight", "slots", "jobs"];
/// Keys of a slot in its full form.
pub(crate) const SLOT_KEYS: [&str; 2] = ["name", "jobs"];
/// Keys of a parameter in its full form.
pub(crate) const PARAM_KEYS: [&str; 5] = ["type", "default", "description", "choices", "allow_dash"];

const TYPES: [(&str, ParamType); 3] =
    [("string", ParamType::String), ("int", ParamType::Int), ("bool", ParamType::Bool)];

/// The flow of a file; none when the file is no map.
pub(crate) fn flow(decoder: &mut Decoder, tree: &Node) -> Option<Flow> {
    let root = Field { at: String::new(), what: "flow", node: tree };
    let map = decoder.map(&root, &FLOW_KEYS, Unknown::Error)?;
    let name = decoder.require(map, "", "name");
    let name = decoder.name(name.as_ref())?;
    let description = decoder.get(map, "", "description").and_then(|field| decoder.string(&field));
    Some(Flow {
        name,
        description: description.map(|scalar| scalar.text.clone()),
        params: decoder.get(map, "", "params").map(|field| params(decoder, &field)).unwrap_or_default(),
        env: decoder.get(map, "", "env").map(|field| decoder.env(&field)).unwrap_or_default(),
        timeout: decoder.get(map, "", "timeout").and_then(|field| decoder.limit(&field)),
        preflight: decoder.get(map, "", "preflight").and_then(|field| decoder.truth(&field)).unwrap_or_default(),
        slots: decoder.get(map, "", "slots").map(|field| slots(decoder, &field)).unwrap_or_default(),
        jobs: decoder.get(map, "", "jobs").map(|field| job::jobs(decoder, &field)).unwrap_or_default(),
    })
}

fn slots(decoder: &mut Decoder, field: &Field<'_>) -> Vec<Slot> {
    let slots = decoder.list(field).unwrap_or_default();
    slots.iter().map(|slot| self::slot(decoder, slot)).collect()
}

/// A slot: a list of jobs, or a map with a name and jobs.
fn slot(decoder: &mut Decoder, field: &Field<'_>) -> Slot {
    let field = &Field { what: "slot", ..field.clone() };
    match &field.node.kind {
        Kind::List(_) => {
            let jobs = Field { at: format!("{}/jobs", field.at), what: "slot", node: field.node };
            Slot { name: None, jobs: job::jobs(decoder, &jobs) }
        }
        Kind::Map(_) => {
            let Some(map) = decoder.map(field, &SLOT_KEYS, Unknown::Error) else {
                return Slot { name: None, jobs: vec![] };
            };
            let name = decoder.get(map, &field.at, "name").and_then(|name| decoder.parsed::<Name>(&name));
            let jobs = decoder.require(map, &field.at, "jobs");
            Slot { name, jobs: jobs.map(|jobs| job::jobs(decoder, &jobs)).unwrap_or_default() }
        }
        Kind::Scalar(_) => {
            decoder.wrong_type(field, "list of jobs");
            Slot { name: None, jobs: vec![] }
        }
    }
}

fn params(decoder: &mut Decoder, field: &Field<'_>) -> BTreeMap<Name, Param> {
    let mut params = BTreeMap::new();
    let Some(map) = decoder.any_map(field) else { return params };
    let field = &Field { what: "parameter", ..field.clone() };
    for entry in map.entries() {
        let Some(name) = decoder.key::<Name>(entry, field) else { continue };
        let value = Field { at: format!("{}/{name}", field.at), what: "parameter", node: &entry.value };
        decoder.record(value.at.clone(), value.node);
        let param = param(decoder, &value);
        params.entry(name).or_insert(param);
    }
    params
}

/// A parameter: its declaration, or just its default.
fn param(decoder: &mut Decoder, field: &Field<'_>) -> Param {
    let Kind::Map(_) = &field.node.kind else {
        let default = value(decoder, field);
        return Param { kind: default.as_ref().map(ParamValue::kind).unwrap_or_default(), default, ..Param::default() };
    };
    let Some(map) = decoder.map(field, &PARAM_KEYS, Unknown::Error) else { return Param::default() };
    let at = &field.at;
    let kind = decoder.get(map, at, "type").and_then(|field| decoder.word(&field, &TYPES));
    let default = decoder.get(map, at, "default").and_then(|field| value(decoder, &field));
    let description = decoder.get(map, at, "description").and_then(|field| decoder.string(&field));
    let choices = decoder.get(map, at, "choices").and_then(|field| decoder.list(&field)).unwrap_or_default();
    let choices: Vec<ParamValue> = choices.iter().filter_map(|choice| value(decoder, choice)).collect();
    let example = default.iter().chain(&choices).next();
    Param {
        kind: kind.or_else(|| example.map(ParamValue::kind)).unwrap_or_default(),
        description: description.map(|scalar| scalar.text.clone()),
        allow_dash: decoder.get(map, at, "allow_dash").and_then(|field| decoder.truth(&field)).unwrap_or_default(),
        default,
        choices,
    }
}

/// A value of the type that it is written as.
fn value(decoder: &mut Decoder, field: &Field<'_>) -> Option<ParamValue> {
    const EXPECTED: &str = "string, whole number or boolean";
    let Kind::Scalar(scalar) = &field.node.kind else {
        decoder.wrong_type(field, EXPECTED);
        return None;
    };
    let value = match scalar.scalar_type() {
        ScalarType::String => Some(ParamValue::String(scalar.text.clone())),
        ScalarType::Boolean => scalar.as_bool().map(ParamValue::Bool),
        ScalarType::Integer if scalar.text.starts_with('0') && scalar.text.len() > 1 => None,
        ScalarType::Integer => scalar.text.parse().ok().map(ParamValue::Int),
        ScalarType::Number | ScalarType::Null => None,
    };
    if value.is_none() {
        decoder.wrong_type(field, EXPECTED);
    }
    value
}

/// Notes templates in a script, where nothing would be filled in.
pub(super) fn refuse_templates(decoder: &mut Decoder, field: &Field<'_>, script: &Scalar) {
    for (at, _) in script.text.match_indices("{{") {
        let inside = script.text.get(at + 2..).and_then(|rest| rest.split_once("}}")).map(|(inside, _)| inside.trim());
        let Some(name) = inside.and_then(|inside| inside.parse::<Name>().ok()) else { continue };
        let end = script.text.get(at..).and_then(|rest| rest.find("}}")).map_or(at, |length| at + length + 2);
        let span = script.verbatim_at.map_or_else(|| field.node.span.clone(), |start| start + at..start + end);
        let variable = match name.as_str() {
            "host" => "RR_HOST".to_owned(),
            _ => rr_schemas::flow::params::env_key(&name),
        };
        let message = format!("templates are not filled in in a script, found {{{{ {name} }}}}");
        let help = format!("write \"${variable}\" in the script; for a literal {{{{, set it with env: as \\{{{{");
        decoder.note(Diagnostic::error(message).at(span).help(help));
    }
}
