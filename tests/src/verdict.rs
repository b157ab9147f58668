//! A run's stored history, read whole and judged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_nats::{Error, Mesh};
use rr_schemas::decision::{Event, Record};
use rr_schemas::id::{EntityId, RunId};
use rr_verify::history::{Judgement, PolicyOf, Said, Stored, Whole, judge_whole};
use rr_verify::records::Extent;

use crate::mesh::Timing;

/// A history as it is stored.
#[derive(Debug)]
pub struct Verdict {
    /// When each decision was stored.
    pub at: Vec<Timestamp>,
    /// The decisions.
    pub decisions: Vec<Stored>,
    /// The inputs that can be believed.
    pub inputs: Vec<Said>,
    /// When each of them was stored.
    times: BTreeMap<u64, Timestamp>,
    /// What stands where inputs belong and is none, and why.
    bad: BTreeMap<u64, String>,
    /// Inputs that were not believed.
    aside: BTreeSet<u64>,
}

impl Verdict {
    /// Reads the history of a run that has ended and judges it.
    ///
    /// # Panics
    /// It cannot be read, or an invariant is broken.
    pub async fn of(mesh: &Mesh, run: &RunId, timing: Timing) -> Self {
        Self::without(mesh, run, timing, &BTreeSet::new()).await
    }

    /// The same where these inputs, by their sequences, were not believed.
    ///
    /// # Panics
    /// As [`Verdict::of`].
    pub async fn without(mesh: &Mesh, run: &RunId, timing: Timing, aside: &BTreeSet<u64>) -> Self {
        let verdict = Self::read(mesh, run, aside).await.expect("a history");
        let list = verdict.violations(run, timing);
        assert!(list.is_empty(), "run {run}:\n{}\n{:#?}", list.join("\n"), verdict.records().collect::<Vec<_>>());
        verdict
    }

    /// Reads the history of a run, without these inputs.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(mesh: &Mesh, run: &RunId, aside: &BTreeSet<u64>) -> Result<Self, Error> {
        let entity = EntityId::from(run);
        let decisions = mesh.history(&entity, 0).await?;
        let decisions = decisions.into_iter().filter_map(|stored| {
            // What is no decision is passed over by the fold as well.
            let decision = stored.decision.ok()?;
            Some((stored.at, Stored { seq: stored.seq, hash: stored.hash, decision }))
        });
        let (at, decisions) = decisions.unzip();
        let inputs = mesh.inputs_after(&entity, 0, 0).await?;
        let (mut times, mut bad) = (BTreeMap::new(), BTreeMap::new());
        let inputs = inputs.into_iter().filter_map(|said| {
            let (seq, at, source) = (said.seq(), said.at(), said.source);
            match said.input {
                Ok(input) => {
                    times.insert(seq, at);
                    Some(Said { seq, source, input })
                }
                Err(reason) => {
                    bad.insert(seq, reason);
                    None
                }
            }
        });
        let inputs = inputs.collect();
        Ok(Self { at, decisions, inputs, times, bad, aside: aside.clone() })
    }

    /// What is wrong with it.
    pub fn violations(&self, run: &RunId, timing: Timing) -> Vec<String> {
        let Self { decisions, inputs, times, bad, aside, .. } = self;
        let policy = &timing.policy();
        let (unread, policy_of, extent, now) = (&BTreeMap::new(), PolicyOf::Coordinators, Extent::Over, None);
        let whole = Whole { run, decisions, inputs, times, bad, unread, aside, policy, policy_of, extent, now };
        let Judgement { violations, truncated, unsure, .. } = judge_whole(&whole);
        violations.iter().map(ToString::to_string).chain(truncated).chain(unsure).collect()
    }

    /// Every event in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.decisions.iter().flat_map(|stored| &stored.decision.events)
    }

    /// Every event without its cause.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.records().map(|record| &record.event)
    }
}
