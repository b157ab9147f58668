//! What is wrong at the end: of the histories, and of what functions have seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use rr_nats::{Error, InputMsg, Mesh, StoredDecision};
use rr_schemas::{
    decision::{Event, Record},
    id::{EntityId, RunId},
    input::Input,
    report::Outcome,
};
use rr_verify::{
    history::{Judgement, Said, Stored, Whole, judge_whole},
    records::Extent,
};
use tokio::time::{Instant, sleep};

use crate::{
    function::{Close, Start},
    machine::policy,
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

/// A run as it is stored.
pub(crate) struct Kept {
    pub(crate) run: RunId,
    decisions: Vec<StoredDecision>,
    inputs: Vec<InputMsg>,
}

impl Kept {
    /// Reads a run.
    pub(crate) async fn read(mesh: &Mesh, run: &RunId) -> Result<Self, Error> {
        let entity = EntityId::from(run);
        let decisions = mesh.history(&entity, 0).await?;
        let inputs = mesh.inputs_after(&entity, 0, 0).await?;
        Ok(Self { run: run.clone(), decisions, inputs })
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.decisions.iter().filter_map(|stored| stored.decision.as_ref().ok()).flat_map(|decision| &decision.events)
    }

    /// The sequence of the claim with which a worker started something.
    fn claim_of(&self, start: &Start) -> Option<u64> {
        let is_its = |input: &&InputMsg| {
            matches!(&input.input, Ok(Input::Claim(claim))
                if claim.worker == start.worker && (claim.task, claim.attempt) == (start.task, start.attempt))
        };
        self.inputs.iter().find(is_its).map(InputMsg::seq)
    }

    /// Every event.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.records().map(|record| &record.event)
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.events().any(Event::is_end)
    }

    /// Every byte that is stored of it goes into a digest.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        let decisions = self.decisions.iter().map(|stored| &stored.raw);
        for message in decisions.chain(self.inputs.iter().map(|input| &input.raw)) {
            digest.take(message.subject.as_bytes());
            digest.take(&message.seq.to_le_bytes());
            digest.take(&message.at.as_nanosecond().to_le_bytes());
            digest.take(&message.payload);
        }
    }

    /// What is wrong with it. Of a run that is not over, what holds at its end is not asked for.
    pub(crate) fn complaints(&self) -> Vec<Complaint> {
        let decisions: Vec<Stored> = self
            .decisions
            .iter()
            .filter_map(|stored| {
                let decision = stored.decision.as_ref().ok()?.clone();
                Some(Stored { seq: stored.seq, hash: stored.hash.clone(), decision })
            })
            .collect();
        if decisions.is_empty() {
            return Vec::new();
        }
        let inputs: Vec<Said> = self
            .inputs
            .iter()
            .filter_map(|said| {
                let input = said.input.as_ref().ok()?.clone();
                Some(Said { seq: said.seq(), source: said.source.clone(), input })
            })
            .collect();
        let whole = Whole {
            run: &self.run,
            decisions: &decisions,
            inputs: &inputs,
            times: &self.inputs.iter().map(|said| (said.seq(), said.at())).collect(),
            bad: &BTreeMap::new(),
            aside: &BTreeSet::new(),
            policy: &policy(),
            extent: if self.is_over() { Extent::Over } else { Extent::SoFar },
            now: None,
        };
        let Judgement { violations, truncated } = judge_whole(&whole);
        let texts = violations.iter().map(ToString::to_string).chain(truncated);
        texts.map(|text| Complaint { run: Some(self.run.clone()), text }).collect()
    }
}

/// Reads every run, as soon as the servers answer.
pub(crate) async fn read_all(mesh: &Mesh, runs: &[RunId], until: Instant) -> Result<Vec<Kept>, Error> {
    let mut kept = Vec::new();
    for run in runs {
        kept.push(loop {
            match Kept::read(mesh, run).await {
                Ok(kept) => break kept,
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => sleep(std::time::Duration::from_millis(200)).await,
            }
        });
    }
    Ok(kept)
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
pub(crate) fn judge_starts(starts: &[Start], kept: &[Kept], counts_hold: bool) -> Vec<Complaint> {
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
fn offered_before(starts: &[Start], kept: &Kept, complain: &mut impl FnMut(&RunId, String)) {
    let mut offered = BTreeSet::new();
    for event in kept.events() {
        if let Event::Offered { tasks, attempt, offer, .. } = event {
            offered.extend(tasks.iter().map(|task| (task, *attempt, *offer)));
        }
    }
    let ends = |stored: &&StoredDecision| {
        stored.decision.as_ref().is_ok_and(|decision| decision.events.iter().any(|record| record.event.is_end()))
    };
    let end = kept.decisions.iter().find(ends).map_or(u64::MAX, |stored| stored.seq);
    for start in starts.iter().filter(|start| start.run == kept.run) {
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
fn decided_as_seen(starts: &[Start], kept: &Kept, complain: &mut impl FnMut(&RunId, String)) {
    let mut by_attempt: BTreeMap<(u32, u32), Vec<&Start>> = BTreeMap::new();
    for start in starts.iter().filter(|start| start.run == kept.run) {
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
            complain(&kept.run, text);
        }
        let is_unstarted = by.is_none() && matches!(end.outcome, Outcome::Unreachable | Outcome::Cancelled);
        if is_unstarted && started.iter().any(|start| start.claimed) {
            complain(&kept.run, format!("claimed attempt {attempt} of task {task} ends unstarted, and was started"));
        }
    }
}
