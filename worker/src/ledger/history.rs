//! What the records of a ledger come to.

use std::collections::{BTreeMap, HashMap};

use rr_schemas::name::InstanceId;

use super::record::Record;
use super::{Key, Known, Open, State};

/// What the files say, as they are read.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) lives: Vec<InstanceId>,
    pub(super) next: u64,
    pub(super) open: BTreeMap<u64, Open>,
    pub(super) known: [HashMap<Key, Known>; 2],
}

impl History {
    pub(super) fn add(&mut self, record: Record) {
        match record {
            Record::Life(instance) => self.lives.push(instance),
            Record::Start(n, run, task, attempt, offer) => {
                let Some(instance) = self.lives.last().cloned() else { return };
                self.next = self.next.max(n + 1);
                let key = Key { run, task, attempt };
                self.known[0].insert(key.clone(), Known { n, offer, state: State::Started });
                self.open.insert(n, Open { key, offer, token: String::new(), instance, ended: None });
            }
            Record::Token(n, token) => {
                if let Some(open) = self.open.get_mut(&n) {
                    open.token = token;
                }
            }
            Record::End(n, ended) => {
                if let Some(open) = self.open.get_mut(&n) {
                    self.known[0].insert(open.key.clone(), Known { n, offer: open.offer, state: State::Ended });
                    open.ended = Some(ended);
                }
            }
            Record::Confirm(n) => {
                if let Some(open) = self.open.remove(&n) {
                    self.known[0].insert(open.key, Known { n, offer: open.offer, state: State::Confirmed });
                }
            }
        }
    }
}
