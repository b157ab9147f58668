//! Targets that a flow does not name: workers by their labels, found when the run starts.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    host::HostSet,
    name::{Name, WorkerName},
    text::Echo,
};

/// Labels of a worker, or of a selection, at most.
pub const LABELS_MAX: usize = 64;
/// Bytes of the value of a label at most.
pub const LABEL_BYTES_MAX: usize = 128;

/// Labels: names with values.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "BTreeMap<Name, String>", into = "BTreeMap<Name, String>")]
pub struct Labels(#[schemars(length(max = LABELS_MAX))] BTreeMap<Name, String>);

/// Why some labels cannot be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LabelError {
    /// Too many of them.
    #[error("{0} labels, limit {LABELS_MAX}")]
    TooMany(usize),
    /// A value that is too long or cannot be shown.
    #[error("label {name}: its value must be 1 to {LABEL_BYTES_MAX} printable characters, got {value}")]
    BadValue {
        /// The label.
        name: Name,
        /// Its value.
        value: Echo,
    },
}

impl Labels {
    /// Whether a worker with these labels has all of `wanted`.
    pub fn have(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(name, value)| self.0.get(name) == Some(value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.0.iter().map(|(name, value)| (name, value.as_str()))
    }
}

impl TryFrom<BTreeMap<Name, String>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<Name, String>) -> Result<Self, LabelError> {
        if labels.len() > LABELS_MAX {
            return Err(LabelError::TooMany(labels.len()));
        }
        let is_bad =
            |value: &str| value.is_empty() || value.len() > LABEL_BYTES_MAX || value.chars().any(char::is_control);
        match labels.iter().find(|(_, value)| is_bad(value)) {
            Some((name, value)) => Err(LabelError::BadValue { name: name.clone(), value: Echo::new(value) }),
            None => Ok(Self(labels)),
        }
    }
}

impl From<Labels> for BTreeMap<Name, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// As they are given on a command line: `role=db, zone=eu`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

/// What the labels of a job stood for when its run started. It does not change while the run lives.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The hosts of the workers that `select` matched.
    Hosts(HostSet),
    /// The workers that `all` matched.
    Workers(Vec<WorkerName>),
}

impl Found {
    /// How many targets it is.
    pub fn len(&self) -> u32 {
        match self {
            Self::Hosts(hosts) => hosts.len(),
            Self::Workers(workers) => u32::try_from(workers.len()).unwrap_or(u32::MAX),
        }
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What was found for each job that names its targets by labels.
pub type FoundTargets = BTreeMap<Name, Found>;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned()));
        Labels::try_from(pairs.collect::<BTreeMap<_, _>>()).unwrap()
    }

    #[test]
    fn a_worker_is_selected_by_all_of_the_labels() {
        let worker = labels(&[("role", "db"), ("zone", "eu")]);
        for (wanted, expected) in [
            (labels(&[]), true),
            (labels(&[("role", "db")]), true),
            (labels(&[("role", "db"), ("zone", "eu")]), true),
            (labels(&[("role", "web")]), false),
            (labels(&[("role", "db"), ("rack", "1")]), false),
        ] {
            assert_eq!(worker.have(&wanted), expected, "{wanted}");
        }
        assert_eq!(worker.to_string(), "role=db, zone=eu");
    }

    #[test]
    fn labels_have_limits() {
        for value in ["", "a\nb", &"x".repeat(129)] {
            let labels = BTreeMap::from([("role".parse::<Name>().unwrap(), value.to_owned())]);
            assert!(Labels::try_from(labels).is_err(), "{value:?}");
        }
        let many: BTreeMap<Name, String> =
            (0..65).map(|n| (format!("l{n}").parse().unwrap(), "v".to_owned())).collect();
        assert_eq!(Labels::try_from(many), Err(LabelError::TooMany(65)));
    }
}
