//! A whole log, message by message in the order of the stream, with one run's messages in memory from its first one to its
//! end.
//!
//! Invariant: what is held are the runs that are open, and of each that is over a hash of its id. A run of which something
//! comes behind its end that may matter (a report, a decision) is named for a second reading, whole.
//!
//! Three questions are kept apart: what is read ([`Scope`]), whether what is over stays in memory (`keeps`), and whether
//! anybody still works on it (`now`).

mod content;
mod open;
mod quarantine;
mod told;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::Timestamp;
use rr_core::Policy;
use rr_schemas::{
    decision::RunStatus,
    id::RunId,
    view::{StatusEntry, Tally},
};

pub use self::{
    content::{Content, Message},
    quarantine::{Noted, Quarantine, is_no_older},
    told::{End, Finding, Sum},
    waiting::{Says, Waiting},
};
use self::{
    content::{ends, may_matter},
    open::Open,
};
pub use crate::history::PolicyOf;

/// How long the history of a run is surely kept: until then its absence is a loss.
const SURELY_KEPT: Duration = Duration::from_hours(1);

/// What stands beside the log and is judged with it. It must have been read before the log: what it shows has been decided.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Inputs that coordinators put into the quarantine.
    pub aside: Quarantine,
    /// What people see of runs.
    pub shown: BTreeMap<RunId, Shown>,
    /// Offers that wait in the work queue or are held by a worker.
    pub offers: BTreeMap<RunId, Vec<Waiting>>,
}

/// What matters of a run's entry in `rr-runs`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Number of the decision that it shows.
    pub n: u64,
    /// State.
    pub status: RunStatus,
    /// Its tasks, counted.
    pub tasks: Tally,
    /// When it was submitted.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl From<&StatusEntry> for Shown {
    fn from(entry: &StatusEntry) -> Self {
        let StatusEntry { n, tasks, ref view, .. } = *entry;
        Self { n, status: view.status, tasks, started_at: view.started_at, ended_at: view.ended_at }
    }
}

/// How to judge.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The coordinators' policy, for what flows do not say.
    pub policy: Policy,
    /// Whether it is theirs.
    pub policy_of: PolicyOf,
    /// The time by the server's clock, where it is asked whether something should have been answered by now.
    pub now: Option<Timestamp>,
    /// Runs that are over are kept until the end of the reading, with what comes behind their end. For readings of few runs.
    pub keeps: bool,
    /// What the reading reads.
    pub scope: Scope,
}

/// What a reading reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The whole log, from its first message on.
    Log,
    /// The log from what was stored at this instant on: what began before is passed over.
    Since(Timestamp),
    /// Some runs, each of them whole: what is not read of others says nothing.
    Runs,
}

/// Reads a log.
#[derive(Debug)]
pub struct Verifier {
    rules: Rules,
    beside: Beside,
    runs: BTreeMap<RunId, Open>,
    /// Of ids that are over; two ids with one hash cost a second reading and nothing else.
    over: HashSet<u64>,
    again: BTreeSet<RunId>,
    /// Of those that are over, the ones that something is wrong with.
    broken: HashSet<u64>,
    /// Of those that are over and are not to be read again, messages that were not believed.
    unbelieved: BTreeMap<u64, u64>,
    findings: Vec<Finding>,
    sum: Sum,
    held: u64,
    /// Sequence of the first message.
    first: Option<u64>,
    /// When the latest message was stored.
    last: Option<Timestamp>,
}

impl Verifier {
    /// A reading that begins.
    pub fn new(rules: Rules, beside: Beside) -> Self {
        Self {
            rules,
            beside,
            runs: BTreeMap::new(),
            over: HashSet::new(),
            again: BTreeSet::new(),
            broken: HashSet::new(),
            unbelieved: BTreeMap::new(),
            findings: Vec::new(),
            sum: Sum::default(),
            held: 0,
            first: None,
            last: None,
        }
    }

