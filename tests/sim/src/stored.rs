//! What the servers hold at the end, read and judged as `rr verify` reads and judges a real mesh.
//!
//! Invariant: what stands beside the log is read before it, so whatever it shows has been decided by then.

mod notes;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_model::Noted;
use rr_nats::{Copied, Error, Follow, LogMessage, Mesh, OutputFilter, RawMessage, copies, copies::OfferNow};
use rr_schemas::{
    decision::{Decision, Event},
    id::RunId,
    input::{Input, Signal},
    view::StatusEntry,
};
use rr_verify::{
    output::{Age, Outputs},
    stream::{self, Beside, Content, Finding, Message, PolicyOf, Rules, Says, Scope, Shown, Verifier, Waiting},
    token::is_borne,
};

use self::notes::Notes;
use crate::{
    function::Start,
    judge::{Complaint, Digest},
    machine::policy,
};

/// How subjects of inputs begin.
const INPUTS: &str = "rr.in.";
/// How those who find what is in the quarantine begin that are coordinators.
const COORDINATOR: &str = "coordinator.";
/// How subjects of timers begin that have fired.
const FIRED: &str = "rr.fired.";

/// Everything that is stored and judged.
#[derive(Debug)]
pub(crate) struct Stored {
    beside: Beside,
    log: Vec<Message>,
    /// Sequences of inputs that are nobody's.
    nobodys: BTreeSet<u64>,
    /// Subjects of inputs by their sequences, and when they were stored.
    inputs: BTreeMap<u64, (String, Timestamp)>,
    /// Inputs in the quarantine.
    quarantined: Notes,
    /// Timers in the quarantine, by their sequences among timers.
    timers: Notes,
    /// Messages of the log that no verifier hears, and why.
    odd: Vec<String>,
    outputs: BTreeMap<RunId, Outputs>,
    /// Every byte of the log.
    pub(crate) digest: Digest,
}

