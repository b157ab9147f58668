//! Offers: what hands an attempt to a worker. A hint, never a fact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    codec::Body,
    flow::Priority,
    host::Host,
    id::RunId,
    name::{EnvName, Name, WorkerName},
    span::Span,
};

/// Everything that a worker needs to run one attempt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Offer {
    /// The run.
    pub run: RunId,
    /// Name of the flow, for people.
    pub flow: Name,
    /// The job.
    pub job: Name,
    /// The task's index in the plan.
    pub task: u32,
    /// Which try of the task, from 1.
    pub attempt: u32,
    /// Which offer of the attempt, from 1.
    pub offer: u32,
    /// Where it is to run.
    pub target: Target,
    /// Which offers of its queue go first.
    #[serde(default, skip_serializing_if = "is_normal")]
    pub priority: Priority,
    /// What to run.
    pub command: Command,
    /// Environment that the flow sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<EnvName, String>,
    /// Names that the worker passes on from its own environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherit_env: Vec<EnvName>,
    /// Parameters, which the command sees as `RR_PARAM_<NAME>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<Name, String>,
    /// Directory, where the flow names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Time limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Time between TERM and KILL; the worker's own where the flow says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// Whether the worker must win the claim before it starts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub claimed: bool,
    /// The lock that the worker must hold while it runs the attempt; such an attempt is claimed, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Name>,
    /// What a report or a claim must bear, so that nobody speaks of an attempt that they were not offered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
}

impl Body for Offer {
    const KIND: &'static str = "rr.offer";
}

/// Where a task is to run.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// On this host.
    Host(Host),
    /// On any one worker of this queue.
    Queue(Name),
    /// On this worker.
    Worker(WorkerName),
}

/// What to run, with every template filled in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A script, given as the last argument to a shell.
    Shell {
        /// The shell and its arguments.
        shell: Vec<String>,
        /// The script.
        script: String,
    },
    /// A function registered in the worker's program.
    Handler(Name),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_normal(priority: &Priority) -> bool {
    *priority == Priority::default()
}
