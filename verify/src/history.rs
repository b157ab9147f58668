//! Decisions against the inputs that they answer.
//!
//! Reading order: [`Whole`] (what is judged), `chain` (decisions by themselves), `heard` (what was said, and to whom),
//! `standing` (where each task stands by then), `causes` (what each event rests on), `looked` (what a look says), `reports`, `claims`,
//! `overlap` (what runs at once), `extended` (what goes on), `limit`, `policies` (whose numbers they are), `aside` (what was not
//! believed), `live` (what should have been answered by now).

mod aside;
mod causes;
mod chain;
mod claims;
mod extended;
mod heard;
mod limit;
mod live;
mod looked;
mod overlap;
mod policies;
mod reports;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_core::Policy;
use rr_schemas::{
    decision::{Decision, Record},
    id::RunId,
    input::{Input, Source},
};

use self::heard::Heard;
pub use self::live::GRACE;
use crate::{Findings, Violation, records, records::Extent};

/// A decision as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The hash of its bytes.
    pub hash: String,
    /// The decision.
    pub decision: Decision,
}

/// An input as it is stored.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its sequence in the stream.
    pub seq: u64,
    /// Who may have sent it.
    pub source: Source,
    /// The input.
    pub input: Input,
}

/// Everything that is stored of one run.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Its decisions, in order.
    pub decisions: &'a [Stored],
    /// Its inputs that can be read, in order.
    pub inputs: &'a [Said],
    /// When inputs were stored, by their sequences; what is not there is not compared.
    pub times: &'a BTreeMap<u64, Timestamp>,
    /// Messages on subjects of inputs that nobody can believe, with the reason.
    pub bad: &'a BTreeMap<u64, String>,
    /// Inputs that this build cannot read, newer ones most likely, with the reason. Where something follows from one, whoever decided
    /// so could read it.
    pub unread: &'a BTreeMap<u64, String>,
    /// Inputs that a coordinator put into the quarantine, and so did not believe unless a decision cites them. Whether it was right
    /// is judged.
    pub aside: &'a BTreeSet<u64>,
    /// The coordinators' policy, for what flows do not say.
    pub policy: &'a Policy,
    /// Whether it is theirs.
    pub policy_of: PolicyOf,
    /// Whether the run is to have ended.
    pub extent: Extent,
    /// The time by the server's clock, where it is asked whether something should have been answered by now.
    pub now: Option<Timestamp>,
}

/// Whose policy a history is judged by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PolicyOf {
    /// That of the coordinators which have made it.
    Coordinators,
    /// That of whoever reads it. Nothing that is stored says what theirs was, so what is broken under this one and not under every
    /// other is no violation: it is said to be unsure.
    Reader,
}

/// What is to be said of one run.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// What must not be, the likeliest root of it first.
    pub violations: Vec<Violation>,
    /// Why the history is not whole: something outside of it shows that more was decided.
    pub truncated: Option<String>,
    /// Why something cannot be said for sure: an input that cannot be read, or a policy that nobody has noted.
    pub unsure: Vec<String>,
    /// How often something began beside an attempt that was lost and may still have run, so that more ran than may.
    pub n_beside: u64,
}

/// Everything that is wrong with the whole history of a run that has ended; every input is one that can be believed.
pub fn judge(run: &RunId, decisions: &[Stored], inputs: &[Said], policy: &Policy) -> Vec<Violation> {
    let (times, bad, unread) = (&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new());
    let (aside, policy_of, extent) = (&BTreeSet::new(), PolicyOf::Coordinators, Extent::Over);
    judge_whole(&Whole { run, decisions, inputs, times, bad, unread, aside, policy, policy_of, extent, now: None })
        .violations
}

/// The same of whatever is stored of a run.
pub fn judge_whole(whole: &Whole<'_>) -> Judgement {
    let judged = judge_under(whole);
    if whole.policy_of == PolicyOf::Coordinators || judged.violations.is_empty() {
        return judged;
    }
    let mut surely = policies::judge_under_any(whole);
    let is_sure = |found: &Violation| surely.violations.contains(found);
    if let Some(found) = judged.violations.into_iter().find(|found| !is_sure(found)) {
        surely.unsure.push(format!(
            "under the policy that is known here it would break {}, seq={}: {}; its coordinators may have had another one",
            found.rule.id(),
            found.at,
            found.text
        ));
    }
    surely
}

/// Everything under one policy.
fn judge_under(whole: &Whole<'_>) -> Judgement {
    let mut findings = Findings::default();
    chain::check(whole, &mut findings);
    if !findings.0.is_empty() {
        // What stands behind a broken link says nothing for sure.
        return Judgement { violations: findings.0, ..Judgement::default() };
    }
    let (mut truncated, mut unsure, mut n_beside) = (None, Vec::new(), 0);
    if !whole.decisions.is_empty() || whole.extent == Extent::Over {
        let heard = Heard::new(whole);
        heard.check_aside(&mut findings);
        heard.check_causes(&mut findings);
        heard.check_extended(&mut findings);
        heard.check_reports(&mut findings);
        heard.check_returns(&mut findings);
        heard.check_signals(&mut findings);
        heard.check_claims(&mut findings);
        heard.check_won(&mut findings);
        heard.check_limit(&mut findings);
        n_beside = heard.check_overlap(&mut findings);
        truncated = heard.truncated();
        if let Some((seq, reason)) = heard.unread() {
            // Whatever was said behind it may be explained by it.
            findings.0.retain(|found| (1..seq).contains(&found.at));
            unsure.push(format!("input seq={seq}, from which something follows, cannot be read: {reason}"));
        }
        findings.0.extend(records::judge_extent(whole.run, &records_of(whole), whole.policy, whole.extent));
    }
    // The first one in the order of the log is the likeliest root; what is of the whole run comes last.
    findings.0.sort_by_key(|found| if found.at == 0 { u64::MAX } else { found.at });
    if findings.0.is_empty() {
        chain::check_waits(whole, &mut findings);
        // What is missing may have answered what waits.
        if truncated.is_none() {
            live::check(whole, &mut findings);
        }
    }
    Judgement { violations: findings.0, truncated, unsure, n_beside }
}

fn records_of(whole: &Whole<'_>) -> Vec<Record> {
    whole.decisions.iter().flat_map(|stored| stored.decision.events.iter().cloned()).collect()
}
