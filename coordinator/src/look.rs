//! Looking at the world when deadlines of attempts have come. What is seen becomes an input; the core concludes.
//!
//! Seeing goes before saying: what rests on somebody's absence is put off, never guessed, as long as presence cannot be
//! trusted because the coordinator has just started or its connection has just come back.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_core::Look;
use rr_nats::{ClaimError, Earlier, StoredClaim};
use rr_schemas::{
    input::{Found, Holder, Input, Seen, SeenAttempts},
    offer::Target,
    presence::{Asked, Control},
    ranges::Ranges,
    report::Claim,
};

use crate::{entity::Entity, served::served, shell::Shell, token::token, trouble::TurnError};

/// Tasks in one note at most: what follows from it must fit into one decision.
const NOTE_TASKS_MAX: u64 = 400;
/// Claims under way at once.
const CLAIMS_MAX: usize = 64;

/// Offers that exist: task and attempt.
type Waiting = BTreeSet<(u32, u32)>;

/// What came of looking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Looked {
    /// There was nothing to look at, or nothing to say of it.
    Nothing,
    /// What was seen is on its way as an input.
    Noted,
    /// Presence cannot be trusted now.
    PutOff,
}

/// Looks at every attempt whose deadline had come at `now` and notes what is seen.
pub(crate) async fn look(shell: &Shell, entity: &Entity, now: Timestamp) -> Result<Looked, TurnError> {
    let looks = entity.run.looks(now);
    if looks.is_empty() {
        return Ok(Looked::Nothing);
    }
    let waiting = if looks.iter().any(|look| look.holder.is_none()) {
        shell.mesh.offers(&entity.run_id).await?
    } else {
        Waiting::new()
    };
    let mut notes = Notes::default();
    let (mut doubted, mut asked) = (false, Vec::new());
    for look in looks {
        for seen in see(shell, entity, &look, &waiting).await? {
            if seen.found == Found::WorkerPresent
                && let Some(holder) = &look.holder
            {
                asked.push((holder.clone(), seen.clone()));
            }
            if rests_on_absence(entity, seen.found) && !shell.presence.is_steady() {
                doubted = true;
            } else {
                notes.add(seen);
            }
        }
    }
    ask_after(shell, entity, &asked).await;
    // Deadlines have come of which nothing can be said yet: a claim is on its way, or presence cannot be trusted.
    let mut looked = Looked::PutOff;
    for seen in notes.finish() {
        tracing::debug!(run.id = %entity.run_id, ?seen, "looked");
        shell.mesh.note(&entity.id, &shell.instance, &Input::Seen(seen)).await?;
        looked = Looked::Noted;
    }
    Ok(if doubted { Looked::PutOff } else { looked })
}

/// Asks workers after what they are said to run: one that has reported its end to a log that has lost it would never do so
/// again. A hint, repeated with every look.
async fn ask_after(shell: &Shell, entity: &Entity, asked: &[(Holder, SeenAttempts)]) {
    let all = asked.iter().flat_map(|(holder, seen)| seen.tasks.iter().map(move |task| (holder, seen, task)));
    for (holder, SeenAttempts { attempt, offer, .. }, task) in all {
        let (attempt, offer, run) = (*attempt, *offer, entity.run_id.clone());
        let token = token(&entity.secret, &run, task, attempt);
        let tell = Control::Tell(Asked { run, task, attempt, offer, instance: holder.instance.clone(), token });
        if let Err(error) = shell.mesh.control(&holder.worker, &tell).await {
            tracing::debug!(run.id = %entity.id, worker.id = %holder.worker, %error, "the worker was not asked");
            return;
        }
    }
}

/// Attempts that lost their offers: task, attempt, offer.
pub(crate) type Looks = BTreeSet<(u32, u32, u32)>;

