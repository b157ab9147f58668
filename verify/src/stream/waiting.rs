//! Offers that wait in the work queue, against the decisions that have made them.

use std::collections::{BTreeMap, BTreeSet};

use rr_core::Plan;
use rr_schemas::{
    decision::{Event, Record},
    flow::Priority,
    id::RunId,
    offer::{Offer, Target},
};
use sha2::{Digest as _, Sha256};

use crate::{Rule, Violation, records::within, token::token};

/// An offer that waits in the work queue or is held by a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// The task, as its subject has it.
    pub task: u32,
    /// The attempt, as its subject has it.
    pub attempt: u32,
    /// Where its subject lets it run.
    pub target: Target,
    /// What goes before it, as its subject has it.
    pub priority: Priority,
    /// What its body says.
    pub says: Says,
}

/// What the body of an offer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Says {
    /// Nobody has read it: only its subject is known.
    Unread,
    /// It is one that this build cannot read, a newer one most likely, and why: only its subject is compared.
    Newer(String),
    /// It says another thing than its subject, or cannot be read; no worker starts it.
    Odd(String),
    /// This.
    This {
        /// Which offer of the attempt it is.
        offer: u32,
        /// What a report on it must bear.
        token: String,
        /// A hash of all the rest: a queue may be long, and commands are.
        rest: [u8; 32],
    },
}

impl Says {
    /// What an offer says, or why it cannot be believed, or this build cannot read it.
    pub fn of(offer: Result<Offer, String>, is_unreadable: bool) -> Self {
        match offer {
            Err(reason) if is_unreadable => Self::Newer(reason),
            Ok(offer) => Self::This { offer: offer.offer, token: offer.token.clone(), rest: rest(offer) },
            Err(reason) => Self::Odd(reason),
        }
    }
}

/// A hash of what an offer asks for, whoever reports on it.
fn rest(mut offer: Offer) -> [u8; 32] {
    offer.token.clear();
    // What has been read can be written.
    Sha256::digest(serde_json::to_vec(&offer).unwrap_or_default()).into()
}

/// What the offers of a run say that wait.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Those that no decision has made like that.
    pub(super) violations: Vec<Violation>,
    /// Why the history is not whole: an offer of the run's own that no decision has made.
    pub(super) truncated: Option<String>,
}

/// Offers that wait and that no decision has made like that. One that bears its token was made all the same: only coordinators know the
/// secret, so the decision is lost, unless a decision before says otherwise.
pub(super) fn unknown_offers<'r>(
    run: &RunId,
    secret: &str,
    records: impl Iterator<Item = &'r Record> + Clone,
    offers: &[Waiting],
) -> Told {
    let mut told = Told::default();
    if offers.is_empty() {
        return told;
    }
    let submitted = records.clone().find_map(|record| record.event.submitted());
    let plan = submitted.and_then(|run| Plan::of_accepted(run.flow, run.params, run.found).ok());
    let Some(plan) = plan else {
        told.violations.extend(offers.iter().map(unknown));
        return told;
    };
    let made = made(&plan, records, offers);
    let Told { violations, truncated } = &mut told;
    for waiting in offers {
        let Waiting { task, attempt, target, priority, says } = waiting;
        let last = made.get(&(*task, *attempt)).and_then(|numbers| numbers.last().copied()).unwrap_or(0);
        if is_later(says, last) && is_its_own(&plan, run, secret, waiting) {
            truncated.get_or_insert_with(|| {
                format!("an offer of attempt {attempt} of task {task} waits and bears its token, and no decision has made it")
            });
            continue;
        }
        let Some(numbers) = made.get(&(*task, *attempt)) else {
            violations.push(unknown(waiting));
            continue;
        };
        let number =
            if let Says::This { offer, .. } = says { *offer } else { numbers.iter().copied().next().unwrap_or(1) };
        let wrong = plan.offer(run, *task, *attempt, number).and_then(|planned| {
            if planned.target != *target || planned.priority != *priority {
                return Some(format!("waits at {target:?}, and belongs to {:?}", planned.target));
            }
            match says {
                Says::Odd(reason) => Some(format!("waits, and cannot be believed: {reason}")),
                Says::This { offer, .. } if !numbers.contains(offer) => {
                    Some(format!("waits as number {offer}, and no decision has made that one"))
                }
                Says::This { rest: said, .. } if *said != rest(planned) => {
                    Some("waits, and asks for something else than its flow does".to_owned())
                }
                Says::This { token: borne, .. }
                    if !secret.is_empty() && *borne != token(secret, run, *task, *attempt) =>
                {
                    Some("waits, and bears another token than its own".to_owned())
                }
                Says::Unread | Says::Newer(_) | Says::This { .. } => None,
            }
        });
        violations
            .extend(wrong.map(|wrong| violation(format!("an offer of attempt {attempt} of task {task} {wrong}"))));
    }
    told
}

/// Whether an offer has a later number than the last one that was made of its attempt.
const fn is_later(says: &Says, last: u32) -> bool {
    matches!(says, Says::This { offer, .. } if *offer > last)
}

/// Whether an offer says what the run's own says, with its token.
fn is_its_own(plan: &Plan, run: &RunId, secret: &str, waiting: &Waiting) -> bool {
    let Waiting { task, attempt, target, priority, says: Says::This { offer, token: borne, rest: said } } = waiting
    else {
        return false;
    };
    let planned = plan.offer(run, *task, *attempt, *offer);
    !secret.is_empty()
        && *borne == token(secret, run, *task, *attempt)
        && planned
            .is_some_and(|planned| planned.target == *target && planned.priority == *priority && rest(planned) == *said)
}

/// What cannot be said of offers that wait: those that this build cannot read.
pub(super) fn unread(offers: &[Waiting]) -> Option<String> {
    let mut newer = offers.iter().filter_map(|waiting| match &waiting.says {
        Says::Newer(reason) => Some((waiting, reason)),
        Says::Unread | Says::Odd(_) | Says::This { .. } => None,
    });
    let (Waiting { task, attempt, .. }, reason) = newer.next()?;
    let others = match newer.count() {
        0 => String::new(),
        n => format!(", nor can {n} others"),
    };
    Some(format!("the offer of attempt {attempt} of task {task} that waits cannot be read{others}: {reason}"))
}

/// Of the attempts that wait the numbers of the offers that decisions have made.
fn made<'r>(
    plan: &Plan,
    records: impl Iterator<Item = &'r Record>,
    offers: &[Waiting],
) -> BTreeMap<(u32, u32), BTreeSet<u32>> {
    let wanted: BTreeSet<(u32, u32)> = offers.iter().map(|waiting| (waiting.task, waiting.attempt)).collect();
    let mut made: BTreeMap<(u32, u32), BTreeSet<u32>> = BTreeMap::new();
    for record in records {
        let Event::Offered { tasks, attempt, offer, .. } = &record.event else { continue };
        // A few bytes can name four billion.
        if within(plan, tasks) {
            for key in tasks.iter().map(|task| (task, *attempt)).filter(|key| wanted.contains(key)) {
                made.entry(key).or_default().insert(*offer);
            }
        }
    }
    made
}

/// An offer that no decision has made.
pub(super) fn unknown(Waiting { task, attempt, .. }: &Waiting) -> Violation {
    violation(format!("an offer of attempt {attempt} of task {task} waits, and no decision has made it"))
}

const fn violation(text: String) -> Violation {
    Violation { rule: Rule::Offered, at: 0, text }
}