/// A run as the log has it.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) run: &'a RunId,
    /// Its decisions, with their sequences and when they were stored.
    pub(crate) decisions: Vec<(u64, Timestamp, &'a Decision)>,
    /// Its inputs that bear the tokens that they must bear, with their sequences.
    pub(crate) inputs: Vec<(u64, &'a Input)>,
}

impl Stored {
    /// Reads all of it, with the output of these runs.
    ///
    /// # Errors
    /// The servers do not answer; trying again may help.
    pub(crate) async fn read(mesh: &Mesh, runs: &[RunId]) -> Result<Self, Error> {
        let (beside, quarantined, timers) = beside(mesh).await?;
        let mut stored = Self {
            beside,
            log: Vec::new(),
            nobodys: BTreeSet::new(),
            inputs: BTreeMap::new(),
            quarantined,
            timers,
            odd: Vec::new(),
            outputs: BTreeMap::new(),
            digest: Digest::new(),
        };
        let mut log = mesh.copy_log(None).await?;
        while let Some(copied) = log.next().await? {
            match copied.raw() {
                Ok(raw) => stored.hear(raw, mesh.partitions()),
                Err(reason) => stored.odd.push(format!("message {}: {reason}", copied.seq)),
            }
        }
        for run in runs {
            let mut reader = mesh.read_output(run, OutputFilter::default(), Follow::No);
            let outputs = stored.outputs.entry(run.clone()).or_default();
            while let Some(chunk) = reader.next().await? {
                let bytes = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
                outputs.hear(&chunk.worker, (chunk.id.task, chunk.id.attempt), chunk.id.n, bytes);
            }
            reader.close().await;
        }
        Ok(stored)
    }

    fn hear(&mut self, raw: RawMessage, partitions: u16) {
        let (seq, at) = (raw.seq, raw.at);
        let is_input = raw.subject.starts_with(INPUTS);
        self.digest.take(raw.subject.as_bytes());
        self.digest.take(&seq.to_le_bytes());
        self.digest.take(&at.as_nanosecond().to_le_bytes());
        self.digest.take(&raw.payload);
        if is_input {
            self.inputs.insert(seq, (raw.subject.clone(), at));
        }
        let (entity, content) = match LogMessage::read(raw, partitions) {
            LogMessage::Decision(entity, stored) => (entity, Content::of_decision(stored.hash, stored.decision)),
            LogMessage::Foreign(entity) => (entity, Content::Foreign),
            LogMessage::Input(said) => {
                let is_unreadable = said.is_unreadable();
                (said.entity, Content::of_input(said.source, said.input, is_unreadable))
            }
            LogMessage::Nobodys if is_input => {
                self.nobodys.insert(seq);
                return;
            }
            LogMessage::Nobodys => return self.odd.push(format!("message {seq} is on a subject that nobody has")),
        };
        self.log.push(Message { run: RunId::from(entity), seq, at, content });
    }

    /// What is wrong with it. `now`: the time by which everything that was due or said should have been answered, where that is
    /// asked.
    pub(crate) fn complaints(&self, now: Option<Timestamp>) -> Vec<Complaint> {
        let rules = Rules { policy: policy(), policy_of: PolicyOf::Coordinators, now, keeps: false, scope: Scope::Log };
        let mut verifier = Verifier::new(rules, self.beside.clone());
        for message in &self.log {
            verifier.hear(message.clone());
        }
        // What was found is told at the end.
        let end = verifier.finish();
        let mut findings = end.findings;
        for run in &end.again {
            let mut beside = self.beside.clone();
            beside.shown.retain(|of, _| of == run);
            beside.offers.retain(|of, _| of == run);
            let mut verifier = Verifier::new(Rules { keeps: true, ..rules }, beside);
            for message in self.log.iter().filter(|message| message.run == *run) {
                verifier.hear(message.clone());
            }
            findings.extend(verifier.finish().findings);
        }
        let odd = self.odd.iter().map(|text| Complaint { run: None, text: text.clone() });
        let unread = now.map(|_| self.not_put_aside()).unwrap_or_default();
        let aside = self.put_aside_in_vain();
        odd.chain(findings.into_iter().map(complaint)).chain(self.of_outputs()).chain(unread).chain(aside).collect()
    }

    /// What nobody may believe and nobody has put aside for people.
    pub(crate) fn not_put_aside(&self) -> Vec<Complaint> {
        // What is said before a run exists is said to nobody, and need not be looked at.
        let mut unbelievable = self.unbelievable(|decided, seq| decided < seq);
        unbelievable.retain(|(seq, _)| !self.is_quarantined(*seq));
        let text = |seq| format!("message {seq} may not be believed, and is not in the quarantine");
        unbelievable.into_iter().map(|(seq, run)| Complaint { run: run.cloned(), text: text(seq) }).collect()
    }

    /// Whether the input that has this sequence now is in the quarantine.
    fn is_quarantined(&self, seq: u64) -> bool {
        self.inputs.get(&seq).is_some_and(|(subject, at)| self.quarantined.has(seq, subject, *at))
    }

    /// What was put aside, though whoever has said it bears the token of an attempt that he was offered, or needs none. Nobody here
    /// bears the token of another one. A signal that its run does not wait for may be put aside.
    fn put_aside_in_vain(&self) -> Vec<Complaint> {
        let unbelievable: BTreeSet<u64> = self.unbelievable(|_, _| true).into_iter().map(|(seq, _)| seq).collect();
        let is_wrong = |seq: &u64| self.is_quarantined(*seq) && !unbelievable.contains(seq);
        let counts = |message: &Message| match &message.content {
            Content::Input { input, .. } => match &**input {
                Input::Signal(given) => self.is_awaited(message, given),
                Input::Submit(_)
                | Input::Cancel(_)
                | Input::Timer {}
                | Input::Seen(_)
                | Input::Report(_)
                | Input::Claim(_) => true,
            },
            Content::Decision { .. }
            | Content::Unreadable(_)
            | Content::Foreign
            | Content::Unread(_)
            | Content::Bad(_) => false,
        };
        let has_said = |message: &&Message| is_wrong(&message.seq) && counts(message);
        let text = |seq| format!("message {seq} must be believed, and was put aside");
        let told = |message: &Message| Complaint { run: Some(message.run.clone()), text: text(message.seq) };
        self.log.iter().filter(has_said).map(told).collect()
    }

    /// Whether a job of its run waits for a signal. One that comes before the run is asked for is given to nobody.
    fn is_awaited(&self, said: &Message, given: &Signal) -> bool {
        let mut is_asked_for = false;
        for message in self.log.iter().filter(|message| message.run == said.run) {
            match &message.content {
                Content::Input { input, .. } if matches!(**input, Input::Submit(_)) => {
                    is_asked_for |= message.seq < said.seq;
                }
                Content::Decision { decision, .. } => {
                    if let Some(begun) = decision.submitted() {
                        return is_asked_for && begun.flow.signals().contains(&given.signal);
                    }
                }
                Content::Input { .. }
                | Content::Unreadable(_)
                | Content::Foreign
                | Content::Unread(_)
                | Content::Bad(_) => {}
            }
        }
        false
    }

    /// Sequences of what nobody may believe, with the run that it is of. `asks` says of the first decision and of a message without
    /// its token whether that is asked.
    fn unbelievable(&self, asks: impl Fn(u64, u64) -> bool) -> Vec<(u64, Option<&RunId>)> {
        let mut secrets: BTreeMap<&RunId, (u64, &str)> = BTreeMap::new();
        for Message { run, seq, content, .. } in &self.log {
            if let Content::Decision { decision, .. } = content {
                secrets.entry(run).or_insert((*seq, &decision.secret));
            }
        }
        let is_unbelievable = |message: &&Message| match &message.content {
            Content::Input { source, input } => secrets.get(&message.run).is_some_and(|(decided, secret)| {
                asks(*decided, message.seq) && !is_borne(secret, &message.run, source, input)
            }),
            Content::Unread(_) | Content::Bad(_) => true,
            Content::Decision { .. } | Content::Unreadable(_) | Content::Foreign => false,
        };
        let of_runs = self.log.iter().filter(is_unbelievable).map(|message| (message.seq, Some(&message.run)));
        self.nobodys.iter().map(|seq| (*seq, None)).chain(of_runs).collect()
    }

    /// Timers that nobody has armed, and nobody has put aside for people, unless another one has taken their place. `journal` has all
    /// that were stored.
    pub(crate) fn timers_not_put_aside(&self, journal: &[Noted]) -> Vec<Complaint> {
        let fired = journal.iter().filter(|noted| noted.subject.starts_with(FIRED));
        // A subject keeps one message.
        let last: BTreeMap<&str, &Noted> = fired.map(|noted| (noted.subject.as_str(), noted)).collect();
        let is_aside = |noted: &Noted| self.timers.knows(noted.seq, &noted.subject);
        let unread = last.into_values().filter(|noted| noted.scheduler.is_none() && !is_aside(noted));
        let text = |seq| format!("timer {seq} was fired by nobody, and is not in the quarantine");
        unread.map(|noted| Complaint { run: None, text: text(noted.seq) }).collect()
    }

    fn of_outputs(&self) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for kept in self.kept() {
            let Some(outputs) = self.outputs.get(kept.run) else { continue };
            let judged = outputs.judge(kept.decisions.iter().map(|(.., decision)| *decision), Age::default());
            let told = judged
                .violations
                .into_iter()
                .map(|found| Complaint { run: Some(kept.run.clone()), text: found.to_string() });
            complaints.extend(told);
        }
        complaints
    }

    /// Offers that wait for somebody though their run is over. Once nothing goes wrong any more there are none.
    pub(crate) fn left_over(&self) -> Vec<Complaint> {
        let is_over = |run: &RunId| self.kept().iter().any(|kept| kept.run == run && kept.end().is_some());
        let left = self.beside.offers.iter().filter(|(run, offers)| !offers.is_empty() && is_over(run));
        let text = |offers: &[Waiting]| {
            format!(
                "is over, and its offers {:?} (task, attempt) still wait",
                offers.iter().map(|it| (it.task, it.attempt)).collect::<Vec<_>>()
            )
        };
        left.map(|(run, offers)| Complaint { run: Some(run.clone()), text: text(offers) }).collect()
    }

    /// What is left of runs that were to be forgotten: their decisions, their states, and whatever was said to them before the last run
    /// was asked for, behind which nobody looks.
    pub(crate) fn of_forgotten(&self, runs: &[RunId]) -> Vec<Complaint> {
        let begins = |message: &&Message| matches!(&message.content, Content::Input { input, .. } if matches!(**input, Input::Submit(_)));
        let horizon = self.log.iter().rfind(begins).map_or(u64::MAX, |message| message.seq);
        let mut complaints = Vec::new();
        let mut complain = |run: &RunId, what: &str| {
            complaints.push(Complaint { run: Some(run.clone()), text: format!("is over for long, and {what} left") });
        };
        for run in runs {
            let its = || self.log.iter().filter(|message| message.run == *run);
            if its().any(|message| matches!(message.content, Content::Decision { .. })) {
                complain(run, "its decisions are");
            }
            if its().any(|message| message.seq < horizon) {
                complain(run, "what was said to it is");
            }
            if self.beside.shown.contains_key(run) {
                complain(run, "its state is");
            }
        }
        complaints
    }

    /// Every run of the log, in the order in which they began.
    pub(crate) fn kept(&self) -> Vec<Kept<'_>> {
        let mut kept: Vec<Kept<'_>> = Vec::new();
        for Message { run, seq, at, content } in &self.log {
            let place = kept.iter().position(|kept| kept.run == run).unwrap_or(kept.len());
            if place == kept.len() {
                kept.push(Kept { run, decisions: Vec::new(), inputs: Vec::new() });
            }
            let Some(kept) = kept.get_mut(place) else { continue };
            match content {
                Content::Decision { decision, .. } => kept.decisions.push((*seq, *at, decision.as_ref())),
                Content::Input { source, input } => {
                    let secret = kept.decisions.first().map_or("", |(.., first)| first.secret.as_str());
                    if is_borne(secret, run, source, input) {
                        kept.inputs.push((*seq, input.as_ref()));
                    }
                }
                Content::Unreadable(_) | Content::Foreign | Content::Unread(_) | Content::Bad(_) => {}
            }
        }
        kept
    }
}