    /// Takes the next message in.
    pub fn hear(&mut self, message: Message) {
        self.sum.messages += 1;
        self.last = self.last.max(Some(message.at));
        let first = *self.first.get_or_insert(message.seq);
        let key = key(&message.run);
        if self.over.contains(&key) {
            // It is judged once more, and counts then. What was found broken is known.
            let is_of_no_use = matches!(message.content, Content::Foreign | Content::Unread(_) | Content::Bad(_));
            if is_of_no_use && !self.again.contains(&message.run) {
                self.sum.unbelieved += 1;
                *self.unbelieved.entry(key).or_default() += 1;
            }
            if may_matter(&message.content) && !self.broken.contains(&key) && self.again.insert(message.run) {
                self.sum.over = self.sum.over.saturating_sub(1);
                self.sum.unbelieved -= self.unbelieved.remove(&key).unwrap_or(0);
            }
            return;
        }
        let open = self.runs.entry(message.run.clone()).or_default();
        let is_end = ends(&message.content);
        open.hear(message.seq, message.at, message.content);
        self.held += 1;
        self.sum.held_most = self.sum.held_most.max(self.held);
        let is_whole = |open: &Open| open.is_whole() && !open.began_before(first);
        if is_end && !self.rules.keeps && self.runs.get(&message.run).is_some_and(is_whole) {
            self.close(&message.run, key);
        }
    }

    /// The reading ends before its end: whether anything should have been answered by then is not asked.
    pub const fn cut_off(&mut self) {
        self.rules.now = None;
    }

    /// What was found since the last time.
    pub fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// The reading is over.
    pub fn finish(mut self) -> End {
        let left: Vec<RunId> = self.runs.keys().cloned().collect();
        for run in left {
            if let Some(open) = self.runs.remove(&run) {
                self.judge(&run, &open);
            }
        }
        self.judge_forgotten();
        End { findings: self.findings, again: self.again, sum: self.sum }
    }

    fn close(&mut self, run: &RunId, key: u64) {
        let Some(open) = self.runs.remove(run) else { return };
        self.held = self.held.saturating_sub(open.held());
        self.over.insert(key);
        // Its last inputs have no answer yet, or its state shows one that stands further on.
        let is_ahead = self.beside.shown.get(run).is_some_and(|shown| shown.n > open.last_number());
        if is_ahead || open.has_unanswered_reports() {
            self.again.insert(run.clone());
            return;
        }
        let (n_found, n_unbelieved) = (self.findings.len(), self.sum.unbelieved);
        self.judge(run, &open);
        if self.sum.unbelieved > n_unbelieved {
            *self.unbelieved.entry(key).or_default() += self.sum.unbelieved - n_unbelieved;
        }
        // What is incomplete may be broken as well by what is still to come.
        let found = self.findings.get(n_found..).unwrap_or_default();
        if found.iter().any(|found| matches!(found, Finding::Violation { .. })) {
            self.broken.insert(key);
        }
    }

    fn judge(&mut self, run: &RunId, open: &Open) {
        let shown = self.beside.shown.remove(run);
        let offers = self.beside.offers.remove(run).unwrap_or_default();
        let aside = open.aside(run, &self.beside.aside);
        self.sum.unbelieved += open.n_unbelieved(&aside);
        if self.began_earlier(open, shown.as_ref()) {
            self.sum.earlier += 1;
            return;
        }
        if open.is_remainder() {
            // What comes for a run that was forgotten is dropped. One that was lost was not forgotten.
            match shown.and_then(|shown| self.lost(&shown)) {
                Some(reason) => self.incomplete(run, reason.to_owned()),
                None if self.rules.scope == Scope::Runs => {
                    let reason = "its history is not there: it was removed, as old runs are, or lost";
                    self.incomplete(run, reason.to_owned());
                }
                None => self.sum.forgotten += 1,
            }
            return;
        }
        if let Some(reason) = self.beginning_missing(open) {
            return self.incomplete(run, reason);
        }
        if let Some(reason) = open.unreadable() {
            return self.incomplete(run, reason);
        }
        if open.is_half_forgotten() {
            let reason = "its inputs are not in the log any more, and its decisions are: it was not forgotten whole";
            return self.incomplete(run, reason.to_owned());
        }
        *(if open.is_over() { &mut self.sum.over } else { &mut self.sum.open }) += 1;
        let judged = open.judge(run, &self.rules, &aside, shown, &offers);
        self.sum.beside += judged.n_beside;
        let violations = judged.violations.into_iter();
        self.findings.extend(violations.map(|violation| Finding::Violation { run: run.clone(), violation }));
        for reason in judged.unsure {
            self.incomplete(run, reason);
        }
        if let Some(reason) = judged.truncated {
            self.incomplete(run, format!("its history is truncated: {reason}"));
        }
    }

