//! Locks: what stands in the bucket `rr-locks` while somebody holds one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::RunId,
    name::{InstanceId, Name, WorkerName},
};

/// A lock that is held, as its holder writes it. It runs out unless it is renewed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeldLock {
    /// The lock, as its holder spells it; names that differ by case alone are one lock.
    pub lock: Name,
    /// Who holds it.
    pub holder: LockHolder,
    /// Id of this taking: what tells one's own entry from anybody else's.
    pub taking: InstanceId,
    /// Since when, by the holder's clock; for people, never for decisions.
    pub since: Timestamp,
    /// The fencing token: the sequence under which the lock was taken. It grows with every taking, and is the same over
    /// all renewals. None in the entry that takes the lock, whose own sequence it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// Who holds a lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockHolder {
    /// An attempt of a job with `lock`.
    Attempt {
        /// The worker.
        worker: WorkerName,
        /// Its process.
        instance: InstanceId,
        /// The run.
        run: RunId,
        /// The job.
        job: Name,
        /// The task's index in the plan.
        task: u32,
        /// Which try of the task, from 1.
        attempt: u32,
    },
    /// A command of `rr lock`.
    Command {
        /// Whose it is: `user@machine`.
        by: String,
        /// Id of the process of `rr` there.
        pid: u32,
        /// The program that runs under the lock.
        program: String,
    },
}