/// Notes that these attempts have no offer any more, before anybody would look after them. Says whether there was
/// something to note.
pub(crate) async fn look_for_lost_offers(shell: &Shell, entity: &Entity, lost: &Looks) -> Result<bool, TurnError> {
    let mut notes = Notes::default();
    for look in entity.run.looks(Timestamp::MAX) {
        let Look { attempt, offer, .. } = look;
        let tasks: Ranges = look.tasks.iter().filter(|task| lost.contains(&(*task, attempt, offer))).collect();
        if tasks.is_empty() || look.holder.is_some() {
            continue;
        }
        for seen in see(shell, entity, &Look { tasks, ..look }, &Waiting::new()).await? {
            notes.add(seen);
        }
    }
    let mut has_noted = false;
    for seen in notes.finish() {
        tracing::debug!(run.id = %entity.run_id, ?seen, "offers are gone");
        shell.mesh.note(&entity.id, &shell.instance, &Input::Seen(seen)).await?;
        has_noted = true;
    }
    Ok(has_noted)
}

/// Whether a finding says that somebody is away: after a break of the connection everybody must show up again first.
fn rests_on_absence(entity: &Entity, found: Found) -> bool {
    match found {
        Found::WorkerGone => true,
        // Nobody shall start it any more, whoever is there.
        Found::OfferUnserved => !entity.run.is_stopping(),
        Found::WorkerPresent | Found::OfferWaits | Found::OfferGone | Found::ClaimVoid => false,
    }
}

async fn see(shell: &Shell, entity: &Entity, look: &Look, waiting: &Waiting) -> Result<Vec<SeenAttempts>, TurnError> {
    let mut found: BTreeMap<u8, (Found, Ranges)> = BTreeMap::new();
    let mut add = |task: u32, what: Found| {
        found.entry(what as u8).or_insert_with(|| (what, Ranges::new())).1.insert(task);
    };
    if let Some(holder) = &look.holder {
        let present = shell.presence.instance_present(&holder.worker, &holder.instance);
        let what = if present { Found::WorkerPresent } else { Found::WorkerGone };
        look.tasks.iter().for_each(|task| add(task, what));
    } else {
        let is_waiting = |task: &u32| waiting.contains(&(*task, look.attempt));
        let targets = look.tasks.iter().filter(is_waiting).filter_map(|task| target(entity, look, task));
        let served = served(shell, targets.collect::<Vec<_>>()).await?;
        for task in look.tasks.iter() {
            let is_served = || target(entity, look, task).is_some_and(|target| served.contains(&target));
            add(task, find(is_waiting(&task), is_served));
        }
    }
    let mut seen = Vec::new();
    for (what, tasks) in found.into_values() {
        let withdrawn =
            ends_unstarted(entity, look, what) && (shell.presence.is_steady() || !rests_on_absence(entity, what));
        let Look { attempt, offer, .. } = *look;
        if !withdrawn {
            seen.push(SeenAttempts { tasks, attempt, offer, found: what, withdrawn });
            continue;
        }
        let Won { nobodys, void } = win(shell, entity, look, &tasks).await?;
        seen.push(SeenAttempts { tasks: nobodys, attempt, offer, found: what, withdrawn });
        seen.push(SeenAttempts { tasks: void, attempt, offer, found: Found::ClaimVoid, withdrawn: false });
    }
    seen.retain(|seen| !seen.tasks.is_empty());
    Ok(seen)
}

fn find(waits: bool, is_served: impl FnOnce() -> bool) -> Found {
    if !waits {
        Found::OfferGone
    } else if is_served() {
        Found::OfferWaits
    } else {
        Found::OfferUnserved
    }
}

fn target(entity: &Entity, look: &Look, task: u32) -> Option<Target> {
    look.queue.clone().or_else(|| entity.run.plan()?.target(task))
}

/// Whether the core will take this for the end of a claimed attempt that nobody has started: then nobody may start it
/// any more.
fn ends_unstarted(entity: &Entity, look: &Look, found: Found) -> bool {
    look.claimed
        && look.holder.is_none()
        && match found {
            Found::OfferUnserved => (look.queue.is_none() && !look.patient) || entity.run.is_stopping(),
            Found::OfferGone => entity.run.is_stopping() || look.is_last_offer,
            Found::OfferWaits => entity.run.is_stopping(),
            Found::WorkerPresent | Found::WorkerGone | Found::ClaimVoid => false,
        }
}

/// Attempts that no worker can start any more.
#[derive(Debug, Default)]
struct Won {
    /// Claimed for nobody.
    nobodys: Ranges,
    /// Claimed by somebody whose claim does not count.
    void: Ranges,
}