impl Kept<'_> {
    /// Every event.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.decisions.iter().flat_map(|(.., decision)| &decision.events).map(|record| &record.event)
    }

    /// The sequence of the claim with which a worker started something.
    pub(crate) fn claim_of(&self, start: &Start) -> Option<u64> {
        let is_its = |(_, input): &&(u64, &Input)| {
            matches!(input, Input::Claim(claim)
                if claim.worker == start.worker && (claim.task, claim.attempt) == (start.task, start.attempt))
        };
        self.inputs.iter().find(is_its).map(|(seq, _)| *seq)
    }

    /// The sequence of the decision that ends it.
    pub(crate) fn end(&self) -> Option<u64> {
        let ends = |decision: &Decision| decision.events.iter().any(|record| record.event.is_end());
        self.decisions.iter().find(|(.., decision)| ends(decision)).map(|(seq, ..)| *seq)
    }
}

/// What stands beside the log, and all inputs in the quarantine, of runs or not, and all timers.
async fn beside(mesh: &Mesh) -> Result<(Beside, Notes, Notes), Error> {
    let mut beside = Beside::default();
    let shown = &mut beside.shown;
    let take = |entry: StatusEntry, _| {
        shown.insert(entry.view.run.clone(), Shown::from(&entry));
    };
    mesh.each_status(take).await?;
    let bad = mesh.all_quarantined().await?;
    beside.aside.extend(bad.iter().filter_map(|bad| {
        let (run, source) = copies::input_of(&bad.subject)?;
        bad.finder.starts_with(COORDINATOR).then_some(stream::Noted { run, source, seq: bad.was, at: Some(bad.at) })
    }));
    let on = |start| bad.iter().filter(move |bad| bad.subject.starts_with(start)).collect();
    let (quarantined, timers) = (on(INPUTS), on(FIRED));
    let offers = &mut beside.offers;
    let take = |copied: Copied| {
        if let Some(OfferNow { run, task, attempt, target, priority, offer, is_unreadable }) =
            copies::offer_now(&copied)
        {
            let says = offer.map_or(Says::Unread, |offer| Says::of(offer, is_unreadable));
            offers.entry(run).or_default().push(Waiting { task, attempt, target, priority, says });
        }
    };
    mesh.each_offer(None, take).await?;
    Ok((beside, quarantined, timers))
}

fn complaint(finding: Finding) -> Complaint {
    match finding {
        Finding::Violation { run, violation } => Complaint { run: Some(run), text: violation.to_string() },
        Finding::Incomplete { run, reason } => Complaint { run, text: format!("incomplete because {reason}") },
    }
}

#[cfg(test)]
mod tests;
