//! Decisions: what the coordinator concluded from inputs. They are the only truth.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    codec::Body,
    flow::{Flow, check::Problem, params::ParamValues, select::FoundTargets},
    input::Holder,
    name::{InstanceId, Name},
    ranges::Ranges,
    report::{Ended, Outcome},
    retry::Carried,
};

/// Inputs that one decision answers at most; what follows goes into the next (design §2).
pub const INPUTS_MAX: usize = 512;
/// Events in one decision at most.
pub const EVENTS_MAX: usize = 1_000;
/// Bytes of one decision at most, the first one of a run excepted: it carries the flow.
pub const BYTES_MAX: usize = 256 * 1024;

/// One message on `rr.ev.<p>.<entity>`: some inputs, answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Decision {
    /// Its number in the entity's history, from 1, without gaps.
    pub n: u64,
    /// The coordinator that took it.
    pub by: InstanceId,
    /// The cursor: every input of the entity up to this stream sequence is answered.
    pub upto: u64,
    /// Hash of the bytes of the decision before, empty in the first; a hole or a second history shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prev: String,
    /// What the tokens of the run's offers are made with, in the first decision alone; a history that has none is of
    /// before there were tokens, and none are asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// What follows, in order.
    pub events: Vec<Record>,
}

impl Body for Decision {
    const KIND: &'static str = "rr.decision";
}

impl Decision {
    /// What the run was asked to be, where this decision is the one that submits it.
    pub fn submitted(&self) -> Option<Submitted<'_>> {
        self.events.iter().find_map(|record| record.event.submitted())
    }
}

/// What [`Event::Submitted`] pins for the life of a run.
#[derive(Clone, Copy, Debug)]
pub struct Submitted<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Parameters as given.
    pub params: &'a ParamValues,
    /// What the labels of its jobs stood for.
    pub found: &'a FoundTargets,
}

/// One event with its cause.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// Stream sequence of the input that it follows from.
    pub cause: u64,
    /// The stored timestamp of that input: the only clock that decisions know.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// Something that is so from now on, in the life of a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The run exists; its flow and its parameters are pinned.
    Submitted {
        /// The flow.
        flow: Box<Flow>,
        /// Parameters as given.
        #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
        params: ParamValues,
        /// Who asked.
        by: String,
        /// What the labels of its jobs stood for at that moment.
        #[serde(default, skip_serializing_if = "FoundTargets::is_empty")]
        found: FoundTargets,
        /// What was taken over from the run that this one retries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_of: Option<Box<Carried>>,
    },
    /// The flow is wrong; nothing will run. Ends the run.
    Rejected {
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// Tasks are handed out; with its first offer a job starts.
    Offered {
        /// Their job.
        job: Name,
        /// The tasks, by index in the plan.
        tasks: Ranges,
        /// Which try, from 1.
        attempt: u32,
        /// Which offer of that try, from 1.
        offer: u32,
    },
    /// A worker runs an attempt.
    Started {
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
        /// Who runs it.
        by: Holder,
    },
    /// Attempts live on: their deadline moves to this instant.
    Extended {
        /// The tasks.
        tasks: Ranges,
        /// The new deadline.
        until: Timestamp,
    },
    /// An attempt is over and counts.
    Ended {
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
        /// Who ran it, where anybody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Holder>,
        /// How it ended.
        end: Ended,
        /// When the next attempt is due, where one follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Timestamp>,
    },
    /// A worker gave an offer back that it has not started.
    Returned {
        /// The task.
        task: u32,
        /// Which try.
        attempt: u32,
        /// Which offer of that try.
        offer: u32,
        /// Who gave it back.
        by: Holder,
    },
    /// An attempt is lost and its task waits for its worker's report or for a person.
    Held {
        /// The task.
        task: u32,
        /// The lost attempt.
        attempt: u32,
    },
    /// A report came that changes nothing: its attempt was over, or belongs to somebody else.
    Late {
        /// The task.
        task: u32,
        /// The attempt it speaks of.
        attempt: u32,
        /// Who reports.
        by: Holder,
        /// How the attempt ended there; none where it says that it has just started, and so must be ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
    },
    /// Somebody asked to stop the run: nothing new starts, what runs is killed.
    CancelRequested {
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody gave a signal that gates of the run wait for, or will.
    Signalled {
        /// Its name.
        signal: Name,
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The run's time limit has passed: as if cancelled, but it ends `timed_out`.
    DeadlinePassed {},
    /// A job is over.
    JobEnded {
        /// The job.
        job: Name,
        /// How.
        status: JobStatus,
    },
    /// The run is over.
    RunEnded {
        /// How.
        status: RunStatus,
    },
    /// An input could not be answered again and again; it is left behind so that the run goes on.
    PutAside {
        /// Stream sequence of the input.
        input: u64,
        /// What went wrong with it.
        reason: String,
    },
}

impl Event {
    /// What the run was asked to be, where this event says so.
    pub fn submitted(&self) -> Option<Submitted<'_>> {
        if let Self::Submitted { flow, params, found, .. } = self {
            Some(Submitted { flow, params, found })
        } else {
            None
        }
    }

    /// Whether the run is over with it.
    pub const fn is_end(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::RunEnded { .. } => true,
            Self::Submitted { .. }
            | Self::Offered { .. }
            | Self::Started { .. }
            | Self::Extended { .. }
            | Self::Ended { .. }
            | Self::Held { .. }
            | Self::Returned { .. }
            | Self::Late { .. }
            | Self::Signalled { .. }
            | Self::CancelRequested { .. }
            | Self::DeadlinePassed {}
            | Self::JobEnded { .. }
            | Self::PutAside { .. } => false,
        }
    }
}

/// State of a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Asked for; no coordinator has seen it yet.
    #[default]
    Queued,
    /// Under way.
    Running,
    /// Every job succeeded.
    Succeeded,
    /// A job did not.
    Failed,
    /// Stopped because somebody asked.
    Cancelled,
    /// Stopped because its time limit had passed.
    TimedOut,
    /// Its flow was wrong; nothing ran.
    Rejected,
}

impl RunStatus {
    /// The word that people and programs see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Rejected => "rejected",
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Rejected => true,
        }
    }
}

/// State of a job.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Its needs are not met yet.
    #[default]
    Waiting,
    /// Under way.
    Running,
    /// Enough tasks succeeded.
    Succeeded,
    /// Too few did.
    Failed,
    /// A job that it needs did not succeed; it never started.
    Skipped,
    /// Stopped with the run.
    Cancelled,
}

impl JobStatus {
    /// The word that people and programs see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled => true,
        }
    }
}
