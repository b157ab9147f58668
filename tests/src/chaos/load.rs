//! The load: runs that are asked for at a steady pace, whatever happens, and what is done to them.
//!
//! It speaks to the mesh as any program does. What is not confirmed is asked for again under the same id, so a run is
//! there once however often its request was repeated.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{First, Mesh, PublishError, Start};
use rr_schemas::decision::Event;
use rr_schemas::id::{EntityId, RunId};
use rr_schemas::input::{Cancel, Input, Signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::flows::{KINDS, Kind, Then};
use crate::dice::Dice;

/// Pause between two runs that are asked for.
const EVERY: Duration = Duration::from_millis(250);
/// Runs under way at once; more would only wait for slots of workers.
const UNDER_WAY_MAX: usize = 12;
/// Pause before a request is repeated.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a request is repeated; longer than any fault.
const REPEATED: Duration = Duration::from_mins(5);

/// A run that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub run: RunId,
    /// Of which kind.
    pub kind: &'static Kind,
    /// When somebody first wanted it, which may be before the mesh could hear it.
    pub wanted: Timestamp,
}

/// What becomes of the requests.
#[derive(Clone, Debug, Default)]
struct Book {
    asked: Arc<Mutex<Vec<Asked>>>,
    trouble: Arc<Mutex<Vec<String>>>,
    confirmed: Arc<AtomicUsize>,
}

impl Book {
    fn ask(&self, asked: Asked) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }

    fn complain(&self, text: String) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// Runs that are asked for until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    book: Book,
    tasks: JoinSet<()>,
}

impl Load {
    /// Begins; the attempts of its runs note their starts in `dir`.
    pub fn start(mesh: Mesh, dir: PathBuf, dice: Dice) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (book, mut tasks) = (Book::default(), JoinSet::new());
        tasks.spawn(go_on(mesh, dir, dice, book.clone(), stopped));
        Self { stop, book, tasks }
    }

    /// How many runs were asked for.
    pub fn asked(&self) -> usize {
        self.book.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many requests were confirmed.
    pub fn confirmed(&self) -> usize {
        self.book.confirmed.load(Ordering::Relaxed)
    }

    /// The runs that were asked for.
    pub fn runs(&self) -> Vec<RunId> {
        let asked = self.book.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|one| one.run.clone()).collect()
    }

    /// Asks for no more, waits until every request is confirmed, and tells the runs, and what was refused.
    pub async fn stop(mut self) -> (Vec<Asked>, Vec<String>) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                self.book.complain(format!("the load: {error}"));
            }
        }
        let asked = std::mem::take(&mut *self.book.asked.lock().unwrap_or_else(PoisonError::into_inner));
        let trouble = std::mem::take(&mut *self.book.trouble.lock().unwrap_or_else(PoisonError::into_inner));
        (asked, trouble)
    }
}

async fn go_on(mesh: Mesh, dir: PathBuf, mut dice: Dice, book: Book, mut stopped: watch::Receiver<bool>) {
    // The server may be away from the first moment on.
    let mut tail = loop {
        match mesh.tail(None, Start::New).await {
            Ok(tail) => break tail,
            Err(_) => sleep(AGAIN).await,
        }
    };
    let (mut requests, mut under_way) = (JoinSet::new(), BTreeSet::new());
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut n = dice.number(0..KINDS.len());
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            _ = tick.tick(), if under_way.len() < UNDER_WAY_MAX => {
                // In turn, so that a short time has all of them.
                let Some(kind) = KINDS.get(n % KINDS.len()) else { continue };
                let run: RunId = format!("r{n}-{}", kind.name).parse().expect("an id");
                n += 1;
                under_way.insert(EntityId::from(&run));
                let asked = Asked { run, kind, wanted: Timestamp::now() };
                book.ask(asked.clone());
                requests.spawn(ask(mesh.clone(), asked, kind.submit(&dir), dice.pause(100..700), book.clone()));
            }
            item = tail.next() => match item {
                Ok(item) => {
                    let is_over = |event: &Event| matches!(event, Event::RunEnded { .. } | Event::Rejected { .. });
                    if item.decision.is_ok_and(|decision| decision.events.iter().any(|record| is_over(&record.event))) {
                        under_way.remove(&item.entity);
                    }
                }
                Err(_) => sleep(AGAIN).await,
            },
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
        }
    }
    while requests.join_next().await.is_some() {}
    tail.close().await;
}

/// Asks for a run and does to it what is to be done.
async fn ask(mesh: Mesh, asked: Asked, submit: Input, pause: Duration, book: Book) {
    let entity = EntityId::from(&asked.run);
    if let Err(error) = confirmed(&mesh, &entity, &submit).await {
        return book.complain(format!("run {} is refused: {error}", asked.run));
    }
    book.confirmed.fetch_add(1, Ordering::Relaxed);
    let by = "chaos".to_owned();
    let input = match asked.kind.then {
        Then::Nothing | Then::CancelIfHeld => return,
        Then::Cancel => Input::Cancel(Cancel { by, reason: None }),
        Then::Signal => Input::Signal(Signal { signal: "go".parse().expect("a name"), by, reason: None }),
    };
    sleep(pause).await;
    if let Err(error) = confirmed(&mesh, &entity, &input).await {
        book.complain(format!("a request to {} is refused: {error}", asked.run));
    }
}

/// Repeats a request until it is confirmed or refused for good. What is asked for first must be the first thing ever.
async fn confirmed(mesh: &Mesh, entity: &EntityId, input: &Input) -> Result<(), PublishError> {
    let until = Instant::now() + REPEATED;
    let mut is_unsure = false;
    loop {
        let stored = if matches!(input, Input::Submit(_)) {
            let run: RunId = entity.as_str().parse().expect("the id of a run");
            mesh.submit(&run, "chaos", input, First::New).await
        } else {
            mesh.request(entity, "chaos", input).await
        };
        match stored {
            Ok(_) => return Ok(()),
            // What was not confirmed was stored.
            Err(PublishError::Conflict) if is_unsure => return Ok(()),
            Err(error) if error.is_retryable() && Instant::now() < until => {
                is_unsure |= matches!(error, PublishError::Unknown(_));
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}
