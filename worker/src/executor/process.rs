//! Attempts as processes: what an offer means as program, environment and directory.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rr_schemas::{
    offer::{Command, Offer, Target},
    report::{Ended, Outcome, Output},
};

use super::{Assignment, Executor, chain, cut_to_fit, ended, ended_because};
use crate::config::{Execution, OutputLimits};
use crate::process::{self, CaptureLimits, Cwd, Environment, Inherit, Launcher, Program, SpawnError, Spec};

/// Carries commands out as processes.
#[derive(Debug)]
pub(crate) struct Processes {
    launcher: Arc<Launcher>,
    execution: Execution,
    capture: CaptureLimits,
    /// The worker's own directory, where the user's session is.
    home: PathBuf,
}

impl Processes {
    /// With the directory `home` for the user's session.
    pub(crate) fn new(launcher: Launcher, execution: Execution, limits: OutputLimits, home: PathBuf) -> Self {
        let capture =
            CaptureLimits { bytes_max: limits.bytes_max, tail_bytes: limits.tail_bytes, ..CaptureLimits::default() };
        Self { launcher: Arc::new(launcher), execution, capture, home }
    }

    fn spec(&self, task: &Assignment) -> Result<Spec, String> {
        let offer = &*task.offer;
        let program = match &offer.command {
            Command::Argv(argv) => Program::Argv(argv.clone()),
            Command::Shell { shell, script } => Program::Shell { shell: shell.clone(), script: script.clone() },
            Command::Handler(name) => return Err(format!("handler \"{name}\" is no program")),
        };
        let inherit = match &self.execution {
            Execution::UserSession => Inherit::All,
            Execution::Clean { .. } if offer.inherit_env.is_empty() => Inherit::Clean,
            Execution::Clean { .. } => Inherit::Some(offer.inherit_env.iter().map(ToString::to_string).collect()),
        };
        Ok(Spec {
            program,
            env: Environment { inherit, set: environment(task) },
            cwd: self.cwd(offer.cwd.as_deref())?,
            timeout: offer.timeout.map(Duration::from),
            grace: task.grace,
            hurry: task.hurry.clone(),
            marker: task.marker.clone(),
            capture: self.capture,
        })
    }

    fn cwd(&self, given: Option<&str>) -> Result<Cwd, String> {
        match (given, &self.execution) {
            (None, Execution::UserSession) => Ok(Cwd::Given(self.home.clone())),
            (None, Execution::Clean { workdir }) => Ok(Cwd::Fresh(workdir.clone())),
            (Some(given), _) if Path::new(given).components().any(|part| part == Component::ParentDir) => {
                Err(format!("cwd may not hold \"..\"; got {given:?}"))
            }
            // Relative to where the user is, as in a shell. A fresh directory has nothing in it to be relative to.
            (Some(given), Execution::UserSession) => Ok(Cwd::Given(self.home.join(given))),
            (Some(given), Execution::Clean { .. }) if Path::new(given).is_absolute() => Ok(Cwd::Given(given.into())),
            (Some(given), Execution::Clean { .. }) => {
                Err(format!("cwd must be an absolute path where commands run in a fresh directory; got {given:?}"))
            }
        }
    }
}

impl Executor for Processes {
    fn execute(&self, task: Assignment) -> BoxFuture<'static, Ended> {
        match self.spec(&task) {
            Ok(spec) => run(Arc::clone(&self.launcher), spec, task).boxed(),
            Err(reason) => std::future::ready(ended_because(Outcome::Refused, &reason, task.clock.now())).boxed(),
        }
    }
}

async fn run(launcher: Arc<Launcher>, spec: Spec, mut task: Assignment) -> Ended {
    let started_at = task.clock.now();
    let end = launcher.run(&spec, &task.cancel, &mut task.output).await;
    let ended_at = task.clock.now();
    let shipped = task.output.settle().await;
    let has_started = !matches!(end.outcome, process::Outcome::NotStarted(_));
    let (outcome, reason) = outcome(&end);
    Ended {
        exit_code: end.exit_code,
        signal: end.signal,
        reason: reason.map(|reason| cut_to_fit(&reason)),
        output: Output {
            stdout_bytes: end.output.stdout_bytes,
            stderr_bytes: end.output.stderr_bytes,
            dropped_bytes: end.output.dropped_bytes + shipped.dropped_bytes,
            chunks: shipped.chunks,
        },
        ..ended(outcome, has_started.then_some(started_at), ended_at)
    }
}

fn outcome(end: &process::Ended) -> (Outcome, Option<String>) {
    let leftover = || (end.left_behind > 0).then(|| format!("{} processes survive", end.left_behind));
    match &end.outcome {
        process::Outcome::Exited if end.exit_code == Some(0) => (Outcome::Ok, None),
        process::Outcome::Exited => (Outcome::Failed, None),
        process::Outcome::TimedOut => (Outcome::Timeout, leftover()),
        process::Outcome::Cancelled => (Outcome::Cancelled, leftover()),
        process::Outcome::NotStarted(error @ (SpawnError::BadCwd(..) | SpawnError::Invalid(_))) => {
            (Outcome::Refused, Some(chain(error)))
        }
        process::Outcome::NotStarted(
            error @ (SpawnError::NotFound(_)
            | SpawnError::NotExecutable { .. }
            | SpawnError::TooBig(_)
            | SpawnError::Exhausted(..)
            | SpawnError::System(..)),
        ) => (Outcome::Failed, Some(chain(error))),
        process::Outcome::Unknown(error) => (Outcome::Failed, Some(format!("its end cannot be learned: {error}"))),
    }
}

/// The variables of an attempt: what the flow sets, and ours.
pub(super) fn environment(task: &Assignment) -> BTreeMap<String, String> {
    let offer = &*task.offer;
    let mut env: BTreeMap<String, String> =
        offer.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    for (name, value) in &offer.params {
        env.insert(format!("RR_PARAM_{}", name.as_str().to_ascii_uppercase().replace('-', "_")), value.clone());
    }
    env.extend([
        ("RR_RUN".to_owned(), offer.run.to_string()),
        ("RR_FLOW".to_owned(), offer.flow.to_string()),
        ("RR_JOB".to_owned(), offer.job.to_string()),
        ("RR_TASK".to_owned(), offer.task.to_string()),
        ("RR_ATTEMPT".to_owned(), offer.attempt.to_string()),
        ("RR_IDEMPOTENCY_KEY".to_owned(), idempotency_key(offer)),
        ("RR_FENCE".to_owned(), task.fence.to_string()),
    ]);
    if let (Some(lock), Some(token)) = (&offer.lock, task.lock_token) {
        env.extend(process::lock_variables(lock, token));
    }
    match &offer.target {
        Target::Host(host) => drop(env.insert("RR_HOST".to_owned(), host.to_string())),
        Target::Worker(worker) => drop(env.insert("RR_WORKER".to_owned(), worker.to_string())),
        Target::Queue(_) => {}
    }
    env
}

/// The same for all attempts of a task, and no other task's: `<run>/<job>/<host, queue or worker>/<task>`.
pub(super) fn idempotency_key(offer: &Offer) -> String {
    let Offer { run, job, task, .. } = offer;
    match &offer.target {
        Target::Host(host) => format!("{run}/{job}/{host}/{task}"),
        Target::Queue(queue) => format!("{run}/{job}/{queue}/{task}"),
        Target::Worker(worker) => format!("{run}/{job}/{worker}/{task}"),
    }
}
