//! The flow model: what every loader produces, what a submit carries, what the core plans from.
//!
//! Its serde form is the full form of a flow file, so any NATS client can send one. The loader accepts short forms
//! besides and produces only this.

pub mod check;
pub mod object;
pub mod parallelism;
pub mod params;
pub mod select;
pub mod signal;
pub mod template;
pub mod unreachable;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    flow::{
        parallelism::Parallelism,
        params::{Param, unique_keys},
        select::Labels,
        template::Template,
        unreachable::OnUnreachable,
    },
    host::HostSet,
    name::{EnvName, Name},
    quota::Quota,
    span::Span,
};

/// Bytes of a flow file at most: a file that somebody wrote, not data (design §2).
pub const FILE_BYTES_MAX: usize = 512 * 1024;
/// Jobs of a flow at most.
pub const JOBS_MAX: usize = 10_000;
/// Tasks of a run at most, over all jobs.
pub const TASKS_MAX: u32 = 100_000;
/// Depth of nesting of a flow file at most.
pub const NESTING_MAX: usize = 64;
/// Attempts of a task at most.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Attempts of a run at most, over all tasks: a bound on its history.
pub const ATTEMPTS_TOTAL_MAX: u64 = 1_000_000;
/// Bytes of one argument or environment value at most: Linux refuses more (`MAX_ARG_STRLEN`).
pub const ARG_BYTES_MAX: usize = 128 * 1024;

/// A definition of work: jobs in slots, or jobs with `needs`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Name of the flow.
    pub name: Name,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Typed parameters; templates name them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub params: BTreeMap<Name, Param>,
    /// Environment of every job; a job's own `env` wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub env: BTreeMap<EnvName, Template>,
    /// Time limit of the whole run; past it everything is stopped and the run ends `timed_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Refuse the run, before anything starts, where nobody serves one of its targets. Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preflight: bool,
    /// Slots, one after the other: each job of a slot needs every job of the slot before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<Slot>,
    /// The graph form: jobs that name what they need. A flow has either `slots` or `jobs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
}

/// Jobs that run in parallel.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The jobs.
    pub jobs: Vec<Job>,
}

/// One command on one or more targets, or a gate.
///
/// Exactly one of `run`, `shell`, `handler` and `signal` is given; at most one of `hosts`, `queue`, `select` and `all`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Name of the job, unique in the flow regardless of case.
    pub name: Name,
    /// The command as a list of arguments; no shell is involved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<Template>,
    /// A fixed script for a shell; parameters reach it as `RR_PARAM_<NAME>`, never as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Script>,
    /// A function that the worker's program has registered under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Name>,
    /// A gate: instead of running anything the job waits until somebody gives the run the signal of this name, and then
    /// succeeds. One that was given earlier counts. It has no tasks; past its `timeout` it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Name>,
    /// Jobs that must have succeeded before this one starts (graph form only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Name>,
    /// Each of these hosts gets one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostSet>,
    /// Any one worker of this queue gets the one task. With no other target: the queue `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
    /// Each host of the workers that have all of these labels gets one task; found when the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Labels>,
    /// Each worker that has all of these labels gets one task, those that are away included; found when the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Labels>,
    /// How many tasks must succeed; a percentage rounds up. Default 100%.
    #[serde(default = "Quota::all", skip_serializing_if = "Quota::is_all")]
    pub success: Quota,
    /// How many tasks run at once; a percentage rounds down, at least 1. A list makes waves of these sizes, one after
    /// the other, the last one repeated. Default 100%.
    #[serde(default = "Parallelism::all", skip_serializing_if = "Parallelism::is_all")]
    pub parallelism: Parallelism,
    /// Strict batches of `parallelism` instead of a sliding window.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waves: bool,
    /// Start nothing new once `success` cannot be met any more. Default true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub fail_fast: bool,
    /// Time limit of each attempt; of a gate: how long it waits. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Time between TERM and KILL when an attempt is stopped. Default: the worker's, 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// What follows a failed attempt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// What follows an attempt whose worker was lost.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_lost: OnLost,
    /// The lock that an attempt holds while it runs: of all attempts and commands under one lock, in all runs of the
    /// mesh, one runs at a time. Every attempt is claimed then, as with `on_lost: fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Name>,
    /// What follows when nobody serves a target. Default `fail`; with `all`, `wait 10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unreachable: Option<OnUnreachable>,
    /// Which offers of a queue go first: `high`, `normal`, `low`. Default `normal`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// Environment of the command; wins over the flow's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique_keys")]
    pub env: BTreeMap<EnvName, Template>,
    /// Names that a worker passes on from its own environment, where it starts commands with a clean one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherit_env: Vec<EnvName>,
    /// Directory of the command. Default: the user's own in `rr run` and `rr up`, a fresh one under `rr worker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Template>,
}

