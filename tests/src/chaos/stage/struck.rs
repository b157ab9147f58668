//! What a stage knows of its faults: when they struck, whom, and what was under way.

use std::time::Duration;

use jiff::Timestamp;
use rr_schemas::id::RunId;

use super::{END, Stage};
use crate::chaos::load::Load;
use crate::chaos::stall::{Outage, Stall};
use crate::chaos::strike::{self, InVain, Life, Meanwhile, Strike};
use crate::wait::eventually;

impl<S> Stage<S> {
    /// The runs that the load has asked for so far.
    pub fn runs(&self) -> Vec<RunId> {
        self.load.as_ref().map(Load::runs).unwrap_or_default()
    }

    /// Something that was due, and was measured by whoever has broken something, took this long.
    pub fn took(&mut self, took: Duration, what: String) {
        self.report.stall = self.report.stall.clone().max(Stall { took, what });
    }

    /// Since then nobody could have decided anything, until now.
    pub fn was_out(&mut self, since: Timestamp) {
        self.outages.push(Outage { since, until: Timestamp::now() });
    }

    /// The fault has struck, from then until now: something was under way.
    pub fn struck(&mut self, since: Timestamp) {
        self.struck_with(since, Meanwhile::Anything);
    }

    /// The same for one that lasts, and leaves somebody who decides.
    pub fn struck_some(&mut self, since: Timestamp) {
        self.struck_with(since, Meanwhile::Decided);
    }

    fn struck_with(&mut self, since: Timestamp, meanwhile: Meanwhile) {
        self.strikes.push(Strike { since, until: Timestamp::now(), meanwhile });
        self.report.faults += 1;
    }

    /// Counts the faults that met something, and demands that these are most of them, and that somebody decided where that could be.
    pub(super) fn met(&mut self, lives: &[Life]) {
        let strikes = std::mem::take(&mut self.strikes);
        let InVain { between, undecided } = strike::in_vain(&strikes, lives);
        self.report.faults -= between.len();
        if strike::are_too_many(between.len(), strikes.len()) {
            self.report.violations.extend(between);
        }
        self.report.violations.extend(undecided);
    }

    /// The coordinator that has taken the last decision of a run, by its place; none where it is not there any more.
    pub async fn decider(&self, run: &RunId) -> Option<usize> {
        let last = self.handle.last_decision(&run.into()).await.ok()??;
        let by = last.decision.ok()?.by.to_string();
        self.coordinators()
            .into_iter()
            .find(|place| self.parts.get(*place).is_some_and(|part| part.process.stderr().contains(&by)))
    }

    /// How many decisions coordinators have stored, each in a time of its own.
    ///
    /// # Panics
    /// A history cannot be read.
    pub async fn decisions_of(&self, times: &[(usize, Timestamp, Timestamp)]) -> usize {
        let mut n = 0;
        for run in self.runs() {
            let entity = (&run).into();
            let read = async || self.handle.history(&entity, 0).await;
            for stored in eventually("history", END, read).await {
                let Ok(decision) = &stored.decision else { continue };
                let by = decision.by.to_string();
                let is_in = |(place, since, until): &&(usize, Timestamp, Timestamp)| {
                    (since..=until).contains(&&stored.at)
                        && self.parts.get(*place).is_some_and(|part| part.process.stderr().contains(&by))
                };
                n += usize::from(times.iter().any(|time| is_in(&time)));
            }
        }
        n
    }

    /// How many runs the load has asked for.
    pub fn n_asked(&self) -> usize {
        self.load.as_ref().map(Load::asked).unwrap_or_default()
    }

    /// How many requests of the load were confirmed.
    pub fn n_confirmed(&self) -> usize {
        self.load.as_ref().map(Load::confirmed).unwrap_or_default()
    }
}
