//! Typed parameters of a flow: their declaration, their values, and how the two meet.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};

use crate::{
    flow::{
        ARG_BYTES_MAX, Flow,
        check::{self, PROBLEMS_MAX, Problem, did_you_mean},
    },
    name::{Name, NameError},
    text::Echo,
};

/// Bytes of a value at most: in the environment it stands behind `RR_PARAM_<NAME>=`, in one text with it.
pub const VALUE_BYTES_MAX: usize = ARG_BYTES_MAX - 128;

/// The declaration of a parameter. One without a default must be given.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Param {
    /// What its values are. Default string.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// The value where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<ParamValue>,
    /// What it is for, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The only values that it may have. Default: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ParamValue>,
    /// Whether a string may begin with `-`, which most commands would take for an option. Default false.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_dash: bool,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Any text without NUL.
    #[default]
    String,
    /// A whole number of 64 bits with sign.
    Int,
    /// `true` or `false`.
    Bool,
}

/// The value of a parameter.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ParamValue {
    /// A text.
    String(String),
    /// A whole number.
    Int(i64),
    /// A truth.
    Bool(bool),
}

/// Values as given with a run, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ParamValues(BTreeMap<Name, ParamValue>);

/// Why a `name=value` of a command line was not understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SetError {
    /// No `=` in it.
    #[error("expected name=value, got {0}")]
    Shape(Echo),
    /// The part before `=` is no name.
    #[error("parameter {0}")]
    Name(#[from] NameError),
}

impl ParamType {
    /// The word for it in a flow file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
        }
    }

    /// Reads a text as a value of this type.
    pub fn read(self, text: &str) -> Option<ParamValue> {
        match self {
            Self::String => Some(ParamValue::String(text.to_owned())),
            Self::Int => text.parse().ok().map(ParamValue::Int),
            Self::Bool => text.parse().ok().map(ParamValue::Bool),
        }
    }
}

impl ParamValue {
    /// Its type.
    pub const fn kind(&self) -> ParamType {
        match self {
            Self::String(_) => ParamType::String,
            Self::Int(_) => ParamType::Int,
            Self::Bool(_) => ParamType::Bool,
        }
    }
}

impl ParamValues {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value given under this name.
    pub fn get(&self, name: &Name) -> Option<&ParamValue> {
        self.0.get(name)
    }

    /// All values given, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &ParamValue)> {
        self.0.iter()
    }

    /// Gives a value; a value given before under this name is returned.
    pub fn insert(&mut self, name: Name, value: ParamValue) -> Option<ParamValue> {
        self.0.insert(name, value)
    }

    /// The values of a command line, each read as the type that `flow` declares for it. A name that the flow does not
    /// declare is kept as a string, for [`resolve`] to refuse.
    ///
    /// # Errors
    /// A name is given twice, or a text is not of the declared type.
    pub fn from_texts(flow: &Flow, given: impl IntoIterator<Item = (Name, String)>) -> Result<Self, Vec<Problem>> {
        let mut values = Self::default();
        let mut problems = Vec::new();
        for (name, text) in given {
            let kind = flow.params.get(&name).map_or(ParamType::String, |param| param.kind);
            let Some(value) = kind.read(&text) else {
                let message = format!("parameter \"{name}\": expected {}, found {}", kind.word(), Echo::new(&text));
                problems.push(Problem::new(pointer(&name), message));
                continue;
            };
            if values.insert(name.clone(), value).is_some() {
                problems.push(Problem::new(pointer(&name), format!("parameter \"{name}\" is given twice")));
            }
        }
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }
}

