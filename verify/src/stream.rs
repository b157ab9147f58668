//! A whole log, message by message in the order of the stream, with one run's messages in memory from its first one to its
//! end.
//!
//! Invariant: what is held are the runs that are open, and of each that is over a hash of its id. A run of which something
//! comes behind its end that may matter (a report, a decision) is named for a second reading, whole.

mod open;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::Timestamp;
use rr_core::Policy;
use rr_schemas::{
    decision::{Decision, RunStatus},
    id::RunId,
    input::{Input, Source},
    view::{StatusEntry, Tally},
};

use self::open::Open;
use crate::Violation;

/// A message of the log.
#[derive(Clone, Debug)]
pub struct Message {
    /// The run that its subject names.
    pub run: RunId,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// What it is.
    pub content: Content,
}

/// What a message of the log is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A decision.
    Decision {
        /// The hash of its bytes.
        hash: String,
        /// The decision.
        decision: Box<Decision>,
    },
    /// A decision that this build cannot read, a newer one most likely, and why.
    Unreadable(String),
    /// Something else among the decisions, which every fold passes over.
    Foreign,
    /// An input that says what its subject says.
    Input {
        /// Who may have sent it.
        source: Source,
        /// The input.
        input: Box<Input>,
    },
    /// Something among the inputs that nobody can believe, and why.
    Bad(String),
}

/// How long the history of a run is surely kept: until then its absence is a loss.
const SURELY_KEPT: Duration = Duration::from_hours(1);

/// What stands beside the log and is judged with it. It must have been read before the log: what it shows has been decided.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Inputs that coordinators put into the quarantine, by their sequence in the log.
    pub aside: BTreeSet<u64>,
    /// What people see of runs.
    pub shown: BTreeMap<RunId, Shown>,
    /// Offers that wait in the work queue or are held by a worker: task and attempt.
    pub offers: BTreeMap<RunId, BTreeSet<(u32, u32)>>,
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
    /// The time by the server's clock, where it is asked whether something should have been answered by now.
    pub now: Option<Timestamp>,
    /// Runs that are over are kept until the end of the reading, with what comes behind their end. For readings of few runs.
    pub keeps: bool,
    /// The reading does not begin with the first message: what began before is passed over.
    pub begins_late: bool,
}

