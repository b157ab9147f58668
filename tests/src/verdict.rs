//! A run's stored history, read whole and judged.

use std::collections::BTreeSet;

use rr_nats::Mesh;
use rr_schemas::decision::{Event, Record};
use rr_schemas::id::{EntityId, RunId};
use rr_verify::history::{Said, Stored, judge};

use crate::mesh::Timing;

/// A history as it is stored.
#[derive(Debug)]
pub struct Verdict {
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
        let entity = EntityId::from(run);
        let decisions = mesh.history(&entity, 0).await.expect("a history");
        let decisions = decisions.into_iter().filter_map(|stored| {
            // What is no decision is passed over by the fold as well.
            let decision = stored.decision.ok()?;
            Some(Stored { seq: stored.seq, hash: stored.hash, decision })
        });
        let inputs = mesh.inputs_after(&entity, 0, 0).await.expect("inputs");
        let inputs = inputs.into_iter().filter(|said| !aside.contains(&said.seq())).filter_map(|said| {
            let (seq, source) = (said.seq(), said.source);
            Some(Said { seq, source, input: said.input.ok()? })
        });
        let verdict = Self { decisions: decisions.collect(), inputs: inputs.collect() };
        let violations = judge(run, &verdict.decisions, &verdict.inputs, &timing.policy());
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "run {run}:\n{}\n{:#?}", list.join("\n"), verdict.records().collect::<Vec<_>>());
        verdict
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