impl FromIterator<(Name, ParamValue)> for ParamValues {
    fn from_iter<I: IntoIterator<Item = (Name, ParamValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Splits a `name=value` of a command line at its first `=`; the value may hold anything, `=` too.
///
/// # Errors
/// No `=`, or no name before it.
pub fn parse_set(text: &str) -> Result<(Name, String), SetError> {
    let (name, value) = text.split_once('=').ok_or_else(|| SetError::Shape(Echo::new(text)))?;
    Ok((name.parse()?, value.to_owned()))
}

/// The text of every parameter of a run: what is given, else the default.
///
/// # Errors
/// Everything that is wrong with what is given: unknown, missing, of another type, not among the choices, with NUL, too
/// long, with a leading dash where none is allowed, or such that a command filled in with it becomes too long.
pub fn resolve(flow: &Flow, given: &ParamValues) -> Result<BTreeMap<Name, String>, Vec<Problem>> {
    let mut problems = Vec::new();
    for (name, _) in given.iter().filter(|(name, _)| !flow.params.contains_key(name)).take(PROBLEMS_MAX) {
        let known = flow.params.keys().map(Name::as_str);
        let problem = Problem::new(pointer(name), format!("unknown parameter \"{name}\""));
        problems.push(problem.with_help(did_you_mean(name.as_str(), known)));
    }
    let mut texts = BTreeMap::new();
    for (name, param) in &flow.params {
        let Some(value) = given.get(name).or(param.default.as_ref()) else {
            let problem = Problem::new(pointer(name), format!("missing parameter \"{name}\""));
            problems.push(problem.with_help(Some(format!("give it with --set {name}=..."))));
            continue;
        };
        match wrong(param, value) {
            None => drop(texts.insert(name.clone(), value.to_string())),
            Some((message, help)) => {
                let message = format!("parameter \"{name}\": {message}");
                problems.push(Problem::new(pointer(name), message).with_help(help));
            }
        }
    }
    if problems.is_empty() {
        problems = check::check_filled(flow, &texts);
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

/// The value of each parameter, as text, of a flow and values that [`resolve`] has accepted once. Nothing is checked: what
/// was accepted stays accepted, whatever later versions think of it.
pub fn accepted(flow: &Flow, given: &ParamValues) -> BTreeMap<Name, String> {
    let value = |(name, param): (&Name, &Param)| {
        let value = given.get(name).or(param.default.as_ref())?;
        Some((name.clone(), value.to_string()))
    };
    flow.params.iter().filter_map(value).collect()
}

/// The environment variable in which a command sees the parameter: `RR_PARAM_` and the name in upper case, `-` as `_`.
pub fn env_key(name: &Name) -> String {
    format!("RR_PARAM_{}", name.as_str().to_ascii_uppercase().replace('-', "_"))
}

/// What is wrong with a value of this parameter, and what to do about it.
pub(super) fn wrong(param: &Param, value: &ParamValue) -> Option<(String, Option<String>)> {
    if value.kind() != param.kind {
        return Some((format!("expected {}, found {}", param.kind.word(), value.kind().word()), None));
    }
    let text = value.to_string();
    if text.contains('\0') {
        return Some(("a NUL byte cannot be part of a value".to_owned(), None));
    }
    if text.len() > VALUE_BYTES_MAX {
        return Some((format!("the value is {} bytes long, limit {VALUE_BYTES_MAX}", text.len()), None));
    }
    if text.starts_with('-') && !param.allow_dash {
        let message = format!("{} begins with -, a command would take it for an option", Echo::new(&text));
        return Some((message, Some("if that is meant, declare the parameter with allow_dash: true".to_owned())));
    }
    if !param.choices.is_empty() && !param.choices.contains(value) {
        let choices: Vec<String> =
            param.choices.iter().take(10).map(|choice| Echo::new(&choice.to_string()).to_string()).collect();
        return Some((format!("{} is not one of its choices: {}", Echo::new(&text), choices.join(", ")), None));
    }
    None
}

fn pointer(name: &Name) -> String {
    format!("/params/{name}")
}

/// As a command sees it.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.pad(text),
            Self::Int(number) => number.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
        }
    }
}

impl Serialize for ParamValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(text) => serializer.serialize_str(text),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
        }
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = ParamValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a whole number or a boolean")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ParamValue, E> {
        Ok(ParamValue::String(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<ParamValue, E> {
        Ok(ParamValue::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<ParamValue, E> {
        i64::try_from(number).map(ParamValue::Int).map_err(|_| E::custom("number too large"))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<ParamValue, E> {
        Ok(ParamValue::Bool(truth))
    }
}

impl JsonSchema for ParamValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ParamValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

impl<'de> Deserialize<'de> for ParamValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        unique_keys(deserializer).map(Self)
    }
}

/// Reads a map and refuses a key that stands in it twice, where serde would keep the last one without a word.
pub(super) fn unique_keys<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(UniqueKeys(PhantomData))
}

struct UniqueKeys<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for UniqueKeys<K, V>
where
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<K, V>()? {
            let text = key.to_string();
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom(format_args!("duplicate key \"{text}\"")));
            }
        }
        Ok(map)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests;