/// Claims the attempts for nobody. Those that a worker has claimed are running; its claim is on its way to us. What could
/// not be claimed is left to the next look, so that what is claimed gets its note.
async fn win(shell: &Shell, entity: &Entity, look: &Look, tasks: &Ranges) -> Result<Won, TurnError> {
    let claims = stream::iter(tasks.iter()).map(|task| async move {
        let claimed = win_one(shell, entity, task, look.attempt).await;
        (task, claimed)
    });
    let claimed: Vec<_> = claims.buffer_unordered(CLAIMS_MAX).collect().await;
    let (mut nobodys, mut void, mut failed) = (Vec::new(), Vec::new(), None);
    for (task, claimed) in claimed {
        match claimed {
            Ok(Claimed::ForNobody) => nobodys.push(task),
            Ok(Claimed::Void) => void.push(task),
            Ok(Claimed::ByWorker) => {}
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if nobodys.is_empty() && void.is_empty() => Err(error),
        Some(_) | None => Ok(Won { nobodys: nobodys.into_iter().collect(), void: void.into_iter().collect() }),
    }
}

/// Who has the claim of an attempt that nobody is known to have started.
enum Claimed {
    ForNobody,
    /// A worker, and that is news: its claim is not answered yet.
    ByWorker,
    /// Somebody whose claim was answered and did not count.
    Void,
}

async fn win_one(shell: &Shell, entity: &Entity, task: u32, attempt: u32) -> Result<Claimed, TurnError> {
    let (worker, instance) = (shell.nobody.clone(), shell.instance.clone());
    let claim = Claim { task, attempt, worker, instance, token: String::new() };
    match shell.mesh.claim(&entity.run_id, &claim, Earlier::None).await {
        Ok(_) => Ok(Claimed::ForNobody),
        Err(ClaimError::Lost) => {
            let stored = shell.mesh.claim_of(&entity.run_id, task, attempt).await?;
            Ok(match stored {
                // Another coordinator may have claimed it for nobody before us.
                Some(StoredClaim { holder: Some(holder), .. }) if holder.worker == shell.nobody => Claimed::ForNobody,
                Some(stored) if stored.seq <= entity.cursor => Claimed::Void,
                Some(_) | None => Claimed::ByWorker,
            })
        }
        Err(ClaimError::Publish(error)) => Err(error.into()),
    }
}

/// Findings, packed into notes.
#[derive(Debug, Default)]
struct Notes {
    full: Vec<Seen>,
    last: Seen,
    tasks: u64,
}

impl Notes {
    fn add(&mut self, seen: SeenAttempts) {
        let tasks = seen.tasks.len();
        if self.tasks > 0 && self.tasks + tasks > NOTE_TASKS_MAX {
            self.full.push(std::mem::take(&mut self.last));
            self.tasks = 0;
        }
        self.tasks += tasks;
        self.last.attempts.push(seen);
    }

    fn finish(mut self) -> Vec<Seen> {
        if self.tasks > 0 {
            self.full.push(self.last);
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_gone_or_waits_for_somebody_or_for_nobody() {
        for (waits, served, expected) in [
            (false, false, Found::OfferGone),
            (false, true, Found::OfferGone),
            (true, true, Found::OfferWaits),
            (true, false, Found::OfferUnserved),
        ] {
            assert_eq!(find(waits, || served), expected, "waits {waits}, served {served}");
        }
    }

    #[test]
    fn notes_hold_every_finding_once_and_never_too_many_tasks() {
        for sizes in [vec![], vec![1], vec![400, 1], vec![399, 1, 1], vec![100; 9], vec![1; 1_000]] {
            let mut notes = Notes::default();
            for size in &sizes {
                let tasks = Ranges::from(0..=size - 1);
                notes.add(SeenAttempts { tasks, attempt: 1, offer: 1, found: Found::OfferWaits, withdrawn: false });
            }
            let notes = notes.finish();
            let tasks = |seen: &Seen| seen.attempts.iter().map(|seen| seen.tasks.len()).sum::<u64>();
            assert!(notes.iter().all(|seen| (1..=NOTE_TASKS_MAX).contains(&tasks(seen))), "{sizes:?}");
            assert_eq!(notes.iter().map(tasks).sum::<u64>(), sizes.iter().map(|size| u64::from(*size)).sum::<u64>());
        }
    }
}
