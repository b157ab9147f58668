//! Inputs: everything that can advance a run.

use serde::{Deserialize, Serialize};

use crate::{
    codec::Body,
    flow::{Flow, params::ParamValues},
    name::{InstanceId, Name, WorkerName},
    ranges::Ranges,
    report::{Claim, Report},
    retry::RetryOf,
};

/// Anything that can advance an entity. Which variant a subject may carry is fixed by [`Source::allows`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Start this run.
    Submit(Box<Submit>),
    /// Stop this run.
    Cancel(Cancel),
    /// Let the gates of this run pass that wait for a signal.
    Signal(Signal),
    /// A worker's word on an attempt.
    Report(Report),
    /// A worker's claim of an attempt.
    Claim(Claim),
    /// The entity's timer fired.
    Timer {},
    /// What a coordinator saw of attempts whose deadline had come.
    Seen(Seen),
}

impl Body for Input {
    const KIND: &'static str = "rr.input";
}

/// Start a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Submit {
    /// The flow, pinned with the run.
    pub flow: Flow,
    /// Its parameters, as given; defaults are filled in by the plan.
    #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
    pub params: ParamValues,
    /// Who asked, for people.
    pub by: String,
    /// The run that this one retries, with its flow and parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RetryOf>,
}

/// Stop a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cancel {
    /// Who asked, for people.
    pub by: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Let the gates of a run pass that wait for a signal, now or later.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signal {
    /// Its name, as the gates have it.
    pub signal: Name,
    /// Who gave it, for people.
    pub by: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the shell found when deadlines of open attempts had come: facts about the world, recorded before anything is
/// concluded from them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// Open attempts, each with what was found.
    pub attempts: Vec<SeenAttempts>,
}

/// The same finding for some tasks of one job, all in the same attempt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SeenAttempts {
    /// The tasks.
    pub tasks: Ranges,
    /// Their attempt; a task that is no longer in it is passed over.
    pub attempt: u32,
    /// The offer that was looked for.
    pub offer: u32,
    /// What was found.
    pub found: Found,
    /// The coordinator has claimed the attempts for nobody, so that no worker can start them any more. Without this a
    /// claimed attempt that nobody has started is never concluded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

/// What was found of an open attempt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The worker process that started it is present.
    WorkerPresent,
    /// The worker process that started it is not present any more.
    WorkerGone,
    /// The offer still waits, or is held by a worker that has not said so; somebody who serves the target is present.
    OfferWaits,
    /// The offer still waits, and nobody who serves the target is present.
    OfferUnserved,
    /// The offer is gone and no report came: it must be made again.
    OfferGone,
    /// Its claim was won by somebody whose claim does not count: whoever else wants to start it cannot any more.
    ClaimVoid,
}

/// Who may have published an input, as the subject says; permissions guard the subject.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// People and programs.
    Api,
    /// A worker's reports.
    Worker(WorkerName),
    /// A claim: task, attempt, worker and its process.
    Claim {
        /// The task's index in the plan.
        task: u32,
        /// Which try of the task, from 1.
        attempt: u32,
        /// Who claims.
        worker: WorkerName,
        /// The process that claims: a worker whose ledger is gone does not take the claim of an earlier life for its own.
        /// Claims of earlier versions do not name it here.
        instance: Option<InstanceId>,
    },
    /// A coordinator that passes on a timer which has fired.
    Timer,
    /// Coordinators.
    Note,
}

impl Source {
    /// Whether an input of this kind may come from here and says nothing that its subject denies.
    pub fn allows(&self, input: &Input) -> bool {
        match (self, input) {
            (Self::Api, Input::Submit(_) | Input::Cancel(_) | Input::Signal(_))
            | (Self::Worker(_), Input::Report(_))
            | (Self::Timer, Input::Timer {})
            | (Self::Note, Input::Seen(_)) => true,
            (Self::Claim { task, attempt, worker, instance }, Input::Claim(claim)) => {
                (claim.task, claim.attempt, &claim.worker) == (*task, *attempt, worker)
                    && instance.as_ref().is_none_or(|instance| *instance == claim.instance)
            }
            (
                Self::Api | Self::Worker(_) | Self::Claim { .. } | Self::Timer | Self::Note,
                Input::Submit(_)
                | Input::Cancel(_)
                | Input::Signal(_)
                | Input::Report(_)
                | Input::Claim(_)
                | Input::Timer {}
                | Input::Seen(_),
            ) => false,
        }
    }
}

impl From<&Claim> for Source {
    /// Where a claim comes from.
    fn from(claim: &Claim) -> Self {
        let Claim { task, attempt, worker, instance, token: _ } = claim;
        Self::Claim { task: *task, attempt: *attempt, worker: worker.clone(), instance: Some(instance.clone()) }
    }
}

/// A worker as decisions name it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Holder {
    /// Its name.
    pub worker: WorkerName,
    /// Its process.
    pub instance: InstanceId,
}