/// A script and the shell that reads it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The text, as it is: nothing is filled in, and a flow file that has `{{ name }}` in it is refused.
    pub script: String,
    /// The program and its arguments; the script is added as the last one. Default `["/bin/sh", "-c"]`.
    #[serde(default = "Script::default_shell", skip_serializing_if = "Script::is_default_shell")]
    pub shell: Vec<String>,
}

impl Job {
    /// How many tasks it has: one for each host, else one; none of a gate, and as long as its targets are to be found.
    pub fn targets(&self) -> u32 {
        if self.labels().is_some() || self.signal.is_some() { 0 } else { self.hosts.as_ref().map_or(1, HostSet::len) }
    }

    /// The labels by which its targets are found when a run starts.
    pub fn labels(&self) -> Option<&Labels> {
        self.select.as_ref().or(self.all.as_ref())
    }

    /// Whether a worker must win a claim before it starts an attempt: where a loss is told, and under a lock.
    pub const fn is_claimed(&self) -> bool {
        self.on_lost.claimed() || self.lock.is_some()
    }
}

impl Script {
    /// `/bin/sh -c`: the shell that every Unix has.
    pub fn default_shell() -> Vec<String> {
        vec!["/bin/sh".to_owned(), "-c".to_owned()]
    }

    fn is_default_shell(shell: &Vec<String>) -> bool {
        *shell == Self::default_shell()
    }
}

/// What follows a failed or timed-out attempt.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in total, from 1. Default 1: no retry. Lost attempts are not counted here.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    pub attempts: u32,
    /// Wait before the second attempt. Default 0.
    pub delay: Span,
    /// Each wait is this many times the one before. Default 1.
    pub factor: Factor,
    /// No wait is longer. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// Each wait is lengthened or shortened by up to this share of itself, drawn from run, task and attempt.
    /// Default none. At most 100%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Quota>,
    /// Retry only after these exit codes; a timeout is retried always. Default: after every failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 255)))]
    pub on: Vec<i32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, delay: Span::ZERO, factor: Factor::ONE, max: None, jitter: None, on: Vec::new() }
    }
}

/// A growth factor in hundredths, so that decisions stay integer arithmetic. In a flow file it is a number from 1 to
/// 100 with at most two decimals.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(u32);

impl Factor {
    /// No growth.
    pub const ONE: Self = Self(100);

    /// The factor in hundredths.
    pub const fn hundredths(self) -> u32 {
        self.0
    }
}

impl TryFrom<f64> for Factor {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        let hundredths = (value * 100.0).round();
        if !(100.0..=10_000.0).contains(&hundredths) || (value * 100.0 - hundredths).abs() > 1e-6 {
            return Err("a factor is a number from 1 to 100 with at most two decimals");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie in 100..=10000")]
        Ok(Self(hundredths as u32))
    }
}

impl From<Factor> for f64 {
    fn from(factor: Factor) -> Self {
        Self::from(factor.0) / 100.0
    }
}

impl JsonSchema for Factor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // `multipleOf: 0.01` would be right and is not: validators divide floats, and refuse 1.1.
        schemars::json_schema!({
            "description": "A number from 1 to 100 with at most two decimals.",
            "type": "number",
            "minimum": 1,
            "maximum": 100
        })
    }
}

/// What follows an attempt whose worker was lost.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Offer the task again, up to 3 times, without using up `retry.attempts`. After faults two workers may run it.
    #[default]
    Retry,
    /// The task fails as `lost`. An attempt starts at most once anywhere: the worker claims it first.
    Fail,
    /// The task waits for its worker's report or for a person. Claimed like `fail`.
    Hold,
}

impl OnLost {
    /// Whether this alone makes a worker win a claim before it starts an attempt; see [`Job::is_claimed`].
    pub const fn claimed(self) -> bool {
        match self {
            Self::Retry => false,
            Self::Fail | Self::Hold => true,
        }
    }
}

/// Which offers of a queue go first. Hosts have no priorities: each has its own lane.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    High,
    /// What is neither.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// All of them, the first to go first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Its class in subjects: 1 goes first.
    pub const fn class(self) -> u8 {
        match self {
            Self::High => 1,
            Self::Normal => 2,
            Self::Low => 3,
        }
    }
}

impl Flow {
    /// Every job with the index of its slot, in the order of the file.
    pub fn all_jobs(&self) -> impl Iterator<Item = (Option<usize>, &Job)> {
        let slots = self.slots.iter().enumerate();
        let in_slots = slots.flat_map(|(index, slot)| slot.jobs.iter().map(move |job| (Some(index), job)));
        in_slots.chain(self.jobs.iter().map(|job| (None, job)))
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
