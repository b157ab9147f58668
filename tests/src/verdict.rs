//! A run's stored history, read whole and judged.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rr_judge::history::{Said, Stored, judge};
use rr_nats::{Error, Mesh};
use rr_schemas::decision::{Event, Record};
use rr_schemas::id::{EntityId, RunId};

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
        let inputs = inputs.into_iter().filter(|said| !aside.contains(&said.seq())).filter_map(|said| {
            let (seq, source) = (said.seq(), said.source);
            Some(Said { seq, source, input: said.input.ok()? })
        });
        Ok(Self { at, decisions, inputs: inputs.collect() })
    }

    /// What is wrong with it.
    pub fn violations(&self, run: &RunId, timing: Timing) -> Vec<String> {
        let violations = judge(run, &self.decisions, &self.inputs, &timing.policy());
        violations.iter().map(ToString::to_string).collect()
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