    /// Whether a run began before a reading that does not read the whole log. Of the messages of such a one anything may be
    /// missing that stands before the first message.
    fn began_earlier(&self, open: &Open, shown: Option<&Shown>) -> bool {
        let Scope::Since(since) = self.rules.scope else { return false };
        if open.last_number() > 0 {
            return self.first.is_some_and(|first| open.began_before(first));
        }
        // It was asked for, and nobody has answered yet; or it was asked for once more, long after it began.
        let is_new = !open.is_remainder() && shown.is_none_or(|shown| shown.n == 0);
        !is_new && shown.and_then(|shown| shown.started_at).is_none_or(|began| began < since)
    }

    /// What the log does not have any more of the beginning of a run, if that is so.
    fn beginning_missing(&self, open: &Open) -> Option<String> {
        let is_cut = self.rules.scope == Scope::Log && self.first.is_some_and(|first| open.began_before(first));
        let cut =
            || is_cut.then(|| "its beginning is not in the log any more: what was asked for is missing".to_owned());
        open.beginning_missing().or_else(cut)
    }

    /// Why a run of which the log has no decision must have been lost. Old ones are forgotten, but never one that goes on, and
    /// none that began later than the log goes.
    fn lost(&self, shown: &Shown) -> Option<&'static str> {
        let began_later = shown.started_at.is_some_and(|began| self.last.is_none_or(|last| began > last));
        let is_young = shown
            .started_at
            .zip(self.rules.now)
            .is_some_and(|(began, now)| now.duration_since(began).unsigned_abs() < SURELY_KEPT);
        if !shown.status.is_final() {
            Some("it is shown to go on, and its history is not there")
        } else if began_later {
            Some("its history is truncated: it began after the last message that the log still has")
        } else if is_young {
            Some("its history is gone: it began less than an hour ago, too late to be forgotten on purpose")
        } else {
            None
        }
    }

    /// Runs that have a state or offers and nothing in the log.
    fn judge_forgotten(&mut self) {
        let is_read = |shown: &Shown| match self.rules.scope {
            Scope::Log => true,
            Scope::Since(since) => shown.started_at.is_some_and(|began| began >= since),
            Scope::Runs => false,
        };
        let is_over = |run: &RunId| self.over.contains(&key(run)) || self.again.contains(run);
        let mut unread = std::mem::take(&mut self.beside.shown);
        unread.retain(|run, shown| is_read(shown) && !is_over(run));
        let mut offers = std::mem::take(&mut self.beside.offers);
        offers.retain(|run, offers| self.rules.scope == Scope::Log && !is_over(run) && !offers.is_empty());
        for (run, shown) in unread {
            match self.lost(&shown) {
                Some(reason) => {
                    // What has made its offers is lost with it.
                    offers.remove(&run);
                    self.incomplete(&run, reason.to_owned());
                }
                None => self.sum.forgotten += 1,
            }
        }
        for (run, offers) in offers {
            self.findings.extend(open::unknown_offers(&run, &offers));
        }
    }

    fn incomplete(&mut self, run: &RunId, reason: String) {
        self.findings.push(Finding::Incomplete { run: Some(run.clone()), reason });
    }
}

fn key(run: &RunId) -> u64 {
    let mut hasher = DefaultHasher::new();
    run.as_str().hash(&mut hasher);
    hasher.finish()
}
