//! The worker's SDK: functions of the program that attempts name in place of a command.
//!
//! A handler that returns an error or panics is a failed attempt with a reason. On cancel and timeout it is told through
//! [`Context::cancelled`]; when it has not ended after the grace, it is dropped where it waits.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rr_schemas::{
    name::Name,
    offer::{Command, Offer},
    report::{Ended, Outcome},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Assignment, Executor, cut_to_fit, ended, ended_because, panic_text};
use crate::output::Writer;
use crate::process::Stream;

type Handler = Arc<dyn Fn(Context) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The functions that a worker offers to flows, by name.
///
/// ```
/// use rr_worker::Handlers;
///
/// let handlers = Handlers::new().register("greet".parse()?, |mut context| async move {
///     context.write_stdout("hello\n").await;
///     Ok::<_, String>(())
/// });
/// # Ok::<_, rr_schemas::name::NameError>(())
/// ```
#[derive(Clone, Default)]
pub struct Handlers {
    by_name: BTreeMap<Name, Handler>,
}

impl Handlers {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function; one of the same name is replaced.
    #[must_use]
    pub fn register<F, R, E>(mut self, name: Name, handler: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let boxed = move |context| handler(context).map(|result| result.map_err(|error| error.to_string())).boxed();
        self.by_name.insert(name, Arc::new(boxed));
        self
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// What a handler knows of its attempt.
#[derive(Debug)]
pub struct Context {
    offer: Arc<Offer>,
    fence: u64,
    lock_token: Option<u64>,
    cancel: CancellationToken,
    output: Writer,
}

impl Context {
    /// The offer: run, job, task, target, parameters.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// A number that grows from attempt to attempt of a task. Hand it to whatever must refuse a stale attempt.
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// The fencing token of the lock that the attempt holds, where its job has one. It grows with every holder of the lock: hand it to
    /// whatever must refuse a holder that is too late.
    pub const fn lock_token(&self) -> Option<u64> {
        self.lock_token
    }

    /// The same for all attempts of a task, and no other task's: `<run>/<job>/<host or queue>/<task>`.
    pub fn idempotency_key(&self) -> String {
        super::process::idempotency_key(&self.offer)
    }

    /// Waits until the attempt is to end early. Safe to drop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Whether the attempt is to end early.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Writes to the attempt's standard output.
    pub async fn write_stdout(&mut self, bytes: impl Into<Bytes>) {
        self.output.write(Stream::Stdout, bytes.into()).await;
    }

    /// Writes to the attempt's standard error.
    pub async fn write_stderr(&mut self, bytes: impl Into<Bytes>) {
        self.output.write(Stream::Stderr, bytes.into()).await;
    }
}

impl Executor for Handlers {
    fn execute(&self, task: Assignment) -> BoxFuture<'static, Ended> {
        let handler = match &task.offer.command {
            Command::Handler(name) => self.by_name.get(name).cloned(),
            Command::Argv(_) | Command::Shell { .. } => None,
        };
        if let Some(handler) = handler {
            return run(handler, task).boxed();
        }
        let reason = match &task.offer.command {
            Command::Handler(name) => format!("this worker has no handler \"{name}\""),
            Command::Argv(_) | Command::Shell { .. } => "a program is no handler".to_owned(),
        };
        std::future::ready(ended_because(Outcome::Refused, &reason, task.clock.now())).boxed()
    }
}

async fn run(handler: Handler, task: Assignment) -> Ended {
    let Assignment { offer, fence, marker: _, grace, lock_token, cancel, hurry, clock, output } = task;
    let started_at = clock.now();
    if cancel.is_cancelled() {
        return ended_because(Outcome::Cancelled, "it was to end before it began", started_at);
    }
    let limit = offer.timeout.map(Duration::from);
    let asked = CancellationToken::new();
    let (writer, account) = output.into_writer();
    let context = Context { offer, fence, lock_token, cancel: asked.clone(), output: writer };
    // Also the call itself may panic, before there is a future.
    let mut work = AssertUnwindSafe(async move { handler(context).await }).catch_unwind().boxed();
    let overdue = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    // Whoever is asked to end before the end did not end by itself, whatever it says then.
    let early = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Outcome::Cancelled),
        () = overdue => Err(Outcome::Timeout),
        result = &mut work => Ok(result),
    };
    let (outcome, reason) = match early {
        Ok(Ok(Ok(()))) => (Outcome::Ok, None),
        Ok(Ok(Err(error))) => (Outcome::Failed, Some(cut_to_fit(&error))),
        Ok(Err(panic)) => (Outcome::Failed, Some(cut_to_fit(&format!("handler panicked: {}", panic_text(&*panic))))),
        Err(outcome) => {
            asked.cancel();
            let ended = timeout(grace, hurry.run_until_cancelled(&mut work)).await;
            let is_deaf = !matches!(ended, Ok(Some(_)));
            (outcome, is_deaf.then(|| "did not end when asked to".to_owned()))
        }
    };
    drop(work);
    let output = account.settle().await;
    Ended { reason, output, ..ended(outcome, Some(started_at), clock.now()) }
}
