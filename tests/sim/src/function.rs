//! What attempts do, and what they have seen.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rr_draw::{Dice, PARAM};
use rr_schemas::{
    id::RunId,
    name::{InstanceId, Name, WorkerName},
    offer::Offer,
};
use rr_worker::{Context, Handlers};
use tokio::time::{Instant, sleep, timeout};

use crate::case::Manners;

/// How a function's life ended, by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Close {
    /// It succeeded.
    Ok,
    /// It failed.
    Failed,
    /// It ended because it was told to.
    Told,
    /// It was dropped where it was: its worker died, or lost patience.
    Dropped,
}

/// A function that was started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
    pub(crate) offer: u32,
    pub(crate) claimed: bool,
    pub(crate) lock: Option<Name>,
    pub(crate) lock_token: Option<u64>,
    pub(crate) fence: u64,
    /// What whoever speaks of it must bear.
    pub(crate) token: String,
    /// The parameter of its run, and what a template has made of it.
    pub(crate) version: Option<String>,
    pub(crate) filled: Option<String>,
    pub(crate) worker: WorkerName,
    pub(crate) began: Instant,
    pub(crate) ended: Option<(Instant, Close)>,
}

/// The ids of the lives of workers, by the workers' names, in the order in which they began.
pub(crate) type Lives = BTreeMap<String, Vec<InstanceId>>;

/// Every function that was started, in the order in which they were, and by which lives of workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    starts: Arc<Mutex<Vec<Start>>>,
    lives: Arc<Mutex<Lives>>,
}

impl Seen {
    fn starts(&self) -> MutexGuard<'_, Vec<Start>> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker has begun a life.
    pub(crate) fn lives(&self, worker: &str, instance: &InstanceId) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.entry(worker.to_owned()).or_default().push(instance.clone());
    }

    /// Every life so far.
    pub(crate) fn all_lives(&self) -> Lives {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn all(&self) -> Vec<Start> {
        self.starts().clone()
    }

    /// Whether something runs on a worker.
    pub(crate) fn is_busy(&self, worker: &str) -> bool {
        self.starts().iter().any(|start| start.ended.is_none() && start.worker.as_str() == worker)
    }

    fn begin(&self, context: &Context, worker: &WorkerName) -> Watch {
        let Offer { run, task, attempt, offer, claimed, lock, token, params, env, .. } = context.offer();
        let version = params.iter().find(|(name, _)| name.as_str() == PARAM.0).map(|(_, value)| value.clone());
        let start = Start {
            run: run.clone(),
            task: *task,
            attempt: *attempt,
            offer: *offer,
            claimed: *claimed,
            lock: lock.clone(),
            lock_token: context.lock_token(),
            fence: context.fence(),
            token: token.clone(),
            version,
            filled: env.values().next().cloned(),
            worker: worker.clone(),
            began: Instant::now(),
            ended: None,
        };
        let mut starts = self.starts();
        starts.push(start);
        Watch { index: starts.len() - 1, seen: self.clone(), close: Close::Dropped }
    }
}

/// Notes the end of a function, however it ends.
struct Watch {
    index: usize,
    seen: Seen,
    close: Close,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(start) = self.seen.starts().get_mut(self.index) {
            start.ended = Some((Instant::now(), self.close));
        }
    }
}

/// The functions of a worker.
pub(crate) fn handlers(seed: u64, manners: Manners, worker: &WorkerName, watched: &Seen) -> Handlers {
    let (worker, watched) = (worker.clone(), watched.clone());
    let Ok(name) = "work".parse() else { return Handlers::new() };
    Handlers::new().register(name, move |context| {
        let dice = dice_of(seed, context.offer(), &worker);
        work(context, dice, manners, worker.clone(), watched.clone())
    })
}

/// What an attempt does depends on nothing but what it is.
fn dice_of(seed: u64, offer: &Offer, worker: &WorkerName) -> Dice {
    let mut dice = Dice(seed);
    for byte in offer.run.as_str().bytes().chain(worker.as_str().bytes()) {
        dice.0 = dice.0.wrapping_mul(0x0100_0000_01B3) ^ u64::from(byte);
    }
    dice.0 ^= (u64::from(offer.task) << 32) | (u64::from(offer.attempt) << 8) | u64::from(offer.offer);
    dice.fork()
}

async fn work(
    mut context: Context,
    mut dice: Dice,
    manners: Manners,
    worker: WorkerName,
    watched: Seen,
) -> Result<(), String> {
    let mut watch = watched.begin(&context, &worker);
    let takes = match dice.chance(manners.slow) {
        true if dice.chance(20) => dice.between(1_500, 5_000),
        true => dice.between(200, 1_500),
        false => dice.roll(60),
    };
    let (fails, writes, is_deaf) = (dice.chance(manners.fail), dice.chance(manners.write), dice.chance(manners.deaf));
    if writes {
        context.write_stdout("some words\n").await;
    }
    let rest = Duration::from_millis(takes);
    if timeout(rest, context.cancelled()).await.is_ok() {
        if is_deaf {
            sleep(rest).await;
        }
        watch.close = Close::Told;
        return Err("told to end".to_owned());
    }
    watch.close = if fails { Close::Failed } else { Close::Ok };
    if fails { Err("as drawn".to_owned()) } else { Ok(()) }
}