/// Something to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// An invariant is broken.
    Violation {
        /// The run.
        run: RunId,
        /// How.
        violation: Violation,
    },
    /// A history is not whole, so nothing is sure of it.
    Incomplete {
        /// The run; none where it is of the log as a whole.
        run: Option<RunId>,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation { run, violation: Violation { rule, at, text } } => {
                write!(f, "violation {} run={run} seq={at} because {text}", rule.id())
            }
            Self::Incomplete { run: Some(run), reason } => write!(f, "incomplete run={run} because {reason}"),
            Self::Incomplete { run: None, reason } => write!(f, "incomplete because {reason}"),
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sum {
    /// Messages of the log.
    pub messages: u64,
    /// Runs that were judged to their end.
    pub over: u64,
    /// Runs that were judged as far as they go.
    pub open: u64,
    /// Runs that are not there any more but for some late inputs, or but for their state: forgotten as old ones are.
    pub forgotten: u64,
    /// Runs that began before the reading did.
    pub earlier: u64,
    /// Messages that were not believed, and were found to change nothing.
    pub unbelieved: u64,
    /// Most messages that were held at once.
    pub held_most: u64,
}

/// What a reading ends with.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// What is left to be told.
    pub findings: Vec<Finding>,
    /// Runs to be read once more, whole: something came behind their end.
    pub again: BTreeSet<RunId>,
    /// What was looked at.
    pub sum: Sum,
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
    findings: Vec<Finding>,
    sum: Sum,
    held: u64,
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
            findings: Vec::new(),
            sum: Sum::default(),
            held: 0,
            last: None,
        }
    }

    /// Takes the next message in.
    pub fn hear(&mut self, message: Message) {
        self.sum.messages += 1;
        self.last = self.last.max(Some(message.at));
        let key = key(&message.run);
        if self.over.contains(&key) {
            // It is judged once more, and counts then. What was found broken is known.
            if may_matter(&message.content) && !self.broken.contains(&key) && self.again.insert(message.run) {
                self.sum.over = self.sum.over.saturating_sub(1);
            }
            return;
        }
        let open = self.runs.entry(message.run.clone()).or_default();
        let is_end = ends(&message.content);
        open.hear(message.seq, message.at, message.content);
        self.held += 1;
        self.sum.held_most = self.sum.held_most.max(self.held);
        if is_end && !self.rules.keeps && self.runs.get(&message.run).is_some_and(Open::is_whole) {
            self.close(&message.run, key);
        }
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
        let n_found = self.findings.len();
        self.judge(run, &open);
        if self.findings.len() > n_found {
            self.broken.insert(key);
        }
    }

    fn judge(&mut self, run: &RunId, open: &Open) {
        let shown = self.beside.shown.remove(run);
        let offers = self.beside.offers.remove(run).unwrap_or_default();
        self.sum.unbelieved += open.n_unbelieved(&self.beside.aside);
        if open.is_remainder() {
            // What comes for a run that was forgotten is dropped. A run that is shown to go on was not.
            match shown.filter(|shown| !shown.status.is_final()) {
                Some(_) => self.incomplete(run, "it is shown to go on, and its history is not there".to_owned()),
                None => self.sum.forgotten += 1,
            }
            return;
        }
        if let Some(reason) = open.beginning_missing() {
            if self.rules.begins_late {
                self.sum.earlier += 1;
            } else {
                self.incomplete(run, reason);
            }
            return;
        }
        if let Some(reason) = open.unreadable() {
            return self.incomplete(run, reason);
        }
        *(if open.is_over() { &mut self.sum.over } else { &mut self.sum.open }) += 1;
        let judged = open.judge(run, &self.rules, &self.beside.aside, shown, &offers);
        let violations = judged.violations.into_iter();
        self.findings.extend(violations.map(|violation| Finding::Violation { run: run.clone(), violation }));
        if let Some(reason) = judged.truncated {
            self.incomplete(run, format!("its history is truncated: {reason}"));
        }
    }

    /// Runs that have a state or offers and nothing in the log. Old ones are forgotten whole, but never one that goes on, and
    /// none that was shown later than the log goes.
    fn judge_forgotten(&mut self) {
        if self.rules.begins_late || self.rules.keeps {
            return;
        }
        let over = std::mem::take(&mut self.over);
        let again = self.again.clone();
        for (run, shown) in std::mem::take(&mut self.beside.shown) {
            if over.contains(&key(&run)) || again.contains(&run) {
                continue;
            }
            let began_later = shown.started_at.is_some_and(|began| self.last.is_none_or(|last| began > last));
            let is_young = shown
                .started_at
                .zip(self.rules.now)
                .is_some_and(|(began, now)| now.duration_since(began).unsigned_abs() < SURELY_KEPT);
            if !shown.status.is_final() {
                self.incomplete(&run, "it is shown to go on, and the log has nothing of it".to_owned());
            } else if began_later {
                let reason = "its history is truncated: it began after the last message that the log still has";
                self.incomplete(&run, reason.to_owned());
            } else if is_young {
                let reason = "its history is gone: it began less than an hour ago, too late to be forgotten on purpose";
                self.incomplete(&run, reason.to_owned());
            } else {
                self.sum.forgotten += 1;
            }
        }
        for (run, offers) in std::mem::take(&mut self.beside.offers) {
            if !over.contains(&key(&run)) && !again.contains(&run) && !offers.is_empty() {
                self.findings.extend(open::unknown_offers(&run, &offers));
            }
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

fn ends(content: &Content) -> bool {
    match content {
        Content::Decision { decision, .. } => decision.events.iter().any(|record| record.event.is_end()),
        Content::Unreadable(_) | Content::Foreign | Content::Input { .. } | Content::Bad(_) => false,
    }
}

/// Whether something behind the end of a run may have to be noted: reports, and whatever was decided of them.
fn may_matter(content: &Content) -> bool {
    match content {
        Content::Decision { .. } | Content::Unreadable(_) => true,
        Content::Input { input, .. } => matches!(**input, Input::Report(_) | Input::Claim(_)),
        Content::Foreign | Content::Bad(_) => false,
    }
}
