//! Telling again: a log that has lost its end knows nothing of what was reported last.
//!
//! A coordinator that finds an attempt under way here, long after its start, asks after it. What runs, or is about to be
//! reported, needs no answer. What was reported is reported again as it was, as long as that is remembered; of what is
//! not, nobody can say how it ended, and it is lost.

use std::collections::VecDeque;

use rr_schemas::{
    presence::Asked,
    report::{Outcome, Report, What},
};

use super::engine::Engine;
use crate::executor::ended_because;
use crate::ledger::{Key, State};
use crate::outbox::Parcel;

/// Ends that are remembered: some hundred bytes each.
const ENDS_MAX: usize = 1_000;

/// The number of what has none in the ledger.
const UNNUMBERED: u64 = u64::MAX;

const FORGOTTEN: &str = "it has ended, and its report is lost with the end of the event log";

/// The last ends that were stored.
#[derive(Debug, Default)]
pub(super) struct Told(VecDeque<Parcel>);

impl Told {
    /// Remembers an end that was stored.
    pub(super) fn remember(&mut self, parcel: Parcel) {
        if self.0.len() == ENDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(parcel);
    }

    fn of(&self, key: &Key) -> Option<Parcel> {
        let is_its =
            |told: &&Parcel| told.run == key.run && told.report.task == key.task && told.report.attempt == key.attempt;
        self.0.iter().rev().find(is_its).cloned()
    }
}

impl Engine {
    /// Reports an end again that was stored, where it is remembered. Whoever knows it passes over it.
    pub(super) fn repeat_end(&mut self, key: &Key) {
        if let Some(parcel) = self.told.of(key) {
            self.outbox.put_again(parcel);
        }
    }

    /// A coordinator asks after an attempt that is said to run here.
    pub(super) fn tell_again(&mut self, asked: &Asked) {
        let Asked { run, task, attempt, offer, instance, token } = asked;
        if *instance != self.instance {
            return;
        }
        let key = Key { run: run.clone(), task: *task, attempt: *attempt };
        match self.ledger.known(&key).map(|known| known.state) {
            // It is in hand, or on its way.
            Some(State::Reserved | State::Started | State::Ended) => {}
            Some(State::Confirmed | State::Returned) | None => {
                tracing::warn!(run.id = %run, task, attempt, "a coordinator has not heard how an attempt ended; it is told again");
                let parcel = self.told.of(&key).unwrap_or_else(|| Parcel {
                    n: UNNUMBERED,
                    run: run.clone(),
                    report: Report {
                        task: *task,
                        attempt: *attempt,
                        offer: *offer,
                        instance: instance.clone(),
                        what: What::Ended(ended_because(Outcome::Lost, FORGOTTEN, self.now())),
                        token: token.clone(),
                    },
                });
                self.outbox.put_again(parcel);
            }
        }
    }
}
