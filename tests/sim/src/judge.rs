//! What is wrong at the end: of the histories, and of what functions have seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use rr_model::Noted;
use rr_nats::subject;
use rr_schemas::{
    decision::{Decision, Event},
    id::RunId,
    input::Input,
    report::Outcome,
};

use crate::{
    function::{Close, Start},
    stored::Kept,
};

/// Something that must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// The run, where it is about one.
    pub run: Option<RunId>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.run {
            Some(run) => write!(f, "run {run}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// A number that tells two histories apart (FNV-1a).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(crate) const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// What functions have seen, against each other and against what was decided.
///
/// `counts_hold` says that the server has not forgotten how often it has delivered what, as it does with a consumer that is
/// made anew.
pub(crate) fn judge_starts(starts: &[Start], kept: &[Kept<'_>], counts_hold: bool) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut complain = |run: &RunId, text: String| complaints.push(Complaint { run: Some(run.clone()), text });
    once(starts, counts_hold, &mut complain);
    one_under_each_lock(starts, &mut complain);
    fences_grow(starts, &mut complain);
    for kept in kept {
        offered_before(starts, kept, &mut complain);
        decided_as_seen(starts, kept, &mut complain);
    }
    complaints
}

/// A claimed attempt starts once; of any other each offer once, and the attempt once on each worker.
fn once(starts: &[Start], counts_hold: bool, complain: &mut impl FnMut(&RunId, String)) {
    let (mut seen, mut offers) = (BTreeSet::new(), BTreeSet::new());
    for start in starts {
        let Start { run, task, attempt, offer, worker, .. } = start;
        let place = (!start.claimed).then_some(worker);
        if !seen.insert((run, task, attempt, place)) {
            let what = if start.claimed { "claimed attempt" } else { "attempt" };
            complain(run, format!("{what} {attempt} of task {task} starts a second time on {worker}"));
        }
        if counts_hold && !offers.insert((run, task, attempt, offer)) {
            complain(run, format!("offer {offer} of attempt {attempt} of task {task} starts a second time"));
        }
    }
}

/// What runs under a lock runs alone, and has a larger token than what ran before.
fn one_under_each_lock(starts: &[Start], complain: &mut impl FnMut(&RunId, String)) {
    let mut last: BTreeMap<String, &Start> = BTreeMap::new();
    for start in starts {
        let Some(lock) = &start.lock else { continue };
        if let Some(before) = last.insert(lock.folded(), start) {
            let is_over = before.ended.is_some_and(|(at, _)| at <= start.began);
            if !is_over {
                complain(&start.run, format!("task {} runs under lock {lock} beside another", start.task));
            }
            if start.lock_token <= before.lock_token {
                complain(&start.run, format!("task {} has an old token of lock {lock}", start.task));
            }
        }
    }
}

/// What is claimed has a larger fence with each attempt of its task.
fn fences_grow(starts: &[Start], complain: &mut impl FnMut(&RunId, String)) {
    let mut by_task: BTreeMap<(&RunId, u32), Vec<(u32, u64)>> = BTreeMap::new();
    for Start { run, task, attempt, fence, .. } in starts.iter().filter(|start| start.claimed) {
        by_task.entry((run, *task)).or_default().push((*attempt, *fence));
    }
    for ((run, task), mut fences) in by_task {
        fences.sort_unstable();
        let falls = |((before, old), (after, new)): &(&(u32, u64), &(u32, u64))| before < after && old >= new;
        if let Some(((before, old), (after, new))) = fences.iter().zip(fences.iter().skip(1)).find(falls) {
            complain(run, format!("task {task}: fence {new} of attempt {after} is behind {old} of attempt {before}"));
        }
    }
}

/// Nothing starts that was not offered, and nothing that is claimed is started behind the end of its run.
fn offered_before(starts: &[Start], kept: &Kept<'_>, complain: &mut impl FnMut(&RunId, String)) {
    let mut offered = BTreeSet::new();
    for event in kept.events() {
        if let Event::Offered { tasks, attempt, offer, .. } = event {
            offered.extend(tasks.iter().map(|task| (task, *attempt, *offer)));
        }
    }
    let end = kept.end().unwrap_or(u64::MAX);
    for start in starts.iter().filter(|start| start.run == *kept.run) {
        let Start { run, task, attempt, offer, .. } = start;
        if !offered.contains(&(*task, *attempt, *offer)) {
            complain(run, format!("attempt {attempt} of task {task} starts by offer {offer}, which nobody decided"));
        }
        if start.claimed && kept.claim_of(start).is_some_and(|claim| claim >= end) {
            complain(run, format!("attempt {attempt} of task {task} is claimed behind the end and starts"));
        }
    }
}

/// What is decided of an attempt is what its function did.
fn decided_as_seen(starts: &[Start], kept: &Kept<'_>, complain: &mut impl FnMut(&RunId, String)) {
    let mut by_attempt: BTreeMap<(u32, u32), Vec<&Start>> = BTreeMap::new();
    for start in starts.iter().filter(|start| start.run == *kept.run) {
        by_attempt.entry((start.task, start.attempt)).or_default().push(start);
    }
    for event in kept.events() {
        let Event::Ended { task, attempt, by, end, .. } = event else { continue };
        let started = by_attempt.get(&(*task, *attempt)).map(Vec::as_slice).unwrap_or_default();
        let mut closes = started
            .iter()
            .filter(|start| by.as_ref().is_some_and(|by| by.worker == start.worker))
            .filter_map(|start| start.ended);
        let fits = match end.outcome {
            Outcome::Ok => closes.any(|(_, close)| close == Close::Ok),
            Outcome::Failed => closes.any(|(_, close)| close == Close::Failed),
            Outcome::Timeout => closes.any(|(_, close)| matches!(close, Close::Told | Close::Dropped)),
            Outcome::Lost | Outcome::Unreachable | Outcome::Refused | Outcome::Cancelled => true,
        };
        if !fits {
            let text = format!("attempt {attempt} of task {task} is decided {}, {started:?}", end.outcome.word());
            complain(kept.run, text);
        }
        let is_unstarted = by.is_none() && matches!(end.outcome, Outcome::Unreachable | Outcome::Cancelled);
        if is_unstarted && started.iter().any(|start| start.claimed) {
            complain(kept.run, format!("claimed attempt {attempt} of task {task} ends unstarted, and was started"));
        }
    }
}

/// What a decision offers is in the work queue before the next decision of its run is stored, whoever makes that: unless by then
/// somebody has spoken of the attempt, or the run is about to be stopped. `journal` has everything that was stored in the queue.
pub(crate) fn judge_offers(journal: &[Noted], kept: &[Kept<'_>]) -> Vec<Complaint> {
    let mut times = BTreeMap::new();
    for Noted { id, at, .. } in journal.iter().filter(|noted| noted.stream == subject::WORK) {
        times.entry(id.as_deref().unwrap_or_default()).or_insert(*at);
    }
    let mut complaints = Vec::new();
    for kept in kept {
        for (before, after) in kept.decisions.iter().zip(kept.decisions.iter().skip(1)) {
            let (_, _, decision) = before;
            let (next, by, _) = *after;
            for (task, attempt, offer) in still_wanted(kept, decision, next) {
                let id = format!("{}.{task}.{attempt}.{offer}", kept.run);
                if times.get(id.as_str()).is_none_or(|at: &Timestamp| *at > by) {
                    let text = format!(
                        "offer {offer} of attempt {attempt} of task {task} is decided, and not made before decision seq={next}"
                    );
                    complaints.push(Complaint { run: Some(kept.run.clone()), text });
                }
            }
        }
    }
    complaints
}

/// What a decision offers and nothing has made useless before the next one.
fn still_wanted(kept: &Kept<'_>, decision: &Decision, next: u64) -> Vec<(u32, u32, u32)> {
    let spoken = kept.inputs.iter().filter(|(seq, _)| *seq < next);
    let mut spoken_of = BTreeSet::new();
    for (_, input) in spoken {
        match input {
            Input::Report(report) => {
                spoken_of.insert((report.task, report.attempt));
            }
            Input::Claim(claim) => {
                spoken_of.insert((claim.task, claim.attempt));
            }
            Input::Cancel(_) => return Vec::new(),
            Input::Submit(_) | Input::Signal(_) | Input::Timer {} | Input::Seen(_) => {}
        }
    }
    let mut wanted = Vec::new();
    for record in &decision.events {
        match &record.event {
            Event::Offered { tasks, attempt, offer, .. } => {
                wanted.extend(tasks.iter().map(|task| (task, *attempt, *offer)));
            }
            Event::Ended { task, .. } | Event::Held { task, .. } => wanted.retain(|(of, ..)| of != task),
            Event::CancelRequested { .. } | Event::DeadlinePassed {} => return Vec::new(),
            Event::Submitted { .. }
            | Event::Rejected { .. }
            | Event::Started { .. }
            | Event::Extended { .. }
            | Event::Returned { .. }
            | Event::Late { .. }
            | Event::Signalled { .. }
            | Event::JobEnded { .. }
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => {}
        }
    }
    wanted.retain(|(task, attempt, _)| !spoken_of.contains(&(*task, *attempt)));
    wanted
}
